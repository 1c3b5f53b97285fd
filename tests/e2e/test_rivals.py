# SPDX-License-Identifier: Apache-2.0
"""Another device plugin of our resource on a real node: a real kubelet, and a plugin that behaves as NVIDIA's."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents import replicas
from bed import wait
from cluster import GPU
from test_restarts import eight

HERE = Path(__file__).resolve().parent
PLUGINS = Path('/var/lib/kubelet/device-plugins')
SERVES = r"NVIDIA's device plugin serves nvidia.com/gpu \(nvidia-gpu.sock\)"
REGISTERED = 'registered with the kubelet'


class Peer:
    def __init__(self, folder):
        self.log, self.process = folder / 'peer.log', None

    def start(self, ids, *arguments):
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen([sys.executable, HERE / 'peer_plugin.py', '--ids', ','.join(ids), *arguments],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait('the peer is watched', lambda: self.count('watched'))

    def count(self, word):
        return sum(line.split()[:1] == [word] for line in self.log.read_text().splitlines())

    def end(self, number=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(10)


@pytest.fixture
def peer(tmp_path):
    made = Peer(tmp_path)
    yield made
    print('--- peer:\n' + (made.log.read_text() if made.log.exists() else ''))
    made.end()


@pytest.fixture
def stranger(tmp_path):
    """Another one beside it."""
    (tmp_path / 'stranger').mkdir()
    made = Peer(tmp_path / 'stranger')
    yield made
    made.end()


def slices(agent):
    """Device ids as either plugin makes them."""
    plan = subprocess.run([Path(os.environ.get('GPUSLICE_BUILD', HERE.parents[1] / 'build')) / 'src/gpuslice', 'plan', '-m',
                           'p3.8xlarge', '-o', 'json'], capture_output=True, text=True, check=True, cwd=HERE.parents[1])
    return [f'{gpu["uuid"]}::{n}' for gpu in json.loads(plan.stdout)['gpus'] for n in range(4)]


def registrations(agent):
    return agent.said().count(REGISTERED)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_back_and_over_with_eight_pods(cluster, agent, peer, number):
    """The peer comes: it serves, and the kubelet never shows fewer. It goes: we serve. Pods feel nothing."""
    before = eight(cluster, agent)
    agent.mark()
    peer.start(slices(agent))
    agent.wait_line(SERVES)
    cluster.stays((16, 16), cluster.node)
    cluster.scale('demo', 12)
    cluster.wait_running(12)
    assert peer.count('allocated') == 4 and registrations(agent) == 0
    peer.end(number)
    agent.wait_line(REGISTERED)
    cluster.settles((16, 16))
    cluster.scale('demo', 16)
    cluster.wait_running(16)
    now = cluster.state()
    assert {key: now[key] for key in before} == before
    assert len(set(cluster.held_ids())) == 16
    assert registrations(agent) == 1


def test_over_from_a_peer_that_was_first(cluster, agent, peer):
    peer.start(slices(agent))
    cluster.wait_allocatable(16)
    cluster.deploy('demo', 8)
    cluster.wait_running(8)
    before = cluster.state()
    agent.mark()  # an earlier test's pod may have had its last words since
    agent.start(replicas(4))
    agent.wait_line(SERVES)
    assert registrations(agent) == 0
    started = time.monotonic()
    peer.end()
    agent.wait_line(REGISTERED)
    print(f'TIME peer ended -> registered: {time.monotonic() - started:.2f} s')
    cluster.settles((16, 16))
    cluster.keeps(before, seconds=1)
    cluster.scale('demo', 16)
    cluster.wait_running(16)
    assert len(set(cluster.held_ids())) == 16


@pytest.mark.parametrize('first', ['peer', 'agent'])
def test_a_kubelet_restart_with_both(cluster, agent, peer, bed, first):
    """Each time the kubelet comes the peer registers once and we do not: nobody takes turns."""
    if first == 'agent':
        agent.start(replicas(4))
        cluster.wait_allocatable(16)
    peer.start(slices(agent))
    if first == 'peer':
        agent.start(replicas(4))
    agent.wait_line(SERVES)
    cluster.deploy('demo', 8)
    cluster.wait_running(8)
    before = cluster.state()
    agent.mark()
    for life in (2, 3):
        bed.kubelet.end()
        bed.kubelet.start()
        wait('the peer registers', lambda: peer.count('registered') == life)
        cluster.settles((16, 16))
    cluster.keeps(before)
    assert peer.count('registered') == 3 and registrations(agent) == 0
    peer.end()
    agent.wait_line(REGISTERED)
    cluster.settles((16, 16))
    cluster.keeps(before, seconds=1)


@pytest.fixture
def knows_its_node(cluster, agent, monkeypatch):
    """The agent gets the Node's status; the chart configures where."""
    if agent.is_process():
        monkeypatch.setenv('NODE_NAME', cluster.bed.node_name)
        monkeypatch.setenv('KUBECONFIG', str(cluster.bed.kubeconfig))


TWO = '''
version: v1
sharing:
  timeSlicing:
    resources:
    - {name: nvidia.com/gpu, replicas: 4, devices: [0, 1]}
    - {name: nvidia.com/gpu, rename: nvidia.com/half, replicas: 4, devices: [2, 3]}
'''
HALF = 'nvidia.com/half'


@pytest.mark.usefixtures('knows_its_node')
def test_registrations_that_the_kubelet_forgot(cluster, agent, peer, stranger):
    """
    The kubelet has no plugin of a resource although one listens, and nobody is called. The Node tells: it shows nothing
    allocatable for half a minute. (Of two resources at once, so that the test waits once.)

    Ours, of nvidia.com/gpu: a plugin by a name that nobody knows registers it and ends. The kubelet then drops the newest
    plugin and has none, while our stream goes on: we register again.
    A peer's, of nvidia.com/half: he serves when we are killed, and the kubelet takes the end of our stream for the end of
    his. Nobody calls him, although he listens: so we serve.
    """
    ids = slices(agent)
    agent.start(TWO)
    for resource in (GPU, HALF):
        cluster.wait_allocatable(8, resource)
        cluster.deploy(resource.split('/')[1], 4, {resource: 1})
    cluster.wait_running(8)
    before = cluster.state()
    assert len(before) == 8 and all(len(held) == 1 for _, held in before.values())
    agent.mark()
    peer.start(ids[8:], '--resource', HALF)
    agent.wait_line(r'serves nvidia.com/half \(nvidia-half.sock\)')
    agent.kill()
    agent.resume()
    cluster.wait_allocatable(0, HALF)
    cluster.settles((8, 8), GPU)
    stranger.start(ids[:8], '--endpoint', 'somebody.sock')
    stranger.end()
    cluster.wait_allocatable(0, GPU)
    agent.wait_line('registering again, because the Node shows none of its devices', timeout=60)
    agent.wait_line('the Node shows none of the devices of another device plugin', timeout=90)
    for resource in (GPU, HALF):
        cluster.settles((8, 8), resource, timeout=60)
    cluster.keeps(before, seconds=1)
    for resource in (GPU, HALF):
        cluster.scale(resource.split('/')[1], 5)
    cluster.wait_running(10)
    assert peer.count('allocated') == stranger.count('allocated') == 0 and len(set(cluster.held_ids())) == 10
