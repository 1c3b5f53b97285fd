# SPDX-License-Identifier: Apache-2.0
"""A process of a container that uses the protocol of src/limits/message.h, by its words and not by its code."""
import mmap
import os
import pickle
import signal
import socket
import struct

REGISTER, CHARGE, RESERVE, RELEASE, ENTER, ENTERED, LEFT, GREW, SHRANK, CLAIMS = range(1, 11)
WELCOME, REFUSED, GRANTED, DENIED = range(101, 105)
NONE, OBSERVE, ENFORCED = range(3)
REQUEST, ANSWER = struct.Struct('<IIQQQQ24s'), struct.Struct('<IIQQ40s')
SEALS = 0x17
PAGE_SIZE, DEVICES_AT, DEVICE_SIZE = 4096, 64, 96


class Page:
    """A container's page as it was at one moment."""

    def __init__(self, data):
        self.magic, self.version, self.n_devices, self.mode, self.n_reading = struct.unpack_from('<IIIII', data)
        self.devices = [self.device(data, DEVICES_AT + i * DEVICE_SIZE) for i in range(self.n_devices)]

    @staticmethod
    def device(data, at):
        names = ('uuid', 'limit', 'charged', 'overhead', 'n_denied', 'n_processes', 'context_mib',
                 'gate', 'gate_number', 'turn_end_ns', 'in_flight_us', 'compute', 'share_ppm')
        return dict(zip(names, struct.unpack_from('<16sQQQQIIIIQIII', data, at)))


class Child:
    """What runs in the forked process: one command at a time."""

    def __init__(self):
        self.socket = self.fd = self.page = None
        self.sequence, self.hoarded = 0, []

    def connect(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(30)
        self.socket.connect(path)

    def register(self, path, version=1):
        self.connect(path)
        answer = self.request(REGISTER, 0, version)
        if answer and self.fd is not None:
            self.page = mmap.mmap(self.fd, PAGE_SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        return answer

    def send(self, kind, device=0, size=0, wanted=0, allocated=0):
        self.sequence += 1
        self.socket.send(REQUEST.pack(kind, device, self.sequence, size, wanted, allocated, b'test'))

    def receive(self):
        """(kind, mode, bytes, text); None: the arbiter ended the connection."""
        try:
            data, fds, _, _ = socket.recv_fds(self.socket, 1024, 4)
        except ConnectionResetError:
            return None
        if not data:
            return None
        kind, mode, sequence, size, text = ANSWER.unpack(data)
        assert sequence == self.sequence
        if fds:
            self.fd, = fds
        return kind, mode, size, text.rstrip(b'\0').decode()

    def request(self, *words, **named):
        self.send(*words, **named)
        return self.receive()

    def hoard(self, path):
        """One more connection, which is kept and says nothing; why it was refused, "" = it is open."""
        more = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        more.connect(path)
        self.hoarded.append(more)
        more.settimeout(0.02 if len(self.hoarded) <= 256 else 30)
        try:
            _, _, _, _, text = ANSWER.unpack(more.recv(1024))
        except TimeoutError:
            return ''
        return text.rstrip(b'\0').decode()

    def raw(self, data):
        self.socket.send(data)

    def receive_raw(self):
        """b'': the arbiter ended the connection."""
        try:
            data, fds, _, _ = socket.recv_fds(self.socket, 1024, 4)
        except ConnectionResetError:
            return b''
        if fds:
            self.fd, = fds
            self.page = mmap.mmap(self.fd, PAGE_SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        return data

    def send_slow(self):
        """A message with a socket whose close takes 25 s, for who closes it last: what was written has no room."""
        listener = socket.create_server(('127.0.0.1', 0))
        slow = socket.create_connection(listener.getsockname())
        self.hoarded.append(listener.accept()[0])
        slow.setblocking(False)
        try:
            while True:
                slow.send(bytes(1 << 16))
        except BlockingIOError:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 25))
        socket.send_fds(self.socket, [REQUEST.pack(RESERVE, 0, 0, 0, 0, 0, b'')], [slow.fileno()])
        slow.close()

    def fds(self):
        """Of its page, and of its page of claims, which it asks for; None: that was denied."""
        page = self.fd
        kind, *_ = self.request(CLAIMS)
        claims, self.fd = self.fd, page
        return page, claims if kind == GRANTED else None

    def close(self):
        self.socket.close()

    def read_page(self):
        return self.page[:]

    def attack_page(self):
        """What of this succeeds; each is tried by a process with all capabilities."""
        import fcntl
        done = []

        def attempt(name, act):
            try:
                act()
                done.append(name)
            except (OSError, ValueError):
                pass

        def write_again(path):
            with open(path, 'r+b', buffering=0) as again:
                again.write(b'x')

        attempt('write', lambda: os.write(self.fd, b'x'))
        attempt('map', lambda: mmap.mmap(self.fd, PAGE_SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
        attempt('shrink', lambda: os.ftruncate(self.fd, 0))
        attempt('grow', lambda: os.ftruncate(self.fd, 1 << 20))
        attempt('unseal', lambda: fcntl.fcntl(self.fd, 1033, 0))
        attempt('reopen', lambda: write_again(f'/proc/self/fd/{self.fd}'))
        attempt('shrink again', lambda: os.truncate(f'/proc/self/fd/{self.fd}', 0))
        return done, fcntl.fcntl(self.fd, 1034)


class Client:
    """The test's end of it."""

    def __init__(self):
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(60)
        self.pid = os.fork()
        if not self.pid:
            self.control.close()
            self.serve(theirs)
        theirs.close()

    @staticmethod
    def serve(control):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        child, status = Child(), 0
        try:
            while command := control.recv(1 << 16):
                name, words, named = pickle.loads(command)
                try:
                    result = True, getattr(child, name)(*words, **named)
                except OSError as error:
                    result = False, error
                control.send(pickle.dumps(result))
        except BaseException:  # the test sees the end of the connection
            status = 1
        os._exit(status)

    def ask(self, name, *words, **named):
        self.control.send(pickle.dumps((name, words, named)))

    def result(self):
        good, result = pickle.loads(self.control.recv(1 << 16))
        if not good:
            raise result
        return result

    def __getattr__(self, name):
        if name.startswith('_'):
            raise AttributeError(name)

        def call(*words, **named):
            self.ask(name, *words, **named)
            return self.result()
        return call

    def page(self):
        return Page(self.read_page())

    def end(self, number=signal.SIGKILL):
        if self.pid:
            os.kill(self.pid, number)
            os.waitpid(self.pid, 0)
            self.control.close()
        self.pid = 0
