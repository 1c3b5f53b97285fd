# SPDX-License-Identifier: Apache-2.0
"""Library, arbiter and agent of different releases: a container keeps its library as long as it lives, and the others are replaced one by
one, by a later release or back by an earlier one. A side that does not understand the other logs it, and what has a limit keeps it."""
import os
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from formerpeers import CONTAINER, EVENT, STATE, WISH, FormerArbiter, Peculiar, recording
from limitsarbiter import CLOSED, COMPUTE_ELASTIC, REGISTER, Arbiter
from limitsclient import CHARGE, CLAIMS, DENIED, ENFORCED, ENTER, GRANTED, OBSERVE, RELEASE, REQUEST, RESERVE, SEALS, WELCOME
from node import GUIDE, Cluster, eventually, in_folder
from played_arbiter import Arbiter as PlayedArbiter
from played_arbiter import install_library
from test_limit_control import Controlled, wait_mode
from test_limits import GIB, connects
from test_memory_limits import grants_of, limited
from test_preload import CASES, CONTEXT, CUDA, LIBRARY, LIMIT, MIB, NVML, OUT_OF_MEMORY, Container, Steps

LATER = 1000  # a revision that there is not


@pytest.fixture
def container(tmp_path):
    made = Container(tmp_path)
    yield made
    made.end()


@pytest.fixture
def machine():
    """A node with the real arbiter."""
    yield from in_folder(Controlled)


def played(container, kind, **named):
    made = kind(container.folder, [(container.uuids[0], LIMIT * MIB)], **named)
    container.arbiters.append(made)
    return made


# --- the library, at an arbiter of another release ---

@pytest.mark.parametrize('cases', [('conformance-limits', CUDA), ('conformance-cuda', '-l', CUDA)], ids=['limits', 'driver'])
def test_a_former_arbiter_understands_all_that_the_library_sends(container, cases):
    """Of every family of calls."""
    arbiter = FormerArbiter(container.folder, [(container.uuids[0], 4 * LIMIT * MIB)])
    container.arbiters.append(arbiter)
    done = container.run(CASES / cases[0], *cases[1:])
    assert (done.returncode, 'not ok' in done.stdout) == (0, False), done.stdout + done.stderr
    assert arbiter.malformed == [] and {said[0] for said in arbiter.said} >= {RESERVE, RELEASE, ENTER}


@pytest.mark.parametrize('kind', [FormerArbiter, Peculiar], ids=['first', 'second'])
def test_a_former_arbiter_has_no_turns(container, kind):
    """Its page has zeros where gates are now, or what a later one would have put there; it is not asked for claims."""
    arbiter = played(container, kind, **({'revision': 2, 'compute': COMPUTE_ELASTIC} if kind == Peculiar else {}))
    steps = container.steps()
    assert [steps(step) for step in ('start', 'kernel', 'stream', 'launches 10 0', 'wait', 'alloc 100')] == ['0'] * 6
    assert CLAIMS not in [said[0] for said in arbiter.said] and not getattr(arbiter, 'malformed', None)


FOREIGN_PAGES = {'version': {4: struct.pack('<I', 2)}, 'magic': {0: b'none'}, 'devices': {8: struct.pack('<I', 33)},
                 'layout': {0: struct.pack('<IIII', 0x6c737067, 2, 0, 0)}}
FOREIGN_ANSWERS = {'kind': lambda kind, data: [struct.pack('<I', LATER) + data[4:]], 'size': lambda kind, data: [data[:32]]}


def limited_alone(container, steps):
    """By what the agent wrote into the directory of the grant."""
    assert steps('start') == '0'
    assert steps.info()[1] == LIMIT
    assert steps(f'alloc {LIMIT - CONTEXT - 10}') == '0'
    assert steps('alloc 20') == OUT_OF_MEMORY


def write_terms(container, mode='enforced'):
    (container.folder / 'limits').write_text(f'mode {mode}\n{container.uuids[0]} {LIMIT * MIB}\n')


@pytest.mark.parametrize('page', FOREIGN_PAGES)
def test_a_page_that_is_not_understood(container, page):
    write_terms(container)
    played(container, Peculiar, page=FOREIGN_PAGES[page])
    steps = container.steps()
    begin = time.monotonic()
    limited_alone(container, steps)
    assert time.monotonic() - begin < 5  # it does not wait for another arbiter
    assert 'is of a release that this library does not understand; GPU memory is limited by this process alone' in steps.end()


@pytest.mark.parametrize('answer', FOREIGN_ANSWERS)
def test_a_welcome_that_is_not_understood(container, answer):
    write_terms(container)
    played(container, Peculiar, answers_with=FOREIGN_ANSWERS[answer])
    steps = container.steps()
    limited_alone(container, steps)
    assert 'GPU memory is limited by this process alone' in steps.end()


@pytest.mark.parametrize('page', FOREIGN_PAGES)
def test_a_successor_that_is_not_understood(container, page):
    """As without an arbiter: within the part of what was free. The next arbiter learns everything."""
    first = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    first.end()
    second = played(container, Peculiar, page=FOREIGN_PAGES[page])
    assert steps(f'alloc {LIMIT - CONTEXT - 100}') == '0'
    eventually(lambda: steps('alloc 200') == OUT_OF_MEMORY and second.said, 'it has tried')
    assert steps.info()[1] == LIMIT
    second.end()
    third = container.arbiter()
    eventually(lambda: (steps('alloc 2'), steps('free')) and third.charged() >= (LIMIT - CONTEXT - 100) * MIB, 'it is told')


def from_second_grant_on(change):
    """The first one is for the context."""
    granted = []

    def answers_with(kind, data):
        granted.extend([kind] if kind == GRANTED else [])
        return change(data) if kind == GRANTED and len(granted) > 1 else [data]
    return answers_with


@pytest.mark.parametrize('change', [lambda data: [struct.pack('<I', LATER) + data[4:]], lambda data: [data[:16]], lambda data: []],
                         ids=['kind', 'short', 'none'])
def test_an_answer_that_is_not_understood_gives_no_memory_beyond_the_limit(container, change):
    write_terms(container)
    played(container, Peculiar, answers_with=from_second_grant_on(change))
    steps = container.steps()
    assert steps('start') == '0'
    n_granted = [steps('alloc 1000') for _ in range(8)].count('0')
    assert n_granted <= (LIMIT - CONTEXT) // 1000
    assert steps(f'alloc {LIMIT}') == OUT_OF_MEMORY


@pytest.mark.parametrize('change', [lambda data: [struct.pack('<I', LATER) + data[4:]], lambda data: [data[:16]], lambda data: []],
                         ids=['kind', 'short', 'none'])
@pytest.mark.parametrize('has_terms', [True, False], ids=['terms', 'page'])
def test_claims_that_are_not_answered_as_they_should_are_no_turns(container, has_terms, change):
    """The second grant is that of the claims. Launches go on, and memory has its limit: the page tells it, whatever the agent wrote."""
    if has_terms:
        write_terms(container)
    arbiter = played(container, Peculiar, compute=COMPUTE_ELASTIC, answers_with=from_second_grant_on(change))
    arbiter.set_gate(CLOSED)
    steps = container.steps()
    assert [steps(step) for step in ('start', 'kernel', 'stream', 'launches 10 0', 'wait')] == ['0'] * 5
    assert 1 <= len([said for said in arbiter.said if said[0] == CLAIMS]) <= 3
    assert steps(f'alloc {LIMIT}') == OUT_OF_MEMORY
    assert steps.info()[1] == LIMIT


ROOM, CREDIT = 100, 16  # MiB: beside a context; that a small allocation wants beyond itself


@pytest.mark.parametrize('granted, step, most', [(0, 50, 0), (2**64 - 1, 2, ROOM + CREDIT)], ids=['less', 'more'])
def test_a_grant_of_another_size_than_was_asked_for_gives_no_memory_beyond_the_limit(container, granted, step, most):
    """What was not granted is not taken, and a credit is not more than was asked for."""
    answers_with = from_second_grant_on(lambda data: [data[:16] + struct.pack('<Q', granted) + data[24:]])
    container.arbiters.append(Peculiar(container.folder, [(container.uuids[0], (CONTEXT + ROOM) * MIB)], answers_with=answers_with))
    steps = container.steps()
    assert steps('start') == '0'
    n_taken = 0
    while n_taken < 2 * ROOM and steps(f'alloc {step}') == '0':
        n_taken += step
    assert n_taken <= most


class Slow(Arbiter):
    """Welcomes everybody, and comes to nothing else until it goes on: its page shows nothing of what it is sent meanwhile."""

    def __init__(self, *words, **named):
        self.goes_on, self.newest, self.replaced = threading.Event(), {}, []
        super().__init__(*words, **named)

    def receive(self, connection):
        data = super().receive(connection)
        if connection in self.newest.values():
            self.goes_on.wait()
        return b'' if connection in self.replaced else data

    def handle(self, connection, kind, *more):
        """The newest connection of a process counts."""
        if kind == REGISTER:
            pid, *_ = struct.unpack('3i', connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            earlier, self.newest[pid] = self.newest.get(pid), connection
            self.replaced.append(earlier)
            self.sessions.pop(earlier, None)
        super().handle(connection, kind, *more)


@pytest.fixture
def slow(container):
    made = []

    def make(**named):
        made.append(played(container, Slow, **named))
        return made[-1]
    yield make
    for arbiter in made:
        arbiter.goes_on.set()


def connections(arbiter):
    return [said[0] for said in arbiter.said].count(REGISTER)


def test_a_successor_that_has_not_answered_yet_gives_no_memory_again(container, slow):
    """It shows the whole limit as free; the process has what was left when it had the last answer. What it frees it may take again."""
    first = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0' and steps('alloc 3000') == '0'
    first.end()
    second = slow()
    eventually(lambda: steps('alloc 1000') != OUT_OF_MEMORY or connections(second) > 2, 'it is connected again and again')
    assert steps('alloc 1000') == OUT_OF_MEMORY
    assert steps('alloc 500') == '0' and steps('alloc 100') == OUT_OF_MEMORY
    assert steps('free') == '0' and steps('alloc 500') == '0' and steps('alloc 100') == OUT_OF_MEMORY
    second.goes_on.set()
    eventually(lambda: (steps('alloc 2'), steps('free')) and second.charged() >= 3500 * MIB, 'it is told')
    assert steps('alloc 1000') == OUT_OF_MEMORY


def test_an_arbiter_that_does_not_know_of_a_context_yet_gives_no_memory_for_it(container, slow):
    """The process asked for it by an earlier connection."""
    arbiter = slow()
    steps = container.steps()
    assert steps('start') == '0'
    eventually(lambda: steps(f'alloc {LIMIT - CONTEXT + 2}') != OUT_OF_MEMORY or connections(arbiter) > 2, 'it is connected again and again')
    assert steps(f'alloc {LIMIT - CONTEXT + 2}') == OUT_OF_MEMORY
    assert steps(f'alloc {LIMIT - CONTEXT}') == '0'


def test_neighbours_at_a_successor_that_has_not_answered_yet_keep_to_their_parts(container, slow):
    first = container.arbiter()
    both = container.steps(), container.steps()
    assert [steps(f'{step}') for step in ('start', 'alloc 1400') for steps in both] == ['0'] * 4
    first.end()
    second = slow()
    for steps in both:
        eventually(lambda: steps('alloc 1000') != OUT_OF_MEMORY or connections(second) > 4, 'they are connected again and again')
    left = (LIMIT - 2 * CONTEXT - 2 * 1400) // 2
    for steps in both:
        assert steps('alloc 1000') == OUT_OF_MEMORY
        assert steps(f'alloc {left - 10}') == '0' and steps('alloc 20') == OUT_OF_MEMORY


@pytest.mark.parametrize('more', [lambda data: [data + b'more'], lambda data: [data[:8] + bytes(8) + data[16:], data]],
                         ids=['longer', 'unasked'])
def test_what_an_answer_has_more_is_passed_over(container, more):
    played(container, Peculiar, answers_with=lambda kind, data: [data] if kind == WELCOME else more(data))
    steps = container.steps()
    assert steps('start') == '0'
    assert steps('alloc 1000') == '0'
    assert steps.info() == (LIMIT - CONTEXT - 1000, LIMIT)
    assert steps(f'alloc {LIMIT}') == OUT_OF_MEMORY


def test_a_mode_that_is_not_known_is_enforced(container):
    """Of a page, and of the file of a grant."""
    arbiter = played(container, Peculiar, page={12: struct.pack('<I', LATER)})
    steps = container.steps()
    assert steps('start') == '0'
    assert steps.info()[1] == LIMIT
    arbiter.end()
    assert steps(f'alloc {LIMIT - CONTEXT - 100}') == '0'
    assert steps('alloc 200') == OUT_OF_MEMORY


def test_a_mode_of_the_file_that_is_not_known_is_enforced(container):
    write_terms(container, 'borrowed')
    limited_alone(container, container.steps())


# --- the arbiter, at a library of another release ---

def test_a_former_library_is_served(machine):
    """Byte by byte what it sent, and to each message the answer that it had."""
    path = machine.grant('train', 4 * GIB)
    machine.limits()
    client = machine.client('train')
    eventually(lambda: os.path.exists(path), 'the grant has its socket')
    client.connect(path)
    for whose, data in recording():
        if whose == '>':
            asked, = struct.unpack_from('<I', data)
            client.raw(data)
            continue
        now = client.receive_raw()
        assert len(now) == len(data)
        *had, size = struct.unpack_from('<IIQQ', data)
        *has, size_now = struct.unpack_from('<IIQQ', now)
        assert has == had and (size_now == size or (asked, has[0]) != (RESERVE, GRANTED))
    page = client.page()
    assert (page.magic, page.version, page.n_devices, page.mode) == (0x6c737067, 1, 1, ENFORCED)
    assert [(one['limit'], one['n_processes']) for one in page.devices] == [(4 * GIB, 1)]
    assert client.attack_page() == ([], SEALS)


def test_a_later_library_is_welcome(machine):
    """It gets what the arbiter knows; what it adds to a message is passed over."""
    path = machine.grant('train', GIB)
    machine.limits()
    client = machine.client('train')
    eventually(lambda: os.path.exists(path), 'the grant has its socket')
    kind, _, revision, _ = client.register(path, version=LATER)
    assert kind == WELCOME and revision < LATER
    client.raw(REQUEST.pack(RESERVE, 0, 2, GIB, GIB, 0, b'\xff' * 24))
    assert struct.unpack_from('<I', client.receive_raw())[0] == GRANTED
    assert client.page().devices[0]['charged'] == GIB
    client.raw(REQUEST.pack(CLAIMS, 0, 3, 0, 0, 0, b'\xff' * 24))
    assert struct.unpack_from('<I', client.receive_raw())[0] == DENIED  # there are no turns, and that is all
    client.raw(REQUEST.pack(RESERVE, 0, 4, GIB, GIB, 0, b''))
    assert struct.unpack_from('<I', client.receive_raw())[0] == DENIED


@pytest.mark.parametrize('message, reason', [
    (REQUEST.pack(LATER, 0, 9, GIB, GIB, 0, b''), f'a message of kind {LATER}'),
    (REQUEST.pack(RESERVE, 0, 9, GIB, GIB, 0, b'') + bytes(8), 'a message of 72 bytes, where all have 64'),
    (REQUEST.pack(RESERVE, 0, 9, GIB, GIB, 0, b'')[:56], 'a message of 56 bytes, where all have 64')], ids=['kind', 'longer', 'shorter'])
def test_a_message_that_the_arbiter_does_not_know_ends_the_connection_and_frees_nothing(machine, message, reason):
    path = machine.grant('train', 2 * GIB)
    arbiter = machine.limits()
    client, other = machine.client('train', path), machine.client('train', path)
    machine.show(client, 0, 1024)
    assert client.request(RESERVE, 0, GIB, GIB)[0] == GRANTED
    client.raw(message)
    assert client.receive_raw() == b''
    arbiter.wait_line(f'a process was disconnected for what it sent.*{reason}')
    assert other.request(RESERVE, 0, GIB + MIB, GIB + MIB)[0] == DENIED
    assert client.register(path)[0] == WELCOME
    client.send(CHARGE, 0, GIB, allocated=GIB)
    assert client.request(RESERVE, 0, GIB + MIB, GIB + MIB)[0] == DENIED


# --- a program under which the arbiter is replaced ---

class Program(Steps):
    """In the container of a pod of the machine."""

    def __init__(self, machine, pod, path):
        environment = {**os.environ, **machine.variables, 'ASAN_OPTIONS': 'verify_asan_link_order=0:detect_leaks=0'}
        place = '/opt/gpuslice/nvidia.com.gpu'
        script = f'mount -t tmpfs none /opt && mkdir -p {place} && mount --bind {Path(path).parent} {place} && export LD_PRELOAD={LIBRARY}'
        super().__init__(['unshare', '--mount', 'sh', '-c', f'{script} && exec "$@"', 'sh', CASES / 'cuda-steps', CUDA, NVML], environment)
        machine.write_cgroup(self.process.pid, pod)


def test_nothing_is_lost_when_the_arbiter_is_replaced_by_a_former_one_and_back(machine):
    path = machine.grant('train', LIMIT * MIB)
    arbiter = machine.limits()
    eventually(lambda: os.path.exists(path), 'the grant has its socket')
    program = Program(machine, 'train', path)
    try:
        assert program('start') == '0' and program('alloc 1000') == '0'
        arbiter.end(signal.SIGKILL)
        former = FormerArbiter(Path(path).parent, [(machine.uuids[0], LIMIT * MIB)])
        eventually(lambda: (program('alloc 2'), program('free')) and former.charged() >= 1000 * MIB, 'it is told')
        assert program(f'alloc {LIMIT}') == OUT_OF_MEMORY
        assert program('alloc 500') == '0'
        assert former.malformed == []
        former.end()
        machine.limits()
        witness = machine.client('train')
        eventually(lambda: connects(witness, path), 'there is an arbiter again')
        eventually(lambda: (program('alloc 2'), program('free')) and witness.page().devices[0]['n_processes'] == 2, 'it is told')
        device, = witness.page().devices
        assert device['charged'] >= 1500 * MIB
        assert program(f'alloc {LIMIT - 1500}') == OUT_OF_MEMORY
        assert program('alloc 500') == '0'
        assert program.info()[1] == LIMIT
    finally:
        program.end()


# --- agent and arbiter ---

def test_a_former_arbiter_and_a_later_one_serve_the_agent(node):
    """The words of the first are all understood, and what a later one adds is passed over."""
    cluster = Cluster(node)
    install_library(grants_of(node))
    former = PlayedArbiter(node.folder / 'arbiter', STATE)
    node.start_kubelet()
    cluster.greet = {}
    agent = node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    cluster.wait_condition('AllResourcesRegistered')
    former.tell(STATE + CONTAINER)
    cluster.wait('state', lambda state: 'without a limit, from before there was one: team/old/main' in state['message'])
    former.wait(lambda arbiter: {'mode': 'enforced', 'overcommits': 'false'}.items() <= arbiter.wishes[-1].items())
    since = agent.mark()
    former.end()
    later = PlayedArbiter(node.folder / 'arbiter', 'added first\n' + STATE + 'added \nadded again and again\n')
    agent.wait_line('gpuslice-arbiter is connected', since)
    later.say(LATER, 'a notice that there is not')
    later.tell('added \n' + STATE + CONTAINER + 'added true\n' + CONTAINER.replace('old', 'older'))
    cluster.wait('state', lambda state: 'team/old/main' in state['message'] and 'team/older/main' in state['message'])
    later.say(3, EVENT + 'added true\n')
    cluster.wait('event', lambda event: event['reason'] == 'MemoryLimitReached')
    assert not agent.count('Unhealthy', since)


def test_the_agent_logs_which_library_new_containers_get(node):
    """Once, though an arbiter copies its files after it is connected."""
    earlier, later = 'folder=/var/lib/gpuslice/lib/1.0', 'folder=/var/lib/gpuslice/lib/2.0'
    install_library(grants_of(node))
    arbiter = PlayedArbiter(node.folder / 'arbiter', STATE)
    node.start_kubelet()
    agent = node.start_agent(GUIDE, *limited(node))
    agent.wait_line(f'new containers get this library.*{earlier}$')
    since = agent.mark()
    arbiter.end()
    arbiter = PlayedArbiter(node.folder / 'arbiter', STATE.replace('library /var/lib/gpuslice/lib/1.0', 'library '))
    agent.wait_line('gpuslice-arbiter is connected" version=0.9$', since)
    for _ in range(2):
        arbiter.tell(STATE.replace('/1.0', '/2.0'))
    agent.wait_line(f'new containers get this library.*{later}$', since)
    arbiter.tell(STATE)
    agent.wait_line(f'new containers get this library.*{earlier}$', since)
    assert agent.count(later, since) == 1


def test_turns_that_a_former_arbiter_does_not_give(node):
    """It passes the wish over; the node's owner sees that."""
    cluster = Cluster(node)
    install_library(grants_of(node))
    former = PlayedArbiter(node.folder / 'arbiter', STATE)
    node.start_kubelet()
    cluster.greet = {}
    node.start_agent(GUIDE + 'gpuslice: {compute: elastic}\n', '--node-name=gpu-1', *limited(node))
    cluster.wait_condition('AllResourcesRegistered')
    former.wait(lambda arbiter: arbiter.wishes and arbiter.wishes[-1].get('compute') == 'elastic')
    cluster.wait('state', lambda state: 'GPUs are not shared as gpuslice.compute says: elastic wished, none in effect' in state['message'])


def test_a_former_agent_and_a_later_one_have_their_mode(machine):
    path = machine.grant('train', GIB)
    arbiter = machine.limits('none')
    client = machine.client('train', path)
    former = machine.agent()
    former.notify(WISH)
    wait_mode(client, ENFORCED)
    former.end()
    arbiter.wait_line('the agent is no longer connected')
    later = machine.agent()
    later.notify('a notice that there is not', LATER)
    later.notify('mode borrowed\n')  # as it was, and that is logged
    arbiter.wait_line("the agent's message cannot be read: the mode stays as it is.*mode should be none, observe or enforced")
    assert client.page().mode == ENFORCED
    later.notify('added true\n' + WISH.replace('enforced', 'observe') + 'added\n')
    wait_mode(client, OBSERVE)


def test_the_mode_that_a_former_arbiter_kept_holds(machine):
    path = machine.grant('train', GIB)
    (machine.root / 'grants/memory-mode').write_text(WISH)
    machine.limits('none')
    assert machine.client('train', path).page().mode == ENFORCED
