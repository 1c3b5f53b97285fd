# SPDX-License-Identifier: Apache-2.0
"""The first process of an imitated container: namespaces and mounts as a runtime makes them, and the capabilities of one
that is not privileged. It starts the programs that it receives, a line of JSON each, and ends with its connection.

    container.py SOCKET POD
"""
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys

NEWNS, NEWIPC, NEWPID = 0x20000, 0x08000000, 0x20000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MNT_DETACH, PR_SET_PDEATHSIG, PR_CAPBSET_DROP = 2, 1, 24
# What containerd and Docker leave: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW,
# SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP.
CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount(source, target, kind=None, flags=0, data=None):
    check(libc.mount(source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), data and data.encode()))


def bind(source, target):
    mount(source, target, flags=MS_BIND)
    mount(source, target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def add_places(folder):
    """Empty files and folders for the mounts, as an image need not have them: laid over the node's, or else made there."""
    for top in os.listdir(folder):
        try:
            mount('none', f'/{top}', 'overlay', data=f'lowerdir={folder}/{top}:/{top}')
        except OSError:
            for root, folders, files in os.walk(f'{folder}/{top}'):
                for name in folders:
                    os.makedirs(os.path.join('/', os.path.relpath(root, folder), name), exist_ok=True)
                for name in files:
                    open(os.path.join('/', os.path.relpath(root, folder), name), 'a').close()


def contain(places, mounts):
    """The namespaces that could be made, by name; the rest are the node's."""
    made = []
    for name, flag in (('mnt', NEWNS), ('ipc', NEWIPC), ('pid', NEWPID)):
        if libc.unshare(flag) == 0:
            made.append(name)
    if 'mnt' in made:
        mount('none', '/', flags=MS_REC | MS_PRIVATE)
        add_places(places)
        for source, target in mounts:
            bind(source, target)
    return made


def become_first():
    """Process 1 of the new namespace. Who ends us ends it, and so all that are in it."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    mount('proc', '/proc', 'proc')


def start(path, order, folder):
    """Its standard input and output is a connection that it makes itself, so that the other end knows its process."""
    def prepare():
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        sock.sendall(f'program {order["token"]}\n'.encode())
        os.dup2(sock.fileno(), 0)
        os.dup2(sock.fileno(), 1)
        if order['cgroup']:
            with open(order['cgroup'] + '/cgroup.procs', 'w') as procs:
                procs.write('0')
        if order['is_bare']:  # what somebody does who may unmount
            check(libc.unshare(NEWNS))
            check(libc.umount2(b'/etc/ld.so.preload', MNT_DETACH))
        for number in range(64):
            if number not in CAPABILITIES and not order['is_privileged']:
                libc.prctl(PR_CAPBSET_DROP, number)  # fails beyond the last

    with open(f'{folder}/{order["token"]}.err', 'w') as errors:
        return subprocess.Popen(order['argv'], env=order['environment'], stderr=errors, preexec_fn=prepare)


def main():
    path, pod = sys.argv[1:]
    control = socket.socket(socket.AF_UNIX)
    control.connect(path)
    control.sendall(f'pod {pod}\n'.encode())
    lines = control.makefile('r')
    setup = json.loads(lines.readline())
    made = contain(setup['places'], setup['mounts'])
    if 'pid' in made:
        become_first()
    control.sendall((json.dumps(made) + '\n').encode())
    running = [start(path, json.loads(line), setup['folder']) for line in lines]
    for one in running:
        one.kill()


if __name__ == '__main__':
    main()
