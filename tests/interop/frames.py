#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 frames that no client sends: malformed ones and floods. See kubelet.py for the arguments.

After every case the target must answer a good call, and after every flood its resident memory must
not have grown by more than --rss-mb since the start.
"""
import socket
import struct
import sys
import time

import hpack

from kubelet import Suite, expect

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
PREFACE = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
OPTIONS = '/v1beta1.DevicePlugin/GetDevicePluginOptions'
WATCH = '/v1beta1.DevicePlugin/ListAndWatch'
EMPTY = b'\0\0\0\0\0'  # a whole message of no bytes
PROTOCOL_ERROR, REFUSED, CALM = 1, 7, 11


def frame(kind, flags=0, stream=0, payload=b''):
    return struct.pack('>I', len(payload))[1:] + struct.pack('>BBI', kind, flags, stream) + payload


def fields(path=OPTIONS, drop=(), **changes):
    """A good request's header fields, changed: `_` in a name stands for `-`, a leading one for `:`."""
    pairs = {':method': 'POST', ':scheme': 'http', ':path': path, ':authority': 'localhost',
             'te': 'trailers', 'content-type': 'application/grpc'}
    for name, value in changes.items():
        pairs[(':' + name[1:] if name[0] == '_' else name).replace('_', '-')] = value
    return [(n, v) for n, v in pairs.items() if n not in drop]


class Wire:
    """One connection. HPACK without Huffman and indexing, so that blocks can be repeated."""

    def __init__(self, kubelet, greet=True, settings=b''):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(kubelet.endpoint)
        self.socket.settimeout(5)
        self.decoder, self.next_stream, self.buffer = hpack.Decoder(), 1, b''
        self.closed = False
        if greet:
            self.send(PREFACE + frame(SETTINGS, payload=settings))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True

    def flood(self, data, seconds=10):
        """Sends without reading until all is gone, the peer hangs up, or it takes nothing for 0.5 s."""
        self.socket.settimeout(0.5)
        end, view = time.monotonic() + seconds, memoryview(data)
        try:
            while view and time.monotonic() < end:
                view = view[self.socket.send(view):]
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True
        except TimeoutError:
            pass
        self.socket.settimeout(5)

    def block(self, pairs):
        out = b''
        for name, value in pairs:
            for text in (b'\0', name.encode(), value.encode()):
                out += text if text == b'\0' else hpack.hpack.encode_integer(len(text), 7) + text
        return out

    def request(self, pairs, body=EMPTY, end=True):
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end and body is None else 0), stream,
                        self.block(pairs)))
        if body is not None:
            self.send(frame(DATA, END_STREAM if end else 0, stream, body))
        return stream

    def read_frame(self):
        """(kind, flags, stream, payload), or None at the end of the connection."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + self.length():
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b''
            if not data:
                return None
            self.buffer += data
        size = self.length()
        kind, flags, stream = struct.unpack('>BBI', self.buffer[3:9])
        payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
        return kind, flags, stream, payload

    def length(self):
        return struct.unpack('>I', b'\0' + self.buffer[:3])[0]

    def answer(self, stream):
        """All header fields of a stream's answer, or {'reset': code}, or {'closed': GOAWAY's code}."""
        got, code = {}, None
        while True:
            one = self.read_frame()
            if one is None:
                return {'closed': code}
            kind, flags, at, payload = one
            if kind == HEADERS:
                pairs = self.decoder.decode(payload)
                if at == stream:
                    got.update(pairs)
            if kind == GOAWAY:
                code = struct.unpack('>I', payload[4:8])[0]
            if at == stream and kind == RST:
                return {**got, 'reset': struct.unpack('>I', payload)[0]}
            if at == stream and flags & END_STREAM and kind in (HEADERS, DATA):
                return got

    def expect_answer(self, stream, **wanted):
        got = self.answer(stream)
        for name, value in wanted.items():
            name = name.replace('_', '-')
            expect(got.get(':status' if name == 'http' else name) == value, f'{got}, not {wanted}')

    def expect_closed(self):
        while self.read_frame() is not None:
            pass


def good_call(kubelet):
    with Wire(kubelet) as wire:
        wire.expect_answer(wire.request(fields()), http='200', grpc_status='0')


# ---- requests against the rules: one row each ----

def big(n):
    return {f'x_filler_{i}': 'v' * 1000 for i in range(n)}


REQUESTS = {
    'GET': (fields(_method='GET'), EMPTY, {'http': '405'}),
    'content-type of JSON': (fields(content_type='application/json'), EMPTY, {'http': '415'}),
    'content-type of grpc-web': (fields(content_type='application/grpc-web'), EMPTY, {'http': '415'}),
    'no content-type': (fields(drop=['content-type']), EMPTY, {'http': '415'}),
    'content-type with +proto': (fields(content_type='application/grpc+proto'), EMPTY, {'grpc-status': '0'}),
    'no path': (fields(drop=[':path']), EMPTY, {'reset': PROTOCOL_ERROR}),
    'empty path': (fields(_path=''), EMPTY, {'reset': PROTOCOL_ERROR}),
    'no method': (fields(drop=[':method']), EMPTY, {'reset': PROTOCOL_ERROR}),
    'upper-case name': (fields() + [('X-Upper', 'x')], EMPTY, {'reset': PROTOCOL_ERROR}),
    'line feed in a value': (fields(x_value='a\nb'), EMPTY, {'reset': PROTOCOL_ERROR}),
    'connection field': (fields(connection='close'), EMPTY, {'reset': PROTOCOL_ERROR}),
    'te other than trailers': (fields(te='gzip'), EMPTY, {'reset': PROTOCOL_ERROR}),
    'pseudo-field after others': (fields(drop=[':scheme']) + [(':scheme', 'http')], EMPTY,
                                  {'reset': PROTOCOL_ERROR}),
    'pseudo-field twice': ([(':path', OPTIONS)] + fields(), EMPTY, {'reset': PROTOCOL_ERROR}),
    'unknown pseudo-field': ([(':what', 'x')] + fields(), EMPTY, {'reset': PROTOCOL_ERROR}),
    'path of 5 KiB': (fields(path='/' + 'x' * 5000), EMPTY, {'grpc-status': '12'}),
    'bad timeout': (fields(grpc_timeout='soon'), EMPTY, {'grpc-status': '13'}),
    'timeout 0': (fields(path=WATCH, grpc_timeout='0m'), EMPTY, {'grpc-status': '4'}),
    'gzip': (fields(grpc_encoding='gzip'), EMPTY,
             {'grpc-status': '12', 'grpc-accept-encoding': 'identity'}),
    'identity': (fields(grpc_encoding='identity'), EMPTY, {'grpc-status': '0'}),
    'flag 7': (fields(), b'\7\0\0\0\0', {'grpc-status': '13'}),
    'compressed flag without encoding': (fields(), b'\1\0\0\0\0', {'grpc-status': '13'}),
    'two messages': (fields(), EMPTY * 2, {'grpc-status': '13'}),
    'no message': (fields(), None, {'grpc-status': '13'}),
    'half a prefix': (fields(), b'\0\0', {'grpc-status': '13'}),
    'truncated message': (fields(), b'\0\0\0\0\x09abc', {'grpc-status': '13'}),
    'message longer than its prefix says': (fields(), b'\0\0\0\0\1abc', {'grpc-status': '13'}),
    '4 GiB promised': (fields(), b'\0\xff\xff\xff\xff', {'grpc-status': '8'}),
    '14 KiB of headers': (fields(**big(13)), EMPTY, {'grpc-status': '0'}),
    'garbage for a message': (fields(path='/v1beta1.DevicePlugin/Allocate'), b'\0\0\0\0\4\xff\xff\xff\xff',
                              {'grpc-status': None}),
}


def request_case(pairs, body, wanted):
    def run(kubelet):
        with Wire(kubelet) as wire:
            got = wire.answer(wire.request(pairs, body))
            for name, value in wanted.items():
                found = got.get(':status' if name == 'http' else name)
                expect(found == value if value else found not in (None, '0'), f'{got}, not {wanted}')
            # The connection is still good.
            wire.expect_answer(wire.request(fields()), grpc_status='0')
    return run


# ---- connections against the rules: bytes after the greeting, which must end the connection ----

CONNECTIONS = {
    'frame over 16 KiB': frame(DATA, 0, 1, bytes(20000)),
    'DATA on stream 0': frame(DATA, 0, 0, b'x'),
    'DATA on an idle stream': frame(DATA, 0, 7, b'x'),
    'HEADERS on an even stream': frame(HEADERS, END_HEADERS, 2, b'\x82'),
    'PING of 7 bytes': frame(PING, 0, 0, bytes(7)),
    'PING on a stream': frame(PING, 0, 1, bytes(8)),
    'SETTINGS of 5 bytes': frame(SETTINGS, 0, 0, bytes(5)),
    'SETTINGS window over 2^31': frame(SETTINGS, 0, 0, b'\0\4\xff\xff\xff\xff'),
    'WINDOW_UPDATE of 0': frame(WINDOW, 0, 0, bytes(4)),
    'CONTINUATION alone': frame(CONTINUATION, END_HEADERS, 1, b''),
    'bad HPACK': frame(HEADERS, END_HEADERS, 1, b'\xff\xff\xff\xff\xff'),
    'padding over the frame': frame(DATA, PADDED, 1, b'\xff'),
    'PUSH_PROMISE': frame(PUSH, END_HEADERS, 1, bytes(4)),
    'RST_STREAM of an idle stream': frame(RST, 0, 9, bytes(4)),
}


def connection_case(data):
    def run(kubelet):
        with Wire(kubelet) as wire:
            wire.send(data)
            wire.expect_closed()
    return run


def no_greeting(data):
    def run(kubelet):
        with Wire(kubelet, greet=False) as wire:
            wire.send(data)
            wire.expect_closed()
    return run


def unknown_frame(kubelet):
    with Wire(kubelet) as wire:
        wire.send(frame(0xbb, 0xff, 0, b'what'))
        wire.expect_answer(wire.request(fields()), grpc_status='0')


def path_authority(kubelet):
    with Wire(kubelet) as wire:
        wire.expect_answer(wire.request(fields(_authority=kubelet.endpoint)), grpc_status='0')


def trailers_end_a_request(kubelet):
    with Wire(kubelet) as wire:
        stream = wire.request(fields(), end=False)
        wire.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, wire.block([('x-end', '1')])))
        wire.expect_answer(stream, grpc_status='0')


def torn_request(kubelet):
    with Wire(kubelet) as wire:
        wire.request(fields(path='/v1beta1.DevicePlugin/Allocate'), b'\0\0\0\0\x10half', end=False)


def stop_sending(kubelet):
    """After trailers a peer that still sends gets RST_STREAM(NO_ERROR)."""
    with Wire(kubelet) as wire:
        stream = wire.request(fields(path='/no/Method'), end=False)
        wire.expect_answer(stream, grpc_status='12')
        while (one := wire.read_frame())[0] != RST:
            pass
        expect(one[2:] == (stream, bytes(4)), one)


# ---- floods ----

def flood_resets(kubelet):
    with Wire(kubelet) as wire:
        block, parts = wire.block(fields()), []
        for stream in range(1, 40001, 2):
            parts += frame(HEADERS, END_HEADERS, stream, block), frame(RST, 0, stream, b'\0\0\0\x08')
        wire.flood(b''.join(parts))


def flood_whole_requests(kubelet):
    with Wire(kubelet) as wire:
        block, parts = wire.block(fields()), []
        for stream in range(1, 40001, 2):
            parts += (frame(HEADERS, END_HEADERS, stream, block), frame(DATA, END_STREAM, stream, EMPTY),
                      frame(RST, 0, stream, b'\0\0\0\x08'))
        wire.flood(b''.join(parts))


def flood_pings(kubelet):
    with Wire(kubelet) as wire:
        wire.flood(frame(PING, 0, 0, bytes(8)) * 200000)


def flood_settings(kubelet):
    with Wire(kubelet) as wire:
        wire.flood(frame(SETTINGS, 0, 0, b'\0\3\0\0\0\x64') * 100000)


def flood_continuations(kubelet):
    with Wire(kubelet) as wire:
        wire.flood(frame(HEADERS, 0, 1, wire.block(fields())) + frame(CONTINUATION, 0, 1) * 30000)


def flood_headers(kubelet):
    """200 KiB of header fields in one block."""
    with Wire(kubelet) as wire:
        block = wire.block(fields(**big(200)))
        parts = [block[i:i + 16000] for i in range(0, len(block), 16000)]
        wire.flood(frame(HEADERS, END_STREAM, 1, parts[0]) +
                   b''.join(frame(CONTINUATION, 0, 1, p) for p in parts[1:-1]) +
                   frame(CONTINUATION, END_HEADERS, 1, parts[-1]))
        wire.expect_closed()


def flood_header_bomb(kubelet):
    """One 4,000-byte field in the HPACK table, named 10,000 times by one byte each."""
    with Wire(kubelet) as wire:
        entry = b'\x40\6x-bomb' + hpack.hpack.encode_integer(4000, 7) + b'b' * 4000
        wire.flood(frame(HEADERS, END_HEADERS, 1, wire.block(fields()) + entry + b'\xbe' * 10000))
        wire.expect_closed()


def flood_empty_data(kubelet):
    with Wire(kubelet) as wire:
        stream = wire.request(fields(), None, end=False)
        wire.flood(frame(DATA, 0, stream) * 100000)


def flood_priorities(kubelet):
    with Wire(kubelet) as wire:
        wire.flood(b''.join(frame(PRIORITY, 0, s, struct.pack('>IB', s - 2, 1))
                            for s in range(3, 200000, 2)))


def flood_promises(kubelet):
    """4,000 requests that promise 4 MiB each and bring a byte."""
    with Wire(kubelet) as wire:
        block, parts = wire.block(fields()), []
        for stream in range(1, 8001, 2):
            parts += frame(HEADERS, END_HEADERS, stream, block), frame(DATA, 0, stream, b'\0\0\x40\0\0x')
        wire.flood(b''.join(parts))
        time.sleep(0.2)
        check_rss(kubelet)


def flood_large_requests(kubelet):
    """Requests of 4 MiB that never end, on one connection."""
    with Wire(kubelet) as wire:
        wire.send(frame(WINDOW, 0, 0, struct.pack('>I', 1 << 30)))
        for _ in range(16):
            stream = wire.request(fields(), b'\0\0\x40\0\0', end=False)
            for _ in range(3):
                wire.flood(frame(DATA, 0, stream, bytes(16000)))


def flood_watches(kubelet):
    """20 connections of 90 watches each, with a window of 0."""
    wires = [Wire(kubelet, settings=b'\0\4\0\0\0\0') for _ in range(20)]
    for wire in wires:
        for _ in range(90):
            wire.request(fields(path=WATCH))
    time.sleep(0.5)
    check_rss(kubelet)
    good_call(kubelet)
    for wire in wires:
        wire.socket.close()


def flood_silence(kubelet):
    """More silent connections than there are places: a place is free again when they hang up."""
    wires = [Wire(kubelet, greet=False) for _ in range(100)]
    for wire in wires:
        wire.socket.close()
    end = time.monotonic() + 10
    while is_refused(kubelet):  # hang-ups and the next connection reach the server at once, in any order
        expect(time.monotonic() < end, 'no place is free again')


def is_refused(kubelet):
    with Wire(kubelet) as wire:
        return wire.answer(wire.request(fields())) == {'closed': None}


def flood_unread_answers(kubelet):
    """Whole requests whose answers nobody reads."""
    with Wire(kubelet, settings=b'\0\4\x7f\xff\xff\xff') as wire:
        wire.send(frame(WINDOW, 0, 0, struct.pack('>I', (1 << 31) - 1 - 65535)))
        block, parts = wire.block(fields()), []
        for stream in range(1, 100001, 2):
            parts += frame(HEADERS, END_HEADERS, stream, block), frame(DATA, END_STREAM, stream, EMPTY)
        wire.flood(b''.join(parts))
        check_rss(kubelet)


def check_rss(kubelet):
    grown = kubelet.rss_mb() - kubelet.rss_at_start
    expect(grown < suite.options.rss_mb, f'resident memory grew by {grown:.1f} MB')


def survived(function):
    def run(kubelet):
        function(kubelet)
        good_call(kubelet)
        check_rss(kubelet)
    return run


def warm_up(kubelet):
    good_call(kubelet)
    kubelet.rss_at_start = kubelet.rss_mb()


FLOODS = {
    '20k HEADERS + RST_STREAM': flood_resets,
    '20k whole requests + RST_STREAM': flood_whole_requests,
    '50k answers not read': flood_unread_answers,
    '200k PING': flood_pings,
    '100k SETTINGS': flood_settings,
    '30k empty CONTINUATION': flood_continuations,
    '200 KiB of headers': flood_headers,
    'HPACK bomb': flood_header_bomb,
    '100k empty DATA': flood_empty_data,
    '100k PRIORITY': flood_priorities,
    '4000 promises of 4 MiB': flood_promises,
    '16 endless requests': flood_large_requests,
    '20 x 90 watches without window': flood_watches,
    '100 silent connections': flood_silence,
}
SINGLE = {
    'unknown frame type': unknown_frame,
    'path as authority': path_authority,
    'trailers end a request': trailers_end_a_request,
    'torn request': torn_request,
    'stop sending': stop_sending,
    'HTTP/1.1': no_greeting(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n' + bytes(64)),
    'noise': no_greeting(bytes(range(256)) * 64),
    'preface without SETTINGS': no_greeting(PREFACE + frame(PING, 0, 0, bytes(8))),
}

cases = {'good call': warm_up}
cases.update({n: survived(request_case(*row)) for n, row in REQUESTS.items()})
cases.update({n: survived(connection_case(data)) for n, data in CONNECTIONS.items()})
cases.update({n: survived(function) for n, function in {**SINGLE, **FLOODS}.items()})

suite = Suite('frames')
sys.exit(suite.run(cases))
