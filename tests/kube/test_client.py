# SPDX-License-Identifier: Apache-2.0
"""Single requests: what is sent, who is trusted, and what each failure is called."""
import base64
import errno
import json
import socket
import threading

import pytest

from apiserver import PATH, END, Server, status

NODE = '/api/v1/nodes/n'


def answer(code, body):
    return lambda request: request.reply(code, body)


def other(request):
    return request.resource != PATH


def test_what_writes_look_like(probe, server):
    node = {'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'n', 'labels': {'ä': 'b"'}}}
    patch = [{'op': 'test', 'path': '/spec', 'value': None}]
    server.fault(other, answer(200, {}), stays=True)
    cases = [
        (['apply', NODE, 'yield', json.dumps(node)], 'PATCH', {'fieldManager': 'kube-probe'},
         'application/apply-patch+yaml', node),
        (['apply', NODE + '?dryRun=All', 'force', json.dumps(node)], 'PATCH',
         {'dryRun': 'All', 'fieldManager': 'kube-probe', 'force': 'true'}, 'application/apply-patch+yaml',
         node),
        (['patch', NODE, json.dumps(patch)], 'PATCH', {'fieldManager': 'kube-probe'},
         'application/json-patch+json', patch),
        (['create', '/api/v1/events', json.dumps(node)], 'POST', {'fieldManager': 'kube-probe'},
         'application/json', node),
    ]
    for words, method, query, content_type, body in cases:
        reply = probe.ask(*words)
        assert (reply['error'], reply['status'], reply['reason']) == (0, 200, '')
        request = server.requests[-1]
        assert (request.command, request.query) == (method, query)
        assert request.headers['Content-Type'] == content_type
        assert json.loads(request.body) == body
        assert request.headers['Authorization'] == 'Bearer first-token'
        assert request.headers['Host'] == f'127.0.0.1:{server.port}'
        assert 'Expect' not in request.headers


def test_a_conflict_names_fields_and_managers(probe, server):
    causes = [{'reason': 'FieldManagerConflict', 'message': 'conflict with "nfd-master" using v1',
               'field': '.metadata.labels.nvidia.com/gpu.count'}]
    server.fault(other, answer(409, status(409, 'Conflict', 'Apply failed', details={'causes': causes})))
    reply = probe.ask('apply', NODE, 'yield', '{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"}}')
    assert reply['status'] == 409
    assert reply['conflicts'] == [['.metadata.labels.nvidia.com/gpu.count', 'nfd-master']]
    assert reply['reason'].startswith(f'PATCH {NODE}: ')


def test_an_answer_above_the_bound(probe, server):
    server.fault(other, answer(200, b'x' * ((4 << 20) + 1)))
    reply = probe.ask('get', NODE)
    assert (reply['error'], reply['status'], reply['size']) == (-errno.EMSGSIZE, 0, 0)
    assert '4 MiB' in reply['reason']
    server.fault(other, answer(200, b'x' * (4 << 20)))
    reply = probe.ask('get', NODE)
    assert (reply['error'], reply['status'], reply['size']) == (0, 200, 4 << 20)


def test_what_the_server_asks_for_is_passed_on(probe, server):
    server.fault(other, lambda request: request.reply(429, status(429, 'TooManyRequests', 'x'), Retry_After=7))
    reply = probe.ask('get', NODE)
    assert (reply['status'], reply['retry_after_s']) == (429, 7)


def test_nothing_is_asked_elsewhere(probe, server, certificate):
    """A redirect would carry the token along."""
    elsewhere = Server(certificate)
    try:
        server.fault(other, lambda request: request.reply(
            302, b'', Location=f'https://127.0.0.1:{elsewhere.port}/'))
        assert probe.ask('get', NODE)['status'] == 302
        assert elsewhere.requests == []
    finally:
        elsewhere.stop()


def test_a_server_that_says_nothing_is_left(probe, server):
    over = threading.Event()
    server.fault(other, lambda request: over.wait(30))
    reply = probe.ask('get', NODE)
    assert reply['error'] == -errno.ETIMEDOUT and 'no response within 3 s' in reply['reason']
    assert probe.ask('get', PATH)['status'] == 200
    assert len({request.client_address for request in server.requests}) == 2
    over.set()


def test_a_reset_is_a_reset(probe, server):
    server.fault(other, lambda request: request.reset())
    reply = probe.ask('get', NODE)
    assert reply['error'] == -errno.ECONNRESET and NODE in reply['reason']


def test_the_token_is_read_for_each_request(probe, server, pod):
    def bearer():
        return server.requests[-1].headers['Authorization']
    probe.ask('get', PATH)
    assert bearer() == 'Bearer first-token'
    (pod / 'token').write_text('second-token')
    probe.ask('get', PATH)
    assert bearer() == 'Bearer second-token'
    for nonsense in ('', 'two words', 'two\nlines'):
        (pod / 'token').write_text(nonsense)
        reply = probe.ask('get', PATH)
        assert reply['error'] == -errno.EINVAL and str(pod / 'token') in reply['reason']
    (pod / 'token').unlink()
    reply = probe.ask('get', PATH)
    assert reply['error'] == -errno.ENOENT and str(pod / 'token') in reply['reason']
    assert len(server.requests) == 2


def test_a_watch_takes_a_new_token_too(watching, server, pod):
    (pod / 'token').unlink()
    server.order(END)
    assert str(pod / 'token') in watching.next(event='trouble')['reason']
    (pod / 'token').write_text('second-token')
    watching.next(event='trouble', reason=None)
    assert server.requests[-1].headers['Authorization'] == 'Bearer second-token'


def test_a_new_authority_is_trusted_without_a_restart(watching, server, pod, other_authority):
    server.set('a')
    watching.next(name='a')
    server.use(other_authority.sign('server'))
    server.drop_connections()
    said = watching.next(event='trouble')['reason']
    assert 'certificate' in said, said
    (pod / 'ca.crt').write_bytes(other_authority.file.read_bytes())
    watching.next(event='trouble', reason=None)
    server.set('b')
    watching.next(name='b')


def test_a_withdrawn_authority_is_not_trusted_any_more(probe, server, pod, other_authority):
    """Neither a kept store of authorities nor a resumed session may say otherwise."""
    assert probe.ask('get', PATH)['status'] == 200
    (pod / 'ca.crt').write_bytes(other_authority.file.read_bytes())
    assert probe.ask('get', PATH)['status'] == 200  # over the connection that is there
    server.drop_connections()
    reply = probe.ask('get', PATH)
    while reply['error'] == -errno.ECONNRESET:  # the end of the old connection was not seen yet
        reply = probe.ask('get', PATH)
    assert reply['error'] == -errno.EACCES and 'certificate' in reply['reason'], reply


def test_the_system_is_not_trusted_beside_our_authority(kubeconfig, other_authority):
    probe = kubeconfig({'certificate-authority': str(other_authority.file)})
    reply = probe.ask('get', PATH)
    assert reply['error'] == -errno.EACCES and 'certificate' in reply['reason']


def inline(path):
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize('is_inline', [False, True])
def test_a_client_certificate(kubeconfig, server, authority, certificate, is_inline):
    cert, key = authority.sign('client', 'DNS:x')
    server.use(certificate, client_ca=authority.file)
    user = {'client-certificate-data': inline(cert), 'client-key-data': inline(key)} if is_inline else \
        {'client-certificate': str(cert), 'client-key': str(key)}
    assert kubeconfig(user=user).ask('get', PATH)['status'] == 200
    assert kubeconfig().ask('get', PATH)['error'] < 0


def test_inline_authority_token_and_password(kubeconfig, server, authority):
    cluster = {'certificate-authority': '', 'certificate-authority-data': inline(authority.file)}
    assert kubeconfig(cluster, {'token': 'abc'}).ask('get', PATH)['status'] == 200
    assert server.requests[-1].headers['Authorization'] == 'Bearer abc'
    assert kubeconfig(cluster, {'username': 'u', 'password': 'p'}).ask('get', PATH)['status'] == 200
    assert server.requests[-1].headers['Authorization'] == 'Basic dTpw'


def test_a_certificate_for_another_name(kubeconfig, server, authority):
    server.use(authority.sign('named', 'DNS:api.example'))
    assert 'certificate' in kubeconfig().ask('get', PATH)['reason']
    assert kubeconfig({'tls-server-name': 'other.example'}).ask('get', PATH)['error'] == -errno.EACCES
    assert kubeconfig({'tls-server-name': 'api.example'}).ask('get', PATH)['status'] == 200
    assert server.requests[-1].headers['Host'] == f'127.0.0.1:{server.port}'
    insecure = {'certificate-authority': '', 'insecure-skip-tls-verify': True}
    assert kubeconfig(insecure).ask('get', PATH)['status'] == 200


class Proxy:
    """Tunnels what CONNECT asks for."""

    def __init__(self):
        self.listener, self.targets = socket.create_server(('127.0.0.1', 0)), []
        self.url = 'http://127.0.0.1:%d' % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            head = b''
            while not head.endswith(b'\r\n\r\n'):
                head += near.recv(1)
            target = head.split()[1].decode()
            self.targets.append(target)
            host, port = target.rsplit(':', 1)
            far = socket.create_connection((host, int(port)))
            near.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    @staticmethod
    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_a_proxy_of_the_environment(start, server, pod):
    proxy = Proxy()
    env = {'KUBERNETES_SERVICE_HOST': '127.0.0.1', 'KUBERNETES_SERVICE_PORT': str(server.port),
           'HTTPS_PROXY': proxy.url}
    assert start(['--pod-folder', pod], env).ask('get', PATH)['status'] == 200
    assert proxy.targets == [f'127.0.0.1:{server.port}']
    env['NO_PROXY'] = '127.0.0.0/8'
    assert start(['--pod-folder', pod], env).ask('get', PATH)['status'] == 200
    assert len(proxy.targets) == 1
    proxy.listener.close()


def test_a_proxy_of_the_kubeconfig(kubeconfig, server):
    proxy = Proxy()
    assert kubeconfig({'proxy-url': proxy.url}).ask('get', PATH)['status'] == 200
    assert proxy.targets == [f'127.0.0.1:{server.port}']
    proxy.listener.close()


def test_many_at_once(probe, server):
    for _ in range(50):
        probe.say('get', PATH)
    for _ in range(50):
        assert probe.next(answer='get')['status'] == 200


def test_ends_while_requests_are_open(start, server, pod):
    over = threading.Event()
    server.fault(other, lambda request: over.wait(30), stays=True)
    probe = start(['--pod-folder', pod], {'KUBERNETES_SERVICE_HOST': '127.0.0.1',
                                          'KUBERNETES_SERVICE_PORT': str(server.port)})
    for _ in range(3):
        probe.say('get', NODE)
    server.await_requests(3)
    probe.end()
    over.set()
    assert probe.lines == []
