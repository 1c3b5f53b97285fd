# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's own nvidia-smi (Debian's, of branch 535), unmodified, on every simulated machine: the simulated driver passes for
the real one, also where nvidia-smi goes past NVML's documented functions."""
import csv
import re
import subprocess
import xml.etree.ElementTree as xml

import foreign
import pytest

DRIVER = '535.261.03'


@pytest.fixture(scope='session')
def program():
    return foreign.debian('nvidia-smi', 'nvidia-smi') / 'usr/lib/nvidia/current/nvidia-smi'


class Machine(foreign.Machine):
    """A machine of ours with the driver that nvidia-smi belongs to."""

    def __init__(self, program, path, folder):
        super().__init__(path, folder, f'{{version: {DRIVER}, cuda: 12.2}}')
        self.program = program
        self.n_gpus = len(self.gpus)

    def smi(self, *words):
        done = self.run(self.program, *words)
        assert done.returncode == 0, f'{words}: {done.stdout}{done.stderr}'
        for trouble in ('Function Not Found', 'Unknown Error', 'ERR!', 'Failed'):
            assert trouble not in done.stdout, f'{words}: {done.stdout}'
        return done.stdout

    def query(self, *fields):
        return [[cell.strip() for cell in row]
                for row in csv.reader(self.smi('--query-gpu=' + ','.join(fields), '--format=csv,noheader,nounits').splitlines())]


@pytest.fixture(params=foreign.MACHINES, ids=lambda path: path.stem)
def machine(request, program, tmp_path):
    return Machine(program, request.param, tmp_path)


@pytest.fixture
def p4d(program, tmp_path):
    return Machine(program, foreign.ROOT / 'sim/machines/p4d.24xlarge.yaml', tmp_path)


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
    done = p4d.run(p4d.program, '-L')
    assert 'GPU is lost' in done.stdout + done.stderr


def rows(table):
    """The cells of an nvidia-smi mig table, a list a row."""
    return [line.strip('|').split() for line in table.splitlines() if re.match(r'\|\s+\d+\s', line)]


def test_mig_is_listed_as_NVIDIAs_guide_prints_it(p4d):
    p4d.sim('mig', 'on', 'all')
    p4d.sim('mig', 'reset', 'all')
    profiles = [(row[2], row[3], row[4]) for row in rows(p4d.smi('mig', '-i', '0', '-lgip')) if len(row) > 4]
    assert profiles == [('1g.5gb', '19', '7/7'), ('1g.5gb+me', '20', '1/1'), ('1g.10gb', '15', '4/4'), ('2g.10gb', '14', '3/3'),
                        ('3g.20gb', '9', '2/2'), ('4g.20gb', '5', '1/1'), ('7g.40gb', '0', '1/1')]
    assert p4d.smi('mig', '-i', '0', '-lgipp').splitlines() == [
        'GPU  0 Profile ID 19 Placements: {0,1,2,3,4,5,6}:1', 'GPU  0 Profile ID 20 Placements: {0,1,2,3,4,5,6}:1',
        'GPU  0 Profile ID 15 Placements: {0,2,4,6}:2', 'GPU  0 Profile ID 14 Placements: {0,2,4}:2',
        'GPU  0 Profile ID  9 Placements: {0,4}:4', 'GPU  0 Profile ID  5 Placement : {0}:4', 'GPU  0 Profile ID  0 Placement : {0}:8']
    assert p4d.smi('--query-gpu=mig.mode.current,mig.mode.pending', '--format=csv,noheader').splitlines() == ['Enabled, Enabled'] * 8


def test_mig_instances_are_created_and_destroyed(p4d):
    def mig(*words):
        done = p4d.run(p4d.program, 'mig', '-i', '0', *words)
        return done.stdout + done.stderr

    assert 'requires reset' in p4d.smi('-i', '0', '-mig', '1')
    p4d.sim('mig', 'reset', '0')
    assert re.findall(r'instance ID +(\d+) on GPU +0 using profile MIG (\S+)', mig('-cgi', '19,14,5')) == [
        ('13', '1g.5gb'), ('5', '2g.10gb'), ('1', '4g.20gb')]
    assert [row[2:] for row in rows(mig('-lgi'))] == [
        ['1g.5gb', '19', '13', '6:1'], ['2g.10gb', '14', '5', '4:2'], ['4g.20gb', '5', '1', '0:4']]
    assert 'Insufficient Resources' in mig('-cgi', '9')
    assert mig('-cci').count('Successfully created compute instance ID  0') == 3
    assert [row[3] for row in rows(mig('-lci'))] == ['1g.5gb', '2g.10gb', '4g.20gb']
    listed = re.findall(r'MIG (\S+) +Device +(\d): \(UUID: (MIG-[0-9a-f-]{36})\)', p4d.smi('-L'))
    assert [(name, index) for name, index, _ in listed] == [('4g.20gb', '0'), ('2g.10gb', '1'), ('1g.5gb', '2')]
    table = p4d.smi()
    assert re.findall(r'^\|  0 +(\d+) +0 +(\d) +\|', table, re.M) == [('1', '0'), ('5', '1'), ('13', '2')]

    assert 'In use by another client' in mig('-dgi')
    p4d.sim('inject', 'process', 'add', '0:5:0', '42', '1Gi', 'trainer')
    assert re.search(r'^\|    0 .* 42 +C +trainer +1024MiB \|$', p4d.smi(), re.M)
    assert re.search(r'^\|  0    5   0   1  \| +1024MiB /  9856MiB ', p4d.smi(), re.M)
    assert 'In use by another client' in mig('-dci', '-gi', '5')
    p4d.sim('inject', 'process', 'remove', '0', '42')
    mig('-dci')
    assert mig('-dgi').count('Successfully destroyed GPU instance') == 3
    assert 'No GPU instances found' in mig('-lgi')


def test_mig_verbs_take_names_places_and_single_instances(p4d):
    p4d.sim('mig', 'on', '0')
    p4d.sim('mig', 'reset', '0')

    def mig(*words):
        done = p4d.run(p4d.program, 'mig', '-i', '0', *words)
        return done.stdout + done.stderr

    said = mig('-cgi', '3g.20gb:4,1g.5gb', '-C')  # a GPU instance by its name and place; each gets its compute instance
    assert said.count('Successfully created GPU instance') == said.count('Successfully created compute instance') == 2
    assert [row[2:] for row in rows(mig('-lgi'))] == [['1g.5gb', '19', '7', '0:1'], ['3g.20gb', '9', '2', '4:4']]
    assert [row[4] for row in rows(mig('-lgip')) if row[2:3] in (['3g.20gb'], ['1g.5gb'])] == ['3/7', '0/2']
    assert mig('-dci', '-gi', '2', '-ci', '0').count('Successfully destroyed compute instance') == 1
    assert [row[1:4] for row in rows(mig('-lci'))] == [['7', 'MIG', '1g.5gb']]
    assert mig('-dgi', '-gi', '2').count('Successfully destroyed GPU instance') == 1
    assert [row[2] for row in rows(mig('-lgi'))] == ['1g.5gb']


def test_compute_instances_smaller_than_their_gpu_instance(p4d):
    p4d.sim('mig', 'on', '0')
    p4d.sim('mig', 'reset', '0')
    p4d.sim('mig', 'create', '0', 'gi:3g.20gb')
    assert p4d.run(p4d.program, 'mig', '-i', '0', '-gi', '2', '-cci', '0,0,0').stdout.count('MIG 1c.3g.20gb') == 3
    assert [row[2] for row in rows(p4d.smi('mig', '-i', '0', '-lci'))] == ['MIG'] * 3
    assert re.findall(r'MIG (\S+) +Device +(\d)', p4d.smi('-L')) == [('1c.3g.20gb', str(n)) for n in range(3)]
    assert 'Insufficient Resources' in p4d.run(p4d.program, 'mig', '-i', '0', '-gi', '2', '-cci', '0').stdout
