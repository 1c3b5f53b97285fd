# SPDX-License-Identifier: Apache-2.0
"""Memory limits as a node's owners see them: the agent's link, the switch, `gpuslice top`, the library's files, metrics."""
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from frames import HELLO, NOTICE, PING, PONG, Reader, frame
from limitsclient import DENIED, ENFORCED, GRANTED, NONE, OBSERVE, RESERVE, WELCOME
from node import eventually, in_folder
from test_audit import MIB
from test_cli import CLEAN, GPUSLICE, USAGE, WARNINGS, run
from test_limits import GIB, Limited

WISH, STATE, EVENT = 1, 2, 3
UNREADABLE = 3
PROMISED_S = 2  # until a mode holds


class Agent(threading.Thread):
    """Plays the agent on the arbiter's socket; keeps what it is sent."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.state, self.events = {}, []
        eventually(lambda: os.path.exists(path), 'the arbiter has its socket')
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.sendall(frame(HELLO, b'agent'))
        self.start()

    def wish(self, mode, overcommits=False):
        self.notify(f'mode {mode}\novercommits {str(overcommits).lower()}\n')

    def notify(self, text, kind=WISH):
        self.socket.sendall(frame(NOTICE, text.encode(), kind))

    def run(self):
        reader = Reader()
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except OSError:
                return
            if not data:
                return
            for kind_of_frame, kind, number, body in reader.feed(data):
                if kind_of_frame == PING:
                    self.socket.sendall(frame(PONG, number=number))
                elif kind_of_frame == NOTICE:
                    self.take(kind, body.decode())

    def take(self, kind, body):
        head, *containers = body.split('container-is\n')
        read = [dict(line.split(' ', 1) for line in part.splitlines()) for part in (head, *containers)]
        if kind == STATE:
            self.state = {**read[0], 'containers': read[1:]}
        elif kind == EVENT:
            self.events.append(read[0])

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self.socket.close()


class Controlled(Limited):
    def __init__(self, folder):
        super().__init__(folder)
        self.library, self.agents = folder / 'libgpuslice.so', []
        self.library.write_bytes(b'\x7fELF of this release')
        self.socket = self.root / 'run/arbiter/arbiter.sock'

    def arbiter(self, *flags):
        return super().arbiter('--arbiter-dir', self.socket.parent, '--library', self.library, *flags)

    def agent(self):
        agent = Agent(self.socket)
        self.agents.append(agent)
        return agent

    def gpuslice(self, *words):
        return run(*words, '--root', self.root, '--arbiter-dir', '/run/arbiter', **self.variables)

    def status(self):
        done = self.gpuslice('top', '--json')
        assert done.returncode == CLEAN, done.stderr
        return json.loads(done.stdout)

    def wait_audited(self):
        eventually(lambda: self.status()['devices'], 'there is an audit')

    def end(self):
        for agent in self.agents:
            if agent.is_alive():
                agent.end()
        super().end()


@pytest.fixture
def node():
    yield from in_folder(Controlled)


def wait_mode(client, mode):
    """Within the time that is promised for running pods."""
    until = time.monotonic() + PROMISED_S
    while client.page().mode != mode:
        assert time.monotonic() < until, f'the mode is {client.page().mode}'
        select.select([], [], [], 0.01)


def is_served(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        return probe.connect_ex(path) == 0


# --- the mode ---

def test_the_agents_mode_reaches_running_pods_both_ways_and_outlives_it(node):
    path = node.grant('train', 4 * GIB)
    arbiter = node.arbiter('--limits=none')
    client = node.client('train', path)
    assert client.page().mode == NONE
    agent = node.agent()
    for mode, value in (('enforced', ENFORCED), ('observe', OBSERVE), ('none', NONE), ('enforced', ENFORCED)):
        agent.wish(mode)
        wait_mode(client, value)
        eventually(lambda: agent.state.get('mode') == mode, 'the agent is notified of it')
    assert client.request(RESERVE, 0, 5 * GIB, 5 * GIB)[0] == DENIED
    agent.end()
    arbiter.wait_line('the agent is no longer connected')
    assert client.request(RESERVE, 0, 5 * GIB, 5 * GIB)[0] == DENIED
    arbiter.end(signal.SIGKILL)
    node.arbiter('--limits=none')
    eventually(lambda: is_served(path), 'its successor serves the grant')  # the socket of the killed one is still there
    again = node.client('train', path)
    assert again.page().mode == ENFORCED


def test_switched_off_on_the_node_and_on_again(node):
    path = node.grant('train', 4 * GIB)
    node.arbiter('--limits=enforced')
    client = node.client('train', path)
    agent = node.agent()
    agent.wish('enforced')
    assert client.request(RESERVE, 0, 5 * GIB, 5 * GIB)[0] == DENIED
    done = node.gpuslice('enforcement', 'off')
    assert (done.returncode, done.stderr) == (CLEAN, '')
    assert 'configured: enforced\nswitched off on this node' in done.stdout and 'in effect: none\n' in done.stdout
    wait_mode(client, NONE)
    assert client.request(RESERVE, 0, 5 * GIB, 5 * GIB)[0] == GRANTED
    eventually(lambda: agent.state.get('off') == 'true', 'the agent is notified')
    assert node.status()['is_off'] and 'switched off on this node' in node.gpuslice('top', '--plain').stdout
    done = node.gpuslice('enforcement', 'on')
    assert done.returncode == CLEAN and 'in effect: enforced\n' in done.stdout and 'switched' not in done.stdout
    wait_mode(client, ENFORCED)


def test_the_switch_needs_nobody(node):
    """No arbiter and no agent: it holds for the arbiter that starts next."""
    path = node.grant('train', 4 * GIB)
    done = node.gpuslice('enforcement', 'off')
    assert done.returncode == WARNINGS and 'no arbiter listens at' in done.stderr and 'switched off' in done.stdout
    node.arbiter('--limits=enforced')
    client = node.client('train', path)
    assert client.page().mode == NONE
    done = node.gpuslice('enforcement', 'status', '-o', 'json')
    assert done.returncode == CLEAN
    tree = json.loads(done.stdout)
    assert (tree['is_off'], tree['in_effect'], tree['configured']) == (True, 'none', None)
    assert node.gpuslice('enforcement', 'maybe').returncode == USAGE


def test_a_switch_that_cannot_be_written(node):
    (node.root / 'grants').rename(node.root / 'moved')
    (node.root / 'grants').write_text('no folder')
    done = node.gpuslice('enforcement', 'off')
    assert done.returncode == UNREADABLE and str(node.root / 'grants') in done.stderr


# --- the library ---

def test_the_library_is_installed_and_the_agent_is_told_where(node):
    node.arbiter('--limits=enforced')
    agent = node.agent()
    eventually(lambda: agent.state.get('library'), 'there is a library')
    assert re.fullmatch(r'/grants/lib/\d+\.\d+\.\d+', agent.state['library']) and agent.state['trouble'] == ''
    folder = node.root / agent.state['library'][1:]
    assert (folder / 'libgpuslice.so').read_bytes() == node.library.read_bytes()
    assert (folder / 'ld.so.preload').read_text() == '/opt/gpuslice/lib/libgpuslice.so\n'
    assert os.readlink(node.root / 'grants/lib/current') == folder.name


def test_a_library_stays_as_long_as_a_container_may_be_started_with_it(node):
    """An upgrade under a pod that runs, a second one, and the end of the pod; each arbiter looks when it starts."""
    folder = node.root / 'grants/lib'
    node.grant('train', GIB, is_named=False)

    def upgrade(content):
        """Returns the names of the versions that are there, the newest first."""
        node.library.write_bytes(content)
        arbiter = node.arbiter('--limits=enforced')
        arbiter.wait_line('new containers get this library')
        os.utime(folder / 'current', (0, 0), follow_symlinks=False)  # it has been the newest for long
        assert arbiter.end() == 0
        arbiter = node.arbiter('--limits=enforced')
        arbiter.wait_line('new containers get this library')
        assert arbiter.end() == 0
        current = os.readlink(folder / 'current')
        return [current, *sorted({one.name for one in folder.iterdir()} - {'current', current})]

    [first] = upgrade(b'\x7fELF of the first release')
    node.name_grant('train', '0000000000000001', node.grants['0000000000000001'], library=f'/grants/lib/{first}')
    second, *others = upgrade(b'\x7fELF of the second release')
    assert others == [first] and second != first
    assert (folder / first / 'libgpuslice.so').read_bytes() == b'\x7fELF of the first release'
    assert (folder / first / 'ld.so.preload').read_text() == '/opt/gpuslice/lib/libgpuslice.so\n'
    third, *others = upgrade(b'\x7fELF of the third release')
    assert others == [first]  # nobody has the second
    assert upgrade(b'\x7fELF of the second release')[1:] == [first]  # and back
    node.entries.clear()
    (node.root / 'plugins/kubelet_internal_checkpoint').write_text('{')  # who has what is not known
    assert set(upgrade(b'\x7fELF of the third release')) >= {first, third}
    node.checkpoint()
    upgrade(b'\x7fELF of the third release')
    assert {one.read_bytes() for one in folder.glob('*/libgpuslice.so')} == {b'\x7fELF of the third release'}


def test_no_library_is_said_and_ends_by_itself(node):
    content = node.library.read_bytes()
    node.library.unlink()
    node.arbiter('--limits=enforced')
    agent = node.agent()
    eventually(lambda: 'cannot be installed' in agent.state.get('trouble', ''), 'it is said')
    assert agent.state['library'] == '' and 'no library for new containers' in node.gpuslice('top', '--plain').stdout
    node.library.write_bytes(content)
    eventually(lambda: agent.state['library'], 'it is installed')


# --- events and containers ---

def test_a_refused_allocation_is_an_event_of_the_pod(node):
    path = node.grant('train', 4 * GIB)
    node.arbiter('--limits=enforced')
    client, agent = node.client('train', path), node.agent()
    assert client.request(RESERVE, 0, 5 * GIB, 5 * GIB)[0] == DENIED
    eventually(lambda: agent.events, 'there is an event')
    event, = agent.events
    assert (event['reason'], event['namespace'], event['pod'], event['container'], event['device']) == (
        'MemoryLimitReached', 'default', 'train', 'main', node.uuids[0])
    assert int(event['limitBytes']) == 4 * GIB and 'reached the 4096 MiB' in event['message'] and ': 1 allocation failed' in event['message']


def test_what_was_refused_without_an_agent_is_an_event_later(node):
    """Once, with all that was refused meanwhile, also of a container that has ended."""
    paths = {name: node.grant(name, 4 * GIB) for name in ('train', 'short')}
    arbiter, agent = node.arbiter('--limits=enforced'), node.agent()
    clients = {name: node.client(name, path) for name, path in paths.items()}
    eventually(lambda: agent.state, 'it is connected')
    agent.end()
    arbiter.wait_line('the agent is no longer connected')
    for client in clients.values():
        assert client.request(RESERVE, 0, 5 * GIB, 5 * GIB)[0] == DENIED
    for name in paths:
        arbiter.wait_line(rf'reached the 4096 MiB.*pod={name}')
    assert clients['train'].request(RESERVE, 0, 5 * GIB, 5 * GIB)[0] == DENIED
    clients['short'].end()
    node.entries = [entry for entry in node.entries if entry['PodUID'] != node.uid('short')]
    node.checkpoint()
    node.serve_once()
    eventually(lambda: [labels['pod'] for labels, _ in node.metrics('gpuslice_memory_limit_bytes')] == ['train'], 'the container is gone')
    agent = node.agent()
    eventually(lambda: len(agent.events) == 2, 'there is one for each')
    told = {event['pod']: event['message'] for event in agent.events}
    assert ': 2 allocations failed' in told['train'] and ': 1 allocation failed' in told['short']
    agent.end()
    eventually(lambda: arbiter.count('the agent is no longer connected') == 2, 'it is seen')
    again = node.agent()
    eventually(lambda: again.state, 'it is connected')
    assert clients['train'].request(RESERVE, 0, GIB, GIB)[0] == GRANTED and again.events == []


def test_a_container_without_the_library_and_one_that_is_over(node):
    node.grant('old', 4 * GIB)
    node.arbiter('--limits=enforced')
    agent, process = node.agent(), node.client('old')
    node.show(process, 0, 5000)
    eventually(lambda: agent.state.get('containers'), 'it is named')
    container, = agent.state['containers']
    assert (container['unenforced'], container['over'], container['pod'], container['device']) == ('true', 'true', 'old', node.uuids[0])
    assert 'over, unenforced' in node.gpuslice('top', '--plain').stdout


@pytest.mark.parametrize('is_short', [False, True], ids=['long', 'short'])
def test_who_wants_nothing_after_an_upgrade_is_not_named(node, is_short):
    """It has the library, and connects when it allocates. Who hangs up at the arbiter that there is has none of it."""
    path = node.grant('server', 4 * GIB)
    arbiter = node.limits()
    client = node.client('server')
    shutil.copy(f'/proc/{client.pid}/stat', node.root / f'proc/{client.pid}/stat')
    eventually(lambda: os.path.exists(path), 'the grant has its socket')
    assert client.register(path)[0] == WELCOME
    node.show(client, 0, 1000)
    eventually(lambda: (node.folder / 'noted/limits-processes').is_file(), 'it is noted')
    for number in (signal.SIGKILL, signal.SIGTERM):
        arbiter.end(number)
        arbiter = node.arbiter('--limits=enforced')
        row = lambda: next((one for one in node.status()['devices'][0]['containers'] if one['used_bytes']), {})  # noqa: E731
        node.wait_audited()
        eventually(lambda: row().get('charged_bytes') == 1000 * MIB, 'it is charged')
        assert row()['registered'] == 1 and not row()['is_unenforced']
    other = node.client('server')
    node.show(other, 0, 500)
    eventually(lambda: row()['is_unenforced'], 'the other one never was')
    assert row()['registered'] == 1
    assert client.register(path)[0] == WELCOME
    if not is_short:
        node.wait_audits(2)
    client.close()
    eventually(lambda: row()['registered'] == 0, 'it is no former one any more')


@pytest.mark.parametrize('is_lost', [False, True], ids=['before', 'lost'])
def test_a_container_whose_slices_have_no_grant_is_named(node, is_lost):
    """It had them from another device plugin, before there was a log; or that was lost, and its directory is an empty one. Who holds a device
    whole has no limit to be enforced."""
    a, b = node.uuids[:2]
    if is_lost:
        node.pod('old')
        node.name_grant('old', '000000000000000a', [f'{a}::0'])
        (node.root / 'grants/grants/000000000000000a').mkdir()
    else:
        node.pod('old', [f'{a}::0'])
    node.pod('whole', [b], resource='nvidia.com/whole')
    node.limits()
    agent = node.agent()
    node.show(node.client('old'), 0, 1000)
    node.show(node.client('whole'), 1, 1000)
    eventually(lambda: agent.state.get('containers'), 'it is named')
    container, = agent.state['containers']
    assert (container['unenforced'], container['over'], container['namespace'], container['pod'], container['container'],
            container['device']) == ('true', 'false', 'default', 'old', 'main', a)
    assert int(container['limitBytes']) == pytest.approx(4 * GIB, rel=0.02)
    rows = {one['pod']: one for device in node.status()['devices'] for one in device['containers']}
    assert rows['old']['is_unenforced'] and not rows['whole'].get('is_unenforced')
    row, = (line for line in node.gpuslice('top').stdout.splitlines() if 'default/old' in line)
    assert row.split()[-1] == 'unenforced'
    assert [(labels['pod'], value) for labels, value in node.metrics('gpuslice_memory_unenforced_processes')] == [('old', 1)]


# --- top ---

def used(status):
    device = status['devices'][0]
    parts = device['reserved_bytes'] + device['not_ours_bytes'] + device['idle_bytes']
    return device, parts + sum(one['used_bytes'] for one in device['containers'])


def test_top_tells_where_the_memory_went(node):
    path = node.grant('train', 4 * GIB)
    node.arbiter('--limits=enforced')
    client = node.client('train', path)
    assert client.request(RESERVE, 0, 3 * GIB, 3 * GIB)[0] == GRANTED
    assert client.request(RESERVE, 0, 2 * GIB, 2 * GIB)[0] == DENIED
    node.show(client, 0, 3500)
    node.process(103, 0, 30)
    node.wait_audited()
    eventually(lambda: [one for one in node.status()['devices'][0]['containers'] if one['used_bytes']], 'the driver shows it')
    device, total = used(node.status())
    assert abs(total - device['memory_bytes']) <= device['memory_bytes'] / 100
    one, = device['containers']
    assert (one['namespace'], one['pod'], one['container'], one['denials'], one['is_unenforced']) == ('default', 'train', 'main', 1, False)
    assert one['limit_bytes'] == 4 * GIB and one['used_bytes'] == 3500 * MIB and one['peak_bytes'] >= one['charged_bytes'] >= 3500 * MIB
    assert device['not_ours_bytes'] >= 30 * MIB and device['not_ours_processes'] == 1
    assert node.status()['unverified'] == 'volta with driver 550'
    done = node.gpuslice('top')  # no terminal: one table
    assert done.returncode == CLEAN and done.stdout.startswith(
        'Memory limits: enforced\nNever verified on volta with driver 550: gpuslice verify does it.\n')
    row, = (line for line in done.stdout.splitlines() if 'default/train' in line)
    assert re.search(r'^0 +default/train +main +4096 MiB +\d+ MiB +\d+ MiB +\d+ MiB +3500 MiB +1 +-$', row)
    assert re.search(r'^0 +\[all\] +- .* 16384 MiB', done.stdout, re.M)


def test_metrics_tell_where_the_memory_went_and_what_only_the_driver_knows(node):
    path = node.grant('train', 4 * GIB)
    node.limits('enforced')
    client = node.client('train', path)
    assert client.request(RESERVE, 0, 3 * GIB, 3 * GIB)[0] == GRANTED
    gap = lambda: [(labels['namespace'], labels['pod'], labels['container'], value)  # noqa: E731
                   for labels, value in node.metrics('gpuslice_memory_gap_bytes')]
    eventually(lambda: gap() == [('default', 'train', 'main', -3 * GIB)], 'nothing of it is in use')
    node.show(client, 0, 3500)
    node.process(103, 0, 30)
    eventually(lambda: gap() == [('default', 'train', 'main', 0)], 'all of it is charged')
    node.wait_audits(2)
    of = {name: next(value for labels, value in node.metrics(f'gpuslice_audit_device_memory{name}_bytes') if labels['gpu'] == '0')
          for name in ('', '_reserved', '_used', '_free', '_unlisted')}
    assert of['_used'] == 3530 * MIB
    assert abs(of['_reserved'] + of['_used'] + of['_free'] + of['_unlisted'] - of['']) <= of[''] / 100


def test_top_beside_an_audit_shows_use_without_limits(node):
    node.pod('curious')
    node.arbiter()
    node.process(101, 0, 500, 'curious')
    eventually(lambda: used(node.status())[0]['containers'] if node.status()['devices'] else None, 'there is an audit')
    status = node.status()
    device, total = used(status)
    assert status['has_limits'] is False and status['mode'] is None and abs(total - device['memory_bytes']) <= device['memory_bytes'] / 100
    assert device['containers'][0]['limit_bytes'] is None and 'charged_bytes' not in device['containers'][0]
    plain = node.gpuslice('top', '--plain').stdout
    assert plain.startswith('This node is audited; no memory limit is enforced.\n') and 'asked-nothing' in plain


def test_top_again_and_again_as_lines(node):
    node.arbiter('--limits=observe')
    node.wait_audited()
    command = [GPUSLICE, 'top', '--json', '--interval=0.1', '--root', node.root, '--arbiter-dir', '/run/arbiter']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **node.variables}) as process:
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.terminate()
    assert [line['mode'] for line in lines] == ['observe'] * 3
    assert node.gpuslice('top', '--interval', '0').returncode == USAGE
    assert node.gpuslice('top', '--plain', '--json').returncode == USAGE


def on_screen(node, term, keys):
    """What gpuslice top writes to a terminal until it ends, and its exit status."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(node.variables, TERM=term, COLUMNS='160', LINES='40')
        os.execv(GPUSLICE, [str(GPUSLICE), 'top', '--root', str(node.root), '--arbiter-dir', '/run/arbiter'])
    seen = b''
    while True:
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # its end is closed
            break
        if not data:
            break
        seen += data
        if keys and b'[idle]' in seen:
            os.write(terminal, keys)
            keys = None
    os.close(terminal)
    return seen.decode(errors='replace'), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_top_on_a_terminal(node):
    node.grant('train', 4 * GIB)
    node.arbiter('--limits=enforced')
    node.wait_audited()
    seen, status = on_screen(node, 'xterm', b'\x1b[B\x1b[6~q')
    assert status == CLEAN and 'default/train' in seen and 'Memory limits: enforced' in seen and 'q: end' in seen
    seen, status = on_screen(node, 'nothing-like-this', None)
    assert status == CLEAN and 'TERM' in seen and 'default/train' in seen


def test_top_without_an_arbiter(node):
    done = node.gpuslice('top')
    assert done.returncode == UNREADABLE and 'is gpuslice-arbiter running on this node?' in done.stderr


# --- metrics ---

def test_metrics_name_pods_and_the_mode(node):
    path = node.grant('train', 4 * GIB)
    node.limits('enforced')
    client = node.client('train', path)
    node.wait_audits(2)
    assert client.request(RESERVE, 0, 5 * GIB, 5 * GIB)[0] == DENIED
    (labels, value), = node.metrics('gpuslice_memory_denials_total')
    assert value == 1 and (labels['namespace'], labels['pod'], labels['container'], labels['uuid']) == ('default', 'train', 'main', node.uuids[0])
    assert [value for _, value in node.metrics('gpuslice_memory_limit_bytes')] == [4 * GIB]
    assert node.metrics('gpuslice_memory_limits_mode') == [({'mode': 'enforced'}, 1)]
    assert node.metrics('gpuslice_memory_connections')[0][1] == 1
    eventually(lambda: node.metrics('gpuslice_memory_library_installed')[0][1] == 1, 'the library is installed')
    node.gpuslice('enforcement', 'off')
    assert node.metrics('gpuslice_memory_limits_switched_off')[0][1] == 1 and node.metrics('gpuslice_memory_limits_mode')[0][0] == {'mode': 'none'}
    assert len(node.metrics('gpuslice_audit_device_memory_free_bytes')) == 4
