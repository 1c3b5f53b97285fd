# SPDX-License-Identifier: Apache-2.0
"""The simulated H100 and H200 return what a real H200 returned (recordings/), for every function that only reads.

The calls are record-nvml's. The machines have the recording's driver, so a function that it lacks is absent there, too. A word
`crash` of the recording is not compared: there the simulator checks what the driver does not.
"""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get('GPUSLICE_BUILD', ROOT / 'build')).resolve()
RECORDING = HERE / 'recordings/h200-580.159.04.txt'
MACHINES = ['p5.4xlarge', 'p5.48xlarge', 'p5e.48xlarge', 'p5en.48xlarge']

# The recorded GPU has no active NVLink; these have eighteen. So the way that names link 0 succeeds, by its position.
LINKED = {
    'nvmlDeviceGetNvLinkCapability': 2, 'nvmlDeviceGetNvLinkErrorCounter': 2, 'nvmlDeviceGetNvLinkRemoteDeviceType': 1,
    'nvmlDeviceGetNvLinkRemotePciInfo': 1, 'nvmlDeviceGetNvLinkRemotePciInfo_v2': 1, 'nvmlDeviceGetNvLinkState': 1,
    'nvmlDeviceGetNvLinkVersion': 1,
}


def read(text):
    return {name: words for name, *words in (line.split() for line in text.splitlines() if not line.startswith('#'))}


RECORDED = read(RECORDING.read_text())


@pytest.fixture(params=MACHINES)
def machine(request, tmp_path):
    """A name, and what the simulator returns there."""
    env = dict(os.environ, GPUSLICE_MACHINE=request.param, GPUSLICE_MACHINE_PATH=str(ROOT / 'sim/machines'),
               GPUSLICE_SIM_STATE=str(tmp_path / 'state'), LD_LIBRARY_PATH=str(BUILD / 'sim/nvml'))
    if os.environ.get('GPUSLICE_SANITIZER_PRELOAD'):
        env['LD_PRELOAD'] = os.environ['GPUSLICE_SANITIZER_PRELOAD']
        env['ASAN_OPTIONS'] = env.get('ASAN_OPTIONS', '') + ':detect_leaks=0'  # python's own
    done = subprocess.run([sys.executable, HERE / 'record-nvml', '--like', RECORDING], env=env, capture_output=True,
                          text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return request.param, read(done.stdout)


def same(recorded, simulated):
    return len(recorded) == len(simulated) and all(a in ('crash', b) for a, b in zip(recorded, simulated))


def test_every_function_returns_what_it_returns_on_a_real_gpu(machine):
    name, simulated = machine
    linked = {} if name == 'p5.4xlarge' else LINKED
    assert len(RECORDED) > 270 and list(simulated) == list(RECORDED)
    others = {function: (RECORDED[function], simulated[function]) for function in RECORDED
              if not same(RECORDED[function], simulated[function])}
    assert set(others) == set(linked), {function: others[function] for function in others if function not in linked}
    for function, way in linked.items():
        assert RECORDED[function][way] == '3' and simulated[function][way] == '0', function


def test_the_recording_names_every_function_that_reads():
    """A new one of NVIDIA's fails here until somebody records it."""
    names = subprocess.run([sys.executable, '-c', f'''
import importlib.machinery, importlib.util
loader = importlib.machinery.SourceFileLoader("record", {str(HERE / "record-nvml")!r})
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("record", loader))
loader.exec_module(module)
print(*module.functions())'''], capture_output=True, text=True, check=True).stdout.split()
    assert names == sorted(RECORDED)
