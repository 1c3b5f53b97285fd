# SPDX-License-Identifier: Apache-2.0
"""What the chart asks the cluster: the selector of a DaemonSet that is there, where NVIDIA's chart and ours give it one name, since it cannot change;
and whether memory limits were enforced before. Here is an API server that knows no more than a test says."""
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import CHART, ROOT, Rendered

KINDS = {'/api/v1': ['ServiceAccount', 'ConfigMap', 'Namespace'], '/apis/apps/v1': ['DaemonSet'], '/apis/batch/v1': ['Job'],
         '/apis/rbac.authorization.k8s.io/v1': ['ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding'],
         '/apis/admissionregistration.k8s.io/v1': ['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding']}
GLOBAL = {'Namespace', 'ClusterRole', 'ClusterRoleBinding', 'ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'}
NVIDIAS = {'app.kubernetes.io/name': 'nvidia-device-plugin', 'app.kubernetes.io/instance': 'nvdp'}
THERE = {'apiVersion': 'apps/v1', 'kind': 'DaemonSet', 'metadata': {
    'name': 'gpus', 'namespace': 'kube-system', 'labels': {'app.kubernetes.io/managed-by': 'Helm'},
    'annotations': {'meta.helm.sh/release-name': 'nvdp', 'meta.helm.sh/release-namespace': 'kube-system'}},
    'spec': {'selector': {'matchLabels': NVIDIAS}}}


DAEMONSETS = '/apis/apps/v1/daemonsets'
ACCOUNT = '/api/v1/namespaces/kube-system/serviceaccounts/nvdp-gpuslice-arbiter'


def plural(kind):
    return kind.lower()[:-1] + 'ies' if kind.endswith('y') else kind.lower() + 's'


def documents():
    groups = [path.split('/')[2:] for path in KINDS if path.startswith('/apis')]
    yield '/version', {'major': '1', 'minor': '36', 'gitVersion': 'v1.36.0'}
    yield '/api', {'kind': 'APIVersions', 'versions': ['v1']}
    yield '/apis', {'kind': 'APIGroupList', 'apiVersion': 'v1', 'groups': [
        {'name': name, 'versions': [{'groupVersion': f'{name}/{version}', 'version': version}],
         'preferredVersion': {'groupVersion': f'{name}/{version}', 'version': version}} for name, version in groups]}
    for path, kinds in KINDS.items():
        yield path, {'kind': 'APIResourceList', 'apiVersion': 'v1', 'groupVersion': path.removeprefix('/apis/').removeprefix('/api/'),
                     'resources': [{'name': plural(kind), 'singularName': kind.lower(), 'kind': kind, 'verbs': ['get'],
                                    'namespaced': kind not in GLOBAL} for kind in kinds]}


class Cluster:
    """`there`: what of it is there, by paths."""

    def __init__(self, kubeconfig):
        self.kubeconfig, self.there = kubeconfig, {}

    def render(self, *words):
        done = subprocess.run([ROOT / 'tools/helm', 'template', 'nvdp', CHART, '--namespace', 'kube-system', '--dry-run=server',
                               '--disable-openapi-validation', '--kubeconfig', self.kubeconfig, *words], text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return Rendered(done.stdout)


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    known = dict(documents())
    cluster = Cluster(tmp_path_factory.mktemp('kube') / 'config')

    class Request(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition('?')[0]
            answer = known.get(path) or cluster.there.get(path)
            body = json.dumps(answer or {'kind': 'Status', 'apiVersion': 'v1', 'status': 'Failure', 'code': 404,
                                         'reason': 'NotFound', 'message': 'not found'}).encode()
            self.send_response(200 if answer else 404)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Request)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cluster.kubeconfig.write_text(json.dumps({
        'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c', 'contexts': [{'name': 'c', 'context': {'cluster': 'c'}}],
        'clusters': [{'name': 'c', 'cluster': {'server': f'http://127.0.0.1:{server.server_port}'}}]}))
    yield cluster
    server.shutdown()


@pytest.fixture
def cluster(served):
    served.there = {'/api/v1/namespaces/kube-system': {'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': 'kube-system'}},
                    DAEMONSETS: {'apiVersion': 'apps/v1', 'kind': 'DaemonSetList', 'items': []}}
    return served


@pytest.mark.parametrize('words,selector', [
    (['fullnameOverride=gpus'], NVIDIAS),
    (['fullnameOverride=gpus', 'selectorLabelsOverride.own=one'], {'own': 'one'}),
    ([], {'app.kubernetes.io/name': 'gpuslice', 'app.kubernetes.io/instance': 'nvdp'})])
def test_the_selector_of_a_daemonset_that_is_there(cluster, words, selector):
    cluster.there['/apis/apps/v1/namespaces/kube-system/daemonsets/gpus'] = THERE
    daemonset = cluster.render('--is-upgrade', *(word for one in words for word in ('--set', one))).daemonset
    assert daemonset['spec']['selector']['matchLabels'] == selector
    assert selector.items() <= daemonset['spec']['template']['metadata']['labels'].items()


def remembered(mode):
    return {ACCOUNT: {'apiVersion': 'v1', 'kind': 'ServiceAccount', 'metadata': {
        'name': 'nvdp-gpuslice-arbiter', 'namespace': 'kube-system', 'annotations': {'gpuslice.dev/memory': mode} if mode else {'other': 'x'}}}}


def running(name, image):
    return {DAEMONSETS: {'apiVersion': 'apps/v1', 'kind': 'DaemonSetList', 'items': [
        {'apiVersion': 'apps/v1', 'kind': 'DaemonSet', 'metadata': {'name': name, 'namespace': 'gpus'},
         'spec': {'template': {'spec': {'containers': [{'name': 'x', 'image': 'sidecar'}, {'name': 'y', 'image': image}]}}}}]}}


UPGRADE = '--is-upgrade',


@pytest.mark.parametrize('there, words, mode', [
    ({}, (), 'enforced'),
    ({}, UPGRADE, 'observe'),
    (remembered('enforced'), UPGRADE, 'enforced'),
    (remembered('observe'), UPGRADE, 'observe'),
    (remembered(None), UPGRADE, 'observe'),
    (remembered('enforced'), (*UPGRADE, '--set', 'arbiter.memory=none'), 'none'),
    (remembered('observe'), (*UPGRADE, '--set', 'arbiter.memory=enforced'), 'enforced'),
    (running('nvidia-device-plugin-daemonset', 'mirror.example/plugin:1'), (), 'observe'),
    (running('gpus', 'nvcr.io/nvidia/k8s-device-plugin:v0.17.1'), (), 'observe'),
    (running('gpus', 'nvcr.io/nvidia/k8s-device-plugin:v0.17.1'), ('--set', 'arbiter.memory=enforced'), 'enforced'),
    (running('aws-node', 'amazon/vpc-cni'), (), 'enforced')])
def test_who_enforces(cluster, there, words, mode):
    cluster.there.update(there)
    rendered = cluster.render(*words)
    assert rendered.environment['GPUSLICE_DEFAULT_MEMORY'] == mode
    account, = [one for one in rendered.all('ServiceAccount') if one['metadata']['name'] == 'nvdp-gpuslice-arbiter']
    assert account['metadata']['annotations'] == {'gpuslice.dev/memory': mode}
