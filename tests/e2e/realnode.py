# SPDX-License-Identifier: Apache-2.0
"""What makes a node of this machine: containerd and a kubelet."""
import contextlib
import os
import time
import urllib.request
from pathlib import Path
from string import Template

import programs
from daemons import BedError, Program, end_all, processes, quiet, read_or_empty

HERE = Path(__file__).resolve().parent
CGROUPS = Path('/sys/fs/cgroup')
KUBELET_ROOT = Path('/var/lib/kubelet')
CDI = Path('/run/cdi')                 # where every runtime looks
STATE = Path('/run/gpuslice')          # of the agent
GRANTS = Path('/var/lib/gpuslice')     # of the agent, kept over reboots


def filled(name, **variables):
    """A file of node/."""
    return Template((HERE / 'node' / name).read_text()).substitute({'cdi': CDI, 'systemd_cgroup': 'false', **variables})


class RealNode:
    """Its files are below `folder`, and what a reboot empties below `run`. Who inherits this says how to await_ something, and which
    cgroups() its pods are below."""
    health_port = 10248  # of the kubelet

    def define_node(self, folder, run, containerd):
        self.node_folder, self.run, self.major = folder, run, containerd
        self.socket = run / 'containerd.sock'
        self.runtime = programs.runtime()
        debian, is_new = Path(f'{self.runtime}/usr/bin'), containerd == '2'
        self.ctr_program = debian / 'ctr'
        self.containerd = Program(
            folder, 'containerd', (programs.BIN / 'containerd2' if is_new else debian) / 'containerd',
            '--config', folder / f"containerd{'2' if is_new else ''}.toml",
            path=f"{f'{programs.BIN}/containerd2:' if is_new else ''}{debian}:{self.runtime}/usr/sbin:")

    def define_kubelet(self, config, kubeconfig):
        return Program(self.node_folder, 'kubelet', programs.BIN / 'kubelet', f'--config={config}', f'--kubeconfig={kubeconfig}',
                       f'--hostname-override={self.node_name}', '--v=2')

    def settings(self, name, **variables):
        """A file of node/, filled in."""
        return filled(name, **{'bed': self.node_folder, 'run': self.run, 'runtime': self.runtime, **variables})

    def start_containerd(self):
        self.run.mkdir(parents=True, exist_ok=True)
        self.containerd.start()
        self.await_('containerd', lambda: self.ctr('version', check=False) is not None, 30)

    def start_kubelet(self):
        """A kubelet ends when containerd answers, but not yet for the CRI. systemd starts it again, and so do we."""
        def is_up():
            if not self.kubelet.pid:
                self.kubelet.start()
            address = f'http://127.0.0.1:{self.health_port}/healthz'
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
                return answer.status == 200
        self.await_('the kubelet', is_up)

    def restart_containerd(self):
        self.containerd.end()
        self.start_containerd()

    def ctr(self, *words, check=True):
        """Standard output; None when it failed and that is no error."""
        done = quiet(self.ctr_program, '--address', self.socket, '--namespace', 'k8s.io', *words)
        if done.returncode and check:
            raise BedError(f"ctr {' '.join(map(str, words))}: {done.stderr}")
        return None if done.returncode else done.stdout

    def import_images(self, *archives):
        for archive in archives:
            self.ctr('images', 'import', archive)

    def end_containers(self):
        """Every container of this containerd and its shims, without asking it."""
        end_all(processes('-address', str(self.socket)))
        for _ in range(100):
            # os.walk passes over a group that went meanwhile.
            left = {int(pid) for group in self.cgroups() for folder, _, _ in os.walk(group)
                    for pid in read_or_empty(Path(folder, 'cgroup.procs')).split()}
            if not left:
                return
            end_all(left)
            time.sleep(0.02)
