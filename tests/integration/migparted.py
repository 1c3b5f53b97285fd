# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's mig-parted, unmodified, on a simulated machine, and the same layouts by our own `gpuslice mig apply`."""
import collections
import json
import os
import subprocess

import pytest

import foreign

CONFIG = """version: v1
mig-configs:
  all-disabled: [{devices: all, mig-enabled: false}]
  all-1g.5gb: [{devices: all, mig-enabled: true, mig-devices: {"1g.5gb": 7}}]
  all-balanced: [{devices: all, mig-enabled: true, mig-devices: {"1g.5gb": 2, "2g.10gb": 1, "3g.20gb": 1}}]
  some: [{devices: [0, 1], mig-enabled: true, mig-devices: {"3g.20gb": 2}}, {devices: [2, 3, 4, 5, 6, 7], mig-enabled: false}]
  parts: [{devices: all, mig-enabled: true, mig-devices: {"1c.3g.20gb": 3}}]
  other: [{devices: all, mig-enabled: true, mig-devices: {"1g.5gb": 1, "2g.10gb": 1, "3g.20gb": 1}}]
"""

# It reads /proc/modules and sysfs. Both are shown in a mount namespace of its own; where the kernel has no modules, the rest of
# /proc is shown beside the file.
RUN = """set -eu
folder=$1; shift
mkdir -p "$folder/proc" "$folder/realproc"
mount --rbind /proc "$folder/realproc"
ln -sfn "$folder"/realproc/[a-z]* "$folder/proc/"
rm -f "$folder/proc/modules"
cp "$folder/driver/modules" "$folder/proc/modules"
mount --bind "$folder/pci" /sys/bus/pci/devices
mount --bind "$folder/proc" /proc
exec env ${PRELOAD:+LD_PRELOAD="$PRELOAD"} "$@"
"""


def program():
    """The path of nvidia-mig-parted. Skips where it cannot be had, or not run."""
    if os.geteuid() or subprocess.run(['unshare', '--mount', 'true'], capture_output=True).returncode:
        pytest.skip('a mount namespace of its own takes root')
    return foreign.go_programs('mig-parted', 'github.com/NVIDIA/mig-parted/cmd/nvidia-mig-parted') / 'nvidia-mig-parted'


class Machine(foreign.Machine):
    """A machine as a program sees it that looks for the driver beside NVML."""

    def __init__(self, path, folder, program):
        super().__init__(path, folder)
        self.folder = folder
        self.program = program
        (folder / 'bin').mkdir()
        (folder / 'bin/nvidia-smi').symlink_to(foreign.SIM)
        (folder / 'config.yaml').write_text(CONFIG)
        (folder / 'driver').mkdir()
        self.sim('proc', folder / 'driver')
        self.env['PATH'] = f'{folder}/bin:{os.environ["PATH"]}'
        for gpu in self.gpus:
            self.add_pci(folder / 'pci' / gpu['pci'][4:])

    @staticmethod
    def add_pci(folder):
        folder.mkdir(parents=True)
        for name, text in {'vendor': '0x10de', 'device': '0x20b0', 'class': '0x030200', 'numa_node': '0',
                           'resource': '\n'.join(['0x0000000000000000 0x0000000000000000 0x0000000000000000'] * 13)}.items():
            (folder / name).write_text(text + '\n')
        (folder / 'config').write_bytes(bytes(256))
        (folder / 'driver').symlink_to('/sys/bus/pci/drivers/nvidia')

    def parted(self, *words):
        """Its status, its output, and how often it called each function."""
        trace = self.folder / 'trace'
        trace.unlink(missing_ok=True)
        env = self.environment(GPUSLICE_SIM_TRACE=str(trace))
        env['PRELOAD'] = env.pop('LD_PRELOAD', '')
        done = subprocess.run(['unshare', '--mount', 'sh', '-c', RUN, 'run', self.folder, self.program, *words], env=env,
                              capture_output=True, text=True, timeout=300)
        calls = collections.Counter(trace.read_text().split()) if trace.exists() else {}
        return done.returncode, done.stdout + done.stderr, calls

    def ours(self, label):
        """The calls by which `gpuslice mig apply` does the same."""
        trace = self.folder / 'trace'
        trace.unlink(missing_ok=True)
        done = subprocess.run([foreign.BUILD / 'src/gpuslice', 'mig', 'apply', '-f', self.folder / 'config.yaml', '-c', label],
                              env=self.environment(GPUSLICE_SIM_TRACE=str(trace), GPUSLICE_PROC=str(self.folder / 'driver')),
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return collections.Counter(trace.read_text().split())

    def apply(self, label):
        status, output, calls = self.parted('apply', '-f', str(self.folder / 'config.yaml'), '-c', label)
        assert status == 0, output
        status, output, _ = self.parted('assert', '-f', str(self.folder / 'config.yaml'), '-c', label)
        assert status == 0, output
        return calls

    def profiles(self):
        """Those of each GPU's MIG devices."""
        return [sorted(one['profile'] for one in gpu['mig']['instances'])
                for gpu in json.loads(self.sim('state', '-o', 'json'))['gpus']]


def created(calls):
    """GPU instances, by either function."""
    return calls['nvmlDeviceCreateGpuInstance'] + calls['nvmlDeviceCreateGpuInstanceWithPlacement']
