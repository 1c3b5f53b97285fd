# SPDX-License-Identifier: Apache-2.0
"""An arbiter of one container, for tests of what is preloaded: keeps a ledger as src/limits says, and stands still or refuses where a test wants it.

It knows of no driver: what contexts cost is a figure, what modules took is as reported, and what a process reserved is gone when it disconnects.
Nor does it work out turns: a test opens and closes the gates."""
import array
import ctypes
import fcntl
import mmap
import os
import select
import socket
import struct
import threading
import time

REGISTER, CHARGE, RESERVE, RELEASE, ENTER, ENTERED, LEFT, GREW, SHRANK, CLAIMS = range(1, 11)
WELCOME, REFUSED, GRANTED, DENIED = range(101, 105)
NONE, OBSERVE, ENFORCED = range(3)
COMPUTE_NONE, COMPUTE_OBSERVE, COMPUTE_ELASTIC, COMPUTE_STRICT = range(4)
OPEN, TURN, CLOSED = range(3)
REQUEST, ANSWER = struct.Struct('<IIQQQQ24s'), struct.Struct('<IIQQ40s')
MAGIC, VERSION, SEALS, PAGE = 0x6c737067, 1, 0x17, 4096
DEVICES_AT, GATE_NUMBER_AT, DEVICE_SIZE, BEAT_AT = 64, 60, 96, 20
MIB = 1 << 20
SYS_FUTEX = {'x86_64': 202, 'aarch64': 98}[os.uname().machine]
libc = ctypes.CDLL(None)


class Claims:
    """What a process claims of its work, as src/limits/claims.h has it; `changes` are written over it before it is handed out."""
    MAGIC, VERSION, SEALS, SIZE, LANES = 0x63737067, 1, 0x7, 32768, 48

    def __init__(self, changes=None, seals=SEALS, size=SIZE):
        self.fd = libc.memfd_create(b'claims', 3)
        os.ftruncate(self.fd, size)
        self.page = mmap.mmap(self.fd, size)
        for at, data in {0: struct.pack('<II', self.MAGIC, self.VERSION), **(changes or {})}.items():
            self.page[at:at + len(data)] = data
        if seals:
            fcntl.fcntl(self.fd, 1033, seals)

    def device(self, device=0):
        words = struct.unpack_from('<QQQIIII16I96I', self.page, 64 + device * 488)
        names = ('n_launched', 'n_done', 'waited_ns', 'n_waiting', 'n_late', 'n_awaiting', 'n_awaits')
        return {**dict(zip(names, words)), 'waits': words[7:23], 'lanes': list(zip(words[23::2], words[24::2]))}

    def lanes(self, device=0):
        """(fence, done) of those that were used."""
        return [lane for lane in self.device(device)['lanes'] if lane != (0, 0)]

    def __getattr__(self, name):
        if name.startswith('_'):
            raise AttributeError(name)
        return self.device()[name]


class Arbiter:
    """limits: [(uuid as text, bytes)]. While it beats and its share is as good as nothing, no closed gate is passed."""

    def __init__(self, folder, limits, mode=ENFORCED, context=518, revision=3, compute=COMPUTE_NONE, share=1):
        self.path, self.mode, self.context = folder / 'arbiter.sock', mode, context
        self.revision = revision  # of src/limits/message.h
        self.corrections = []  # bytes that readings show where GREW was denied, one after the other; none: it was right
        self.mode_meanwhile = None  # that holds before the reading which GREW waits for; then there is none
        self.n_readings = self.n_promised = 0
        self.reading_s = 0  # how long one takes
        self.returned, self.grown = [1] * len(limits), [0] * len(limits)  # bytes
        self.uuids = [bytes.fromhex(uuid.split('-', 1)[1].replace('-', '')) for uuid, _ in limits]
        self.limits = [size for _, size in limits]
        self.denied = [0] * len(limits)
        self.sessions, self.said, self.lock = {}, [], threading.Lock()
        self.pids = []  # that registered
        self.slowest_s = 0  # between two beats
        self.gates = [[OPEN, 0, 0, 0, compute, share] for _ in limits]  # as struct limits_device has them, from `gate` on
        self.claims = []  # that were handed out
        self.gives_claims = True
        self.claims_words = {}  # of Claims, for the next one
        self.beats = True
        self.answers = True  # or what is sent to it is lost
        self.reads = threading.Event()  # or it stands still
        self.reads.set()
        self.refuses = self.is_ended = False
        fd = libc.memfd_create(b'page', 3)
        os.ftruncate(fd, PAGE)
        self.page, self.page_fd = mmap.mmap(fd, PAGE), fd
        self.write_page()
        fcntl.fcntl(fd, 1033, SEALS)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.path.unlink(missing_ok=True)
        self.listener.bind(str(self.path))
        self.path.chmod(0o666)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()
        threading.Thread(target=self.beat, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def end(self):
        """As if it was killed: its page stays as it was."""
        self.is_ended = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.path.unlink(missing_ok=True)
        for connection in list(self.sessions):
            connection.shutdown(socket.SHUT_RDWR)

    def beat(self):
        last = time.monotonic()
        while not self.is_ended:
            if self.beats:
                self.write_beat()
            time.sleep(0.01)
            self.slowest_s, last = max(self.slowest_s, time.monotonic() - last), time.monotonic()

    def write_beat(self):
        self.page[BEAT_AT:BEAT_AT + 4] = struct.pack('<I', time.monotonic_ns() // 1000000 & 0xffffffff)

    def set_gate(self, gate, device=0, end=0, in_flight=0, **others):
        """Wakes the threads that wait for it, as the arbiter does."""
        with self.lock:
            words = self.gates[device]
            words[:4] = gate, words[1] + 1, end, in_flight
            words[4:] = others.get('compute', words[4]), others.get('share', words[5])
            self.write_page()
            word = (ctypes.c_char * PAGE).from_buffer(self.page)
            at = ctypes.addressof(word) + DEVICES_AT + device * DEVICE_SIZE + GATE_NUMBER_AT
            libc.syscall(SYS_FUTEX, ctypes.c_void_p(at), 1, 0x7fffffff, None, None, 0)

    def set_compute(self, compute, device=0):
        self.set_gate(self.gates[device][0], device, compute=compute)

    def charged(self, device=0):
        return sum(uses[device] for uses in self.sessions.values())

    def free(self, device):
        return max(self.limits[device] - self.charged(device), 0)

    def set_mode(self, mode):
        with self.lock:
            self.mode = mode
            self.write_page()

    def write_page(self):
        if self.beats:
            self.write_beat()
        header = struct.pack('<IIIII', MAGIC, VERSION, len(self.limits), self.mode, self.n_readings) + self.page[BEAT_AT:DEVICES_AT]
        devices = b''.join(struct.pack('<16sQQQQIIIIQIII4xQ', uuid, limit, self.charged(i), self.grown[i], self.denied[i], len(self.sessions), self.context,
                                       *self.gates[i], self.returned[i] if self.revision > 1 else 0)
                           for i, (uuid, limit) in enumerate(zip(self.uuids, self.limits)))
        self.put_page(header + devices)

    def put_page(self, data):
        self.page[:len(data)] = data

    def wait_said(self, kind, count=1):
        deadline = time.monotonic() + 10
        while sum(1 for said in self.said if said[0] == kind) < count:
            assert time.monotonic() < deadline, (kind, self.said)
            time.sleep(0.01)

    def serve(self, connection):
        while self.reads.wait() and (data := self.receive(connection)):
            with self.lock:
                if self.answers:
                    self.handle(connection, *REQUEST.unpack(data))
                    self.write_page()
        with self.lock:
            if not self.is_ended:
                self.sessions.pop(connection, None)
                self.write_page()
        connection.close()

    def has_read_all(self):
        with self.lock:
            return not select.select(list(self.sessions), [], [], 0)[0]

    def receive(self, connection):
        try:
            return connection.recv(REQUEST.size)
        except OSError:
            return b''

    def answer(self, connection, kind, sequence, size=0, ancillary=()):
        try:
            connection.sendmsg([ANSWER.pack(kind, self.mode, sequence, size, b'test')], ancillary)
        except OSError:
            pass

    def handle(self, connection, kind, device, sequence, size, wanted, allocated, _text):
        assert kind <= (LEFT, SHRANK, CLAIMS)[min(self.revision, 3) - 1]
        self.said.append((kind, device, size, wanted, allocated))
        if kind == REGISTER and self.refuses:
            self.answer(connection, REFUSED, sequence)
        elif kind == REGISTER:
            self.sessions[connection] = [0] * len(self.limits)
            self.pids.append(struct.unpack('3i', connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
            self.write_page()
            fds = array.array('i', [self.page_fd])
            self.answer(connection, WELCOME, sequence, self.revision, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        elif kind in (RESERVE, ENTER):
            self.decide(connection, device, sequence, *((size, wanted) if kind == RESERVE else [self.context * MIB] * 2))
        elif kind == GREW:
            self.grew(connection, device, sequence, size, wanted)
        elif kind == CLAIMS and self.gives_claims:
            self.claims.append(Claims(**self.claims_words))
            fds = array.array('i', [self.claims[-1].fd])
            self.answer(connection, GRANTED, sequence, 0, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        elif kind == CLAIMS:
            self.answer(connection, DENIED, sequence)
        elif kind == SHRANK:
            self.sessions[connection][device] -= min(size, self.sessions[connection][device])
            self.grown[device] -= min(size, self.grown[device])
        else:
            change = {CHARGE: size, RELEASE: -size, LEFT: -self.context * MIB}.get(kind, 0)
            self.sessions[connection][device] += change
            assert self.sessions[connection][device] >= 0, self.said[-5:]

    def grew(self, connection, device, sequence, size, wanted):
        fits = self.mode != ENFORCED or max(size, wanted) <= self.free(device)
        truth = size if fits or not self.corrections else self.corrections.pop(0)
        self.denied[device] += not fits
        self.sessions[connection][device] += size
        self.grown[device] += size
        if fits:
            self.answer(connection, GRANTED, sequence)
        else:
            self.promise(connection, device, truth - size)
            self.answer(connection, DENIED, sequence, self.n_promised)
        self.mode = self.mode if self.mode_meanwhile is None else self.mode_meanwhile

    def promise(self, connection, device, more):
        """A reading; without reading_s it is over at once."""
        self.n_promised += 1
        if self.mode_meanwhile is not None:
            return
        if self.reading_s:
            self.write_page()
            threading.Timer(self.reading_s, self.read, [connection, device, more, self.n_promised]).start()
        else:
            self.read(connection, device, more, self.n_promised)

    def read(self, connection, device, more, number):
        """Of the driver, which shows as much more."""
        self.sessions[connection][device] += more
        self.grown[device] += more
        self.n_readings = number
        self.write_page()

    def decide(self, connection, device, sequence, least, most):
        free = self.free(device)
        granted = most if self.mode != ENFORCED else min(most, free)
        if granted >= least:
            self.sessions[connection][device] += granted
            self.write_page()
            self.answer(connection, GRANTED, sequence, granted)
        else:
            self.denied[device] += 1
            self.write_page()
            self.answer(connection, DENIED, sequence, free)
