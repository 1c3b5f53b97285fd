# SPDX-License-Identifier: Apache-2.0
"""Our processes beside each other: each may close its channel, hang or send invalid data, and is replaced; as containers
they find each other over a socket; and the agent says by itself whether it is alive."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from frames import HELLO, NOTICE, REQUEST, Reader, frame
from node import BUILD, GUIDE, PATIENCE_S, PROGRAMS, ROOT, Cluster, eventually, free_port, http_get

SOON = '2s'  # a --peer-deadline that does not try the tests' patience


@pytest.fixture
def cluster(node):
    return Cluster(node)


def pid_of(agent, name):
    [pid] = agent.children(name)
    return pid


def answers(address, path='/healthz'):
    """What is served there, or nothing while nobody listens yet."""
    try:
        return http_get(address, path)
    except OSError:
        return None, ''


def connected(address, value):
    return f'\ngpuslice_cluster_connected {value}\n' in answers(address, '/metrics')[1]


def in_place_of(node, name, first_life):
    """A program beside the agent that lives that life once, and is the real one after that."""
    folder = node.folder / 'bin'
    folder.mkdir(exist_ok=True)
    for program in ('gpuslice-node', 'gpuslice-http', 'gpuslice-nodesync'):
        if not (folder / program).exists():
            shutil.copy(PROGRAMS[program], folder / program)
    (folder / name).rename(folder / 'real')
    (folder / name).write_text(f'''#!{sys.executable}
import os, signal, socket, sys, time
mark = {str(node.folder / 'lived')!r}
if os.path.exists(mark):
    os.execv({str(folder / 'real')!r}, sys.argv)
open(mark, 'w').close()
sys.path.insert(0, {str(Path(__file__).parent)!r})
from frames import HELLO, frame
{first_life}
time.sleep(3600)
''')
    (folder / name).chmod(0o755)
    node.programs['gpuslice-node'] = folder / 'gpuslice-node'


# --- children ---

LIVES = {
    'closes its end': ('signal.signal(signal.SIGTERM, signal.SIG_IGN); os.close(3)',
                       'closed its end of the channel'),
    'says hello and closes its end': ('os.write(3, frame(HELLO, b"x")); os.close(3)', 'closed its end of the channel'),
    'speaks nonsense': ('os.write(3, b"hello, this is no frame of yours")', 'does not use our protocol'),
    'hangs': ('os.write(3, frame(HELLO, b"x"))', 'does not answer'),
}


@pytest.mark.parametrize('life', LIVES)
def test_a_child_of_no_use_is_replaced(node, life):
    first_life, reason = LIVES[life]
    in_place_of(node, 'gpuslice-http', first_life)
    address = f'127.0.0.1:{free_port()}'
    agent = node.start_agent(GUIDE, '--http-address', address, '--peer-deadline', SOON)
    agent.wait_line(f'the HTTP program is ended.*{reason}')
    agent.wait_line('listening for HTTP')
    eventually(lambda: answers(address) == (200, 'ok\n'), '/healthz is 200')
    assert agent.alive()


def test_children_that_stop_are_replaced(node, cluster):
    """SIGSTOP is the hang that no program can do anything about."""
    node.start_kubelet()
    cluster.greet = {}
    address = f'127.0.0.1:{free_port()}'
    agent = node.start_agent(GUIDE, '--node-name=gpu-1', '--http-address', address, '--peer-deadline', SOON)
    eventually(lambda: connected(address, 1), 'connected')
    mark, spoken = agent.mark(), cluster.mark()
    cluster.greet = None
    stopped = [cluster.wait('started')['pid'], pid_of(agent, 'gpuslice-http')]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    agent.wait_line('gpuslice-nodesync is ended: the peer does not answer', mark)
    agent.wait_line('the HTTP program is ended: the peer does not answer', mark)
    cluster.wait('setup', since=spoken)
    cluster.wait_condition('AllResourcesRegistered', since=spoken)
    agent.wait_line('listening for HTTP', mark)
    eventually(lambda: connected(address, 0), 'the metric says that nobody hears the API server')
    cluster.tell()
    eventually(lambda: connected(address, 1), 'connected again')
    assert not any(os.path.exists(f'/proc/{pid}') for pid in stopped)
    node.wait_allocatable(16)


def test_a_message_that_is_too_large_ends_the_program(node, cluster):
    cluster.greet = {}
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--node-name=gpu-1')
    cluster.wait_condition('AllResourcesRegistered')
    mark = cluster.mark()
    cluster.send('x' * (3 << 20) + '\n')
    agent.wait_line('gpuslice-nodesync is ended: the peer sends a message of 3145728 bytes')
    cluster.wait_condition('AllResourcesRegistered', since=mark)


# --- containers ---

class Pod:
    """The agent of a pod of several containers: it listens, and has no children but the driver's helper."""

    def __init__(self, node):
        self.node, self.folder = node, node.folder / 'channel'
        self.folder.mkdir()
        node.folder.chmod(0o711)  # as an emptyDir, others get there
        self.address = f'127.0.0.1:{free_port()}'

    def socket(self, role):
        """Of the folder that the role's container mounts, and no other does."""
        return self.folder / role / 'agent.sock'

    def start_agent(self, *arguments):
        return self.node.start_agent(GUIDE, '--channel-dir', self.folder, '--peer-deadline', SOON, *arguments)

    def start_http(self):
        return self.node.start('gpuslice-http', f'--connect={self.socket("http")}', self.address)

    def probe(self, part='probe'):
        return self.node.run('gpuslice-node', f'--part={part}', '--channel-dir', self.folder, check=False)

    def serves(self):
        return answers(self.address) == (200, 'ok\n')


@pytest.fixture
def pod(node):
    return Pod(node)


def test_http_as_a_container(pod):
    """In whatever order they start, and over a restart of either."""
    http = pod.start_http()
    http.wait_line('there is no agent yet')
    eventually(lambda: answers(pod.address)[0], 'it listens')
    assert http_get(pod.address, '/healthz') == (503, 'the agent does not respond\n')
    agent = pod.start_agent()
    eventually(pod.serves, '/healthz is 200')
    assert http_get(pod.address, '/metrics')[1].startswith('# HELP')
    assert agent.children('gpuslice-http') == []
    agent.end(signal.SIGKILL)
    eventually(lambda: answers(pod.address)[0] == 503, '/healthz is 503')
    pod.start_agent().wait_line('resource offered')
    eventually(pod.serves, '/healthz is 200 again')
    assert http.end() == 0
    pod.start_http()
    eventually(pod.serves, '/healthz is 200 from the next one')


def test_nodesync_as_a_container(node, pod):
    """Without an API server: it connects, gets its setup, and begins again when the agent does."""
    kubeconfig = write_kubeconfig(node)
    nodesync = node.start('gpuslice-nodesync', f'--connect={pod.socket("nodesync")}', 'info', 'logfmt')
    nodesync.wait_line('there is no agent yet')
    agent = pod.start_agent('--node-name=gpu-1', '--kubeconfig', kubeconfig)
    nodesync.wait_line('maintaining our Node at the API server')
    assert agent.children('gpuslice-nodesync') == []
    mark = nodesync.mark()
    agent.end(signal.SIGKILL)
    nodesync.wait_line('there is no agent yet', mark)
    agent = pod.start_agent('--node-name=gpu-1', '--kubeconfig', kubeconfig)
    nodesync.wait_line('maintaining our Node at the API server', mark)
    assert nodesync.pid != agent.pid and nodesync.alive()  # it executed itself: the container went on
    agent.end()
    assert nodesync.end() == 0


@pytest.mark.parametrize('role', ['http', 'nodesync'])
def test_a_container_watches_its_own_loop(node, pod, role):
    """No probe asks it, and the agent can only drop its channel. The kernel's timer sends SIGALRM when the loop has not postponed
    it; this test does so instead, faster than the loop counts."""
    pod.start_agent('--node-name=gpu-1').wait_line('resource offered')
    program = pod.start_http() if role == 'http' else node.start('gpuslice-nodesync', f'--connect={pod.socket(role)}')
    eventually(pod.serves if role == 'http' else lambda: program.count('not in a pod'), 'it runs')
    program.send(signal.SIGALRM)
    assert role != 'http' or pod.serves()  # the first one is a warning

    def has_ended():
        if program.alive():
            program.send(signal.SIGALRM)
        return not program.alive()
    eventually(has_ended, 'it ends itself')
    assert program.wait() == 70 and program.count('the event loop stands still') == 1


def test_http_waits_for_its_port(pod):
    """Another exporter has it, on the host's network: the pod stays ready, and the log tells once."""
    pod.start_agent()
    host, port = pod.address.split(':')
    with socket.create_server((host, int(port))):
        http = pod.start_http()
        http.wait_line('cannot serve HTTP yet.*in use')
        other = pod.start_http()
        other.wait_line('cannot serve HTTP yet.*in use')
        assert other.end() == 0
    eventually(pod.serves, '/healthz is 200')
    assert http.count('cannot serve HTTP yet') == 1 and http.end() == 0


@pytest.mark.parametrize('role', ['http', 'nodesync', 'agent'])
def test_closed_standard_streams_are_not_used_for_something_else(node, pod, role):
    """Else the log goes into an epoll or a socket, and children inherit it."""
    command = {'http': ['gpuslice-http', f'--connect={pod.socket("http")}', pod.address],
               'nodesync': ['gpuslice-nodesync', f'--connect={pod.socket("nodesync")}'],
               'agent': ['gpuslice-node', '--channel-dir', pod.folder, '--kubelet-socket=', '--device-plugin-dir', node.folder,
                         '--state-dir', node.folder / 'state', '--grant-dir', node.folder / 'grants']}[role]
    process = subprocess.Popen(['sh', '-c', 'exec "$0" "$@" <&- >&- 2>&-', PROGRAMS[command[0]], *command[1:]],
                               env=node.environment, cwd=node.folder)

    def files():
        """Of the program, once it has an event loop: by then it has opened what it opens first."""
        links = {}
        for fd in Path(f'/proc/{process.pid}/fd').iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                links[int(fd.name)] = os.readlink(fd)
        return links if any('eventpoll' in link for link in links.values()) else {}
    try:
        eventually(files, 'a loop')
        assert [files().get(fd) for fd in range(3)] == ['/dev/null'] * 3
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize('role', ['http', 'nodesync'])
def test_an_agent_that_refuses_is_not_pestered(node, pod, role):
    """It says hello before it refuses; pauses of 0.1, 0.2, 0.4 and 0.8 s follow."""
    pod.socket(role).parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(pod.socket(role)))
        pod.socket(role).chmod(0o666)
        listener.listen()
        listener.settimeout(PATIENCE_S)
        program = pod.start_http() if role == 'http' else node.start('gpuslice-nodesync', f'--connect={pod.socket(role)}')
        times = []
        for _ in range(5):
            peer, _ = listener.accept()
            times.append(time.monotonic())
            peer.sendall(frame(HELLO, b'agent'))
            peer.close()
        assert times[-1] - times[0] > 1
        assert program.alive() and program.count('lost the connection') <= 4
        assert program.end() == 0


def test_a_pod_that_ends_says_bye(node, pod):
    """All containers get SIGTERM at once; nodesync waits for the agent's shutdown message."""
    node.start_kubelet()
    agent = pod.start_agent('--node-name=gpu-1')
    agent.wait_line('resource offered')
    with connect(pod, b'nodesync') as (peer, messages):
        assert b'"setup"' in next(messages)
        peer.sendall(frame(NOTICE, b'{"kind":"news","heard":true}'))
        agent.wait_line('every resource is registered')
        assert any(b'AllResourcesRegistered' in message for message in messages)
        agent.send(signal.SIGTERM)
        assert any(b'"bye"' in message for message in messages)
    assert agent.wait() == 0


class connect:
    """One of the pod's programs, played: the channel, and the bodies of what the agent says."""

    def __init__(self, pod, name, role=None):
        path = pod.socket(role or name.decode())
        self.peer = socket.socket(socket.AF_UNIX)
        self.peer.settimeout(PATIENCE_S)
        eventually(path.exists, 'the agent listens')
        self.peer.connect(str(path))
        self.peer.sendall(frame(HELLO, name))

    def __enter__(self):
        return self.peer, self.messages()

    def __exit__(self, *_):
        self.peer.close()

    def messages(self):
        reader = Reader()
        while data := self.peer.recv(65536):
            for kind_of_frame, _, _, body in reader.feed(data):
                if kind_of_frame == NOTICE:
                    yield body


def write_kubeconfig(node, user='token: secret', name='kubeconfig', mode=0o600):
    """Of an API server that nobody is."""
    path = node.folder / name
    path.write_text(f'''
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:1"}}}}]
users: [{{name: u, user: {{{user}}}}}]
''')
    path.chmod(mode)
    return path


def test_a_stranger_gets_nothing(pod):
    agent = pod.start_agent()
    agent.wait_line('resource offered')
    with connect(pod, b'http') as (peer, _):
        peer.sendall(frame(REQUEST, kind=99, number=1))
        assert next(Reader().feed(peer.recv(4096)))  # the agent's hello, and it lives
    with connect(pod, b'arbiter', 'http') as (peer, messages):
        assert list(messages) == []  # disconnected
    assert agent.alive()


@pytest.mark.parametrize('role', ['nodesync', 'http', 'probe'])
def test_a_program_cannot_act_as_another(pod, role):
    """What serves HTTP is the part that a stranger may take over: it can say any name, on its own socket."""
    agent = pod.start_agent('--node-name=gpu-1')
    agent.wait_line('resource offered')
    with connect(pod, b'nodesync') as (_, messages):
        assert b'"setup"' in next(messages)
        for name in {'nodesync', 'http', 'probe'} - {role}:
            with connect(pod, name.encode(), role) as (_, refused):
                assert list(refused) == []
        pod.start_http()
        eventually(pod.serves, '/healthz is 200')
        assert pod.probe().returncode == 0


@pytest.mark.parametrize('role', ['nodesync', 'http'])
def test_silent_connections_do_not_fail_the_probe(pod, role):
    agent = pod.start_agent()
    agent.wait_line('resource offered')
    silent = [socket.socket(socket.AF_UNIX) for _ in range(64)]
    for peer in silent:
        peer.connect(str(pod.socket(role)))
    agent.wait_line('a connection was refused.*too many')
    assert pod.probe().returncode == 0
    for peer in silent:
        peer.close()


# --- alive? ---

def test_the_probe_asks_the_agent(pod):
    probe = pod.probe()
    assert probe.returncode == 1 and re.fullmatch(r'cannot connect to .*agent.sock: No such file or directory\n',
                                                  probe.stdout)
    agent = pod.start_agent()
    agent.wait_line('resource offered')
    probe = pod.probe()
    assert (probe.returncode, probe.stdout) == (0, 'ok\n')
    agent.send(signal.SIGSTOP)
    probe = pod.probe()
    assert (probe.returncode, probe.stdout) == (1, 'the agent did not respond within 3000 ms\n')
    agent.send(signal.SIGCONT)
    assert pod.probe().returncode == 0
    assert agent.end() == 0
    assert pod.probe().returncode == 1 and not pod.socket('probe').exists()


def test_a_probe_for_readiness(pod, node):
    """It says what /readyz says: what is not ready, and why."""
    pod.start_agent()
    eventually(lambda: pod.probe('probe-ready').stdout.startswith('nvidia.com/gpu'), 'no kubelet is there yet')
    assert pod.probe('probe-ready').returncode == 1 and pod.probe().returncode == 0
    node.start_kubelet()
    eventually(lambda: pod.probe('probe-ready').returncode == 0, 'it is registered')
    assert pod.probe('probe-ready').stdout == 'ok\n'


def test_the_probe_needs_to_know_where(node):
    probe = node.run('gpuslice-node', '--part=probe', check=False)
    assert probe.returncode == 64 and '--channel-dir' in probe.stderr


def test_many_clients_of_http_do_not_fail_the_probe(pod):
    agent = pod.start_agent()
    agent.wait_line('resource offered')
    pod.start_http()
    eventually(pod.serves, '/healthz is 200')
    host, port = pod.address.split(':')
    clients = [socket.create_connection((host, int(port))) for _ in range(300)]
    assert pod.probe().returncode == 0
    for client in clients:
        client.close()


# --- rights ---

CAPABILITIES = {'DAC_OVERRIDE': 1, 'SYS_MODULE': 16, 'SYS_ADMIN': 21, 'MKNOD': 27}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason='only root has rights to give up')


def documented_rights():
    """doc/privileges.md: process -> (user or None, set of capabilities or None)."""
    text = (ROOT / 'doc/privileges.md').read_text()
    rows = re.findall(r'^\| `(gpuslice-\w+)` \| ([^|]*) \| ([^|]*) \|', text, re.M)
    assert len(rows) == 4
    return {name: (int(user) if user.isdigit() else None,
                   None if capabilities == 'as started' else sum(1 << CAPABILITIES[one] for one in
                                                                 re.findall(r'`(\w+)`', capabilities)))
            for name, user, capabilities in rows}


def status_of(pid):
    return dict(line.split(':\t', 1) for line in Path(f'/proc/{pid}/status').read_text().splitlines() if ':\t' in line)


def has_rights(pid, user, capabilities):
    """Of every thread: capabilities are the threads' own."""
    for task in Path(f'/proc/{pid}/task').iterdir():
        status = status_of(int(task.name))
        users = {*status['Uid'].split(), *status['Gid'].split()}
        sets = [int(status[key], 16) for key in ('CapEff', 'CapPrm', 'CapInh', 'CapAmb')]
        if status['NoNewPrivs'] != '1':
            return False
        if user is not None and (users != {str(user)} or status['Groups'].strip()):
            return False
        if capabilities is not None and any(one & ~capabilities for one in sets):
            return False
    return True


@as_root
def test_each_process_has_the_rights_that_are_documented(node):
    rights = documented_rights()
    agent = node.start_agent(GUIDE, '--node-name=gpu-1', '--kubeconfig', write_kubeconfig(node),
                             '--http-address', f'127.0.0.1:{free_port()}')
    agent.wait_line('maintaining our Node at the API server')
    agent.wait_line('listening for HTTP')
    agent.wait_line('driver is available')
    pids = {name: agent.pid if name == 'gpuslice-node' else pid_of(agent, name[:15]) for name in rights}
    for name, pid in pids.items():
        eventually(lambda: has_rights(pid, *rights[name]), f'{name} has these rights:\n{status_of(pid)}')
    assert len(agent.children()) == len(rights) - 1  # and there is no other process
    assert status_of(pids['gpuslice-driver'])['Uid'].split()[0] == '0'


@as_root
@pytest.mark.parametrize('mode,user', [(0o600, 0), (0o644, 65534)])
def test_credentials_that_root_alone_reads_keep_nodesync_root(node, mode, user):
    """They rotate: what is read today must be readable tomorrow."""
    token = node.folder / 'token'
    token.write_text('secret')
    token.chmod(mode)
    node.folder.chmod(0o711)
    agent = node.start_agent(GUIDE, '--node-name=gpu-1', '--kubeconfig', write_kubeconfig(node, f'tokenFile: {token}'))
    agent.wait_line('maintaining our Node at the API server')
    agent.wait_line('the API server is unreachable|Failed to connect')  # the token was read for that
    pid = pid_of(agent, 'gpuslice-nodesy')
    eventually(lambda: has_rights(pid, user, 0) or user == 0 and status_of(pid)['CapPrm'] == '0' * 16, 'its rights')
    assert status_of(pid)['Uid'].split() == [str(user)] * 4
    assert agent.count(f'keeps running as root.*{token}') == (user == 0)
    assert agent.count('cannot read our token') == 0


@as_root
@pytest.mark.parametrize('role', ['http', 'nodesync'])
def test_a_role_cannot_open_what_is_not_its_own(node, role):
    """The kubelet's sockets and ours, what the agent remembers, a token, another process."""
    node.start_kubelet()
    node.folder.chmod(0o711)
    node.start_agent(GUIDE, '--pod-resources-socket', node.kubelet_root / 'pod-resources/kubelet.sock')
    node.wait_allocatable(16)
    node.run_pods(1)
    node.sim('inject', 'xid', '0', '79')
    eventually((node.folder / 'state/health').exists, 'the health is remembered')
    token = node.folder / 'token'
    token.write_text('secret')
    token.chmod(0o600)
    forbidden = [*(path for folder in ('state', 'grants') for path in (node.folder / folder).iterdir() if path.is_file()),
                 node.plugins / 'kubelet.sock', node.plugins / 'gpuslice-gpu.sock',
                 node.kubelet_root / 'pod-resources/kubelet.sock', token, '/etc/shadow', f'/proc/{os.getpid()}/environ']
    done = subprocess.run([BUILD / 'src/proc/test-proc-role', 'try', role, *map(str, forbidden), __file__],
                          capture_output=True, text=True, check=True)
    said = dict(line.rsplit(': ', 1) for line in done.stdout.splitlines())
    assert said.pop(__file__) == 'opened', 'what everybody may read it may too'
    assert set(said.values()) == {'EACCES'} and len(said) == len(forbidden) >= 8, said
