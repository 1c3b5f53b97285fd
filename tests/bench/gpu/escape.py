# SPDX-License-Identifier: Apache-2.0
"""Takes memory of the first GPU in a way that may get round the preloaded library, and keeps it until its input ends. It
prints a line: the last code, and how many bytes it got; and on the way, to standard error, what it has so far.

    escape.py ROUTE BYTES
"""
import ctypes
import os
import shutil
import struct
import sys
import tempfile

CUDA = 'libcuda.so.1'
PIECE = 256 << 20
NO_ROUTE = -1
DEEPBIND, NEW_NAMESPACE = 8, -1
DT_STRTAB, DT_SYMTAB = 5, 6
libc = ctypes.CDLL(None)
libc.dlmopen.restype = libc.dlvsym.restype = ctypes.c_void_p


def by_dlsym(library):
    def find(name):
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    return find


def by_dlvsym():
    handle = ctypes.c_void_p(ctypes.CDLL(CUDA)._handle)

    def find(name):
        return libc.dlvsym(handle, name.encode(), b'NONE_1.0') or by_dlsym(ctypes.CDLL(CUDA))(name)
    return find


def by_own_dlsym():
    """libc's own, which is asked for by its version and in its own library."""
    own = ctypes.c_void_p(ctypes.CDLL('libc.so.6')._handle)
    address = libc.dlvsym(own, b'dlsym', b'GLIBC_2.34') or libc.dlvsym(own, b'dlsym', b'GLIBC_2.2.5')
    real = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(address)
    handle = ctypes.CDLL(CUDA)._handle
    return lambda name: real(handle, name.encode())


def by_namespace():
    """In a namespace of the loader's where nothing is preloaded."""
    handle = libc.dlmopen(ctypes.c_long(NEW_NAMESPACE), CUDA.encode(), os.RTLD_NOW)
    if not handle:
        return None
    return by_elf(handle)


def by_elf(handle):
    """As the file itself lists them: nobody is asked."""
    base, _, dynamic = struct.unpack('QQQ', ctypes.string_at(handle, 24))
    entries, at = {}, dynamic
    while (pair := struct.unpack('QQ', ctypes.string_at(at, 16)))[0]:
        entries[pair[0]] = pair[1]
        at += 16
    strings, symbols = (value if value > base else base + value for value in (entries[DT_STRTAB], entries[DT_SYMTAB]))

    def find(name):
        for at in range(symbols, strings, 24):
            text, info, _, section, value, _ = struct.unpack('IBBHQQ', ctypes.string_at(at, 24))
            if section and info & 15 == 2 and ctypes.string_at(strings + text) == name.encode():
                return base + value
        return None
    return find


def by_copy():
    """Under a name that is nobody's."""
    with open('/proc/self/maps') as maps:
        ctypes.CDLL(CUDA)
        path = next(line.split()[-1] for line in maps if 'libcuda.so' in line)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, f'{folder}/private.so')
        return by_dlsym(ctypes.CDLL(f'{folder}/private.so'))


ROUTES = {
    'dlsym': lambda: by_dlsym(ctypes.CDLL(CUDA)),
    'dlvsym': by_dlvsym,
    'deepbind': lambda: by_dlsym(ctypes.CDLL(CUDA, mode=os.RTLD_NOW | DEEPBIND)),
    'copy': by_copy,
    'own-dlsym': by_own_dlsym,
    'namespace': by_namespace,
    'elf': lambda: by_elf(ctypes.CDLL(CUDA)._handle),
}


class Cuda:
    def __init__(self, find):
        self.find = find

    def call(self, name, *words):
        address = self.find(name)
        return ctypes.CFUNCTYPE(ctypes.c_int, *map(type, words))(address)(*words) if address else NO_ROUTE

    def start(self):
        device, context = ctypes.c_int(), ctypes.c_void_p()
        codes = (lambda: self.call('cuInit', ctypes.c_uint(0)),
                 lambda: self.call('cuDeviceGet', ctypes.pointer(device), ctypes.c_int(0)),
                 lambda: self.call('cuDevicePrimaryCtxRetain', ctypes.pointer(context), device),
                 lambda: self.call('cuCtxSetCurrent', context))
        return next((code for code in (one() for one in codes) if code), 0)

    def take(self, size):
        return self.call('cuMemAlloc_v2', ctypes.pointer(ctypes.c_uint64()), ctypes.c_size_t(size))


def take(route, wanted):
    find = ROUTES[route]()
    cuda = Cuda(find)
    code, got = cuda.start() if find else NO_ROUTE, 0
    while code == 0 and got < wanted:
        code = cuda.take(PIECE)
        got += PIECE if code == 0 else 0
        print('got', got, file=sys.stderr, flush=True)  # for who ends before it answers
    return code, got


def main():
    route, wanted = sys.argv[1], int(sys.argv[2])
    if route in ('ioctl', 'ioctl-bare'):
        import rawgpu
        code, got = rawgpu.take(wanted, has_subdevice=route == 'ioctl')
    else:
        code, got = take(route, wanted)
    print(code, got, flush=True)
    sys.stdin.read()


if __name__ == '__main__':
    main()
