# SPDX-License-Identifier: Apache-2.0
"""How soon the agent reacts to what happens around it: each case again and again, as a share of its limit.

The integration tests check that it happens, however long that takes; this shows whether it is soon enough.
"""
import os
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

from node import GUIDE, Cluster, Node, Volume, eventually, free_port, http_get, replicas

TIMES = 20
REGISTERED = 'registered with the kubelet'
STEPPED_BACK = 'gpuslice_registered{resource="nvidia.com/gpu"} 0'


@contextmanager
def simulated(machine='p3.8xlarge'):
    """A node whose programs end with the block."""
    with tempfile.TemporaryDirectory(prefix='gpuslice-bench-', ignore_cleanup_errors=True) as folder:
        node = Node(Path(folder)).machine(machine)
        try:
            yield node
        finally:
            node.end()


# Each is given a node, and yields seconds for as long as it is asked.

def a_kubelet_ends_and_starts(node, number=signal.SIGTERM):
    agent = node.start_agent()
    agent.wait_line('resource offered')
    while True:
        mark = agent.mark()
        kubelet = node.start_kubelet()
        yield agent.wait_line(REGISTERED, mark) - kubelet.started
        kubelet.end(number)


def a_kubelet_is_killed_and_starts(node):
    return a_kubelet_ends_and_starts(node, signal.SIGKILL)


def start_serving(node, *arguments):
    address = f'127.0.0.1:{free_port()}'
    agent = node.start_agent(GUIDE, '--http-address', address, *arguments)
    agent.wait_line('listening for HTTP')
    return agent, address


def a_rival_is_uninstalled(node, number=signal.SIGTERM):
    kubelet = node.start_kubelet()
    agent, address = start_serving(node)
    agent.wait_line(REGISTERED)
    while True:
        rival = node.start_peer()
        eventually(lambda: STEPPED_BACK in http_get(address, '/metrics')[1], STEPPED_BACK)
        mark, told = agent.mark(), kubelet.mark()
        rival.end(number)
        yield agent.wait_line(REGISTERED, mark) - kubelet.wait_line('plugin disconnected', told)


def a_rival_is_killed(node):
    return a_rival_is_uninstalled(node, signal.SIGKILL)


def follow_the_label(node):
    """A kubelet, an agent whose configuration is chosen by the label, and what chooses it."""
    volume = Volume(node.folder / 'configs', default=replicas(2), four=replicas(4))
    kubelet, cluster = node.start_kubelet(), Cluster(node)
    cluster.greet = {'label': 'four'}
    agent = node.start_agent(None, '--config-file-srcdir', volume.path, '--node-name', 'node')
    agent.wait_line(REGISTERED)
    return kubelet, agent, cluster, volume


def a_configuration_is_edited(node):
    kubelet, _, _, volume = follow_the_label(node)
    for count in cycle((8, 4)):
        mark, began = kubelet.mark(), time.monotonic()
        volume.write(default=replicas(2), four=replicas(count))
        yield kubelet.wait_line(f'allocatable={4 * count}$', mark) - began


def another_configuration_is_chosen(node):
    kubelet, _, cluster, _ = follow_the_label(node)
    for label, count in cycle([('default', 8), ('four', 16)]):
        mark, began = kubelet.mark(), time.monotonic()
        cluster.tell(label=label)
        yield kubelet.wait_line(f'allocatable={count}$', mark) - began


def a_start_without_an_api_server(node):
    """By the label of before, for which nobody waits."""
    _, agent, cluster, volume = follow_the_label(node)
    cluster.greet = None
    while True:
        agent.end()
        agent = node.start_agent(None, '--config-file-srcdir', volume.path, '--node-name', 'node')
        yield agent.wait_line('every resource is registered') - agent.started


def the_http_program_is_killed(node):
    agent, address = start_serving(node)
    while True:
        assert http_get(address, '/healthz')[0] == 200  # one that never answered is started ever later
        mark, began = agent.mark(), time.monotonic()
        [pid] = agent.children('gpuslice-http')
        os.kill(pid, signal.SIGKILL)
        yield agent.wait_line('listening for HTTP', mark) - began


def the_agent_is_stopped(node):
    """All ask at once, and get a response."""
    agent, address = start_serving(node)

    def ask(_):
        began = time.monotonic()
        assert http_get(address, '/healthz')[0] == 503
        return time.monotonic() - began
    agent.send(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(TIMES) as clients:
            yield from clients.map(ask, range(TIMES))
    finally:
        agent.send(signal.SIGCONT)


def the_agent_is_ended(node, *arguments):
    while True:
        agent, _ = start_serving(node, *arguments)
        began = time.monotonic()
        agent.end()
        yield time.monotonic() - began


def the_agent_is_ended_while_the_driver_hangs(node):
    node.sim('inject', 'hang', 'all')
    return the_agent_is_ended(node, '--driver-deadline', '20s')


REACTIONS = [
    # what happens                              until                              limit, s
    (a_kubelet_ends_and_starts,                 'registered',                      1),
    (a_kubelet_is_killed_and_starts,            'registered',                      1),
    (a_rival_is_uninstalled,                    'registered',                      1),
    (a_rival_is_killed,                         'registered',                      5),
    (a_configuration_is_edited,                 'the kubelet has the new list',    2),
    (another_configuration_is_chosen,           'the kubelet has the new list',    2),
    (a_start_without_an_api_server,             'every resource is registered',    2),
    (the_http_program_is_killed,                'it listens',                      1),
    (the_agent_is_stopped,                      '/healthz says 503',               3),
    (the_agent_is_ended,                        'no process is left',              1.5),
    (the_agent_is_ended_while_the_driver_hangs, 'no process is left',              1.5),
]


def bench_reactions():
    print(f'\nReactions, ms, {TIMES} of each\n')
    print(f'{"what happens":44}{"until":32}{"p50":>8}{"max":>8}{"limit":>8}{"max of it":>11}')
    for react, until, limit in REACTIONS:
        with simulated() as node:
            took = sorted(islice(react(node), TIMES))
        what = react.__name__.replace('_', ' ')
        print(f'{what:44}{until:32}{took[TIMES // 2] * 1000:8.0f}{took[-1] * 1000:8.0f}{limit * 1000:8.0f}'
              f'{took[-1] / limit:11.2f}', flush=True)
