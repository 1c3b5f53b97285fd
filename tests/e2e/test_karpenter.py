# SPDX-License-Identifier: Apache-2.0
"""What real Karpenter launches for pods that ask for slices: with the NodeOverlays that follow from our
SliceProfiles, and without. *Launched* are all NodeClaims that ever were."""
import re
import time

import pytest
import yaml

import programs
from cluster import GPU, pod_spec
from karpenter import CLAIMS, TYPE, by_kind, condition, gpuslice, render

pytestmark = pytest.mark.timeout(600)
GUIDE = programs.ROOT / 'tests/data/guides/mig-and-karpenter.md'
SHARED, MIG, STARTUP = 'nvidia.com/gpu.shared', 'nvidia.com/mig-1g.5gb', 'gpuslice.dev/not-ready'


class Sliced:
    """How a SliceProfile says it, and what agents then register on its types."""

    def __init__(self, nodes, **how):
        self.nodes, self.how = nodes, how


SHARES = Sliced({'p3.8xlarge': {GPU: 16}}, timeSlicing={'replicas': 4})
RENAMED = Sliced({'p3.8xlarge': {GPU: 0, SHARED: 16}}, timeSlicing={'replicas': 4, 'renameByDefault': True})
SINGLE = Sliced({'p4d.24xlarge': {GPU: 56}}, mig={'strategy': 'single', 'layout': 'all-1g.5gb'})
MIXED = Sliced({'p4d.24xlarge': {GPU: 0, MIG: 56}}, mig={'strategy': 'mixed', 'layout': 'all-1g.5gb'})
FOUR_OF_EACH = Sliced({'g5.xlarge': {GPU: 4}, 'g5.12xlarge': {GPU: 16}}, timeSlicing={'replicas': 4})
ONE_GPU = Sliced({'g5.xlarge': {GPU: 4}}, timeSlicing={'replicas': 4})
MANY_OF_ONE = Sliced({'g5.xlarge': {GPU: 24}}, timeSlicing={'replicas': 24})

# A burst of 1,000 is the suite e2e-soak's.
THOUSAND = pytest.mark.soak, pytest.mark.timeout(900)
# case: how nodes are sliced, pods, what each of their containers asks for, launched with overlays, launched without
CASES = {
    'shares-1':         (SHARES, 1, [{GPU: 1}], {'p3.8xlarge': 1}, {'p3.8xlarge': 1}),
    'shares-16':        (SHARES, 16, [{GPU: 1}], {'p3.8xlarge': 1}, {'p3.8xlarge': 4}),
    'shares-17':        (SHARES, 17, [{GPU: 1}], {'p3.8xlarge': 2}, {'p3.8xlarge': 5}),
    'shares-64':        (SHARES, 64, [{GPU: 1}], {'p3.8xlarge': 4}, {'p3.8xlarge': 16}),
    'shares-160':       (SHARES, 160, [{GPU: 1}], {'p3.8xlarge': 10}, {'p3.8xlarge': 40}),
    'renamed-1':        (RENAMED, 1, [{SHARED: 1}], {'p3.8xlarge': 1}, {}),
    'renamed-16':       (RENAMED, 16, [{SHARED: 1}], {'p3.8xlarge': 1}, {}),
    'renamed-17':       (RENAMED, 17, [{SHARED: 1}], {'p3.8xlarge': 2}, {}),
    'renamed-64':       (RENAMED, 64, [{SHARED: 1}], {'p3.8xlarge': 4}, {}),
    'renamed-160':      (RENAMED, 160, [{SHARED: 1}], {'p3.8xlarge': 10}, {}),
    'mig-single-56':    (SINGLE, 56, [{GPU: 1}], {'p4d.24xlarge': 1}, {'p4d.24xlarge': 7}),
    'mig-mixed-1':      (MIXED, 1, [{MIG: 1}], {'p4d.24xlarge': 1}, {}),
    'mig-mixed-56':     (MIXED, 56, [{MIG: 1}], {'p4d.24xlarge': 1}, {}),
    'mig-mixed-57':     (MIXED, 57, [{MIG: 1}], {'p4d.24xlarge': 2}, {}),
    'mig-mixed-160':    (MIXED, 160, [{MIG: 1}], {'p4d.24xlarge': 3}, {}),
    'shares-1000':      (SHARES, 1000, [{GPU: 1}], {'p3.8xlarge': 63}, {'p3.8xlarge': 250}),
    'renamed-1000':     (RENAMED, 1000, [{SHARED: 1}], {'p3.8xlarge': 63}, {}),
    'mig-mixed-1000':   (MIXED, 1000, [{MIG: 1}], {'p4d.24xlarge': 18}, {}),
    'five-of-four':     (ONE_GPU, 5, [{GPU: 1}], {'g5.xlarge': 2}, {'g5.xlarge': 5}),
    'two-containers':   (FOUR_OF_EACH, 1, [{GPU: 1}, {GPU: 1}], {'g5.xlarge': 1}, {'g5.12xlarge': 1}),
    'two-on-one-gpu':   (ONE_GPU, 1, [{GPU: 1}, {GPU: 1}], {'g5.xlarge': 1}, {}),
    'four-of-many':     (MANY_OF_ONE, 1, [{GPU: 4}], {'g5.xlarge': 1}, {}),
}


def at_once():
    """The cases by what comes at the same time: all bursts over nodes that are sliced alike, each for a pool of its own."""
    groups = {}
    for case in CASES:
        groups.setdefault(case if case.endswith('-1000') else re.sub(r'-\d+$', '', case), []).append(case)
    return [pytest.param(cases, id=name, marks=THOUSAND if name.endswith('-1000') else ()) for name, cases in groups.items()]


def make_pool(karpenter, sliced, **more):
    """A NodePool of such nodes, and the overlays that follow from its profile."""
    pool, overlays = karpenter.create_profile(sliced.how, sliced.nodes, **more)
    for path in overlays:
        karpenter.await_condition(path, 'Ready')
    return pool


@pytest.fixture
def made(karpenter):
    """Karpenter, with nothing left of the test before but nodes that go."""
    yield karpenter
    karpenter.clean()


def burst(karpenter, pool, pods, containers):
    karpenter.deploy(pool, pods, containers)
    karpenter.await_running(pool, pods)
    karpenter.settle()


def await_refusal(karpenter, pool):
    """Karpenter considered the pool's pods, and finds no type for them."""
    pods = karpenter.await_('the pods', lambda: karpenter.pods(pool))
    assert 'no instance type' in karpenter.await_rejection(pods[0]['metadata']['name'])


def launched(karpenter, pools):
    """{case: what was launched}, as soon as it is certain that nothing follows."""
    karpenter.settle()
    return {case: karpenter.launched(pool) for case, pool in pools.items()}


@pytest.mark.parametrize('cases', at_once())
def test_exactly_so_many_nodes(made, cases):
    pools, started = {case: make_pool(made, CASES[case][0]) for case in cases}, time.monotonic()
    for case, pool in pools.items():
        made.deploy(pool, *CASES[case][1:3])
    for case, pool in pools.items():
        made.await_running(pool, CASES[case][1])
    print(f'TIME all Running, {", ".join(cases)}: {time.monotonic() - started:.1f} s')
    assert launched(made, pools) == {case: CASES[case][3] for case in cases}


def without_overlays(karpenter, cases):
    """{case: launched}, of bursts that come at the same time."""
    pools = {case: karpenter.create_pool(CASES[case][0].nodes) for case in cases}
    with karpenter.paused():  # what came later would find more room than Karpenter believed there was
        for case, pool in pools.items():
            karpenter.deploy(pool, *CASES[case][1:3])
        for case, pool in pools.items():
            karpenter.await_unschedulable(pool, CASES[case][1])
    for case, pool in pools.items():
        if CASES[case][4]:
            karpenter.await_(f'a NodeClaim for {case}', lambda: karpenter.claims(pool))
        else:
            await_refusal(karpenter, pool)
    return launched(karpenter, pools)


def test_without_overlays(made):
    """Why the others are no matter of course. Where nothing is launched, a small burst says as much as a large one."""
    expected = {case: without for case, (_, pods, _, _, without) in CASES.items() if pods <= (64 if without else 17)}
    assert without_overlays(made, expected) == expected


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_large_bursts_without_overlays(made, monkeypatch):
    monkeypatch.setattr(made, 'patience', 400)  # 290 nodes, of which busy cores launch one in a second
    expected = {case: CASES[case][4] for case in ('shares-160', 'shares-1000')}
    assert without_overlays(made, expected) == expected


# --- a NodeClaim's life ---

def claim_path(karpenter, pool):
    claim, = karpenter.claims(pool)
    return f"{CLAIMS}/{claim['metadata']['name']}"


def await_uninitialized(karpenter, pool, why):
    karpenter.await_('a NodeClaim', lambda: karpenter.claims(pool))
    path = claim_path(karpenter, pool)
    karpenter.await_(why, lambda: why in (condition(karpenter.api.call(path), 'Initialized') or [''])[-1])


def test_shared_nodes_get_initialized(made):
    pool = make_pool(made, RENAMED)
    burst(made, pool, 16, [{SHARED: 1}])
    made.await_condition(claim_path(made, pool), 'Initialized')


def test_a_masked_gpu_is_nobodys(made):
    """A pod that wants a whole GPU starts no node that has none, nor gets one of a node that others started."""
    pool = make_pool(made, RENAMED)
    made.deploy(pool, 1, [{GPU: 1}])
    await_refusal(made, pool)
    made.settle()
    assert made.launched(pool) == {}
    made.deploy(pool, 16, [{SHARED: 1}], 'sharing')
    made.await_running('sharing', 16)
    made.settle()
    assert made.launched(pool) == {'p3.8xlarge': 1} and made.n_running(pool) == 0


def test_an_unmasked_gpu_strands_a_node(made):
    """The same without the mask."""
    pool = made.create_pool(RENAMED.nodes)
    made.await_condition(made.create_overlay(pool, 'p3.8xlarge', {SHARED: 16}), 'Ready')
    made.deploy(pool, 1, [{GPU: 1}])
    await_uninitialized(made, pool, f'Resource "{GPU}" was requested but not registered')
    made.settle()
    assert made.launched(pool) == {'p3.8xlarge': 1} and made.n_running(pool) == 0


def test_a_startup_taint_holds_a_node_back(made):
    pool = make_pool(made, RENAMED, startup_taint=True)
    made.deploy(pool, 16, [{SHARED: 1}])
    await_uninitialized(made, pool, f'StartupTaint "{STARTUP}:NoSchedule" still exists')
    made.settle()
    assert made.n_running(pool) == 0
    made.remove_taint(pool, STARTUP)
    made.await_running(pool, 16)
    made.await_condition(claim_path(made, pool), 'Initialized')
    made.settle()
    assert made.launched(pool) == {'p3.8xlarge': 1}


@pytest.mark.soak
def test_empty_nodes_go_after_consolidate_after(made):
    """As the profile says, and none on which a pod is left; those that come back need new nodes."""
    pool = make_pool(made, Sliced(RENAMED.nodes, **RENAMED.how, consolidateAfter='10s'))
    burst(made, pool, 32, [{SHARED: 1}])
    assert made.launched(pool) == {'p3.8xlarge': 2}
    made.cluster.scale(pool, 1)
    made.await_('one node', lambda: len(made.api.call(f'{CLAIMS}?labelSelector=karpenter.sh/nodepool={pool}')['items']) == 1)
    made.await_running(pool, 1)
    made.cluster.scale(pool, 0)
    made.await_('no node', lambda: not made.api.call(f'{CLAIMS}?labelSelector=karpenter.sh/nodepool={pool}')['items'])
    made.cluster.scale(pool, 16)
    made.await_running(pool, 16)
    made.settle()
    assert made.launched(pool) == {'p3.8xlarge': 3}


# --- Karpenter believes what is not so ---

def test_a_promise_half_kept_buys_a_second_node(made):
    pool = make_pool(made, Sliced({'p3.8xlarge': {GPU: 0, SHARED: 8}}, **RENAMED.how))
    burst(made, pool, 16, [{SHARED: 1}])
    assert made.launched(pool) == {'p3.8xlarge': 2}
    made.start()  # it looks at each NodeClaim when it starts, and else every ten minutes
    made.await_('a complaint', lambda: made.complaints(pool, 'FailedConsistencyCheck'))
    assert f'expected 16 of resource {SHARED}, but found 8' in made.complaints(pool, 'FailedConsistencyCheck')[0]


def test_a_promise_not_kept_at_all_buys_no_second(made):
    pool = make_pool(made, Sliced({'p3.8xlarge': {GPU: 0, SHARED: 0}}, **RENAMED.how))
    made.deploy(pool, 16, [{SHARED: 1}])
    await_uninitialized(made, pool, f'Resource "{SHARED}" was requested but not registered')
    made.settle()
    assert made.launched(pool) == {'p3.8xlarge': 1} and made.n_running(pool) == 0


def test_the_feature_gate_is_off(made):
    """An overlay without any status is how that shows."""
    made.start(overlays=False)
    try:
        pool, [overlay] = made.create_profile(RENAMED.how, RENAMED.nodes)
        made.deploy(pool, 16, [{SHARED: 1}])
        await_refusal(made, pool)
        made.settle()
        assert made.launched(pool) == {} and not made.api.call(overlay).get('status')
    finally:
        made.start()
    made.await_condition(overlay, 'Ready')
    made.await_running(pool, 16)
    made.settle()
    assert made.launched(pool) == {'p3.8xlarge': 1}


def test_placeholders_start_nodes_without_overlays(made):
    """33 slices are three nodes with 16 of them, for which pods that ask for slices start none; then they are there."""
    pool, [placeholders] = made.create_placeholders(RENAMED.how, RENAMED.nodes, 33)
    made.await_running(placeholders, 3)
    burst(made, pool, 33, [{SHARED: 1}])
    assert made.launched(pool) == {'p3.8xlarge': 3}


# --- overlays against each other ---

WHOLE = RENAMED.nodes['p3.8xlarge']


def test_equal_weights_conflict(made):
    """The name that sorts last is applied, the other is refused as a whole."""
    pool = made.create_pool(RENAMED.nodes)
    first = made.create_overlay(pool, 'p3.8xlarge', WHOLE, 10, 'z')
    second = made.create_overlay(pool, 'p3.8xlarge', {SHARED: 8, 'example.com/other': 1}, 10, 'a')
    assert made.await_condition(second, 'Ready', 'False') and made.await_condition(second, 'ValidationSucceeded', 'False')[0] == 'Conflict'
    made.await_condition(first, 'Ready')
    burst(made, pool, 16, [{SHARED: 1}])
    assert made.launched(pool) == {'p3.8xlarge': 1}


def test_a_third_overlay_hides_the_conflict(made):
    """Karpenter compares with the last one that it merged: c and a clash over b, and no condition says so."""
    pool = made.create_pool(RENAMED.nodes)
    # Karpenter says Ready before it uses an overlay: the one that decides is there first.
    paths = [made.create_overlay(pool, 'p3.8xlarge', capacity, 10, name) for name, capacity in {
        'c': {GPU: 0, SHARED: 4}, 'b': {'example.com/other': 1}, 'a': WHOLE}.items()]
    for path in paths:
        made.await_condition(path, 'Ready')
    burst(made, pool, 16, [{SHARED: 1}])
    assert made.launched(pool) == {'p3.8xlarge': 4}


def test_a_heavier_overlay_wins_silently(made):
    """A stranger's, over that of our profile. Karpenter says Ready before it uses an overlay: the one that decides is there first."""
    pool, ours = made.create_profile(RENAMED.how, RENAMED.nodes, strangers=[('p3.8xlarge', {SHARED: 4}, 10000)])
    for path in ours:
        made.await_condition(path, 'Ready')
    burst(made, pool, 16, [{SHARED: 1}])
    assert made.launched(pool) == {'p3.8xlarge': 4}


# --- the second guide, from its own text ---

A100 = {'nvidia.com/gpu': 'a100'}
GUIDE_TAINT = {'key': 'nvidia.com/gpu-shared', 'effect': 'NoSchedule'}


def guide_pod():
    """A pod with §3's resource and §5's node selector and toleration."""
    blocks = [yaml.safe_load(block) for block in re.findall(r'```\s*yaml\n(.*?)```', GUIDE.read_text(), re.S)]
    resources, = [one['resources'] for one in blocks if 'resources' in one]
    spec, = [one['spec'] for one in blocks if 'tolerations' in one.get('spec', ())]
    return {'metadata': {'name': 'guide'}, 'spec': pod_spec([{'name': 'main', 'resources': resources}], **spec)}


def create_guide_pod(karpenter):
    karpenter.api.call('/api/v1/namespaces/default/pods', 'POST', guide_pod())


@pytest.fixture
def guided(made):
    """What the guide's pod could use is gone."""
    made.await_('no node of the other test', lambda: not made.api.call('/api/v1/nodes?labelSelector=nvidia.com/gpu=a100')['items'])
    yield made
    made.api.call('/api/v1/nodes?labelSelector=nvidia.com/gpu=a100,static', 'DELETE')


def node_of_pod(karpenter, name):
    """The labels of the node where it runs."""
    pod = karpenter.await_('the pod', lambda: (
        found := karpenter.api.call(f'/api/v1/namespaces/default/pods/{name}'))['status']['phase'] == 'Running' and found)
    return karpenter.api.call(f"/api/v1/nodes/{pod['spec']['nodeName']}")['metadata']['labels']


def test_the_guide_runs_on_a_static_node(guided):
    guided.create_node('static-p4d', {**A100, 'static': ''}, {GPU: '0', MIG: '56', 'pods': '737', 'cpu': '96', 'memory': '1152Gi'},
                       [GUIDE_TAINT])
    create_guide_pod(guided)
    assert 'static' in node_of_pod(guided, 'guide')


def test_the_guide_starts_a_node(guided):
    """By what `gpuslice convert` makes of its page, and not without the overlays that follow from it."""
    objects = by_kind(gpuslice('convert', GUIDE))
    overlays = render(guided.plane.folder, *objects['SliceProfile'])
    for pool in objects['NodePool']:
        guided.apply_pool(pool, {**MIXED.nodes, 'g5.xlarge': {GPU: 0, SHARED: 4}})
    create_guide_pod(guided)
    assert 'no instance type' in guided.await_rejection('guide')
    guided.settle()
    pools = [one['metadata']['name'] for one in objects['NodePool']]
    assert pools == ['gpu-slicing-a100', 'gpu-slicing-a10'] and not any(map(guided.launched, pools))
    for path in guided.apply_overlays(overlays):
        guided.await_condition(path, 'Ready')
    await_uninitialized(guided, pools[0], STARTUP)
    guided.remove_taint(pools[0], STARTUP)
    assert node_of_pod(guided, 'guide')[TYPE] == 'p4d.24xlarge'
    guided.await_condition(claim_path(guided, pools[0]), 'Initialized')
    guided.settle()
    assert list(map(guided.launched, pools)) == [{'p4d.24xlarge': 1}, {}]
