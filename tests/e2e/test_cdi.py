# SPDX-License-Identifier: Apache-2.0
"""Devices given by CDI, which containerd has since its release 2."""
import pytest
from agents import replicas
from bed import CDI
from cluster import GPU, gpus_of

pytestmark = pytest.mark.containerd2(only=True)


@pytest.mark.parametrize('strategy', ['cdi-cri', 'cdi-annotations'])
def test_devices_come_by_cdi(cluster, agent, strategy):
    """The runtime reads the agent's specification and makes the device nodes of just the container's own GPUs."""
    if agent.is_process():
        pytest.skip('the chart sets the strategy')
    # No NVIDIA toolkit here: the hooks that it would run are replaced by a program that succeeds.
    agent.start(replicas(4), f'deviceListStrategy={strategy}', 'cdi.nvidiaHookPath=/bin/true')
    cluster.wait_allocatable(16)
    assert list(CDI.iterdir())
    cluster.deploy('demo', 4)
    cluster.deploy('two', 1, {GPU: 2})
    cluster.wait_running(5)
    held = cluster.held()
    for (pod, name), (pid, environment) in cluster.containers().items():
        expected = {int(agent.machine.device_name(gpu).removeprefix('nvidia')) for gpu in gpus_of(held[pod][name][GPU])}
        names, minors = cluster.device_nodes(pid)
        assert {f'nvidia{number}' for number in expected} | {'nvidiactl'} == names, environment
        assert minors is None or minors - {255} == expected
        assert environment.get('NVIDIA_VISIBLE_DEVICES') in (None, 'void')
