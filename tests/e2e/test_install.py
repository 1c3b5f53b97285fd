# SPDX-License-Identifier: Apache-2.0
"""What an installation brings to the node, what it costs, and what an uninstallation leaves."""
import os
import time
from pathlib import Path

import pytest
from agents import AS_SHIPPED, BUILD, SYSTEM, replicas
from bed import PLUGINS
from cluster import Timeline
from test_restarts import eight

KINDS = ['daemonsets', 'pods', 'jobs', 'configmaps', 'secrets', 'serviceaccounts', 'roles', 'rolebindings', 'clusterroles',
         'clusterrolebindings', 'validatingadmissionpolicies', 'validatingadmissionpolicybindings']


@pytest.fixture
def chart(agent):
    if agent.is_process():
        pytest.skip('no chart')
    return agent


def ours(node):
    """What of the Node bears our or NVIDIA's name."""
    kept = [name for part in ('labels', 'annotations') for name in node['metadata'].get(part, {})
            if name.startswith(('nvidia.com/', 'gpuslice.dev/'))]
    kept += [one['key'] for one in node['spec'].get('taints', []) if 'gpuslice' in one['key']]
    kept += [one['type'] for one in node['status']['conditions'] if one['type'].startswith('GPUSlice')]
    return kept


def test_the_node_says_what_it_has(cluster, chart):
    chart.start(replicas(4))
    cluster.wait_allocatable(16)
    cluster.wait('the condition', lambda: cluster.condition('GPUSlicesReady') == ('True', 'AllResourcesRegistered'))
    cluster.wait_labels({'nvidia.com/gpu.count': '4', 'nvidia.com/gpu.replicas': '4',
                         'nvidia.com/gpu.product': 'Tesla-V100-SXM2-16GB-SHARED'})


def test_a_new_installation_enforces(cluster, chart):
    chart.retire()
    chart.start(replicas(4), AS_SHIPPED)
    cluster.wait_allocatable(16)
    account = cluster.api.call(f'/api/v1/namespaces/{SYSTEM}/serviceaccounts/nvdp-gpuslice-arbiter')
    assert account['metadata']['annotations']['gpuslice.dev/memory'] == 'enforced'
    cluster.wait('the condition', lambda: 'memory limits are enforced' in cluster.said_by_condition('GPUSlicesReady'))


def test_slices_wait_for_an_arbiter_that_cannot_run(cluster, chart):
    """Where it has no place on the node the Node says so; what is enforced is not offered without it, and is as soon as it is there."""
    chart.start(replicas(4), 'arbiter.memory=enforced', 'arbiter.resources.requests.cpu=1000')
    # An arbiter of before left its library, so another one is waited for, 30 s.
    cluster.wait('the reason', lambda: cluster.condition('GPUSlicesReady') == ('False', 'MemoryLimitsNotEnforced'), 60)
    assert 'gpuslice-arbiter is not connected' in cluster.said_by_condition('GPUSlicesReady')
    cluster.stays((16, 0), cluster.node)
    chart.start(None, 'arbiter.memory=observe', 'arbiter.resources.requests.cpu=1000')
    cluster.wait_allocatable(16)
    chart.start(None, 'arbiter.memory=enforced')
    cluster.kubectl('-n', SYSTEM, 'delete', 'pod', '-l', 'app.kubernetes.io/name=gpuslice-arbiter')  # as the notes say
    cluster.wait('the condition', lambda: 'memory limits are enforced' in cluster.said_by_condition('GPUSlicesReady'))
    cluster.settles((16, 16))


@pytest.mark.parametrize('settings', [(), (AS_SHIPPED,)], ids=['the agent alone', 'as shipped'])
def test_an_uninstallation_leaves_nothing_and_pods_go_on(cluster, chart, settings):
    before = eight(cluster, chart, *settings)
    cluster.wait('the condition', lambda: cluster.condition('GPUSlicesReady'))
    chart.retire()
    cluster.wait('a Node without a trace', lambda: not ours(cluster.api.call(cluster.node_path)))
    left = cluster.kubectl('get', ','.join(KINDS), '-A', '-o', 'name', '-l', 'app.kubernetes.io/instance=nvdp')
    assert not left.strip()
    assert 'gpuslice' not in cluster.kubectl('get', ','.join(KINDS), '-A', '-o', 'name')
    assert not list(PLUGINS.glob('gpuslice-*'))
    cluster.keeps(before)
    # And again, over the pods that still hold their slices.
    chart.start(replicas(4))
    cluster.settles((16, 16))
    cluster.scale('demo', 9)
    cluster.wait_running(9)
    assert len(set(cluster.held_ids())) == 9


def started_at(pid):
    """On the clock that counts since boot."""
    ticks = int(Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19])
    return ticks / os.sysconf('SC_CLK_TCK')


def memory_kib(pid):
    """(resident, private) of a process."""
    rows = dict(line.split(':', 1) for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()[1:])
    return int(rows['Rss'].split()[0]), sum(int(rows[name].split()[0]) for name in ('Private_Clean', 'Private_Dirty'))


def test_time_and_memory(cluster, agent):
    """Numbers, not a judgement: shown, and kept in the build folder."""
    rows = []
    for _ in range(3):
        line = Timeline(cluster)
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        agent.start(replicas(4))
        cluster.wait_allocatable(16)
        offset = began - started_at(agent.pids()[0])
        line.end()
        [seen] = [when for when, (_, allocatable) in line.seen if allocatable == 16]
        rows.append(f'agent start -> allocatable 16: {seen + offset:.2f} s')
        pids = agent.pids()
        sizes = [(Path(f'/proc/{pid}/comm').read_text().strip(), *memory_kib(pid)) for pid in pids]
        agent.remove()
        cluster.wait_nothing()
    rows += [f'{name:<16} {resident:>7} KiB resident {private:>7} KiB private' for name, resident, private in sizes]
    rows.append(f"{'together':<16} {sum(one[1] for one in sizes):>7} KiB resident {sum(one[2] for one in sizes):>7} KiB private")
    text = '\n'.join(rows)
    print(text)
    (BUILD / 'e2e').mkdir(exist_ok=True)
    (BUILD / 'e2e/footprint.txt').write_text(text + '\n')
    assert len(sizes) >= 2
