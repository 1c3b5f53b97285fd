# SPDX-License-Identifier: Apache-2.0
"""The configuration changes while pods run: taken live, refused with a reason, never at a pod's cost."""
from agents import replicas
from cluster import Timeline
from test_restarts import eight

SHARED = 'nvidia.com/gpu.shared'


def test_more_slices_broken_fewer(cluster, agent):
    before, line = eight(cluster, agent), Timeline(cluster)
    agent.configure(replicas(8))
    print(f'TIME 4 -> 8: {cluster.wait_allocatable(32):.2f} s')
    assert cluster.state() == before
    agent.mark()
    agent.configure(replicas('four'))
    agent.wait_line('is rejected')
    cluster.stays((32, 32), cluster.node)
    if not agent.is_process():
        cluster.wait('the condition', lambda: cluster.condition('GPUSlicesReady') == ('False', 'ConfigurationRefused'))
        assert any(one['reason'] == 'ConfigurationRefused' for one in cluster.events('Node', cluster.bed.node_name))
    cluster.scale('demo', 20)
    cluster.wait_running(20)
    many = cluster.state()
    assert len(set(cluster.held_ids())) == 20
    agent.configure(replicas(4))
    print(f'TIME 8 -> 4 with 20 pods: {cluster.wait_allocatable(16):.2f} s')
    if not agent.is_process():
        cluster.wait('the condition', lambda: cluster.condition('GPUSlicesReady') == ('True', 'AllResourcesRegistered'))
    assert cluster.state() == many
    cluster.scale('demo', 8)
    cluster.wait_count(8)
    cluster.deploy('more', 2)
    cluster.wait_running(10)
    assert len(set(cluster.held_ids())) == 10
    line.end('4 -> 8 -> broken -> 4')


def test_renamed(cluster, agent):
    before = eight(cluster, agent)
    agent.configure(replicas(4, SHARED))
    # Of the sixteen slices pods hold eight, under the former name: those are not given out again.
    print(f'TIME new name 8: {cluster.wait_allocatable(8, SHARED):.2f} s')
    cluster.wait_allocatable(0)
    cluster.wait('the old name is gone', lambda: cluster.node()[0] in (0, None))
    assert cluster.state() == before
    cluster.deploy('shared', 1, {SHARED: 1})
    cluster.wait_running(9)
    agent.configure(replicas(4))
    cluster.wait_allocatable(15)
    cluster.wait_allocatable(0, SHARED)
    assert {key: value for key, value in cluster.state().items() if key in before} == before


def test_changes_under_load(cluster, agent):
    """Pods are created while the file flips between 4 and 8: no admission fails."""
    agent.start(replicas(4))
    cluster.wait_allocatable(16)
    for turn in range(6):
        agent.configure(replicas(8 if turn % 2 == 0 else 4))
        cluster.deploy(f'load-{turn}', 2)
    cluster.wait_running(12)
    cluster.wait_allocatable(16)
    assert {pod['status']['phase'] for pod in cluster.pods()} == {'Running'}
    assert len(set(cluster.held_ids())) == 12


def restart_kubelet(agent, bed):
    agent.mark()
    bed.kubelet.restart()
    agent.wait_line('registered with the kubelet')


def test_kubelet_restart_after_fewer_slices(cluster, agent, bed):
    """More pods run than the new configuration has slices for: they go on, also over a kubelet restart."""
    agent.start(replicas(8))
    cluster.wait_allocatable(32)
    cluster.deploy('demo', 20)
    cluster.wait_running(20)
    before = cluster.state()
    agent.configure(replicas(4))
    cluster.wait_allocatable(16)
    restart_kubelet(agent, bed)
    cluster.keeps(before)


def test_kubelet_restart_after_rename(cluster, agent, bed):
    before = eight(cluster, agent)
    agent.configure(replicas(4, SHARED))
    cluster.wait_allocatable(8, SHARED)
    cluster.wait_allocatable(0)
    restart_kubelet(agent, bed)
    cluster.keeps(before)
