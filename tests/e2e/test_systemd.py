# SPDX-License-Identifier: Apache-2.0
"""Memory limits on a node with systemd as init and cgroup v2 alone: who connects to the arbiter is known by paths that systemd, the kubelet and
containerd made, and by nothing that a pod says.

One GPU of four slices. A Guaranteed pod, a Burstable one that wants ever more, and a BestEffort one with a sidecar stay for all cases."""
import contextlib

import pytest
from agents import IMAGE, replicas
from bed import BedError, wait
from cluster import GPU
from emulated import EmulatedAgent, EmulatedBed, EmulatedCluster, make_root, missing
from test_memory_limits import GPU_MIB, GREEDY, LIMITED, N_SLICES, OVERFLOW, arbiter_pid, holds_its_limit, restarts, used_mib
from trainers import MIB, Trainers, make_image

pytestmark = [pytest.mark.soak, pytest.mark.emulated, pytest.mark.timeout(2400)]
CONTENT = '--memory', 1000, '--step-ms', 1000
PODS = {  # name: what its container requests besides its slice, its words
    'guaranteed': ({'cpu': '50m', 'memory': '128Mi'}, CONTENT),
    'burstable': ({'memory': '512Mi'}, (*GREEDY[:-1], 1000)),
    'besteffort': ({}, CONTENT),
}
CLASS = {'guaranteed': '', 'burstable': '-burstable', 'besteffort': '-besteffort'}


@pytest.fixture(scope='module')
def emulated(tmp_path_factory):
    """The machine, as a node of a cluster."""
    if missing():
        pytest.skip(missing())
    made = EmulatedBed()
    try:
        make_root()
        yield made.up([IMAGE, make_image(tmp_path_factory.mktemp('train'))])
    finally:
        made.down()


@pytest.fixture(scope='module')
def nodes_cluster(emulated):
    return EmulatedCluster(emulated)


@pytest.fixture(scope='module')
def chart(nodes_cluster):
    made = EmulatedAgent(nodes_cluster)
    made.machine.environment['GPUSLICE_MACHINE'] = 'p3.2xlarge'
    made.start(replicas(N_SLICES), *LIMITED)
    nodes_cluster.wait_allocatable(N_SLICES)
    return made


@pytest.fixture(scope='module')
def trainers(nodes_cluster, chart):
    """All pods train."""
    made = Trainers(nodes_cluster, chart.machine)
    for name, (requests, words) in PODS.items():
        limits = {GPU: 1, **(requests if name == 'guaranteed' else {})}
        sidecar = made.container(*CONTENT) | {'name': 'sidecar', 'restartPolicy': 'Always'}
        more = {'initContainers': [sidecar]} if name == 'besteffort' else {}
        made.create(name, *words, resources={'limits': limits, 'requests': requests}, pod={'restartPolicy': 'Always', **more})
    nodes_cluster.wait_running(len(PODS))
    for name in PODS:
        made.goes_on(name)
    return made


def accounts(chart):
    """{(pod, container): its row of `gpuslice top`} of one device."""
    [device] = chart.status()['devices']
    return {(one['pod'], one['container']): one for one in device['containers']}


def wait_registered(chart, *names):
    """The arbiter has every container, and knows the processes of these pods by their connections; returns what it has of each."""
    def all_of_them():
        with contextlib.suppress(BedError):  # it is not there yet
            rows = accounts(chart)
            if len(rows) == N_SLICES and all(one.get('registered') == 1 for (pod, _), one in rows.items() if pod in names):
                return rows
        return None
    return wait('the pods are connected', all_of_them)


def test_each_class_of_pods_is_known_by_its_cgroup(nodes_cluster, chart, trainers):
    names = {}
    for pod in nodes_cluster.pods():
        name, uid = pod['metadata']['name'], pod['metadata']['uid'].replace('-', '_')
        assert pod['status']['qosClass'].lower() == name
        above = f'kubepods{CLASS[name]}.slice/' if CLASS[name] else ''
        names[name] = f'0::/kubepods.slice/{above}kubepods{CLASS[name]}-pod{uid}.slice/cri-containerd-'
    running = nodes_cluster.containers()
    assert sorted(running) == [('besteffort', 'main'), ('besteffort', 'sidecar'), ('burstable', 'main'), ('guaranteed', 'main')]
    for (name, _), (pid, _) in running.items():
        path = nodes_cluster.cgroup(pid)
        assert path.startswith(names[name]) and path.endswith('.scope'), path
    rows = wait_registered(chart, *PODS)
    assert set(rows) == set(running)
    assert {one['limit_bytes'] for one in rows.values()} == {GPU_MIB // N_SLICES * MIB}


def test_over_its_limit(nodes_cluster, chart, trainers):
    assert holds_its_limit(chart, trainers, 'burstable') == GPU_MIB // N_SLICES
    trainers.goes_on('burstable')
    nodes_cluster.wait('the event', lambda: [one for one in nodes_cluster.events('Pod', 'burstable') if 'memory' in one['message']])
    for name in 'guaranteed', 'besteffort':
        trainers.goes_on(name)
        assert not [one for one in nodes_cluster.events('Pod', name) if 'memory' in one['message']]
        assert 'CUDA_ERROR' not in trainers.said(name)


def test_a_cgroup_inside_the_pod_is_the_pods_and_an_arbiter_that_dies_changes_nothing(nodes_cluster, chart, trainers):
    """A container that manages cgroups of its own, as one with systemd inside does. Of the new arbiter's processes the one that wants memory connects
    again; the others, when they do. Till then they are charged what the driver shows."""
    shell, pid, before = nodes_cluster.bed.shell, trainers.pid('burstable'), accounts(chart)
    scope = nodes_cluster.cgroup(pid).removeprefix('0::')
    inner = f'/sys/fs/cgroup{scope}/init.scope/kubepods.slice'
    shell.run(f'mkdir -p {inner} && echo {pid} >{inner}/cgroup.procs')
    assert nodes_cluster.cgroup(pid) == f'0::{scope}/init.scope/kubepods.slice'
    arbiter = arbiter_pid(chart)
    nodes_cluster.kill(arbiter)
    wait('another arbiter', lambda: arbiter_pid(chart) not in (None, arbiter))
    after = wait_registered(chart, 'burstable')
    assert set(after) == set(before)
    for key, row in after.items():
        assert row['limit_bytes'] == before[key]['limit_bytes'] and row['charged_bytes'] >= row['used_bytes'] > 0
    for name in PODS:
        trainers.goes_on(name)
    assert trainers.pid('burstable') == pid and used_mib(chart, pid) <= GPU_MIB // N_SLICES + 2
    assert 'CUDA_ERROR' not in trainers.said('guaranteed')


def test_an_agent_that_dies_changes_nothing(nodes_cluster, chart, trainers):
    before, agent = nodes_cluster.containers(), chart.pid()
    nodes_cluster.kill(agent)
    wait('another agent', lambda: chart.pid() not in (None, agent))
    nodes_cluster.wait_allocatable(N_SLICES)
    assert nodes_cluster.containers() == before
    wait_registered(chart, 'burstable')
    for name in PODS:
        trainers.goes_on(name)


def test_a_container_that_is_started_again_has_its_limit(nodes_cluster, chart, trainers):
    nodes_cluster.kill(trainers.pid('burstable'))
    nodes_cluster.wait('another container', lambda: restarts(nodes_cluster, 'burstable') == 1)
    assert holds_its_limit(chart, trainers, 'burstable', start=1) == GPU_MIB // N_SLICES
    wait_registered(chart, 'burstable')
