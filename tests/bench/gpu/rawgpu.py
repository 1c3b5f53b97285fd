# SPDX-License-Identifier: Apache-2.0
"""Memory of the first GPU by ioctls of the kernel's driver alone: no library of NVIDIA's, no context, no channel. Numbers and
layouts are of the open kernel modules (nvos.h, cl0080.h, nv-ioctl-numbers.h), branches 535 to 580."""
import ctypes
import fcntl
import os
import struct

RM_ALLOC, REGISTER_FD = 0x2B, 0xC9
ROOT_CLIENT, DEVICE, SUBDEVICE, MEMORY_LOCAL_USER = 0x41, 0x80, 0x2080, 0x40
DEVICE_ID, SUBDEVICE_ID, FIRST_MEMORY = 0xD0000001, 0xD0000002, 0xD0001000
PIECE = 256 << 20
NO_ROUTE = -1

NVOS21 = struct.Struct('<IIIIQII')  # root, parent, new, class, parameters, their size, status
MEMORY = struct.Struct('<IIIIIiIIIIIxxxxQQQQQQQIIIIi4x')  # owner, type, flags, ..., size at its third Q
DEVICE_PARAMETERS, SUBDEVICE_PARAMETERS = struct.pack('<IIIIi4xQQQI4x', *[0] * 9), struct.pack('<I', 0)


def request(number, size):
    return 3 << 30 | size << 16 | ord('F') << 8 | number


class Rm:
    def __init__(self, has_subdevice):
        self.control, self.gpu = os.open('/dev/nvidiactl', os.O_RDWR), os.open('/dev/nvidia0', os.O_RDWR)
        self.ioctl(self.gpu, REGISTER_FD, struct.pack('<i', self.control))
        self.client = self.alloc(0, 0, 0, ROOT_CLIENT, b'')
        self.alloc(self.client, self.client, DEVICE_ID, DEVICE, DEVICE_PARAMETERS)
        if has_subdevice:
            self.alloc(self.client, DEVICE_ID, SUBDEVICE_ID, SUBDEVICE, SUBDEVICE_PARAMETERS)

    @staticmethod
    def ioctl(fd, number, data):
        buffer = bytearray(data)
        fcntl.ioctl(fd, request(number, len(data)), buffer)
        return bytes(buffer)

    def alloc(self, root, parent, new, kind, parameters):
        """The handle. OSError with the status of NVIDIA's resource manager."""
        room = ctypes.create_string_buffer(parameters, len(parameters)) if parameters else None
        answer = NVOS21.unpack(self.ioctl(self.control, RM_ALLOC, NVOS21.pack(root, parent, new, kind, ctypes.addressof(room) if room else 0,
                                                                               len(parameters), 0)))
        if answer[6]:
            raise OSError(answer[6], f'status {answer[6]:#x} for class {kind:#x}')
        return answer[2]

    def take(self, number):
        self.alloc(self.client, DEVICE_ID, FIRST_MEMORY + number, MEMORY_LOCAL_USER,
                   MEMORY.pack(1, *[0] * 10, 0, 0, PIECE, 0, 0, 0, 0, *[0] * 5))


def take(wanted, has_subdevice=True):
    """(the last status, bytes); NO_ROUTE: there is no such device. Who has no subdevice is in no list of the module's either."""
    global rm  # held until the process ends
    n = 0
    try:
        rm = Rm(has_subdevice)
        while n * PIECE < wanted:
            rm.take(n)
            n += 1
    except FileNotFoundError:
        return NO_ROUTE, 0
    except OSError as error:
        return error.errno, n * PIECE
    return 0, n * PIECE
