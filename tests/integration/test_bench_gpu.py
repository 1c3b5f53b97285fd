# SPDX-License-Identifier: Apache-2.0
"""The rows of `make bench-gpu` that need pods, on the simulator: the same cases that a real GPU gets. How long something takes
is the real one's matter, but for what is named: within two seconds."""
import importlib
import json
import os
import re
import subprocess
import sys

import pytest
from node import BUILD, ROOT, SANITIZED

LIBRARIES = f'{BUILD}/sim/cuda:{BUILD}/sim/nvml'
PRELOADED = os.environ.get('GPUSLICE_SANITIZER_PRELOAD', '')
# A sanitizer ends a program that loads so.
UNSANITIZED = ('RTLD_DEEPBIND', 'dlmopen, another namespace')


def lines_of(folder, row, parts):
    environment = {**os.environ, 'GPUSLICE_MACHINE': '1xH200', 'GPUSLICE_SIM_STATE': str(folder / 'state'), 'LD_LIBRARY_PATH': LIBRARIES,
                   'GPUSLICE_ARBITER_DIR': str(folder / 'arbiter'), 'GPUSLICE_GRANT_DIR': str(folder / 'grants'),  # not those of this machine
                   'LD_PRELOAD': PRELOADED, 'ASAN_OPTIONS': 'verify_asan_link_order=0:detect_leaks=0'}
    done = subprocess.run([sys.executable, ROOT / 'tests/bench/gpu/run', row, '--parts', parts, '--programs', BUILD, '--out', folder / 'out'],
                          env=environment, capture_output=True, text=True, timeout=300)
    record = next((folder / 'out').glob('row-*.json'), None)
    assert record, done.stdout + done.stderr
    print(done.stdout + done.stderr)
    lines = json.loads(record.read_text())['lines']
    assert lines and done.returncode in (0, 1), done.stderr
    return lines


class Ended:
    """A program of a pod, for the judge of row 4."""

    name, node = 'pod', property(lambda self: self)
    arbiter = node

    def __init__(self, status, said, line=None):
        self.status, self.said, self.line = lambda: status, lambda: said, line

    def answer(self):
        return None, []

    def used(self):
        return 0

    def bytes(self):
        return 4 << 30

    def wait(self, pattern, since=0, seconds=0):
        return (0, self.line) if self.line and re.search(pattern, self.line) else None


NAMED = 'finding=over gpu=GPU-a namespace=default pod=pod container=main'


@pytest.mark.parametrize('one, value, good', [
    (Ended(-11, ''), 'ended by signal 11: no memory got', True),
    (Ended(-6, 'free(): invalid pointer\n'), 'ended by signal 6: no memory got (free(): invalid pointer)', True),
    (Ended(-11, f'got {1 << 30}\ngot {4 << 30}\n'), 'ended by signal 11: 4096 MiB got', True),
    (Ended(-11, f'got {1 << 30}\ngot {5 << 30}\n'), 'ended by signal 11: 5120 MiB got', False),
    (Ended(-11, f'got {5 << 30}\n', NAMED), 'ended by signal 11: 5120 MiB got, named', True),
    (Ended(-9, ''), 'ended by signal 9: no memory got', False),
    (Ended(1, 'Traceback:\nNameError: x\n'), 'ended with status 1: no memory got (NameError: x)', False),
    (Ended(None, ''), 'ended nobody knows how: no memory got', False),
])
def test_what_ended_without_an_answer(monkeypatch, one, value, good):
    monkeypatch.syspath_prepend(ROOT / 'tests/bench/gpu')
    escapes = importlib.import_module('escapes')
    assert escapes.judge_named(None, one, 'dlmopen', one)[:4] == ('dlmopen', value, 'no memory past the limit unnamed', good)


@pytest.mark.skipif(os.geteuid() != 0, reason='namespaces and cgroups need root')
@pytest.mark.parametrize('row, parts, least', [('faults', 'agent,fork', 9), ('escapes', 'routes', 12), ('escapes', 'root,cgroups', 6), ('failopen', 'cases', 11)])
def test_a_row(tmp_path, row, parts, least):
    lines = lines_of(tmp_path, row, parts)
    bad = [line for line in lines if line['good'] is False and not (SANITIZED and line['case'] in UNSANITIZED)]
    assert not bad
    assert len(lines) >= least


@pytest.mark.waits
@pytest.mark.skipif(os.geteuid() != 0, reason='cgroups need root')
@pytest.mark.parametrize('row, parts, cases', [
    ('kernels', 'short', ['4 x kernels of 66 us, awaited']),
    ('turnfaults', 'ends', ['kill -9 of one of three', 'SIGSTOP of one of three', 'illegal address in one of three'])])
def test_a_row_of_turns(tmp_path, monkeypatch, row, parts, cases):
    """In windows too short for its figures: each tenant gets on in each of them, and nobody is left behind."""
    monkeypatch.setenv('SCALE', '0.2')
    monkeypatch.setenv('ROUNDS', '1')
    lines = lines_of(tmp_path, row, parts)
    assert [line['case'] for line in lines] == cases
    samples = json.loads((tmp_path / f'out/row-{row}.json').read_text())['samples']
    windows = [window for found in samples.values() for name, one in found.items() if name != 'status'
               for window in (one if isinstance(one, list) else [one])]
    answers = [answer for window in windows for answer in window.values()]
    assert answers and all(answer['rate'] > 0 for answer in answers), answers
