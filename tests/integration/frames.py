# SPDX-License-Identifier: Apache-2.0
"""The protocol between our own processes (src/proc/frame.h), for tests that play one of them."""
import struct

HELLO, REQUEST, ANSWER, NOTICE, PING, PONG = range(1, 7)
HEADER = struct.Struct('<2sBBHHII')


def frame(kind_of_frame, body=b'', kind=0, number=0):
    return HEADER.pack(b'gs', 1, kind_of_frame, kind, 0, number, len(body)) + body


class Reader:
    """Cuts a stream into (type, kind, id, body)."""

    def __init__(self):
        self.rest = b''

    def feed(self, data):
        self.rest += data
        while len(self.rest) >= HEADER.size:
            _, _, kind_of_frame, kind, _, number, size = HEADER.unpack_from(self.rest)
            if len(self.rest) < HEADER.size + size:
                return
            body, self.rest = self.rest[HEADER.size:HEADER.size + size], self.rest[HEADER.size + size:]
            yield kind_of_frame, kind, number, body


def relay(agent, test):
    """Passes on what is sent, both ways: messages of the agent as lines, lines of the test as messages."""
    import select
    reader, line = Reader(), b''
    agent.sendall(frame(HELLO, b'nodesync'))
    while True:
        for one in select.select([agent, test], [], [])[0]:
            data = one.recv(1 << 16)
            if not data:
                return
            if one is test:
                *lines, line = (line + data).split(b'\n')
                agent.sendall(b''.join(frame(NOTICE, text) for text in lines))
                continue
            for kind_of_frame, _, number, body in reader.feed(data):
                if kind_of_frame == PING:
                    agent.sendall(frame(PONG, number=number))
                elif kind_of_frame == NOTICE:
                    test.sendall(body + b'\n')
