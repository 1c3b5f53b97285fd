# SPDX-License-Identifier: Apache-2.0
"""Options of NVIDIA's programs that need nothing here: the agent serves all the same, and says that they do nothing."""
import pytest

from node import GUIDE

OPTIONS = {'--cdi-feature-flags': 'CDI_FEATURE_FLAGS', '--kube-api-qps': 'KUBE_API_QPS', '--kube-api-burst': 'KUBE_API_BURST',
           '--config-file-dst': 'CONFIG_FILE_DST', '--send-signal': 'SEND_SIGNAL', '--signal': 'SIGNAL',
           '--process-to-signal': 'PROCESS_TO_SIGNAL'}


@pytest.mark.parametrize('flag', OPTIONS)
def test_as_a_flag(node, flag):
    node.start_kubelet()
    agent = node.start_agent(GUIDE, flag, '1')
    agent.wait_line(f'{flag}: has no effect here')
    node.wait_allocatable(16)


def test_as_variables(node):
    node.start_kubelet()
    agent = node.start_agent(GUIDE, ONESHOT='true', **{variable: '1' for variable in OPTIONS.values()})
    for variable in [*OPTIONS.values(), 'ONESHOT']:
        agent.wait_line(f'{variable}: has no effect here')
    node.wait_allocatable(16)
