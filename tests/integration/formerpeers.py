# SPDX-License-Identifier: Apache-2.0
"""Library, arbiter and agent as they were in the first release with memory limits: revision 1 of src/limits/message.h.

Frozen: what stands here was recorded from programs of commit 7a06fdb and is not changed with the protocol. A test that fails here
has found a container or a node whose memory limit does not survive an upgrade."""
import socket
import struct
from pathlib import Path

from limitsarbiter import MIB, Arbiter
from limitsclient import ENTER, REGISTER

REQUEST, ANSWER = struct.Struct('<IIQQQQ24s'), struct.Struct('<IIQQ40s')
MESSAGE_SIZE = 64


class FormerArbiter(Arbiter):
    """Its rules for messages: what it does not know ends the connection of who sent it."""

    def __init__(self, *words, **named):
        super().__init__(*words, revision=1, **named)
        self.malformed = []

    def receive(self, connection):
        try:
            data = connection.recv(1 << 16)
        except OSError:
            return b''
        reason = self.find_fault(data, connection in self.sessions) if data else None
        if reason:
            self.malformed.append(reason)
            return b''
        return data

    def find_fault(self, data, is_registered):
        if len(data) != MESSAGE_SIZE:
            return 'a message of another size'
        kind, device, _, size, wanted, _, _ = REQUEST.unpack(data)
        if not is_registered:
            return None if kind == 1 and size >= 1 else 'its first message is no REGISTER of a known version'
        if not 1 < kind <= 7:
            return f'a message of kind {kind} from who is registered'
        if device >= len(self.limits):
            return f'device {device}'
        return 'it wants less than it requests' if kind == 3 and wanted < size else None


class Peculiar(Arbiter):
    """One of a release that there is not: `page` has what it writes over its page (offset: bytes), `answers_with` makes the bytes
    of its answers from those that it would have sent."""

    def __init__(self, *words, page=None, answers_with=None, **named):
        self.changes, self.answers_with = page or {}, answers_with
        self.contexts = {}  # of a process, by its number: the driver shows them of who connects again
        super().__init__(*words, **named)

    def put_page(self, data):
        """At once: a library must not see it without the changes, in between."""
        for at, change in self.changes.items():
            data = data[:at] + change + data[at + len(change):]
        super().put_page(data)

    def handle(self, connection, kind, *more):
        super().handle(connection, kind, *more)
        pid, *_ = struct.unpack('3i', connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if kind == ENTER:
            self.contexts[pid] = self.contexts.get(pid, 0) + self.context * MIB
        elif kind == REGISTER:
            self.sessions[connection][0] += self.contexts.get(pid, 0)

    def answer(self, connection, kind, sequence, size=0, ancillary=()):
        data = ANSWER.pack(kind, self.mode, sequence, size, b'')
        try:
            for one in self.answers_with(kind, data) if self.answers_with else [data]:
                connection.sendmsg([one], ancillary)
        except OSError:
            pass  # it hung up


def recording():
    """A program's connection, as its library and the arbiter had it: [(whose, bytes)], whose: '>' the library's, '<' the arbiter's."""
    lines = Path(__file__).with_name('limits-revision-1.txt').read_text().splitlines()
    return [(line[0], bytes.fromhex(line[2:].split('#')[0])) for line in lines if line[:1] in '<>' and line]


# What agent and arbiter said to each other.
WISH = 'mode enforced\novercommits false\n'
STATE = 'version 0.9\nlibrary /var/lib/gpuslice/lib/1.0\ntrouble \nmode enforced\noff false\n'
CONTAINER = ('container-is\nunenforced true\nover false\nnamespace team\npod old\ncontainer main\n'
             'device GPU-00000000-0000-0000-0000-000000000000\nlimitBytes 4294967296\nusedBytes 0\n')
EVENT = ('reason MemoryLimitReached\nnamespace default\npod pod-1\ncontainer main\ndevice GPU-00000000-0000-0000-0000-000000000000\n'
         'limitBytes 4294967296\nmessage out of memory\n')
