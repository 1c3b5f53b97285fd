# SPDX-License-Identifier: Apache-2.0
"""The chart, rendered by helm itself without a cluster."""
import functools
import json
import os
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get('GPUSLICE_BUILD', ROOT / 'build')).resolve()
CHART = ROOT / 'deploy/helm/gpuslice'
AGENT = BUILD / 'src/gpuslice-node'


@functools.lru_cache(maxsize=None)  # of one input there is one output
def asked(words, values):
    done = subprocess.run([ROOT / 'tools/helm', *words], input=values, text=True, capture_output=True)
    return done.returncode, done.stdout, done.stderr


def helm(*words, values=None):
    """(status, standard output, standard error); `values` goes in as a file."""
    if values is None:
        return asked((*map(str, words),), None)
    return asked((*map(str, words), '-f', '-'), json.dumps(values))


class Rendered:
    """What a release would put into the cluster."""

    def __init__(self, text):
        self.objects = [one for one in yaml.load_all(text, getattr(yaml, 'CSafeLoader', yaml.SafeLoader)) if one]

    def all(self, kind, hooks=False):
        return [one for one in self.objects if one['kind'] == kind
                and hooks == ('helm.sh/hook' in one['metadata'].get('annotations', {}))]

    def only(self, kind):
        found, = self.all(kind)
        return found

    @property
    def daemonset(self):
        """The agent's; the others are the arbiter's."""
        found, = [one for one in self.all('DaemonSet') if one['spec']['template']['spec']['containers'][0]['name'] == 'agent']
        return found

    @property
    def pod(self):
        return self.daemonset['spec']['template']['spec']

    @property
    def containers(self):
        return {one['name']: one for one in self.pod['containers']}

    @property
    def agent(self):
        """The first, which kubectl takes without being told."""
        assert self.pod['containers'][0]['name'] == 'agent'
        return self.containers['agent']

    @property
    def environment(self):
        """name: value; of what the kubelet fills in, the path of the field."""
        names = [one['name'] for one in self.agent['env']]
        assert len(names) == len(set(names)), 'a name is there twice'
        return {one['name']: one['value'] if 'value' in one else one['valueFrom']['fieldRef']['fieldPath']
                for one in self.agent['env']}

    def mounts_of(self, name):
        """container path: (what of the host, which ConfigMap or else which volume; is read-only)."""
        volumes = {one['name']: one.get('hostPath', {}).get('path') or one.get('configMap', {}).get('name') or one['name']
                   for one in self.pod['volumes']}
        return {one['mountPath']: (volumes[one['name']], one.get('readOnly', False))
                for one in self.containers[name]['volumeMounts']}

    @property
    def mounts(self):
        return self.mounts_of('agent')


def render(values=None, *words, release='nvdp', namespace='kube-system'):
    status, out, err = helm('template', release, CHART, '--namespace', namespace, *words, values=values or {})
    assert status == 0, err
    return Rendered(out)


def refusal(values=None, *words, namespace='kube-system'):
    status, _, err = helm('template', 'nvdp', CHART, '--namespace', namespace, *words, values=values or {})
    assert status != 0, 'this should have been refused'
    return err


def notes(values=None, *words, namespace='kube-system'):
    status, out, err = helm('install', 'nvdp', CHART, '--namespace', namespace, '--dry-run=client', *words,
                            values=values or {})
    assert status == 0, err
    return out.split('NOTES:\n', 1)[1]
