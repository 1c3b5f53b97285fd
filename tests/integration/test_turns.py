# SPDX-License-Identifier: Apache-2.0
"""Turns on a device: gpuslice-arbiter, and processes of pods whose library and whose device the test plays. What it plays is busy all the
time: each process has work in flight as long as its gate lets it."""
import contextlib
import fcntl
import mmap
import os
import shutil
import signal
import struct
import threading
import time
from pathlib import Path

import pytest
from limitsclient import DENIED, DEVICES_AT, GRANTED, PAGE_SIZE, RESERVE, WELCOME, Page
from node import eventually, in_folder
from test_cli import CLEAN
from test_limit_control import Controlled
from test_limits import GIB

OPEN, TURN, CLOSED = range(3)
NONE, OBSERVE, ELASTIC, STRICT = range(4)
CLAIMS_SIZE, CLAIMS_MAGIC, CLAIMS_SEALS, GATE_AT = 32768, 0x63737067, 7, DEVICES_AT + 56
N_LAUNCHED, N_DONE, N_WAITING, FENCE, DONE = 64, 64 + 8, 64 + 24, 64 + 104, 64 + 108  # of the first device, of its first lane
COMMAND_S, SLICE_S, QUEUE = 0.001, 0.002, 4
OLDER, KNOWS_CLAIMS = 2, 3  # revisions


class Player:
    """One process. The test reads its page and writes its claims as the library would."""

    def __init__(self, node, pod, path):
        self.client = node.client(pod, path)
        self.page = self.claims = None
        self.is_busy, self.n_in_flight, self.worked = True, 0, 0.0

    def join(self):
        """False: there are no turns."""
        page, claims = self.client.fds()
        if claims is None:
            return False
        with open(f'/proc/{self.client.pid}/fd/{page}', 'rb') as file:
            self.page = mmap.mmap(file.fileno(), PAGE_SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        with open(f'/proc/{self.client.pid}/fd/{claims}', 'r+b') as file:
            assert fcntl.fcntl(file.fileno(), fcntl.F_GET_SEALS) == CLAIMS_SEALS
            self.claims = mmap.mmap(file.fileno(), CLAIMS_SIZE)
        assert struct.unpack_from('<II', self.claims) == (CLAIMS_MAGIC, 1)
        return True

    def gate(self):
        """(gate, its number, end of the turn)"""
        return struct.unpack_from('<IIQ', self.page, GATE_AT)

    def compute(self):
        return Page(self.page[:]).devices[0]['compute']

    def add(self, at, size, more):
        form = {4: '<I', 8: '<Q'}[size]
        value, = struct.unpack_from(form, self.claims, at)
        struct.pack_into(form, self.claims, at, value + more)

    def launch(self):
        gate, _, end_ns = self.gate()
        passes = gate == OPEN or (gate == TURN and time.monotonic_ns() < end_ns)
        struct.pack_into('<I', self.claims, N_WAITING, int(self.is_busy and not passes))
        while self.is_busy and passes and self.n_in_flight < QUEUE:
            self.n_in_flight += 1
            self.add(N_LAUNCHED, 8, 1)
            self.add(FENCE, 4, 1)

    def work(self, seconds):
        """The device works for it."""
        self.worked += seconds
        while self.worked >= COMMAND_S and self.n_in_flight:
            self.worked -= COMMAND_S
            self.n_in_flight -= 1
            self.add(DONE, 4, 1)
            self.add(N_DONE, 8, 1)


class Device(threading.Thread):
    """For one process after the other, as long as they have work."""

    def __init__(self):
        super().__init__(daemon=True)
        self.players, self.lock, self.is_ended = [], threading.Lock(), False
        self.start()

    def run(self):
        last, began, first = time.monotonic(), 0.0, 0
        while not self.is_ended:
            time.sleep(0.0002)
            now = time.monotonic()
            with self.lock:
                for player in self.players:
                    player.launch()
                working = [player for player in self.players if player.n_in_flight]
                if working:
                    first, began = (first + 1, now) if now - began > SLICE_S else (first, began)
                    working[first % len(working)].work(min(now - last, SLICE_S))
            last = now

    def add(self, player):
        with self.lock:
            self.players.append(player)

    def remove(self, player):
        with self.lock:
            self.players.remove(player)

    def end(self):
        self.is_ended = True
        self.join()


class Sharing(Controlled):
    def __init__(self, folder):
        super().__init__(folder)
        self.device = Device()

    def turns(self, compute='elastic', *flags):
        """A node with two pods, each with a quarter of the first GPU."""
        self.paths = {pod: self.grant(pod, 4 * GIB, slot=slot) for slot, pod in enumerate(('one', 'two'))}
        arbiter = self.limits('none', f'--compute={compute}', *flags)
        return arbiter, [Player(self, pod, path) for pod, path in self.paths.items()]

    def busy(self, compute='elastic'):
        arbiter, players = self.turns(compute)
        for player in players:
            assert player.join()
            self.device.add(player)
        return arbiter, players

    def containers(self):
        return {container['pod_uid']: container for device in self.status()['devices'] for container in device['containers']}

    def end(self):
        self.device.end()
        super().end()


@pytest.fixture
def node():
    yield from in_folder(Sharing)


def gates(players):
    """Of one moment; None: they changed meanwhile."""
    first = [player.gate() for player in players]
    return [gate for gate, *_ in first] if first == [player.gate() for player in players] else None


def has_turn(players, which):
    return gates(players) == [TURN if i == which else CLOSED for i in range(len(players))]


def wait_turn(players, which):
    eventually(lambda: has_turn(players, which), f'{which} has the turn')


def wait_open(players):
    eventually(lambda: gates(players) == [OPEN] * len(players), 'all gates are open')


def launched(player):
    return struct.unpack_from('<Q', player.claims, N_LAUNCHED)[0]


def test_two_busy_containers_take_turns_one_at_a_time(node):
    _, players = node.busy()
    seen = []

    def look():
        now = gates(players)
        assert now is None or now.count(TURN) <= 1, now
        if now and now.count(TURN) == 1 and seen[-1:] != [now.index(TURN)]:
            seen.append(now.index(TURN))
        return len(seen) >= 20
    eventually(look, 'each has had ten turns')


def test_who_waits_has_a_beat(node):
    """As long as a gate is closed the page is written again and again."""
    _, players = node.busy()
    wait_turn(players, 0)
    beats = set()

    def look():
        beats.add(struct.unpack_from('<I', players[1].page, 20)[0])
        return len(beats) >= 20
    eventually(look, 'it goes on')


def test_a_holder_that_is_killed_leaves_the_turn(node):
    _, players = node.busy()
    wait_turn(players, 0)
    node.device.remove(players[0])
    players[0].client.end(signal.SIGKILL)
    before = launched(players[1])
    eventually(lambda: players[1].gate()[0] != CLOSED and launched(players[1]) > before + 100, 'the other one goes on')


def test_a_holder_that_is_stopped_stops_nobody(node):
    """Its work is done, and it launches nothing."""
    _, players = node.busy()
    wait_turn(players, 0)
    os.kill(players[0].client.pid, signal.SIGSTOP)
    players[0].is_busy = False
    before = launched(players[1])
    eventually(lambda: launched(players[1]) > before + 100, 'the other one goes on')
    os.kill(players[0].client.pid, signal.SIGCONT)
    players[0].is_busy = True
    before = launched(players[0])
    eventually(lambda: launched(players[0]) > before + 100, 'it has its turns again')


def test_one_that_is_stopped_while_it_waits_stops_nobody(node):
    """What it claims stays: that it waits."""
    _, players = node.busy()
    wait_turn(players, 1)
    node.device.remove(players[0])
    struct.pack_into('<I', players[0].claims, N_WAITING, 1)
    os.kill(players[0].client.pid, signal.SIGSTOP)
    before = launched(players[1])
    eventually(lambda: launched(players[1]) > before + 300, 'the other one goes on')
    os.kill(players[0].client.pid, signal.SIGCONT)


def test_the_mode_is_live(node):
    _, players = node.turns('none')
    assert not any(player.join() for player in players)
    agent = node.agent()
    agent.notify('mode none\ncompute elastic\n')
    eventually(lambda: agent.state.get('compute') == 'elastic', 'the agent is notified')
    for player in players:
        assert player.join()
        node.device.add(player)
    assert [player.compute() for player in players] == [ELASTIC] * 2
    wait_turn(players, 0)
    agent.notify('mode none\ncompute observe\n')
    wait_open(players)
    eventually(lambda: players[0].compute() == OBSERVE, 'pages tell the mode')
    agent.notify('mode none\ncompute strict\n')
    eventually(lambda: CLOSED in (gates(players) or []), 'there are turns again')
    agent.notify('mode none\n')  # an agent of earlier
    eventually(lambda: players[0].compute() == NONE, 'there are none any more')
    wait_open(players)
    agent.notify('mode none\ncompute fair\n')
    agent.notify('mode none\ncompute elastic\n')  # pages of claims are still good
    wait_turn(players, 1)
    assert not players[0].client.attack_page()[0]


def test_switched_off_on_the_node(node):
    _, players = node.busy()
    wait_turn(players, 0)
    done = node.gpuslice('enforcement', 'off')
    assert done.returncode == CLEAN and 'compute in effect: none\n' in done.stdout
    wait_open(players)
    done = node.gpuslice('enforcement', 'on')
    assert done.returncode == CLEAN and 'compute in effect: elastic\n' in done.stdout
    wait_turn(players, 1)


def test_an_arbiter_that_ends_closes_no_gate(node):
    arbiter, players = node.busy()
    wait_turn(players, 0)
    arbiter.end(signal.SIGTERM)
    wait_open(players)
    assert [player.compute() for player in players] == [NONE] * 2


def test_a_library_that_knows_no_claims_launches_as_it_likes(node):
    arbiter, players = node.turns()
    old = node.client('one')
    kind, *_ = old.register(node.paths['one'], version=OLDER)
    assert kind == WELCOME
    assert players[1].join()
    node.device.add(players[1])
    before = launched(players[1])
    eventually(lambda: launched(players[1]) > before + 100, 'the other one launches')
    assert old.page().devices[0]['gate'] == OPEN
    assert old.request(RESERVE, 0, GIB, GIB)[0] == GRANTED
    node.show(old, 0, 100)
    eventually(lambda: unenforced(node, 'one') == 1, 'it is told')
    assert 'unenforced compute' in node.gpuslice('top', '--plain').stdout


def unenforced(node, pod):
    return node.containers().get(node.uid(pod), {}).get('unenforced_compute')


def test_who_takes_no_part_is_told_and_who_is_idle_is_not(node):
    """Of processes with a context: an idle one whose library knows claims may take part at any time; an earlier library never does."""
    _, players = node.turns()
    idle, old = node.client('one'), node.client('two')
    assert idle.register(node.paths['one'], version=KNOWS_CLAIMS)[0] == WELCOME
    assert old.register(node.paths['two'], version=OLDER)[0] == WELCOME
    node.show(idle, 0, 600)
    node.wait_audits(2)
    assert (unenforced(node, 'one'), unenforced(node, 'two')) == (0, 0)  # the old one has no context
    node.show(old, 0, 600)
    eventually(lambda: unenforced(node, 'two') == 1, 'it is told')
    assert unenforced(node, 'one') == 0
    counted = {labels['pod_uid']: value for labels, value in node.metrics('gpuslice_compute_unenforced_processes')}
    assert counted == {node.uid('one'): 0, node.uid('two'): 1}
    assert node.gpuslice('top', '--plain').stdout.count('unenforced compute') == 1
    stranger = node.client('one')  # it runs without a library
    node.show(stranger, 0, 100)
    eventually(lambda: unenforced(node, 'one') == 1, 'it is told')
    node.sim('inject', 'process', 'remove', 0, stranger.pid)
    eventually(lambda: unenforced(node, 'one') == 0, 'its context is gone')
    old.close()
    assert old.register(node.paths['two'], version=KNOWS_CLAIMS)[0] == WELCOME  # another program in its place
    eventually(lambda: unenforced(node, 'two') == 0, 'it is told')


def test_who_is_idle_is_not_told_after_an_upgrade(node):
    """Each is known as the arbiter before knew it, until it connects again."""
    arbiter, _ = node.turns()
    clients = {pod: node.client(pod) for pod in ('one', 'two')}
    for (pod, client), version in zip(clients.items(), (KNOWS_CLAIMS, OLDER)):
        shutil.copy(f'/proc/{client.pid}/stat', node.root / f'proc/{client.pid}/stat')
        assert client.register(node.paths[pod], version=version)[0] == WELCOME
        node.show(client, 0, 600)
    eventually(lambda: unenforced(node, 'two') == 1, 'it is told')
    noted = node.folder / 'noted/limits-processes'
    eventually(lambda: noted.is_file() and noted.read_text().count('\n') == 2, 'both are noted')
    for number in (signal.SIGKILL, signal.SIGTERM):
        arbiter.end(number)
        arbiter = node.arbiter('--limits=none', '--compute=elastic')
        node.wait_audited()
        eventually(lambda: unenforced(node, 'two') == 1, 'it is told')
        node.wait_audits(2)
        assert (unenforced(node, 'one'), unenforced(node, 'two')) == (0, 1)
    assert clients['one'].register(node.paths['one'], version=OLDER)[0] == WELCOME  # another program in its place
    eventually(lambda: unenforced(node, 'one') == 1, 'it is told')


def pod_with_a_server(node):
    """A pod whose MPS server has a context and launches nothing; its two clients, which the driver does not show, launch. Another pod."""
    _, (client, other) = node.turns()
    server, second = (Player(node, 'one', node.paths['one']) for _ in range(2))
    server.is_busy = False
    for player in (server, client, second, other):
        assert player.join()
        node.device.add(player)
    node.show(server.client, 0, 600)
    node.show(other.client, 0, 600)
    return server, [client, second], other


@pytest.mark.parametrize('are_shown', [False, True], ids=['server', 'clients'])
def test_clients_of_an_mps_server_are_one_unit(node, are_shown):
    """Whether the driver shows its server alone, or each of them with its memory (as one of release 580 does)."""
    server, clients, other = pod_with_a_server(node)
    for client in clients if are_shown else []:
        node.sim('inject', 'process', 'add', 0, client.client.pid, '500Mi', 'python', 'mps')
    seen = []

    def look():
        now = gates([*clients, server, other])
        if now is None:
            return False
        assert now[0] == now[1] == now[2] and [now[0], now[3]].count(TURN) <= 1, now
        if TURN in now and seen[-1:] != [now]:
            seen.append(now)
        return len(seen) >= 20
    eventually(look, 'both pods have had ten turns')
    assert {now[3] for now in seen} == {TURN, CLOSED}
    eventually(lambda: (turns := node.containers()[node.uid('one')]['turns']) and turns['weight'] in ('heavy', 'full'), 'it is heavy')
    for client in clients:
        client.is_busy = False
    n = sum(launched(client) for client in clients)
    eventually(lambda: node.containers()[node.uid('one')]['turns']['launched'] == n, 'what both launched is counted')
    assert min(launched(client) for client in clients) > 0
    assert (unenforced(node, 'one'), unenforced(node, 'two')) == (0, 0)


def test_an_mps_server_without_a_library_is_told_and_its_clients_take_turns(node):
    """It was started without the preloaded library, as by a script that clears its environment."""
    server, clients, other = pod_with_a_server(node)
    bare = node.client('one')
    node.show(bare, 0, 600)
    eventually(lambda: unenforced(node, 'one') == 1, 'it is told')
    wait_turn([clients[0], other], 0)
    wait_turn([clients[1], other], 1)
    wait_turn([clients[1], other], 0)


def test_clients_of_an_mps_server_that_end_leave_the_turn(node):
    """As those of a server do when one of them faults."""
    server, clients, other = pod_with_a_server(node)
    wait_turn([clients[0], other], 0)
    for player in (server, *clients):
        node.device.remove(player)
        player.client.end(signal.SIGKILL)
    before = launched(other)
    eventually(lambda: other.gate()[0] == OPEN and launched(other) > before + 100, 'the other one is alone')


def test_what_each_received_is_told(node):
    _, players = node.busy()
    for player in players:
        node.show(player.client, 0, 100)
    wait_turn(players, 0)
    wait_turn(players, 1)

    seen = []

    def told():
        """A process that gets on slowly for a moment is light for as long."""
        seen[:] = [status := node.status()]
        rows = [row for row in status['devices'][0]['containers'] if row['pod_uid'] in (node.uid('one'), node.uid('two'))]
        has_worked = len(rows) == 2 and all(row['turns']['received_ns'] > 0 and row['turns']['turns'] > 0 for row in rows)
        return has_worked and status['devices'][0]['turns']['heavy'] == 2 and all(row['turns']['weight'] in ('heavy', 'full') for row in rows)
    eventually(told, 'each has received some, and is heavy')
    [status] = seen
    row = status['devices'][0]['containers'][0]
    assert (row['share_ppm'], row['unenforced_compute']) == (250000, 0)
    assert row['turns']['launched'] > 0
    assert (status['compute'], status['compute_configured']) == ('elastic', 'elastic')
    assert status['devices'][0]['turns']['why']
    plain = node.gpuslice('top', '--plain').stdout
    assert 'Compute: elastic\n' in plain and 'ENTITLED' in plain and '25.0 %' in plain
    received = {labels['pod_uid']: value for labels, value in node.metrics('gpuslice_compute_received_seconds_total')}
    assert set(received) == {node.uid('one'), node.uid('two')} and all(received.values())
    assert [labels['mode'] for labels, _ in node.metrics('gpuslice_compute_mode')] == ['elastic']


def turn_timers(arbiter):
    """Those that were set to a time of the clock: of turns there is one, and no other is."""
    folder, timers = Path(f'/proc/{arbiter.process.pid}'), []
    for fd in os.listdir(folder / 'fd'):
        with contextlib.suppress(FileNotFoundError):  # it is closed meanwhile
            if os.readlink(folder / 'fd' / fd) == 'anon_inode:[timerfd]':
                timers.append((folder / 'fdinfo' / fd).read_text())
    return ['it_value: (0, 0)' not in text for text in timers if 'settime flags: 01' in text]


def test_an_idle_node_does_not_wake_up_for_turns(node):
    arbiter, players = node.turns()
    assert True not in turn_timers(arbiter)  # processes that claim nothing
    for player in players:
        assert player.join()
        node.device.add(player)
    eventually(lambda: turn_timers(arbiter) == [True], 'turns have a timer')
    for player in players:
        node.device.remove(player)
        player.client.end(signal.SIGKILL)
    eventually(lambda: turn_timers(arbiter) == [False], 'it is not set any more')
    node.wait_audits(2)
    assert turn_timers(arbiter) == [False]


def test_without_turns_claims_are_denied_and_nothing_else(node):
    _, players = node.turns('none')
    assert players[0].client.fds()[1] is None
    assert players[0].client.request(RESERVE, 0, 5 * GIB, 5 * GIB)[0] in (GRANTED, DENIED)  # it is still connected
