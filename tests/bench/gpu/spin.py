# SPDX-License-Identifier: Apache-2.0
"""Kernels that take a known time, launched by the driver's own functions: no compiler, no package. On the GPU a kernel counts so many
rounds as take its time while it is alone, whatever preempts it; the simulator takes the time by the kernel's name and first parameter."""
import ctypes
import time

PTX = b'''.version 6.0
.target sm_50
.address_size 64
.visible .entry spin_us(.param .u32 us, .param .u64 rounds, .param .u64 stop) {
  .reg .u64 %n, %at, %stop; .reg .u32 %x, %us; .reg .pred %p; .reg .u32 %flag;
  ld.param.u32 %us, [us];
  ld.param.u64 %n, [rounds];
  ld.param.u64 %stop, [stop];
  mov.u64 %at, 0;
  mov.u32 %x, %us;
LOOP:
  mad.lo.u32 %x, %x, 1664525, 1013904223;
  mad.lo.u32 %x, %x, 1664525, 1013904223;
  mad.lo.u32 %x, %x, 1664525, 1013904223;
  mad.lo.u32 %x, %x, 1664525, 1013904223;
  add.u64 %at, %at, 1;
  setp.lt.u64 %p, %at, %n;
  @%p bra LOOP;
  setp.ne.u32 %p, %x, 77;
  @%p bra END;
  st.global.u32 [%stop], %x;
END:
  ret;
}
.visible .entry fault() {
  .reg .u64 %at; .reg .u32 %x;
  mov.u64 %at, 16;
  mov.u32 %x, 1;
  st.global.u32 [%at], %x;
  ret;
}
.visible .entry nothing() { ret; }
'''
TRIAL_ROUNDS = 200_000
BLOCKS, THREADS = 132, 128


class Cuda:
    """One context, one stream."""

    def __init__(self):
        self.library = ctypes.CDLL('libcuda.so.1')
        self('cuInit', 0)
        self.context, self.stream, module = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        self('cuDevicePrimaryCtxRetain', ctypes.byref(self.context), 0)
        self('cuCtxSetCurrent', self.context)
        self('cuStreamCreate', ctypes.byref(self.stream), 1)
        self('cuModuleLoadData', ctypes.byref(module), PTX)
        self.module, self.functions, self.scratch = module, {}, ctypes.c_uint64()
        self('cuMemAlloc_v2', ctypes.byref(self.scratch), 256)
        self.rounds_per_us = self.measure()

    def __call__(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code:
            raise OSError(code, f'{name}: CUDA error {code}')

    def function(self, name):
        if name not in self.functions:
            self.functions[name] = ctypes.c_void_p()
            self('cuModuleGetFunction', ctypes.byref(self.functions[name]), self.module, name.encode())
        return self.functions[name]

    def rounds(self, rounds, us, stream=None, blocks=BLOCKS):
        values = ctypes.c_uint32(us), ctypes.c_uint64(rounds), self.scratch
        pointers = (ctypes.c_void_p * 3)(*(ctypes.addressof(value) for value in values))
        self('cuLaunchKernel', self.function('spin_us'), blocks, 1, 1, THREADS, 1, 1, 0, stream or self.stream, pointers, None)

    def spin(self, us, stream=None):
        self.rounds(max(1, round(us * self.rounds_per_us)), us, stream)

    def launch(self, name):
        self('cuLaunchKernel', self.function(name), 1, 1, 1, 1, 1, 1, 0, self.stream, None, None)

    def wait(self, stream=None):
        self('cuStreamSynchronize', stream or self.stream)

    def measure(self):
        """The least of some is least disturbed; the first ones warm the clocks up."""
        least = float('inf')
        for _ in range(60):
            begun = time.perf_counter()
            self.rounds(TRIAL_ROUNDS, 1000)
            self.wait()
            least = min(least, time.perf_counter() - begun)
        return TRIAL_ROUNDS / (least * 1e6)

    def event(self):
        event = ctypes.c_void_p()
        self('cuEventCreate', ctypes.byref(event), 2)  # without timing
        return event

    def graph(self, us, n):
        """n kernels of such a time in a row, as one launch."""
        graph, launchable = ctypes.c_void_p(), ctypes.c_void_p()
        self('cuStreamBeginCapture_v2', self.stream, 1)
        for _ in range(n):
            self.spin(us)
        self('cuStreamEndCapture', self.stream, ctypes.byref(graph))
        self('cuGraphInstantiateWithFlags', ctypes.byref(launchable), graph, ctypes.c_ulonglong(0))
        return launchable
