# SPDX-License-Identifier: Apache-2.0
"""The simulated libcudart.so.13: by ctypes, as a program that is linked with the shared runtime library; and unmodified CUDA PyTorch."""
import os
import shutil
import subprocess
import sys

import pytest

import foreign

RUNTIME = foreign.BUILD / 'sim/cudart/libcudart.so.13'
PYTORCH = 'torch==2.15.0', 'numpy==2.4.6'
PYTORCH_BYTES = 8 << 30  # its libraries, and what pip unpacks
CONTEXT_MIB = 518        # on Hopper

CTYPES = '''
import ctypes, sys
rt = ctypes.CDLL('libcudart.so.13')
rt.cudaGetErrorString.restype = ctypes.c_char_p
free, total, memory, stream, graph, exe = (ctypes.c_size_t() for _ in range(6))
number = ctypes.c_int()
def ok(result):
    assert result == 0, rt.cudaGetErrorString(result)
ref = ctypes.byref
ok(rt.cudaGetDeviceCount(ref(number)))
print(number.value)
ok(rt.cudaSetDevice(2))
ok(rt.cudaMemGetInfo(ref(free), ref(total)))
print((total.value - free.value) >> 20)
ok(rt.cudaMalloc(ref(memory), ctypes.c_size_t(1 << 30)))
before = free.value
ok(rt.cudaMemGetInfo(ref(free), ref(total)))
print((before - free.value) >> 20)
ok(rt.cudaStreamCreate(ref(stream)))
ok(rt.cudaStreamBeginCapture(stream, 0))
ok(rt.cudaMemsetAsync(memory, 7, ctypes.c_size_t(8), stream))
ok(rt.cudaStreamEndCapture(stream, ref(graph)))
ok(rt.cudaGraphInstantiate(ref(exe), graph, ctypes.c_ulonglong()))
ok(rt.cudaMemset(memory, 1, ctypes.c_size_t(16)))
ok(rt.cudaGraphLaunch(exe, stream))
ok(rt.cudaStreamSynchronize(stream))
host = (ctypes.c_ubyte * 16)()
ok(rt.cudaMemcpy(host, memory, ctypes.c_size_t(16), 2))
print(list(host))
too_much = ctypes.c_size_t()
print(rt.cudaMalloc(ref(too_much), total), rt.cudaGetLastError(), rt.cudaGetLastError(), rt.cudaGetErrorString(2).decode())
print(rt.cudaStreamSynchronize(ctypes.c_void_p(12345)), rt.cudaPeekAtLastError())
ok(rt.cudaFree(memory))
ok(rt.cudaFree(None))
'''

TENSORS = '''
import torch
print(torch.cuda.is_available(), torch.cuda.device_count(), torch.cuda.get_device_name(3))
free, total = torch.cuda.mem_get_info()
large = torch.empty(1 << 28, device='cuda')
print((free - torch.cuda.mem_get_info()[0]) >> 20, torch.cuda.memory_allocated() >> 20)
print(torch.arange(5).to('cuda').cpu().tolist(), torch.zeros(3, device='cuda').cpu().tolist())
try:
    torch.empty(1 << 38, device='cuda')
except torch.cuda.OutOfMemoryError as error:
    print(str(error).split('. ')[0])
more = large + 1
stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
with torch.cuda.stream(stream):
    pinned = torch.empty(1000, pin_memory=True).to('cuda', non_blocking=True)
with torch.cuda.graph(graph):
    captured = torch.empty(1000, device='cuda').add_(1)
graph.replay()
torch.cuda.synchronize()
print(more.shape[0], captured.device, pinned.device)
del large, more, captured, pinned, graph
torch.cuda.empty_cache()
print(torch.cuda.memory_allocated())
'''


@pytest.fixture
def p5(tmp_path):
    machine = foreign.Machine(foreign.ROOT / 'sim/machines/p5.48xlarge.yaml', tmp_path)
    machine.env['LD_LIBRARY_PATH'] += f':{foreign.BUILD}/sim/cuda:{RUNTIME.parent}'
    return machine


def test_the_runtime_of_a_program_that_is_linked_with_it(p5):
    assert p5.output(sys.executable, '-c', CTYPES).splitlines() == [
        '8', str(CONTEXT_MIB), '1024', str([7] * 8 + [1] * 8), '2 2 0 out of memory', '400 400']


def test_without_a_driver(p5):
    code = "import ctypes; rt = ctypes.CDLL('libcudart.so.13'); n = ctypes.c_int(); rt.cudaGetErrorString.restype = ctypes.c_char_p; " \
           "r = rt.cudaGetDeviceCount(ctypes.byref(n)); print(r, n.value, rt.cudaGetErrorString(r).decode())"
    assert p5.output(sys.executable, '-c', code, LD_LIBRARY_PATH=RUNTIME.parent).strip() == '100 0 no CUDA-capable device is detected'


def test_what_is_not_acted_out_says_so(p5):
    done = p5.run(sys.executable, '-c', "import ctypes; print(ctypes.CDLL('libcudart.so.13').cudaGraphAddNode())")
    assert done.stdout.strip() == '801' and 'cudaGraphAddNode is not acted out' in done.stderr


@pytest.fixture(scope='session')
def pytorch():
    """The python that has it."""
    folder = foreign.TOOLS / 'pytorch'
    mark = folder / 'installed'
    if not mark.exists() and shutil.disk_usage(foreign.TOOLS).free < PYTORCH_BYTES:
        pytest.skip('no room for CUDA PyTorch')
    with foreign.one_at_a_time('pytorch'):
        if not mark.exists() or mark.read_text() != ' '.join(PYTORCH):
            subprocess.run(['/usr/bin/python3', '-m', 'venv', '--clear', folder], check=True)
            done = subprocess.run([folder / 'bin/pip', '--disable-pip-version-check', 'install', '--no-cache-dir', '--quiet', *PYTORCH],
                                  capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f'CUDA PyTorch cannot be had here: {done.stderr}')
            mark.write_text(' '.join(PYTORCH))
    return folder / 'bin/python'


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_pytorch_has_tensors(p5, pytorch):
    """Its wheel finds the runtime library by a path of its own, before any other: so ours is there first."""
    preload = f"{os.environ.get('GPUSLICE_SANITIZER_PRELOAD', '')} {RUNTIME}"
    env = {**p5.environment(), 'LD_PRELOAD': preload}
    done = subprocess.run([pytorch, '-c', TENSORS], env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ['True 8 NVIDIA H100 80GB HBM3', '1024 1024', '[0, 1, 2, 3, 4] [0.0, 0.0, 0.0]',
                                        'CUDA out of memory', f'{1 << 28} cuda:0 cuda:0', '0']


FIELDS = {'total_bytes': 'totalGlobalMem', 'max_pitch': 'memPitch', 'max_block': 'maxThreadsDim', 'max_grid': 'maxGridSize', 'major': 'major',
          'multiprocessors': 'multiProcessorCount', 'surface_alignment': 'surfaceAlignment', 'ecc': 'ECCEnabled', 'pci_bus': 'pciBusID',
          'bus_bits': 'memoryBusWidth', 'threads_per_multiprocessor': 'maxThreadsPerMultiProcessor', 'managed': 'managedMemory',
          'cooperative': 'cooperativeLaunch', 'shared_per_block_optin': 'sharedMemPerBlockOptin', 'reserved': 'reserved'}
SIZES = {'struct cudart_device': 'struct cudaDeviceProp', 'struct cudart_pointer': 'struct cudaPointerAttributes',
         'struct cudart_function': 'struct cudaFuncAttributes', 'struct cudart_launch': 'cudaLaunchConfig_t'}


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_layouts_are_nvidias(pytorch, tmp_path):
    """Of the headers that come with PyTorch's libraries; ours are declared beside them, without the driver's names that both have."""
    packages = next((pytorch.parents[1] / 'lib').glob('python3*')) / 'site-packages'
    ours = (foreign.ROOT / 'sim/cudart/cudart-abi.h').read_text().replace('#include "shim/cuda-abi.h"', 'typedef void *CUstream;')
    checks = [f'_Static_assert(offsetof(struct cudart_device, {our}) == offsetof(struct cudaDeviceProp, {their}), "{our}");'
              for our, their in FIELDS.items()]
    checks += [f'_Static_assert(sizeof({our}) == sizeof({their}), "{our}");' for our, their in SIZES.items()]
    (tmp_path / 'check.c').write_text('\n'.join(['#include <cuda_runtime_api.h>', ours.replace('#pragma once', ''), *checks]))
    done = subprocess.run(['gcc', '-fsyntax-only', f'-I{packages}/nvidia/cu13/include', f'-I{packages}/triton/backends/nvidia/include',
                           tmp_path / 'check.c'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
