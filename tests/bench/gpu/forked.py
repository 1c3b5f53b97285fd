# SPDX-License-Identifier: Apache-2.0
"""A process that has memory of the GPU forks, once for each line on its standard input; prints the codes that its child gets,
and what it gets itself afterwards. A child that does not return within PATIENCE_S is a hang: code -2.

    forked.py BYTES
"""
import ctypes
import os
import select
import sys

from escape import ROUTES, Cuda

PATIENCE_S = 10
HANG = -2
PIECE = 4 << 20


def child(cuda, pipe):
    codes = [cuda.take(PIECE), cuda.call('cuMemGetInfo_v2', ctypes.pointer(ctypes.c_size_t()), ctypes.pointer(ctypes.c_size_t())),
             cuda.call('cuInit', ctypes.c_uint(0)), cuda.take(PIECE)]
    os.write(pipe, ' '.join(map(str, codes)).encode())
    os._exit(0)


def fork(cuda):
    """The child's codes."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        child(cuda, theirs)
    os.close(theirs)
    codes = os.read(ours, 1000).decode() if select.select([ours], [], [], PATIENCE_S)[0] else str(HANG)
    os.close(ours)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return codes or 'ended'


def main():
    cuda = Cuda(ROUTES['dlsym']())
    print(cuda.start() or cuda.take(int(sys.argv[1])), flush=True)
    for _ in sys.stdin:
        codes = fork(cuda)
        print(cuda.take(PIECE), codes, flush=True)


if __name__ == '__main__':
    main()
