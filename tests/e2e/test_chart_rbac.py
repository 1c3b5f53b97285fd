# SPDX-License-Identifier: Apache-2.0
"""The chart's rights are enough and none is too many: gpuslice-nodesync does its whole work with them, and with any
one verb taken away something of it is missing. One installation for each case, beside each other."""
import contextlib
import json
import os
import queue
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

import bed
import pki
import programs
from clusterprogram import HELLO, NOTICE, Reader, config_of, frame
from test_chart_api import FEATURES, NODE_FEATURE_CRD, helm, CHART, NAMESPACE

BUILD = Path(os.environ.get('GPUSLICE_BUILD', programs.ROOT / 'build')).resolve()
PROGRAM = BUILD / 'src/gpuslice-nodesync'
PATIENCE = 20  # until what should come has come
SHORT = 4      # that long, what must not come is awaited after everything else has come

FAREWELL = {'labels are taken off', 'feature is deleted'}
# case: (resource, verb) taken away, and what is missing then
CASES = {
    'all rights':          (None, None, set()),
    'list nodes':          ('nodes', 'list', {'news', 'a label is seen', 'labels', 'taint', 'condition', 'the node is opened', 'labels are taken off'}),
    'watch nodes':         ('nodes', 'watch', {'a label is seen'}),
    'patch nodes':         ('nodes', 'patch', {'labels', 'taint', 'the node is opened', 'labels are taken off'}),
    'patch nodes/status':  ('nodes/status', 'patch', {'condition', 'labels are taken off'}),
    'create events':       ('events', 'create', {'event', 'event has its pod', 'event is counted'}),
    'patch events':        ('events', 'patch', {'event is counted'}),
    'get pods':            ('pods', 'get', {'event has its pod', *FAREWELL}),
    'get daemonsets':      ('daemonsets', 'get', FAREWELL),
    'get leases':          ('leases', 'get', {'the node is opened'}),
    'get nodefeatures':    ('nodefeatures', 'get', {'feature', 'feature is deleted'}),
    'create nodefeatures': ('nodefeatures', 'create', {'feature', 'feature is deleted'}),
    'patch nodefeatures':  ('nodefeatures', 'patch', {'feature', 'feature is deleted'}),
    'delete nodefeatures': ('nodefeatures', 'delete', {'feature is deleted'}),
}
LABEL = 'nvidia.com/device-plugin.config'
STARTUP = {'key': 'gpuslice.dev/not-ready', 'effect': 'NoSchedule'}
STATE = {'kind': 'state', 'labelsBy': 'auto', 'labels': [{'key': 'nvidia.com/gpu.count', 'value': '4'}],
         'extraLabels': [{'key': 'gpu', 'value': 'a10'}], 'hasCondition': True, 'ready': True,
         'taints': [{'key': 'nvidia.com/gpu-shared', 'value': 'true', 'effect': 'NoSchedule'}],
         'promise': [{'name': 'nvidia.com/gpu', 'count': 0}],  # the Node has no status
         'reason': 'AllResourcesRegistered', 'message': 'all of it'}


def without(objects, resource, verb):
    """The verb is taken out of the objects' rules; None: nothing is."""
    taken = 0
    for rule in (rule for one in objects for rule in one.get('rules', [])):
        if resource in rule['resources'] and verb in rule['verbs']:
            rule['verbs'].remove(verb)
            taken += 1
    for one in objects:
        if 'rules' in one:
            one['rules'] = [rule for rule in one['rules'] if rule['verbs']]
    assert taken == (resource is not None)
    return objects


def installation(name, resource, verb):
    """The chart's objects for a release of this name, without the verb."""
    text = helm('template', 'nvdp', CHART, '--namespace', NAMESPACE, '--no-hooks', values={'fullnameOverride': name})
    return without([one for one in yaml.safe_load_all(text) if one], resource, verb)


class Program:
    """gpuslice-nodesync, with us in the agent's place."""

    def __init__(self, setup, log):
        ours, theirs = socket.socketpair()
        self.pair, self.news = ours, queue.Queue()
        with open(log, 'w') as out:
            self.process = subprocess.Popen(['bash', '-c', f'exec {PROGRAM} debug 3<&{theirs.fileno()}'],
                                            pass_fds=[theirs.fileno()], stderr=out)
        theirs.close()
        threading.Thread(target=self.read, daemon=True).start()
        self.pair.sendall(frame(HELLO, b'agent'))
        self.say(setup)

    def read(self):
        reader = Reader()
        with contextlib.suppress(OSError):
            while data := self.pair.recv(65536):
                for kind_of_frame, _, _, body in reader.feed(data):
                    message = json.loads(body) if kind_of_frame == NOTICE else {}
                    if message.get('kind') == 'news':  # and not that it is uninstalled
                        self.news.put(message)

    def say(self, message):
        with contextlib.suppress(BrokenPipeError):
            self.pair.sendall(frame(NOTICE, json.dumps(message).encode()))

    def next_news(self):
        with contextlib.suppress(queue.Empty):
            return self.news.get_nowait()
        return None


class Case:
    def __init__(self, plane, folder, number, name):
        self.plane, self.api, self.folder, self.title = plane, plane.api, folder, name
        self.resource, self.verb, self.missing = CASES[name]
        self.name, self.node = f'probe-{number}', f'node-{number}'
        self.seen = set()

    def objects(self):
        yield {'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': self.node},
               'spec': {'taints': [STARTUP]}}  # by a controller that is not there
        yield {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': f'job-{self.node}', 'namespace': 'gpu-demo'},
               'spec': {'nodeName': self.node, 'automountServiceAccountToken': False,
                        'containers': [{'name': 'job', 'image': 'job'}]}}
        yield from installation(self.name, self.resource, self.verb)

    def agent_pod(self):
        daemonset = self.api.call(f'/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{self.name}')
        self.api.call(f'/api/v1/namespaces/{NAMESPACE}/pods', 'POST', {
            'metadata': {'name': self.name, 'ownerReferences': [{
                'apiVersion': 'apps/v1', 'kind': 'DaemonSet', 'name': self.name, 'controller': True,
                'uid': daemonset['metadata']['uid']}]},
            'spec': {'nodeName': self.node, 'serviceAccountName': self.name,
                     'containers': [{'name': 'agent', 'image': 'agent'}]}})
        token = self.api.call(f'/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{self.name}/token', 'POST', {
            'spec': {'boundObjectRef': {'apiVersion': 'v1', 'kind': 'Pod', 'name': self.name}}})['status']['token']
        path = self.folder / f'{self.name}.kubeconfig'
        pki.kubeconfig(path, self.plane.address, self.plane.pki / 'ca.crt', token)
        return {'kind': 'setup', 'node': self.node, 'kubeconfig': str(path), 'namespace': NAMESPACE,
                'pod': self.name, 'lease': f'{self.name}-controller', 'watchedLabels': [LABEL]}

    def look(self, program):
        """Notes what has come by now."""
        news = program.next_news()
        while news:
            self.seen.add('news')
            if config_of(news) == 'mine':
                self.seen.add('a label is seen')
            news = program.next_news()
        node = self.api.call(f'/api/v1/nodes/{self.node}')
        labels, taints = node['metadata'].get('labels', {}), node['spec'].get('taints', [])
        feature = self.api.find(f'{FEATURES}/nvidia-features-for-{self.node}')
        events = {one['metadata']['namespace']: one for one in self.api.call('/api/v1/events')['items']
                  if one['source'].get('host') == self.node}
        of_pod = events.get('gpu-demo', {})
        self.now = {
            'labels': labels.get('nvidia.com/gpu.count') == '4' and labels.get('gpu') == 'a10',
            'taint': 'nvidia.com/gpu-shared' in [one['key'] for one in taints],
            'the node is opened': STARTUP['key'] not in [one['key'] for one in taints],
            'condition': 'GPUSlicesReady' in [one['type'] for one in node['status'].get('conditions', [])],
            'feature': feature is not None, 'event': bool(events),
            'event has its pod': bool(of_pod.get('involvedObject', {}).get('uid')),
            'event is counted': any(one.get('count', 1) > 1 for one in events.values()),
        }
        self.seen |= {what for what, is_so in self.now.items() if is_so}

    def await_(self, program, expected):
        """Until all that this case should see is there; then a little longer for what it should not."""
        deadline, quiet = time.monotonic() + PATIENCE, None
        while time.monotonic() < deadline:
            self.look(program)
            if expected - self.missing <= self.seen:
                quiet = quiet or time.monotonic() + SHORT * bool(expected & self.missing)
                if time.monotonic() >= quiet:
                    return
            time.sleep(0.1)

    def run(self):
        program = Program(self.agent_pod(), self.folder / f'{self.name}.log')
        event = {'kind': 'event', 'warning': True, 'reason': 'DeviceUnhealthy', 'message': 'GPU 0',
                 'pods': [{'namespace': 'gpu-demo', 'name': f'job-{self.node}'}]}
        try:
            program.say(STATE)
            program.say(event)
            self.await_(program, AT_START)
            program.say(event)  # a second one after the first was written is counted, not created again
            self.api.call(f'/api/v1/nodes/{self.node}', 'PATCH', {'metadata': {'labels': {LABEL: 'mine'}}})
            self.await_(program, AT_WORK)
            self.api.call(f'/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{self.name}?propagationPolicy=Foreground', 'DELETE')
            program.say({'kind': 'bye'})
            program.process.wait(10)
            self.look(program)
            if self.seen >= {'labels', 'condition', 'taint'} and not (
                    self.now['labels'] or self.now['condition'] or self.now['taint']):
                self.seen.add('labels are taken off')
            if 'feature' in self.seen and not self.now['feature']:
                self.seen.add('feature is deleted')
        finally:
            program.process.kill()
            program.process.wait()
        return self


AT_START = {'news', 'labels', 'taint', 'condition', 'feature', 'event', 'event has its pod', 'the node is opened'}
AT_WORK = AT_START | {'a label is seen', 'event is counted'}


@pytest.fixture(scope='module')
def cases(tmp_path_factory):
    if not (programs.BIN / 'kube-apiserver').exists():
        pytest.skip('tests/e2e/bed build was not run')
    if not PROGRAM.exists():
        pytest.skip(f'{PROGRAM} is not built')
    folder = tmp_path_factory.mktemp('rbac')
    plane = bed.ControlPlane(folder / 'plane', 26743).up()
    try:
        bed.wait('kube-system', lambda: plane.api.find(f'/api/v1/namespaces/{NAMESPACE}'))
        bed.wait('default', lambda: plane.api.find('/api/v1/namespaces/default'))
        plane.api.call('/api/v1/namespaces', 'POST', {'metadata': {'name': 'gpu-demo'}})
        plane.api.call('/api/v1/namespaces/gpu-demo/serviceaccounts', 'POST', {'metadata': {'name': 'default'}})
        plane.api.call('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', 'POST', NODE_FEATURE_CRD)
        bed.wait('the CRD', lambda: plane.answers(FEATURES))
        every = [Case(plane, folder, number, name) for number, name in enumerate(CASES)]
        with ThreadPoolExecutor(4) as pool:
            texts = pool.map(lambda case: json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': list(case.objects())}), every)
        plane.kubectl('apply', '-f', '-', stdin='\n---\n'.join(texts))
        with ThreadPoolExecutor(len(every)) as pool:
            yield {case.title: case for case in pool.map(Case.run, every)}
    finally:
        plane.down()


@pytest.mark.parametrize('name', CASES)
def test_what_works_without_one_verb(cases, name):
    case = cases[name]
    said = (case.folder / f'{case.name}.log').read_text()
    # Without watch the Node is listed again and again: a label is seen sooner or later, and that is complained of.
    by_chance = {'a label is seen'} if name == 'watch nodes' else set()
    assert case.seen - by_chance == (AT_WORK | FAREWELL) - case.missing, said
    if name == 'all rights':
        assert 'RBAC' not in said
    elif name != 'get daemonsets':  # then nothing says that this is an uninstallation
        assert 'RBAC forbids it' in said


@pytest.mark.parametrize('verb', [None, 'get', 'delete'])
def test_the_job_before_an_uninstallation(cases, verb):
    """It ends once the DaemonSet is gone; without one of its verbs it says so and fails."""
    some = cases['all rights']
    plane, name = some.plane, f'retire-{verb}'.lower()
    values = {'fullnameOverride': name}
    objects = [one for one in yaml.safe_load_all(helm('template', 'nvdp', CHART, '--namespace', NAMESPACE, values=values))
               if one and (one['kind'] == 'DaemonSet' or one['kind'] in ('ServiceAccount', 'Role', 'RoleBinding')
                           and one['metadata']['name'].endswith('-uninstall'))]
    rule, = next(one for one in objects if one['kind'] == 'Role')['rules']
    rule['verbs'] = [one for one in rule['verbs'] if one != verb]
    plane.kubectl('apply', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': objects}))
    token = plane.kubectl('-n', NAMESPACE, 'create', 'token', f'{name}-uninstall').strip()
    pki.kubeconfig(some.folder / f'{name}.kubeconfig', plane.address, plane.pki / 'ca.crt', token)
    process = subprocess.Popen([PROGRAM, '--retire', name], text=True, stderr=subprocess.PIPE, env=dict(
        os.environ, NAMESPACE=NAMESPACE, KUBECONFIG=str(some.folder / f'{name}.kubeconfig')))
    path = f'/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{name}'
    if verb != 'delete':
        bed.wait('its deletion', lambda: 'deletionTimestamp' in plane.api.call(path)['metadata'])
    if not verb:
        assert process.poll() is None, 'it does not wait for the pods'
        # No controller runs here: this is what it does once the pods are gone.
        plane.api.call(path, 'PATCH', {'metadata': {'finalizers': None}})
    _, said = process.communicate(timeout=30)
    assert (process.returncode == 0) == (verb is None), said
    assert ('forbid' in said) == bool(verb), said


def test_no_verb_of_the_chart_is_left_out():
    text = helm('template', 'nvdp', CHART, '--namespace', NAMESPACE, '--no-hooks')
    verbs = {(resource, verb) for one in yaml.safe_load_all(text) if one for rule in one.get('rules', [])
             for resource in rule['resources'] for verb in rule['verbs']}
    assert verbs == {(resource, verb) for resource, verb, _ in CASES.values() if resource}
