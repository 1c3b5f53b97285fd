# SPDX-License-Identifier: Apache-2.0
"""The whole way from a SliceProfile to containers: real Karpenter starts a node, a real kubelet is that node, our agent registers there, our
controller opens it, 16 containers run on it. And what comes of it where one of them is missing or does something else. What
Karpenter launches in larger bursts: test_karpenter.py."""
from collections import Counter

import pytest

import programs
from agents import IMAGE, LABEL
from chain import CONFIG, NODE_LIMIT_S, P3, Chain, Milestones, is_closed
from karpenter import CLAIMS, PARTS, condition

pytestmark = pytest.mark.timeout(600)
REPORTED_S = 5  # so soon after it can be known


@pytest.fixture(scope='module')
def chain(bed):
    programs.build(PARTS)
    made = Chain(bed)
    try:
        yield made.up()
    finally:
        made.down()


@pytest.fixture
def machines(chain):
    """One of Karpenter's machines can be real."""
    chain.second.up(IMAGE)
    yield chain
    print(chain.logs(chain.second.folder) + chain.logs(chain.bed.folder))
    chain.clear()


@pytest.mark.soak
def test_without_the_controller_four_nodes_are_paid_for(machines):
    """The same profile, and a NodePool that knows nothing of it: Karpenter counts whole GPUs, and so do the nodes."""
    machines.install(controller=False)
    profile, name = machines.create_profile()
    pool = machines.create_pool({P3: {}})
    machines.deploy_slices(pool, 16)
    cluster = machines.boot(pool)
    cluster.label_node(LABEL, 'agent')
    machines.await_running(pool, 4)
    machines.settle()
    assert machines.launched(pool) == {P3: 4} and not machines.launched(name)
    assert len(cluster.containers()) == 4 and machines.n_running(pool) == 4
    assert 'status' not in machines.api.call(profile)


def test_one_node_for_sixteen_containers(machines):
    machines.install(controller=True)
    profile, name = machines.create_ready_profile()
    steps = Milestones(machines.api, name)
    machines.deploy_slices(name, 16)
    cluster = machines.boot(name)
    machines.await_running(name, 16)
    steps.at['16 containers run'] = steps.now()
    machines.settle()
    assert machines.launched(name) == {P3: 1}
    claim, = machines.claims(name)
    machines.await_condition(f"{CLAIMS}/{claim['metadata']['name']}", 'Initialized')
    steps.end('16 containers on the node that Karpenter made')
    containers = cluster.containers()
    assert len({pid for pid, _ in containers.values()}) == 16
    assert sorted(Counter(seen['NVIDIA_VISIBLE_DEVICES'] for _, seen in containers.values()).values()) == [4, 4, 4, 4]
    assert steps.at['advertised'] <= steps.at['opened'] <= steps.at['16 containers run']
    opened_by_agent = [one for one in cluster.events('Node', cluster.bed.node_name) if one['reason'] == 'NodeOpened']
    assert not opened_by_agent, 'the controller is there to do it'
    machines.await_('the profile is content', lambda: condition(machines.api.call(profile), 'NodesAsPromised')[:2] == ('True', 'AllAsPromised'))


# case: labels of the nodes, from when on it can be known, reason, its numbers, the label that puts it right
OVER_PROMISES = {
    'configured otherwise': ({LABEL: 'agent', CONFIG: 'halves'}, lambda at: at['the agent offers'], 'ConfiguredOtherwise',
                             '16 promised, Karpenter believes 16, 8 configured', (CONFIG, None)),
    'without an agent': ({}, lambda at: at['its Node is there'] + NODE_LIMIT_S, 'AgentNotRunning',
                         '16 promised, Karpenter believes 16, 0 advertised', (LABEL, 'agent'))}


@pytest.mark.soak
@pytest.mark.parametrize('case', OVER_PROMISES)
def test_an_over_promise_is_reported_and_the_node_stays_closed(machines, case):
    labels, knowable, reason, numbers, remedy = OVER_PROMISES[case]
    machines.install(controller=True)
    profile, name = machines.create_ready_profile(labels)
    steps = Milestones(machines.api, name)
    machines.deploy_slices(name, 2)
    cluster = machines.boot(name)
    for kind in 'Node', 'NodeClaim', 'SliceProfile':
        machines.await_(f'{reason} of the {kind}', lambda: kind in machines.reported(profile, name, reason))
        steps.at[f'reported on the {kind}'] = steps.now()
    said = machines.reported(profile, name, reason)
    assert numbers in said['Node'] and numbers in said['NodeClaim'] and cluster.bed.node_name in said['SliceProfile']
    machines.cluster.stays((True, 0), lambda: (is_closed(cluster.api.call(cluster.node_path)), machines.n_running(name)), 3)
    # It opens once it keeps the promise.
    cluster.label_node(*remedy)
    machines.await_running(name, 2)
    steps.at['2 containers run'] = steps.now()
    steps.end(case)
    late = {kind: steps.at[f'reported on the {kind}'] - knowable(steps.at) for kind in ('Node', 'NodeClaim', 'SliceProfile')}
    assert max(late.values()) <= REPORTED_S, late
    machines.settle()
    assert machines.launched(name) == {P3: 1}
