# SPDX-License-Identifier: Apache-2.0
"""A release of NVIDIA's chart upgraded to ours, where both give the DaemonSet one name: its selector cannot change.
The chart looks into the cluster for that, so here is an API server that knows no more than one DaemonSet."""
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import CHART, ROOT, Rendered

KINDS = {'/api/v1': ['ServiceAccount', 'ConfigMap'], '/apis/apps/v1': ['DaemonSet'], '/apis/batch/v1': ['Job'],
         '/apis/rbac.authorization.k8s.io/v1': ['ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding'],
         '/apis/admissionregistration.k8s.io/v1': ['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding']}
GLOBAL = {'ClusterRole', 'ClusterRoleBinding', 'ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'}
NVIDIAS = {'app.kubernetes.io/name': 'nvidia-device-plugin', 'app.kubernetes.io/instance': 'nvdp'}
THERE = {'apiVersion': 'apps/v1', 'kind': 'DaemonSet', 'metadata': {
    'name': 'gpus', 'namespace': 'kube-system', 'labels': {'app.kubernetes.io/managed-by': 'Helm'},
    'annotations': {'meta.helm.sh/release-name': 'nvdp', 'meta.helm.sh/release-namespace': 'kube-system'}},
    'spec': {'selector': {'matchLabels': NVIDIAS}}}


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
    yield '/apis/apps/v1/namespaces/kube-system/daemonsets/gpus', THERE


@pytest.fixture(scope='module')
def kubeconfig(tmp_path_factory):
    known = dict(documents())

    class Request(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = known.get(self.path.partition('?')[0])
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
    path = tmp_path_factory.mktemp('kube') / 'config'
    path.write_text(json.dumps({
        'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c', 'contexts': [{'name': 'c', 'context': {'cluster': 'c'}}],
        'clusters': [{'name': 'c', 'cluster': {'server': f'http://127.0.0.1:{server.server_port}'}}]}))
    yield path
    server.shutdown()


@pytest.mark.parametrize('words,selector', [
    (['fullnameOverride=gpus'], NVIDIAS),
    (['fullnameOverride=gpus', 'selectorLabelsOverride.own=one'], {'own': 'one'}),
    ([], {'app.kubernetes.io/name': 'gpuslice', 'app.kubernetes.io/instance': 'nvdp'})])
def test_the_selector_of_a_daemonset_that_is_there(kubeconfig, words, selector):
    done = subprocess.run([ROOT / 'tools/helm', 'template', 'nvdp', CHART, '--namespace', 'kube-system', '--dry-run=server',
                           '--is-upgrade', '--disable-openapi-validation', '--kubeconfig', kubeconfig,
                           *(word for one in words for word in ('--set', one))], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    daemonset = Rendered(done.stdout).only('DaemonSet')
    assert daemonset['spec']['selector']['matchLabels'] == selector
    assert selector.items() <= daemonset['spec']['template']['metadata']['labels'].items()
