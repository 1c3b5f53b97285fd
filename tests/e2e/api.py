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
        self.port, self.token, self.authority = port, token, str(authority)
        self.here = threading.local()  # a connection for each thread

    def connect(self, timeout=20):
        tls = ssl.create_default_context(cafile=self.authority)
        return http.client.HTTPSConnection('127.0.0.1', self.port, timeout=timeout, context=tls)

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
