# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients of the CUDA driver API on the simulated libcuda.so.1: NVIDIA's cuda-python (cuda.bindings and cuda.core) and Numba.

Each finds its functions as on a real node, through cuGetProcAddress or dlsym, and sees what NVML and the simulator's own tool see."""
import sys

import pytest

import foreign

MIB = 1 << 20
CONTEXT_MIB = 518  # what a context costs on Hopper (doc/design/0025)

BINDINGS = '''
import numpy as np
from cuda.bindings import driver as cu

def ok(result):
    assert result[0] == cu.CUresult.CUDA_SUCCESS, result
    return result[1] if len(result) == 2 else result[1:]

ok(cu.cuInit(0))
gpu = ok(cu.cuDeviceGet(3))
print(ok(cu.cuDeviceGetCount()), ok(cu.cuDriverGetVersion()), ok(cu.cuDeviceGetName(64, gpu)).split(b'\\0')[0].decode())
context = ok(cu.cuDevicePrimaryCtxRetain(gpu))
ok(cu.cuCtxSetCurrent(context))
free, total = ok(cu.cuMemGetInfo())
print((total - free) >> 20)
memory = ok(cu.cuMemAlloc(1 << 30))
print((free - ok(cu.cuMemGetInfo())[0]) >> 20)
'''
FILLS = '''
host, stream = np.zeros(1 << 18, dtype=np.uint32), ok(cu.cuStreamCreate(0))
ok(cu.cuMemsetD32Async(memory, 7, host.size, stream))
ok(cu.cuMemcpyDtoHAsync(host.ctypes.data, memory, host.nbytes, stream))
ok(cu.cuStreamSynchronize(stream))
print((host == 7).all())
ok(cu.cuStreamBeginCapture(stream, cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL))
ok(cu.cuMemsetD32Async(memory, 9, 16, stream))
graph = ok(cu.cuGraphInstantiate(ok(cu.cuStreamEndCapture(stream)), 0))
ok(cu.cuGraphLaunch(graph, stream))
ok(cu.cuStreamSynchronize(stream))
ok(cu.cuMemcpyDtoH(host.ctypes.data, memory, host.nbytes))
print(host[:17].tolist())
'''
TOO_MUCH = '''
print(cu.cuMemAlloc(total)[0].value, ok(cu.cuGetErrorName(cu.CUresult.CUDA_ERROR_OUT_OF_MEMORY)).decode())
'''

CORE = '''
from cuda.core import Buffer, Device
gpu = Device(1)
gpu.set_current()
stream = gpu.create_stream()
memory = gpu.allocate(64 << 20, stream=stream)
again = gpu.allocate(64 << 20, stream=stream)
again.copy_from(memory, stream=stream)
stream.sync()
print(gpu.name, memory.size, memory.is_device_accessible, memory.handle != again.handle)
try:
    gpu.allocate(1 << 40, stream=stream)
except Exception as error:
    print(type(error).__name__, error)
memory.close(stream)
again.close(stream)
stream.sync()
'''

KERNELS = '''
from cuda.core import Device, LaunchConfig, ObjectCode, launch
gpu = Device()
gpu.set_current()
stream = gpu.create_stream()
kernel = ObjectCode.from_ptx(b".version 7.0\\n.target sm_70\\n.address_size 64\\n.visible .entry spin_us(.param .u32 us)\\n{ ret; }").get_kernel('spin_us')
options = {'timing_enabled': True}
before, after = gpu.create_event(options), gpu.create_event(options)
stream.record(before)
launch(stream, LaunchConfig(grid=1, block=1), kernel, 20000)
stream.record(after)
stream.sync()
print(type(kernel).__name__, kernel.attributes.max_threads_per_block, after - before >= 20)
'''

NUMBA = '''
import numpy as np
from numba import cuda
print(len(cuda.gpus), cuda.current_context().get_memory_info().total >> 20)
numbers = np.arange(1 << 20)
print((cuda.to_device(numbers).copy_to_host() == numbers).all())
stream = cuda.stream()
squares = cuda.device_array((1024, 1024), dtype=np.float32, stream=stream)
stream.synchronize()
print(squares.nbytes)
try:
    cuda.device_array(1 << 38, dtype=np.float32)
except cuda.cudadrv.driver.CudaAPIError as error:
    print(error)
'''


@pytest.fixture
def p5(tmp_path):
    machine = foreign.Machine(foreign.ROOT / 'sim/machines/p5.48xlarge.yaml', tmp_path)
    machine.env['LD_LIBRARY_PATH'] += f':{foreign.BUILD}/sim/cuda'
    return machine


def test_cuda_bindings_allocates(p5):
    seen = p5.output(sys.executable, '-c', BINDINGS + TOO_MUCH).splitlines()
    assert seen == ['8 13000 NVIDIA H100 80GB HBM3', str(CONTEXT_MIB), '1024', '2 CUDA_ERROR_OUT_OF_MEMORY']


def test_cuda_bindings_fills_copies_and_launches_graphs(p5):
    seen = p5.output(sys.executable, '-c', BINDINGS + FILLS).splitlines()
    assert seen[3:] == ['True', str([9] * 16 + [7])]


def test_nvml_sees_what_cuda_bindings_has(p5):
    """In the middle of the program; after its end it has nothing."""
    look = 'from pynvml import *; nvmlInit(); print([[p.usedGpuMemory >> 20 for p in nvmlDeviceGetComputeRunningProcesses(' \
           'nvmlDeviceGetHandleByIndex(i))] for i in (2, 3)])'
    show = f'import subprocess, sys; print(subprocess.check_output([sys.executable, "-c", {look!r}], text=True))'
    assert p5.output(sys.executable, '-c', BINDINGS + show).split('\n')[3] == f'[[], [{CONTEXT_MIB + 1024}]]'
    assert p5.output(sys.executable, '-c', look).strip() == '[[], []]'


def test_cuda_core_has_a_pool(p5):
    pytest.importorskip('cuda.core')
    seen = p5.output(sys.executable, '-c', CORE).splitlines()
    assert seen[0] == f'NVIDIA H100 80GB HBM3 {64 * MIB} True True'
    assert 'OUT_OF_MEMORY' in seen[1]


def test_cuda_core_launches_a_kernel_of_a_library(p5):
    """It takes as long as its first parameter says, in microseconds."""
    assert p5.output(sys.executable, '-c', KERNELS).split() == ['Kernel', '1024', 'True']


def test_numba_has_arrays(p5):
    seen = p5.output(sys.executable, '-c', NUMBA).splitlines()
    assert seen[:3] == ['8 81079', 'True', str(4 * MIB)]
    assert seen[3].startswith('[2] ') and 'CUDA_ERROR_OUT_OF_MEMORY' in seen[3]
