#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A proxy in front of the API server that misbehaves on demand.

In a test, as a context manager; the proxy runs in a thread of its own:

    with FaultProxy(listen=('10.96.0.1', 443), upstream=('127.0.0.1', 6443), tls=TLS) as proxy:
        proxy.hang()                                    # from now on nobody gets an answer
        proxy.clear()                                   # all is well again
        proxy.answer('internal-error', path='/api/v1/nodes/.*', method='PATCH', count=3)
        assert proxy.writes() == []

As a program, with the same words as JSON lines on a control socket:

    faultproxy.py --listen 10.96.0.1:443 --to 127.0.0.1:6443 --control /run/proxy.sock [--cert F --key F --ca F]
    faultproxy.py --control /run/proxy.sock --tell '{"do": "slow", "delay_s": 0.2}'

and from Python by Remote('/run/proxy.sock').slow(delay_s=0.2).

Without `tls` it passes TCP through and knows only faults of connections. With `tls`, or after inspect(), it ends TLS
with the given certificate (HTTP/1.1 only), sees every request, and can answer in the server's place; towards the
server it is a client that hands on what it got, so bearer tokens work and client certificates do not.
"""
import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import struct
import sys
import threading
import time
from dataclasses import dataclass, field

READ_BYTES = 64 * 1024
HEAD_BYTES = 256 * 1024
ENDLESS_BYTES = 256 * 1024 * 1024
WRITES = ('POST', 'PUT', 'PATCH', 'DELETE')


@dataclass
class Tls:
    """The certificate to show to clients, and the authority that signed the server's (None: no check)."""
    cert: str
    key: str
    ca: str | None = None


@dataclass
class Request:
    when: float
    method: str
    path: str          # without the query
    query: str
    headers: dict      # names in lower case
    status: int = 0    # of the answer; 0 = none was given
    faked: str = ''    # the name of our own answer, '' = the server's


# -- answers in the server's place ----------------------------------------------------------------

def http(status, body, kind='application/json', length=None, **headers):
    """An HTTP answer as bytes. `length` may lie."""
    data = body if isinstance(body, bytes) else body.encode()
    lines = [f'HTTP/1.1 {status}', f'Content-Type: {kind}',
             f'Content-Length: {len(data) if length is None else length}',
             *(f'{name.replace("_", "-")}: {value}' for name, value in headers.items())]
    return '\r\n'.join(lines).encode() + b'\r\n\r\n' + data


def chunked(*chunks):
    head = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n'
    return head + b''.join(b'%x\r\n%s\r\n' % (len(c), c) for c in chunks) + b'0\r\n\r\n'


def status(code, reason, message, **headers):
    """What the API server says when it refuses."""
    return http(f'{code} {reason}', json.dumps({
        'kind': 'Status', 'apiVersion': 'v1', 'metadata': {}, 'status': 'Failure', 'message': message,
        'reason': reason, 'code': code}), **headers)


def event(kind, value):
    return json.dumps({'type': kind, 'object': value}).encode() + b'\n'


GONE = {'kind': 'Status', 'apiVersion': 'v1', 'status': 'Failure', 'reason': 'Expired', 'code': 410,
        'message': 'too old resource version: 1 (2)'}
NODE = b'{"kind":"Node","apiVersion":"v1","metadata":{"name":"some-node","resourceVersion":"1","labels":{"a":"b"}}}'

# name: (bytes, whether the connection goes on)
ANSWERS = {
    'bad-gateway':      (http('502 Bad Gateway', '<html><body><h1>502 Bad Gateway</h1></body></html>', 'text/html'), True),
    'html':             (http('200 OK', '<html><body>Please log in.</body></html>', 'text/html'), True),
    'unauthorized':     (status(401, 'Unauthorized', 'Unauthorized'), True),
    'forbidden':        (status(403, 'Forbidden', 'it is forbidden: User "x" cannot do it'), True),
    'not-found':        (status(404, 'NotFound', 'the server could not find the requested resource'), True),
    'conflict':         (status(409, 'Conflict', 'the object has been modified'), True),
    'gone':             (status(410, 'Expired', GONE['message']), True),
    'too-many':         (status(429, 'TooManyRequests', 'too many requests', Retry_After=1), True),
    'internal-error':   (status(500, 'InternalError', 'etcdserver: request timed out'), True),
    'unavailable':      (status(503, 'ServiceUnavailable', 'apiserver not ready'), True),
    'redirect':         (http('302 Found', '', Location='https://192.0.2.1/'), True),
    'empty':            (http('200 OK', ''), True),
    'truncated-json':   (http('200 OK', NODE[:60]), True),
    'truncated-body':   (http('200 OK', NODE[:60], length=len(NODE)), False),
    'garbage-body':     (http('200 OK', bytes(range(256)) * 4), True),
    'garbage':          (bytes(range(128, 256)) * 8, False),
    'wrong-kind':       (http('200 OK', '{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x"},"data":{}}'), True),
    'wrong-type':       (http('200 OK', '[1, "two", null]'), True),
    'deep-json':        (http('200 OK', '[' * 100_000), True),
    'watch-gone':       (chunked(event('ERROR', GONE)), True),
    'watch-garbage':    (chunked(b'{"type":"MODIFIED","obj\n', b'\xff\xfe\n'), True),
    'watch-wrong-kind': (chunked(event('ADDED', {'kind': 'Secret', 'apiVersion': 'v1'}), event('DANCED', {})), True),
    'watch-empty':      (chunked(), True),
}
# those that are no fixed bytes
DEEDS = ('hang', 'reset', 'close', 'endless')


@dataclass
class Rule:
    answer: str
    method: str = '.*'
    path: str = '.*'          # matched against the whole path, without the query
    query: str = ''           # searched in the query: 'watch=' is every watch
    count: int | None = None  # how often; None = always
    retry_after_s: int | None = None

    def __post_init__(self):
        if self.answer not in ANSWERS and self.answer not in DEEDS:
            raise ValueError(f'there is no answer {self.answer!r}; there are {", ".join([*ANSWERS, *DEEDS])}')

    def takes(self, request):
        if self.count == 0 or not re.fullmatch(self.method, request.method) or \
                not re.fullmatch(self.path, request.path) or not re.search(self.query, request.query):
            return False
        if self.count is not None:
            self.count -= 1
        return True

    def data(self):
        data, goes_on = ANSWERS[self.answer]
        if self.retry_after_s is not None:
            data = re.sub(rb'Retry-After: .*\r\n', b'', data)
            data = data.replace(b'\r\n', b'\r\nRetry-After: %d\r\n' % self.retry_after_s, 1)
        return data, goes_on


@dataclass
class Fault:
    """What happens to every connection, the open ones too."""
    kind: str = 'none'            # none, down, hang, slow, reset
    delay_s: float = 0            # slow: before each piece
    bytes_per_s: float = 0        # slow: 0 = as fast as it goes
    after_bytes: int = 0          # reset: of what the server answers, on each connection
    rules: list = field(default_factory=list)


class Closed(Exception):
    """The other side has ended the connection, or we are to end it."""


class FaultProxy:
    def __init__(self, listen=('127.0.0.1', 0), upstream=('127.0.0.1', 6443), tls=None):
        self.listen, self.upstream, self.tls = listen, upstream, None
        self.requests = []          # every request seen, in order; needs tls
        self.n_connections = 0      # accepted ever
        self.fault = Fault()
        self.server, self.changed, self.tasks = None, None, {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.set_tls(tls)

    def set_tls(self, tls):
        if tls:
            self.inward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.inward.load_cert_chain(tls.cert, tls.key)
            self.inward.set_alpn_protocols(['http/1.1'])
            self.outward = ssl.create_default_context(cafile=tls.ca)
            self.outward.check_hostname = False
            if not tls.ca:
                self.outward.verify_mode = ssl.CERT_NONE
        self.tls = tls

    # --- what a test says ---

    def start(self):
        self.thread.start()
        self.call(self.open())
        return self

    def stop(self):
        self.call(self.close())
        self.call(self.loop.shutdown_asyncgens())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def address(self):
        return self.listen

    def clear(self):
        """All is well again, and no answer is faked any more; connections that hung go on."""
        self.call(self.become(Fault()))

    def down(self):
        """Nobody listens, and what was open is reset."""
        self.call(self.become(Fault('down')))

    def hang(self):
        """Connections are accepted, and nothing moves on any of them."""
        self.call(self.become(Fault('hang')))

    def slow(self, delay_s=0.0, bytes_per_s=0.0):
        self.call(self.become(Fault('slow', delay_s=delay_s, bytes_per_s=bytes_per_s)))

    def reset(self, after_bytes=0):
        """Every connection is reset once the server has answered so many bytes on it."""
        self.call(self.become(Fault('reset', after_bytes=after_bytes)))

    def drop(self):
        """Resets what is open, once."""
        self.call(self.drop_all())

    def answer(self, name, **rule):
        """Answers in the server's place, beside the rules given before; the first that fits wins. See Rule."""
        if not self.tls:
            raise ValueError('answers need a proxy that ends TLS')
        made = Rule(name, **rule)
        self.loop.call_soon_threadsafe(self.fault.rules.append, made)
        self.call(asyncio.sleep(0))

    def inspect(self, cert, key, ca=None):
        """From now on TLS ends here; open connections are reset."""
        self.set_tls(Tls(cert, key, ca))
        self.drop()

    def pass_through(self):
        """From now on TCP is passed through as it is; open connections are reset."""
        self.set_tls(None)
        self.drop()

    def mark(self):
        """A place in the list of requests, for `writes` and `count`."""
        return len(self.requests)

    def writes(self, since=0):
        """The requests that would change something, as 'METHOD path'."""
        return [f'{r.method} {r.path}' for r in self.requests[since:] if r.method in WRITES]

    def count(self, method='.*', path='.*', since=0):
        return sum(bool(re.fullmatch(method, r.method) and re.fullmatch(path, r.path)) for r in self.requests[since:])

    def wait_requests(self, n, method='.*', path='.*', since=0, timeout_s=60):
        """Waits until n requests that fit have come."""
        deadline = time.monotonic() + timeout_s
        while self.count(method, path, since) < n:
            if time.monotonic() > deadline:
                seen = [f'{r.method} {r.path}' for r in self.requests[since:]]
                raise AssertionError(f'{n} x {method} {path} never came; seen: {seen[-20:]}')
            time.sleep(0.01)

    # --- the listener ---

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(120)

    async def open(self):
        self.changed = self.changed or asyncio.Event()
        if self.server is None:
            self.server = await asyncio.start_server(self.accept, *self.listen, limit=HEAD_BYTES, backlog=256)
            self.listen = self.server.sockets[0].getsockname()[:2]

    async def close(self):
        if self.server:
            self.server.close()
            self.server = None
        await self.drop_all()

    async def become(self, fault):
        self.fault = fault
        self.changed.set()
        self.changed = asyncio.Event()
        if fault.kind == 'down':
            await self.close()
        else:
            await self.open()

    async def drop_all(self):
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def accept(self, reader, writer):
        self.n_connections += 1
        task = asyncio.current_task()
        self.tasks[task] = writers = [writer]
        polite = False
        try:
            await (self.serve_http if self.tls else self.serve_tcp)(reader, writer, writers)
            polite = True
        except (Closed, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError,
                asyncio.CancelledError, ValueError):
            pass
        finally:
            del self.tasks[task]
            for one in writers:
                end(one, polite)

    # --- bytes ---

    async def gate(self, n_bytes, n_before, from_server):
        """Lets a piece pass, late or never."""
        while self.fault.kind == 'hang':
            await self.changed.wait()
        if self.fault.kind == 'slow':
            pause_s = self.fault.delay_s + (n_bytes / self.fault.bytes_per_s if self.fault.bytes_per_s else 0)
            await asyncio.sleep(pause_s)
        if self.fault.kind == 'reset' and from_server and n_before + n_bytes > self.fault.after_bytes:
            return max(self.fault.after_bytes - n_before, 0)
        return n_bytes

    async def send(self, writer, data, sent=None):
        """Sends a piece; `sent` counts what the server said on this connection, None for the other way."""
        n_before = sent[0] if sent else 0
        n_bytes = await self.gate(len(data), n_before, sent is not None)
        writer.write(data[:n_bytes])
        await writer.drain()
        if sent:
            sent[0] += n_bytes
        if n_bytes < len(data):
            raise Closed

    async def pump(self, reader, writer, sent=None):
        while data := await reader.read(READ_BYTES):
            await self.send(writer, data, sent)
        if writer.can_write_eof():
            writer.write_eof()

    async def both_ways(self, client, server, sent):
        pumps = [asyncio.ensure_future(self.pump(client[0], server[1])),
                 asyncio.ensure_future(self.pump(server[0], client[1], sent))]
        try:
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()

    async def serve_tcp(self, reader, writer, writers):
        await self.gate(0, 0, False)
        server = await asyncio.open_connection(*self.upstream)
        writers.append(server[1])
        await self.both_ways((reader, writer), server, [0])

    # --- requests ---

    async def serve_http(self, reader, writer, writers):
        writer.transport.pause_reading()  # what the reader has by now, start_tls would never see
        await self.gate(0, 0, False)
        await writer.start_tls(self.inward)
        server, sent = None, [0]
        # A watch whose client has gone ends, although nothing is being sent.
        gone = asyncio.ensure_future(writer.wait_closed())
        gone.add_done_callback(lambda done, task=asyncio.current_task(): (done.cancelled() or done.exception(), task.cancel()))
        while head := await read_head(reader):
            request = parse_request(head)
            self.requests.append(request)
            rule = next((r for r in self.fault.rules if r.takes(request)), None)
            if rule:
                await drain_body(reader, request.headers)
                if not await self.fake(rule, request, writer, sent):
                    return
                continue
            if server is None:
                server = await asyncio.open_connection(*self.upstream, ssl=self.outward, limit=HEAD_BYTES)
                writers.append(server[1])
            if not await self.hand_on(head, request, (reader, writer), server, sent):
                return

    async def fake(self, rule, request, writer, sent):
        """Gives our own answer; True when the connection goes on."""
        request.faked = rule.answer
        if rule.answer == 'hang':
            await asyncio.Event().wait()
        if rule.answer == 'reset':
            raise Closed
        if rule.answer == 'close':
            return False
        if rule.answer == 'endless':
            await self.send(writer, b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n', sent)
            for _ in range(ENDLESS_BYTES // READ_BYTES):
                await self.send(writer, b' ' * READ_BYTES, sent)
            return False
        data, goes_on = rule.data()
        code = re.match(rb'HTTP/1.1 (\d+)', data)
        request.status = int(code[1]) if code else 0
        await self.send(writer, data, sent)
        return goes_on

    async def hand_on(self, head, request, client, server, sent):
        """One request and its answer, piece by piece, so that a watch flows. True when the connection goes on."""
        await self.send(server[1], head)
        async for piece in body_of(client[0], request.headers):
            await self.send(server[1], piece)
        answer = await read_head(server[0])
        if not answer:
            raise Closed
        request.status, headers = parse_answer(answer)
        await self.send(client[1], answer, sent)
        if request.status == 101:  # exec, attach: no HTTP any more
            await self.both_ways(client, server, sent)
            return False
        has_body = request.method != 'HEAD' and request.status not in (204, 304) and request.status >= 200
        async for piece in body_of(server[0], headers, until_end=True) if has_body else nothing():
            await self.send(client[1], piece, sent)
        return headers.get('connection', '').lower() != 'close'


async def nothing():
    return
    yield


def end(writer, polite):
    """Closes, or resets, which the other side sees as such."""
    with contextlib.suppress(Exception):
        if not polite:
            # The reset: closing with unsent data thrown away.
            writer.get_extra_info('socket').setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            writer.transport.abort()
        else:
            writer.close()


# -- HTTP/1.1, as little as it takes --------------------------------------------------------------

async def read_head(reader):
    """The start line and headers with the empty line after them; b'' when the other side is done."""
    try:
        return await reader.readuntil(b'\r\n\r\n')
    except asyncio.IncompleteReadError as short:
        if short.partial:
            raise
        return b''


def parse_headers(head):
    lines = head.decode('latin-1').split('\r\n')[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(':') for line in lines) if name}


def parse_request(head):
    method, target, _ = head.split(b'\r\n', 1)[0].decode('latin-1').split(' ', 2)
    path, _, query = target.partition('?')
    return Request(time.monotonic(), method, path, query, parse_headers(head))


def parse_answer(head):
    return int(head.split(b' ', 2)[1]), parse_headers(head)


async def body_of(reader, headers, until_end=False):
    """The body's bytes as they stand, chunk marks included, as soon as they come."""
    if 'chunked' in headers.get('transfer-encoding', '').lower():
        while True:
            line = await reader.readuntil(b'\r\n')
            size = int(line.split(b';')[0], 16)
            if size == 0:
                yield line + await reader.readuntil(b'\r\n')  # no trailers
                return
            yield line + await reader.readexactly(size + 2)
    left = int(headers['content-length']) if 'content-length' in headers else None
    if left is None and not until_end:
        return
    while left is None or left > 0:
        piece = await reader.read(READ_BYTES if left is None else min(READ_BYTES, left))
        if not piece:
            if left is None:
                headers['connection'] = 'close'
                return
            raise Closed
        left = None if left is None else left - len(piece)
        yield piece


async def drain_body(reader, headers):
    async for _ in body_of(reader, headers):
        pass


# -- as a program ---------------------------------------------------------------------------------

VERBS = ('clear', 'down', 'hang', 'slow', 'reset', 'drop', 'answer', 'inspect', 'pass_through', 'mark', 'writes', 'count',
         'wait_requests')


def obey(proxy, line):
    """One line of the control socket: {"do": VERB, "name": ..., other arguments}."""
    try:
        words = json.loads(line)
        verb = words.pop('do')
        if verb == 'requests':
            return {'value': [f'{r.method} {r.path} {r.status}' for r in proxy.requests[words.get('since', 0):]]}
        if verb not in VERBS:
            raise ValueError(f'there is no {verb!r}; there are {", ".join([*VERBS, "requests"])}')
        return {'value': getattr(proxy, verb)(**words)}
    except (ValueError, TypeError, KeyError, AttributeError, OSError, AssertionError) as wrong:
        return {'error': f'{type(wrong).__name__}: {wrong}'}


def control(proxy, path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile('rw') as stream:
                for line in stream:
                    stream.write(json.dumps(obey(proxy, line)) + '\n')
                    stream.flush()


def tell(path, line):
    """Sends one line to a proxy that runs as a program; returns its reply."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(line.encode() + b'\n')
        with connection.makefile() as stream:
            return json.loads(stream.readline())


class Remote:
    """A proxy that runs as a program, with the methods that VERBS names and `requests()`."""

    def __init__(self, path):
        self.path = path

    def __getattr__(self, verb):
        def say(**words):
            reply = tell(self.path, json.dumps({'do': verb, **words}))
            if 'error' in reply:
                raise AssertionError(reply['error'])
            return reply['value']
        return say


def parse_address(text):
    host, _, port = text.rpartition(':')
    return host.strip('[]'), int(port)


def main():
    parser = argparse.ArgumentParser(description='A proxy that misbehaves on demand.')
    parser.add_argument('--listen', type=parse_address, default=('127.0.0.1', 0))
    parser.add_argument('--to', type=parse_address, default=('127.0.0.1', 6443))
    parser.add_argument('--control', required=True)
    parser.add_argument('--tell')
    parser.add_argument('--cert')
    parser.add_argument('--key')
    parser.add_argument('--ca')
    asked = parser.parse_args()
    if asked.tell:
        reply = tell(asked.control, asked.tell)
        print(json.dumps(reply.get('value')) if 'error' not in reply else reply['error'])
        sys.exit('error' in reply)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # at once: an exception might meet another in a flush
    tls = Tls(asked.cert, asked.key, asked.ca) if asked.cert else None
    with FaultProxy(asked.listen, asked.to, tls) as proxy:
        print('{}:{}'.format(*proxy.address), flush=True)
        control(proxy, asked.control)


if __name__ == '__main__':
    main()
