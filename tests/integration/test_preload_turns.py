# SPDX-License-Identifier: Apache-2.0
"""Turns, as a program sees them that has libgpuslice.so preloaded: its launches wait for the gate that an arbiter of the test opens and
closes, and what it claims of them is in its page of claims (doc/design/0028)."""
import struct
import threading
import time

import pytest
from limitsarbiter import (CLAIMS, CLOSED, COMPUTE_ELASTIC, COMPUTE_NONE, COMPUTE_OBSERVE, COMPUTE_STRICT, OPEN, REGISTER, TURN, Claims)
from node import eventually
from test_preload import CASES, CUDA, Container

ALL = 1000000  # ppm
NOT_READY = '600'


@pytest.fixture
def container(tmp_path):
    made = Container(tmp_path)
    yield made
    made.end()


class Waiting:
    """A step that is not answered yet."""

    def __init__(self, steps, command):
        self.answers, self.output = [], steps.process.stdout
        steps.process.stdin.write(command + '\n')
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        line = self.output.readline().strip()
        self.answers.extend([line] if line else [])  # it may be killed at the end of the test

    def answer(self):
        self.thread.join(60)
        assert self.answers, 'it has not gone on'
        return self.answers[0]


def launches_of(container, compute=COMPUTE_ELASTIC, stream=True, **words):
    """An arbiter, and a program with a kernel and a stream."""
    arbiter, steps = container.arbiter(compute=compute, **words), container.steps()
    for step in ('start', 'kernel', *(['stream'] if stream else [])):
        assert steps(step) == '0'
    return arbiter, steps


def waits(arbiter, steps, command='launch 0'):
    """Begins a launch, and shows that it waits."""
    before = arbiter.claims[-1].n_launched
    waiting = Waiting(steps, command)
    eventually(lambda: arbiter.claims[-1].n_waiting == 1, 'it waits')
    assert arbiter.claims[-1].n_launched == before and not waiting.answers
    return waiting


def said(arbiter, kind):
    return [said[0] for said in arbiter.said].count(kind)


# --- the gate ---

@pytest.mark.parametrize('stream', [False, True], ids=['default', 'own'])
def test_launches_wait_behind_a_closed_gate_and_go_on_when_it_opens(container, stream):
    arbiter, steps = launches_of(container, stream=stream)
    claims, = arbiter.claims
    assert steps('launch 0') == '0' and claims.n_launched == 1
    arbiter.set_gate(CLOSED)
    waiting = waits(arbiter, steps)
    arbiter.set_gate(OPEN)
    assert waiting.answer() == '0'
    assert (claims.n_launched, claims.n_waiting, claims.n_late, sum(claims.waits)) == (2, 0, 0, 1)
    assert claims.waited_ns > 0


def test_a_turn_ends(container):
    arbiter, steps = launches_of(container)
    arbiter.set_gate(TURN, end=time.monotonic_ns() + 3600 * 10**9)
    assert steps('launches 10 0') == '0' and sum(arbiter.claims[0].waits) == 0
    arbiter.set_gate(TURN, end=time.monotonic_ns() - 1)
    waiting = waits(arbiter, steps)
    arbiter.set_gate(TURN)  # without an end
    assert waiting.answer() == '0' and steps('launch 0') == '0'


def test_a_turn_ends_by_itself(container):
    """Nobody changes the page."""
    arbiter, steps = launches_of(container)
    arbiter.set_gate(TURN, end=time.monotonic_ns() + 300 * 10**6)
    waiting = Waiting(steps, 'launches 100000000 100')
    eventually(lambda: arbiter.claims[0].n_waiting == 1, 'it waits')
    assert not waiting.answers


@pytest.mark.parametrize('compute', [COMPUTE_NONE, COMPUTE_OBSERVE])
def test_no_gate_is_heeded_where_there_are_no_turns(container, compute):
    arbiter, steps = launches_of(container)
    arbiter.set_gate(CLOSED, compute=compute)
    assert steps('launches 3 0') == '0'
    assert arbiter.claims[0].n_late == 0
    assert steps('wait') == '0'
    observed = (3, [(done, done) for _, done in arbiter.claims[0].lanes()])
    assert compute == COMPUTE_NONE or (arbiter.claims[0].n_launched, arbiter.claims[0].lanes()) == observed


def test_each_device_has_its_gate(container):
    arbiter, steps = container.arbiter(devices=2, compute=COMPUTE_ELASTIC), container.steps()
    assert [steps(step) for step in ('start 1', 'kernel', 'stream')] == ['0'] * 3
    arbiter.set_gate(CLOSED, device=0)
    assert steps('launch 0') == '0'
    claims, = arbiter.claims
    assert (claims.device(0)['n_launched'], claims.device(1)['n_launched']) == (0, 1)
    assert [len(claims.lanes(device)) for device in range(2)] == [0, 1]
    arbiter.set_gate(CLOSED, device=1)
    waiting = Waiting(steps, 'launch 0')
    eventually(lambda: claims.device(1)['n_waiting'] == 1, 'it waits')
    arbiter.set_gate(OPEN, device=1)
    assert waiting.answer() == '0'


# --- who is never kept waiting ---

def test_what_is_captured_does_not_wait_and_the_graph_does(container):
    arbiter, steps = launches_of(container)
    claims, = arbiter.claims
    arbiter.set_gate(CLOSED)
    assert [steps(step) for step in ('capture', 'launches 5 0', 'captured')] == ['0'] * 3
    assert (claims.n_launched, sum(claims.waits), claims.lanes()) == (0, 0, [])
    waiting = waits(arbiter, steps, 'graph')
    arbiter.set_gate(OPEN)
    assert waiting.answer() == '0' and steps('wait') == '0'
    assert (claims.n_launched, claims.lanes()) == (1, [(1, 1)])


def test_nobody_waits_while_another_thread_captures(container):
    arbiter, steps = launches_of(container)
    claims, = arbiter.claims
    assert steps('elsewhere') == '0'
    arbiter.set_gate(CLOSED)
    assert steps('launch 0') == '0'
    assert (claims.n_launched, claims.n_late, sum(claims.waits), claims.lanes()) == (1, 1, 0, [])
    assert steps('over') == '0'
    waiting = waits(arbiter, steps)
    assert claims.lanes() == [(1, 1)]  # now what it launched before has its fence
    arbiter.set_gate(OPEN)
    assert waiting.answer() == '0'


def test_a_call_from_a_stream_does_not_wait(container):
    arbiter, steps = launches_of(container)
    assert steps('launch 0') == '0'
    arbiter.set_gate(CLOSED)
    assert steps('callback') == '0'
    claims, = arbiter.claims
    assert (claims.n_launched, claims.n_late, sum(claims.waits)) == (2, 1, 0)
    waiting = waits(arbiter, steps)
    arbiter.set_gate(OPEN)
    assert waiting.answer() == '0'


# --- fences ---

def test_what_is_in_flight_shows(container):
    arbiter, steps = launches_of(container)
    assert steps('launch 3600000000') == '0'
    assert arbiter.claims[0].lanes() == [(1, 0)]


def test_fences_are_passed_in_their_order(container):
    arbiter, steps = launches_of(container)
    claims, seen = arbiter.claims[0], []
    for _ in range(5):
        assert steps('launch 1000') == '0'
        (fence, done), = claims.lanes()
        assert fence - done in (0, 1)
        assert steps('wait') == '0'
        (fence, done), = claims.lanes()
        assert fence == done
        seen.append(done)
    assert seen == sorted(set(seen))


@pytest.mark.parametrize('how', ['wait', 'sync'])
def test_who_waits_for_the_device_shows_its_last_launch(container, how):
    """By a fence behind it, or where it takes but a moment by waiting."""
    arbiter, steps = launches_of(container)
    assert steps('launches 2 0') == '0' and steps(how) == '0'
    claims = arbiter.claims[0]
    if claims.lanes() == [(1, 1)]:
        assert how == 'wait' and (claims.n_awaiting, claims.n_awaits, claims.n_done) == (0, 2, 2)
    else:
        assert claims.lanes() == [(2, 2)] and claims.n_awaits == 0


@pytest.mark.parametrize('how, n_awaits', [('copy', 2), ('second', 4)])
def test_who_copies_to_the_host_shows_its_last_launch(container, how, n_awaits):
    """The same: the copy waits for it, whether there was one before that may have waited or not."""
    arbiter, steps = launches_of(container, stream=False)
    assert steps(f'batches 1 2 0 {how}') == '0'
    claims = arbiter.claims[0]
    if claims.lanes() == [(1, 1)]:
        assert (claims.n_awaiting, claims.n_awaits, claims.n_done) == (0, n_awaits, 2)
    else:
        assert claims.lanes() == [(2, 2)] and claims.n_awaits == 0


def claims_a_wait(steps, claims):
    """Two launches of 200 ms, and a thread that asks for them. False: the last one has a fence, since it was due."""
    assert steps('wait') == '0'
    assert steps('batches 1 4 0') == '0'  # such commands take but a moment
    assert steps('launches 2 200000') == '0' and steps('asks 3') == NOT_READY
    return claims.n_awaiting == 1


def test_who_asks_for_longer_than_it_seemed_shows_to_be_at_work(container):
    """The arbiter believes it for 50 ms that a thread waits."""
    arbiter, steps = launches_of(container)
    claims = arbiter.claims[0]
    eventually(lambda: claims_a_wait(steps, claims), 'the wait has no fence')
    (before, _), = claims.lanes()
    time.sleep(0.06)
    assert steps('asks 1') == NOT_READY
    (after, done), = claims.lanes()
    assert (after, claims.n_awaiting) == (before + 1, 0) and done != after


def test_what_was_launched_long_ago_shows_to_be_at_work(container):
    """The last launch has no fence while the one before it is fenced: it would have taken but a moment, and takes longer."""
    arbiter, steps = launches_of(container)
    claims = arbiter.claims[0]

    def has_one_more():
        """Or that was due behind the launch, or all is done already."""
        assert steps('wait') == '0' and steps('launches 2 200000') == '0'
        (before, _), = claims.lanes()
        time.sleep(0.06)
        if steps('asks 1') != NOT_READY:
            return False
        (after, done), = claims.lanes()
        assert done != after
        return after == before + 1
    eventually(has_one_more, 'it is fenced when it is asked for')


def test_a_child_of_fork_ends_no_wait_of_its_parent(container):
    """Who asks again and again waits until the answer is that all is done. A child has neither the wait nor the page of claims."""
    arbiter, steps = launches_of(container)
    claims = arbiter.claims[0]
    eventually(lambda: claims_a_wait(steps, claims), 'the wait has no fence')
    assert steps('fork') == 'forked'
    assert steps('asks 1').isdigit()
    assert steps('exit') == 'ended' and steps.said() == 'joined'
    assert steps('wait') == '0'
    assert claims.n_awaiting == 0


@pytest.mark.parametrize('how', ['batch', 'free', 'pinned', 'registered', 'array', 'mipmap', 'mapped', 'module', 'library', 'primary'])
def test_who_may_have_waited_shows_its_last_launch(container, how):
    """For the driver may wait in a batch of copies, and before what was taken is given back, whether that is limited or not."""
    arbiter, steps = launches_of(container)
    assert steps(f'batches 1 2 0 {how}') == '0'
    claims = arbiter.claims[0]
    if claims.lanes() == [(1, 1)]:
        assert (claims.n_awaiting, claims.n_awaits) == (0, 2)
    else:
        assert claims.lanes() == [(2, 2)] and claims.n_awaits == 0


def test_who_waits_at_the_gate_has_a_fence_behind_the_last_launch(container):
    arbiter, steps = launches_of(container)
    assert steps('launches 2 0') == '0'
    arbiter.set_gate(CLOSED)
    waits(arbiter, steps)
    assert arbiter.claims[0].lanes() == [(2, 2)]


def test_each_stream_has_a_lane_and_those_that_end_leave_theirs(container):
    arbiter, steps = launches_of(container)
    for _ in range(Claims.LANES + 10):
        assert [steps(step) for step in ('stream', 'launch 0', 'wait', 'destroy')] == ['0'] * 4
    lanes = arbiter.claims[0].lanes()
    assert sum(done for _, done in lanes) == Claims.LANES + 10 and len(lanes) < 4
    for _ in range(Claims.LANES + 10):
        assert [steps(step) for step in ('stream', 'launch 0')] == ['0'] * 2
    assert len(arbiter.claims[0].lanes()) == Claims.LANES
    assert arbiter.claims[0].n_launched == 2 * (Claims.LANES + 10)


def test_in_flight_work_is_bounded_during_a_turn(container):
    """Each launch of more than there is room for waits for the one before it, and has it fenced therefore."""
    arbiter, steps = launches_of(container)
    arbiter.set_gate(TURN, in_flight=1000)
    assert steps('launches 8 5000') == '0'
    (fence, done), = arbiter.claims[0].lanes()
    assert fence >= 7 and done >= 1
    assert arbiter.claims[0].n_waiting == 0 and sum(arbiter.claims[0].waits) == 0
    arbiter.set_gate(TURN)
    assert steps('launches 3 3600000000') == '0'
    (fence, done), = arbiter.claims[0].lanes()
    assert fence > done


# --- the page of claims ---

def test_a_process_that_is_not_limited_claims_nothing(container):
    arbiter = container.arbiter(compute=COMPUTE_ELASTIC)
    arbiter.set_gate(CLOSED)
    steps = container.steps(granted=False)
    assert [steps(step) for step in ('start', 'kernel', 'stream', 'launches 3 0', 'wait')] == ['0'] * 5
    assert arbiter.said == []


def test_claims_are_asked_for_when_there_are_turns(container):
    arbiter, steps = launches_of(container, compute=COMPUTE_NONE)
    assert steps('launches 3 0') == '0'
    assert said(arbiter, CLAIMS) == 0
    arbiter.set_gate(CLOSED, compute=COMPUTE_ELASTIC)
    waiting = Waiting(steps, 'launch 0')
    eventually(lambda: arbiter.claims and arbiter.claims[0].n_waiting == 1, 'it waits')
    arbiter.set_gate(OPEN)
    assert waiting.answer() == '0' and said(arbiter, CLAIMS) == 1


def test_who_is_denied_a_page_has_no_turns_until_that_changes(container):
    arbiter = container.arbiter(compute=COMPUTE_ELASTIC)
    arbiter.gives_claims = False
    arbiter.set_gate(CLOSED)
    steps = container.steps()
    assert [steps(step) for step in ('start', 'kernel', 'stream', 'launches 3 0')] == ['0'] * 4
    assert said(arbiter, CLAIMS) == 1
    arbiter.set_compute(COMPUTE_STRICT)
    assert steps('launches 3 0') == '0' and said(arbiter, CLAIMS) == 2
    arbiter.gives_claims = True
    arbiter.set_compute(COMPUTE_ELASTIC)
    waiting = Waiting(steps, 'launch 0')
    eventually(lambda: arbiter.claims and arbiter.claims[0].n_waiting == 1, 'it waits')
    arbiter.set_gate(OPEN)
    assert waiting.answer() == '0'


FOREIGN_CLAIMS = {'magic': {'changes': {0: b'none'}}, 'version': {'changes': {4: struct.pack('<I', 2)}}, 'size': {'size': 4096},
                  'seals': {'seals': 0}}


@pytest.mark.parametrize('what', FOREIGN_CLAIMS)
def test_a_page_of_claims_that_is_not_understood_is_left_alone(container, what):
    arbiter = container.arbiter(compute=COMPUTE_ELASTIC)
    arbiter.claims_words = FOREIGN_CLAIMS[what]
    arbiter.set_gate(CLOSED)
    steps = container.steps()
    assert [steps(step) for step in ('start', 'kernel', 'stream', 'launches 3 0', 'wait', 'alloc 100')] == ['0'] * 6
    assert (arbiter.claims[0].page[64:4096], said(arbiter, CLAIMS)) == (bytes(4032), 1)


GARBAGE = {'gate': [77, 1, 0, 0, COMPUTE_ELASTIC, 1], 'compute': [OPEN, 1, 0, 0, 99, 1], 'numbers': [TURN, 1, 2**64 - 1, 2**32 - 1, 99, 2**32 - 1],
           'in flight': [TURN, 1, 0, 1, COMPUTE_STRICT, 0], 'ones': [2**32 - 1, 2**32 - 1, 2**64 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1]}


@pytest.mark.parametrize('what', GARBAGE)
def test_garbage_in_a_page_does_no_harm(container, what):
    arbiter, steps = launches_of(container)
    with arbiter.lock:
        arbiter.gates[0] = GARBAGE[what]
        arbiter.write_page()
    assert [steps(step) for step in ('launches 3 0', 'wait', 'alloc 100')] == ['0'] * 3


@pytest.mark.parametrize('beat', [0, 2**31, 2**32 - 1, None], ids=['none', 'half', 'ones', 'future'])
def test_a_beat_that_cannot_be_is_none(container, beat):
    arbiter, steps = launches_of(container, share=ALL)
    arbiter.beats = False
    arbiter.set_gate(CLOSED)
    for ahead in [10**5] if beat is None else [0]:
        value = beat if beat is not None else time.monotonic_ns() // 10**6 + ahead
        arbiter.page[20:24] = struct.pack('<I', value & 0xffffffff)
    assert steps('launches 3 0') == '0'


def test_an_older_arbiter_is_not_asked(container):
    arbiter = container.arbiter(revision=2, compute=COMPUTE_ELASTIC)
    arbiter.set_gate(CLOSED)
    steps = container.steps()
    assert [steps(step) for step in ('start', 'kernel', 'stream', 'launches 3 0', 'wait')] == ['0'] * 5
    assert said(arbiter, CLAIMS) == 0


# --- processes ---

def test_a_child_has_claims_of_its_own(container):
    arbiter, steps = container.arbiter(compute=COMPUTE_ELASTIC), container.steps()
    assert steps('fork') == 'forked'
    assert [steps(step) for step in ('start', 'kernel', 'launch 0')] == ['0'] * 3
    assert steps('exit') == 'ended' and steps.said() == 'joined'
    assert [steps(step) for step in ('start', 'kernel', 'launches 2 0')] == ['0'] * 3
    assert [claims.n_launched for claims in arbiter.claims] == [1, 2]


def test_a_child_of_who_has_claims_writes_nothing_there(container):
    """Its driver is of no use to it, as it would be without us."""
    arbiter, steps = launches_of(container)
    assert steps('launch 0') == '0' and steps('wait') == '0'
    before = arbiter.claims[0].page[:]
    assert steps('fork') == 'forked'
    steps('launch 0'), steps('wait')
    assert steps('exit') == 'ended' and steps.said() == 'joined'
    assert arbiter.claims[0].page[:] == before
    assert steps('launch 0') == '0' and arbiter.claims[0].n_launched == 2


def test_another_program_in_its_place_has_its_own(container):
    arbiter, steps = launches_of(container)
    assert steps('launch 0') == '0'
    assert steps('exec') == 'ready'
    assert [steps(step) for step in ('start', 'kernel', 'launches 2 0')] == ['0'] * 3
    assert [claims.n_launched for claims in arbiter.claims] == [1, 2]


def test_a_program_that_closes_what_it_does_not_know_claims_again(container):
    arbiter, steps = launches_of(container)
    assert steps('launch 0') == '0'
    assert steps('close') == 'closed'
    eventually(lambda: steps('launch 0') == '0' and len(arbiter.claims) == 2 and arbiter.claims[1].n_launched, 'it is connected again')
    assert said(arbiter, REGISTER) == 2


# --- the arbiter ---

def test_without_an_arbiter_a_process_has_its_share_and_the_next_one_its_claims(container):
    first, steps = launches_of(container, share=ALL // 2)
    first.set_gate(CLOSED)
    waiting = waits(first, steps)
    first.end()
    assert waiting.answer() == '0'
    assert steps('launches 20 100') == '0'
    second = container.arbiter(compute=COMPUTE_ELASTIC)
    eventually(lambda: steps('launch 0') == '0' and second.claims and second.claims[0].n_launched, 'it is connected again')
    assert steps('wait') == '0'
    (fence, done), = second.claims[0].lanes()
    assert fence == done > 0
    second.set_gate(CLOSED)
    waiting = waits(second, steps)
    second.set_gate(OPEN)
    assert waiting.answer() == '0'


def test_who_waits_when_the_arbiter_is_replaced_waits_at_the_next_one(container):
    first, steps = launches_of(container)
    first.set_gate(CLOSED)
    waiting = waits(first, steps)
    first.end()
    second = container.arbiter(compute=COMPUTE_ELASTIC)
    second.set_gate(CLOSED)
    eventually(lambda: second.claims and second.claims[0].n_waiting == 1, 'it waits')
    assert not waiting.answers
    second.set_gate(OPEN)
    assert waiting.answer() == '0'
    assert (second.claims[0].n_launched, second.claims[0].n_waiting) == (1, 0)


def test_an_arbiter_that_stands_still_is_away_until_it_goes_on(container):
    arbiter, steps = launches_of(container, share=ALL)
    arbiter.set_gate(CLOSED)
    waiting = waits(arbiter, steps)
    arbiter.beats = False
    assert waiting.answer() == '0'
    assert steps('launches 3 0') == '0'
    arbiter.beats = True
    arbiter.set_gate(CLOSED)
    waiting = waits(arbiter, steps)
    arbiter.set_gate(OPEN)
    assert waiting.answer() == '0' and len(arbiter.claims) == 1


def test_a_gate_that_was_open_stays_open_without_an_arbiter(container):
    arbiter, steps = launches_of(container)
    arbiter.end()
    assert steps('launches 1000 0') == '0' and steps('wait') == '0'
    assert arbiter.claims[0].n_launched == 1000


# --- programs as they are ---

class Turns:
    """The gate opens and closes all the time."""

    def __init__(self, arbiter):
        self.arbiter, self.is_over = arbiter, threading.Event()
        self.thread = threading.Thread(target=self.turn)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()

    def turn(self):
        while not self.is_over.wait(0.003):
            self.arbiter.set_gate(CLOSED)
            self.is_over.wait(0.003)
            self.arbiter.set_gate(TURN, end=time.monotonic_ns() + 10 * 10**6, in_flight=500)
        self.arbiter.set_gate(OPEN)


def test_threads_at_once(container):
    """Each launch is counted once, and nobody is left waiting; a stream that is captured somewhere lets others pass."""
    arbiter, steps = launches_of(container)
    with Turns(arbiter):
        assert steps('churn 8') == '0'
    claims, = arbiter.claims
    assert (claims.n_launched, claims.n_waiting) == (8 * 400, 0)
    assert steps('sync') == '0'
    assert all(fence == done for fence, done in claims.lanes())


@pytest.mark.parametrize('cases', [('conformance-limits', CUDA), ('conformance-cuda', '-l', CUDA)], ids=['limits', 'driver'])
def test_the_driver_is_the_same_with_turns(container, cases):
    arbiter = container.arbiter(16384 if cases[0] == 'conformance-cuda' else 8192, compute=COMPUTE_ELASTIC)
    with Turns(arbiter):
        done = container.run(CASES / cases[0], *cases[1:])
    assert (done.returncode, 'not ok' in done.stdout) == (0, False), done.stdout + done.stderr
    assert arbiter.claims
