# SPDX-License-Identifier: Apache-2.0
"""The host's system bus: a real dbus-daemon, and services on it that the test plays."""
import socket
import struct
import subprocess
import threading


CONFIG = '''<busconfig>
  <type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>{deny}
  </policy>
</busconfig>
'''
RETURN, ERROR, CALL = 2, 3, 1
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = 1, 2, 3, 4, 5, 6, 7, 8


class Writer:
    def __init__(self, data=b''):
        self.data = data

    def align(self, size):
        self.data += b'\0' * (-len(self.data) % size)
        return self

    def put(self, kind, value):
        if kind == 'g':
            self.data += bytes([len(value)]) + value.encode() + b'\0'
            return self
        self.align(4)
        self.data += struct.pack('<I', int(value)) if kind in 'ub' else struct.pack('<I', len(value)) + value.encode() + b'\0'
        return self


class Reader:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def align(self, size):
        self.at += -self.at % size

    def get(self, kind):
        if kind == 'g':
            length, self.at = self.data[self.at], self.at + 1
        else:
            self.align(4)
            length, = struct.unpack_from('<I', self.data, self.at)
            self.at += 4
            if kind in 'ub':
                return bool(length) if kind == 'b' else length
        text = self.data[self.at:self.at + length].decode()
        self.at += length + 1
        return text


def message(kind, serial, fields, signature='', values=()):
    body = Writer()
    for one, value in zip(signature, values):
        body.put(one, value)
    head = Writer()
    for code, (type_, value) in {**fields, **({SIGNATURE: ('g', signature)} if signature else {})}.items():
        head.align(8).data += bytes([code])
        head.put('g', type_).put(type_, value)
    start = b'l' + bytes([kind, 0, 1]) + struct.pack('<III', len(body.data), serial, len(head.data))
    return Writer(start + head.data).align(8).data + body.data


def parse(data):
    """(kind, serial, fields by code, values)"""
    body_size, serial, fields_size = struct.unpack_from('<III', data, 4)
    reader, fields = Reader(data, 16), {}
    while reader.at < 16 + fields_size:
        reader.align(8)
        code = data[reader.at]
        reader.at += 1
        fields[code] = reader.get(reader.get('g'))
    reader.align(8)
    return data[1], serial, fields, [reader.get(kind) for kind in fields.get(SIGNATURE, '')] if body_size else []


class Service:
    """Owns a name; `calls` are (interface, member, values). refuse: (name of an error, its text) for every call."""

    def __init__(self, path, name, refuse=None):
        self.calls, self.refuse, self.serial = [], refuse, 10
        self.peer = socket.socket(socket.AF_UNIX)
        self.peer.connect(str(path))
        self.stream = self.peer.makefile('rb')
        self.peer.sendall(b'\0AUTH EXTERNAL 30\r\n')
        assert self.stream.readline().startswith(b'OK ')
        self.peer.sendall(b'BEGIN\r\n')
        self.ask('Hello', 1)
        self.ask('RequestName', 2, 'su', (name, 0))
        threading.Thread(target=self.serve, daemon=True).start()

    def ask(self, member, serial, signature='', values=()):
        bus = 'org.freedesktop.DBus'
        self.peer.sendall(message(CALL, serial, {PATH: ('o', '/org/freedesktop/DBus'), DESTINATION: ('s', bus),
                                                 INTERFACE: ('s', bus), MEMBER: ('s', member)}, signature, values))
        while self.receive()[2].get(REPLY_SERIAL) != serial:
            pass

    def receive(self):
        head = self.stream.read(16)
        if len(head) < 16:
            raise EOFError
        body, _, fields = struct.unpack_from('<III', head, 4)
        return parse(head + self.stream.read((fields + 7) // 8 * 8 + body))

    def serve(self):
        try:
            while True:
                self.answer(*self.receive())
        except (EOFError, OSError):
            pass  # the bus has ended

    def answer(self, kind, serial, fields, values):
        if kind != CALL:
            return
        self.calls.append((fields[INTERFACE], fields[MEMBER], values))
        self.serial += 1
        to = {DESTINATION: ('s', fields[SENDER]), REPLY_SERIAL: ('u', serial)}
        if self.refuse:
            self.peer.sendall(message(ERROR, self.serial, {**to, ERROR_NAME: ('s', self.refuse[0])}, 's', self.refuse[1:]))
        else:
            self.peer.sendall(message(RETURN, self.serial, to))


class SystemBus:
    """deny: rules of the host's policy, as in /usr/share/dbus-1/system.d."""

    def __init__(self, folder, deny=''):
        self.socket = folder / 'system_bus_socket'
        (folder / 'bus.conf').write_text(CONFIG.format(socket=self.socket, deny=deny))
        self.process = subprocess.Popen(['dbus-daemon', '--nofork', '--print-address', f'--config-file={folder / "bus.conf"}'],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout.readline(), 'the system bus does not start'  # its address, once it listens

    def serve(self, name, refuse=None):
        return Service(self.socket, name, refuse)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
