# SPDX-License-Identifier: Apache-2.0
"""A node as clouds have it, in an emulated machine: Debian's kernel, systemd as init, cgroup v2 alone, containerd 2 and a kubelet, both with
systemd's cgroup driver. The control plane is on this machine.

The machine is QEMU without KVM: ten times slower than its host, and more when others compute. Its root is made by debootstrap, once
(build-tools/e2e/emulated/root.img), and what a run writes there is dropped. A second disk has our programs and images, made for each run; it
is mounted under the path that its folder has here, so that settings and values of the chart name the same files on both sides.

A root shell on a serial port of QEMU's takes commands. The network is QEMU's too: 10.0.2.2 is this machine's loopback."""
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import yaml

import daemons
import pki
import programs
from agents import BUILD, ChartAgent, Machine
from bed import SERVICE, ControlPlane
from cluster import DEFAULT, Cluster
from daemons import BedError, Program, quiet, wait
from realnode import filled

FOLDER = programs.FOLDER / 'emulated'
SLOWNESS = 20           # what takes a second here may take so many there
MEMORY_MIB = 2560
KUBELET_PORT = 26650
PATIENCE_S = 1200        # with one command
RUN = Path('/run/bed')  # in the machine

# In the machine's root, besides Debian's minimum. The last four are libraries of what runs there outside of containers.
PACKAGES = ['systemd-sysv', 'dbus', 'kmod', 'iproute2', 'busybox-static', 'linux-image-cloud-amd64', 'libseccomp2', 'libyaml-0-2', 'libjansson4', 'libuv1']
# What no case needs: hardware that comes and goes, logins, timers, mounts. Without these it is up in a third of the time.
LEFT_OUT = [f'{name}.service' for name in (
    'systemd-udevd', 'systemd-udev-trigger', 'systemd-logind', 'systemd-user-sessions', 'systemd-timesyncd', 'systemd-networkd', 'systemd-resolved',
    'systemd-modules-load', 'systemd-remount-fs', 'systemd-random-seed', 'systemd-update-utmp', 'systemd-update-utmp-runlevel', 'systemd-journal-flush',
    'systemd-sysusers', 'kmod-static-nodes', 'e2scrub_reap', *(f'modprobe@{one}' for one in ('configfs', 'dm_mod', 'drm', 'efi_pstore', 'fuse', 'loop')))]
LEFT_OUT += ['systemd-udevd-kernel.socket', 'systemd-udevd-control.socket', 'getty.target', 'dev-hugepages.mount', 'dev-mqueue.mount', 'sys-kernel-debug.mount',
             'sys-kernel-tracing.mount', 'sys-kernel-config.mount', 'sys-fs-fuse-connections.mount', 'apt-daily.timer', 'apt-daily-upgrade.timer',
             'dpkg-db-backup.timer', 'e2scrub_all.timer', 'fstrim.timer']
SHELL = '''
[Unit]
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sh -c 'modprobe -a virtio_console virtio_net virtio_rng overlay bridge veth; exec 0<>/dev/vport0p1 1>&0 2>&1; exec /bin/sh'
Restart=always
KillMode=process
'''
# containerd copies it for each pod, and does not start one without. Debian's installer writes it, not debootstrap.
HOSTS = '127.0.0.1 localhost emulated\n'
KERNEL = ('rw quiet console=ttyS0 net.ifnames=0 mitigations=off audit=0 cryptomgr.notests systemd.show_status=0 '
          'systemd.default_timeout_start_sec=900')
# The first program: from the kernel's archive to the disk. {modules} are paths of a kernel's modules.
INIT = '''#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod "$module"; done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /sbin/init
'''


def missing():
    """What this machine lacks, in words; None when it has all."""
    if os.geteuid():
        return 'the root of the emulated machine is made by root'
    lacks = [name for name in ('qemu-system-x86_64', 'debootstrap', 'mke2fs') if not shutil.which(name)]
    return f"no {', '.join(lacks)} here" if lacks else None


# --- the root, made once ---

def mirror():
    """Where this machine has its Debian 12 from."""
    sites = quiet('apt-get', 'indextargets', '--format', '$(SITE) $(CODENAME) $(COMPONENT)', 'Created-By: Packages').stdout
    found = [line.split()[0] for line in sites.splitlines() if line.split()[1:] == ['bookworm', 'main']]
    return found[0] if found else 'http://deb.debian.org/debian'


def make_root(say=print):
    """root.img, kernel and initrd."""
    inputs = programs.fingerprint(PACKAGES, LEFT_OUT, SHELL, HOSTS, INIT)
    image = FOLDER / 'root.img'
    if programs.is_made(image, inputs):
        return
    say('making the emulated machine, minutes, once')
    root = FOLDER / 'root'
    quiet('rm', '-rf', '--one-file-system', root)
    FOLDER.mkdir(parents=True, exist_ok=True)
    done = quiet('debootstrap', '--variant=minbase', f"--include={','.join(PACKAGES)}", 'bookworm', root, mirror())
    if done.returncode:
        raise BedError(f'no Debian to be had: {(done.stdout + done.stderr).splitlines()[-1]}')
    furnish(root)
    make_initrd(root)
    make_disk(image, root, '1500M')
    quiet('rm', '-rf', '--one-file-system', root)
    programs.made(image, inputs)


def furnish(root):
    units = root / 'etc/systemd/system'
    (units / 'multi-user.target.wants').mkdir(exist_ok=True)
    (units / 'shell.service').write_text(SHELL)
    (units / 'multi-user.target.wants/shell.service').symlink_to('../shell.service')
    for name in LEFT_OUT:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to('/dev/null')
    (root / 'etc/hostname').write_text('emulated\n')
    (root / 'etc/hosts').write_text(HOSTS)


def make_initrd(root):
    """Debian's looks for every hardware there is, which takes longer here than all the rest."""
    [version] = [one.name for one in (root / 'lib/modules').iterdir()]
    shutil.copy(root / f'boot/vmlinuz-{version}', FOLDER / 'vmlinuz')
    listed = subprocess.check_output(['chroot', root, 'modprobe', '-S', version, '-a', '--show-depends', 'virtio_pci', 'virtio_blk'], text=True)
    modules = dict.fromkeys(re.findall(r'^insmod (\S+)', listed, re.M))
    first = FOLDER / 'initrd.d'
    shutil.rmtree(first, ignore_errors=True)
    for name in 'bin', 'dev', 'root':
        (first / name).mkdir(parents=True)
    shutil.copy(root / 'bin/busybox', first / 'bin')
    for module in modules:
        shutil.copy(f'{root}{module}', first)
    (first / 'init').write_text(INIT.format(modules=' '.join(f'/{Path(one).name}' for one in modules)))
    (first / 'init').chmod(0o755)
    with open(FOLDER / 'initrd', 'wb') as archive:
        subprocess.run([root / 'bin/busybox', 'sh', '-c', f'find . | {root}/bin/busybox cpio -o -H newc'], cwd=first, stdout=archive, check=True)
    shutil.rmtree(first)


def make_disk(image, folder, size):
    image.unlink(missing_ok=True)
    subprocess.run(['mke2fs', '-q', '-t', 'ext4', '-O', '^has_journal', '-d', folder, image, size], check=True, stdin=subprocess.DEVNULL)


# --- the machine ---

class Shell:
    """As root, in the machine."""

    def __init__(self, path):
        self.path, self.n, self.socket = path, 0, None

    def connect(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(self.path))

    def close(self):
        self.socket.close()
        self.socket = None

    def run(self, command, check=True, timeout=PATIENCE_S):
        """What it prints."""
        self.n += 1
        self.socket.settimeout(timeout)
        self.socket.sendall(f'( {command}\n) </dev/null 2>&1; echo; echo "ended {self.n} $?"\n'.encode())
        said = b''
        while not (end := re.search(rb'\nended %d (\d+)\n' % self.n, said)):
            try:
                piece = self.socket.recv(65536)
            except TimeoutError:
                raise BedError(f'the emulated machine took longer than {timeout} s for: {command}\n{said.decode()}') from None
            if not piece:
                raise BedError('the emulated machine has ended')
            said += piece
        text = said[:end.start()].decode(errors='replace')
        if check and int(end[1]):
            raise BedError(f'in the emulated machine, {command}: status {int(end[1])}\n{text}')
        return text


class EmulatedMachine(Machine):
    """The simulated GPUs of the emulated machine."""

    def __init__(self, folder, shell):
        super().__init__(folder)
        self.shell = shell

    def sim(self, *arguments):
        variables = ' '.join(f'{name}={value}' for name, value in self.environment.items())
        return self.shell.run(f"env {variables} {FOLDER}/goods/usr/bin/gpuslice-sim {' '.join(map(str, arguments))}")

    def share(self):
        self.sim('state')
        self.shell.run(f"cd {self.folder}/state && touch machine machine.clients && chmod 666 machine machine.clients")


class EmulatedBed(ControlPlane):
    def __init__(self):
        super().__init__(FOLDER, 26643)
        self.goods, self.shell = FOLDER / 'goods', Shell(FOLDER / 'shell')
        self.machine = None  # of GPUs
        disks = [word for name in ('root', 'goods') for word in ('-drive', f'file={FOLDER}/{name}.img,if=virtio,format=raw,snapshot=on,cache=unsafe')]
        self.computer = Program(
            FOLDER, 'computer', shutil.which('qemu-system-x86_64') or 'qemu-system-x86_64', '-accel', 'tcg,thread=multi', '-smp', 2, '-m', MEMORY_MIB,
            '-nodefaults', '-display', 'none', '-no-reboot', '-serial', f'file:{FOLDER}/console.log', '-kernel', FOLDER / 'vmlinuz',
            '-initrd', FOLDER / 'initrd', '-append', KERNEL, *disks,
            '-device', 'virtio-serial-pci', '-chardev', f'socket,id=shell,path={self.shell.path},server=on,wait=off',
            '-device', 'virtserialport,chardev=shell,name=shell', '-device', 'virtio-rng-pci', '-device', 'virtio-net-pci,netdev=net,romfile=',
            '-netdev', f'user,id=net,hostfwd=tcp:127.0.0.1:{KUBELET_PORT}-:{KUBELET_PORT}')
        self.programs = [self.computer, *self.programs]

    def ports(self):
        return [*super().ports(), KUBELET_PORT]

    # --- up and down ---

    def up(self, images):
        self.down()
        daemons.slowness = SLOWNESS  # also of what shares this machine with it
        try:
            self.start()
            self.pack(images)
            self.computer.start()
            self.await_server()
            self.controllers.start()
            self.scheduler.start()
            self.await_('the console', self.shell.path.exists, 30)
            self.shell.connect()
            self.shell.run('true')
            self.begin_node()
            self.await_('the default service account', self.has_default_account)
            self.await_('the node to be Ready', self.is_ready)
        except BaseException:
            self.down()
            raise
        return self

    def down(self):
        self.keep_journal()
        daemons.slowness = 1
        self.computer.kill()
        super().down()
        for name in 'goods', 'goods.img', 'shell':
            quiet('rm', '-rf', '--one-file-system', FOLDER / name)

    def pack(self, images):
        """The disk with what is ours."""
        quiet('rm', '-rf', '--one-file-system', self.goods)
        debian = programs.runtime()
        files = {'usr/bin': [programs.BIN / 'kubelet', *(programs.BIN / 'containerd2').glob('containerd*'), f'{debian}/usr/bin/ctr', f'{debian}/usr/sbin/runc',
                             BUILD / 'sim/nvml/gpuslice-sim'],
                 'usr/lib/cni': [f'{debian}/usr/lib/cni/{name}' for name in ('bridge', 'host-local', 'loopback')],
                 'pki': [self.pki / name for name in ('ca.crt', 'kubelet.crt', 'kubelet.key')], 'images': [programs.PAUSE_IMAGE, *images]}
        for folder, sources in files.items():
            (self.goods / folder).mkdir(parents=True)
            for source in sources:
                shutil.copy(source, self.goods / folder)
        self.machine = EmulatedMachine(self.goods / 'machine', self.shell)
        variables = {'bed': self.goods, 'run': RUN, 'runtime': self.goods, 'bridge': 'pods', 'systemd_cgroup': 'true'}
        (self.goods / 'cni').mkdir()
        (self.goods / 'cni/10-bridge.conflist').write_text(filled('bridge.conflist', **variables))
        (self.goods / 'containerd.toml').write_text(filled('containerd2.toml', **variables))
        kubelet = yaml.safe_load(filled('kubelet.yaml', **variables))
        kubelet.update(address='0.0.0.0', port=KUBELET_PORT, cgroupDriver='systemd', failCgroupV1=True)
        del kubelet['nodeStatusUpdateFrequency']  # it is also how long the kubelet waits for the API server
        (self.goods / 'kubelet.json').write_text(json.dumps(kubelet))
        pki.kubeconfig(self.goods / 'node.kubeconfig', f'https://{SERVICE}', self.goods / 'pki/ca.crt', 'node-token')
        make_disk(FOLDER / 'goods.img', self.goods, '1G')

    def begin_node(self):
        run, goods = self.shell.run, self.goods
        run(f'mkdir -p {goods} {RUN} && mount /dev/vdb {goods} && ip address add 10.0.2.15/24 dev eth0 && ip link set eth0 up '
            f'&& ip route add default via 10.0.2.2 && ip address add {SERVICE}/32 dev lo')
        run(f'systemd-run --unit=api --socket-property=ListenStream={SERVICE}:443 /lib/systemd/systemd-socket-proxyd 10.0.2.2:{self.port}')
        path = f'--setenv=PATH={goods}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin'
        run(f'systemd-run --unit=containerd --property=Delegate=yes --property=KillMode=process {path} {goods}/usr/bin/containerd '
            f'--config {goods}/containerd.toml')
        ctr = f'{goods}/usr/bin/ctr --address {RUN}/containerd.sock --namespace k8s.io'
        run(f'until {ctr} version >/dev/null 2>&1; do sleep 1; done; for image in {goods}/images/*; do {ctr} images import $image || exit; done')
        run(f'systemd-run --unit=kubelet --property=Restart=always {path} {goods}/usr/bin/kubelet --config={goods}/kubelet.json '
            f'--kubeconfig={goods}/node.kubeconfig --hostname-override={self.node_name}')

    # --- the node ---

    def is_ready(self):
        node = self.api.find(f'/api/v1/nodes/{self.node_name}')
        return node and any(one['type'] == 'Ready' and one['status'] == 'True' for one in node['status'].get('conditions', ()))

    def keep_journal(self):
        """What the programs there said, beside console.log."""
        if self.shell.socket:
            with contextlib.suppress(BedError, OSError):
                (FOLDER / 'journal.log').write_text(self.shell.run('journalctl --no-pager --lines=2000', check=False, timeout=60))
            self.shell.close()


class EmulatedCluster(Cluster):
    def containers(self, namespace=DEFAULT):
        """As a Cluster's, without the environment."""
        found = {}
        for pod in self.pods(namespace):
            for one in (*pod['status'].get('containerStatuses', ()), *pod['status'].get('initContainerStatuses', ())):
                if 'running' in one['state']:
                    found[one['containerID'].rpartition('/')[2]] = pod['metadata']['name'], one['name']
        told = self.bed.shell.run(f"cd {RUN}/state/io.containerd.runtime.v2.task/k8s.io && for one in {' '.join(found)}; "
                                  'do echo $one $(cat $one/init.pid); done', check=False)
        return {found[name]: (int(pid), {}) for name, pid in re.findall(r'^([0-9a-f]{64}) (\d+)$', told, re.M)}

    def read_logs(self, folder, start='*'):
        return self.bed.shell.run(f'cat {self.bed.goods}/pod-logs/{folder}/{start}.log', check=False)

    def cgroup(self, pid):
        return self.bed.shell.run(f'cat /proc/{pid}/cgroup').strip()

    def kill(self, pid):
        self.bed.shell.run(f'kill -9 {pid}')


class EmulatedAgent(ChartAgent):
    def __init__(self, cluster):
        super().__init__(cluster, FOLDER)
        self.machine = cluster.bed.machine

    def status(self):
        """What `gpuslice top` shows, of the arbiter's own."""
        [pod] = [one['metadata']['name'] for one in self.agents() if one['spec']['containers'][0]['name'] == 'arbiter']
        return json.loads(self.cluster.kubectl('exec', '-n', 'kube-system', pod, '--', 'gpuslice', 'top', '--json'))
