# SPDX-License-Identifier: Apache-2.0
"""A node of its own, for the rows that need more than a command with a limit: the agent, the arbiter, and a kubelet that
asks the agent for slices. Pods are imitated: processes in cgroups with the kubelet's names, with the namespaces and mounts that
a runtime makes of the agent's answer. What could be imitated is checked first, and printed.
"""
import base64
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bed import HERE, PATIENCE_S, Prober, eventually

RESOURCE = 'nvidia.com/gpu'
HIERARCHIES = ('/sys/fs/cgroup', '/sys/fs/cgroup/pids', '/sys/fs/cgroup/unified', '/sys/fs/cgroup/devices', '/sys/fs/cgroup/systemd')
GRANTS, KUBEPODS = '/opt/gpuslice', '/kubepods.slice'
START_S = 20


class Service:
    """A program of ours that runs beside; its lines are kept with the time at which they came."""

    def __init__(self, words, environment):
        self.lines, self.news = [], threading.Condition()
        self.process = subprocess.Popen([*map(str, words)], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors='replace')
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append((time.monotonic(), line.rstrip()))
                self.news.notify_all()

    def mark(self):
        with self.news:
            return len(self.lines)

    def wait(self, pattern, since=0, seconds=PATIENCE_S):
        """(when, the line) of the first that matches; None: none did."""
        deadline = time.monotonic() + seconds
        with self.news:
            while True:
                for when, line in self.lines[since:]:
                    if re.search(pattern, line):
                        return when, line
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self.news.wait(min(left, 0.5))

    def need(self, pattern, since=0):
        found = self.wait(pattern, since)
        if not found:
            sys.exit(f'bench-gpu: never said {pattern!r}:\n' + '\n'.join(line for _, line in self.lines[-30:]))
        return found

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


# --- what the kubelet wrote down ---

def fields(data):
    """(number, value) of a protobuf message: of nested messages and strings their bytes."""
    at = 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        size = varint()
        if key & 7 == 2:
            yield key >> 3, data[at:at + size]
            at += size
        else:
            yield key >> 3, size


def mounts_of(answer):
    """[(host's path, container's path)] of a ContainerAllocateResponse."""
    mounts = [dict(fields(value)) for number, value in fields(answer) if number == 2]
    return [(one[2].decode(), one[1].decode()) for one in mounts]


# --- cgroups ---

def cgroups_of(pid):
    return [line.split(':', 2)[2] for line in Path(f'/proc/{pid}/cgroup').read_text().splitlines()]


def pod_cgroup(uid, container):
    """As a kubelet with systemd names it, below the root. One that runs here ends what is in cgroups of pods that it does not know; in the tests'
    cluster it names them in another way."""
    return f'{KUBEPODS}/kubepods-burstable.slice/kubepods-burstable-pod{uid.replace("-", "_")}.slice/cri-containerd-{container}.scope'


def find_hierarchy():
    """Where a cgroup can be made whose name begins at the root, as the kubelet's does; None: nowhere."""
    name = pod_cgroup('00000000-0000-4000-8000-000000000000', '0' * 64)
    for top in HIERARCHIES:
        path = Path(top + name)
        try:
            path.mkdir(parents=True)
            with subprocess.Popen(['sleep', '60']) as probe:
                try:
                    (path / 'cgroup.procs').write_text(str(probe.pid))
                    found = name in cgroups_of(probe.pid)
                finally:
                    probe.kill()
        except OSError:
            found = False
        finally:
            remove_cgroup(path)
        if found:
            return top
    return None


def remove_cgroup(path):
    """With what is below, and those above it that are of pods and empty then. Who has been killed is in its cgroup for a moment."""
    below = sorted((folder for folder in path.rglob('*') if folder.is_dir()), reverse=True)
    for folder in (*below, path, *path.parents):
        if folder.name not in path.parts[-4:] and folder not in below:
            return
        if not eventually(lambda folder=folder: is_removed(folder), 2 if folder in (*below, path) else 0):
            return


def is_removed(folder):
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


# --- the node ---

class Node:
    """replicas: slices of each GPU. policy: flags of the arbiter."""

    def __init__(self, bed, replicas, policy=()):
        self.bed, self.pods, self.services = bed, {}, {}
        self.folder = Path(tempfile.mkdtemp(prefix='gpuslice-'))
        self.folder.chmod(0o755)
        self.root = self.folder / 'root'
        for name in ('plugins', 'grants', 'pods', 'var/log/pods', 'var/log/containers'):
            (self.root / name).mkdir(parents=True)
        self.hierarchy = find_hierarchy()
        self.has_proc = Path('/proc/2/comm').read_text() == 'kthreadd\n'
        if not self.hierarchy or not self.has_proc or os.geteuid():
            sys.exit(f'bench-gpu: pods cannot be imitated here: hierarchy {self.hierarchy}, the node\'s /proc {self.has_proc}, uid {os.geteuid()}')
        (self.root / 'proc').symlink_to('/proc')
        self.policy = policy
        self.config = self.folder / 'config.yaml'
        self.config.write_text(f'version: v1\nsharing: {{timeSlicing: {{resources: [{{name: {RESOURCE}, replicas: {replicas}}}]}}}}\n')
        for place in ('etc', 'opt/gpuslice/lib', 'opt/gpuslice/nvidia.com.gpu'):
            (self.folder / 'places' / place).mkdir(parents=True)
        (self.folder / 'places/etc/ld.so.preload').touch()
        self.arrivals, self.arrived = {}, threading.Condition()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f'{self.folder}/hub')
        self.listener.listen(256)
        threading.Thread(target=self.accept, daemon=True).start()
        self.environment = {**bed.environment, 'GPUSLICE_GRANT_DIR': '/grants', 'GPUSLICE_DEVICE_PLUGIN_DIR': '/plugins'}

    # --- its programs ---

    def start_kubelet(self):
        self.services['kubelet'] = Service([*self.kubelet_words(), 'run'], self.bed.environment)
        self.services['kubelet'].need('ready')

    def kubelet_words(self):
        return [self.bed.programs['gpuslice-kubelet'], '--root-dir', self.folder / 'kubelet', '--device-plugin-dir', self.root / 'plugins']

    def kubelet(self, *words, text=None):
        done = subprocess.run([*map(str, [*self.kubelet_words()[:3], *words])], env=self.bed.environment, input=text, capture_output=True,
                              text=True, timeout=2 * PATIENCE_S)
        if done.returncode:
            sys.exit(f'bench-gpu: the kubelet: {done.stdout}{done.stderr}')
        return done.stdout

    def start_agent(self, arbiter_dir=None):
        environment = {**self.bed.environment, 'GPUSLICE_HTTP_ADDRESS': ''}
        self.services['agent'] = Service([self.bed.programs['gpuslice-node'], '--config-file', self.config, '--kubelet-socket',
                                          self.root / 'plugins/kubelet.sock', '--device-plugin-dir', self.root / 'plugins', '--cdi-dir',
                                          self.folder / 'cdi', '--state-dir', self.folder / 'state', '--grant-dir', self.root / 'grants',
                                          '--pod-resources-socket', self.folder / 'kubelet/pod-resources/kubelet.sock', '--arbiter-dir',
                                          arbiter_dir or self.folder / 'arbiter'], environment)

    def start_arbiter(self, *more):
        words = [self.bed.programs['gpuslice-arbiter'], '--limits=enforced', '--root', self.root, '--state-dir', self.folder / 'noted',
                 '--arbiter-dir', self.folder / 'arbiter', *self.policy, *more]
        if 'GPUSLICE_LIBRARY' in self.bed.environment:
            words += ['--library', self.bed.environment['GPUSLICE_LIBRARY']]
        self.services['arbiter'] = Service(words, self.environment)
        self.services['arbiter'].need('gpuslice-arbiter .*audit')

    @property
    def arbiter(self):
        return self.services['arbiter']

    @property
    def agent(self):
        return self.services['agent']

    def start(self):
        self.start_kubelet()
        self.start_arbiter()
        self.start_agent()
        self.kubelet('wait', '--for', 'settled=1')
        if not eventually(lambda: self.allocatable() > 0, PATIENCE_S, 0.05):
            sys.exit('bench-gpu: no slice is offered:\n' + '\n'.join(line for _, line in self.agent.lines[-30:]))

    def allocatable(self):
        return json.loads(self.kubelet('get', 'node', '-o', 'json'))['allocatable'].get(RESOURCE, 0)

    # --- pods ---

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.welcome, args=[sock], daemon=True).start()

    def welcome(self, sock):
        """Who it is stands in the first line; its process the kernel knows."""
        pid = struct.unpack('3i', sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        line = b''
        while not line.endswith(b'\n'):
            byte = sock.recv(1)
            if not byte:
                return
            line += byte
        with self.arrived:
            self.arrivals[line.decode().strip()] = sock, pid
            self.arrived.notify_all()

    def await_arrival(self, name, pod):
        with self.arrived:
            if not self.arrived.wait_for(lambda: name in self.arrivals, START_S):
                raise SystemExit(f'bench-gpu: {name} did not start:\n{self.kubelet("logs", pod)}')
            return self.arrivals.pop(name)

    def add_pods(self, *names, slices=1, without=()):
        """slices 0: it asks for none. without: {pod: a path of its container where nothing is mounted, by mistake}"""
        self.kubelet('apply', '-f', '-', text='---\n'.join(self.manifest(name, slices) for name in names))
        return [Pod(self, name, dict(without).get(name)) for name in names]

    def manifest(self, name, slices):
        words = json.dumps([sys.executable, str(HERE / 'container.py'), f'{self.folder}/hub', name])
        limits = f'resources: {{limits: {{{RESOURCE}: {slices}}}}}' if slices else ''
        return f'''apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: main, image: none, command: {words}{", " + limits if limits else ""}}}
'''

    def checkpoint(self):
        return json.loads((self.root / 'plugins/kubelet_internal_checkpoint').read_text())['Data']['PodDeviceEntries'] or []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pods = list(self.pods.values())
        for pod in pods:
            pod.hang_up()
        for name in reversed(self.services):
            self.services[name].end()
        for pod in pods:
            remove_cgroup(pod.cgroup)
        self.listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Pod:
    """Of one container, `main`. Programs are started in it on demand."""

    def __init__(self, node, name, without):
        self.node, self.name, self.programs, self.without = node, name, [], without
        self.control, self.pid = node.await_arrival(f'pod {name}', name)
        self.uid = next(pod['uid'] for pod in json.loads(node.kubelet('get', 'pods', '-o', 'json')) if pod['name'] == name)
        self.container = hashlib.sha256(self.uid.encode()).hexdigest()
        self.write_names()
        self.cgroup = Path(node.hierarchy + pod_cgroup(self.uid, self.container))
        self.cgroup.mkdir(parents=True)
        (self.cgroup / 'cgroup.procs').write_text(str(self.pid))
        entry = next((one for one in node.checkpoint() if one['PodUID'] == self.uid), None)
        self.mounts = mounts_of(base64.b64decode(entry['AllocResp'])) if entry else []
        self.grant = next((Path(host) for host, place in self.mounts if place.startswith(f'{GRANTS}/nvidia')), None)
        self.contain()
        node.pods[name] = self

    def write_names(self):
        """As the kubelet and the runtime do."""
        logs = self.node.root / 'var/log'
        (self.node.root / 'pods' / self.uid).mkdir()
        (logs / f'pods/default_{self.name}_{self.uid}/main').mkdir(parents=True)
        (logs / f'containers/{self.name}_default_main-{self.container}.log').symlink_to(f'/var/log/pods/default_{self.name}_{self.uid}/main/0.log')

    def contain(self):
        mounts = [(host, place) for host, place in self.mounts if place != self.without]
        self.send({'folder': str(self.node.folder), 'places': str(self.node.folder / 'places'), 'mounts': mounts})
        self.namespaces = json.loads(self.control.makefile('r').readline() or '[]')
        if 'mnt' not in self.namespaces:
            sys.exit(f'bench-gpu: pods cannot be imitated here: {self.name} has namespaces {self.namespaces}')

    def send(self, order):
        self.control.sendall((json.dumps(order) + '\n').encode())

    def start(self, *words, is_bare=False, is_privileged=False, cgroup=None, **variables):
        """A program; is_bare: without the library. cgroup: below the container's."""
        token = f'{self.name}-{len(self.programs)}'
        environment = {'PATH': os.environ['PATH'], 'PYTHONUNBUFFERED': '1', 'PYTHONDONTWRITEBYTECODE': '1', **self.node.bed.inside, **variables}
        self.send({'token': token, 'argv': [*map(str, words)], 'environment': environment, 'is_bare': is_bare, 'is_privileged': is_privileged,
                   'cgroup': cgroup and str(cgroup)})
        program = Program(*self.node.await_arrival(f'program {token}', self.name), self.node.folder / f'{token}.err')
        self.programs.append(program)
        return program

    def prober(self, **more):
        return self.start(self.node.bed.programs['gpuslice-prober'], **more)

    def limit(self):
        """Of each device, as the agent wrote it."""
        words = [line.split() for line in (self.grant / 'limits').read_text().splitlines()]
        return {word: int(value) for word, value in words if word != 'mode'}

    def bytes(self):
        return next(iter(self.limit().values()))

    def used(self):
        """What the driver shows for its processes."""
        table = self.node.bed.nvml.processes()
        return sum(table.get(int(pid), 0) for folder in (self.cgroup, *self.cgroup.rglob('*')) if folder.is_dir()
                   for pid in (folder / 'cgroup.procs').read_text().split())

    def hang_up(self):
        """It ends by itself then."""
        for program in self.programs:
            program.close()
        self.control.close()

    def end(self):
        self.node.pods.pop(self.name)
        self.hang_up()
        self.node.kubelet('delete', self.name)
        remove_cgroup(self.cgroup)
        shutil.rmtree(self.node.root / 'pods' / self.uid, ignore_errors=True)


class Program(Prober):
    """Its pid is the node's: what it says itself is of its namespace."""

    def __init__(self, sock, pid, errors):
        super().__init__(sock)
        self.pid, self.errors = pid, errors

    def info(self):
        pid = self.pid
        answer = super().info()
        self.pid = pid
        return answer

    def is_alive(self):
        try:
            return Path(f'/proc/{self.pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
        except OSError:
            return False

    def status(self):
        """How it ended, as of subprocess: of a signal the negative; None: not known. Its parent does not wait for it before its end."""
        eventually(lambda: not self.is_alive(), PATIENCE_S, 0.05)
        try:
            words = Path(f'/proc/{self.pid}/stat').read_text().rpartition(')')[2].split()
        except OSError:
            return None
        return os.waitstatus_to_exitcode(int(words[49])) if words[0] == 'Z' else None  # proc(5): exit_code is field 52

    def said(self):
        return self.errors.read_text(errors='replace')[-2000:]
