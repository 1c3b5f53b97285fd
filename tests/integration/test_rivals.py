# SPDX-License-Identifier: Apache-2.0
"""gpuslice and another device plugin of the same resource on one node: which one serves, and the effect on pods."""
import json
import signal
import socket
import threading

import pytest

from node import GUIDE, Cluster, eventually, free_port, held_ids, http_get, replicas

SERVES = r"NVIDIA's device plugin serves nvidia.com/gpu \(nvidia-gpu.sock\)"
GONE = 'no other device plugin serves nvidia.com/gpu any more'
REGISTERED = 'registered with the kubelet'
AGAIN = 'msg="registering again"'
REFUSED = 'msg="cannot register with the kubelet, retrying" resource=nvidia.com/gpu reason="UNKNOWN: the plugin was disconnected"'


def pods_as_they_are(node):
    """What a pod would feel: its devices, its process, its restarts."""
    return sorted((pod['name'], pod['phase'], *((one['pid'], one['restarts'], *held_ids([pod]))
                                                for one in pod['containers'])) for pod in node.pods())


def scale(node, count):
    node.kubelet('scale', 'demo', str(count))
    node.wait_for(f'pods={count}')


# --- over and back ---

def test_over_from_a_plugin_that_serves(node):
    """NVIDIA's plugin serves 8 pods. We wait, say so, and serve the same slices when it is uninstalled."""
    port = free_port()
    node.start_kubelet()
    peer = node.start_peer()
    node.run_pods(8)
    before = pods_as_they_are(node)
    agent = node.start_agent(GUIDE, '--http-address', f'127.0.0.1:{port}')
    agent.wait_line(SERVES)
    agent.wait_line('listening for HTTP')
    status, why = http_get(f'127.0.0.1:{port}', '/readyz')
    assert status == 503 and 'serves nvidia.com/gpu' in why and 'uninstall it' in why
    assert 'gpuslice_registered{resource="nvidia.com/gpu"} 0' in http_get(f'127.0.0.1:{port}', '/metrics')[1]
    assert agent.count(REGISTERED) == 0
    mark = agent.mark()
    assert peer.end() == 0
    agent.wait_line(REGISTERED, mark)
    assert agent.count(GONE, mark) == 1 and agent.count(SERVES) == 1
    node.wait_allocatable(16)
    assert pods_as_they_are(node) == before
    scale(node, 16)
    assert held_ids(node.pods()) == sorted(node.slices())
    assert http_get(f'127.0.0.1:{port}', '/readyz')[0] == 200


def test_back_to_a_plugin_that_comes_after_us(node):
    """NVIDIA's plugin, installed beside ours, takes over: the kubelet calls the newest."""
    node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    node.run_pods(8)
    before = pods_as_they_are(node)
    peer = node.start_peer()
    agent.wait_line(SERVES)
    node.wait_allocatable(16)
    assert pods_as_they_are(node) == before
    node.sim('inject', 'xid', '0', '79')
    agent.wait_line('GPU is Unhealthy')
    scale(node, 16)  # so our view of GPU 0 did not replace the serving plugin's list
    assert peer.count('allocated') == 8
    assert agent.count(REGISTERED) == 1 and agent.count('level=error') == 0
    peer.end()
    node.wait_allocatable(12)
    assert agent.count(REGISTERED) == 2
    assert len(set(held_ids(node.pods()))) == 16


def test_a_killed_plugin_leaves_its_socket(node):
    """Nobody tells that the socket is dead: it is looked at again and again."""
    node.start_kubelet()
    peer = node.start_peer()
    agent = node.start_agent()
    agent.wait_line(SERVES)
    before = [pod for pod in node.run_pods(8)]
    mark = agent.mark()
    peer.end(signal.SIGKILL)
    agent.wait_line(REGISTERED, mark)
    assert (node.plugins / 'nvidia-gpu.sock').is_socket()
    node.wait_allocatable(16)
    assert held_ids(node.pods()) == held_ids(before)


def test_a_plugin_killed_after_it_took_over(node):
    address = f'127.0.0.1:{free_port()}'
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--http-address', address)
    agent.wait_line('listening for HTTP')
    node.wait_allocatable(16)
    for round in (1, 2, 3):
        peer = node.start_peer()
        eventually(lambda: 'gpuslice_registered{resource="nvidia.com/gpu"} 0' in http_get(address, '/metrics')[1],
                   'it took over')
        mark = agent.mark()
        peer.end(signal.SIGKILL)
        agent.wait_line(REGISTERED, mark)
        node.wait_allocatable(16)
        assert agent.count(REGISTERED) == 1 + round
    assert len(node.run_pods(16)) == 16


# --- nobody fights ---

@pytest.mark.parametrize('first', ['peer', 'agent'])
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_a_kubelet_restart_with_both(node, first, number):
    """Both see the new socket. The plugin registers once, we do not, until it goes."""
    kubelet = node.start_kubelet('--keep-pods')
    if first == 'peer':
        peer = node.start_peer()
    agent = node.start_agent()
    if first == 'agent':
        agent.wait_line(REGISTERED)
        peer = node.start_peer()
    agent.wait_line(SERVES)
    before = held_ids(node.run_pods(8))
    mark, told = agent.mark(), peer.mark()
    kubelet.end(number)
    node.start_kubelet('--keep-pods')
    peer.wait_line('watched', told)
    node.wait_allocatable(16)
    scale(node, 16)
    assert peer.count('registered', told) == 1
    assert agent.count(REGISTERED, mark) == 0
    assert set(before) < set(held_ids(node.pods()))
    ending = agent.mark()
    peer.end()
    agent.wait_line(REGISTERED, ending)
    node.wait_allocatable(16)
    # A kubelet that learns of the plugin's end while we register refuses, and one that learns of it after that takes it
    # for ours. Either is logged, and we register again. The plugin's pods are adopted as soon as the kubelet lists them.
    assert agent.count(REGISTERED, ending) == 1 + agent.count(AGAIN, ending)
    known = 'level=warning msg="adopted devices', f'level=warning {AGAIN}', f'level=warning {REFUSED}'
    assert agent.count('level=warning', ending) == sum(agent.count(text, ending) for text in known)
    # The plugin is away for a moment while it makes its socket again.
    assert agent.count('level=warning', mark) - agent.count('level=warning', ending) == agent.count(SERVES, mark) - agent.count(SERVES, ending)
    node.kubelet('delete', 'demo')


def test_a_plugin_that_does_not_come_back_with_the_kubelet(node):
    kubelet = node.start_kubelet()
    peer = node.start_peer()
    agent = node.start_agent()
    agent.wait_line(SERVES)
    kubelet.end()
    peer.end(signal.SIGKILL)
    mark = agent.mark()
    node.start_kubelet()
    agent.wait_line(REGISTERED, mark)
    node.wait_allocatable(16)


def test_a_plugin_that_restarts_again_and_again(node):
    """SIGHUP is how NVIDIA's config-manager makes its plugin read its configuration. The plugin wins each time."""
    node.start_kubelet()
    peer = node.start_peer()
    agent = node.start_agent()
    agent.wait_line(SERVES)
    for _ in range(8):
        told = peer.mark()
        peer.send(signal.SIGHUP)
        peer.wait_line('watched', told)
    node.wait_allocatable(16)
    node.run_pods(16)
    eventually(lambda: peer.count('allocated') == 16, 'the plugin serves')
    assert agent.count('nvidia-gpu.sock') <= 5 and agent.count(GONE) <= 4
    peer.end()
    node.wait_allocatable(16)
    assert agent.alive()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_a_plugin_that_came_and_went_unseen(node, number):
    """Registered and gone before we look. The kubelet has dropped its newest plugin and calls nobody; the folder alone tells us."""
    kubelet, agent = node.start_kubelet(), node.start_agent()
    node.wait_allocatable(16)
    mark, told = agent.mark(), kubelet.mark()
    agent.send(signal.SIGSTOP)
    node.start_peer().end(number)
    kubelet.wait_line('plugin disconnected', told)
    agent.send(signal.SIGCONT)
    agent.wait_line(REGISTERED, mark)
    node.wait_allocatable(16)
    assert len(node.run_pods(16)) == 16


# --- who is no rival ---

@pytest.mark.waits
def test_a_plugin_that_the_kubelet_forgot(node):
    """The Node shows none of the devices of a plugin that still listens: the resource would be unserved, so we take over, until it re-registers."""
    node.start_kubelet()
    peer = node.start_peer()
    cluster = Cluster(node)
    cluster.greet = {'nvidia.com/gpu': 0}
    agent = node.start_agent(GUIDE, '--node-name', 'node')
    agent.wait_line(SERVES)
    seen = agent.wait_line('the Node shows none of the devices of another device plugin')
    assert agent.wait_line(REGISTERED) > seen
    cluster.tell(**{'nvidia.com/gpu': 16})
    node.wait_allocatable(16)
    assert len(node.run_pods(8)) == 8 and peer.count('allocated') == 0
    mark = agent.mark()
    peer.end()
    node.start_peer()
    agent.wait_line(SERVES, mark)


def test_a_plugin_of_another_resource(node):
    node.start_kubelet()
    peer = node.start_peer('nvidia.com/mig-1g.5gb', ['MIG-1', 'MIG-2'])
    agent = node.start_agent()
    node.wait_allocatable(16)
    node.wait_allocatable(2, 'nvidia.com/mig-1g.5gb')
    node.start_peer('nvidia.com/gpu.shared', ['GPU-1::0'])
    assert agent.count('serves') == 0 and peer.alive()
    node.configure(replicas(4, rename='nvidia.com/gpu.shared'))
    agent.wait_line('serves nvidia.com/gpu.shared')
    assert agent.count('registered.*nvidia.com/gpu.shared') == 0


def test_a_socket_without_a_listener(node):
    node.start_kubelet()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(node.plugins / 'nvidia-gpu.sock'))
        agent = node.start_agent()
        node.wait_allocatable(16)
        assert agent.count('serves') == 0


def test_without_a_kubelet_there_is_nothing_to_share(node):
    node.plugins.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(node.plugins / 'nvidia-gpu.sock'))
        other.listen()
        agent = node.start_agent(GUIDE, '--kubelet-socket', '', '--device-plugin-dir', node.plugins)
        eventually((node.plugins / 'gpuslice-gpu.sock').is_socket, 'it serves')
        agent.wait_line('resource offered')
        assert agent.count('serves') == 0


# --- whose pods they are ---

def pod(name):
    return json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name},
                       'spec': {'containers': [{'name': 'main', 'image': 'none'}]}})


def ask_the_kubelet(node):
    return ('--pod-resources-socket', node.kubelet_root / 'pod-resources/kubelet.sock')


def test_the_pods_of_others_are_named(node):
    node.start_kubelet()
    for name in ('nvdp-nvidia-device-plugin-7xk2p', 'nvidia-mig-manager-4zd8q', 'gpu-feature-discovery-w8s5x', 'web'):
        node.apply(pod(name))
    node.wait_for('pods=4')
    node.start_peer()
    agent = node.start_agent(GUIDE, *ask_the_kubelet(node))
    agent.wait_line(SERVES + r'; uninstall it \(pod default/nvdp-nvidia-device-plugin-7xk2p\) and gpuslice takes over')
    agent.wait_line(r"mig-manager runs on this node \(pod default/nvidia-mig-manager-4zd8q\)")
    agent.wait_line(r'gpu-feature-discovery runs on this node \(pod default/gpu-feature-discovery-w8s5x\)')
    assert agent.count('runs on this node') == 2


class FaultyPodResources:
    """A socket in the place of pod-resources whose every connection is handed to `behave`."""

    def __init__(self, path, behave):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.behave, self.connections = behave, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            self.behave(connection)


@pytest.mark.parametrize('behave', [
    None,
    lambda connection: None,
    lambda connection: connection.close(),
    lambda connection: connection.sendall(b'HTTP/1.1 400 Bad Request\r\n\r\n'),
    lambda connection: connection.sendall(b'\0\0\0\4\0\0\0\0\0' + b'\0\0\4\1\4\0\0\0\1\x88\xff\xff\xff' * 9),
], ids=['absent', 'hanging', 'closing', 'no-http2', 'garbage'])
def test_pod_resources_that_do_not_answer(node, behave):
    """No pod is named, and that is all."""
    node.start_kubelet()
    peer = node.start_peer()
    path = node.folder / 'pods.sock'
    if behave:
        faulty = FaultyPodResources(path, behave)
    agent = node.start_agent(GUIDE, '--pod-resources-socket', path)
    agent.wait_line(SERVES + '; uninstall it and gpuslice takes over')
    assert agent.count('the kubelet does not report which pods hold devices') == 1
    peer.end()
    node.wait_allocatable(16)
    assert len(node.run_pods(16)) == 16
    assert agent.end() == 0
    if behave:
        faulty.listener.close()


def test_the_kubelet_is_away_and_leaves_its_socket(node):
    """As a kubelet does on SIGTERM. That is no fault of ours, and is logged once."""
    kubelet = node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    mark = agent.mark()
    kubelet.end()
    assert (node.plugins / 'kubelet.sock').is_socket()
    agent.wait_line('level=info msg="waiting for the kubelet"', mark)
    node.start_kubelet()
    agent.wait_line(REGISTERED, mark)
    assert agent.count('level=(warning|error)', mark) == 0
    assert agent.count('waiting for the kubelet', mark) == 1
