# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes cluster on this machine's loopback, for tests.

    tests/e2e/bed build     builds or fetches what is missing (minutes, once); `build node` without what few tests need
    tests/e2e/bed up        one control plane and one real node; CONTAINERD=2 for containerd 2
    tests/e2e/bed down      ends them, also those of a run that died
    tests/e2e/bed env       prints what a shell needs: eval "$(tests/e2e/bed env)"

`ControlPlane(folder, port)` is etcd and the API server, and on demand the controllers and the scheduler; any number
of them may run beside each other. `Bed()` adds containerd and a kubelet: one for each machine, since the kubelet's
device plugin folder has a fixed place; `Bed().second` is another one, for which other folders are in the fixed places. Everything is below build-tools/e2e but for /var/lib/kubelet, a bridge, one
address on `lo` and the kubepods cgroups, and all of that goes with `down`.
"""
import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pki
import programs
from api import Api, Refused
from daemons import BedError, Program, end_all, has_ended, quiet, wait  # noqa: F401  (some for those who import them from here)
from realnode import CDI, CGROUPS, GRANTS, HERE, KUBELET_ROOT, STATE, RealNode
from secondnode import SecondNode

PLUGINS = KUBELET_ROOT / 'device-plugins'
MARK = KUBELET_ROOT / '.gpuslice-bed'  # the folder is a bed's: names that bed's folder
LOCK = Path('/tmp/bed.lock')
SERVICE = '10.96.0.1'                  # the API server, as pods call it
BRIDGE = 'gpuslice0'


class ControlPlane:
    """etcd and kube-apiserver on `port` and the ports after it, with RBAC, the Node authorizer and NodeRestriction. A port
    below 32768, so that the kernel does not give it to an outgoing connection."""

    def __init__(self, folder, port, node='localhost'):
        self.folder, self.port, self.node_name = Path(folder).resolve(), port, node
        self.pki = self.folder / 'pki'
        self.kubeconfig = self.folder / 'admin.kubeconfig'
        self.address = f'https://127.0.0.1:{port}'
        self.api = Api(port, self.pki / 'ca.crt')
        client, peer = (f'http://127.0.0.1:{port + n}' for n in (1, 2))
        self.etcd = Program(
            self.folder, 'etcd', programs.BIN / 'etcd', '--name=bed', f'--data-dir={self.folder}/etcd', '--unsafe-no-fsync',
            f'--listen-client-urls={client}', f'--advertise-client-urls={client}', f'--listen-peer-urls={peer}',
            f'--initial-advertise-peer-urls={peer}', f'--initial-cluster=bed={peer}', '--logger=zap')
        keys = self.pki
        self.server = Program(
            self.folder, 'kube-apiserver', programs.BIN / 'kube-apiserver', f'--etcd-servers={client}',
            '--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', f'--secure-port={port}',
            '--endpoint-reconciler-type=none', '--service-cluster-ip-range=10.96.0.0/16', '--allow-privileged',
            f'--tls-cert-file={keys}/apiserver.crt', f'--tls-private-key-file={keys}/apiserver.key',
            f'--client-ca-file={keys}/ca.crt', f'--token-auth-file={keys}/tokens.csv', '--anonymous-auth=false',
            '--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction',
            '--service-account-issuer=https://kubernetes.default.svc', f'--service-account-key-file={keys}/sa.pub',
            f'--service-account-signing-key-file={keys}/sa.key', f'--kubelet-certificate-authority={keys}/ca.crt',
            f'--kubelet-client-certificate={keys}/apiclient.crt', f'--kubelet-client-key={keys}/apiclient.key',
            '--kubelet-preferred-address-types=Hostname', '--profiling=false')
        # With the usual limits on queries the controllers wait for each other, 8 s instead of 3, and the scheduler in a burst.
        self.controllers = Program(
            self.folder, 'kube-controller-manager', programs.BIN / 'kube-controller-manager',
            f'--kubeconfig={self.folder}/controllers.kubeconfig', '--bind-address=127.0.0.1', f'--secure-port={port + 3}',
            '--leader-elect=false', f'--service-account-private-key-file={keys}/sa.key', f'--root-ca-file={keys}/ca.crt',
            '--use-service-account-credentials=true', '--kube-api-qps=500', '--kube-api-burst=1000', '--profiling=false')
        self.scheduler = Program(
            self.folder, 'kube-scheduler', programs.BIN / 'kube-scheduler', f'--kubeconfig={self.folder}/scheduler.kubeconfig',
            '--bind-address=127.0.0.1', f'--secure-port={port + 4}', '--leader-elect=false', '--kube-api-qps=500', '--kube-api-burst=1000',
            '--profiling=false')
        self.programs = [self.scheduler, self.controllers, self.server, self.etcd]  # as they are ended

    def up(self, controllers=False, scheduler=False, keep=()):
        """Up, and answering. `keep`: file descriptors that etcd holds open."""
        self.down()
        self.start(keep)
        self.await_server()
        if controllers:
            self.controllers.start()
        if scheduler:
            self.scheduler.start()
        if controllers:
            self.await_('the default service account', self.has_default_account)
        return self

    def start(self, keep=()):
        self.check_ports()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / 'etcd').mkdir(mode=0o700)
        pki.make(self.pki, self.node_name)
        for who in pki.USERS:
            pki.kubeconfig(self.folder / f'{who}.kubeconfig', self.address, self.pki / 'ca.crt', f'{who}-token')
        self.etcd.start(keep)
        self.server.start()

    def ports(self):
        return range(self.port, self.port + 5)

    def check_ports(self):
        for port in self.ports():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(('127.0.0.1', port))
                except OSError as error:
                    raise BedError(f'port {port} of 127.0.0.1 is taken, and the bed needs it') from error

    def await_(self, what, found, timeout=60):
        """As wait(), and says which program died meanwhile."""
        try:
            return wait(what, found, timeout)
        except BedError as error:
            died = [one for one in self.programs if one.pidfile.exists() and not one.pid]
            raise BedError(f'{error}' + ''.join(f'\n{one.name} has ended:\n{one.tail()}' for one in died)) from error

    def answers(self, path='/readyz'):
        try:
            self.api.call(path)
            return True
        except (OSError, Refused):
            return False

    def has_default_account(self):
        return self.api.find('/api/v1/namespaces/default/serviceaccounts/default')

    def await_server(self):
        self.await_('the API server', self.answers)

    def server_start(self):
        self.server.start()
        self.await_server()

    def await_kinds(self):
        """Until the API server serves every CRD. `kubectl wait` fails on one that has no condition yet."""
        def served():
            every = self.api.call('/apis/apiextensions.k8s.io/v1/customresourcedefinitions')['items']
            return all({'Established': 'True'}.items() <= {one['type']: one['status'] for one in crd.get('status', {}).get('conditions') or []}.items()
                       for crd in every)
        wait('the CRDs', served, 60)

    def kubectl(self, *arguments, stdin=None):
        done = subprocess.run([programs.clients() / 'kubectl', *map(str, arguments)], input=stdin, text=True,
                              capture_output=True, env=dict(os.environ, KUBECONFIG=str(self.kubeconfig)))
        if done.returncode:
            raise BedError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def down(self):
        for one in self.programs:
            one.kill() if one in (self.etcd, self.server) else one.end()
        shutil.rmtree(self.folder / 'etcd', ignore_errors=True)


class Bed(ControlPlane, RealNode):
    """A control plane and one real node."""

    def __init__(self, folder=programs.FOLDER / 'node', port=6443, containerd=os.environ.get('CONTAINERD', '1')):
        super().__init__(folder, port)
        # The name resolves to loopback on every machine, so that `kubectl logs` finds the kubelet.
        self.define_node(self.folder, self.folder / 'containerd-run', containerd)
        self.kubelet = self.define_kubelet(self.folder / 'kubelet.yaml', self.folder / 'node.kubeconfig')
        self.shared = self.folder / 'shared'       # a shared mount, as every mount is under systemd
        self.proxy = Program(self.folder, 'proxy', '/usr/bin/python3', HERE / 'faultproxy.py', '--listen', f'{SERVICE}:443',
                             '--to', f'127.0.0.1:{port}', '--control', self.folder / 'proxy.sock')
        self.programs = [self.kubelet, self.proxy, *self.programs]
        self.second = SecondNode(self)
        self.lock = None

    # --- up and down ---

    def up(self, images=(), keep_lock=False):
        self.acquire()
        try:
            self.clean()
            self.claim()
            self.start((self.lock.fileno(),) if keep_lock else ())
            self.start_containerd()
            self.import_images(programs.PAUSE_IMAGE, *images)
            self.await_server()
            self.controllers.start()
            self.scheduler.start()
            quiet('ip', 'address', 'add', f'{SERVICE}/32', 'dev', 'lo')
            self.proxy.start()
            self.start_kubelet()
            self.await_('the default service account', self.has_default_account)
            self.await_('the node to be Ready', self.is_ready)
        except BaseException:
            self.down()
            raise
        return self

    def acquire(self):
        """Two beds on one machine wait for each other."""
        if self.lock:
            return
        self.lock = open(LOCK, 'a')
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        print(f'bed: another one is up on this machine ({LOCK}); waiting', file=sys.stderr, flush=True)
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def clean(self):
        """What an earlier run left that could not end in good order, from whatever folder it ran."""
        if MARK.exists():
            earlier = Path(MARK.read_text().strip())
            Bed(earlier, containerd='1').dismantle()
            Bed(earlier, containerd='2').dismantle()
        self.dismantle()

    def end_from_outside(self):
        """Of `tests/e2e/bed down`. Another checkout's bed is left alone as long as somebody holds it."""
        foreign = MARK.exists() and Path(MARK.read_text().strip()) != self.folder
        if foreign:
            with open(LOCK, 'a') as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise BedError(f'the bed on this machine is that of {MARK.read_text().strip()}, and in use') from None
                self.clean()
        else:
            self.clean()

    def claim(self):
        if os.geteuid() != 0:
            raise BedError('a kubelet runs as root: so must the bed')
        if KUBELET_ROOT.exists() and any(KUBELET_ROOT.iterdir()):
            raise BedError(f'{KUBELET_ROOT} is in use: this machine is a node, or was one. The bed would remove it')
        if (Path('/sys/class/net') / BRIDGE).exists():
            raise BedError(f'there is an interface {BRIDGE} that is not the bed\'s')
        for folder in (CDI, STATE):
            if folder.exists() and any(folder.iterdir()):
                raise BedError(f'{folder} is in use: this machine is a GPU node. The bed would remove it')
        quiet('rm', '-rf', '--one-file-system', GRANTS)  # of no use where there is no kubelet
        KUBELET_ROOT.mkdir(exist_ok=True)
        MARK.write_text(str(self.folder))
        self.shared.mkdir(parents=True, exist_ok=True)
        quiet('mount', '--bind', self.shared, self.shared)
        quiet('mount', '--make-rshared', self.shared)
        for name in ('kubelet.yaml', 'containerd.toml', 'containerd2.toml', 'bridge.conflist'):
            target = self.folder / ('cni/10-bridge.conflist' if name == 'bridge.conflist' else name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(self.settings(name, bridge=BRIDGE))

    def ports(self):
        return [*super().ports(), 10248, 10250]

    def down(self):
        self.dismantle()
        if self.lock:
            self.lock.close()
            self.lock = None

    def dismantle(self):
        self.second.down()
        self.kubelet.end()
        self.end_containers()
        self.containerd.end()
        ControlPlane.down(self)
        self.unmount(self.folder)
        quiet('ip', 'address', 'del', f'{SERVICE}/32', 'dev', 'lo')
        if MARK.exists():
            quiet('ip', 'link', 'del', BRIDGE)
            self.unmount(KUBELET_ROOT)
            quiet('rm', '-rf', '--one-file-system', CDI, STATE, GRANTS, KUBELET_ROOT)  # the mark goes last
        for name in ('containerd-run', 'containerd-root', 'shared', 'cni', 'cni-state', 'pod-logs', 'devices'):
            quiet('rm', '-rf', '--one-file-system', self.folder / name)
        for link in Path('/var/log/containers').glob('*.log'):
            if str(self.folder) in os.readlink(link):
                link.unlink()
        for group in Path('/sys/fs/cgroup').glob('**/kubepods') if self.folder.exists() else []:
            quiet('find', group, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';')

    # --- the node ---

    def is_ready(self):
        node = self.api.find(f'/api/v1/nodes/{self.node_name}')
        return node and any(one['type'] == 'Ready' and one['status'] == 'True' for one in node['status'].get('conditions', ()))

    @staticmethod
    def cgroups():
        return CGROUPS.glob('*/kubepods') if MARK.exists() else []

    def check(self):
        """Every program runs. One that ended is started again, so that it fails one test and not all that follow."""
        died = [one for one in [self.containerd, *reversed(self.programs)] if not one.pid]
        for one in died:
            one.start()
        if died:
            raise BedError(''.join(f'{one.name} had ended, and is started again:\n{one.tail()}\n' for one in died))

    def reboot(self, meanwhile=lambda: None):
        """As when the power failed: everything is gone at once, and with it what lives in /run; disks keep theirs. `meanwhile` is
        called while nothing runs."""
        self.kubelet.kill()
        self.containerd.kill()
        self.end_containers()
        self.unmount(self.run)
        self.unmount(KUBELET_ROOT / 'pods')
        for folder in (self.run, CDI, STATE):
            quiet('rm', '-rf', '--one-file-system', folder)
        meanwhile()
        self.start_containerd()
        self.start_kubelet()

    @staticmethod
    def unmount(below):
        for _ in range(3):  # the kubelet mounts its folder on itself, once for each start
            points = [line.split()[1] for line in Path('/proc/mounts').read_text().splitlines()]
            for point in sorted((one for one in points if Path(one).is_relative_to(below)), reverse=True):
                quiet('umount', '--lazy', point)


def main():
    verb, *parts = sys.argv[1:] or ['']
    if parts and (verb != 'build' or not set(parts) <= set(programs.PARTS)):
        sys.exit(__doc__)
    bed = Bed()
    started = time.monotonic()
    try:
        if verb == 'build':
            programs.build(*([parts] if parts else []))
        elif verb == 'up':
            bed.up(keep_lock=True)
            print(f'bed: up after {time.monotonic() - started:.1f} s; eval "$({sys.argv[0]} env)" for kubectl')
        elif verb == 'down':
            bed.end_from_outside()
        elif verb == 'env':
            print(f"export KUBECONFIG={bed.kubeconfig} PATH={programs.clients()}:{programs.BIN}:$PATH")
        else:
            sys.exit(__doc__)
    except BedError as error:
        sys.exit(f'bed: {error}')
