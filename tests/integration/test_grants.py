# SPDX-License-Identifier: Apache-2.0
"""What was answered is on the disk: whatever kills the agent, wherever, and whatever the disk does."""
import collections
import contextlib
import fcntl
import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest

from grantlog import Ledger
from node import BUILD, GUIDE, PATIENCE_S, ROOT, eventually, free_port, http_get

sys.path.insert(0, str(ROOT / 'proto'))
pb, services = grpc.protos_and_services('deviceplugin/v1beta1/api.proto')

ANNOTATION = 'gpuslice.dev/grant.nvidia.com.gpu'


def log_of(node):
    return node.folder / 'grants/grants-v1.log'


def start(node, *arguments):
    """An agent that serves and registers with nobody: these tests are its kubelet."""
    agent = node.start_agent(GUIDE, '--kubelet-socket', '', '--device-plugin-dir', node.plugins,
                             '--pod-resources-socket', '', *arguments)
    agent.wait_line('resource offered')
    return agent


@contextlib.contextmanager
def plugin(node):
    with grpc.insecure_channel(f'unix:{node.plugins}/gpuslice-gpu.sock') as channel:
        yield services.DevicePluginStub(channel)


def request(*ids):
    return pb.AllocateRequest(container_requests=[{'devices_ids': ids}])


def allocate(stub, *ids, timeout=PATIENCE_S):
    """The grant that the answer names; None without an answer."""
    try:
        answer = stub.Allocate(request(*ids), timeout=timeout, wait_for_ready=False)
    except grpc.RpcError:
        return None
    return answer.container_responses[0].annotations[ANNOTATION]


@pytest.fixture
def plugins(node):
    node.plugins.mkdir(parents=True)
    return node


class Truth:
    """What was answered so far. An id is held by the last answer, or by a newer grant that was never answered."""

    def __init__(self, node):
        self.node, self.answers = node, {}

    def check(self):
        ledger = Ledger(log_of(self.node))
        for device, grant in self.answers.items():
            assert grant in ledger.grants, f'{grant} of {device} was answered and is lost'
            assert ledger.position(ledger.holders[device]) >= ledger.position(grant)
        return ledger


# --- killed ---

def trace(agent, name, occurrence):
    tracer = subprocess.Popen([BUILD / 'tests/integration/killpoint', str(agent.pid), name, str(occurrence)],
                              stdout=subprocess.PIPE, text=True)
    assert tracer.stdout.readline() == 'ready\n'
    return tracer


def one_call(node, truth, name='', occurrence=0):
    """One Allocate, and the system calls that were made until it was answered or the agent was killed."""
    device = random.choice(node.slices())
    agent = start(node)
    with plugin(node) as stub:
        stub.GetDevicePluginOptions(pb.Empty(), timeout=PATIENCE_S)
        tracer = trace(agent, name, occurrence)
        grant = allocate(stub, device)
        if grant and not name:
            tracer.send_signal(signal.SIGTERM)
        elif grant:  # the point lies behind the answer
            agent.send(signal.SIGKILL)
    calls = tracer.communicate(timeout=PATIENCE_S)[0].split()
    agent.end(signal.SIGKILL)
    if grant:
        truth.answers[device] = grant
    ledger = truth.check()
    assert not grant or ledger.holders[device] == grant
    return calls, grant


@pytest.mark.waits
def test_killed_at_every_system_call_between_request_and_answer(plugins):
    truth = Truth(plugins)
    hits, answered = collections.Counter(), collections.Counter()
    # Threads take turns as they like: a point is the nth call of a name, which every run has.
    points = collections.Counter()
    for _ in range(3):
        points |= collections.Counter(one_call(plugins, truth)[0])
    for name, n in points.items():
        for occurrence in range(1, n + 1):
            calls, grant = one_call(plugins, truth, name, occurrence)
            hits[name] += calls.count(name) == occurrence
            answered[name] += bool(grant)
    for name, n in sorted(points.items()):
        print(f'{name}: {n} points, {hits[name]} hits, {answered[name]} behind the answer')
    assert hits['flock'] >= 2 and hits['write'] and hits['fdatasync'] and not answered['fdatasync']
    # And the ledger is good to go on with.
    agent = start(plugins)
    with plugin(plugins) as stub:
        for device in plugins.slices():
            truth.answers[device] = allocate(stub, device)
            assert truth.answers[device]
    agent.end()
    assert truth.check().holders == truth.answers


@pytest.mark.waits
@pytest.mark.parametrize('rounds', [10, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_killed_under_load(plugins, rounds):
    """Rounds of agents that are killed while eight callers allocate."""
    truth, lock, n_answers = Truth(plugins), threading.Lock(), 0

    def call(devices, stop):
        nonlocal n_answers
        with plugin(plugins) as stub:
            while not stop.is_set():
                device = random.choice(devices)
                grant = allocate(stub, device)
                if not grant:
                    return
                with lock:
                    truth.answers[device] = grant
                    n_answers += 1

    slices = plugins.slices()
    for _ in range(rounds):
        agent, stop = start(plugins), threading.Event()
        # Each caller has ids of its own, so that the order of answers is the order of grants.
        callers = [threading.Thread(target=call, args=(slices[i::8], stop)) for i in range(8)]
        for caller in callers:
            caller.start()
        stop.wait(random.uniform(0.05, 0.3))
        agent.end(signal.SIGKILL)
        stop.set()
        for caller in callers:
            caller.join()
        truth.check()
    assert n_answers > 5 * rounds


# --- the disk ---

class Watch:
    """The device lists that the kubelet gets: the Healthy ids of each, newest last."""

    def __init__(self, stub):
        self.lists, self.news = [], threading.Condition()
        self.stream = stub.ListAndWatch(pb.Empty())
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        with contextlib.suppress(grpc.RpcError):
            for answer in self.stream:
                with self.news:
                    self.lists.append({device.ID for device in answer.devices if device.health == 'Healthy'})
                    self.news.notify_all()

    def wait(self, healthy):
        with self.news:
            assert self.news.wait_for(lambda: self.lists and self.lists[-1] == set(healthy), PATIENCE_S), self.lists


@pytest.mark.waits
def test_a_disk_that_hangs_delays_the_answer(plugins):
    """A lock that somebody else holds hangs the writer as a dead disk does."""
    agent = start(plugins)
    held, waiting, *free = plugins.slices()
    with plugin(plugins) as stub, open(plugins.folder / 'grants/grants.lock', 'rb') as lock:
        watch = Watch(stub)
        watch.wait(plugins.slices())
        allocate(stub, held)
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = stub.Allocate.future(request(waiting), timeout=PATIENCE_S)
        agent.wait_line('has not responded for 5 s')
        # What a pod holds stays Healthy, and so does what is about to be given out.
        watch.wait([held, waiting])
        assert not answer.done()
        stub.GetPreferredAllocation(pb.PreferredAllocationRequest(), timeout=PATIENCE_S)
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert answer.result().container_responses[0].annotations[ANNOTATION]
        watch.wait(plugins.slices())
    agent.wait_line('writing grants again')


@contextlib.contextmanager
def end_while_a_call_waits(node):
    """An agent that got SIGTERM while an Allocate waits for the disk, which hangs until the block ends."""
    address = f'127.0.0.1:{free_port()}'
    agent = start(node, '--http-address', address)
    held, waiting, *_ = node.slices()
    with plugin(node) as stub, open(node.folder / 'grants/grants.lock', 'rb') as lock:
        allocate(stub, held)
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = stub.Allocate.future(request(waiting), timeout=PATIENCE_S)
        eventually(lambda: 'gpuslice_grants_waiting 1\n' in http_get(address, '/metrics')[1], 'the call waits')
        agent.send(signal.SIGTERM)
        yield agent, answer, lock
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert agent.wait() == 0


def test_an_agent_that_ends_answers_what_waits_for_the_disk(plugins):
    with end_while_a_call_waits(plugins) as (agent, answer, lock):
        agent.wait_line('waiting for the disk before the end')
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert answer.result().container_responses[0].annotations[ANNOTATION]


def test_an_agent_ends_though_the_disk_hangs(plugins):
    with end_while_a_call_waits(plugins) as (_, answer, _):
        assert answer.code() == grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def small_disk(plugins):
    folder = plugins.folder / 'grants'
    folder.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder], stderr=subprocess.DEVNULL).returncode:
        pytest.skip('mounting a small disk needs root')
    yield folder
    subprocess.run(['umount', '--lazy', folder], check=True)


def fill(folder):
    with open(folder / 'filler', 'wb', buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


@pytest.mark.waits
def test_a_full_disk_loses_nothing_and_fails_nothing(plugins, small_disk):
    port = free_port()
    agent = start(plugins, '--http-address', f'127.0.0.1:{port}')
    truth = Truth(plugins)
    device, *free = plugins.slices()
    with plugin(plugins) as stub:
        watch = Watch(stub)
        truth.answers[device] = allocate(stub, device)
        fill(small_disk)
        # Room was reserved: the disk is known to be full while calls are still answered.
        while not agent.count('is full'):
            truth.answers[device] = allocate(stub, device)
            assert truth.answers[device]
        watch.wait([device])
        truth.check()
        # And when that is used up, they wait.
        for _ in range(100000):
            answer = stub.Allocate.future(request(device), timeout=PATIENCE_S)
            if agent.count('cannot write grants'):
                break
            with contextlib.suppress(grpc.FutureTimeoutError):
                truth.answers[device] = answer.result(0.5).container_responses[0].annotations[ANNOTATION]
        agent.wait_line('cannot write grants: .*No space left on device')
        assert not answer.done()
        (small_disk / 'filler').unlink()
        truth.answers[device] = answer.result().container_responses[0].annotations[ANNOTATION]
        watch.wait(plugins.slices())
    agent.end()
    assert truth.check().holders[device] == truth.answers[device]


# --- beside the kubelet ---

def grants_of_pods(node):
    """From the kubelet's own books: device id -> grant."""
    found = {}
    data = json.loads((node.plugins / 'kubelet_internal_checkpoint').read_text())['Data']
    for entry in data['PodDeviceEntries']:
        answer = pb.ContainerAllocateResponse.FromString(__import__('base64').b64decode(entry['AllocResp']))
        for ids in entry['DeviceIDs'].values():
            found.update({i: answer.annotations.get(ANNOTATION) for i in ids})
    return found


def test_pods_keep_their_grants_over_restarts(node):
    kubelet = node.start_kubelet('--keep-pods')
    agent = node.start_agent()
    node.wait_allocatable(16)
    node.run_pods(8)
    held = grants_of_pods(node)
    assert len(held) == 8 and all(held.values())
    agent.end(signal.SIGKILL)
    kubelet.end()
    node.start_kubelet('--keep-pods')
    agent = node.start_agent()
    node.wait_allocatable(16)
    agent.wait_line('grants loaded".*current=8 ending=0')
    node.run_pods(16)
    assert agent.count('adopted') == 0
    after = grants_of_pods(node)
    assert len(after) == 16 and held.items() <= after.items()
    assert Ledger(log_of(node)).holders == after


def test_a_rollback_adopts_what_pods_hold(node):
    """The log of the release that was rolled back is left alone, and the pods keep the grants that they know."""
    node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    node.run_pods(4)
    held = grants_of_pods(node)
    agent.end()
    newer = log_of(node).with_name('grants-v2.log')
    log_of(node).unlink()
    newer.write_bytes(b'gpuslice grants 2\nnobody here can read this')
    agent = node.start_agent()
    agent.wait_line('ignoring the grant log of another release')
    for _ in held:
        agent.wait_line('adopted devices')
    node.wait_allocatable(16)
    node.run_pods(5)  # one more, and its grant is written behind the adopted ones
    ledger = Ledger(log_of(node))
    assert held.items() <= ledger.holders.items()
    assert all(ledger.grants[grant].adopted for grant in held.values())
    assert newer.read_bytes() == b'gpuslice grants 2\nnobody here can read this'


def test_what_another_plugin_gave_is_adopted(node):
    node.start_kubelet()
    peer = node.start_peer()
    node.run_pods(3)
    agent = node.start_agent()
    agent.wait_line('takes over immediately')
    assert agent.count('adopted') == 0
    peer.end()
    agent.wait_line('registered with the kubelet')
    agent.wait_line('adopted devices')
    node.wait_allocatable(16)
    node.run_pods(4)
    ledger = Ledger(log_of(node))
    assert set(grants_of_pods(node)) == set(ledger.holders)
    assert sum(grant.adopted for grant in ledger.grants.values()) == 3


INIT = '''
kind: Pod
metadata: {name: one}
spec:
  initContainers:
  - {name: init, image: any, command: ["true"], resources: {limits: {nvidia.com/gpu: 2}}}
  containers:
  - {name: main, image: any, resources: {limits: {nvidia.com/gpu: 1}}}
'''


def test_an_init_container_hands_its_id_over(node):
    node.start_kubelet()
    node.start_agent()
    node.wait_allocatable(16)
    node.apply(INIT)
    node.wait_for('pods=1')
    ledger = Ledger(log_of(node))
    init, main = ledger.grants.values()
    assert len(init.ids) == 2 and len(main.ids) == 1
    assert main.ids[0] in init.ids
    assert ledger.holders[main.ids[0]] == main.id
