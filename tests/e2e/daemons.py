# SPDX-License-Identifier: Apache-2.0
"""Programs that a bed starts and ends, and how it waits for them."""
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import programs


slowness = 1  # how much longer everything takes: 20 of the emulated machine's, with what others there compute
PATIENCE = 4  # how much longer than on a machine with nothing else to do is waited for it


class BedError(Exception):
    pass


def wait(what, found, timeout=60):
    """Awaits a true value and returns it. Looks often at first, then less so: each look costs the API server something."""
    started, timeout = time.monotonic(), timeout * max(slowness, PATIENCE)
    while True:
        value = found()
        if value:
            return value
        waited = time.monotonic() - started
        if waited > timeout:
            raise BedError(f'not within {timeout} s: {what}')
        time.sleep(slowness * min(0.1, max(0.03, waited / 20)))


def quiet(*argv):
    return subprocess.run([*map(str, argv)], stdin=subprocess.DEVNULL, capture_output=True, text=True)


def command_of(pid):
    try:
        return Path(f'/proc/{pid}/cmdline').read_bytes().decode(errors='replace').split('\0')
    except OSError:
        return []


def processes(*words):
    """Pids of the processes whose command line holds all these arguments."""
    return [int(one.name) for one in Path('/proc').iterdir()
            if one.name.isdigit() and set(words) <= set(command_of(one.name))]


def end_all(pids, number=signal.SIGKILL):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def has_ended(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'
    except OSError:
        return True


class Program:
    """A daemon of the bed. Its pid is kept in a file, so that a later process can end it as well. `prefix`: words of a program
    that becomes it."""

    def __init__(self, folder, name, *argv, path='', variables=None, prefix=()):
        self.name, self.argv, self.variables = name, [str(word) for word in argv], variables or {}
        self.prefix = [*map(str, prefix)]
        self.log, self.pidfile, self.path = folder / f'{name}.log', folder / f'{name}.pid', path
        self.child = None

    def start(self, keep=()):
        environment = dict(os.environ, PATH=f"{self.path}{programs.BIN}:{os.environ['PATH']}")
        for name in ('KUBECONFIG', 'LD_LIBRARY_PATH', 'LD_PRELOAD'):
            environment.pop(name, None)
        environment.update(self.variables)
        with open(self.log, 'ab') as log:
            self.child = subprocess.Popen([*self.prefix, *self.argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=environment, start_new_session=True, pass_fds=keep)
        self.pidfile.write_text(str(self.child.pid))

    @property
    def pid(self):
        """None when it does not run."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self.pidfile.read_text())
            if command_of(pid)[:len(self.argv)] == self.argv and not has_ended(pid):
                return pid
        return None

    def end(self, number=signal.SIGTERM, patience=10):
        pid = self.pid
        if pid:
            end_all([pid], number)
            with contextlib.suppress(BedError):
                wait('the end', lambda: self.reaped(pid), patience)
            end_all([pid] if not self.reaped(pid) else [])
            wait(f'{self.name} killed', lambda: self.reaped(pid), patience)
        self.pidfile.unlink(missing_ok=True)

    def kill(self):
        self.end(signal.SIGKILL)

    def signal(self, number):
        os.kill(self.pid, number)

    def restart(self):
        self.end()
        self.start()

    def reaped(self, pid):
        if self.child and self.child.pid == pid:
            return self.child.poll() is not None
        return has_ended(pid)

    def tail(self, n_lines=15):
        return '\n'.join(self.log.read_text(errors='replace').splitlines()[-n_lines:]) if self.log.exists() else ''


def read_or_empty(path):
    try:
        return path.read_text()
    except OSError:
        return ''
