# SPDX-License-Identifier: Apache-2.0
"""gpuslice-nodesync with a test in the agent's place: a channel, and messages in JSON."""
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import programs
from bed import wait

sys.path.append(str(programs.ROOT / 'tests/integration'))
from frames import HELLO, NOTICE, PING, Reader, frame  # noqa: E402

BUILD = Path(os.environ.get('GPUSLICE_BUILD', programs.ROOT / 'build')).resolve()
PROGRAM = Path(os.environ.get('GPUSLICE_CLUSTER', BUILD / 'src/gpuslice-nodesync'))
CONFIG_LABEL = 'nvidia.com/device-plugin.config'


def state(labels=None, extra=None, taints=(), ready=None, reason='AllResourcesRegistered', message='fine', by='auto'):
    """ready None: no condition."""
    return {'kind': 'state', 'labelsBy': by, 'labels': pairs(labels), 'extraLabels': pairs(extra),
            'taints': [dict(zip(('key', 'value', 'effect'), taint)) for taint in taints],
            'hasCondition': ready is not None, 'ready': bool(ready), 'reason': reason, 'message': message}


def config_of(news):
    """What the Node's label says that chooses a configuration; None = it is not there."""
    return {label['key']: label['value'] for label in news.get('labels', [])}.get(CONFIG_LABEL)


def pairs(labels):
    return [{'key': key, 'value': value} for key, value in (labels or {}).items()]


class ClusterProgram:
    def __init__(self, folder, kubeconfig, node, namespace='', pod=''):
        self.log, self.news, self.reader = Path(folder) / 'cluster.log', None, Reader()
        self.setup = {'kind': 'setup', 'node': node, 'kubeconfig': str(kubeconfig), 'namespace': namespace, 'pod': pod,
                      'watchedLabels': [CONFIG_LABEL]}
        self.process = None

    def start(self, *messages):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.pair, self.news, self.reader = ours, None, Reader()
        ours.sendall(frame(HELLO, b'agent'))
        with open(self.log, 'ab') as log:
            # The shell gives the pair its number: here it may belong to something else.
            self.process = subprocess.Popen(['bash', '-c', f'exec "$0" debug 3<&{theirs.fileno()}', PROGRAM],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[theirs.fileno()])
        theirs.close()
        self.say(self.setup, *messages)
        return self

    def say(self, *messages):
        self.pair.setblocking(True)
        self.pair.sendall(b''.join(frame(NOTICE, json.dumps(message).encode()) for message in messages))
        self.pair.setblocking(False)

    def say_event(self, reason, message, pods=(), warning=True):
        self.say({'kind': 'event', 'warning': warning, 'reason': reason, 'message': message,
                  'pods': [{'namespace': namespace, 'name': name} for namespace, name in pods]})

    def hear(self):
        """The newest news."""
        with contextlib.suppress(BlockingIOError):
            while data := self.pair.recv(65536):
                for kind_of_frame, _, _, body in self.reader.feed(data):
                    assert kind_of_frame in (HELLO, NOTICE, PING)
                    if kind_of_frame == NOTICE:
                        self.news = json.loads(body)
                        assert self.news['kind'] == 'news'
        return self.news

    def await_news(self, what, found, timeout=20):
        return wait(f'news: {what}', lambda: (news := self.hear()) and found(news) and news, timeout)

    def said(self):
        return self.log.read_text()

    def bye(self):
        """The agent's orderly end. The seconds that the program took."""
        began = time.monotonic()
        self.say({'kind': 'bye'})
        assert self.process.wait(10) == 0, self.said()
        self.pair.close()
        return time.monotonic() - began

    def drop(self):
        """The agent is gone."""
        self.pair.close()
        return self.process.wait(10)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process:
            self.pair.close()

    def rss_kib(self):
        return int(next(line.split()[1] for line in Path(f'/proc/{self.process.pid}/status').read_text().splitlines()
                        if line.startswith('VmRSS')))
