# SPDX-License-Identifier: Apache-2.0
"""A test in the place of gpuslice-arbiter: what the agent wishes can be awaited, a state and events can be told."""
import socket
import threading
import time

from frames import HELLO, NOTICE, PING, PONG, Reader, frame
from node import PATIENCE_S

WISH, STATE, EVENT = 1, 2, 3


def lines(**members):
    return ''.join(f'{key} {value}\n' for key, value in members.items())


def install_library(grants, version='1.0'):
    folder = grants / 'lib' / version
    folder.mkdir(parents=True)
    (folder / 'libgpuslice.so').write_text('')
    (folder / 'ld.so.preload').write_text('/opt/gpuslice/lib/libgpuslice.so\n')
    (grants / 'lib/current').unlink(missing_ok=True)
    (grants / 'lib/current').symlink_to(version)


class Arbiter:
    def __init__(self, folder, state=None, serves=True):
        folder.mkdir(exist_ok=True)
        self.path, self.state, self.serves = folder / 'arbiter.sock', state, serves
        self.wishes, self.changed, self.peer = [], threading.Condition(), None
        self.n_hellos = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.path.unlink(missing_ok=True)
        self.listener.bind(str(self.path))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[peer], daemon=True).start()

    def serve(self, peer):
        reader = Reader()
        peer.sendall(frame(HELLO, b'arbiter'))
        while data := peer.recv(1 << 16):
            for kind_of_frame, kind, number, body in reader.feed(data):
                self.take(peer, kind_of_frame, kind, number, body.decode())

    def take(self, peer, kind_of_frame, kind, number, body):
        with self.changed:
            if kind_of_frame == PING:
                peer.sendall(frame(PONG, number=number))
            elif kind_of_frame == HELLO:
                self.n_hellos += 1
                if not self.serves:  # as a release that has no such service
                    peer.shutdown(socket.SHUT_RDWR)
                    self.changed.notify_all()
                    return
                assert body == 'agent'
                self.peer = peer
                if self.state is not None:
                    self.say(STATE, self.state)
            elif kind_of_frame == NOTICE and kind == WISH:
                self.wishes.append(dict(line.split(' ', 1) for line in body.splitlines()))
            self.changed.notify_all()

    def say(self, kind, text):
        self.peer.sendall(frame(NOTICE, text.encode(), kind=kind))

    def tell(self, state):
        self.state = state
        self.say(STATE, state)

    def wait(self, condition):
        deadline = time.monotonic() + PATIENCE_S
        with self.changed:
            while not condition(self):
                left = deadline - time.monotonic()
                assert left > 0 and self.changed.wait(left), f'never came true; wishes: {self.wishes}'

    def wait_mode(self, mode):
        self.wait(lambda arbiter: arbiter.wishes and arbiter.wishes[-1]['mode'] == mode)

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.path.unlink(missing_ok=True)
        if self.peer:
            self.peer.shutdown(socket.SHUT_RDWR)


USABLE = lines(version='1.0', library='/var/lib/gpuslice/lib/1.0', mode='enforced')
