# SPDX-License-Identifier: Apache-2.0
"""CuPy: its pool, a kernel compiled at run time, and a kernel of its own source."""
try:
    import cupy
except ImportError as problem:
    from common import skip
    skip(problem)
from common import show

x = cupy.arange(1 << 20, dtype=cupy.float32).reshape(1024, 1024) / (1 << 20)
twice = cupy.ElementwiseKernel('float32 a', 'float32 b', 'b = a + a', 'twice')(x)
raw = cupy.RawKernel(r'extern "C" __global__ void third(float *a) { a[blockIdx.x * blockDim.x + threadIdx.x] /= 3; }', 'third')
raw((1024 * 4,), (256,), (twice,))
pool = cupy.cuda.MemoryAsyncPool()
with cupy.cuda.using_allocator(pool.malloc):
    y = cupy.sort((x @ x.T).ravel())
cupy.cuda.runtime.deviceSynchronize()
show(cupy.asnumpy(twice), cupy.asnumpy(y))
