# SPDX-License-Identifier: Apache-2.0
"""`gpuslice mig apply` beside an agent that partitions: it asks the agent, on a simulated p4d.24xlarge."""
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from frames import ANSWER, HELLO, NOTICE, REQUEST, Reader, frame
from node import Cluster, deployment, eventually
from test_mig_layouts import LABEL, LARGE, LAYOUTS, MIXED, SMALL, reset_as, start

APPLIED = 'MIG configuration applied successfully\n'
OUTRANKS = 'which outranks gpuslice mig apply: change it there, or remove it'


@pytest.fixture(autouse=True)
def machine(node):
    reset_as(node, 'p4d.24xlarge')


@pytest.fixture
def cluster(node):
    return Cluster(node)


@pytest.fixture
def agent(node):
    """A bare host: no cluster tells anything."""
    node.start_kubelet()
    agent = node.start_agent(MIXED, '--mig-partition')
    node.wait_allocatable(8)
    return agent


def beside(node):
    return {'GPUSLICE_STATE_DIR': str(node.folder / 'state')}


def apply(node, *arguments):
    return node.run('gpuslice', 'mig', 'apply', *arguments, check=False, **beside(node))


def begin(node, *arguments):
    """One that goes on while the test does something else."""
    return node.start('gpuslice', 'mig', 'apply', *arguments, **beside(node))


def layouts(node):
    path = node.folder / 'layouts.yaml'
    path.write_text(LAYOUTS)
    return path


def test_the_agent_makes_the_layout_and_keeps_to_nothing(node, agent):
    done = apply(node, '-c', 'all-1g.5gb')
    assert (done.returncode, done.stdout) == (0, APPLIED), done.stderr
    assert 'the agent brings the GPUs into the layout all-1g.5gb' in done.stderr
    node.wait_allocatable(56, SMALL)
    assert apply(node, '-f', layouts(node)).stdout == APPLIED  # the file has one label
    node.wait_allocatable(28, SMALL)
    node.wait_allocatable(8, LARGE)
    assert node.run('gpuslice', 'mig', 'assert', '-f', layouts(node), **beside(node)).returncode == 0
    # It was asked for once. What others change afterwards is theirs.
    node.sim('mig', 'destroy', 0)
    node.wait_allocatable(21, SMALL)
    assert apply(node, '-c', 'all-disabled').stdout == APPLIED
    node.wait_allocatable(8)
    assert not (node.folder / 'grants/mig-apply').exists()
    assert agent.alive()


def test_what_chooses_the_layout_outranks_it(node, cluster):
    node.start_kubelet()
    agent = start(node, cluster, layout='all-1g.5gb')
    node.wait_allocatable(56, SMALL)
    before = node.sim('mig', 'list')
    done = apply(node, '-c', 'all-disabled')
    assert done.returncode == 1 and done.stdout == ''
    assert f'nothing was changed: the MIG layout of this node is all-1g.5gb (label {LABEL}), {OUTRANKS}' in done.stderr
    assert apply(node, '-c', 'all-1g.5gb').stdout == APPLIED  # the same for every GPU
    assert apply(node, '-m', '-c', 'all-7g.40gb').stdout == APPLIED
    assert node.sim('mig', 'list') == before
    assert agent.end() == 0
    node.start_agent(MIXED + 'gpuslice: {mig: {layout: all-1g.5gb}}\n', '--mig-partition')
    eventually((node.folder / 'state/mig.sock').exists, 'the next agent has the lock')
    eventually(lambda: '(gpuslice.mig.layout)' in apply(node, '-c', 'all-disabled').stderr, 'a refusal')
    assert node.sim('mig', 'list') == before


def test_a_pod_keeps_what_it_has_and_is_named(node, agent):
    assert apply(node, '-c', 'all-1g.5gb').returncode == 0
    node.wait_allocatable(56, SMALL)
    pods = node.run_pods(1, resource=SMALL)
    done = apply(node, '-c', 'all-7g.40gb')  # gives up by itself
    assert done.returncode == 1 and 'waits for pod default/demo-' in done.stderr
    assert node.pods() == pods
    node.wait_allocatable(7, SMALL)  # of the pod's GPU; nothing is withheld for a layout that nobody waits for
    assert not (node.folder / 'grants/mig-apply').exists()
    assert agent.alive()


def test_a_pod_that_ends_is_waited_for(node, agent):
    assert apply(node, '-c', 'all-1g.5gb').returncode == 0
    node.wait_allocatable(56, SMALL)
    node.run_pods(1, resource=SMALL)
    waiting = begin(node, '-c', 'all-7g.40gb')
    waiting.wait_line('waits for pod default/demo-')
    second = apply(node, '-c', 'all-disabled')
    assert second.returncode == 1 and 'another gpuslice mig apply is at work' in second.stderr
    node.apply(deployment('demo', 0, {SMALL: 1}))
    waiting.wait_line('applied successfully')
    assert waiting.wait() == 0
    node.wait_allocatable(8, 'nvidia.com/mig-7g.40gb')
    assert agent.alive()


def test_a_label_that_comes_meanwhile_ends_it(node, cluster):
    node.start_kubelet()
    start(node, cluster)
    node.wait_allocatable(8)
    assert apply(node, '-c', 'all-1g.5gb').returncode == 0
    node.wait_allocatable(56, SMALL)
    node.run_pods(1, resource=SMALL)
    waiting = begin(node, '-c', 'all-7g.40gb')
    waiting.wait_line('waits for pod')
    cluster.tell(labels={LABEL: 'all-1g.5gb'})
    waiting.wait_line(f'all-1g.5gb .label {LABEL}., {OUTRANKS}')
    assert waiting.wait() == 1
    node.wait_allocatable(56, SMALL)


@pytest.mark.parametrize('steps', [1, 9, 20])
def test_the_next_agent_goes_on(node, agent, steps):
    asking = begin(node, '-c', 'all-balanced')
    eventually(lambda: agent.count('next step') >= steps, f'{steps} steps')
    agent.send(signal.SIGKILL)
    agent.wait()
    asking.wait_line('the agent ended before the layout was in force; the one that follows goes on with it')
    assert asking.wait() == 1
    node.start_agent(MIXED, '--mig-partition')
    node.wait_allocatable(16, SMALL)
    node.wait_allocatable(8, 'nvidia.com/mig-2g.10gb')
    node.wait_allocatable(8, LARGE)
    eventually(lambda: not (node.folder / 'grants/mig-apply').exists(), 'the request is done')


def test_who_asked_may_go(node, agent):
    asking = begin(node, '-c', 'all-1g.5gb')
    asking.wait_line('the agent brings')
    asking.send(signal.SIGKILL)
    node.wait_allocatable(56, SMALL)
    assert agent.alive()


def test_a_layout_that_the_gpus_cannot_have_changes_nothing(node, agent):
    before = node.sim('mig', 'list')
    path = node.folder / 'tight.yaml'
    path.write_text('version: v1\nmig-configs:\n  x:\n  - {devices: [0], mig-enabled: true, mig-devices: {1g.5gb: 1}}\n'
                    '  - {devices: [1], mig-enabled: true, mig-devices: {3g.20gb: 3}}\n')
    done = apply(node, '-f', path)
    assert done.returncode == 1 and 'the most of it that fits is 2 x 3g.20gb' in done.stderr
    assert 'nothing was changed: 1 of 8 GPUs' in done.stderr
    assert node.sim('mig', 'list') == before and agent.count('is asked for') == 0


def test_hooks_run_around_the_agents_work(node, agent):
    points = ['apply-start', 'pre-apply-mode', 'pre-apply-config', 'apply-exit']
    hooks, log = node.folder / 'hooks.yaml', node.folder / 'log'
    hooks.write_text(json.dumps({'version': 'v1', 'hooks': {
        point: [{'command': '/bin/sh', 'args': ['-c', f'echo {point} $(grep -c "next step" {node.folder}/*.log) >> {log}']}]
        for point in points}}))
    assert apply(node, '-k', hooks, '-c', 'all-1g.5gb').stdout == APPLIED
    assert [line.split()[0] for line in log.read_text().splitlines()] == points
    log.unlink()
    assert apply(node, '-k', hooks, '-c', 'all-1g.5gb').stdout == APPLIED
    assert [line.split()[0] for line in log.read_text().splitlines()] == ['apply-start', 'apply-exit']
    assert agent.alive()


def test_options_of_mig_parted(node, agent):
    done = apply(node, '-s', '-c', 'all-enabled')
    assert done.returncode == 1 and 'the agent resets the GPU for that; leave out --skip-reset' in done.stderr
    assert apply(node, '--mode-only', '-c', 'all-1g.5gb').stdout == APPLIED
    assert 'GPU instance' not in node.sim('mig', 'list')
    assert apply(node, '-s', '-c', 'all-1g.5gb').stdout == APPLIED
    node.wait_allocatable(56, SMALL)
    assert agent.alive()


def test_a_lock_without_an_agent_behind_the_socket(node, agent):
    agent.send(signal.SIGKILL)
    agent.wait()
    assert (node.folder / 'state/mig.sock').exists()
    holder = subprocess.Popen(['flock', node.folder / 'state/mig.lock', 'sh', '-c', 'echo held; read x'], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        done = apply(node, '-c', 'all-enabled')
        assert done.returncode == 1 and 'changes how the GPUs of this node are partitioned' in done.stderr
    finally:
        holder.communicate(b'\n')
    assert apply(node, '-c', 'all-1g.5gb').stdout == APPLIED  # alone


# --- others than our program ---

def connect(node):
    one = socket.socket(socket.AF_UNIX)
    one.connect(str(node.folder / 'state/mig.sock'))
    one.settimeout(120)
    return one


def receive(one):
    """b'' at the end: what we sent may be unread then."""
    try:
        return one.recv(1 << 16)
    except ConnectionResetError:
        return b''


def answer_to(node, *bodies, kind=1, hello=b'mig'):
    """Everything that comes back, until the answer to the last body or the end."""
    with connect(node) as one:
        one.sendall(frame(HELLO, hello) + b''.join(frame(REQUEST, body, kind, number) for number, body in enumerate(bodies, 1)))
        reader, heard = Reader(), []
        while not any(what == ANSWER and number == len(bodies) for what, _, number, _ in heard):
            data = receive(one)
            if not data:
                break
            heard += reader.feed(data)
        return heard


def test_hostile_requests_change_nothing(node, agent):
    before = node.sim('mig', 'list')
    long = b'n' * 200
    for body in (b'', b'layout', b'layout\0', b'layout\0x\0', b'layout\0\0\0', b'layout\0x\0\0', b'else\0all-enabled\0\0',
                 b'layout\0' + long + b'\0\0', b'layout\0all-9g.5gb.me.me\0\0', b'layout\0x\0\0{', b'layout\0x\0\0\0\0\0',
                 b'layout\0x\0' + long + b'\0version: v1', b'layout\0x\0\0' + b'[' * 100000, b'\xff' * 1000,
                 b'layout\0x\0\0version: v1\nmig-configs: {y: [{devices: all, mig-enabled: false}]}'):
        heard = answer_to(node, body)
        assert heard[-1][:2] == (ANSWER, 2) and heard[-1][3].startswith(b'nothing was changed: '), (body[:40], heard)
        assert all(what != NOTICE for what, *_ in heard)
    assert answer_to(node, b'layout\0all-enabled\0\0', kind=7)[-1][:2] == (ANSWER, 2)
    assert all(what != ANSWER for what, *_ in answer_to(node, b'layout\0all-enabled\0\0', hello=b'http'))
    for raw in (b'GET / HTTP/1.0\r\n\r\n', frame(REQUEST, b'layout\0all-enabled\0\0', 1, 1), frame(HELLO, b'mig') * 2,
                frame(HELLO, b'mig') + struct.pack('<2sBBHHII', b'gs', 1, REQUEST, 1, 0, 1, 0xffffffff)):
        with connect(node) as one:
            one.sendall(raw)
            while receive(one):
                pass
    idle = [connect(node) for _ in range(40)]
    for one in idle:
        one.close()
    assert node.sim('mig', 'list') == before and not (node.folder / 'grants/mig-apply').exists()
    assert apply(node, '-c', 'all-1g.5gb').stdout == APPLIED
    node.wait_allocatable(56, SMALL)
    assert agent.alive()


def test_two_requests_at_once_are_one_too_many(node, agent):
    heard = answer_to(node, b'layout\0all-1g.5gb\0\0', b'layout\0all-disabled\0\0')
    assert (ANSWER, 2, 2, b'nothing was changed: another gpuslice mig apply is at work') in heard
    node.wait_allocatable(56, SMALL)
    assert agent.alive()


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root, to become another user')
def test_another_user_is_refused(node, agent):
    """By the credentials that the kernel reports, even where it can reach the socket."""
    path = node.folder / 'state/mig.sock'
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o666)
    os.chmod(node.folder / 'state', 0o755)
    code = f'''
import os, socket, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from frames import HELLO, REQUEST, frame
one = socket.socket(socket.AF_UNIX)
os.chdir({str(path.parent)!r})
os.setgroups([]); os.setgid(65534); os.setuid(65534)
one.connect('mig.sock')
try:
    one.sendall(frame(HELLO, b'mig') + frame(REQUEST, b'layout\\0all-enabled\\0\\0', 1, 1))
    print(one.recv(1000))
except (BrokenPipeError, ConnectionResetError):
    print(b'')
'''
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.stdout == "b''\n", done
    agent.wait_line('a connection was refused.*its user may not')
    assert agent.count('is asked for') == 0
    assert 'GPU instance' not in node.sim('mig', 'list')
