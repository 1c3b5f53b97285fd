# SPDX-License-Identifier: Apache-2.0
"""Programs of the node end and come back while pods run: the same processes keep the same slices."""
import contextlib
import time

import pytest
from agents import replicas
from bed import PLUGINS
from cluster import Timeline


def eight(cluster, agent, *settings):
    agent.start(replicas(4), *settings)
    cluster.wait_allocatable(16)
    cluster.deploy('demo', 8)
    cluster.wait_running(8)
    before = cluster.state()
    assert len(before) == 8 and all(len(ids) == 1 for _, ids in before.values())
    return before


def unharmed(cluster, before, line, note):
    """All 16 offered again, nobody killed or moved, and a ninth pod gets a slice that nobody holds."""
    cluster.settles((16, 16))
    line.end(note)
    cluster.keeps(before, seconds=1)
    cluster.scale('demo', 9)
    # Kubernetes' own controllers look for an API server that was long away only after their back-off (client-go: to 60 s).
    cluster.wait_running(9, timeout=150)
    ids = cluster.held_ids()
    assert len(ids) == len(set(ids)) == 9
    assert {key: value for key, value in cluster.state().items() if key in before} == before


@pytest.mark.parametrize('how', ['end', 'kill'])
def test_kubelet(cluster, agent, bed, how):
    before, line = eight(cluster, agent), Timeline(cluster)
    agent.mark()
    getattr(bed.kubelet, how)()
    started = time.monotonic()
    bed.kubelet.start()
    agent.wait_line('registered with the kubelet')
    print(f'TIME kubelet start -> registered: {time.monotonic() - started:.2f} s')
    unharmed(cluster, before, line, f'kubelet {how}')


@contextlib.contextmanager
def rooted(bed, folder):
    """The node's kubelet with another --root-dir."""
    usual = bed.kubelet.argv
    bed.kubelet.end()
    bed.kubelet.argv = [*usual, f'--root-dir={folder}']
    bed.kubelet.start()
    try:
        yield
    finally:
        bed.kubelet.end()
        bed.kubelet.argv = usual
        bed.kubelet.start()
        bed.unmount(folder)


def test_kubelet_with_another_root(cluster, agent, bed):
    """Plugins and the checkpoint stay where they always are; pod-resources moves, and is found."""
    if agent.is_process():
        pytest.skip('the chart says where pod-resources lies')
    root = bed.folder / 'kubelet-root'
    with rooted(bed, root):
        bed.await_('the node to be Ready', bed.is_ready)
        try:
            agent.start(replicas(4), f'kubeletDir={root}')
            cluster.wait_allocatable(16)
            assert (PLUGINS / 'gpuslice-gpu.sock').is_socket() and (PLUGINS / 'kubelet.sock').is_socket()
            assert (root / 'pod-resources/kubelet.sock').is_socket() and not (root / 'device-plugins').exists()
            cluster.deploy('demo', 1)
            cluster.wait_running(1)
            [name] = [one['metadata']['name'] for one in cluster.pods()]
            for gpu in range(4):
                agent.sim('inject', 'xid', gpu, 79)
            # Only pod-resources says which pod holds a slice of a GPU.
            cluster.wait(f'an event on {name}', lambda: any(one['reason'] == 'GPUUnhealthy' for one in cluster.events('Pod', name)))
        finally:
            agent.remove()
            cluster.clean()


def test_agent_killed(cluster, agent):
    before, line = eight(cluster, agent), Timeline(cluster)
    agent.kill()
    if agent.is_process():
        cluster.wait_allocatable(0)
        assert cluster.state() == before
        agent.resume()
    unharmed(cluster, before, line, 'agent kill -9')


def test_kubelet_and_agent_killed(cluster, agent, bed):
    before, line = eight(cluster, agent), Timeline(cluster)
    bed.kubelet.kill()
    agent.kill()
    bed.kubelet.start()
    agent.resume()
    unharmed(cluster, before, line, 'both')


def test_agent_away_while_the_kubelet_restarts(cluster, agent, bed):
    before, line = eight(cluster, agent), Timeline(cluster)
    agent.leave()
    bed.kubelet.restart()
    cluster.wait_allocatable(0)
    agent.come()
    unharmed(cluster, before, line, 'agent down while the kubelet restarts')


@pytest.mark.containerd2
def test_containerd(cluster, agent, bed):
    before, line = eight(cluster, agent), Timeline(cluster)
    bed.restart_containerd()
    unharmed(cluster, before, line, 'containerd')


def api_server_away(cluster, agent, bed, seconds):
    before, line = eight(cluster, agent), Timeline(cluster)
    bed.server.kill()
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert cluster.state() == before
            time.sleep(0.5)
    finally:
        bed.server_start()
    unharmed(cluster, before, line, f'no API server for {seconds} s')


def test_api_server_away_for_5_seconds(cluster, agent, bed):
    api_server_away(cluster, agent, bed, 5)


@pytest.mark.soak
def test_api_server_away_for_a_minute(cluster, agent, bed):
    api_server_away(cluster, agent, bed, 60)


def test_upgrade(cluster, agent):
    before, line = eight(cluster, agent), Timeline(cluster)
    agent.upgrade()
    unharmed(cluster, before, line, 'upgrade')


@pytest.mark.containerd2
def test_reboot(cluster, agent, bed):
    """The power fails. The kubelet may refuse a pod whose devices are not registered yet; its controller replaces it."""
    eight(cluster, agent)
    agent.kill() if agent.is_process() else None
    bed.reboot()
    started = time.monotonic()
    agent.resume()
    cluster.wait_allocatable(16)
    # What the API server says of a pod is first what it was before, and then what has become of it.
    cluster.comes_to_stay((8, 8), lambda: (len(cluster.pods(phase='Running')), len(cluster.containers())),
                          'pods and containers that run', seconds=4, timeout=60)
    print(f'TIME reboot -> 8 Running for 4 s: {time.monotonic() - started:.2f} s')
    running = {pod['metadata']['name'] for pod in cluster.pods(phase='Running')}
    ids = [one for (pod, _), (_, own) in cluster.state().items() if pod in running for one in own]
    assert len(ids) == len(set(ids)) == 8
    refused = cluster.pods(phase='Failed')
    print(f'refused after the reboot: {len(refused)}', {pod["status"].get("message") for pod in refused})
    assert not agent.failed_pods()
