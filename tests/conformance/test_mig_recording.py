# SPDX-License-Identifier: Apache-2.0
"""A simulated H200 whose MIG is off, beside what a real one answered (tests/data/mig-answers-h200.json): every profile in each
version of the structure, placements, capacity and instances by id, also of ids that mean nothing."""
import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get('GPUSLICE_BUILD', ROOT / 'build')).resolve()
RECORDED = json.loads((ROOT / 'tests/data/mig-answers-h200.json').read_text())
V1 = ('id', 'isP2pSupported', 'sliceCount', 'instanceCount', 'multiprocessorCount', 'copyEngineCount', 'decoderCount',
      'encoderCount', 'jpegCount', 'ofaCount')


def structure(version):
    """nvmlGpuInstanceProfileInfo_t of that version."""
    words = [name for name in V1 if version < 3 or name != 'isP2pSupported']
    fields = [(name, ctypes.c_uint) for name in (['version'] if version > 1 else []) + words]
    fields.append(('memorySizeMB', ctypes.c_ulonglong))
    if version > 1:
        fields.append(('name', ctypes.c_char * 96))
    if version > 2:
        fields.append(('capabilities', ctypes.c_uint))
    return type(f'Info{version}', (ctypes.Structure,), {'_fields_': fields})


def ask_profile(nvml, gpu, index, version):
    kind = structure(version)
    info = kind()
    if version > 1:
        info.version = ctypes.sizeof(kind) | version << 24
    call = nvml.nvmlDeviceGetGpuInstanceProfileInfo if version == 1 else nvml.nvmlDeviceGetGpuInstanceProfileInfoV
    status = call(gpu, index, ctypes.byref(info))
    if status:
        return [status, None]
    values = {name: getattr(info, name) for name, _ in kind._fields_ if name != 'version'}
    return [status, {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}]


def ask_placements(nvml, gpu, function, profile):
    call = getattr(nvml, function)
    count = ctypes.c_uint(0)
    only = [call(gpu, profile, None, ctypes.byref(count)), count.value]
    buffer, count = (ctypes.c_uint * 64)(), ctypes.c_uint(32)
    status = call(gpu, profile, buffer, ctypes.byref(count))
    places = None if status else [[buffer[2 * n], buffer[2 * n + 1]] for n in range(count.value)]
    return {'fn': function, 'id': profile, 'count_only': only, 'ret': status, 'list': places}


def ask_by_id(nvml, gpu, profile):
    info = structure(2)()
    info.version = ctypes.sizeof(info) | 2 << 24
    count, list_count = ctypes.c_uint(0), ctypes.c_uint(16)
    instance, buffer = ctypes.c_void_p(), (ctypes.c_void_p * 16)()
    return {'id': profile,
            'remaining': [nvml.nvmlDeviceGetGpuInstanceRemainingCapacity(gpu, profile, ctypes.byref(count)), count.value],
            'instances': [nvml.nvmlDeviceGetGpuInstances(gpu, profile, buffer, ctypes.byref(list_count)), list_count.value],
            'byId': nvml.nvmlDeviceGetGpuInstanceById(gpu, profile, ctypes.byref(instance)),
            'infoByIdV': nvml.nvmlDeviceGetGpuInstanceProfileInfoByIdV(gpu, profile, ctypes.byref(info))}


def ask(library):
    """What the recording has, asked of a library."""
    nvml = ctypes.CDLL(library)
    gpu, number, other = ctypes.c_void_p(), ctypes.c_uint(0), ctypes.c_uint(0)
    assert nvml.nvmlInit_v2() == 0 and nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(gpu)) == 0
    slice_ = ctypes.c_void_p()
    return {
        'migMode': [nvml.nvmlDeviceGetMigMode(gpu, ctypes.byref(number), ctypes.byref(other)), number.value, other.value],
        'maxMigDeviceCount': [nvml.nvmlDeviceGetMaxMigDeviceCount(gpu, ctypes.byref(number)), number.value],
        'migHandle0': nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, 0, ctypes.byref(slice_)),
        'isMig': [nvml.nvmlDeviceIsMigDeviceHandle(gpu, ctypes.byref(number)), number.value],
        'giId': nvml.nvmlDeviceGetGpuInstanceId(gpu, ctypes.byref(number)),
        'ciId': nvml.nvmlDeviceGetComputeInstanceId(gpu, ctypes.byref(number)),
        'parent': nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(gpu, ctypes.byref(slice_)),
        'attributes_v2': nvml.nvmlDeviceGetAttributes_v2(gpu, (ctypes.c_uint * 32)()),
        'profiles': [{'index': one['index'], **{f'v{v}': ask_profile(nvml, gpu, one['index'], v) for v in (1, 2, 3)}}
                     for one in RECORDED['profiles']],
        'placements': [ask_placements(nvml, gpu, one['fn'], one['id']) for one in RECORDED['placements']],
        'byId': [ask_by_id(nvml, gpu, one['id']) for one in RECORDED['byId']],
    }


def test_a_simulated_h200_answers_as_the_real_one(tmp_path):
    machine = tmp_path / 'h200.yaml'
    machine.write_text(f'machine: h200\ndriver: {{version: {RECORDED["driver"]}, cuda: 13.0}}\nmodel: H200\n'
                       'gpus: [{pci: "0000:00:1e.0"}]\n')
    env = {**os.environ, 'GPUSLICE_MACHINE': str(machine), 'GPUSLICE_SIM_STATE': str(tmp_path / 'state')}
    if os.environ.get('GPUSLICE_SANITIZER_PRELOAD'):
        env |= {'LD_PRELOAD': os.environ['GPUSLICE_SANITIZER_PRELOAD'], 'ASAN_OPTIONS': 'detect_leaks=0'}
    done = subprocess.run([sys.executable, __file__, str(BUILD / 'sim/nvml/libnvidia-ml.so.1')], env=env, capture_output=True,
                          text=True, timeout=60, check=True)
    answers = json.loads(done.stdout)
    for name, answer in answers.items():
        recorded = RECORDED[name]
        if isinstance(answer, list) and answer and isinstance(answer[0], dict):
            assert len(answer) == len(recorded)
            for ours, theirs in zip(answer, recorded):
                assert ours == theirs, name
        else:
            assert answer == recorded, name


if __name__ == '__main__':
    print(json.dumps(ask(sys.argv[1])))
