# SPDX-License-Identifier: Apache-2.0
"""Tenants that share the time of a GPU: the node's arbiter, workers (programs/worker.py) under `gpuslice run`, and windows in which some of them
work. Each worker lives through all windows of a row, so that alone, native and turns alternate with the same processes."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bed import GIB, HERE, PATIENCE_S, eventually, middle
from pods import Service

START_S = 180  # the first import of PyTorch on a machine, sixteen at once
SCALE = float(os.environ.get('SCALE', 1))  # of windows; below 1 only to see that a row runs
ALONE_S, NATIVE_S, TURNS_S = 1.2 * SCALE, 3.0 * SCALE, 4.0 * SCALE
SETTLE_S = 4.0 * SCALE  # turns are found out: who is heavy, and which plan is best
NATIVE_LEAD_S, ALONE_LEAD_S = 0.5, 0.3
VIEW_S = 0.5 * SCALE
AHEAD_S = 0.1  # an order is there before it begins
ROUNDS = int(os.environ.get('ROUNDS', 2))
IS_SIMULATED = 'GPUSLICE_MACHINE' in os.environ
TURNS, NATIVE, ALONE = 'turns', 'native', 'alone'


class Worker:
    """mps: variables of an MPS client, which is no tenant of ours. share: percent of the GPU's time; None: no tenant either."""

    def __init__(self, device, name, kind, share=None, memory=None, processes=1, mps=None, **words):
        self.device, self.name, self.kind = device, name, kind
        self.errors = tempfile.TemporaryFile('w+')
        program = [sys.executable, HERE / 'programs/worker.py', device.hub, name, kind, *(f'{word}={value}' for word, value in words.items())]
        bed = device.bed
        if processes > 1:  # of one container
            program = [sys.executable, '-c', CROWD, str(processes), *program]
        command = bed.command(program, (memory or 6 * GIB) if share else None, options=device.options(share))
        self.n = processes
        self.process = subprocess.Popen(command, env={**device.environment, **(mps or {})}, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=self.errors)
        self.links, self.pids = [], []

    def said(self):
        self.errors.seek(0)
        return self.errors.read()[-3000:]

    def arrive(self, sock, pid):
        self.links.append(sock)
        self.pids.append(pid)

    def order(self, **words):
        for link in self.links:
            link.write(json.dumps(words) + '\n')
            link.flush()

    def answer(self):
        """All its processes together: steps a second, and every time that one took."""
        answers = []
        for link in self.links:
            line = link.readline()
            answers.append(json.loads(line) if line else {'error': f'{self.name} has ended: {self.said()}'})
        wrong = [one['error'] for one in answers if 'error' in one]
        if wrong:
            return {'rate': 0, 'ms': [], 'error': wrong[0]}
        return {'rate': sum(one['steps'] / one['seconds'] for one in answers), 'ms': [ms for one in answers for ms in one['ms']],
                'late_s': max(one['late_s'] for one in answers), 'gap_s': max(one['gap_s'] for one in answers),
                'by_second': [sum(each) for each in zip(*(one['by_second'] for one in answers))]}

    def kill(self, number=signal.SIGKILL):
        for pid in self.pids:
            os.kill(pid, number)

    def close(self):
        for link in self.links:
            link.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


CROWD = 'import subprocess, sys; [one.wait() for one in [subprocess.Popen(sys.argv[2:]) for _ in range(int(sys.argv[1]))]]'


class Device:
    """The first GPU with an arbiter. Workers are started together, and awaited."""

    def __init__(self, bed, compute='elastic'):
        self.bed, self.compute, self.workers, self.is_on = bed, compute, {}, True
        self.folder = Path(tempfile.mkdtemp(prefix='gpuslice-'))
        self.root = self.folder / 'root'
        for name in ('plugins', 'grants', 'pods', 'var/log/pods', 'var/log/containers'):
            (self.root / name).mkdir(parents=True)
        (self.root / 'proc').symlink_to('/proc')
        self.environment = {**bed.environment, 'GPUSLICE_GRANT_DIR': '/grants', 'GPUSLICE_DEVICE_PLUGIN_DIR': '/plugins', 'PYTHONDONTWRITEBYTECODE': '1'}
        self.hub = self.folder / 'hub'
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.hub))
        self.listener.listen(256)
        self.start_arbiter()

    def options(self, share):
        """Of `gpuslice run`."""
        return ['--share', f'{share}%', '--arbiter-dir', str(self.folder / 'arbiter')]

    def start_arbiter(self):
        words = [self.bed.programs['gpuslice-arbiter'], '--limits=enforced', f'--compute={self.compute}', '--root', self.root, '--state-dir',
                 self.folder / 'noted', '--arbiter-dir', self.folder / 'arbiter']
        if 'GPUSLICE_LIBRARY' in self.bed.environment:
            words += ['--library', self.bed.environment['GPUSLICE_LIBRARY']]
        self.arbiter = Service(words, self.environment)
        self.arbiter.need('gpuslice-arbiter .*audit')
        if eventually(lambda: self.status().get('devices'), PATIENCE_S, 0.05) is None:  # it has read the driver
            sys.exit('bench-gpu: the arbiter finds no GPU:\n' + '\n'.join(line for _, line in self.arbiter.lines[-30:]))

    def start(self, *workers):
        """(name, kind, words) each. Some that cannot start are left out, and named."""
        new = {name: Worker(self, name, kind, **words) for name, kind, words in workers}
        self.workers.update(new)
        expected = sum(worker.n for worker in new.values())
        deadline = time.monotonic() + START_S
        self.listener.settimeout(1)
        while expected and time.monotonic() < deadline:
            try:
                sock, _ = self.listener.accept()
            except TimeoutError:
                ended = [worker for worker in new.values() if worker.process.poll() is not None]
                if ended:
                    break
                continue
            link = sock.makefile('rw')
            sock.close()
            first = json.loads(link.readline())
            self.workers[first['name']].arrive(link, first['pid'])
            expected -= 1
        for worker in new.values():
            if len(worker.links) < worker.n:
                print(f'bench-gpu: {worker.name} did not start: {worker.said()}', flush=True)
                self.workers.pop(worker.name)
        return all(name in self.workers for name in new)

    def gpuslice(self, *words):
        done = subprocess.run([self.bed.programs['gpuslice'], *words, '--root', self.root, '--arbiter-dir', '/../arbiter'], env=self.environment,
                              capture_output=True, text=True, timeout=PATIENCE_S)
        return done.stdout

    def switch(self, is_on):
        """Turns, live, as the node's owner does it."""
        if is_on != self.is_on:
            self.gpuslice('enforcement', 'on' if is_on else 'off')
            self.is_on = is_on
            eventually(lambda: self.status().get('is_off', False) is not is_on, PATIENCE_S, 0.02)

    def status(self):
        """As `gpuslice top --json` shows it."""
        try:
            return json.loads(self.gpuslice('top', '--json'))
        except ValueError:
            return {}

    def window(self, seconds, lead, names, **orders):
        """{name: answer}. orders: {name: words for this window}"""
        self.order(seconds, lead, names, **orders)
        return self.answers(names)

    def order(self, seconds, lead, names, **orders):
        """(the moment from which steps count)"""
        begin = time.monotonic() + AHEAD_S
        for name in names:
            self.workers[name].order(begin=begin, count=begin + lead, until=begin + lead + seconds, **orders.get(name, {}))
        return begin + lead

    def answers(self, names):
        return {name: self.workers[name].answer() for name in names}

    def alone(self, names, **orders):
        found = {}
        for name in names:
            found |= self.window(ALONE_S, ALONE_LEAD_S, [name], **orders)
        return found

    def native(self, names, **orders):
        self.switch(False)
        return self.window(NATIVE_S, NATIVE_LEAD_S, names, **orders)

    def turns(self, names, **orders):
        """What the arbiter shows is read before the end."""
        self.switch(True)
        counted = self.order(TURNS_S, SETTLE_S, names, **orders)
        time.sleep(max(0, counted + TURNS_S - VIEW_S - time.monotonic()))
        self.seen = self.view()
        return self.answers(names)

    def compare(self, names, rounds=ROUNDS, systems=(ALONE, NATIVE, TURNS), **orders):
        """{system: [{name: answer} of each round]}; what the arbiter says is under `status`."""
        found = {system: [] for system in systems} | {'status': []}
        for _ in range(rounds):
            for system in systems:
                self.switch(system == TURNS)
                found[system].append(getattr(self, system)(names, **orders))
                if system == TURNS:
                    found['status'].append(self.seen)
        return found

    def view(self):
        """Of turns, what a bench keeps of the status."""
        devices = self.status().get('devices', [])
        return [{'turns': one.get('turns'), 'containers': [{key: row.get(key) for key in ('pod', 'pod_name', 'name', 'turns')} for row in one.get('containers', [])]}
                for one in devices]

    def plan(self):
        for device in self.status().get('devices', []):
            turns = device.get('turns') or {}
            return f'{turns.get("plan")} ({turns.get("reason")})'
        return 'no status'

    def stop(self, *names):
        for name in names or list(self.workers):
            self.workers.pop(name).close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.arbiter.end()
        self.listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)


# --- figures ---

def rates(windows, name):
    return [one[name]['rate'] for one in windows]


def progress(found, system, name):
    """Of each round, by the median of its rate alone."""
    alone = middle(rates(found[ALONE], name))
    return [rate / alone if alone else 0 for rate in rates(found[system], name)]


def quantile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float('nan')


def times(windows, name):
    return [ms for one in windows for ms in one[name]['ms']]


def spread(values, form='{:.2f}'):
    """Median, and range where there are several."""
    text = form.format(middle(values))
    return text if len(values) < 2 else f'{text} ({form.format(min(values))}–{form.format(max(values))})'
