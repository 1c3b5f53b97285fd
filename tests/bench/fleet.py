#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What gpuslice-controller costs the API server, and itself, with many sliced nodes: at its start, idle, and when nodes come in a burst.

    tests/bench/fleet.py [NODES] [SECONDS] [MORE]   5000 nodes, 60 idle seconds and 250 nodes more by default; GPUSLICE_BUILD=build-asan for another build

A real etcd and API server; Nodes and NodeClaims are objects that this program writes, as large as a kubelet's with 30 images, and no
kubelet runs: each Node's status is patched as often as one would (every 5 minutes where nothing changes). Calls are those of the API server's audit log,
bytes those of the controller's connections, TLS included. It needs what `make bed` builds.
"""
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests/e2e'))

import bed  # noqa: E402
import pki  # noqa: E402
import programs  # noqa: E402
from cluster import GPU  # noqa: E402
from karpenter import CLAIMS, NODE_CLASS, Karpenter, module_folder, render, requirement  # noqa: E402
from test_controller import NAMESPACE, PROGRAM  # noqa: E402

PORT, BURST, WRITERS = 28043, 250, 4
TYPE, SHARED, PROFILE = 'g5.12xlarge', 'nvidia.com/gpu.shared', 'fleet'
STARTUP = {'key': 'gpuslice.dev/not-ready', 'effect': 'NoSchedule'}
QUIET_BYTES, PATIENCE_S = 1 << 14, 60  # a second; until all nodes are open
HEARTBEAT_S = 300  # the kubelet's nodeStatusReportFrequency
IMAGES = [{'names': [f'registry.example/images/a-name-of-the-usual-length-{n}@sha256:{n:064}', f'registry.example/images/a-name-of-the-usual-length-{n}:v1'],
           'sizeBytes': 10**8} for n in range(30)]
AUDIT = {'apiVersion': 'audit.k8s.io/v1', 'kind': 'Policy', 'omitStages': ['RequestReceived'], 'rules': [{'level': 'Metadata'}]}


class Pipe:
    """Passes connections through to the API server, and counts their bytes."""

    def __init__(self, port):
        self.upstream, self.sent, self.received, self.port = port, 0, 0, None
        started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve(started)), daemon=True).start()
        started.wait()

    async def serve(self, started):
        server = await asyncio.start_server(self.connect, '127.0.0.1', 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await server.serve_forever()

    async def connect(self, reader, writer):
        there, back = await asyncio.open_connection('127.0.0.1', self.upstream)
        await asyncio.gather(self.copy(reader, back, 'sent'), self.copy(there, writer, 'received'), return_exceptions=True)

    async def copy(self, reader, writer, what):
        try:
            while data := await reader.read(1 << 16):
                setattr(self, what, getattr(self, what) + len(data))
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


class Audit:
    """The controller's calls, by verb and resource."""

    def __init__(self, path):
        self.path, self.at, self.seen = path, 0, set()

    def calls(self):
        """Those since the last look."""
        found = Counter()
        with open(self.path, 'rb') as log:
            log.seek(self.at)
            for line in log:
                if not line.endswith(b'\n'):
                    break
                self.at += len(line)
                one = json.loads(line) if b'gpuslice-controller' in line else {}
                if one.get('userAgent', '').startswith('gpuslice-controller') and one['auditID'] not in self.seen:
                    self.seen.add(one['auditID'])
                    where = one.get('objectRef', {})
                    found[f"{one['verb']} {where.get('resource', one['requestURI'])}{'/' if where.get('subresource') else ''}{where.get('subresource', '')}"] += 1
        return found


class Controller:
    def __init__(self, folder, pipe, plane):
        config = folder / 'controller.kubeconfig'
        pki.kubeconfig(config, f'https://127.0.0.1:{pipe.port}', plane.pki / 'ca.crt', 'admin-token')
        self.log = open(folder / 'controller.log', 'w')
        self.process = subprocess.Popen([PROGRAM, f'--kubeconfig={config}', f'--namespace={NAMESPACE}', '--lease=fleet', '--identity=a', '--profiles=keep'],
                                        stderr=self.log)

    def memory_mib(self):
        """(now, at most) resident."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return tuple(int(line.split()[1]) / 1024 for key in ('VmRSS', 'VmHWM') for line in status.splitlines() if line.startswith(key))

    def cpu_s(self):
        fields = Path(f'/proc/{self.process.pid}/stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class Fleet:
    """Nodes of one SliceProfile, each with its NodeClaim, as Karpenter makes them."""

    def __init__(self, plane):
        self.api, self.pool, self.names = plane.api, ThreadPoolExecutor(WRITERS), []
        profile = {'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': PROFILE}, 'spec': {
            'instanceTypes': [TYPE], 'timeSlicing': {'replicas': 4, 'renameByDefault': True}, 'nodeClass': NODE_CLASS}}
        made = render(plane.folder, profile)
        self.api.call('/apis/gpuslice.dev/v1alpha1/sliceprofiles', 'POST', profile)
        self.template = made['NodePool'][0]['spec']['template']['metadata']

    def create(self, count, is_open):
        names = [f'{PROFILE}-{n}' for n in range(len(self.names), len(self.names) + count)]
        self.names += names
        list(self.pool.map(lambda name: self.create_one(name, is_open), names))
        return names

    def create_one(self, name, is_open):
        labels = {**self.template['labels'], 'node.kubernetes.io/instance-type': TYPE, 'karpenter.sh/nodepool': PROFILE,
                  'karpenter.sh/capacity-type': 'on-demand'}
        claim = self.api.call(CLAIMS, 'POST', {'apiVersion': 'karpenter.sh/v1', 'kind': 'NodeClaim', 'metadata': {'name': name, 'labels': labels}, 'spec': {
            'nodeClassRef': NODE_CLASS, 'requirements': [requirement('node.kubernetes.io/instance-type', TYPE)]}})
        counts = self.counts() if is_open else {}
        self.api.call('/api/v1/nodes', 'POST', {
            'metadata': {'name': name, 'labels': labels, 'annotations': self.template.get('annotations', {}), 'ownerReferences': [
                {'apiVersion': 'karpenter.sh/v1', 'kind': 'NodeClaim', 'name': name, 'uid': claim['metadata']['uid']}]},
            'spec': {'taints': [] if is_open else [STARTUP]},
            'status': {'capacity': counts, 'allocatable': counts, 'conditions': self.conditions(), 'images': IMAGES}})

    @staticmethod
    def counts():
        return {'cpu': '48', 'memory': '192Gi', 'pods': '234', GPU: '0', SHARED: '16'}

    @staticmethod
    def conditions():
        now = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())
        return [{'type': kind, 'status': status, 'lastHeartbeatTime': now, 'lastTransitionTime': '2026-01-01T00:00:00Z', 'reason': 'KubeletHasNoReason',
                 'message': 'kubelet says so'} for kind, status in (('MemoryPressure', 'False'), ('DiskPressure', 'False'), ('PIDPressure', 'False'), ('Ready', 'True'),
                                                                    ('GPUSlicesReady', 'True'))]

    def beat(self, seconds):
        """Heartbeats of all, evenly; returns how many."""
        started, n, pause = time.monotonic(), 0, threading.Event()
        while (due := n * HEARTBEAT_S / len(self.names)) < seconds:
            pause.wait(max(0, started + due - time.monotonic()))
            self.patch(self.names[n % len(self.names)], {'conditions': self.conditions()})
            n += 1
        pause.wait(max(0, started + seconds - time.monotonic()))
        return n

    def patch(self, name, status):
        self.api.call(f'/api/v1/nodes/{name}/status', 'PATCH', {'status': status}, 'application/strategic-merge-patch+json')

    def advertise(self, names):
        list(self.pool.map(lambda name: self.patch(name, {'capacity': self.counts(), 'allocatable': self.counts()}), names))

    def n_closed(self):
        """Nodes with the startup taint, by their resource version: it is read once, and then followed."""
        nodes = self.api.call('/api/v1/nodes?resourceVersion=0')['items']
        return sum(any(taint['key'] == STARTUP['key'] for taint in node['spec'].get('taints', ())) for node in nodes)


class Report:
    def __init__(self, pipe, audit, controller):
        self.pipe, self.audit, self.controller, self.last = pipe, audit, controller, (0, 0, 0)
        print(f'{"":34}{"s":>7}{"calls":>8}{"KiB sent":>10}{"KiB read":>10}{"CPU ms":>8}{"MiB":>7}{"most":>7}   calls')

    def row(self, name, seconds):
        now = self.pipe.sent, self.pipe.received, self.controller.cpu_s()
        calls = self.audit.calls()
        sent, received, cpu = (a - b for a, b in zip(now, self.last))
        self.last = now
        resident, most = self.controller.memory_mib()
        print(f'{name:34}{seconds:7.1f}{sum(calls.values()):8}{sent / 1024:10.1f}{received / 1024:10.1f}{cpu * 1000:8.0f}{resident:7.1f}{most:7.1f}   '
              + ', '.join(f'{count} {what}' for what, count in calls.most_common()), flush=True)
        return calls


def bring_up(plane, folder):
    (folder / 'audit.yaml').write_text(yaml.safe_dump(AUDIT))
    plane.server.argv += [f'--audit-policy-file={folder}/audit.yaml', f'--audit-log-path={folder}/audit.log', '--audit-log-maxsize=4000']
    plane.up()
    crds = module_folder(Karpenter.crds[0], 'go') / Karpenter.crds[2][0]
    plane.kubectl('apply', '--server-side', '-f', ROOT / 'deploy/helm/gpuslice/sliceprofiles.yaml', '-f', crds)
    plane.await_kinds()
    plane.api.call('/api/v1/namespaces', 'POST', {'metadata': {'name': NAMESPACE}})
    plane.api.patience = 120
    bed.wait('default', lambda: plane.api.find('/api/v1/namespaces/default'))  # where events of nodes go


def measure(plane, folder, n_nodes, idle_s, burst):
    fleet, pipe, audit = Fleet(plane), Pipe(PORT), Audit(folder / 'audit.log')
    began = time.monotonic()
    fleet.create(n_nodes, True)
    print(f'\ngpuslice-controller with {n_nodes} sliced nodes, made in {time.monotonic() - began:.0f} s; a Node is '
          f"{len(json.dumps(plane.api.call(f'/api/v1/nodes/{PROFILE}-0'))) / 1024:.1f} KiB\n")
    controller, began = Controller(folder, pipe, plane), time.monotonic()
    report = Report(pipe, audit, controller)
    try:
        bed.wait('a leader', lambda: plane.api.find(f'/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/fleet'), 60)
        await_quiet(pipe)
        report.row('start, until nothing more is read', time.monotonic() - began)
        began = time.monotonic()
        beats = fleet.beat(idle_s)
        report.row(f'idle, {beats} heartbeats', time.monotonic() - began)
        began = time.monotonic()
        names = fleet.create(burst, False)
        fleet.advertise(names)
        opened = True
        try:
            bed.wait('open nodes', lambda: not fleet.n_closed(), PATIENCE_S)
        except bed.BedError:
            opened = False
        report.row(f'{burst} nodes more{"" if opened else ", none opened"}', time.monotonic() - began)
        began = time.monotonic()
        beats = fleet.beat(idle_s)
        report.row(f'idle again, {beats} heartbeats', time.monotonic() - began)
    finally:
        controller.process.terminate()
        controller.process.wait(30)
    return opened


def await_quiet(pipe, seconds=3):
    """Little but the Lease was read for so long."""
    pause, deadline = threading.Event(), time.monotonic() + 120
    while time.monotonic() < deadline:
        before = pipe.received
        pause.wait(seconds)
        if 0 < before and pipe.received - before < QUIET_BYTES * seconds:
            return


def bench_fleet(n_nodes=5000, idle_s=60, burst=BURST):
    if not (programs.BIN / 'kube-apiserver').exists():
        print('\ngpuslice-controller with many nodes: left out, `make bed` was not run')
        return
    with tempfile.TemporaryDirectory(prefix='gpuslice-bench-') as name:
        plane = bed.ControlPlane(Path(name, 'plane'), PORT)
        try:
            bring_up(plane, Path(name))
            measure(plane, Path(name), n_nodes, idle_s, burst)
        finally:
            plane.down()


if __name__ == '__main__':
    bench_fleet(*map(int, sys.argv[1:4]))
