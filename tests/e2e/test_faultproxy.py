# SPDX-License-Identifier: Apache-2.0
"""The fault proxy itself, in front of a small server of our own; no cluster is needed."""
import http.client
import http.server
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from faultproxy import ANSWERS, FaultProxy, Remote, Tls

PROGRAM = Path(__file__).with_name('faultproxy.py')
BIG = b'x' * 300_000
PATIENCE_S = 30  # for an answer; a client that is to give up has less of it


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def reply(self, data, status=200):
        self.send_response(status)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path.startswith('/watch'):
            return self.watch()
        if self.path == '/big':
            return self.reply(BIG)
        if self.path == '/nothing':
            self.send_response(204)
            return self.end_headers()
        return self.reply(json.dumps({'path': self.path, 'token': self.headers.get('Authorization')}).encode())

    def do_POST(self):
        if 'chunked' not in self.headers.get('Transfer-Encoding', ''):
            return self.reply(self.rfile.read(int(self.headers.get('Content-Length', 0))), 201)
        body = b''
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return self.reply(body, 201)

    do_PATCH = do_DELETE = do_POST

    def watch(self):
        self.send_response(200)
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        for event in self.server.events():
            self.wfile.write(b'%x\r\n%s\r\n' % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b'0\r\n\r\n')


class Upstream(http.server.ThreadingHTTPServer):
    """A server whose /watch says what the test puts into `queue`, and ends at None."""
    daemon_threads = True

    def __init__(self, tls):
        super().__init__(('127.0.0.1', 0), Handler)
        self.queue, self.news = [], threading.Condition()
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.cert, tls.key)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()

    def handle_error(self, *_):
        pass  # clients that are cut off belong to these tests

    def put(self, event):
        with self.news:
            self.queue.append(event)
            self.news.notify_all()

    def events(self):
        for n in range(1000):
            with self.news:
                self.news.wait_for(lambda n=n: len(self.queue) > n)
            if self.queue[n] is None:
                return
            yield self.queue[n]


@pytest.fixture(scope='module')
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                    '-keyout', folder / 'key', '-out', folder / 'cert', '-subj', '/CN=proxy', '-addext',
                    'subjectAltName=IP:127.0.0.1'], check=True, capture_output=True)
    return Tls(str(folder / 'cert'), str(folder / 'key'), str(folder / 'cert'))


@pytest.fixture
def plain():
    """Passing TCP through, in front of plain HTTP."""
    upstream = Upstream(None)
    with FaultProxy(upstream=upstream.server_address) as proxy:
        yield proxy
    upstream.shutdown()


@pytest.fixture
def upstream(tls):
    made = Upstream(tls)
    yield made
    made.shutdown()


@pytest.fixture
def proxy(upstream, tls):
    """Ending TLS, in front of TLS."""
    with FaultProxy(upstream=upstream.server_address, tls=tls) as made:
        yield made


def connect(proxy, timeout=PATIENCE_S):
    if not proxy.tls:
        return http.client.HTTPConnection(*proxy.address, timeout=timeout)
    return http.client.HTTPSConnection(*proxy.address, timeout=timeout, context=ssl.create_default_context(cafile=proxy.tls.ca))


def fetch(connection, path='/', method='GET', body=None):
    connection.request(method, path, body, {'Authorization': 'Bearer secret'})
    answer = connection.getresponse()
    return answer.status, answer.read()


# --- connections ---

def test_passes_bytes_through(plain):
    assert fetch(connect(plain), '/big') == (200, BIG)


def test_nobody_listens_and_then_again_at_the_same_address(plain):
    address, open_one = plain.address, connect(plain)
    assert fetch(open_one)[0] == 200
    plain.down()
    with pytest.raises(OSError):
        fetch(open_one)
    with pytest.raises(ConnectionRefusedError):
        connect(plain).connect()
    plain.clear()
    assert plain.address == address and fetch(connect(plain))[0] == 200


@pytest.mark.parametrize('kind', ['plain', 'proxy'])
def test_hangs_and_goes_on(kind, request):
    proxy = request.getfixturevalue(kind)
    held = connect(proxy)
    assert fetch(held)[0] == 200
    proxy.hang()
    fresh = connect(proxy, timeout=0.3)
    with pytest.raises(TimeoutError):
        fetch(fresh)
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(fetch(held)[0]))
    waiter.start()
    waiter.join(0.2)
    assert not answers
    proxy.clear()
    waiter.join(PATIENCE_S)
    assert answers == [200]


def test_is_slow(plain):
    plain.slow(delay_s=0.1)
    began = time.monotonic()
    assert fetch(connect(plain))[0] == 200
    assert time.monotonic() - began >= 0.2  # there and back
    plain.slow(bytes_per_s=1_000_000)
    began = time.monotonic()
    assert fetch(connect(plain), '/big')[1] == BIG
    assert time.monotonic() - began >= 0.25


def test_resets_in_the_middle(plain):
    plain.reset(after_bytes=100_000)
    connection = connect(plain)
    with pytest.raises(ConnectionResetError):
        fetch(connection, '/big')
    plain.clear()
    assert fetch(connect(plain), '/big')[0] == 200


def test_drops_what_is_open_and_no_more(plain):
    connection = connect(plain)
    assert fetch(connection)[0] == 200
    plain.drop()
    with pytest.raises(OSError):
        fetch(connection)
    assert fetch(connect(plain))[0] == 200


# --- requests ---

def test_hands_on_and_counts(proxy):
    connection = connect(proxy)
    assert fetch(connection, '/api?x=1') == (200, b'{"path": "/api?x=1", "token": "Bearer secret"}')
    assert fetch(connection, '/nothing') == (204, b'')
    assert fetch(connection, '/big') == (200, BIG)
    since = proxy.mark()
    assert proxy.writes() == []
    assert fetch(connection, '/nodes/a', 'PATCH', BIG) == (201, BIG)
    assert fetch(connection, '/nodes/a', 'POST', iter([b'a', b'bc'])) == (201, b'abc')
    assert proxy.writes(since) == ['PATCH /nodes/a', 'POST /nodes/a']
    assert proxy.count('GET') == 3 and proxy.count(path='/nodes/.*', since=since) == 2
    [first] = [r for r in proxy.requests if r.path == '/api']
    assert (first.query, first.status, first.faked, first.headers['authorization']) == ('x=1', 200, '', 'Bearer secret')
    assert proxy.n_connections == 1


def test_a_watch_flows_event_by_event(proxy, upstream):
    connection = connect(proxy)
    connection.request('GET', '/watch?watch=1')
    answer = connection.getresponse()
    for event in (b'{"type":"ADDED"}\n', b'{"type":"MODIFIED"}\n'):
        upstream.put(event)
        assert answer.readline() == event
    proxy.drop()
    with pytest.raises((OSError, http.client.IncompleteRead)):
        answer.read(1)


def test_a_watch_whose_client_has_gone_ends(proxy, upstream):
    connection = connect(proxy)
    connection.request('GET', '/watch')
    connection.getresponse()
    assert len(proxy.tasks) == 1
    connection.close()
    deadline = time.monotonic() + PATIENCE_S
    while proxy.tasks:
        assert time.monotonic() < deadline, 'the connection is still held'
        time.sleep(0.01)


def test_answers_for_some_requests_and_so_often(proxy):
    proxy.answer('internal-error', method='PATCH', path='/nodes/.*', count=2)
    proxy.answer('forbidden', query='watch=')
    connection = connect(proxy)
    assert fetch(connection, '/nodes/a')[0] == 200
    assert [fetch(connection, '/nodes/a', 'PATCH', b'{}')[0] for _ in range(3)] == [500, 500, 201]
    assert fetch(connection, '/nodes?watch=1')[0] == 403
    assert [(r.faked, r.status) for r in proxy.requests] == [
        ('', 200), ('internal-error', 500), ('internal-error', 500), ('', 201), ('forbidden', 403)]
    proxy.clear()
    assert fetch(connection, '/nodes?watch=1')[0] == 200


@pytest.mark.parametrize('name', ANSWERS)
def test_every_answer_is_what_it_says(proxy, name):
    proxy.answer(name, count=1)
    connection = connect(proxy)
    if name == 'garbage':
        with pytest.raises(http.client.BadStatusLine):
            fetch(connection)
    elif name == 'truncated-body':
        with pytest.raises(http.client.IncompleteRead):
            fetch(connection)
    else:
        status, body = fetch(connection)
        assert status == proxy.requests[0].status >= 200
        if status >= 400 and name != 'bad-gateway':
            assert json.loads(body)['code'] == status
        assert fetch(connection)[0] == 200, 'the same connection goes on'


def test_deeds(proxy):
    proxy.answer('endless', count=1)
    connection = connect(proxy)
    connection.request('GET', '/')
    assert len(connection.getresponse().read(1_000_000)) == 1_000_000
    for name, failure in (('reset', ConnectionResetError), ('close', http.client.RemoteDisconnected)):
        proxy.answer(name, count=1)
        with pytest.raises(failure):
            fetch(connect(proxy))
    proxy.answer('hang', count=1)
    with pytest.raises(TimeoutError):
        fetch(connect(proxy, timeout=0.5))


def test_retry_after(proxy):
    for name in ('too-many', 'unavailable'):
        proxy.answer(name, count=1, retry_after_s=7)
        connection = connect(proxy)
        connection.request('GET', '/')
        assert connection.getresponse().headers.get_all('Retry-After') == ['7']


def test_what_makes_no_sense_is_refused(plain, proxy):
    with pytest.raises(ValueError, match='ends TLS'):
        plain.answer('gone')
    with pytest.raises(ValueError, match='there is no answer'):
        proxy.answer('nonsense')


# --- as a program ---

def test_as_a_program(upstream, tls, tmp_path):
    control = tmp_path / 'control'
    with subprocess.Popen([sys.executable, PROGRAM, '--to', '127.0.0.1:{}'.format(upstream.server_address[1]), '--control', control],
                          stdout=subprocess.PIPE, text=True) as program:
        try:
            host, port = program.stdout.readline().strip().split(':')
            remote, context = Remote(control), ssl.create_default_context(cafile=tls.ca)

            def ask():
                return fetch(http.client.HTTPSConnection(host, int(port), timeout=PATIENCE_S, context=context))[0]

            assert ask() == 200
            remote.down()
            with pytest.raises(OSError):
                ask()
            remote.clear()
            remote.inspect(cert=tls.cert, key=tls.key, ca=tls.ca)
            remote.answer(name='unavailable', count=1)
            assert [ask(), ask()] == [503, 200]
            assert remote.requests() == ['GET / 503', 'GET / 200'] and remote.writes() == []
            told = subprocess.run([sys.executable, PROGRAM, '--control', control, '--tell', '{"do": "dance"}'],
                                  capture_output=True, text=True, check=False)
            assert told.returncode == 1 and "there is no 'dance'" in told.stdout
            remote.pass_through()
            with pytest.raises(AssertionError, match='ends TLS'):
                remote.answer(name='gone')
        finally:
            program.terminate()
        assert program.wait(PATIENCE_S) == 0


def test_the_client_sees_http_1_only(proxy):
    context = ssl.create_default_context(cafile=proxy.tls.ca)
    context.set_alpn_protocols(['h2', 'http/1.1'])
    with socket.create_connection(proxy.address) as raw, context.wrap_socket(raw, server_hostname='127.0.0.1') as one:
        assert one.selected_alpn_protocol() == 'http/1.1'
