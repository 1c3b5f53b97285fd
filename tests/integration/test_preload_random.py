# SPDX-License-Identifier: Apache-2.0
"""Programs that allocate and free at random, of all families at once (cuda-random): with libgpuslice.so and a limit they do what they do
without, but for what is denied; and what is shown as used is what the simulated driver has, after every step."""
import re
import subprocess

import pytest
from node import eventually
from test_preload import CASES, CUDA, container  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
SEEDS, STEPS, ATTEMPTS = range(300), 250, 5


def steps_of(text):
    """Without what tells of the limit."""
    return [line for line in re.sub(r'\ndenied \d+\n', '', text).splitlines() if line.strip()]


def run_limited(container, limit, words):  # noqa: F811
    """Again where the machine is too busy for an arbiter in Python: a process takes it for gone after 150 ms, and it forgets the contexts of
    one that connects again."""
    for _ in range(ATTEMPTS):
        arbiter = container.arbiter(limit)
        done = container.run(*words)
        if len(set(arbiter.pids)) == len(arbiter.pids) and arbiter.slowest_s < 0.1:
            break
    eventually(lambda: arbiter.charged() == 0, 'nothing is charged to processes that ended')
    return done


def run_both(container, limit, seed, processes):  # noqa: F811
    """The steps with the library, and without it. There, what was denied here is left out."""
    words = [CASES / 'cuda-random', CUDA, seed, STEPS, processes]
    limited = run_limited(container, limit, words)
    assert (limited.returncode, limited.stderr) == (0, ''), (seed, re.findall('^!.*', limited.stdout, re.M), limited.stderr)
    denied = ',' + ','.join(re.findall(r'^denied (\d+)', limited.stdout, re.M)) + ','
    bare = subprocess.run([*map(str, words), denied], env=container.environment, capture_output=True, text=True, timeout=120)
    assert bare.returncode == 0, (seed, bare.stdout, bare.stderr)
    return steps_of(limited.stdout), steps_of(bare.stdout)


@pytest.mark.parametrize('processes, limit', [(1, 1100), (1, 3000), (2, 2600)])
def test_random_steps_are_the_same_with_a_limit(container, processes, limit):  # noqa: F811
    for seed in SEEDS:
        limited, bare = run_both(container, limit, seed, processes)
        assert limited == bare, (seed, next(pair for pair in zip(limited, bare) if pair[0] != pair[1]))
