# SPDX-License-Identifier: Apache-2.0
"""What Karpenter decides on AWS's own provider when it gets what `gpuslice render karpenter` prints: against the provider's fakes of EC2,
IAM, SSM and EKS, so that no launch costs anything and none can fail. *Launched* are all NodeClaims that ever were."""
import pytest
import yaml

import programs
from awskarpenter import EC2_CLASSES, AwsKarpenter
from bed import ControlPlane
from cluster import GPU
from karpenter import CATALOG, CLAIMS

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]  # the provider is built, for minutes
SHARED, MIG, STARTUP = 'nvidia.com/gpu.shared', 'nvidia.com/mig-1g.5gb', 'gpuslice.dev/not-ready'
TOLERATIONS = [{'key': GPU, 'operator': 'Exists'}]
RENAMED = {'timeSlicing': {'replicas': 4, 'renameByDefault': True}}

# case: how nodes are sliced, what agents register, pods, what each asks for, launched with overlays, launched without
CASES = {
    'shares': ({'timeSlicing': {'replicas': 4}}, {'p3.8xlarge': {GPU: 16}}, 16, {GPU: 1}, {'p3.8xlarge': 1}, {'p3.8xlarge': 4}),
    'renamed': (RENAMED, {'p3.8xlarge': {GPU: 0, SHARED: 16}}, 16, {SHARED: 1}, {'p3.8xlarge': 1}, {}),
    'mig-single': ({'mig': {'strategy': 'single', 'layout': 'all-1g.5gb'}}, {'p4d.24xlarge': {GPU: 56}}, 56, {GPU: 1},
                   {'p4d.24xlarge': 1}, {'p4d.24xlarge': 7}),
    'mig-mixed': ({'mig': {'strategy': 'mixed', 'layout': 'all-1g.5gb'}}, {'p4d.24xlarge': {GPU: 0, MIG: 56}}, 56, {MIG: 1},
                  {'p4d.24xlarge': 1}, {}),
}


@pytest.fixture(scope='module')
def karpenter_of_aws():
    made = AwsKarpenter(ControlPlane(programs.FOLDER / 'aws', 26943))
    try:
        made.plane.up(controllers=True, scheduler=True)
        yield made.up()
    finally:
        made.down()
        made.plane.down()


@pytest.fixture
def aws(karpenter_of_aws):
    yield karpenter_of_aws
    karpenter_of_aws.clean()


def launch(aws, pool, n_pods, asked):
    aws.deploy(pool, n_pods, [asked], tolerations=TOLERATIONS)
    aws.claims_launched(pool)
    return aws.launched_with(pool)


def promised(aws, pool):
    """What the pool's only NodeClaim says of GPUs, before there is a node."""
    claim, = aws.claims_launched(pool)
    return {name: int(count) for name, count in claim['status']['capacity'].items() if name.startswith('nvidia.com/')}


def test_exactly_so_many_nodes(aws):
    """The second half of the pods comes while the machine that was launched for the first is on its way: a NodeClaim of this
    provider holds what the overlay says, where KWOK's holds what its file says."""
    pools = {case: (aws.create_profile(how, nodes), aws.create_profile(how, nodes, overlays=False)) for case, (how, nodes, *_) in CASES.items()}
    for case, (ours, plain) in pools.items():
        n_pods, asked = CASES[case][2:4]
        aws.deploy(ours, n_pods // 2, [asked], tolerations=TOLERATIONS)
        # Where nothing is launched, a few say as much as many.
        aws.deploy(plain, n_pods if CASES[case][5] else 4, [asked], tolerations=TOLERATIONS)
    for ours, _ in pools.values():
        aws.claims_launched(ours)
    for case, (ours, _) in pools.items():
        aws.cluster.scale(ours, CASES[case][2])
        aws.await_unschedulable(ours, CASES[case][2])
    aws.settle()
    assert {case: (aws.launched(ours), aws.launched(plain)) for case, (ours, plain) in pools.items()} == {
        case: (with_overlays, without) for case, (*_, with_overlays, without) in CASES.items()}
    for case, (ours, _) in pools.items():
        registered, = CASES[case][1].values()
        assert promised(aws, ours) == {name: count for name, count in registered.items() if count}
        aws.boot(ours)
        assert aws.n_running(ours) == 0
        aws.remove_taint(ours, STARTUP)
    for case, (ours, _) in pools.items():
        aws.await_running(ours, CASES[case][2])
        aws.await_condition(f"{CLAIMS}/{aws.claims(ours)[0]['metadata']['name']}", 'Initialized')
    aws.settle()
    assert [aws.launched(ours) for ours, _ in pools.values()] == [case[4] for case in CASES.values()]


def test_a_whole_gpu_is_not_launched_for(aws):
    """Where it is masked, and where a node of the pool is on its way."""
    pool = aws.create_profile(RENAMED, CASES['renamed'][1])
    launch(aws, pool, 1, {SHARED: 1})
    aws.deploy(pool, 1, [{GPU: 1}], 'whole', tolerations=TOLERATIONS)
    pod, = aws.await_('the pod', lambda: aws.pods('whole'))
    assert 'no instance type' in aws.await_rejection(pod['metadata']['name'])
    aws.settle()
    assert aws.launched(pool) == {'p3.8xlarge': 1}


@pytest.mark.parametrize('options, image, data', [
    ([], 'amazon-linux-2023:x86_64:nvidia', ['gpuslice.dev/profile=']),
    (['--ami', 'bottlerocket'], 'bottlerocket:aws-k8s-1.36-nvidia:x86_64', ['[settings.kubelet-device-plugins.nvidia]\nenabled = false\n']),
], ids=['al2023', 'bottlerocket'])
def test_a_masked_gpu_still_has_its_driver(aws, options, image, data):
    """The image is chosen by the label instance-gpu-count, which no overlay changes."""
    pool = aws.create_profile(RENAMED, CASES['renamed'][1], *options)
    made, = launch(aws, pool, 1, {SHARED: 1})
    assert made['types'] == ['p3.8xlarge'] and image in made['image']
    assert all(one in made['userData'] for one in data), made['userData']


@pytest.mark.parametrize('masked, types', [
    (['g5.12xlarge', 'p3.8xlarge'], {'g5.12xlarge', 'p3.8xlarge'}), ([], {'g5.12xlarge', 'p3.8xlarge'}), (['p3.8xlarge'], {'p3.8xlarge'})])
def test_masked_and_unmasked_types_do_not_mix(aws, masked, types):
    """Why a pool has only the one or the other: a masked type counts as one without GPUs, and if there is such a one all
    others are left out, the cheaper g5 too."""
    pool = aws.create_profile(RENAMED, {name: {GPU: 0, SHARED: 16} for name in ('g5.12xlarge', 'p3.8xlarge')}, overlays=False)
    for name in masked:
        aws.await_condition(aws.create_overlay(pool, name, {GPU: 0, SHARED: 16}), 'Ready')
    made = launch(aws, pool, 1, {'cpu': 1})
    assert {name for one in made for name in one['types']} == types


@pytest.mark.parametrize('masked', [True, False])
def test_a_masked_type_competes_with_those_without_gpus(aws, masked):
    """Why a pool of sliced nodes has no other types: a pod that wants a processor may then start GPUs."""
    pool = aws.create_profile(RENAMED, CASES['renamed'][1], overlays=masked)
    aws.add_type(pool, 'm5.large')
    made = launch(aws, pool, 1, {'cpu': 1})
    assert {name for one in made for name in one['types']} == ({'m5.large', 'p3.8xlarge'} if masked else {'m5.large'})


def test_pods_a_node_has_addresses_for(aws):
    """The catalog's numbers are this provider's; more slices than pods need nodes for the pods, unless maxPods says otherwise."""
    nodes = {'p5.48xlarge': {GPU: 0, SHARED: 128}}
    how = {'timeSlicing': {'replicas': 16, 'renameByDefault': True}}
    pools = [aws.create_profile(how, nodes), aws.create_profile(how, nodes)]
    aws.api.call(f'{EC2_CLASSES}/{pools[1]}', 'PATCH', {'spec': {'kubelet': {'maxPods': 250}}})
    aws.await_('the change', lambda: aws.is_current(f'{EC2_CLASSES}/{pools[1]}'))
    for pool in pools:
        aws.deploy(pool, 101, [{SHARED: 1}], tolerations=TOLERATIONS)
    for pool in pools:
        aws.claims_launched(pool)
    aws.settle()
    assert [aws.launched(pool) for pool in pools] == [{'p5.48xlarge': 2}, {'p5.48xlarge': 1}]
    row = yaml.safe_load((CATALOG / 'types/p5.yaml').read_text())['types']['p5.48xlarge']
    assert {int(claim['status']['capacity']['pods']) for claim in aws.claims_launched(pools[0])} == {row['pods']}
