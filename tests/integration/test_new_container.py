# SPDX-License-Identifier: Apache-2.0
"""Faults that only a new container mends: the driver's library or the device nodes are no longer those that the
runtime mounted. The agent ends for them after --driver-patience, once in ten minutes, and changes nothing else."""
import os
import re
import shutil
import signal
import time

import pytest
from node import BUILD, Cluster, eventually, free_port, held_ids, http_get, replicas
from test_agent import gpu_on_the_bus

IN_A_CONTAINER = {'KUBERNETES_SERVICE_HOST': '10.96.0.1'}
GAP_S = 600


@pytest.fixture
def cluster(node):
    made = Cluster(node)
    made.greet = {}
    return made


def start(node, address, *arguments, patience='1s', **environment):
    agent = node.start_agent(None, '--config-file', node.config, '--node-name=gpu-1', '--http-address', address,
                             '--driver-patience', patience, *arguments, **IN_A_CONTAINER, **environment)
    agent.wait_line('listening for HTTP')
    return agent


def kill_helper(agent):
    """The next one opens the driver again; a round of probes may be a minute away."""
    for pid in agent.children('gpuslice-driver'):
        os.kill(pid, signal.SIGKILL)


def break_library(node, _agent):
    (node.folder / 'lib/libnvidia-ml.so.1').unlink()


def replace_library(node, _agent):
    """By another file, as a package manager does: the old one stays mapped where it is in use."""
    (node.folder / 'lib/new').write_text('half an upgrade')
    (node.folder / 'lib/new').rename(node.folder / 'lib/libnvidia-ml.so.1')


def error(call, status):
    return lambda node, agent: node.sim('inject', 'error', call, status)


FAULTS = {
    'another version': error('all', 'LIB_RM_VERSION_MISMATCH'),
    'unknown': error('all', 'UNKNOWN'),
    'no permission': error('all', 'NO_PERMISSION'),
    'cgroups': error('all', 'OPERATING_SYSTEM'),
    'not loaded': error('nvmlInit_v2', 'DRIVER_NOT_LOADED'),
    'each GPU': error('nvmlDeviceGetHandleByIndex_v2', 'UNKNOWN'),
    'no symbol': lambda node, agent: node.sim('inject', 'symbol', 'nvmlDeviceGetUUID', 'missing'),
    'no library': break_library,
    'no good library': replace_library,
}


def assert_unavailable(cluster, address, since):
    """All that is published agrees, once the helper's attempts come to one sentence; returns it."""
    def agrees():
        states = cluster.all('state', since=since)
        if not states or states[-1]['reason'] != 'DriverNotAvailable':
            return False
        message = states[-1]['message']
        status, why = http_get(address, '/readyz')
        metrics = http_get(address, '/metrics')[1]
        return (not states[-1]['ready'] and status == 503 and message in why and
                'gpuslice_ready{reason="DriverNotAvailable"} 0\n' in metrics and
                any(event['reason'] == 'DriverNotAvailable' and event['message'] == message and event['warning']
                    for event in cluster.all('event', since=since)))

    eventually(agrees, 'the condition, the event, /readyz and the metric agree')
    return cluster.all('state', since=since)[-1]['message']


@pytest.mark.parametrize('fault', FAULTS)
def test_the_agent_ends_once_and_leaves_everything(node, cluster, fault, tmp_path):
    (node.folder / 'lib').mkdir()
    shutil.copy(BUILD / 'sim/nvml/libnvidia-ml.so.1', node.folder / 'lib/libnvidia-ml.so.1')
    node.start_kubelet()
    node.config.write_text(replicas(4))
    address = f'127.0.0.1:{free_port()}'
    libraries = {'LD_LIBRARY_PATH': str(node.folder / 'lib'), 'GPUSLICE_SYSFS': gpu_on_the_bus(tmp_path)}
    agent = start(node, address, '--device-list-strategy=cdi-cri', patience='2s', **libraries)
    node.wait_allocatable(16)
    held = held_ids(node.run_pods(4))
    before = cluster.wait_condition('AllResourcesRegistered')
    specs = sorted(path.name for path in node.cdi.iterdir())
    mark = cluster.mark()

    FAULTS[fault](node, agent)
    kill_helper(agent)
    cluster.wait_event('DriverNotAvailable', since=mark)
    assert not cluster.wait_condition('DriverNotAvailable', since=mark)['ready']
    assert 'can be reached from this container' in cluster.wait_event('ContainerOutdated', since=mark)['message']
    assert agent.wait() == 1
    assert held_ids(node.pods()) == held
    assert sorted(path.name for path in node.cdi.iterdir()) == specs
    assert all(state['labels'] == before['labels'] for state in cluster.all('state', since=mark))
    assert not cluster.all('bye', since=mark)

    # The next container has the fault too: it waits, whatever failOnInitError is.
    mark = cluster.mark()
    agent = start(node, address, '--device-list-strategy=cdi-cri', **libraries)
    assert_unavailable(cluster, address, mark)
    states = cluster.all('state', since=mark)
    assert states and all(state['keepsLabels'] for state in states)
    assert http_get(address, '/healthz')[0] == 200
    assert agent.end() == 0
    assert sorted(path.name for path in node.cdi.iterdir()) == specs

    # And one that was made after the fault serves.
    node.sim('reset')
    (node.folder / 'lib/libnvidia-ml.so.1').unlink(missing_ok=True)
    shutil.copy(BUILD / 'sim/nvml/libnvidia-ml.so.1', node.folder / 'lib/libnvidia-ml.so.1')
    mark = cluster.mark()
    agent = start(node, address, '--device-list-strategy=cdi-cri', **libraries)
    cluster.wait_condition('AllResourcesRegistered', since=mark)
    node.wait_allocatable(16)
    assert held_ids(node.pods()) == held
    assert agent.end() == 0


def test_a_fault_that_passes_ends_nobody(node, cluster):
    node.start_kubelet()
    node.config.write_text(replicas(4))
    address = f'127.0.0.1:{free_port()}'
    agent = start(node, address, patience='1h')
    node.wait_allocatable(16)
    for _ in range(2):
        mark = cluster.mark()
        node.sim('inject', 'error', 'all', 'UNKNOWN')
        cluster.wait('event', lambda event: 'no GPU can be reached' in event['message'], since=mark)
        kill_helper(agent)
        cluster.wait('event', lambda event: 'nvmlInit' in event['message'], since=mark)  # another sentence, soon after
        assert_unavailable(cluster, address, mark)
        node.wait_allocatable(0)
        node.sim('inject', 'error', 'all', 'none')
        node.wait_allocatable(16)
        cluster.wait_condition('AllResourcesRegistered', since=mark)
        eventually(lambda: http_get(address, '/readyz') == (200, 'ok\n'), 'ready')
    assert cluster.all('event') and not [one for one in cluster.all('event') if one['reason'] == 'ContainerOutdated']
    assert agent.end() == 0


@pytest.mark.parametrize('spoil', [break_library, replace_library])
def test_a_library_that_comes_back_is_loaded_again(node, cluster, spoil):
    """As an upgrade on a bare host does it: the same agent finds the new one."""
    library = node.folder / 'lib/libnvidia-ml.so.1'
    library.parent.mkdir()
    shutil.copy(BUILD / 'sim/nvml/libnvidia-ml.so.1', library)
    node.start_kubelet()
    node.config.write_text(replicas(4))
    address = f'127.0.0.1:{free_port()}'
    agent = start(node, address, patience='1h', LD_LIBRARY_PATH=str(library.parent))
    node.wait_allocatable(16)
    spoil(node, agent)
    kill_helper(agent)
    node.wait_allocatable(0)
    library.unlink(missing_ok=True)
    shutil.copy(BUILD / 'sim/nvml/libnvidia-ml.so.1', library)
    node.wait_allocatable(16)
    assert agent.end() == 0


def test_waiting_for_a_driver_that_never_comes(node, cluster, tmp_path):
    """failOnInitError: false waits; in a container that can never get the library, for the patience."""
    del node.environment['GPUSLICE_MACHINE']
    node.config.write_text(replicas(4))
    address = f'127.0.0.1:{free_port()}'
    options = {'FAIL_ON_INIT_ERROR': 'false', 'GPUSLICE_SYSFS': gpu_on_the_bus(tmp_path)}
    agent = start(node, address, **options)
    cluster.wait_event('DriverNotAvailable')
    cluster.wait_event('ContainerOutdated')
    assert agent.wait() == 1
    # Remembered: the next one is not due, and one whose last end is long ago is.
    mark = cluster.mark()
    agent = start(node, address, **options)
    cluster.wait_event('DriverNotAvailable', since=mark)
    assert agent.end() == 0
    assert not [one for one in cluster.all('event', since=mark) if one['reason'] == 'ContainerOutdated']
    boot = re.fullmatch(r'gpuslice-renewed 1 (\S+) (\d+)\n', (node.folder / 'state/renewed').read_text())
    long_ago = int((time.clock_gettime(time.CLOCK_MONOTONIC) - GAP_S) * 1000)
    (node.folder / 'state/renewed').write_text(f'gpuslice-renewed 1 {boot[1]} {max(long_ago, 0)}\n')
    agent = start(node, address, **options)
    cluster.wait_event('ContainerOutdated', since=mark)
    assert agent.wait() == 1


def test_fail_on_init_error_still_ends_at_once(node, tmp_path):
    """It waits only where an end of ours was a moment ago."""
    del node.environment['GPUSLICE_MACHINE']
    node.config.write_text(replicas(4))
    agent = node.start_agent(None, '--config-file', node.config, GPUSLICE_SYSFS=gpu_on_the_bus(tmp_path), **IN_A_CONTAINER)
    assert agent.wait() == 1
    assert not (node.folder / 'state/renewed').exists()
