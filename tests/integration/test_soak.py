# SPDX-License-Identifier: Apache-2.0
"""Nothing grows: reloads and allocations in numbers, short here and long in `make soak`."""
import os
import signal
import subprocess

import pytest

from node import BUILD, GUIDE, SANITIZED, held_ids

SHORT = {'reloads': 100, 'allocations': 5000}
# One leaked configuration a reload would be ten times as much. LeakSanitizer is exact.
GROWTH_KIB = 16384 if SANITIZED else 1024
LONG = {'reloads': 10000, 'allocations': 100000}


def resident_kib(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as status:
        return next(int(line.split()[1]) for line in status if line.startswith('VmRSS'))


def open_files(pid):
    return len(os.listdir(f'/proc/{pid}/fd'))


def allocate(node, count, ids):
    subprocess.run([BUILD / 'tests/bench/latency', node.plugins / 'gpuslice-gpu.sock', 'allocate',
                    str(count), *ids], check=True, capture_output=True, timeout=600)


def reload(node, agent, count):
    """One reload after the other; each is awaited."""
    for turn in range(count):
        mark = agent.mark()
        if turn % 2:
            node.config.write_text(GUIDE.replace('replicas: 4', f'replicas: {2 + turn % 5}'))
        agent.send(signal.SIGHUP)
        agent.wait_line('configuration applied', mark)


@pytest.mark.parametrize('amount', [
    pytest.param(SHORT, id='short'),
    pytest.param(LONG, id='long', marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_reloads_and_allocations_leak_nothing(node, amount):
    node.start_kubelet()
    # AddressSanitizer keeps freed memory back; that is no leak, and has a bound.
    quarantine = os.environ.get('ASAN_OPTIONS', '') + ':quarantine_size_mb=1'
    agent = node.start_agent(ASAN_OPTIONS=quarantine)
    node.wait_allocatable(16)
    ids = held_ids(node.run_pods(1))
    reload(node, agent, amount['reloads'] // 10)  # what is allocated once is allocated now
    allocate(node, amount['allocations'] // 10, ids)
    memory, files = resident_kib(agent.pid), open_files(agent.pid)
    reload(node, agent, amount['reloads'])
    node.config.write_text(GUIDE)
    node.wait_allocatable(16)
    allocate(node, amount['allocations'], ids)
    assert resident_kib(agent.pid) < memory + GROWTH_KIB
    assert open_files(agent.pid) <= files
    assert agent.end() == 0  # LeakSanitizer reports here, in builds that have it
