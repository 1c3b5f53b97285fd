# SPDX-License-Identifier: Apache-2.0
"""nvidia-ml-py, nvitop, and go-nvlib with go-nvml on a partitioned machine."""
import re
import sys

import pytest

import foreign

pytestmark = pytest.mark.timeout(1200)  # of the first, which builds it

WALK = '''
from pynvml import *
nvmlInit()
gpu = nvmlDeviceGetHandleByIndex(1)
print(nvmlDeviceGetMigMode(gpu), nvmlDeviceGetMaxMigDeviceCount(gpu))
for i in range(nvmlDeviceGetMaxMigDeviceCount(gpu)):
    try:
        mig = nvmlDeviceGetMigDeviceHandleByIndex(gpu, i)
    except NVMLError_NotFound:
        continue
    a = nvmlDeviceGetAttributes_v2(mig)
    m = nvmlDeviceGetMemoryInfo(mig)
    same = nvmlDeviceGetHandleByUUID(nvmlDeviceGetUUID(mig))
    print(nvmlDeviceGetName(mig), nvmlDeviceGetGpuInstanceId(mig), nvmlDeviceGetComputeInstanceId(mig), a.gpuInstanceSliceCount,
          a.computeInstanceSliceCount, a.multiprocessorCount, a.memorySizeMB, m.total >> 20, m.used >> 20,
          [(p.pid, p.gpuInstanceId) for p in nvmlDeviceGetComputeRunningProcesses(mig)], nvmlDeviceGetIndex(same),
          nvmlDeviceGetIndex(nvmlDeviceGetDeviceHandleFromMigDeviceHandle(same)))
'''


@pytest.fixture(scope='session')
def visitor():
    """A program of ours that uses go-nvlib."""
    return foreign.go_programs('go-nvlib', '.') / 'go-nvlib'


@pytest.fixture
def p4d(tmp_path):
    machine = foreign.Machine(foreign.ROOT / 'sim/machines/p4d.24xlarge.yaml', tmp_path)
    machine.sim('mig', 'on', '1')
    machine.sim('mig', 'reset', '1')
    machine.sim('mig', 'create', '1', '3g.20gb', '1c.2g.10gb', '1g.5gb+me')
    machine.sim('inject', 'process', 'add', '1:2:0', '42', '2Gi', 'trainer')
    return machine


def test_nvidia_ml_py_walks_the_mig_devices(p4d):
    model = 'NVIDIA A100-SXM4-40GB MIG'
    assert p4d.output(sys.executable, '-c', WALK).splitlines() == [
        '[1, 1] 7',
        f'{model} 3g.20gb 2 0 3 3 42 19968 19968 2048 [(42, 2)] 0 1',
        f'{model} 1c.2g.10gb 3 0 2 1 14 9856 9856 0 [] 1 1',
        f'{model} 1g.5gb+me 9 0 1 1 14 4864 4864 0 [] 2 1',
    ]


def test_nvidia_ml_py_partitions(p4d):
    lines = '''
from pynvml import *
nvmlInit()
gpu = nvmlDeviceGetHandleByIndex(1)
info = nvmlDeviceGetGpuInstanceProfileInfo(gpu, NVML_GPU_INSTANCE_PROFILE_1_SLICE)
gi = nvmlDeviceCreateGpuInstance(gpu, info.id)
ci = nvmlGpuInstanceCreateComputeInstance(gi, nvmlGpuInstanceGetComputeInstanceProfileInfo(gi, 0, 0).id)
at = nvmlGpuInstanceGetInfo(gi)
print(at.id, at.placement.start, at.placement.size, at.profileId == info.id, nvmlComputeInstanceGetInfo(ci).id)
for destroy, what in (nvmlGpuInstanceDestroy, gi), (nvmlComputeInstanceDestroy, ci), (nvmlGpuInstanceDestroy, gi):
    try:
        destroy(what)
        print('done')
    except NVMLError as error:
        print(error)
'''
    assert p4d.output(sys.executable, '-c', lines).splitlines() == ['10 3 1 True 0', 'In use by another client', 'done', 'done']


def test_nvitop_shows_the_mig_devices(p4d):
    pytest.importorskip('nvitop')
    text = p4d.output(sys.executable, '-m', 'nvitop', '-1', COLUMNS='120', LINES='100', TERM='xterm')
    assert re.findall(r'1:(\d) +(\S+) @ GI/CI:\s*(\d+)/(\d)', text) == [
        ('0', '3g.20gb', '2', '0'), ('1', '1c.2g.10gb', '3', '0'), ('2', '1g.5gb+me', '9', '0')], text


def test_go_nvlib_visits_gpus_and_mig_devices(p4d, visitor):
    """As NVIDIA's device plugin, mig-parted and DRA driver do, by these very visitors."""
    assert p4d.output(visitor, 'devices').splitlines() == [
        f'{gpu["index"]} {gpu["uuid"]} true {str(gpu["index"] == 1).lower()}' for gpu in p4d.gpus]
    seen = [line.split() for line in p4d.output(visitor, 'migs').splitlines()]
    uuids = dict(re.findall(r'GPU instance (\d+) at .* (MIG-\S+)', p4d.sim('mig', 'list')))
    assert seen == [['1', '0', '2', '0', '3g.20gb', uuids['2'], '3', '3', '19968', 'true', 'Success'],
                    ['1', '1', '3', '0', '1c.2g.10gb', uuids['3'], '2', '1', '9856', 'true', 'Success'],
                    ['1', '2', '9', '0', '1g.5gb+me', uuids['9'], '1', '1', '4864', 'true', 'Success']]


@pytest.mark.parametrize('machine,profiles', [
    ('p4d.24xlarge', '1g.5gb 1g.5gb+me 1g.10gb 2g.10gb 3g.20gb 4g.20gb 7g.40gb'),
    ('p5.48xlarge', '1g.10gb 1g.10gb+me 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb'),
    ('g5.12xlarge', '')])
def test_go_nvlib_visits_the_profiles_with_mig_off(tmp_path, visitor, machine, profiles):
    """go-nvlib guesses the compute instances of each; those that fill their GPU instance are the driver's."""
    machine = foreign.Machine(foreign.ROOT / f'sim/machines/{machine}.yaml', tmp_path)
    seen = machine.output(visitor, 'profiles').split()
    assert sorted(name for name in seen if 'c.' not in name) == sorted(profiles.split())
    assert ('1c.3g.20gb' in seen) == ('3g.20gb' in seen)


def test_go_nvml_partitions(p4d, visitor):
    p4d.sim('mig', 'on', '0')
    p4d.sim('mig', 'reset', '0')
    assert p4d.output(visitor, 'partition').splitlines() == [
        'profile 9 2 Success', 'free 2 Success', 'places [{0 4} {4 4}] Success',
        'create GPU instance Success', 'there again Insufficient Resources', 'compute profile 2 3 Success',
        'create compute instance Success', 'a second one Insufficient Resources', 'compute info 0 2 0 3 Success',
        'destroy GPU instance In use by another client', 'destroy compute instance Success', 'destroy GPU instance Success',
        'look for it Not Found']
