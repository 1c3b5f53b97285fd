# SPDX-License-Identifier: Apache-2.0
"""The training loop that demos and tests run in pods (sim/train), beside others on one simulated GPU: what one takes, the others lack,
and what it computes is right all the same."""
import re
import signal
import subprocess

import pytest

import foreign

BUILDS = ['cuda-train', 'cuda-train-linked']
CONTEXT_MIB, TOTAL_MIB = 306, 16160  # of a Tesla V100 (doc/design/0025)


@pytest.fixture
def p3(tmp_path):
    machine = foreign.Machine(foreign.ROOT / 'sim/machines/p3.8xlarge.yaml', tmp_path)
    machine.env['LD_LIBRARY_PATH'] += f':{foreign.BUILD}/sim/cuda'
    return machine


def command(build, *words):
    return [str(foreign.BUILD / 'sim/train' / build), *map(str, words)]


class Running:
    """One in the background."""

    def __init__(self, machine, *words):
        self.process = subprocess.Popen(command('cuda-train', *words), env=machine.env, stdout=subprocess.PIPE, text=True)

    def read_until(self, pattern):
        for line in self.process.stdout:
            found = re.match(pattern, line)
            if found:
                return found
        raise AssertionError(f'it ended without {pattern}')

    def end(self, number):
        self.process.send_signal(number)
        rest = self.process.stdout.read()
        return self.process.wait(20), rest


@pytest.fixture
def run(p3):
    started = []

    def start(*words):
        started.append(Running(p3, *words))
        return started[-1]
    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@pytest.mark.parametrize('build', BUILDS)
def test_it_trains(p3, build):
    done = subprocess.run(command(build, '--memory', 1000, '--steps', 12, '--step-ms', 1), env=p3.env, capture_output=True, text=True)
    free = TOTAL_MIB - CONTEXT_MIB - 1000 - 2  # the small ones share a granule
    assert done.stdout.splitlines() == ['Tesla V100-SXM2-16GB, 16160 MiB', f'at start: {TOTAL_MIB - CONTEXT_MIB} MiB free of {TOTAL_MIB} MiB',
                                        *[f'training: {free} MiB free of {TOTAL_MIB} MiB'] * 2, '12 steps done']
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize('build', BUILDS)
def test_it_tells_what_it_lacks(p3, build):
    done = subprocess.run(command(build, '--grow', 6000, '--step-ms', 1), env=p3.env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == ['step 2: cuMemAlloc of 6000 MiB: CUDA_ERROR_OUT_OF_MEMORY (2)',
                                             f'then: {TOTAL_MIB - CONTEXT_MIB - 64 - 2 - 12000} MiB free of {TOTAL_MIB} MiB']


def test_an_error_of_the_driver_ends_it(p3):
    p3.sim('inject', 'error', 'cuMemAlloc_v2', 'OUT_OF_MEMORY')
    done = subprocess.run(command('cuda-train'), env=p3.env, capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, 'cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (2)')


def test_without_a_driver_it_says_so(p3):
    env = {**p3.env, 'LD_LIBRARY_PATH': ''}
    done = subprocess.run(command('cuda-train'), env=env, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith('cuda-train: no CUDA driver: libcuda.so.1')


def test_neighbours_share_a_gpu(p3, run):
    """Without a limit, one that grows takes all; it gets it back to the others when it is killed."""
    neighbours = [run('--memory', 1000, '--step-ms', 5) for _ in range(3)]
    for one in neighbours:
        one.read_until('training: ')
    greedy = run('--grow', 4000, '--step-ms', 5, '--go-on')
    greedy.read_until(r'step \d+: cuMemAlloc of 4000 MiB: CUDA_ERROR_OUT_OF_MEMORY \(2\)')
    left = int(greedy.read_until(r'then: (\d+) MiB free')[1])
    assert left < 4000
    assert greedy.end(signal.SIGKILL)[0] == -signal.SIGKILL
    free = TOTAL_MIB - 3 * (CONTEXT_MIB + 1002)
    again = run('--grow', 4000, '--step-ms', 5)
    assert int(again.read_until(r'at start: (\d+) MiB free')[1]) == free - CONTEXT_MIB
    for one in neighbours:
        status, rest = one.end(signal.SIGTERM)
        assert status == 0 and re.search(r'^\d+ steps done$', rest, re.M) and 'something else' not in rest


@pytest.mark.parametrize('words', [['--size', '1'], ['x']])
def test_a_wrong_word_shows_the_usage(p3, words):
    done = subprocess.run(command('cuda-train', *words), env=p3.env, capture_output=True, text=True)
    assert done.returncode == 2 and 'usage: cuda-train ' in done.stderr
