# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's own nvidia-smi (Debian's, of branch 535), unmodified, on every simulated machine: the simulated driver passes for
the real one, also where nvidia-smi goes past NVML's documented functions."""
import csv
import fcntl
import importlib.machinery
import importlib.util
import os
import platform
import re
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get('GPUSLICE_BUILD', ROOT / 'build')).resolve()
TOOLS = Path(os.environ.get('GPUSLICE_TOOLS', ROOT / 'build-tools'))
SIM = BUILD / 'sim/nvml/gpuslice-sim'
MACHINES = sorted((ROOT / 'sim/machines').glob('*.yaml'))
DRIVER = '535.261.03'


@pytest.fixture(scope='session')
def program():
    if platform.machine() != 'x86_64':
        pytest.skip('Debian has nvidia-smi 535 for x86-64')
    path = str(Path(__file__).parent / 'fetch-nvidia-smi')
    loader = importlib.machinery.SourceFileLoader('fetch_nvidia_smi', path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('fetch_nvidia_smi', loader))
    loader.exec_module(module)
    try:
        with open(TOOLS / 'nvidia-smi.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return module.fetch(TOOLS / 'nvidia-smi')
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f'nvidia-smi cannot be had here: {error}')


class Machine:
    """A machine of ours with the driver that nvidia-smi belongs to."""

    def __init__(self, program, path, folder):
        facts = re.sub(r'^driver:.*$', f'driver: {{version: {DRIVER}, cuda: 12.2}}', path.read_text(), flags=re.M)
        assert DRIVER in facts
        (folder / path.name).write_text(facts)
        self.program = program
        self.n_gpus = len(yaml.safe_load(facts)['gpus'])
        self.env = dict(os.environ, GPUSLICE_MACHINE=str(folder / path.name), GPUSLICE_SIM_STATE=str(folder / 'state'),
                        LD_LIBRARY_PATH=str(BUILD / 'sim/nvml'), LC_ALL='C.UTF-8')

    def sim(self, *words):
        subprocess.run([SIM, *map(str, words)], env=self.env, check=True)

    def run(self, *words):
        env = dict(self.env)
        if os.environ.get('GPUSLICE_SANITIZER_PRELOAD'):
            env['LD_PRELOAD'] = os.environ['GPUSLICE_SANITIZER_PRELOAD']
            env['ASAN_OPTIONS'] = env.get('ASAN_OPTIONS', '') + ':detect_leaks=0'  # nvidia-smi's own
        return subprocess.run([self.program, *map(str, words)], env=env, capture_output=True, text=True, timeout=100)

    def smi(self, *words):
        done = self.run(*words)
        assert done.returncode == 0, f'{words}: {done.stdout}{done.stderr}'
        for trouble in ('Function Not Found', 'Unknown Error', 'ERR!', 'Failed'):
            assert trouble not in done.stdout, f'{words}: {done.stdout}'
        return done.stdout

    def query(self, *fields):
        return [[cell.strip() for cell in row]
                for row in csv.reader(self.smi('--query-gpu=' + ','.join(fields), '--format=csv,noheader,nounits').splitlines())]


@pytest.fixture(params=MACHINES, ids=lambda path: path.stem)
def machine(request, program, tmp_path):
    return Machine(program, request.param, tmp_path)


@pytest.fixture
def p4d(program, tmp_path):
    return Machine(program, ROOT / 'sim/machines/p4d.24xlarge.yaml', tmp_path)


def test_every_view(machine):
    listed = machine.smi('-L').splitlines()
    assert len(listed) == machine.n_gpus
    uuids = [re.fullmatch(r'GPU (\d+): .+ \(UUID: (GPU-[0-9a-f-]{36})\)', line) for line in listed]
    assert [int(one[1]) for one in uuids] == list(range(machine.n_gpus))
    rows = machine.query('index', 'uuid', 'driver_version', 'memory.total', 'temperature.gpu', 'pcie.link.gen.hostmax')
    assert [row[1] for row in rows] == [one[2] for one in uuids]
    assert all(row[2] == DRIVER and int(row[3]) > 10000 and int(row[4]) > 20 and row[5] in '345' for row in rows)

    table = machine.smi()
    assert f'Driver Version: {DRIVER}' in table and 'CUDA Version: 12.2' in table
    assert len(re.findall(r'[0-9A-F]{8}:[0-9A-F]{2}:[0-9A-F]{2}\.0', table)) == machine.n_gpus
    assert 'No running processes found' in table

    log = xml.fromstring(machine.smi('-q', '-x').split('?>', 1)[1].split('>', 1)[1])
    assert [one.findtext('uuid') for one in log.findall('gpu')] == [one[2] for one in uuids]
    assert machine.smi('-q').count('GPU UUID') == machine.n_gpus

    matrix = [line.split() for line in re.sub(r'\x1b\[\d*m', '', machine.smi('topo', '-m')).splitlines() if re.match(r'GPU\d', line)]
    assert len(matrix) == machine.n_gpus
    assert all(row[1 + n] == 'X' for n, row in enumerate(matrix))
    linked = {(a, b) for a in range(machine.n_gpus) for b in range(machine.n_gpus) if matrix[a][1 + b].startswith('NV')}
    assert linked == {(b, a) for a, b in linked}
    assert bool(linked) == bool(re.search(r'Link \d+: [\d.]+ GB/s', machine.smi('nvlink', '-s')))

    for verb in ('dmon', 'pmon'):
        lines = [line for line in machine.smi(verb, '-c', '1').splitlines() if not line.startswith('#')]
        assert [int(line.split()[0]) for line in lines] == list(range(machine.n_gpus)), verb


def test_processes_and_load(p4d):
    sleeper = subprocess.Popen(['sleep', '100'])
    try:
        p4d.sim('inject', 'process', 'add', 3, sleeper.pid, '2Gi', 'trainer')
        p4d.sim('inject', 'utilization', 3, 73)
        assert re.search(rf'^\|    3   N/A  N/A +{sleeper.pid} +C +trainer +2048MiB \|$', p4d.smi(), re.M)
        assert p4d.smi('--query-compute-apps=pid,name,used_memory', '--format=csv,noheader') == f'{sleeper.pid}, trainer, 2048 MiB\n'
        assert re.search(rf'^ +3 +{sleeper.pid} +C .* trainer *$', p4d.smi('pmon', '-c', '1'), re.M)
        assert [row[0] for row in p4d.query('utilization.gpu')] == ['0'] * 3 + ['73'] + ['0'] * 4
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_lost_gpu(p4d):
    p4d.sim('inject', 'lost', 2)
    done = p4d.run('-L')
    assert 'GPU is lost' in done.stdout + done.stderr
