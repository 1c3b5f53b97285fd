# SPDX-License-Identifier: Apache-2.0
"""An API server of one collection, over TLS and HTTP/1.1, that can be told to misbehave."""
import copy
import json
import queue
import socket
import ssl
import struct
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PATH = '/api/v1/things'
PATIENCE_S = 180  # for what must happen, however slow the machine


class Gone(Exception):
    """The connection was ended by hand."""


class Authority:
    """A CA that signs certificates, made with openssl."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.file = folder / f'{name}.crt'
        self.run('req', '-x509', *KEY, '-keyout', f'{name}.key', '-out', f'{name}.crt', '-days', '10',
                 '-subj', f'/CN={name}')

    def run(self, *arguments):
        subprocess.run(['openssl', *arguments], cwd=self.folder, check=True, capture_output=True)

    def sign(self, name, alternative='IP:127.0.0.1'):
        """Returns the certificate's and the key's file."""
        ext = self.folder / f'{name}.ext'
        ext.write_text(f'subjectAltName={alternative}\n')
        self.run('req', *KEY, '-keyout', f'{name}.key', '-out', f'{name}.csr', '-subj', f'/CN={name}')
        self.run('x509', '-req', '-in', f'{name}.csr', '-CA', f'{self.name}.crt', '-CAkey',
                 f'{self.name}.key', '-CAcreateserial', '-days', '10', '-extfile', ext.name, '-out',
                 f'{name}.crt')
        return self.folder / f'{name}.crt', self.folder / f'{name}.key'


KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']


def status(code, reason, message, **more):
    return {'kind': 'Status', 'apiVersion': 'v1', 'metadata': {}, 'status': 'Failure', 'code': code,
            'reason': reason, 'message': message, **more}


class Request(BaseHTTPRequestHandler):
    """One connection; `self` is each of its requests in turn."""
    protocol_version = 'HTTP/1.1'
    timeout = 60

    def setup(self):
        self.request = self.server.owner.context.wrap_socket(self.request, server_side=True)
        self.server.owner.remember(self.request)
        super().setup()

    def handle(self):
        try:
            super().handle()
        except (Gone, OSError, ValueError):
            pass

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def log_message(self, *_):
        pass

    def any_method(self):
        url = urlsplit(self.path)
        self.resource, self.query = url.path, {k: v[0] for k, v in parse_qs(url.query, True).items()}
        self.body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.is_watch = self.query.get('watch') == '1'
        self.server.owner.serve(self)

    do_GET = do_POST = do_PATCH = any_method

    # ---- answers ----

    def reply(self, code, body, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), str(value))
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin(self):
        """A chunked answer; piece() and end() follow."""
        self.send_response(200)
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        self.wfile.flush()

    def piece(self, data):
        self.wfile.write(b'%x\r\n%s\r\n' % (len(data), data))
        self.wfile.flush()

    def end(self):
        self.wfile.write(b'0\r\n\r\n')
        self.wfile.flush()

    def reset(self):
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        socket.socket(fileno=self.request.detach()).close()
        raise Gone


class Server:
    """Listens, serves `PATH` truthfully, and applies each of `faults` once to the request it fits."""

    def __init__(self, certificate):
        self.lock = threading.Condition()
        self.objects, self.history, self.version = {}, [], 100
        self.requests, self.watches, self.faults, self.open = [], [], [], set()
        self.page_token = 'page/{}+&=%20'  # whatever a token is made of must come back unchanged
        self.pad, self.http, self.port = '', None, 0
        self.step = 0  # write watches and lists in pieces of so many bytes; 0 = whole
        self.use(certificate)
        self.start()

    def use(self, certificate, client_ca=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        self.context = context

    # ---- life ----

    def start(self):
        class Http(ThreadingHTTPServer):
            daemon_threads, block_on_close, request_queue_size = True, False, 64

            def handle_error(self, request, client_address):
                pass  # a refused handshake is the client's to tell

        self.http = Http(('127.0.0.1', self.port), Request)
        self.http.owner, self.port = self, self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.drop_connections()

    def remember(self, connection):
        with self.lock:
            self.open.add(connection)

    def drop_connections(self):
        with self.lock:
            for connection in self.open:
                try:
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)  # below TLS: without close_notify
                except OSError:
                    pass
            self.open.clear()
            self.watches.clear()

    # ---- the world ----

    def set(self, name, **fields):
        with self.lock:
            self.version += 1
            kind = 'MODIFIED' if name in self.objects else 'ADDED'
            self.objects[name] = {'kind': 'Thing', 'apiVersion': 'v1', 'spec': fields, 'pad': self.pad,
                                  'metadata': {'name': name, 'resourceVersion': str(self.version)}}
            self.tell(kind, self.objects[name])

    def delete(self, name):
        with self.lock:
            self.version += 1
            gone = self.objects.pop(name)
            gone['metadata']['resourceVersion'] = str(self.version)
            self.tell('DELETED', gone)

    def fill(self, count):
        """Up to so many objects."""
        for i in range(len(self.objects), count):
            self.set(f'thing-{i:05}')

    def bookmark(self):
        with self.lock:
            self.version += 1
            for watch in self.watches:
                watch.put(event('BOOKMARK', {'metadata': {'resourceVersion': str(self.version)}}))
            return self.version

    def tell(self, kind, thing):
        line = event(kind, thing)
        self.history.append((self.version, line))
        for watch in self.watches:
            watch.put(line)

    def order(self, what):
        """Bytes, or a function of the request, to every open watch."""
        with self.lock:
            for watch in self.watches:
                watch.put(what)

    # ---- requests ----

    def serve(self, request):
        with self.lock:
            self.requests.append(copy.copy(request))  # it is reused for the connection's next one
            fault = next((f for f in self.faults if f[0](request)), None)
            if fault and not fault[2]:
                self.faults.remove(fault)
            self.lock.notify_all()
        if fault:
            fault[1](request)
        elif request.is_watch:
            self.serve_watch(request)
        else:
            self.serve_list(request)

    def fault(self, fits, answer, stays=False):
        with self.lock:
            self.faults.append((fits, answer, stays))

    def heal(self):
        with self.lock:
            self.faults.clear()

    def await_requests(self, count, fits=lambda request: True):
        """The first `count` requests that fit, once they have come."""
        with self.lock:
            def found():
                return [r for r in self.requests if fits(r)]
            assert self.lock.wait_for(lambda: len(found()) >= count, PATIENCE_S), \
                [r.path for r in self.requests]
            return found()[:count]

    def await_watches(self, count=1):
        with self.lock:
            assert self.lock.wait_for(lambda: len(self.watches) >= count, PATIENCE_S)

    def serve_list(self, request):
        limit, token = int(request.query.get('limit', 0)), request.query.get('continue', '')
        with self.lock:
            names, version = sorted(self.objects), self.version
            begin = next((i for i in range(len(names)) if token == self.page_token.format(i)), 0)
            end = min(begin + limit, len(names)) if limit else len(names)
            items = [self.objects[name] for name in names[begin:end]]
        metadata = {'resourceVersion': str(version)}
        if end < len(names):
            metadata['continue'] = self.page_token.format(end)
        data = json.dumps({'kind': 'ThingList', 'metadata': metadata, 'items': items}).encode()
        request.begin()
        self.write(request, data)
        request.end()

    def write(self, request, data):
        step = self.step or 1 << 16
        for at in range(0, len(data), step):
            request.piece(data[at:at + step])

    def serve_watch(self, request):
        orders = queue.Queue()
        since = int(request.query['resourceVersion'])
        with self.lock:
            for version, line in self.history:
                if version > since:
                    orders.put(line)
            self.watches.append(orders)
            self.lock.notify_all()
        try:
            request.begin()
            while (what := orders.get()) != END:
                if isinstance(what, bytes):
                    self.write(request, what)
                else:
                    what(request)
            request.end()
        finally:
            with self.lock:
                if orders in self.watches:
                    self.watches.remove(orders)


END = 'end'


def event(kind, thing):
    return json.dumps({'type': kind, 'object': thing}).encode() + b'\n'
