# SPDX-License-Identifier: Apache-2.0
"""The chart before a real API server: everything it renders is accepted, the service account may do what the
agent needs and nothing else, and the admission policy binds an agent to its own node."""
import json
import os
import re
import shutil
import subprocess

import pytest
import yaml

import bed
import programs
from api import Api, Refused

CHART = programs.ROOT / 'deploy/helm/gpuslice'
MANIFEST = programs.ROOT / 'deploy/gpuslice.yml'
NAMESPACE, ACCOUNT = 'kube-system', 'nvdp-gpuslice'
CONTAINERS = ['agent', 'nodesync', 'http']
APPLY = 'application/apply-patch+yaml'
JSON_PATCH = 'application/json-patch+json'
MERGE = 'application/merge-patch+json'
FEATURES = '/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/kube-system/nodefeatures'

NODE_FEATURE_CRD = {
    'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition',
    'metadata': {'name': 'nodefeatures.nfd.k8s-sigs.io'},
    'spec': {'group': 'nfd.k8s-sigs.io', 'scope': 'Namespaced',
             'names': {'kind': 'NodeFeature', 'plural': 'nodefeatures', 'singular': 'nodefeature'},
             'versions': [{'name': 'v1alpha1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': {
                 'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}}}]}}


def helm(*words, values=None):
    done = subprocess.run([programs.ROOT / 'tools/helm', *words, *(['-f', '-'] if values else [])],
                          input=json.dumps(values) if values else None, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(*words, values=None):
    return helm('template', 'nvdp', CHART, '--namespace', NAMESPACE, *words, values=values)


def pod(name, node, account):
    return {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name, 'namespace': NAMESPACE},
            'spec': {'nodeName': node, 'serviceAccountName': account,
                     'containers': [{'name': 'agent', 'image': 'gpuslice/gpuslice'}]}}


@pytest.fixture(scope='module')
def cluster(plane):
    """An API server with nodes a and b, the chart installed, and the NodeFeature CRD of NFD."""
    bed.wait('kube-system', lambda: plane.api.find(f'/api/v1/namespaces/{NAMESPACE}'))
    for name in ('a', 'b'):
        plane.api.call('/api/v1/nodes', 'POST', {
            'metadata': {'name': name, 'labels': {'kubernetes.io/hostname': name}, 'annotations': {'of': 'others'}},
            'spec': {'taints': [{'key': 'node.kubernetes.io/lost', 'effect': 'NoSchedule'}]}})
        plane.api.call(f'/api/v1/nodes/{name}/status', 'PATCH', {'status': {
            'capacity': {'nvidia.com/gpu': '4'}, 'allocatable': {'nvidia.com/gpu': '4'},
            'conditions': [{'type': 'Ready', 'status': 'True'}]}})
    plane.api.call('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', 'POST', NODE_FEATURE_CRD)
    plane.kubectl('apply', '-f', '-', stdin=render('--no-hooks'))
    bed.wait('the CRD', lambda: plane.answers(FEATURES))
    return plane


def token_of(cluster, name, node):
    """A token as the kubelet of `node` gives it to a pod there."""
    if not cluster.api.find(f'/api/v1/namespaces/{NAMESPACE}/pods/{name}'):
        cluster.api.call(f'/api/v1/namespaces/{NAMESPACE}/pods', 'POST', pod(name, node, ACCOUNT))
    return cluster.kubectl('-n', NAMESPACE, 'create', 'token', ACCOUNT, '--bound-object-kind', 'Pod',
                           '--bound-object-name', name).strip()


@pytest.fixture(scope='module')
def agent(cluster):
    """The API server as the agent on node a calls it, once the policy is in force."""
    api = Api(cluster.port, cluster.pki / 'ca.crt', token_of(cluster, 'agent-a', 'a'))

    def is_in_force():
        try:
            api.call('/api/v1/nodes/b', 'PATCH', {'metadata': {'labels': {'nvidia.com/probe': 'x'}}}, MERGE)
        except Refused as refused:
            return 'own node' in refused.text
        return False
    bed.wait('the policy in force', is_in_force)
    return api


def refusal(call, *arguments):
    with pytest.raises(Refused) as refused:
        call(*arguments)
    assert refused.value.status in (403, 422), refused.value
    return json.loads(refused.value.text)['message']


def labelled(name, **labels):
    return {'apiVersion': 'v1', 'kind': 'Node',
            'metadata': {'name': name, 'labels': {key.replace('__', '/').replace('_', '.'): value
                                                  for key, value in labels.items()}}}


def event(name, host, kind='Node', of='a', namespace='default'):
    return {'apiVersion': 'v1', 'kind': 'Event', 'metadata': {'name': name, 'namespace': namespace},
            'involvedObject': {'kind': kind, 'name': of, 'namespace': namespace if kind == 'Pod' else ''},
            'reason': 'Test', 'message': 'a test', 'type': 'Normal', 'count': 1,
            'source': {'component': 'gpuslice-node', 'host': host}, 'reportingComponent': 'gpuslice-node'}


def feature(node, label=None):
    return {'apiVersion': 'nfd.k8s-sigs.io/v1alpha1', 'kind': 'NodeFeature',
            'metadata': {'name': f'nvidia-features-for-{node}',
                         'labels': {'nfd.node.kubernetes.io/node-name': label or node}},
            'spec': {'labels': {'nvidia.com/gpu.count': '4'}}}


# -- everything rendered is valid -------------------------------------------------------------------

VARIANTS = {
    'default': {},
    'enforced': {'arbiter': {'memory': 'enforced', 'onViolation': 'kill'}},
    'audit': {'arbiter': {'mode': 'audit'}},
    'no arbiter': {'arbiter': {'enabled': False}},
    'configmap': {'config': {'name': 'nvidia-device-plugin'}},
    'map': {'config': {'map': {'default': 'version: v1\nflags: {migStrategy: mixed}\n'}}},
    'privileged': {'compatWithCPUManager': True},
    'cdi': {'deviceListStrategy': ['cdi-cri', 'envvar'], 'nvidiaDriverRoot': '/run/nvidia/driver'},
    'volume-mounts': {'deviceListStrategy': 'volume-mounts'},
    'mig': {'migStrategy': 'single'},
    'host': {'hostNetwork': True, 'httpAddress': '127.0.0.1:9410', 'extraEnv': [{'name': 'NODE_NAME', 'value': 'n'}],
             'extraArgs': ['--log-level=debug'], 'readinessPath': '/readyz'},
    'nvidia': {'devicePlugin': {'containers': {'main': {'env': [{'name': 'NVIDIA_VISIBLE_DEVICES', 'value': 'all'}]}}},
               'updateStrategy': {'type': 'OnDelete'}, 'podAnnotations': {'a': 'b'}, 'runtimeClassName': 'nvidia',
               'imagePullSecrets': [{'name': 'pull'}], 'selectorLabelsOverride': {'app': 'gpus'}},
}


@pytest.mark.parametrize('name', VARIANTS)
def test_the_api_server_accepts_all_of_it(cluster, name):
    # hooks too; other names than the release that is installed, since a selector cannot change
    text = helm('template', 'other', CHART, '--namespace', NAMESPACE, values=VARIANTS[name])
    cluster.kubectl('apply', '--server-side', '--dry-run=server', '--validate=strict', '-f', '-', stdin=text)


def test_the_api_server_accepts_the_manifest(cluster):
    cluster.kubectl('apply', '--dry-run=server', '--validate=strict', '-f', MANIFEST)


def test_the_guides_command_and_its_end(cluster):
    """Installed, upgraded and uninstalled by helm; the Job that ends the agents needs a node, which is not here."""
    examples = programs.ROOT / 'deploy/examples'
    cluster.kubectl('apply', '-f', examples / 'time-slicing-configmap.yaml')
    os.environ['KUBECONFIG'] = str(cluster.kubeconfig)
    try:
        command = ['upgrade', '-i', 'guide', CHART, '--namespace', 'kube-system', '-f', examples / 'nvdp-values.yaml',
                   '--set', 'config.name=nvidia-device-plugin']
        assert 'Ignored values' in helm(*command)
        daemonset = f'/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/guide-gpuslice'
        assert cluster.api.call(daemonset)['metadata']['generation'] == 1
        helm(*command)
        assert cluster.api.call(daemonset)['metadata']['generation'] == 1, 'the same command again restarts nothing'
        helm(*command, '--set', 'logFormat=json')
        container, *others = cluster.api.call(daemonset)['spec']['template']['spec']['containers']
        assert [one['name'] for one in (container, *others)] == CONTAINERS
        assert {'name': 'GPUSLICE_LOG_FORMAT', 'value': 'json'} in container['env']
        helm('uninstall', 'guide', '--namespace', 'kube-system', '--no-hooks')
    finally:
        del os.environ['KUBECONFIG']
    kinds = ('daemonsets,serviceaccounts,configmaps,secrets,roles,rolebindings,clusterroles,clusterrolebindings,'
             'validatingadmissionpolicies,validatingadmissionpolicybindings')
    left = json.loads(cluster.kubectl('get', kinds, '--all-namespaces', '-o', 'json'))['items']
    assert not [one for one in left if 'guide' in one['metadata']['name']]
    assert cluster.api.find(f'/api/v1/namespaces/{NAMESPACE}/configmaps/nvidia-device-plugin'), 'that was not ours'


def earlier_chart(folder):
    """This chart, from before a SliceProfile had `repair`."""
    chart = shutil.copytree(CHART, folder / 'gpuslice')
    kind = yaml.safe_load((chart / 'sliceprofiles.yaml').read_text())
    del kind['spec']['versions'][0]['schema']['openAPIV3Schema']['properties']['spec']['properties']['repair']
    (chart / 'sliceprofiles.yaml').write_text(yaml.safe_dump(kind))
    return chart


def test_the_kind_is_upgraded_and_outlives_the_chart(cluster, tmp_path):
    """Helm does neither with what is in crds/; the next installation takes over what is left, one of another name with --take-ownership."""
    profiles, made = '/apis/gpuslice.dev/v1alpha1/sliceprofiles', {
        'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': 'kept'},
        'spec': {'instanceTypes': ['p3.8xlarge'], 'timeSlicing': {'replicas': 4}, 'repair': 'replace'}}
    os.environ['KUBECONFIG'] = str(cluster.kubeconfig)
    try:
        def upgrade(chart, *words):
            helm('upgrade', '-i', 'kinds', chart, '--namespace', 'kube-system', '--set', 'sliceProfiles.enabled=true', *words)
            cluster.await_kinds()
        upgrade(earlier_chart(tmp_path))
        with pytest.raises(bed.BedError, match='unknown field "spec.repair"'):
            cluster.kubectl('create', '--validate=strict', '-f', '-', stdin=yaml.safe_dump(made))
        upgrade(CHART)
        bed.wait('the new field', lambda: 'repair' in cluster.kubectl('create', '--dry-run=server', '-o', 'yaml', '-f', '-', stdin=yaml.safe_dump(made)))
        cluster.kubectl('create', '--validate=strict', '-f', '-', stdin=yaml.safe_dump(made))
        helm('uninstall', 'kinds', '--namespace', 'kube-system', '--no-hooks')
        assert cluster.api.call(f'{profiles}/kept')['spec']['repair'] == 'replace'
        upgrade(CHART)
        helm('uninstall', 'kinds', '--namespace', 'kube-system', '--no-hooks')
        assert cluster.api.find(f'{profiles}/kept')
        helm('upgrade', '-i', 'renamed', CHART, '--namespace', 'kube-system', '--set', 'sliceProfiles.enabled=true', '--take-ownership')
        helm('uninstall', 'renamed', '--namespace', 'kube-system', '--no-hooks')
        assert cluster.api.find(f'{profiles}/kept')
    finally:
        del os.environ['KUBECONFIG']


def test_the_patch_gives_the_manifest_a_configmap(cluster):
    cluster.kubectl('apply', '-f', MANIFEST)
    try:
        out = cluster.kubectl('-n', NAMESPACE, 'patch', 'daemonset', 'gpuslice', '-o', 'json', '--patch-file',
                              MANIFEST.with_name('gpuslice-configmap.patch.yml'))
        container, *others = json.loads(out)['spec']['template']['spec']['containers']
        assert [one['name'] for one in (container, *others)] == CONTAINERS
        environment = {one['name']: one.get('value') for one in container['env']}
        assert environment['CONFIG_FILE_SRCDIR'] == '/available-configs'
        assert environment['NVIDIA_VISIBLE_DEVICES'] == 'all'
        assert '/available-configs' in [mount['mountPath'] for mount in container['volumeMounts']]
        out = cluster.kubectl('-n', NAMESPACE, 'set', 'env', 'daemonset/gpuslice', 'MIG_STRATEGY=single', '-o', 'json')
        environment = json.loads(out)['spec']['template']['spec']['containers'][0]['env']
        assert {'name': 'MIG_STRATEGY', 'value': 'single'} in environment
    finally:
        cluster.kubectl('delete', '-f', MANIFEST)


def test_all_of_it_in_one_step(cluster):
    """`kubectl apply -k deploy/`, and away again."""
    out = cluster.kubectl('apply', '-k', MANIFEST.parent)
    try:
        assert 'daemonset.apps/gpuslice created' in out and 'configmap/nvidia-device-plugin' in out
        assert 'created' not in cluster.kubectl('apply', '-k', MANIFEST.parent)
    finally:
        cluster.kubectl('delete', '-k', MANIFEST.parent)


def test_the_policy_compiles_without_a_remark(cluster):
    """What the API server says of an expression: nothing. (Its controller would type-check; none runs here.)"""
    policy = json.loads(cluster.kubectl('get', 'validatingadmissionpolicy', ACCOUNT, '-o', 'json'))
    assert not policy.get('status', {}).get('typeChecking', {}).get('expressionWarnings')


# -- Pod Security, as the API server judges it ------------------------------------------------------------

LEVELS = {
    # values                                       what "baseline" has against the agent's pod
    'default':     ({}, {'hostPath volumes'}),
    'privileged':  ({'compatWithCPUManager': True}, {'hostPath volumes', 'privileged'}),
    'mig':         ({'migStrategy': 'mixed'}, {'hostPath volumes', 'non-default capabilities'}),
    'host':        ({'hostNetwork': True}, {'hostPath volumes', 'host namespaces'}),
}


def judged(cluster, level, document):
    """The kinds of violations that Pod Security finds in one object at a level."""
    name = f'{level}-{document["kind"]}'.lower()
    if not cluster.api.find(f'/api/v1/namespaces/{name}'):
        cluster.api.call('/api/v1/namespaces', 'POST', {'metadata': {'name': name, 'labels': {
            'pod-security.kubernetes.io/warn': level}}})
    document['metadata']['namespace'] = name
    done = subprocess.run([programs.clients() / 'kubectl', f'--kubeconfig={cluster.kubeconfig}', 'create', '--dry-run=server',
                           '-f', '-'], input=json.dumps(document), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    said = re.search(r'would violate PodSecurity "[^"]+": (.*)', done.stderr)
    return set(re.findall(r'(?:^|, )([A-Za-z][\w -]*?)(?= \()', said[1])) if said else set()


def only(text, kind, name=ACCOUNT):
    found, = [one for one in yaml.safe_load_all(text) if one and (one['kind'], one['metadata']['name']) == (kind, name)]
    return found


@pytest.mark.parametrize('name', LEVELS)
def test_what_bars_the_agent_from_baseline(cluster, name):
    values, expected = LEVELS[name]
    assert judged(cluster, 'baseline', only(render(values=values), 'DaemonSet')) == expected


def test_what_bars_the_arbiter_from_baseline(cluster):
    rendered = render()
    assert judged(cluster, 'baseline', only(rendered, 'DaemonSet', f'{ACCOUNT}-arbiter')) == {'hostPath volumes', 'host namespaces'}
    assert judged(cluster, 'baseline', only(rendered, 'DaemonSet', f'{ACCOUNT}-arbiter-http')) == {'hostPath volumes'}


def test_the_job_before_an_uninstallation_meets_restricted(cluster):
    job = only(render(), 'Job', f'{ACCOUNT}-uninstall')
    assert judged(cluster, 'restricted', job) == set()
    job['spec']['template']['spec']['hostNetwork'] = True
    assert judged(cluster, 'restricted', job) == {'host namespaces'}


def test_what_speaks_with_the_network_meets_restricted(cluster):
    """Its containers by themselves, without the agent's."""
    daemonset = only(render(), 'DaemonSet')
    spec = daemonset['spec']['template']['spec']
    spec['containers'] = [one for one in spec['containers'] if one['name'] != 'agent']
    mounted = {mount['name'] for one in spec['containers'] for mount in one['volumeMounts']}
    spec['volumes'] = [one for one in spec['volumes'] if one['name'] in mounted]
    assert len(spec['containers']) == 2 and judged(cluster, 'restricted', daemonset) == set()


# -- what the service account may do ---------------------------------------------------------------------

MAY = [
    ('list', 'nodes', None), ('watch', 'nodes', None), ('patch', 'nodes', None), ('patch', 'nodes/status', None),
    ('create', 'events', 'default'), ('patch', 'events', 'default'), ('create', 'events', 'gpu-demo'),
    ('get', 'pods', 'kube-system'), ('get', 'pods', 'gpu-demo'),
    ('get', f'daemonsets.apps/{ACCOUNT}', NAMESPACE),
    ('get', 'nodefeatures.nfd.k8s-sigs.io', NAMESPACE), ('create', 'nodefeatures.nfd.k8s-sigs.io', NAMESPACE),
    ('patch', 'nodefeatures.nfd.k8s-sigs.io', NAMESPACE), ('delete', 'nodefeatures.nfd.k8s-sigs.io', NAMESPACE),
]
MAY_NOT = [
    ('update', 'nodes', None), ('delete', 'nodes', None), ('create', 'nodes', None), ('update', 'nodes/status', None),
    ('list', 'pods', None), ('delete', 'pods', 'gpu-demo'), ('create', 'pods', NAMESPACE),
    ('create', 'pods/exec', 'gpu-demo'),
    ('create', 'pods/eviction', 'gpu-demo'), ('get', 'secrets', NAMESPACE), ('list', 'secrets', None),
    ('get', 'configmaps', NAMESPACE), ('list', 'events', 'default'), ('delete', 'events', 'default'),
    ('get', 'daemonsets.apps/other', NAMESPACE), ('delete', f'daemonsets.apps/{ACCOUNT}', NAMESPACE),
    ('create', 'nodefeatures.nfd.k8s-sigs.io', 'default'), ('create', 'serviceaccounts/token', NAMESPACE),
    ('impersonate', 'users', None), ('bind', 'clusterroles.rbac.authorization.k8s.io', None),
]


def can_i(cluster, verb, resource, namespace):
    where = ['-n', namespace] if namespace else []
    kind, _, name = resource.partition('/')
    resource = [kind, f'--subresource={name}'] if name in ('status', 'exec', 'eviction', 'token') else [resource]
    done = subprocess.run([programs.clients() / 'kubectl', f'--kubeconfig={cluster.kubeconfig}', 'auth', 'can-i', verb,
                           *resource, *where, f'--as=system:serviceaccount:{NAMESPACE}:{ACCOUNT}'], capture_output=True, text=True)
    answer = done.stdout.strip().splitlines()[-1:]
    assert answer and answer[0] in ('yes', 'no'), done.stderr
    return answer[0] == 'yes'


@pytest.mark.parametrize('verb,resource,namespace', MAY)
def test_the_agent_may(cluster, verb, resource, namespace):
    assert can_i(cluster, verb, resource, namespace)


@pytest.mark.parametrize('verb,resource,namespace', MAY_NOT)
def test_the_agent_may_not(cluster, verb, resource, namespace):
    assert not can_i(cluster, verb, resource, namespace)


# -- the policy: own node ------------------------------------------------------------------------------

def patch_node(api, name, body, kind=APPLY, sub=''):
    query = '?fieldManager=gpuslice-node' if kind == APPLY else ''
    return api.call(f'/api/v1/nodes/{name}{sub}{query}', 'PATCH', body, kind)


def test_labels_of_the_own_node_are_written(agent):
    patch_node(agent, 'a', labelled('a', nvidia_com__gpu_count='4', gpu='a10', gpuslice_dev__profile='x'))
    node = patch_node(agent, 'a', labelled('a', nvidia_com__gpu_count='8'))
    assert node['metadata']['labels'] == {'kubernetes.io/hostname': 'a', 'nvidia.com/gpu.count': '8'}


def test_another_node_is_refused_by_name(agent):
    said = refusal(patch_node, agent, 'b', labelled('b', nvidia_com__gpu_count='4'))
    assert 'writes only to its own node, a' in said


def test_the_condition_of_the_own_node_is_written(agent):
    body = {'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'a'}, 'status': {'conditions': [
        {'type': 'GPUSlicesReady', 'status': 'True', 'reason': 'AllResourcesRegistered', 'message': 'm'}]}}
    node = patch_node(agent, 'a', body, sub='/status')
    assert [one['type'] for one in node['status']['conditions']] == ['Ready', 'GPUSlicesReady']
    assert 'own node, a' in refusal(patch_node, agent, 'b', dict(body, metadata={'name': 'b'}), APPLY, '/status')


@pytest.mark.parametrize('status', [
    {'capacity': {'nvidia.com/gpu': '64'}}, {'allocatable': {'nvidia.com/gpu': '64'}},
    {'conditions': [{'type': 'Ready', 'status': 'False'}]}, {'addresses': [{'type': 'InternalIP', 'address': '10.0.0.1'}]},
    {'images': [{'names': ['x']}]}])
def test_the_rest_of_the_status_is_refused(agent, status):
    body = {'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'a'}, 'status': status}
    assert 'but the condition GPUSlicesReady' in refusal(
        agent.call, '/api/v1/nodes/a/status?fieldManager=gpuslice-node&force=true', 'PATCH', body, APPLY)


@pytest.mark.parametrize('label', ['kubernetes.io/hostname', 'node-role.kubernetes.io/control-plane',
                                   'node-restriction.kubernetes.io/tenant', 'topology.kubernetes.io/zone', 'x.k8s.io/y'])
@pytest.mark.parametrize('sub', ['', '/status'])
def test_labels_of_kubernetes_are_refused(agent, label, sub):
    assert 'kubernetes.io or k8s.io' in refusal(patch_node, agent, 'a', {'metadata': {'labels': {label: 'x'}}}, MERGE, sub)


def test_labels_of_kubernetes_cannot_be_removed(agent):
    assert 'kubernetes.io or k8s.io' in refusal(
        patch_node, agent, 'a', {'metadata': {'labels': {'kubernetes.io/hostname': None}}}, MERGE)


def test_only_our_annotations_change(agent):
    patch_node(agent, 'a', {'metadata': {'annotations': {'gpuslice.dev/taints': 'gpu'}}}, MERGE)
    patch_node(agent, 'a', {'metadata': {'annotations': {'gpuslice.dev/taints': None}}}, MERGE)
    patch_node(agent, 'a', {'metadata': {'annotations': {'gpuslice.dev/mig-names': 'nvidia.com/gpu=1'}}}, MERGE)
    patch_node(agent, 'a', {'metadata': {'annotations': {'gpuslice.dev/mig-names': None}}}, MERGE)
    for annotations in ({'of': 'us'}, {'of': None}, {'other': 'x'}, {'gpuslice.dev/mig-drain': 'allowed'},
                        {'gpuslice.dev/mig-names-demand': 'nvidia.com/gpu=1'}):
        assert 'gpuslice.dev/mig-waits' in refusal(patch_node, agent, 'a', {'metadata': {'annotations': annotations}}, MERGE)


def test_taints_of_others_than_kubernetes_change(cluster, agent):
    path, found = '/spec/taints', cluster.api.call('/api/v1/nodes/a')['spec']['taints']
    assert 'node.kubernetes.io/lost' in [taint['key'] for taint in found]
    ours = {'key': 'nvidia.com/gpu-shared', 'value': 'true', 'effect': 'NoSchedule'}
    patch_node(agent, 'a', [{'op': 'test', 'path': path, 'value': found},
                            {'op': 'replace', 'path': path, 'value': [*found, ours]}], JSON_PATCH)
    patch_node(agent, 'a', [{'op': 'replace', 'path': path, 'value': found}], JSON_PATCH)
    for wrong in ([], [ours], [dict(one, effect='NoExecute') for one in found],
                  [*found, {'key': 'node.kubernetes.io/x', 'effect': 'NoExecute'}]):
        assert 'no taint of Kubernetes' in refusal(
            patch_node, agent, 'a', [{'op': 'replace', 'path': path, 'value': wrong}], JSON_PATCH)
    assert cluster.api.call('/api/v1/nodes/a')['spec']['taints'] == found


def test_the_node_is_not_cordoned_nor_bound(agent):
    assert 'does not cordon' in refusal(patch_node, agent, 'a', {'spec': {'unschedulable': True}}, MERGE)
    assert 'finalizers' in refusal(patch_node, agent, 'a', {'metadata': {'finalizers': ['x.example/y']}}, MERGE)


def test_events_of_the_own_node_and_of_pods(agent):
    agent.call('/api/v1/namespaces/default/events', 'POST', event('one', 'a'))
    agent.call('/api/v1/namespaces/default/events/one', 'PATCH', {'count': 2}, MERGE)
    agent.call('/api/v1/namespaces/kube-system/events', 'POST', event('two', 'a', 'Pod', 'agent-a', 'kube-system'))


@pytest.mark.parametrize('wrong', [event('x', 'b'), event('x', ''), event('x', 'a', of='b'),
                                   event('x', 'a', 'Deployment', 'd')])
def test_events_in_the_name_of_others_are_refused(agent, wrong):
    assert 'its own node, a' in refusal(agent.call, '/api/v1/namespaces/default/events', 'POST', wrong)


def test_events_of_others_are_not_changed(cluster, agent):
    cluster.api.call('/api/v1/namespaces/default/events', 'POST', event('foreign', 'b', of='b'))
    for body in ({'count': 9}, {'source': {'host': 'a'}, 'involvedObject': {'name': 'a'}}):
        refusal(agent.call, '/api/v1/namespaces/default/events/foreign', 'PATCH', body, MERGE)


def test_the_own_node_feature_is_written(agent):
    agent.call(FEATURES, 'POST', feature('a'))
    agent.call(f'{FEATURES}/nvidia-features-for-a', 'PATCH', {'spec': {'labels': {'nvidia.com/gpu.count': '8'}}}, MERGE)
    assert 'only its own node, a' in refusal(
        agent.call, f'{FEATURES}/nvidia-features-for-a', 'PATCH',
        {'metadata': {'labels': {'nfd.node.kubernetes.io/node-name': 'b'}}}, MERGE)
    agent.call(f'{FEATURES}/nvidia-features-for-a', 'DELETE')


def test_another_node_feature_is_refused(cluster, agent):
    cluster.api.call(FEATURES, 'POST', feature('b'))
    assert 'nvidia-features-for-a' in refusal(agent.call, FEATURES, 'POST', feature('c'))
    assert 'only its own node, a' in refusal(agent.call, FEATURES, 'POST', feature('a', 'b'))
    assert 'nvidia-features-for-a' in refusal(agent.call, f'{FEATURES}/nvidia-features-for-b', 'DELETE')
    assert 'nvidia-features-for-a' in refusal(
        agent.call, f'{FEATURES}/nvidia-features-for-b', 'PATCH', {'spec': {'labels': {'x': 'y'}}}, MERGE)


def test_a_token_of_no_pod_writes_nothing(cluster, agent):
    token = cluster.kubectl('-n', NAMESPACE, 'create', 'token', ACCOUNT).strip()
    loose = Api(cluster.port, cluster.pki / 'ca.crt', token)
    assert 'names no node' in refusal(patch_node, loose, 'a', labelled('a', nvidia_com__gpu_count='4'))


def test_others_are_not_bound(cluster, agent):
    """The policy is about our service account; who else may write, writes."""
    cluster.api.call('/api/v1/nodes/b', 'PATCH', {'metadata': {'labels': {'node-role.kubernetes.io/gpu': ''}}}, MERGE)
