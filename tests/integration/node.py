# SPDX-License-Identifier: Apache-2.0
"""A node in one folder: a simulated machine, the kubelet stand-in and the agent. Also for tests/bench.

How long something may take is no matter of these tests: they wait PATIENCE_S for what must happen, and
`make bench` measures how fast it does.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools'))
from environment import clean as clean_environment  # noqa: E402
BUILD = Path(os.environ.get('GPUSLICE_BUILD', ROOT / 'build')).resolve()
PROGRAMS = {'gpuslice': BUILD / 'src/gpuslice',
            'gpuslice-node': BUILD / 'src/gpuslice-node',
            'gpuslice-arbiter': BUILD / 'src/gpuslice-arbiter',
            'gpuslice-http': BUILD / 'src/gpuslice-http',
            'gpuslice-nodesync': BUILD / 'src/gpuslice-nodesync',
            'gpuslice-kubelet': BUILD / 'sim/kubelet/gpuslice-kubelet',
            'gpuslice-sim': BUILD / 'sim/nvml/gpuslice-sim',
            'python': sys.executable}
SANITIZED = bool(os.environ.get('GPUSLICE_SANITIZER_PRELOAD'))
PATIENCE_S = 180

GUIDE = '''
version: v1
flags: {migStrategy: none}
sharing:
  timeSlicing:
    resources:
    - name: nvidia.com/gpu
      replicas: 4
'''


def replicas(count, extra='', **names):
    rename = f', rename: {names["rename"]}' if 'rename' in names else ''
    return f'''
version: v1
{extra}
sharing:
  timeSlicing:
    resources:
    - {{name: nvidia.com/gpu, replicas: {count}{rename}}}
'''


claims = []


def free_port():
    """A port for a program to listen on. Nobody takes it before that: the kernel gives those above to outgoing
    connections, and an abstract socket keeps other runs of these tests away."""
    for port in range(20000, 32768):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            claim = socket.socket(socket.AF_UNIX)
            try:
                claim.bind(f'\0gpuslice-test-port-{port}')
                probe.bind(('127.0.0.1', port))
            except OSError:
                claim.close()
                continue
        claims.append(claim)
        return port
    raise AssertionError('no port is free')


def name_of(pid):
    try:
        return Path(f'/proc/{pid}/comm').read_text().strip()
    except OSError:
        return ''  # it has ended


class Process:
    """A program whose lines on stderr can be awaited."""

    def __init__(self, name, arguments, environment, folder, program=None):
        self.name, self.lines, self.news = name, [], threading.Condition()
        self.started = time.monotonic()
        self.process = subprocess.Popen([program or PROGRAMS[name], *map(str, arguments)],
                                        env=environment, cwd=folder, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        errors='replace')
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append((time.monotonic(), line.rstrip()))
                self.news.notify_all()
        with self.news:
            self.lines.append((time.monotonic(), '(end of output)'))
            self.news.notify_all()

    @property
    def pid(self):
        return self.process.pid

    def children(self, name=''):
        """Pids of the programs below it whose names begin so."""
        with open(f'/proc/{self.pid}/task/{self.pid}/children', encoding='ascii') as listing:
            return [int(pid) for pid in listing.read().split() if name_of(pid).startswith(name)]

    def mark(self):
        """A place in the output; what comes later can be awaited from there."""
        with self.news:
            return len(self.lines)

    def wait_line(self, pattern, since=0, n=1):
        """The time of the nth line that matches, awaited."""
        deadline = time.monotonic() + PATIENCE_S
        with self.news:
            while True:
                matches = [when for when, line in self.lines[since:] if re.search(pattern, line)]
                if len(matches) >= n:
                    return matches[n - 1]
                left = deadline - time.monotonic()
                ended = self.lines and self.lines[-1][1] == '(end of output)'
                if left <= 0 or ended or not self.news.wait(left):
                    raise AssertionError(f'{self.name} never said {pattern!r}:\n{self.output()}')

    def count(self, pattern, since=0):
        with self.news:
            return sum(bool(re.search(pattern, line)) for _, line in self.lines[since:])

    def output(self):
        return '\n'.join(line for _, line in self.lines)

    def send(self, number):
        self.process.send_signal(number)

    def end(self, number=signal.SIGTERM):
        """Ends it and returns the exit status."""
        if self.process.poll() is None:
            self.send(number)
        return self.wait()

    def wait(self):
        status = self.process.wait(PATIENCE_S)
        self.reader.join(PATIENCE_S)
        return status

    def alive(self):
        return self.process.poll() is None


class Node:
    def __init__(self, folder):
        self.folder = folder
        self.kubelet_root = folder / 'kubelet'
        # Beside the kubelet's root and not in it, as on nodes whose kubelet has another --root-dir.
        self.plugins = folder / 'device-plugins'
        self.cdi = folder / 'cdi'
        self.config = folder / 'config.yaml'
        self.environment = clean_environment(GPUSLICE_SIM_STATE=str(folder / 'machine.state'), GPUSLICE_HTTP_ADDRESS='',
                                             LD_LIBRARY_PATH=str(BUILD / 'sim/nvml'))
        self.processes = []
        self.programs = dict(PROGRAMS)

    def machine(self, name='p3.8xlarge'):
        self.environment['GPUSLICE_MACHINE'] = str(name)
        return self

    def start(self, name, *arguments, **environment):
        process = Process(name, arguments, {**self.environment, **environment}, self.folder,
                          self.programs[name])
        self.processes.append(process)
        return process

    def run(self, name, *arguments, check=True, **environment):
        done = subprocess.run([PROGRAMS[name], *map(str, arguments)], cwd=self.folder,
                              env={**self.environment, **environment}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=2 * PATIENCE_S)
        if check and done.returncode:
            raise AssertionError(f'{name} {arguments}: {done.returncode}\n{done.stdout}{done.stderr}')
        return done

    # --- the parts ---

    def sim(self, *arguments):
        return self.run('gpuslice-sim', *arguments).stdout

    def start_kubelet(self, *arguments):
        kubelet = self.start('gpuslice-kubelet', '--root-dir', self.kubelet_root, '--device-plugin-dir', self.plugins, 'run',
                             *arguments)
        kubelet.wait_line('ready')
        return kubelet

    def kubelet(self, *arguments, check=True):
        return self.run('gpuslice-kubelet', '--root-dir', self.kubelet_root, *arguments, check=check)

    def start_agent(self, config=GUIDE, *arguments, **environment):
        if config is not None:
            self.config.write_text(config)
            arguments = ('--config-file', self.config, *arguments)
        return self.start('gpuslice-node', '--kubelet-socket', self.plugins / 'kubelet.sock',
                          '--cdi-dir', self.cdi, '--state-dir', self.folder / 'state',
                          '--grant-dir', self.folder / 'grants',
                          '--pod-resources-socket', self.kubelet_root / 'pod-resources/kubelet.sock', *arguments,
                          **environment)

    def configure(self, text):
        """Another file in the place of the old one. One that is written in place is empty for a moment, and may be
        taken so."""
        fresh = self.config.with_suffix('.new')
        fresh.write_text(text)
        fresh.rename(self.config)

    def slices(self, count=4):
        """Device ids as either plugin makes them of the simulated machine."""
        plan = json.loads(self.run('gpuslice', 'plan', '--machine', self.environment['GPUSLICE_MACHINE'], '-o', 'json').stdout)
        return [f'{gpu["uuid"]}::{n}' for gpu in plan['gpus'] for n in range(count)]

    def start_peer(self, resource='nvidia.com/gpu', ids=None):
        """Another device plugin, registered."""
        peer = self.start('python', ROOT / 'tests/e2e/peer_plugin.py', '--resource', resource, '--folder', self.plugins,
                          '--ids', ','.join(ids or self.slices()), LD_PRELOAD='')
        peer.wait_line('watched')
        return peer

    # --- what a user sees ---

    def wait_for(self, what):
        """`nvidia.com/gpu=16` allocatable, `pods=8` running, `settled=1` running or ended."""
        self.kubelet('wait', '--for', what, '--timeout', f'{PATIENCE_S}s')

    def wait_allocatable(self, count, resource='nvidia.com/gpu'):
        self.wait_for(f'{resource}={count}')

    def node(self):
        return json.loads(self.kubelet('get', 'node', '-o', 'json').stdout)

    def pods(self):
        return json.loads(self.kubelet('get', 'pods', '-o', 'json').stdout)

    def apply(self, text):
        manifest = self.folder / 'manifest.yaml'
        manifest.write_text(text)
        self.kubelet('apply', '-f', manifest)

    def run_pods(self, count, name='demo', resource='nvidia.com/gpu', each=1):
        """A Deployment of `count` pods, awaited beside those of others; returns all pods."""
        others = sum(pod['phase'] == 'Running' and not pod['name'].startswith(f'{name}-') for pod in self.pods())
        self.apply(deployment(name, count, {resource: each}))
        self.wait_for(f'pods={count + others}')
        return self.pods()

    def end(self):
        for process in reversed(self.processes):
            if process.alive():
                process.end()

    def said(self):
        return '\n'.join(f'--- {process.name}:\n{process.output()[-4000:]}' for process in self.processes)


def reset_as(node, machine):
    """Runs on that machine, with what stands for nvidia-smi, by which the agent resets a GPU."""
    node.machine(machine)
    gpus = json.loads(node.run('gpuslice', 'plan', '--machine', machine, '-o', 'json').stdout)['gpus']
    folder = node.folder / 'smi'
    folder.mkdir(exist_ok=True)
    cases = ''.join(f'{gpu["uuid"]}) i={i};;\n' for i, gpu in enumerate(gpus))
    (folder / 'nvidia-smi').write_text(f'''#!/bin/sh
[ "$1 $2" = "--gpu-reset -i" ] || exit 2
case "$3" in
{cases}*) exit 6;;
esac
said=$({PROGRAMS["gpuslice-sim"]} mig reset $i 2>&1) && exit
case "$said" in
*"cannot be reset"*) echo "Resetting GPU $3 is not supported."; exit 3;;
esac
echo "$said"
exit 1
''')
    (folder / 'nvidia-smi').chmod(0o755)
    node.environment['PATH'] = f'{folder}:{os.environ["PATH"]}'


class Volume:
    """A mounted ConfigMap: the files lie behind ..data, which is swapped as a whole."""

    def __init__(self, path, **files):
        self.path, self.turn = path, 0
        path.mkdir()
        self.write(**files)

    def write(self, **files):
        self.turn += 1
        data = self.path / f'..2026_{self.turn}'
        data.mkdir()
        for name, text in files.items():
            (data / name).write_text(text)
        fresh = self.path / '..data_tmp'
        fresh.symlink_to(data.name)
        fresh.rename(self.path / '..data')
        for entry in self.path.iterdir():
            if not entry.name.startswith('..') and entry.name not in files:
                entry.unlink()
        for name in files:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f'..data/{name}')


# Installed beside the agent in place of gpuslice-nodesync: forwards messages both ways.
RELAY = f'''#!{sys.executable}
import json, os, socket, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from frames import relay
agent, test = socket.socket(fileno=3), socket.socket(socket.AF_UNIX)
test.connect(os.environ["GPUSLICE_TEST_CLUSTER"])
test.sendall(json.dumps({{"pid": os.getpid(), "arguments": sys.argv[1:]}}).encode() + b"\\n")
relay(agent, test)
'''


CONFIG_LABEL = 'nvidia.com/device-plugin.config'


def news(label=None, heard=True, gone=False, labels=None, annotations=None, **resources):
    """The Node's state, as sent to the agent. label: the one that selects a configuration."""
    told = {'kind': 'news', 'heard': heard, 'gone': gone, 'labelsHeldByOthers': [],
            'resources': [{'name': name, 'capacity': count, 'allocatable': count}
                          for name, count in resources.items()]}
    labels = {**({} if label is None else {CONFIG_LABEL: label}), **(labels or {})}
    if labels:
        told['labels'] = [{'key': key, 'value': value} for key, value in labels.items()]
    if annotations:
        told['annotations'] = [{'key': key, 'value': value} for key, value in annotations.items()]
    return json.dumps(told) + '\n'


class Cluster:
    """The test in place of gpuslice-nodesync: what the agent says can be awaited, news can be told."""

    def __init__(self, node):
        folder = node.folder / 'bin'
        folder.mkdir()
        for name in ('gpuslice-node', 'gpuslice-http'):
            shutil.copy(PROGRAMS[name] if name in PROGRAMS else PROGRAMS['gpuslice-node'].with_name(name),
                        folder / name)
        (folder / 'gpuslice-nodesync').write_text(RELAY)
        (folder / 'gpuslice-nodesync').chmod(0o755)
        node.programs['gpuslice-node'] = folder / 'gpuslice-node'
        node.environment['GPUSLICE_TEST_CLUSTER'] = str(node.folder / 'cluster')
        self.said, self.changed, self.peer = [], threading.Condition(), None
        self.greet, self.linger = None, False  # news for each new program; a program that will not end
        self.farewell = ''  # its response to bye
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(node.folder / 'cluster'))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self.listen, args=[peer], daemon=True).start()

    def listen(self, peer):
        for line in peer.makefile('r'):
            message = json.loads(line)
            with self.changed:
                if 'pid' in message:
                    self.peer = peer
                    message['kind'] = 'started'
                self.said.append((time.monotonic(), message))
                self.changed.notify_all()
            if message['kind'] == 'setup' and self.greet is not None:
                self.tell(**self.greet)
            if message['kind'] == 'bye' and not self.linger:
                peer.sendall(self.farewell.encode())
                peer.shutdown(socket.SHUT_RDWR)
                return

    def tell(self, **what):
        self.send(news(**what))

    def send(self, text):
        self.peer.sendall(text.encode())

    def mark(self):
        with self.changed:
            return len(self.said)

    def wait(self, kind, fits=lambda message: True, since=0):
        """The first message of that kind that fits, awaited."""
        deadline = time.monotonic() + PATIENCE_S
        with self.changed:
            while True:
                for _, message in self.said[since:]:
                    if message['kind'] == kind and fits(message):
                        return message
                left = deadline - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    raise AssertionError(f'no such {kind} was said:\n' +
                                         '\n'.join(str(message) for _, message in self.said))

    def wait_event(self, reason, **how):
        return self.wait('event', lambda event: event['reason'] == reason, **how)

    def wait_condition(self, reason, **how):
        return self.wait('state', lambda state: state.get('reason') == reason, **how)

    def all(self, kind, since=0):
        with self.changed:
            return [message for _, message in self.said[since:] if message['kind'] == kind]


def deployment(name, replicas, limits):
    return json.dumps({
        'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': name},
        'spec': {'replicas': replicas, 'selector': {'matchLabels': {'app': name}},
                 'template': {'metadata': {'labels': {'app': name}},
                              'spec': {'containers': [{'name': 'main', 'image': 'none',
                                                       'resources': {'limits': limits}}]}}}})


def eventually(condition, what, pause_s=0.05):
    """Looks often at first, then less so: many a condition takes a program to see."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < PATIENCE_S, f'never came true: {what}'
        time.sleep(min(pause_s, max(0.01, waited / 20)))


def in_folder(kind):
    """For a fixture: one of that kind, and at the end what its processes said. Not in tmp_path: a socket's path has room for 107 characters, and
    gpuslice-http runs as nobody."""
    with tempfile.TemporaryDirectory(prefix='gpuslice-') as folder:
        os.chmod(folder, 0o755)
        made = kind(Path(folder))
        yield made
        made.end()
        for process in made.processes:
            print(f'--- {process.name}:\n{process.output()[-4000:]}')


def held_ids(pods):
    return sorted(one for pod in pods for container in pod['containers']
                  for ids in container['devices'].values() for one in ids)


def http_get(address, path):
    """(status, body) of a page of the agent."""
    try:
        with urllib.request.urlopen(f'http://{address}{path}', timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()
