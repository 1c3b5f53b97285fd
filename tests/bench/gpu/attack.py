# SPDX-License-Identifier: Apache-2.0
"""What root in a container may try against its own limit and against a neighbour. Prints as JSON what of it succeeded; each
attempt is one function, which raises when it fails.

    attack.py DIRECTORY NEIGHBOUR
        the directory of its own grant, as it sees it, and of a neighbour's, as the node sees it
"""
import ctypes
import fcntl
import glob
import json
import mmap
import os
import socket
import struct
import sys

REGISTER, CHARGE, RESERVE, RELEASE, ENTER = range(1, 6)
WELCOME, GRANTED = 101, 103
REQUEST, ANSWER = struct.Struct('<IIQQQQ24s'), struct.Struct('<IIQQ40s')
PAGE_SIZE = 4096
SEALED = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
MS_REMOUNT, MS_BIND, PTRACE_SEIZE = 32, 4096, 0x4206
libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Refused(Exception):
    pass


class Connection:
    def __init__(self, directory):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(5)
        self.socket.connect(f'{directory}/arbiter.sock')
        self.page = None
        answer, fds = self.ask(REGISTER, size=1)
        if answer[0] != WELCOME:
            raise Refused(answer[4].rstrip(b'\0').decode())
        self.page, = fds

    def send(self, kind, device=0, size=0, wanted=0, allocated=0):
        self.socket.send(REQUEST.pack(kind, device, 1, size, wanted, allocated, b'attack'))

    def ask(self, *words, **named):
        self.send(*words, **named)
        data, fds, _, _ = socket.recv_fds(self.socket, 1024, 4)
        if len(data) != ANSWER.size:
            raise Refused('disconnected')
        return ANSWER.unpack(data), fds

    def shown(self):
        """(limit, charged) of its first device."""
        return struct.unpack_from('<QQ', mmap.mmap(self.page, PAGE_SIZE, mmap.MAP_SHARED, mmap.PROT_READ), 64 + 16)


own, neighbour = sys.argv[1:3]


# --- files and mounts ---

def write_its_limits():
    with open(f'{own}/limits', 'w') as file:
        file.write('mode none\n')


def make_its_directory_writable():
    check(libc.mount(None, own.encode(), None, ctypes.c_ulong(MS_REMOUNT | MS_BIND), None))


def replace_its_socket():
    os.unlink(f'{own}/arbiter.sock')


def unmount_the_preload():
    check(libc.umount2(b'/etc/ld.so.preload', 2))


def write_the_library():
    with open('/opt/gpuslice/lib/libgpuslice.so', 'r+b') as file:
        file.write(b'x')


# --- its page ---

def write_its_page():
    os.write(Connection(own).page, b'x')


def map_its_page_writable():
    mmap.mmap(Connection(own).page, PAGE_SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


def resize_its_page():
    os.ftruncate(Connection(own).page, 0)


def unseal_its_page():
    page = Connection(own).page
    fcntl.fcntl(page, fcntl.F_ADD_SEALS, 0)
    if fcntl.fcntl(page, fcntl.F_GET_SEALS) & SEALED == SEALED:
        raise Refused('it is sealed')


def reopen_its_page():
    with open(f'/proc/self/fd/{Connection(own).page}', 'r+b', buffering=0) as again:
        again.write(b'x')


# --- what it says ---

def reserve_more_than_its_limit():
    connection = Connection(own)
    limit, _ = connection.shown()
    answer, _ = connection.ask(RESERVE, size=limit + 1, wanted=limit + 1)
    if answer[0] != GRANTED:
        raise Refused('denied')


def release_what_it_does_not_have():
    connection = Connection(own)
    _, before = connection.shown()
    connection.send(RELEASE, size=1 << 40)
    try:
        connection.ask(RESERVE, size=1, wanted=1)
    except (Refused, OSError):
        raise Refused('disconnected') from None
    if connection.shown()[1] >= before:
        raise Refused('nothing is less')


def claim_a_negative_size():
    connection = Connection(own)
    connection.send(CHARGE, size=(1 << 64) - (1 << 30))
    answer, _ = connection.ask(RESERVE, size=connection.shown()[0] + 1)
    if answer[0] != GRANTED:
        raise Refused('denied')


def use_a_device_that_it_has_not():
    answer, _ = Connection(own).ask(RESERVE, device=15, size=1 << 30, wanted=1 << 30)
    if answer[0] != GRANTED:
        raise Refused('denied')


def pass_descriptors():
    connection = Connection(own)
    socket.send_fds(connection.socket, [REQUEST.pack(RESERVE, 0, 1, 1, 1, 0, b'')], [connection.page])
    if not connection.socket.recv(1024):
        raise Refused('disconnected')


# --- its neighbour ---

def register_as_its_neighbour():
    Connection(neighbour)


def trace_its_neighbour():
    """The first process that it sees and that is not of its own container."""
    mine = open('/proc/self/cgroup').read()
    for path in glob.glob('/proc/[0-9]*/cgroup'):
        pid = int(path.split('/')[2])
        if open(path).read() != mine:
            check(libc.ptrace(PTRACE_SEIZE, pid, None, None))
            return
    raise Refused('it sees no other container')


def take_descriptors_of_its_neighbour():
    """By pidfd_getfd, of every process number that there may be."""
    mine = {int(name) for name in os.listdir('/proc') if name.isdigit()}
    for pid in range(1, 32768):
        if pid in mine:
            continue
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        check(libc.syscall(438, fd, 0, 0))
        return
    raise Refused('it sees no other process')


ATTEMPTS = (write_its_page, map_its_page_writable, resize_its_page, unseal_its_page, reopen_its_page, reserve_more_than_its_limit,
            release_what_it_does_not_have, claim_a_negative_size, use_a_device_that_it_has_not, pass_descriptors,
            register_as_its_neighbour, trace_its_neighbour, take_descriptors_of_its_neighbour, write_the_library, unmount_the_preload,
            make_its_directory_writable, write_its_limits, replace_its_socket)


def attempt(act):
    """Why not; None: it succeeded."""
    try:
        act()
        return None
    except (OSError, ValueError, Refused) as error:
        return str(error)


def main():
    print(json.dumps({act.__name__: attempt(act) for act in ATTEMPTS}), flush=True)
    sys.stdin.read()


if __name__ == '__main__':
    main()
