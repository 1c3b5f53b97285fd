# SPDX-License-Identifier: Apache-2.0
"""An API server that misbehaves when told, and kube-probe: src/kube as a program."""
import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from apiserver import PATH, PATIENCE_S, Authority, Server

BUILD = Path(os.environ.get('GPUSLICE_BUILD', Path(__file__).resolve().parents[2] / 'build')).resolve()
PROBE = BUILD / 'tests/kube/kube-probe'


class Probe:
    """kube-probe; what it says can be awaited, in order."""

    def __init__(self, arguments, environment=None):
        env = {k: v for k, v in os.environ.items() if 'proxy' not in k.lower()}
        # What a sanitizer keeps of freed memory is no memory of the probe's.
        env['ASAN_OPTIONS'] = env.get('ASAN_OPTIONS', '') + ':quarantine_size_mb=1:thread_local_quarantine_size_kb=64'
        env.update(environment or {})
        self.lines, self.news, self.cursor = [], threading.Condition(), 0
        self.process = subprocess.Popen([PROBE, *map(str, arguments)], env=env, text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(json.loads(line))
                self.news.notify_all()

    def say(self, *words):
        self.process.stdin.write(' '.join(words) + '\n')

    def next(self, **fields):
        """The next line with these fields; lines before it are passed over."""
        with self.news:
            deadline = time.monotonic() + PATIENCE_S
            while True:
                for i in range(self.cursor, len(self.lines)):
                    if all(self.lines[i].get(k) == v for k, v in fields.items()):
                        self.cursor = i + 1
                        return self.lines[i]
                left = deadline - time.monotonic()
                if left <= 0 or not self.news.wait(left):
                    pytest.fail(f'{fields} did not come, but {self.lines[self.cursor:][-20:]}')

    def ask(self, *words):
        self.say(*words)
        return self.next(answer=words[0])

    def events(self, event):
        return [line for line in self.lines if line.get('event') == event]

    def reasons(self):
        return [line['reason'] for line in self.events('trouble')]

    def peak_kb(self):
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return int(status.split('VmHWM:')[1].split()[0])

    def end(self):
        """Its input ends, and with it the program: everything freed, nothing left in the loop."""
        self.process.stdin.close()
        code = self.process.wait(PATIENCE_S)
        assert code == 0, self.process.stderr.read()


@pytest.fixture(scope='session')
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp('ca'), 'first')


@pytest.fixture(scope='session')
def other_authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp('ca'), 'second')


@pytest.fixture(scope='session')
def certificate(authority):
    return authority.sign('server')


@pytest.fixture
def server(certificate):
    server = Server(certificate)
    yield server
    server.stop()


@pytest.fixture
def pod(authority, tmp_path):
    """A service account's folder."""
    (tmp_path / 'token').write_text('first-token\n')
    (tmp_path / 'ca.crt').write_bytes(authority.file.read_bytes())
    (tmp_path / 'namespace').write_text('gpus')
    return tmp_path


@pytest.fixture
def start():
    """Starts probes that have to end well."""
    probes = []

    def begin(arguments, environment=None):
        probes.append(Probe(arguments, environment))
        return probes[-1]

    yield begin
    for probe in probes:
        probe.end()


@pytest.fixture
def probe(start, server, pod):
    return start(['--pod-folder', pod, '--idle-ms', '20000'],
                 {'KUBERNETES_SERVICE_HOST': '127.0.0.1', 'KUBERNETES_SERVICE_PORT': str(server.port)})


@pytest.fixture
def watching(probe, server):
    """A probe that has listed and watches."""
    probe.say('watch', PATH)
    probe.next(event='synced')
    server.await_watches()
    return probe


@pytest.fixture
def kubeconfig(start, server, authority, tmp_path):
    """Starts a probe on a kubeconfig with these members of its cluster and user."""
    def begin(cluster=None, user=None):
        cluster = {'server': f'https://127.0.0.1:{server.port}', 'certificate-authority': str(authority.file),
                   **(cluster or {})}
        (tmp_path / 'config').write_text(json.dumps({
            'current-context': 'x', 'contexts': [{'name': 'x', 'context': {'cluster': 'c', 'user': 'u'}}],
            'clusters': [{'name': 'c', 'cluster': cluster}], 'users': [{'name': 'u', 'user': user or {}}]}))
        return start(['--kubeconfig', tmp_path / 'config'])
    return begin
