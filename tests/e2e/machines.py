# SPDX-License-Identifier: Apache-2.0
"""A machine behind each Node that Karpenter's KWOK provider makes: our real agent with its programs, on the simulated driver and the
kubelet's stand-in. What that kubelet advertises is written into the Node, as a kubelet does it."""
import contextlib
import re
import signal
import sys
import tempfile
import threading
from pathlib import Path

import programs
from api import Follower, Refused
from controllers import LEASE, NAMESPACE
from karpenter import POOL, TYPE

sys.path.append(str(programs.ROOT / 'tests/integration'))
from node import Node  # noqa: E402

LISTED = re.compile(r'devices listed" resource=(\S+) capacity=(\d+)')
LOOK_S = 0.5


class Machine:
    def __init__(self, karpenter, node):
        labels, name = node['metadata']['labels'], node['metadata']['name']
        self.api, self.path = karpenter.api, f'/api/v1/nodes/{name}'
        self.arguments = (f'--node-name={name}', f'--kubeconfig={karpenter.plane.kubeconfig}', f'--namespace={NAMESPACE}',
                          f'--controller-lease={LEASE}')
        self.folder = tempfile.TemporaryDirectory(prefix='gpuslice-', ignore_cleanup_errors=True)  # short: sockets live below
        self.parts = Node(Path(self.folder.name)).machine(labels[TYPE])
        self.ended, self.advertised = threading.Event(), {}
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        kubelet, n_read = self.parts.start_kubelet(), 0
        self.parts.start_agent(None, *self.arguments)
        while not self.ended.is_set():
            with kubelet.news:
                kubelet.news.wait_for(lambda: len(kubelet.lines) > n_read, LOOK_S)
                text = '\n'.join(line for _, line in kubelet.lines[n_read:])
                n_read = len(kubelet.lines)
            self.advertised.update(LISTED.findall(text))
            if LISTED.search(text):
                self.report()

    def report(self):
        with contextlib.suppress(Refused):  # the Node has gone
            self.api.call(f'{self.path}/status', 'PATCH', {'status': {'capacity': self.advertised, 'allocatable': self.advertised}})

    def see(self, node):
        """kwok writes the status, too, and may have read it before."""
        if not self.advertised.items() <= node['status'].get('allocatable', {}).items():
            self.report()

    def end(self):
        self.ended.set()
        self.thread.join()
        for one in self.parts.processes:
            one.end(signal.SIGKILL)
        self.folder.cleanup()


class Machines:
    """Those of one NodePool: each comes and goes with its Node."""

    def __init__(self, karpenter, pool):
        self.karpenter, self.machines, self.said = karpenter, {}, []
        self.follower = Follower(karpenter.api, f'/api/v1/nodes?labelSelector={POOL}={pool}', self.see, 1)

    def see(self, kind, node):
        name = node['metadata']['name']
        if kind == 'DELETED':
            self.end_one(name)
        elif name in self.machines:
            self.machines[name].see(node)
        else:
            self.machines[name] = Machine(self.karpenter, node)

    def end_one(self, name):
        machine = self.machines.pop(name, None)
        if machine:
            machine.end()
            self.said.append(f'--- {name}:\n{machine.parts.said()}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.follower.end()
        for name in list(self.machines):
            self.end_one(name)
        print('\n'.join(self.said))
