# SPDX-License-Identifier: Apache-2.0
"""The API server, called by one token."""
import http.client
import json
import ssl
import threading


class Refused(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status, text):
        super().__init__(f'{status}: {text}')
        self.status, self.text = status, text


class Api:
    def __init__(self, port, authority, token='admin-token'):
        self.port, self.token, self.authority, self.patience = port, token, str(authority), 20
        self.here = threading.local()  # a connection for each thread

    def connect(self, timeout=None):
        tls = ssl.create_default_context(cafile=self.authority)
        return http.client.HTTPSConnection('127.0.0.1', self.port, timeout=timeout or self.patience, context=tls)

    def send(self, connection, path, method='GET', body=None, kind='application/merge-patch+json'):
        headers = {'Authorization': f'Bearer {self.token}',
                   'Content-Type': kind if method == 'PATCH' else 'application/json'}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        return connection.getresponse()

    def call(self, path, method='GET', body=None, kind='application/merge-patch+json'):
        """The answer's JSON (or text). A kept-alive connection that was closed is reopened, once."""
        for fresh in (False, True):
            connection = getattr(self.here, 'connection', None)
            fresh = fresh or connection is None
            if fresh:
                connection = self.here.connection = self.connect()
            try:
                answer = self.send(connection, path, method, body, kind)
                data = answer.read()
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                self.here.connection = None
                if fresh:
                    raise
        text = data.decode(errors='replace')
        if not 200 <= answer.status < 300:
            raise Refused(answer.status, text)
        return json.loads(text) if 'json' in answer.getheader('Content-Type', '') else text

    def find(self, path):
        """As call, None when there is no such object."""
        try:
            return self.call(path)
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    def watch(self, path, timeout):
        """(type, object) of each change, from the present state on; ends when nothing came for `timeout` seconds."""
        connection = self.connect(timeout)
        try:
            answer = self.send(connection, path + ('&' if '?' in path else '?') + 'watch=1')
            if answer.status != 200:
                raise Refused(answer.status, answer.read().decode(errors='replace'))
            for line in answer:
                event = json.loads(line)
                yield event['type'], event['object']
        except TimeoutError:
            return
        finally:
            connection.close()


class Follower:
    """Calls look(type, object) for every change of a list, from its present state on, in a thread of its own."""

    def __init__(self, api, path, look, patience=0.5):
        """`patience`: for so many seconds at most, end() waits."""
        self.api, self.path, self.look, self.patience = api, path + ('&' if '?' in path else '?'), look, patience
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        version = ''  # after which to go on, so that nothing is missed between two connections
        while not self.ended.is_set():
            try:
                for kind, changed in self.api.watch(f'{self.path}resourceVersion={version}', self.patience):
                    if kind == 'ERROR':  # so old a version is not kept
                        version = ''
                        break
                    version = changed['metadata']['resourceVersion']
                    self.look(kind, changed)
                    if self.ended.is_set():
                        break
            except (OSError, Refused, http.client.HTTPException, ValueError):  # the server ends, or is away
                self.ended.wait(0.1)

    def end(self):
        self.ended.set()
        self.thread.join()
