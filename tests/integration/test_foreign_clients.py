# SPDX-License-Identifier: Apache-2.0
"""Other people's NVML programs on the simulated driver: they see the machine as if it were there."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

BUILD = Path(os.environ.get('GPUSLICE_BUILD', Path(__file__).resolve().parents[2] / 'build')).resolve()
SIM = BUILD / 'sim/nvml/gpuslice-sim'


@pytest.fixture
def environment(tmp_path):
    """What a program needs to find the simulated p3.8xlarge. A sanitized library needs its runtime."""
    env = dict(os.environ, GPUSLICE_MACHINE='p3.8xlarge', GPUSLICE_SIM_STATE=str(tmp_path / 'state'),
               LD_LIBRARY_PATH=str(BUILD / 'sim/nvml'), COLUMNS='120', LINES='60', TERM='xterm', LC_ALL='C.UTF-8')
    if os.environ.get('GPUSLICE_SANITIZER_PRELOAD'):
        env['LD_PRELOAD'] = os.environ['GPUSLICE_SANITIZER_PRELOAD']
        env['ASAN_OPTIONS'] = env.get('ASAN_OPTIONS', '') + ':detect_leaks=0'  # python's own
    return env


@pytest.fixture
def run(environment):
    def run(*argv, check=True, **more):
        done = subprocess.run([str(word) for word in argv], env={**environment, **more}, capture_output=True,
                              text=True, timeout=100)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done
    return run


@pytest.fixture
def pynvml(run):
    """Runs lines of python after nvmlInit(); what they print comes back."""
    def pynvml(lines, **more):
        return run(sys.executable, '-c', f'from pynvml import *\nnvmlInit()\n{lines}\nnvmlShutdown()', **more).stdout
    return pynvml


def test_pynvml_lists_the_gpus(pynvml):
    out = pynvml('''
for i in range(nvmlDeviceGetCount()):
    h = nvmlDeviceGetHandleByIndex(i)
    m = nvmlDeviceGetMemoryInfo(h, version=nvmlMemory_v2)
    print(nvmlDeviceGetName(h), nvmlDeviceGetPciInfo(h).busId, m.total >> 20, m.reserved >> 20, m.used,
          nvmlDeviceGetIndex(nvmlDeviceGetHandleByUUID(nvmlDeviceGetUUID(h))))
''')
    assert out.splitlines() == [f'Tesla V100-SXM2-16GB 00000000:00:1{slot}.0 16384 224 0 {i}'
                                for i, slot in enumerate('BCDE')]


def test_pynvml_sees_processes_and_utilization(run, pynvml):
    run(SIM, 'inject', 'process', 'add', '1', '4242', '1Gi', 'trainer')
    run(SIM, 'inject', 'utilization', '1', '42', '7')
    out = pynvml('''
h = nvmlDeviceGetHandleByIndex(1)
for p in nvmlDeviceGetComputeRunningProcesses(h):
    print(p.pid, p.usedGpuMemory >> 20, nvmlSystemGetProcessName(p.pid))
u = nvmlDeviceGetUtilizationRates(h)
print(u.gpu, u.memory, nvmlDeviceGetMemoryInfo(h).used >> 20)
print([s.pid for s in nvmlDeviceGetProcessUtilization(h, 0)])
print(nvmlDeviceGetComputeRunningProcesses(nvmlDeviceGetHandleByIndex(0)))
''')
    assert out.splitlines() == ['4242 1024 trainer', '42 7 1248', '[4242]', '[]']


def test_pynvml_hears_an_xid(run, pynvml, environment):
    listener = subprocess.Popen([sys.executable, '-c', '''
from pynvml import *
nvmlInit()
s = nvmlEventSetCreate()
nvmlDeviceRegisterEvents(nvmlDeviceGetHandleByIndex(2), nvmlEventTypeXidCriticalError, s)
print("listening", flush=True)
e = nvmlEventSetWait_v2(s, 60000)
print(nvmlDeviceGetIndex(e.device), e.eventData)
'''], env=environment, stdout=subprocess.PIPE, text=True)
    assert listener.stdout.readline() == 'listening\n'
    run(SIM, 'inject', 'xid', '2', '79')
    assert listener.communicate(timeout=100)[0] == '2 79\n'


def test_pynvml_without_a_machine_has_no_driver(run):
    done = run(sys.executable, '-c', 'import pynvml; pynvml.nvmlInit()', check=False, GPUSLICE_MACHINE='')
    assert 'NVMLError_DriverNotLoaded' in done.stderr


def test_every_function_of_pynvml_is_answered(pynvml):
    """Called as a device's getter, none crashes: it answers, or raises an NVML error or a TypeError."""
    out = pynvml('''
import pynvml
h = nvmlDeviceGetHandleByIndex(0)
n = 0
for name in sorted(dir(pynvml)):
    if name.startswith("nvmlDeviceGet"):
        try:
            getattr(pynvml, name)(h)
        except (NVMLError, TypeError, AttributeError, ValueError):
            pass
        n += 1
print(n)
''')
    assert int(out) > 150
