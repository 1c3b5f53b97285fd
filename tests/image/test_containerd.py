# SPDX-License-Identifier: Apache-2.0
"""The archive in a real containerd of our own: imported by its name, run as the chart runs it."""
import os
import shutil
import subprocess
import time

import pytest

from conftest import BUILD, NAME, PLAN, ROOT

CONFIG = '''
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/containerd.sock"
'''
CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'MKNOD', 'NET_RAW', 'SETGID', 'SETUID', 'SETFCAP', 'SETPCAP',
                'NET_BIND_SERVICE', 'SYS_CHROOT', 'KILL', 'AUDIT_WRITE']


class Containerd:
    def __init__(self, folder, programs):
        self.folder, self.programs = folder, programs
        (folder / 'config.toml').write_text(CONFIG.format(folder=folder))
        with open(folder / 'log', 'wb') as log:
            self.process = subprocess.Popen([self.program('containerd'), '-c', folder / 'config.toml'], stdout=log, stderr=log,
                                            env={**os.environ, 'PATH': f'{programs}:{os.environ["PATH"]}'})
        deadline = time.monotonic() + 30
        while self.ctr('version', check=False).returncode:
            assert self.process.poll() is None and time.monotonic() < deadline, (folder / 'log').read_text()[-2000:]
            time.sleep(0.05)  # it says nothing when it is ready

    def program(self, name):
        return shutil.which(name, path=self.programs)

    def ctr(self, *words, check=True):
        done = subprocess.run([self.program('ctr'), '--address', self.folder / 'containerd.sock', *map(str, words)], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, check=False, timeout=60)
        assert not check or done.returncode == 0, f'ctr {words}: {done.stdout}{done.stderr}'
        return done

    def run(self, image, *words, options=(), check=True):
        """As deploy/helm runs it: no capability, no new privileges, nothing writable."""
        drops = [f'--cap-drop=CAP_{name}' for name in CAPABILITIES]
        return self.ctr('run', '--rm', '--read-only', *drops, *options, image, 'test', *words, check=check)

    def end(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope='module')
def containerd(folder):
    if os.getuid():
        pytest.skip('containerd needs root')
    found = subprocess.run([ROOT / 'tools/containerd'], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=600)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    place = folder / 'containerd'
    place.mkdir()
    root = found.stdout.strip().rstrip('/')
    made = Containerd(place, f'{root}/usr/bin:{root}/usr/sbin')
    yield made
    made.end()


@pytest.fixture(scope='module')
def image(containerd, archive):
    containerd.ctr('images', 'import', archive.path)
    return f'{NAME}:{archive.version}'


def test_it_gets_the_name_that_kubernetes_looks_for(containerd, image):
    assert image in containerd.ctr('images', 'list', '--quiet').stdout.split()
    assert 'complete' in containerd.ctr('images', 'check', f'name=={image}').stdout


def test_it_runs_with_nothing_allowed(containerd, image, archive):
    done = containerd.run(image, '/usr/bin/gpuslice-node', '--version')
    assert done.stdout == f'gpuslice-node {archive.version}\n'


def test_plan_with_the_driver_mounted_in(containerd, image, folder):
    (folder / 'plan.yaml').write_text(PLAN)
    mounts = {BUILD / 'sim/nvml/libnvidia-ml.so.1': '/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1',
              ROOT / 'sim/machines': '/run', folder / 'plan.yaml': '/etc/plan.yaml'}
    options = ['--env=GPUSLICE_MACHINE=/run/p3.8xlarge.yaml', '--mount=type=tmpfs,dst=/tmp',
               '--env=GPUSLICE_SIM_STATE=/tmp/state', '--env=GPUSLICE_CATALOG=/usr/share/gpuslice/catalog',
               *(f'--mount=type=bind,src={source},dst={target},options=bind:ro' for source, target in mounts.items())]
    done = containerd.run(image, '/usr/bin/gpuslice', 'plan', '--node', '/etc/plan.yaml', options=options)
    assert 'nvidia.com/gpu' in done.stdout and '16' in done.stdout
