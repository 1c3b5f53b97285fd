# SPDX-License-Identifier: Apache-2.0
"""`gpuslice run` beside the arbiter of a node: commands are counted with the pods."""
import json
import os
import signal
import socket
import subprocess

import pytest
from frames import ANSWER, HELLO, REQUEST, Reader, frame
from limitsclient import GRANTED, RESERVE
from node import BUILD, PROGRAMS, eventually, in_folder
from test_audit import MIB
from test_limit_control import Controlled, used
from test_limits import GIB
from test_run import LIBRARIES, PROBER, UNKEPT

BEGIN, END = 5, 6  # of src/proc/arbitermessage.h
OUT_OF_MEMORY, NOBODY = '2', 65534


class Node(Controlled):
    """p3.8xlarge: 4 x V100 of 16384 MiB."""

    def run(self, *words, command=(PROBER,), **more):
        environment = {**os.environ, **self.variables, 'LD_LIBRARY_PATH': LIBRARIES, 'GPUSLICE_ARBITER_DIR': str(self.socket.parent),
                       # Not those of this machine.
                       'GPUSLICE_GRANT_DIR': str(self.socket.parent / 'grants'), 'GPUSLICE_STATE_DIR': str(self.folder),
                       'ASAN_OPTIONS': 'verify_asan_link_order=0:detect_leaks=0'}
        environment.pop('LD_PRELOAD', None)
        return Command(subprocess.Popen(
            [PROGRAMS['gpuslice'], 'run', '--device', '0', *words, '--', *map(str, command)], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more))

    def commands(self):
        return [container for device in self.status()['devices'] for container in device['containers'] if container['namespace'] == '[run]']

    def granted(self):
        return list((self.socket.parent / 'commands/grants').glob('*'))


class Command:
    def __init__(self, process):
        self.process = process

    def ask(self, line):
        self.process.stdin.write(line + '\n')
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def end(self):
        out, errors = self.process.communicate(timeout=60)
        return self.process.returncode, out, errors


@pytest.fixture
def node():
    yield from in_folder(Node)


@pytest.fixture
def limited(node):
    node.limits('enforced')
    node.wait_audited()
    return node


def fill(command):
    code, size, *_ = command.ask(f'fill cuMemAlloc {GIB} {2 * MIB} {16 * GIB}')
    assert code == OUT_OF_MEMORY
    return int(size)


def test_a_command_is_counted_with_the_pods(limited):
    pod = limited.client('train', limited.grant('train', 4 * GIB))
    assert pod.request(RESERVE, 0, GIB, GIB)[0] == GRANTED
    command = limited.run('--memory', '4Gi', '--json')
    assert 3 * GIB < fill(command) <= 4 * GIB
    eventually(lambda: limited.commands() and limited.commands()[0]['used_bytes'] > 3 * GIB, 'the driver shows it')
    [shown] = limited.commands()
    assert shown['pod'] == str(command.process.pid) and shown['limit_bytes'] == 4 * GIB and shown['denials'] >= 1
    assert shown['verdict'] == 'within' and not shown['is_unenforced']
    [grant] = limited.granted()
    status, _, errors = command.end()
    started, ended = map(json.loads, errors.splitlines())
    assert status == 0 and (started['event'], started['arbiter'], started['mode']) == ('started', 'node', 'enforced')
    assert started['grant'] == str(grant) and started['no_node_arbiter'] is None
    assert started['identity'] in ('cgroup', 'tree') and bool(started['cgroup']) == (started['identity'] == 'cgroup')
    assert started['limits'] == [{'uuid': limited.uuids[0], 'limit_bytes': 4 * GIB}]
    [use] = ended['uses']
    assert ended['status'] == 0 and 3 * GIB < use['peak_bytes'] <= 4 * GIB and use['denials'] >= 1
    assert not limited.granted()
    assert pod.request(RESERVE, 0, GIB, GIB)[0] == GRANTED


def test_top_tells_where_the_memory_of_a_command_went(limited):
    """With the same figures as of a pod, beside it and a process of the node; the whole device is accounted for."""
    pod = limited.client('train', limited.grant('train', 4 * GIB))
    assert pod.request(RESERVE, 0, GIB, GIB)[0] == GRANTED
    limited.show(pod, 0, 1100)
    limited.process(103, 0, 30)
    command = limited.run('--memory', '4Gi')
    filled = fill(command)

    def is_measured():
        """What was reserved for its context is corrected a moment later."""
        shown = [(one['used_bytes'] - filled, one['overhead_bytes']) for one in limited.commands()]
        return shown and 0 < shown[0][0] and 100 * MIB < shown[0][1] <= shown[0][0] + 2 * MIB
    eventually(is_measured, 'the driver shows it, and what its context takes')
    device, total = used(limited.status())
    assert abs(total - device['memory_bytes']) <= device['memory_bytes'] / 100, device
    [shown] = limited.commands()
    assert shown['limit_bytes'] == 4 * GIB and shown['denials'] >= 1 and shown['processes'] == shown['registered'] == 1
    assert filled < shown['used_bytes'] <= shown['charged_bytes'] <= shown['peak_bytes'] <= 4 * GIB
    assert (device['not_ours_processes'], device['not_ours_bytes']) == (1, 30 * MIB)
    assert device['idle_bytes'] >= 16 * GIB - 4 * GIB - 1130 * MIB - device['reserved_bytes']
    [row] = (line for line in limited.gpuslice('top').stdout.splitlines() if f'[run]/{command.process.pid}' in line)
    assert row.count('MiB') == 5 and '4096 MiB' in row and not row.rstrip().endswith('unenforced')
    [peak] = [value for labels, value in limited.metrics('gpuslice_memory_peak_bytes') if labels['namespace'] == '[run]']
    assert peak == shown['peak_bytes']
    assert command.end()[0] == 0


@pytest.mark.parametrize('words, limit, share', [(['--share', '25%'], 4 * GIB, 250000), (['--share', '10%', '--memory', '4Gi'], 4 * GIB, 100000),
                                                 (['--memory', '8Gi'], 8 * GIB, 500000)], ids=['share', 'both', 'memory'])
def test_a_command_has_a_share_of_memory_and_time(limited, words, limit, share):
    """16 GiB. It outlives the arbiter, as the limit does."""
    command = limited.run(*words)
    assert command.ask(f'take cuMemAlloc {GIB}') == ['0']

    def shown():
        return [(one['limit_bytes'], one['share_ppm']) for one in limited.commands() if 'share_ppm' in one]
    eventually(lambda: shown() == [(limit, share)], 'it is counted')
    limited.processes[0].end(signal.SIGKILL)
    limited.arbiter('--limits=enforced')
    eventually(lambda: shown() == [(limit, share)], 'it is counted again')
    assert command.end()[0] == 0


def test_what_is_not_left_is_refused_and_no_other_arbiter_keeps_it(limited):
    limited.client('train', limited.grant('train', 10 * GIB))
    first = limited.run('--memory', '4Gi')
    assert first.ask('info')[0] == '0'
    status, out, errors = limited.run('--memory', '4Gi', command=['echo', 'it ran']).end()
    assert status == UNKEPT and not out
    assert 'refuses: ' in errors and f'MiB of {limited.uuids[0]} are left beside the limits of pods and other commands' in errors
    first.end()
    assert limited.run('--memory', '4Gi', command=['echo', 'it ran']).end()[:2] == (0, 'it ran\n')


def test_a_limit_outlives_the_arbiter(limited):
    command = limited.run('--memory', '4Gi')
    assert command.ask(f'take cuMemAlloc {2 * GIB}') == ['0']
    limited.processes[0].end(signal.SIGKILL)
    limited.arbiter('--limits=enforced')
    limited.wait_audited()
    assert fill(command) <= 2 * GIB
    eventually(lambda: [one['limit_bytes'] for one in limited.commands()] == [4 * GIB], 'it is counted again')
    assert command.end()[0] == 0
    assert not limited.granted()


def test_a_grant_ends_with_its_processes(limited):
    """Killed with its command; nobody tells the arbiter."""
    command = limited.run('--memory', '4Gi', start_new_session=True)
    assert command.ask('info')[0] == '0'
    assert limited.granted()
    os.killpg(command.process.pid, signal.SIGKILL)
    command.process.wait(60)
    eventually(lambda: not limited.granted(), 'the grant ended')


def test_an_arbiter_of_its_own_where_asked_for(limited):
    command = limited.run('--memory', '4Gi', '--own', '--json')
    assert fill(command) <= 4 * GIB
    assert not limited.granted()
    started, _ = map(json.loads, command.end()[2].splitlines())
    assert started['arbiter'] == 'own'


def test_an_arbiter_that_gives_none(node):
    node.arbiter()  # audits alone
    node.serve_once()
    node.wait_audited()
    command = node.run('--memory', '4Gi')
    assert fill(command) <= 4 * GIB
    assert 'gives no limits to commands; this command has an arbiter of its own' in command.end()[2]


def test_a_mode_that_limits_nothing_is_reported(node):
    node.limits('observe')
    node.wait_audited()
    command = node.run('--memory', '4Gi')
    assert command.ask(f'take cuMemAlloc {6 * GIB}') == ['0']
    assert 'not enforced on this node (the mode is observe)' in command.end()[2]


def as_nobody(node):
    """The user of the command: it cannot look into the checkout of root, so its programs are where it can."""
    return {'user': NOBODY, 'group': NOBODY, 'extra_groups': [], 'cwd': '/'}


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason='only root can be another user')


@needs_root
@pytest.mark.parametrize('flags, is_permitted', [((), False), ((f'--run-group={NOBODY}',), True)])
def test_who_may_have_a_limit_of_the_node(node, flags, is_permitted):
    node.limits('enforced', *flags)
    node.wait_audited()
    for path in (node.root.parent / 'state').parent.glob('state*'):
        path.chmod(0o666)
    for folder in (node.root, node.root / 'run', node.socket.parent):
        folder.chmod(0o755)
    status, out, errors = node.run('--memory', '4Gi', '--json', command=['echo', 'it ran'], **as_nobody(node)).end()
    assert (status, out) == (0, 'it ran\n'), errors
    started, _ = map(json.loads, errors.splitlines())
    assert started['arbiter'] == ('node' if is_permitted else 'own')
    assert bool(started['no_node_arbiter']) != is_permitted
    if not is_permitted:
        assert '--run-group' in started['no_node_arbiter']


def test_the_group_is_a_number(node):
    done = subprocess.run([PROGRAMS['gpuslice-arbiter'], '--limits=enforced', '--run-group=video'], capture_output=True, text=True, timeout=30)
    assert done.returncode == 64 and '--run-group=video: write the number of a group' in done.stderr


def test_strangers_have_no_part_in_it(limited):
    command = limited.run('--memory', '4Gi')
    assert command.ask('info')[0] == '0'
    [grant] = limited.granted()
    stranger = subprocess.run([PROBER], input='info\n', capture_output=True, text=True, timeout=60, env={
        **os.environ, **limited.variables, 'LD_LIBRARY_PATH': LIBRARIES, 'GPUSLICE_GRANT': str(grant),
        'LD_PRELOAD': str(BUILD / 'src/shim/libgpuslice.so'), 'ASAN_OPTIONS': 'verify_asan_link_order=0:detect_leaks=0'})
    assert 'gpuslice' in stranger.stderr, stranger
    command.end()


def ask(node, *requests):
    """What is answered on one connection, until the arbiter ends it: of each answer its values by their keys."""
    answers, reader = [], Reader()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(60)
        peer.connect(str(node.socket.parent / 'run.sock'))
        peer.sendall(frame(HELLO, b'run') + b''.join(frame(REQUEST, body.encode(), kind, number) for number, (kind, body) in enumerate(requests)))
        try:
            while data := peer.recv(1 << 16):
                answers += [body.decode() for kind, _, _, body in reader.feed(data) if kind == ANSWER]
        except ConnectionResetError:
            pass  # with what it did not read
    return [dict(line.split(' ', 1) for line in answer.splitlines()) for answer in answers]


def wish(uuid, size):
    return f'limit-is\ndevice {uuid}\nbytes {size}\n'


def test_memory_is_not_given_again_while_a_process_has_it(limited):
    """Whatever who asked for it says."""
    wanted = wish(limited.uuids[0], 10 * GIB)
    [first] = ask(limited, (BEGIN, wanted))
    client = limited.client(None, f'{first["folder"]}/arbiter.sock')
    assert client.request(RESERVE, 0, 8 * GIB, 8 * GIB)[0] == GRANTED
    ask(limited, (END, f'id {first["id"]}\n'))
    [second] = ask(limited, (BEGIN, wanted))
    assert 'are left beside the limits of pods and other commands' in second['refusal']
    client.end()
    ask(limited, (END, f'id {first["id"]}\n'))
    [third] = ask(limited, (BEGIN, wanted))
    assert not third['refusal'] and [path.name for path in limited.granted()] == [third['id']]


def test_a_device_has_one_limit_of_a_command(limited):
    [answer] = ask(limited, (BEGIN, 2 * wish(limited.uuids[0], 10 * GIB)))
    assert answer['refusal'] == f'two limits of {limited.uuids[0]}' and not limited.granted()


def test_a_peer_has_one_request(limited):
    assert len(ask(limited, *[(BEGIN, wish(limited.uuids[0], MIB))] * 100)) == 1
    assert len(limited.granted()) == 1


def test_a_cgroup_of_others_cannot_be_named(limited):
    [answer] = ask(limited, (BEGIN, 'cgroup kubepods.slice\n' + wish(limited.uuids[0], MIB)))
    assert answer['refusal'] == "'kubepods.slice' is not the name of a command's cgroup"
