# SPDX-License-Identifier: Apache-2.0
"""Level and format of the log hold for each of our processes, which all write to one stream."""
import json
import socket

from node import GUIDE, free_port


def test_every_process_logs_in_the_agents_format(node):
    """gpuslice-http cannot listen and says so; the helper cannot be told from the agent, whose parts it has."""
    with socket.create_server(('127.0.0.1', 0)) as taken:
        address = '127.0.0.1:{}'.format(taken.getsockname()[1])
        node.start_kubelet()
        agent = node.start_agent(GUIDE, '--log-format', 'json', '--http-address', address)
        agent.wait_line('Address already in use')
        node.wait_allocatable(16)
        agent.end()
    for line in agent.output().splitlines()[:-1]:  # the last says that there are no more
        assert json.loads(line)['level']


def test_every_process_keeps_to_the_agents_level(node):
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--log-level', 'error', '--http-address', f'127.0.0.1:{free_port()}')
    node.wait_allocatable(16)
    agent.end()
    assert agent.output() == '(end of output)'
