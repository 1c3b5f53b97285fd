# SPDX-License-Identifier: Apache-2.0
"""nvitop, nvtop, gpustat, hwloc's lstopo, go-nvml's examples and Rust's nvml-wrapper on every simulated machine: each shows what its user
looks for, the GPUs, their memory, load and processes."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
import xml.etree.ElementTree as xml

import foreign
import pyte
import pytest

pytestmark = pytest.mark.timeout(1200)  # of the first, which builds it

HERE = foreign.ROOT / 'tests/integration'
LINES, COLUMNS = 60, 200
NEWER = '{version: 580.159.04, cuda: 13.0}'  # go-nvml's examples ask for a function of this branch


@pytest.fixture(params=foreign.MACHINES, ids=lambda path: path.stem)
def machine(request, tmp_path):
    return foreign.Machine(request.param, tmp_path)


@pytest.fixture(params=foreign.MACHINES, ids=lambda path: path.stem)
def newer(request, tmp_path):
    return foreign.Machine(request.param, tmp_path, NEWER)


@pytest.fixture(scope='session')
def debian():
    return foreign.debian('debian', 'nvtop', 'hwloc-nox', 'libhwloc-contrib-plugins')


@pytest.fixture(scope='session')
def examples():
    """go-nvml's, built from its module."""
    names = 'compute-processes', 'devices', 'gpm-metrics'
    return foreign.go_programs('go-nvml', *(f'github.com/NVIDIA/go-nvml/examples/{name}' for name in names))


@pytest.fixture(scope='session')
def wrapper():
    """A program of ours that uses it."""
    target = foreign.TOOLS / 'nvml-wrapper'
    foreign.built('nvml-wrapper', ['cargo', 'fetch', '--locked', '--quiet'], ['cargo', 'build', '--offline', '--locked', '--quiet'],
                  cwd=HERE / 'nvml-wrapper',
                  env=dict(os.environ, CARGO_HOME=str(foreign.TOOLS / 'cargo'), CARGO_TARGET_DIR=str(target)))
    return target / 'debug/nvml-wrapper-client'


class Terminal:
    """A program on a terminal of its own, and what stands on its screen."""

    def __init__(self, argv, env):
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.stream = pyte.ByteStream(self.screen)
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', LINES, COLUMNS, 0, 0))
        self.process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                                        env=dict(env, TERM='linux', LINES=str(LINES), COLUMNS=str(COLUMNS)))
        os.close(theirs)
        self.file = open(ours, 'r+b', buffering=0)

    def text(self):
        return '\n'.join(line.rstrip() for line in self.screen.display)

    def wait_for(self, is_there, seconds=60):
        end = time.monotonic() + seconds
        while not is_there(self.text()):
            left = end - time.monotonic()
            assert left > 0, self.text()
            if select.select([self.file], [], [], left)[0]:
                try:
                    self.stream.feed(self.file.read(1 << 16))
                except OSError:  # the program closed it
                    assert is_there(self.text()), self.text()
        return self.text()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.file.close()


def test_nvtop(machine, debian):
    last = len(machine.gpus) - 1
    with machine.busy(last) as pid:
        terminal = Terminal([debian / 'usr/bin/nvtop', '--delay', '1'], machine.environment())
        try:
            screen = terminal.wait_for(lambda text: re.search(rf'^ *{pid} +\S+ +{last} +Compute +73% +2048MiB ', text, re.M))
        finally:
            terminal.end()
    assert re.findall(r'Device (\d+) +\[(.+?)\]', screen) == [(str(gpu['index']), gpu['name']) for gpu in machine.gpus]
    memory = re.findall(r'MEM\[[| ]*([\d.]+)Gi/([\d.]+)Gi\]', screen)
    assert [total for _, total in memory] == [f"{gpu['memory_bytes'] / 2**30:.3f}" for gpu in machine.gpus]
    assert [float(used) > 2 for used, _ in memory] == [False] * last + [True]
    assert re.findall(r'GPU\[[| ]* (\d+)%\]', screen) == ['0'] * last + ['73']
    assert len(re.findall(r'TEMP +\d\d\D', screen)) == len(machine.gpus) and 'FAN N/A' in screen


def test_nvitop(machine):
    last = len(machine.gpus) - 1
    with machine.busy(last) as pid:
        text = machine.output(sys.executable, '-m', 'nvitop', '-1', COLUMNS='120', LINES='100', TERM='xterm')
    text = re.sub(r'\x1b\[[0-9;]*m', '', text)
    shown = re.findall(r'^│ +(\d+) +(\S.*?) +(?:On|Off) │ ([0-9A-F:.]+) .*\n'
                       r'│ .* (\d+)C +P\d .*│ +(\S+) / (\S+) │ +(\d+)% ', text, re.M)
    assert len(shown) == len(machine.gpus), text
    for (index, name, bus, celsius, used, total, load), gpu in zip(shown, machine.gpus):
        is_last = gpu['index'] == last
        assert int(index) == gpu['index'] and gpu['name'].endswith(name.lstrip('.')) and bus.lower() == gpu['pci'] and int(celsius) > 20
        assert total in (f"{gpu['mib']}MiB", f"{gpu['mib'] / 1024:.2f}GiB")
        assert (used, load) == (('2048MiB', '73') if is_last else ('0B', '0'))
    assert re.search(rf'│ +{last} +{pid} C +\S+ +2048MiB +73 .* sleep 1000 ', text), text


def test_gpustat(machine):
    last = len(machine.gpus) - 1
    with machine.busy(last) as pid:
        head, *lines = machine.output(sys.executable, '-m', 'gpustat', '--no-color', '--show-cmd', '--show-pid').splitlines()
    found = [re.fullmatch(r'\[(\d+)\] (.+?) +\| +(\d+)°C, +(\d+) % \| +(\d+) / +(\d+) MB \|(.*)', line) for line in lines]
    assert all(found), lines
    assert [(one[2], int(one[6])) for one in found] == [(gpu['name'], gpu['mib']) for gpu in machine.gpus]
    assert [(one[4], one[5]) for one in found] == [('0', '0')] * last + [('73', '2048')]
    assert [one[7].strip() for one in found] == [''] * last + [f'sleep/{pid}(2048M)']


def test_lstopo(machine, debian):
    library = debian / 'usr/lib/x86_64-linux-gnu'
    topology = xml.fromstring(machine.output(
        debian / 'usr/bin/lstopo-no-graphics', '--of', 'xml', '--whole-io', HWLOC_PLUGINS_PATH=str(library / 'hwloc'),
        LD_LIBRARY_PATH=f"{library}:{machine.env['LD_LIBRARY_PATH']}"))
    shown = {device.get('name'): {info.get('name'): info.get('value') for info in device.iter('info')}
             for device in topology.iter('object') if device.get('subtype') == 'NVML'}
    assert list(shown) == [f'nvml{n}' for n in range(len(machine.gpus))]
    assert [(one['GPUVendor'], one['GPUModel'], one['NVIDIAUUID']) for one in shown.values()] == \
        [('NVIDIA Corporation', gpu['name'], gpu['uuid']) for gpu in machine.gpus]
    # Links from GPU to GPU have their bandwidth in a matrix; those to switches that are not on this machine's bus have not.
    matrix = topology.find("distances2[@name='NVLinkBandwidth']")
    if 'GPU' in machine.gpus[0]['nvlink'] or matrix is not None:
        values = [int(word) for part in matrix.findall('u64values') for word in part.text.split()]
        n = len(machine.gpus)
        assert len(values) == n * n and max(values[1:n]) >= 25000
        assert all(values[a * n + b] == values[b * n + a] for a in range(n) for b in range(n))


def test_go_nvml(newer, examples):
    last = len(newer.gpus) - 1
    with newer.busy(last) as pid:
        lines = newer.output(examples / 'compute-processes').splitlines()
        assert lines[:-1] == [f'Found {int(n == last)} processes on device {n}' for n in range(len(newer.gpus))]
        assert f'Pid:{pid} UsedGpuMemory:{2 << 30} ' in lines[-1]
        assert re.findall('^uuid=(.+)$', newer.output(examples / 'devices'), re.M) == [gpu['uuid'] for gpu in newer.gpus]
        done = newer.run(examples / 'gpm-metrics')
    assert done.returncode == 0
    if re.search('H100|H200', newer.gpus[0]['name']):
        assert done.stdout.split() == ['1:', '0'] * last + ['1:', '73'] and not done.stderr
    else:
        assert not done.stdout and done.stderr.count('GPM queries are not supported') == len(newer.gpus)


def test_nvml_wrapper(machine, wrapper):
    last = len(machine.gpus) - 1
    with machine.busy(last) as pid:
        head, *lines, process = machine.output(wrapper).splitlines()
    assert re.fullmatch(rf'{len(machine.gpus)} GPUs, driver \d+\.\d+\.\d+, CUDA 1\d0\d0', head)
    assert process == f'  process {pid}: 2048 MiB'
    for gpu, line in zip(machine.gpus, lines, strict=True):
        start = f"{gpu['index']}: {gpu['name']}, {gpu['uuid']}, {gpu['mib']} MiB, {73 if gpu['index'] == last else 0} %, "
        assert line.startswith(start)
        now, highest, celsius = map(int, re.search(r'(\d+) of (\d+) MHz, (\d+) C', line).groups())
        assert 0 < now <= highest and 20 < celsius < 90
        assert re.search(r'infoROM G\d{3}\.\w{4}\.\d\d\.\d\d$', line)
