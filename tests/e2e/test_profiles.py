# SPDX-License-Identifier: Apache-2.0
"""SliceProfiles at a real API server, and what `gpuslice convert` and `gpuslice render` print, before the schemas of Karpenter and of
AWS's provider with their CEL rules: 1.14, and 1.15 in e2e-soak."""
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml

import bed
import programs

GPUSLICE = Path(os.environ.get('GPUSLICE_BUILD', programs.ROOT / 'build')).resolve() / 'src/gpuslice'
CRD = programs.ROOT / 'deploy/helm/gpuslice/sliceprofiles.yaml'
PROVIDER, OLD, NEW = 'github.com/aws/karpenter-provider-aws', 'v1.14.1', 'v1.15.0'
PORT = 27643

SHARED = {'timeSlicing': {'replicas': 4}}
MIG = {'mig': {'strategy': 'mixed', 'layout': 'all-1g.5gb'}}
# What both the API server and gpuslice take.
TAKEN = [
    {'gpuNames': ['a10g'], **SHARED},
    {'instanceTypes': ['p4d.24xlarge'], 'mig': {'strategy': 'single', 'layout': 'all-1g.5gb.me'}},
    {'instanceTypes': ['p4d.24xlarge'], 'mig': {'strategy': 'mixed', 'layout': 'all-balanced'}, 'nodePool': 'create', 'repair': 'replace'},
    {'gpuNames': ['t4'], 'timeSlicing': {'replicas': 2, 'rename': 'nvidia.com/gpu.slice', 'failRequestsGreaterThanOne': True}, 'taints': []},
    {'gpuNames': ['t4'], 'timeSlicing': {'replicas': 2, 'renameByDefault': True}, 'labels': {'a/b': 'c', 'd': ''},
     'taints': [{'key': 'k', 'value': 'v', 'effect': 'NoExecute'}], 'nodePool': 'mine', 'maxNodes': 8, 'consolidateAfter': '1h30m',
     'capacityTypes': ['spot', 'reserved'], 'nodeClass': {'group': 'karpenter.kwok.sh', 'kind': 'KWOKNodeClass', 'name': 'default'}},
    {'gpuNames': ['t4'], 'mps': {'replicas': 3}, 'consolidateAfter': 'Never'},
    {'gpuNames': ['t4'], 'slices': [{'name': 'half', 'share': '50%'}, {'name': '125m', 'share': '12.5%', 'count': 4, 'memory': '1Gi'}]},
    {'instanceTypes': ['p4d.24xlarge'], 'mig': {'strategy': 'mixed', 'devices': {'1g.5gb': 2, '1g.5gb+me': 1, '3g.20gb': 1}}},
]
# What both refuse.
REFUSED = [
    {**SHARED}, {'gpuNames': ['t4']}, {'gpuNames': [], **SHARED}, {'gpuNames': [''], **SHARED}, {'gpuNames': ['t4'], **SHARED, **MIG},
    {'gpuNames': ['t4'], 'timeSlicing': {'replicas': 1}}, {'gpuNames': ['t4'], 'timeSlicing': {}},
    {'gpuNames': ['t4'], 'timeSlicing': {'replicas': 2, 'rename': 'x', 'renameByDefault': True}},
    {'gpuNames': ['t4'], 'timeSlicing': {'replicas': 2, 'rename': 'gpu'}}, {'gpuNames': ['t4'], 'timeSlicing': {'replicas': 2, 'rename': 'A b'}},
    {'gpuNames': ['a100'], 'mig': {'strategy': 'none', 'layout': 'all-1g.5gb'}}, {'gpuNames': ['a100'], 'mig': {'strategy': 'mixed', 'layout': 'mine'}},
    {'gpuNames': ['a100'], 'mig': {'strategy': 'mixed', 'layout': 'all-disabled'}}, {'gpuNames': ['a100'], 'mig': {'strategy': 'mixed'}},
    {'gpuNames': ['a100'], 'mig': {'strategy': 'mixed', 'layout': 'all-1g.5gb', 'devices': {'1g.5gb': 2}}},
    {'gpuNames': ['a100'], 'mig': {'strategy': 'mixed', 'devices': {}}}, {'gpuNames': ['a100'], 'mig': {'strategy': 'mixed', 'devices': {'half': 2}}},
    {'gpuNames': ['a100'], 'mig': {'strategy': 'mixed', 'devices': {'1g.5gb': 0}}}, {'gpuNames': ['a100'], 'mig': {'strategy': 'mixed', 'devices': {'1g.5gb': '2'}}},
    {'gpuNames': ['t4'], **SHARED, 'labels': {'gpuslice.dev/profile': 'x'}}, {'gpuNames': ['t4'], **SHARED, 'labels': {'karpenter.sh/nodepool': 'x'}},
    {'gpuNames': ['t4'], **SHARED, 'labels': {'a': 'b c'}}, {'gpuNames': ['t4'], **SHARED, 'taints': [{'key': 'k', 'effect': 'Maybe'}]},
    {'gpuNames': ['t4'], **SHARED, 'taints': [{'effect': 'NoSchedule'}]}, {'gpuNames': ['t4'], **SHARED, 'nodePool': 'A'},
    {'gpuNames': ['t4'], **SHARED, 'nodeClass': {'name': 'x'}},
    {'gpuNames': ['t4'], **SHARED, 'nodeClass': {'group': 'eks.amazonaws.com', 'kind': 'NodeClass', 'name': 'default'}}, {'gpuNames': ['t4'], **SHARED, 'capacityTypes': ['cheap']},
    {'gpuNames': ['t4'], **SHARED, 'maxNodes': 0}, {'gpuNames': ['t4'], **SHARED, 'consolidateAfter': '5 minutes'},
    {'gpuNames': ['t4'], **SHARED, 'slices': [{'name': 'half', 'share': '50%'}]}, {'gpuNames': ['t4'], 'slices': []},
    {'gpuNames': ['t4'], 'slices': [{'name': 'half'}]}, {'gpuNames': ['t4'], 'slices': [{'name': 'A', 'share': '50%'}]},
    {'gpuNames': ['t4'], 'slices': [{'name': 'half', 'share': 'much'}]}, {'gpuNames': ['t4'], 'slices': [{'name': 'a', 'share': '5%'}, {'name': 'a', 'share': '6%'}]},
    {'gpuNames': ['t4'], **SHARED, 'repair': 'all'}, {'gpuNames': ['t4'], **SHARED, 'nodepool': 'x'},
]
PROVISIONER = {
    'apiVersion': 'karpenter.sh/v1alpha5', 'kind': 'Provisioner', 'metadata': {'name': 'old'}, 'spec': {
        'annotations': {'karpenter.sh/do-not-evict': 'true'}, 'consolidation': {'enabled': True}, 'labels': {'a': 'b'}, 'weight': 7,
        'kubeletConfiguration': {'maxPods': 20, 'containerRuntime': 'containerd', 'systemReserved': {'cpu': '100m'}, 'clusterDNS': ['10.0.1.100']},
        'limits': {'resources': {'cpu': '1000', 'memory': '1000Gi'}}, 'ttlSecondsUntilExpired': 2592000,
        'requirements': [{'key': 'nvidia.com/gpu', 'operator': 'In', 'values': ['a100', 'a10', 't4', 'h100']},
                         {'key': 'karpenter.k8s.aws/instance-cpu', 'operator': 'Gt', 'values': ['3']}, {'key': 'x', 'operator': 'DoesNotExist'}],
        'taints': [{'key': 'k', 'value': 'v', 'effect': 'NoSchedule'}], 'startupTaints': [{'key': 'k', 'effect': 'NoExecute'}],
        'provider': {'amiFamily': 'Custom', 'amiSelector': {'aws::ids': 'ami-1,ami-2'}, 'instanceProfile': 'p', 'tags': {'a': 1}, 'userData': 'x',
                     'subnetSelector': {'a': 'b', 'aws-ids': 'subnet-1'}, 'securityGroupSelector': {'aws::name': 'sg'}, 'detailedMonitoring': True,
                     'blockDeviceMappings': [{'deviceName': '/dev/xvda', 'ebs': {'volumeSize': '100Gi', 'volumeType': 'gp3'}}],
                     'metadataOptions': {'httpEndpoint': 'enabled', 'httpTokens': 'required', 'httpPutResponseHopLimit': 2}}}}


def module(version):
    """The folder of the provider's Go module, fetched by Go's own means and checked by Go's checksum database."""
    with tempfile.TemporaryDirectory() as nowhere:
        done = subprocess.run([programs.ROOT / 'tools/go', 'mod', 'download', '-json', f'{PROVIDER}@{version}'], check=True,
                              cwd=nowhere if version == OLD else programs.HERE / 'go/aws',  # whose Go is new enough
                              capture_output=True, text=True)
    return Path(json.loads(done.stdout)['Dir'])


@pytest.fixture(scope='module', params=[OLD, pytest.param(NEW, marks=pytest.mark.soak)])
def plane(request, tmp_path_factory):
    one = bed.ControlPlane(tmp_path_factory.mktemp('profiles'), PORT)
    crds = module(request.param) / 'pkg/apis/crds'
    try:
        one.up()
        files = [CRD, *(crds / f'karpenter.{name}.yaml' for name in ('sh_nodepools', 'sh_nodeoverlays', 'k8s.aws_ec2nodeclasses'))]
        one.kubectl('apply', '--server-side', *(word for path in files for word in ('-f', path)))
        one.await_kinds()
        yield one
    finally:
        one.down()


def profile(spec, name='p'):
    return yaml.safe_dump({'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': name}, 'spec': spec})


def gpuslice(*arguments, stdin):
    return subprocess.run([GPUSLICE, *arguments, '-'], input=stdin, capture_output=True, text=True, check=False, timeout=60)


def apply(plane, text):
    """What the API server would say; unknown fields are errors."""
    return plane.kubectl('create', '--dry-run=server', '--validate=strict', '-o', 'name', '-f', '-', stdin=text)


def test_profiles_that_both_take(plane):
    for spec in TAKEN:
        apply(plane, profile(spec))
        done = gpuslice('render', 'karpenter', stdin=profile(spec))
        assert done.returncode < 2, (spec, done.stderr)


def test_profiles_that_both_refuse(plane):
    for spec in REFUSED:
        with pytest.raises(bed.BedError):
            apply(plane, profile(spec))
        assert gpuslice('render', 'karpenter', stdin=profile(spec)).returncode == 2, spec
    with pytest.raises(bed.BedError, match='63 lower-case'):
        apply(plane, profile(TAKEN[0], name='a.b'))
    assert gpuslice('render', 'karpenter', stdin=profile(TAKEN[0], name='a.b')).returncode == 2


@pytest.mark.parametrize('arguments', [[], ['--ami', 'bottlerocket', '--no-startup-taint']], ids=['plain', 'options'])
def test_what_is_rendered_is_valid(plane, arguments):
    for spec in TAKEN:
        done = gpuslice('render', 'karpenter', *arguments, stdin=profile(spec))
        names = apply(plane, done.stdout).split()
        assert any(name.startswith('nodeoverlay.karpenter.sh/p-') for name in names)
        assert ('nodepool.karpenter.sh/p' in names) == (spec.get('nodePool', 'create') == 'create')


def guide():
    text = yaml.safe_dump(PROVISIONER)
    yield text
    yield text.replace('a100', 'h200')
    small = {**PROVISIONER, 'spec': {'requirements': PROVISIONER['spec']['requirements'][:1]}}
    yield yaml.safe_dump(small)
    yield yaml.safe_dump({**small, 'spec': {'provider': {'amiFamily': 'Bottlerocket'}}})
    yield yaml.safe_dump({**small, 'spec': {'ttlSecondsAfterEmpty': 0, 'weight': 0, 'providerRef': {'name': 'default'}}})


@pytest.mark.parametrize('text', list(guide()), ids=['whole', 'h200', 'guide', 'bottlerocket', 'plain'])
def test_what_is_converted_is_valid(plane, text):
    done = gpuslice('convert', stdin=text)
    assert done.returncode == 0, done.stderr
    names = apply(plane, done.stdout).split()
    assert len(names) == len([one for one in yaml.safe_load_all(done.stdout) if one])


def test_columns(plane):
    plane.kubectl('create', '-f', '-', stdin=profile(TAKEN[0], name='shared'))
    plane.kubectl('create', '-f', '-', stdin=profile(TAKEN[1], name='parts'))
    lines = {line.split()[0]: line.split() for line in plane.kubectl('get', 'gpuslice').splitlines()}
    assert lines['NAME'][1:5] == ['READY', 'REASON', 'REPLICAS', 'LAYOUT'] and '4' in lines['shared'] and 'all-1g.5gb.me' in lines['parts']
    assert 'NODEPOOL' in lines['NAME']  # of the status, which no controller writes here
    plane.kubectl('delete', 'sliceprofiles', '--all')


READER = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
- {apiGroups: [''], resources: [nodes], verbs: [get, list]}
- {apiGroups: [apps], resources: [daemonsets], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: default}
"""


def workload(kind, name, image, namespace='default', **container):
    labels = {'app': name}
    return {'apiVersion': 'apps/v1', 'kind': kind, 'metadata': {'name': name, 'namespace': namespace}, 'spec': {
        'selector': {'matchLabels': labels},
        'template': {'metadata': {'labels': labels}, 'spec': {'containers': [{'name': 'c', 'image': image, **container}]}}}}


def check_cluster(kubeconfig, status):
    done = subprocess.run([GPUSLICE, 'check', '--cluster', '--kubeconfig', kubeconfig, '-o', 'json'], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_check_cluster(plane, tmp_path):
    """More Nodes than one page has, Karpenter's real kinds, and a user that may read only a part of it."""
    plane.kubectl('create', 'namespace', 'gpuslice')
    plane.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': [
        *({'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': f'n{i}', 'labels': {
            'karpenter.sh/nodepool': 'p', 'node.kubernetes.io/instance-type': 'g5.12xlarge'}}} for i in range(300)),
        workload('DaemonSet', 'gpuslice', 'gpuslice/gpuslice:0.1.0', 'gpuslice'), workload('Deployment', 'karpenter', 'karpenter/controller:1.14.1', env=[
            {'name': 'FEATURE_GATES', 'value': 'NodeOverlay=false'}])]}))
    rendered = gpuslice('render', 'karpenter', stdin=profile({'instanceTypes': ['g5.12xlarge'], **SHARED}))
    plane.kubectl('create', '-f', '-', stdin=rendered.stdout)
    before = plane.kubectl('get', '--raw', '/api/v1/nodes?limit=1')
    tree = check_cluster(plane.kubeconfig, 2)
    [group] = tree['cluster']['groups']
    assert group['nodes'] == 300 and group['kind'] == 'NodePool' and tree['cluster']['overlaysServed'] and len(tree['cluster']['overlays']) == 1
    assert tree['cluster']['pools']['p'] == {'profile': 'p', 'auto': False, 'class': 'p'} and not tree['cluster']['unknown']
    assert 'gate NodeOverlay is off' in group['guarantees']['scaling']['why']
    assert [problem['path'] for problem in tree['problems'] if problem['severity'] == 'error'] == ['Karpenter']

    plane.kubectl('create', '-f', '-', stdin=READER)
    token = plane.kubectl('create', 'token', 'reader').strip()
    config = yaml.safe_load(Path(plane.kubeconfig).read_text())
    config['users'][0]['user'] = {'token': token}
    (tmp_path / 'reader').write_text(yaml.safe_dump(config))
    tree = check_cluster(tmp_path / 'reader', 1)
    assert len(tree['cluster']['groups']) == 1 and {'Deployments', 'NodePools', 'NodeOverlays', 'SliceProfiles', 'ResourceSlices'} <= {
        item['what'].split(':')[0] for item in tree['cluster']['unknown']}
    assert json.loads(plane.kubectl('get', '--raw', '/api/v1/nodes?limit=1'))['items'] == json.loads(before)['items']
    plane.api.call('/api/v1/nodes', 'DELETE')
