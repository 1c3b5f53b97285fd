# SPDX-License-Identifier: Apache-2.0
"""The agent's log of grants, read by the words of src/grant/journal.h and grant.h and not by their code."""
import struct
from dataclasses import dataclass, field

MAGIC = b'gpuslice grants 1\n'
GRANT, FREE, LOST, PROFILES = 1, 2, 3, 4


def crc_of_byte(crc):
    for _ in range(8):
        crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc


TABLE = [crc_of_byte(byte) for byte in range(256)]


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


@dataclass
class Grant:
    id: str
    boot: str
    adopted: bool
    resource: str
    ids: list
    devices: list  # (uuid, share in permille, memory in bytes)
    profiles: dict = field(default_factory=dict)  # of MIG devices, by UUID
    position: int = 0


class Cursor:
    def __init__(self, data):
        self.data = data

    def take(self, n):
        assert len(self.data) >= n
        taken, self.data = self.data[:n], self.data[n:]
        return taken

    def number(self, form):
        return struct.unpack('<' + form, self.take(struct.calcsize('<' + form)))[0]

    def text(self):
        return self.take(self.number('H')).decode()


def payloads(data):
    assert data.startswith(MAGIC)
    at = len(MAGIC)
    while len(data) - at >= 8:
        length, checksum = struct.unpack_from('<II', data, at)
        payload = data[at + 8:at + 8 + length]
        if not length or len(payload) < length or crc32c(data[at:at + 4] + payload) != checksum:
            break
        yield payload
        at += 8 + length


def records(data):
    for payload in list(payloads(data))[1:]:  # the first is the header
        cursor = Cursor(payload)
        kind = cursor.number('B')
        if kind == GRANT:
            grant = Grant(cursor.text(), cursor.text(), None, None, None, None)
            cursor.number('q')
            grant.adopted = bool(cursor.number('B'))
            grant.resource = cursor.text()
            grant.ids = [cursor.text() for _ in range(cursor.number('I'))]
            grant.devices = [(cursor.text(), cursor.number('I'), cursor.number('Q')) for _ in range(cursor.number('I'))]
            yield kind, grant
        elif kind == FREE:
            yield kind, cursor.text()
        elif kind == LOST:
            yield kind, (cursor.text(), [cursor.text() for _ in range(cursor.number('I'))])
        elif kind == PROFILES:
            yield kind, (cursor.text(), {cursor.text(): cursor.text() for _ in range(cursor.number('I'))})


class Ledger:
    """What a log says: grants in their order, and who holds which id."""

    def __init__(self, path):
        self.grants, self.holders = {}, {}
        for kind, what in records(path.read_bytes()):
            if kind == GRANT and what.id not in self.grants:
                what.position = len(self.grants) and next(reversed(self.grants.values())).position + 1
                self.grants[what.id] = what
                self.holders.update({i: what.id for i in what.ids})
            elif kind == FREE and self.grants.pop(what, None):
                self.drop(what, list(self.holders))
            elif kind == LOST:
                self.drop(*what)
            elif kind == PROFILES and what[0] in self.grants:
                self.grants[what[0]].profiles = what[1]

    def drop(self, grant, ids):
        for i in ids:
            if self.holders.get(i) == grant:
                del self.holders[i]

    def position(self, grant):
        """Its place in the order of granting, to compare with others'."""
        return self.grants[grant].position
