# SPDX-License-Identifier: Apache-2.0
"""`gpuslice check --cluster` before an API server that refuses whatever is not GET."""
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from test_cli import CLEAN, ERRORS, UNREADABLE, USAGE, WARNINGS, run

PAGE = 250  # of ours


class Api(ThreadingHTTPServer):
    """Objects by path. Lists come in pages; what is in `hidden` is forbidden; methods and tokens are kept."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.objects, self.lists, self.hidden, self.methods, self.tokens, self.largest = {}, {}, set(), set(), set(), 0
        self.address = f'http://127.0.0.1:{self.server_address[1]}'
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, path, query):
        if path in self.hidden:
            return 403, {'kind': 'Status', 'code': 403, 'message': f'{path} is forbidden'}
        if path in self.objects:
            return 200, self.objects[path]
        if path not in self.lists:
            return 404, {'kind': 'Status', 'code': 404, 'message': 'not found'}
        limit, begin = int(query['limit'][0]), int(query.get('continue', ['0'])[0])
        self.largest = max(self.largest, limit)
        items, end = self.lists[path], begin + limit
        more = {'continue': str(end)} if end < len(items) else {}
        return 200, {'metadata': {'resourceVersion': '1', **more}, 'items': items[begin:end]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def handle_any(self):
        url = urlsplit(self.path)
        self.server.methods.add(self.command)
        self.server.tokens.add(self.headers.get('Authorization'))
        code, tree = (405, {}) if self.command != 'GET' else self.server.answer(url.path, parse_qs(url.query))
        data = json.dumps(tree).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

    def log_message(self, *_):
        pass


@pytest.fixture
def api():
    server = Api()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def kubeconfig(api, tmp_path):
    path = tmp_path / 'kubeconfig'
    path.write_text(config_of(api, token='t'))
    return path


def config_of(api, **user):
    return yaml.safe_dump({'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c', 'contexts': [{'name': 'c', 'context': {'cluster': 'k', 'user': 'u'}}],
                           'clusters': [{'name': 'k', 'cluster': {'server': api.address}}], 'users': [{'name': 'u', 'user': user}]})


def node(name, *, labels=None, allocatable=None, ready='True', image='Amazon Linux 2023.9.20260701', **info):
    conditions = [{'type': 'Ready', 'status': 'True'}] + ([{'type': 'GPUSlicesReady', 'status': ready, 'reason': 'Serving'}] if ready else [])
    return {'metadata': {'name': name, 'labels': labels or {}}, 'status': {
        'allocatable': allocatable or {}, 'conditions': conditions,
        'nodeInfo': {'kubeletVersion': 'v1.36.2', 'osImage': image, 'kernelVersion': '6.12.30', 'containerRuntimeVersion': 'containerd://2.1.4', **info}}}


def workload(name, image, *, namespace='kube-system', nodes=0, spec=None, **container):
    return {'metadata': {'name': name, 'namespace': namespace}, 'status': {'desiredNumberScheduled': nodes},
            'spec': {'template': {'spec': {'containers': [{'image': image, **container}], **(spec or {})}}}}


SLICED = {'karpenter.sh/nodepool': 'gpu', 'node.kubernetes.io/instance-type': 'g5.12xlarge', 'nvidia.com/cuda.driver-version.full': '580.95.05'}


@pytest.fixture
def good(api):
    """Everything as it should be: sliced nodes of Karpenter's, and plain ones."""
    api.objects = {'/version': {'gitVersion': 'v1.36.2'},
                   '/api/v1/namespaces/gpuslice': {'metadata': {'labels': {'pod-security.kubernetes.io/enforce': 'privileged'}}}}
    api.lists = {
        '/api/v1/nodes': [node('a', labels=SLICED, allocatable={'nvidia.com/gpu.shared': '16', 'cpu': '48'}), node('cpu', ready=None)],
        '/apis/apps/v1/daemonsets': [workload('gpuslice', 'gpuslice/gpuslice:0.1.0', namespace='gpuslice', nodes=1), workload('aws-node', 'amazon-k8s-cni:v1')],
        '/apis/apps/v1/deployments': [workload('karpenter', 'karpenter/controller:1.14.1', env=[{'name': 'FEATURE_GATES', 'value': 'NodeOverlay=true'}])],
        '/apis/karpenter.sh/v1/nodepools': [{'metadata': {'name': 'gpu'}, 'spec': {'template': {
            'metadata': {'labels': {'gpuslice.dev/profile': 'p'}}, 'spec': {'nodeClassRef': {'group': 'karpenter.k8s.aws'}}}}}],
        '/apis/karpenter.sh/v1alpha1/nodeoverlays': [{'metadata': {'name': 'p-16', 'labels': {'gpuslice.dev/profile': 'p'}},
                                                      'status': {'conditions': [{'type': 'Ready', 'status': 'True', 'message': ''}]}}],
        '/apis/gpuslice.dev/v1alpha1/sliceprofiles': [{'metadata': {'name': 'p'}}]}
    return api


def check(kubeconfig, status=CLEAN, **environment):
    done = run('check', '--cluster', '--kubeconfig', kubeconfig, '-o', 'json', **environment)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def said(tree):
    return [(problem['severity'], problem['path'], problem['text']) for problem in tree['problems']]


def test_a_good_cluster(good, kubeconfig):
    tree = check(kubeconfig)
    [group] = tree['cluster']['groups']
    assert {name: guarantee['answer'] for name, guarantee in group['guarantees'].items()} == {
        'memory': 'no', 'compute': 'no', 'scheduling': 'yes', 'scaling': 'yes', 'mig': 'no'}
    assert 'advisory' in group['guarantees']['memory']['why']
    assert group['driver'] == {'580.95.05': 1} and group['cgroup'] == {'v2': 1} and group['advertised'] == {'nvidia.com/gpu.shared': 16}
    assert tree['cluster']['nodesWithoutGPU'] == 1 and tree['cluster']['karpenter']['gate'] == 'on'
    assert not tree['problems'] and tree['file'] == good.address
    assert good.methods == {'GET'} and good.tokens == {'Bearer t'}


def test_a_kind_that_is_missing_is_not_the_same_as_none_of_it(good, kubeconfig):
    good.lists['/apis/gpuslice.dev/v1alpha1/sliceprofiles'] = []
    assert 'profiles     0 SliceProfiles\n' in run('check', '--cluster', '--kubeconfig', kubeconfig).stdout
    del good.lists['/apis/gpuslice.dev/v1alpha1/sliceprofiles']
    assert 'profiles     SliceProfiles are not known to the API server\n' in run('check', '--cluster', '--kubeconfig', kubeconfig).stdout
    assert check(kubeconfig)['cluster']['profilesServed'] is False


def test_for_people(good, kubeconfig):
    done = run('check', '--cluster', '--kubeconfig', kubeconfig)
    assert done.returncode == CLEAN and done.stderr == ''
    for words in ('Kubernetes   v1.36.2', 'profiles     1 SliceProfile', 'Karpenter 1.14.1 (Deployment kube-system/karpenter)', 'gate on', 'NodePool gpu, 1 node', 'driver       580.95.05',
                  'runtime      containerd://2.1.4', 'memory       no: ', 'scaling      yes: ', 'without GPU  1', 'namespace: privileged'):
        assert words in done.stdout, words


def test_a_large_cluster_comes_in_pages(good, kubeconfig):
    good.lists['/api/v1/nodes'] = [node(f'n{i}', labels=SLICED, allocatable={'nvidia.com/gpu.shared': '16'}) for i in range(5000)]
    [group] = check(kubeconfig)['cluster']['groups']
    assert group['nodes'] == 5000 and group['advertised'] == {'nvidia.com/gpu.shared': 80000} and good.largest == PAGE
    assert good.methods == {'GET'}


@pytest.mark.parametrize('path', ['/api/v1/nodes', '/apis/apps/v1/daemonsets', '/apis/apps/v1/deployments', '/api/v1/namespaces/gpuslice',
                                  '/apis/karpenter.sh/v1/nodepools', '/apis/karpenter.sh/v1alpha1/nodeoverlays', '/apis/gpuslice.dev/v1alpha1/sliceprofiles'])
def test_a_right_that_is_missing_is_said_and_no_more(good, kubeconfig, path):
    good.hidden = {path}
    tree = check(kubeconfig, WARNINGS)
    [warning] = [text for severity, _, text in said(tree) if severity == 'warning']
    assert warning.startswith('not known: ') and f'{path} is forbidden' in warning
    assert len(tree['cluster']['groups']) == (path != '/api/v1/nodes')


def test_double_management_is_named(good, kubeconfig):
    good.objects['/apis/resource.k8s.io'] = {'preferredVersion': {'groupVersion': 'resource.k8s.io/v1'}}
    good.lists['/apis/resource.k8s.io/v1/resourceslices'] = [{'spec': {'driver': 'gpu.nvidia.com', 'nodeName': 'a'}}]
    good.lists['/apis/resource.k8s.io/v1/deviceclasses'] = [{'metadata': {'name': 'gpu.nvidia.com'}}, {'metadata': {'name': 'mig.nvidia.com'}}]
    tree = check(kubeconfig, ERRORS)
    assert [('error', 'NodePool gpu')] == [entry[:2] for entry in said(tree)] and 'given out twice' in said(tree)[0][2]
    assert tree['cluster']['groups'][0]['guarantees']['scheduling']['answer'] == 'no'
    assert 'gpu.nvidia.com on 1 nodes; DeviceClasses gpu.nvidia.com, mig.nvidia.com' in run('check', '--cluster', '--kubeconfig', kubeconfig).stdout


def test_another_plugin_on_the_same_nodes(good, kubeconfig):
    good.lists['/apis/apps/v1/daemonsets'] += [
        workload('nvdp', 'nvcr.io/nvidia/k8s-device-plugin:v0.17.0', nodes=1),
        workload('hami-device-plugin', 'projecthami/hami:v2.6', nodes=3, spec={'nodeSelector': {'gpu': 'on'}})]
    tree = check(kubeconfig, WARNINGS)
    [(_, where, text)] = said(tree)
    assert where == 'NodePool gpu' and text.startswith("NVIDIA's device plugin is to run on 1 of these nodes")
    assert {part['what'] for part in tree['cluster']['components']} == {"NVIDIA's device plugin", "HAMi's device plugin"}


@pytest.mark.parametrize(('gates', 'version', 'words'), [('NodeOverlay=false', '1.14.1', 'gate NodeOverlay is off'), ('', '1.8.2', '1.8.2 is too old')])
def test_a_karpenter_that_counts_whole_gpus(good, kubeconfig, gates, version, words):
    good.lists['/apis/apps/v1/deployments'] = [workload('karpenter', f'karpenter/controller:{version}', env=[{'name': 'FEATURE_GATES', 'value': gates}])]
    tree = check(kubeconfig, ERRORS)
    assert any(words in text for _, where, text in said(tree) if where == 'Karpenter')
    assert tree['cluster']['groups'][0]['guarantees']['scaling']['answer'] == 'no'


def test_auto_mode(good, kubeconfig):
    good.lists['/api/v1/nodes'] = [node('auto', ready=None, allocatable={'nvidia.com/gpu': '1'}, image='Bottlerocket (EKS Auto) 2026.7.1', labels={
        'karpenter.sh/nodepool': 'auto', 'eks.amazonaws.com/compute-type': 'auto', 'eks.amazonaws.com/instance-gpu-count': '1'})]
    good.lists['/apis/karpenter.sh/v1/nodepools'] = [{'metadata': {'name': 'auto'}, 'spec': {'template': {'spec': {'nodeClassRef': {'group': 'eks.amazonaws.com'}}}}}]
    tree = check(kubeconfig)
    [group] = tree['cluster']['groups']
    assert group['autoMode'] == 1 and 'Auto Mode' in group['guarantees']['scaling']['why'] and group['cgroup'] == {'': 1}
    assert any('Auto Mode' in text for severity, _, text in said(tree) if severity == 'note')


def test_a_credential_program(good, tmp_path):
    """As of EKS: kubectl's kubeconfig has a program in place of a token."""
    program = tmp_path / 'login'
    program.write_text('#!/bin/sh\n[ "$1" = get ] && echo "{\\"status\\":{\\"token\\":\\"$WORD\\"}}"\n')
    program.chmod(0o755)
    path = tmp_path / 'kubeconfig'
    path.write_text(config_of(good, exec={'apiVersion': 'client.authentication.k8s.io/v1beta1', 'command': './login', 'args': ['get'],
                                          'env': [{'name': 'WORD', 'value': 'of-the-program'}]}))
    check(path)
    assert good.tokens == {'Bearer of-the-program'}


def test_kubeconfig_as_kubectl_finds_it(good, kubeconfig, tmp_path):
    assert run('check', '--cluster', KUBECONFIG=str(kubeconfig)).returncode == CLEAN
    home = tmp_path / 'home'
    (home / '.kube').mkdir(parents=True)
    (home / '.kube/config').write_text(kubeconfig.read_text())
    assert run('check', '--cluster', KUBECONFIG=None, HOME=str(home)).returncode == CLEAN


@pytest.mark.parametrize(('arguments', 'status', 'words'), [
    (['check', '--cluster', 'file.yaml'], USAGE, 'alone'),
    (['check', '--cluster', '-m', 'p3.8xlarge'], USAGE, 'alone'),
    (['check', '--kubeconfig', 'x'], USAGE, '--cluster'),
    (['check', '--cluster', '--kubeconfig', '/nonexistent'], UNREADABLE, '/nonexistent'),
])
def test_command_line(arguments, status, words):
    done = run(*arguments)
    assert done.returncode == status and words in done.stderr and done.stdout == ''


def test_what_cannot_be_reached(tmp_path):
    nothing = {'KUBERNETES_SERVICE_HOST': None, 'HOME': str(tmp_path)}
    done = run('check', '--cluster', KUBECONFIG=None, **nothing)
    assert done.returncode == UNREADABLE and '--kubeconfig FILE' in done.stderr
    done = run('check', '--cluster', KUBECONFIG='/a:/b', **nothing)
    assert done.returncode == UNREADABLE and 'several files' in done.stderr
    server = Api()
    (tmp_path / 'kubeconfig').write_text(config_of(server, token='t'))
    server.shutdown()
    server.server_close()
    done = run('check', '--cluster', '--kubeconfig', tmp_path / 'kubeconfig')
    assert done.returncode == UNREADABLE and 'Connection refused' in done.stderr
