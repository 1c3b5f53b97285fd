# SPDX-License-Identifier: Apache-2.0
"""What pods get: how many run, on which GPUs, and what each container sees of them."""
import pytest
from agents import replicas
from cluster import GPU, gpus_of

SHARED = 'nvidia.com/gpu.shared'


def ready(cluster, agent, count=4, **more):
    agent.start(replicas(count, **more))
    cluster.wait_allocatable(4 * count)


@pytest.mark.containerd2
def test_sixteen_fit_and_the_seventeenth_waits(cluster, agent):
    ready(cluster, agent)
    cluster.deploy('demo', 16)
    print(f'TIME 16 Running: {cluster.wait_running(16):.2f} s')
    cluster.scale('demo', 17)
    cluster.wait('one Unschedulable', lambda: any(
        condition.get('reason') == 'Unschedulable' for pod in cluster.pods(phase='Pending')
        for condition in pod['status'].get('conditions', [])))
    [waiting] = cluster.pods(phase='Pending')
    assert '0/1 nodes are available: 1 Insufficient nvidia.com/gpu' in waiting['status']['conditions'][0]['message']
    cluster.scale('demo', 4)
    cluster.wait_count(4)
    cluster.wait_running(4)
    cluster.scale('demo', 16)
    cluster.wait_running(16)
    ids = cluster.held_ids()
    assert len(set(ids)) == 16
    assert sorted(gpus_of(ids).values()) == [4, 4, 4, 4]


def test_a_container_with_two_slices_gets_two_gpus(cluster, agent):
    ready(cluster, agent)
    cluster.deploy('two', 1, {GPU: 2})
    cluster.wait_running(1)
    ids = cluster.held_ids()
    assert len(ids) == 2 and len(gpus_of(ids)) == 2
    [(_, environment)] = cluster.containers().values()
    assert sorted(environment['NVIDIA_VISIBLE_DEVICES'].split(',')) == sorted(gpus_of(ids))


def test_more_than_one_is_refused_where_configured(cluster, agent):
    """failRequestsGreaterThanOne: the pod fails, and says why in the agent's own sentence."""
    ready(cluster, agent, sharing='failRequestsGreaterThanOne: true')
    cluster.create_pod('two', {GPU: 2}, restartPolicy='Never')
    cluster.wait('Failed', lambda: cluster.pods(phase='Failed'))
    status = cluster.pods()[0]['status']
    assert 'allows 1 slice per container, not 2 (failRequestsGreaterThanOne)' in status['message']
    assert status['reason'] == 'UnexpectedAdmissionError'


def test_each_container_sees_its_own_gpu_alone(cluster, agent):
    """passDeviceSpecs: its device nodes, and a devices cgroup that lets it at no other."""
    agent.start(replicas(4, flags='flags: {plugin: {passDeviceSpecs: true}}'))
    cluster.wait_allocatable(16)
    cluster.deploy('demo', 4)
    cluster.wait_running(4)
    seen = set()
    for pid, _ in cluster.containers().values():
        names, minors = cluster.device_nodes(pid)
        [gpu] = names - {'nvidiactl'}
        assert 'nvidiactl' in names
        assert minors in (None, {int(gpu.removeprefix('nvidia')), 255})
        seen.add(gpu)
    assert seen == {'nvidia0', 'nvidia1', 'nvidia2', 'nvidia3'}


def test_init_containers_and_sidecars(cluster, agent):
    """An init container's slice is used again by the main one; a sidecar keeps its own beside it."""
    ready(cluster, agent)
    one = {'limits': {GPU: 1}}
    cluster.deploy('demo', 5, {'name': 'main', 'resources': one}, initContainers=[
        {'name': 'first', 'resources': one, 'command': ['/pause', '--once']},
        {'name': 'sidecar', 'resources': one, 'restartPolicy': 'Always'}])
    cluster.wait_running(5)
    held = cluster.held()
    assert len(held) == 5
    for (pod, name), (_, environment) in cluster.containers().items():
        assert name in ('main', 'sidecar')
        [own] = held[pod][name][GPU]
        assert environment['NVIDIA_VISIBLE_DEVICES'] == own.split('::')[0]
    running = [one for pod in held.values() for name in ('main', 'sidecar') for one in pod[name][GPU]]
    assert len(running) == len(set(running)) == 10
    # 16 - 10: as many as fit besides
    cluster.deploy('more', 6)
    cluster.wait_running(11)
    assert len(set(cluster.held_ids())) == 16


def test_two_resources_in_one_container(cluster, agent):
    """The container sees the GPUs of all its slices. By device nodes: of two plugins that set one environment variable the
    kubelet keeps the one it asked last, so that NVIDIA_VISIBLE_DEVICES tells of one resource alone."""
    agent.start('''
version: v1
flags: {plugin: {passDeviceSpecs: true}}
gpuslice:
  slices:
  - {name: half, share: 50%, count: 1}
  - {name: eighth, share: 12.5%, count: 4}
''')
    half, eighth = 'nvidia.com/gpu-half', 'nvidia.com/gpu-eighth'
    cluster.wait_allocatable(4, half)
    cluster.wait_allocatable(16, eighth)
    cluster.deploy('demo', 4, {half: 1, eighth: 2})
    cluster.wait_running(4)
    held = cluster.held()
    for (pod, name), (pid, environment) in cluster.containers().items():
        ids = held[pod][name]
        assert (len(ids[half]), len(ids[eighth])) == (1, 2)
        assert set(environment['NVIDIA_VISIBLE_DEVICES'].split(',')) in (set(gpus_of(ids[half])), set(gpus_of(ids[eighth])))
        names, _ = cluster.device_nodes(pid)
        assert names - {'nvidiactl'} == {agent.machine.device_name(gpu) for gpu in gpus_of(ids[half] + ids[eighth])}
    assert len(set(cluster.held_ids())) == 12
