# SPDX-License-Identifier: Apache-2.0
"""/metrics as Prometheus reads it, and /healthz under clients and agents of all kinds."""
import http.client
import os
import re
import shutil
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from node import GUIDE, PATIENCE_S, ROOT, eventually, free_port, http_get

MODEL = 'V100 "SXM2" \\n C:\\'  # what a model's name would have to be to break the format


@pytest.fixture
def agent(node):
    """An agent that answers HTTP, without a kubelet."""
    return serve(node)


def serve(node, host='127.0.0.1', config=GUIDE):
    port = free_port()
    agent = node.start_agent(config, '--http-address', f'{host}:{port}')
    agent.wait_line('resource offered')
    agent.wait_line('listening for HTTP')
    agent.port = port
    agent.address = f'127.0.0.1:{port}'
    return agent


def connect(agent):
    return socket.create_connection(('127.0.0.1', agent.port), timeout=PATIENCE_S)


def read_all(connection):
    """What came until the other side closed, kindly or not."""
    got = b''
    try:
        while data := connection.recv(65536):
            got += data
    except ConnectionResetError:
        pass
    return got


# --- /metrics ---

def odd_machine(node):
    machine = node.folder / 'odd.yaml'
    text = (ROOT / 'sim/machines/p3.8xlarge.yaml').read_text()
    machine.write_text(f"{text}model: {{like: v100-sxm2-16gb, name: '{MODEL}'}}\n")
    return machine


def test_metrics_as_prometheus_reads_them(node):
    node.machine(odd_machine(node)).start_kubelet()
    agent = serve(node, config=GUIDE + '    - {name: nvidia.com/mig-1g.5gb, replicas: 2}\n')
    node.wait_allocatable(16)
    node.run_pods(1)
    status, text = http_get(agent.address, '/metrics')
    assert status == 200 and text.endswith('\n')
    families = {family.name: family for family in text_string_to_metric_families(text)}

    announced = re.findall(r'^# (HELP|TYPE) (\S+) \S', text, re.M)
    assert len(announced) == len(set(announced)) == 2 * len(families)
    assert text.count('\n#') + 1 == len(announced)
    samples = [sample for family in families.values() for sample in family.samples]
    keys = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples]
    assert len(keys) == len(set(keys))
    for family in families.values():
        assert family.documentation and family.type in ('counter', 'gauge'), family.name
        assert family.name.startswith('gpuslice_')
        for sample in family.samples:
            assert sample.name == family.name + ('_total' if family.type == 'counter' else '')
            assert sample.value >= 0 and sample.timestamp is None
    for sample in families['gpuslice_gpu_healthy'].samples:
        assert sample.labels['model'] == MODEL
    [allocations] = families['gpuslice_allocations'].samples
    assert allocations.value == 1 and allocations.labels == {'resource': 'nvidia.com/gpu'}


# --- HTTP ---

def test_methods_and_paths(agent):
    client = http.client.HTTPConnection(agent.address, timeout=PATIENCE_S)
    sizes = {}
    for method, path, status in [('GET', '/healthz', 200), ('HEAD', '/healthz', 200), ('GET', '/', 404),
                                 ('GET', '/healthz/', 404), ('GET', '/metrics?name=x', 200),
                                 ('GET', '/..%2fhealthz', 404), ('DELETE', '/healthz', 405),
                                 ('HEAD', '/nothing', 404), ('GET', '/readyz', 503)]:
        client.request(method, path)  # over one connection, kept alive
        answer = client.getresponse()
        body = answer.read()
        assert (answer.status, path) == (status, path)
        assert answer.getheader('Content-Type').startswith('text/plain')
        assert (answer.getheader('Allow') == 'GET, HEAD') == (status == 405)
        sizes[method, path] = int(answer.getheader('Content-Length'))
        assert len(body) == (0 if method == 'HEAD' else sizes[method, path])
    assert sizes['HEAD', '/healthz'] == sizes['GET', '/healthz']


def test_a_connection_is_kept(agent):
    client = http.client.HTTPConnection(agent.address, timeout=PATIENCE_S)
    client.connect()
    ours = client.sock.getsockname()
    for _ in range(50):
        client.request('GET', '/healthz')
        assert client.getresponse().read() == b'ok\n'
        assert client.sock.getsockname() == ours


def test_a_body_is_no_answer(agent):
    with connect(agent) as client:
        client.sendall(b'POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc')
        assert b' 405 ' in client.recv(65536).splitlines()[0]
    assert http_get(agent.address, '/healthz') == (200, 'ok\n')


@pytest.mark.parametrize('request_bytes', [
    pytest.param(b'GET /healthz HTTP/1.1\r\nHost: x\r\n' + b'X-Filler: 1234567890123456\r\n' * 40000 + b'\r\n',
                 id='a-mebibyte-of-headers'),
    pytest.param(b'GET /' + b'a' * (1 << 20) + b' HTTP/1.1\r\n\r\n', id='a-mebibyte-of-path'),
    pytest.param(b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', id='tls'),
    pytest.param(b'\x00' * 1000 + b'\r\n\r\n', id='zeros')])
def test_nonsense_is_refused(agent, request_bytes):
    with connect(agent) as client:
        try:
            client.sendall(request_bytes)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # closed already: it need not read all of that
        answer = read_all(client)
        assert b' 200 ' not in answer and len(answer) < 4096
    assert http_get(agent.address, '/healthz') == (200, 'ok\n')


def test_a_hundred_connections_at_once(agent):
    clients = [http.client.HTTPConnection(agent.address, timeout=PATIENCE_S) for _ in range(100)]
    for client in clients:
        client.connect()
    for _ in range(3):  # all stay open meanwhile
        for client in clients:
            client.request('GET', '/metrics')
        assert all(client.getresponse().read().startswith(b'# HELP') for client in clients)


def test_silent_and_slow_clients_hold_up_nobody(agent):
    """Nor is their connection kept open: 10 s, while they send nothing."""
    silent = [connect(agent) for _ in range(100)]
    slow = connect(agent)
    for letter in b'GET /healthz HTTP/1.1\r\nHost: x\r\n':
        slow.sendall(bytes([letter]))
        if letter == ord('z'):
            assert http_get(agent.address, '/healthz') == (200, 'ok\n')
    slow.sendall(b'\r\n')
    assert b' 200 ' in slow.recv(65536)
    assert read_all(silent[0]) == b''
    for client in [*silent, slow]:
        client.close()


def trickle(agent, count, done):
    """So many connections from an address of its own, each of which sends a byte of a request now and then."""
    def open_one():
        client = socket.create_connection(('127.0.0.1', agent.port), PATIENCE_S, ('127.0.0.2', 0))
        client.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\nX-Filler: ')
        return client

    clients = []
    while not done.wait(0.5):
        for client in list(clients):
            try:
                client.sendall(b'a')
            except OSError:
                clients.remove(client)
        while len(clients) < count:
            try:
                clients.append(open_one())
            except OSError:
                break  # nobody takes more of us
    for client in clients:
        client.close()


def test_one_slow_client_holds_up_nobody_else(agent):
    """It wants every connection, and keeps each busy: others are served all the time, and its requests end."""
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(trickle, agent, 400, done)
        try:
            victim = socket.create_connection(('127.0.0.1', agent.port), PATIENCE_S, ('127.0.0.3', 0))
            victim.sendall(b'GET /healthz HTTP/1.1\r\n')
            victim.settimeout(0.3)
            ended = False
            while not ended:  # each byte shows that somebody is there, and it ends all the same
                assert http_get(agent.address, '/healthz') == (200, 'ok\n')
                try:
                    victim.sendall(b'X')
                    ended = victim.recv(1) == b''
                except TimeoutError:
                    pass
                except OSError:
                    ended = True
        finally:
            done.set()
        slow.result()


@pytest.mark.parametrize('host, clients', [('[::1]', ['::1']), ('[::]', ['::1', '127.0.0.1']),
                                           ('', ['::1', '127.0.0.1']), ('0.0.0.0', ['127.0.0.1']),
                                           ('localhost', ['localhost'])])
def test_addresses(node, host, clients):
    if '::1' in clients and not os.path.exists('/proc/net/if_inet6'):
        pytest.skip('this machine has no IPv6')
    agent = serve(node, host)
    for client in clients:
        connection = http.client.HTTPConnection(client, agent.port, timeout=PATIENCE_S)
        connection.request('GET', '/healthz')
        assert connection.getresponse().read() == b'ok\n'


def test_a_taken_port_is_said_and_tried_again(node):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        agent = node.start_agent(GUIDE, '--http-address', f'127.0.0.1:{port}')
        agent.wait_line('Address already in use')
    agent.wait_line('listening for HTTP')
    assert http_get(f'127.0.0.1:{port}', '/healthz') == (200, 'ok\n')


# --- the agent behind it ---

def test_a_stopped_agent_shows_and_recovers(agent):
    """503, again and again and for all; right answers as soon as the agent goes on."""
    assert http_get(agent.address, '/healthz') == (200, 'ok\n')
    for _ in range(2):
        agent.send(signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(20) as pool:
                answers = list(pool.map(lambda _: http_get(agent.address, '/metrics'), range(20)))
            answers.append(http_get(agent.address, '/healthz'))
        finally:
            agent.send(signal.SIGCONT)
        assert set(answers) == {(503, 'the agent does not respond\n')}
        # The late answer is on its way; the first requests may still find it missing.
        eventually(lambda: http_get(agent.address, '/healthz') == (200, 'ok\n'), '/healthz is 200 again')
        assert http_get(agent.address, '/metrics')[1].startswith('# HELP')
        assert http_get(agent.address, '/healthz') == (200, 'ok\n')
    assert agent.count('starting it again') == 0


def test_the_http_program_is_started_again(agent):
    for _ in range(5):
        mark = agent.mark()
        [pid] = agent.children('gpuslice-http')
        os.kill(pid, signal.SIGKILL)
        assert agent.wait_line('starting it again', mark) < agent.wait_line('listening for HTTP', mark)
        assert http_get(agent.address, '/healthz') == (200, 'ok\n')


def test_an_answer_to_a_dead_http_program_ends_nobody(agent):
    """The agent finds a question of a program that died meanwhile: its answer raises SIGPIPE, or EPIPE."""
    [pid] = agent.children('gpuslice-http')
    mark = agent.mark()
    agent.send(signal.SIGSTOP)
    try:
        assert http_get(agent.address, '/metrics')[0] == 503  # asked, and given up
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: ') Z ' in Path(f'/proc/{pid}/stat').read_text(), 'it is dead, and its end of the pair closed')
    finally:
        agent.send(signal.SIGCONT)
    agent.wait_line('listening for HTTP', mark)
    assert http_get(agent.address, '/healthz') == (200, 'ok\n')
    assert agent.end() == 0


@pytest.mark.parametrize('address', ['127.0.0.1:0', 'foo:bar:80', '19400'])
def test_what_is_no_address_is_wrong_usage(node, address):
    agent = node.start_agent(GUIDE, '--http-address', address)
    agent.wait_line('expected an address')
    assert agent.wait() == 64


def test_no_http_program_outlives_the_agent(agent):
    agent.end(signal.SIGKILL)
    eventually(lambda: refuses(agent), 'it ends too')


def refuses(agent):
    try:
        http_get(agent.address, '/healthz')
    except OSError:
        return True
    return False
