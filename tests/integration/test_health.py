# SPDX-License-Identifier: Apache-2.0
"""Faults that last, what is remembered of them over a restart, and how people overrule it."""
import re

import pytest
from node import GUIDE, Cluster, eventually, free_port, http_get

# p3's driver (550) reports no recovery action, p5's (570 and later) does; slices of all GPUs, and of one.
OLD, NEW = ('p3.8xlarge', 16, 4), ('p5.48xlarge', 32, 4)


@pytest.fixture
def cluster(node):
    return Cluster(node)


def start(node, machine=OLD, *arguments, config=GUIDE, **environment):
    node.machine(machine[0])
    node.start_kubelet()
    agent = node.start_agent(config, *arguments, **environment)
    agent.wait_line('driver is available')
    node.wait_allocatable(machine[1])
    return agent


def inject_until_seen(node, gpu, left):
    """A driver tells of an XID only those who watch at that time; a watch that is begun again misses what came between."""
    for _ in range(12):
        node.sim('inject', 'xid', str(gpu), '95')
        if node.kubelet('wait', '--for', f'nvidia.com/gpu={left}', '--timeout', '5s', check=False).returncode == 0:
            return
    raise AssertionError(f'no XID of GPU {gpu} was seen')


def probed_often(node, machine, gpu=0):
    """Returns when that GPU was asked how it is at least once since its fault: another one, whose fault is younger,
    has failed, was reset, and is back."""
    _, slices, each = machine
    other = gpu + 1
    inject_until_seen(node, other, slices - 2 * each)
    node.sim('inject', 'reset', str(other))
    node.wait_allocatable(slices - each)


# --- faults that last ---

@pytest.mark.parametrize('enable', ['13', 'all', '8,13'])
@pytest.mark.parametrize('machine', [OLD, NEW], ids=['old', 'new'])
def test_an_xid_that_somebody_enables_lasts_until_a_reset(node, machine, enable):
    start(node, machine, DP_ENABLE_HEALTHCHECKS=enable)
    _, slices, each = machine
    node.sim('inject', 'xid', '0', '13')
    node.wait_allocatable(slices - each)
    probed_often(node, machine)
    node.sim('inject', 'reset', '0')
    node.wait_allocatable(slices)


@pytest.mark.parametrize('xid', [8, 74, 154, 999])
def test_a_fault_lasts_where_the_driver_does_not_report_its_end(node, xid):
    agent = start(node, OLD)
    node.sim('inject', 'xid', '0', str(xid))
    agent.wait_line(f'GPU is Unhealthy.*XID {xid}:')
    probed_often(node, OLD)
    assert agent.count('GPU is Healthy.*index=0') == 0
    node.sim('inject', 'reset', '0')
    node.wait_allocatable(16)


@pytest.mark.parametrize('xid', [8, 38, 999])
def test_a_fault_passes_where_the_driver_reports_its_end(node, xid):
    agent = start(node, NEW)
    node.sim('inject', 'xid', '0', str(xid))
    agent.wait_line(f'GPU is Unhealthy.*XID {xid}:')
    agent.wait_line('GPU is Healthy.*index=0')
    node.wait_allocatable(32)


# --- remembered ---

def test_a_remembered_fault_is_reported(node, cluster):
    """F6: the agent after the one that saw it says so once, in the log, in an event and in the condition."""
    cluster.greet = {}
    node.sim('inject', 'symbol', 'nvmlDeviceGetFieldValues', 'missing')
    agent = start(node, OLD, NODE_NAME='gpu-1')
    node.sim('inject', 'xid', '0', '48')
    node.wait_allocatable(12)
    agent.end()
    mark = cluster.mark()
    agent = node.start_agent(GUIDE, NODE_NAME='gpu-1')
    event = cluster.wait_event('GPUUnhealthy', since=mark)
    assert event['warning']
    assert 'XID 48' in event['message'] and 'DP_DISABLE_HEALTHCHECKS=48' in event['message']
    state = cluster.wait('state', lambda one: 'XID 48' in one.get('message', ''), since=mark)
    assert 'seen before the agent restarted' in state['message']
    node.wait_allocatable(12)
    node.configure(GUIDE.replace('replicas: 4', 'replicas: 8'))  # another plan
    node.wait_allocatable(24)
    assert agent.count('GPU is Unhealthy.*XID 48.*seen before the agent restarted') == 1
    assert len([one for one in cluster.all('event', since=mark) if one['reason'] == 'GPUUnhealthy']) == 1


@pytest.mark.parametrize('switch', ['48', 'all', 'xids', 'XIDs', '13, 48'])
@pytest.mark.parametrize('machine', [OLD, NEW], ids=['old', 'new'])
def test_a_remembered_fault_is_overruled(node, machine, switch):
    _, slices, each = machine
    agent = start(node, machine)
    node.sim('inject', 'xid', '0', '48')
    node.wait_allocatable(slices - each)
    agent.end()
    agent = node.start_agent(DP_DISABLE_HEALTHCHECKS=switch)
    node.wait_allocatable(slices)
    agent.wait_line('a fault seen before the agent restarted no longer counts.*XID 48')
    if '48' in switch:  # and stays so, whatever the driver wants
        probed_often(node, (machine[0], slices + each, each))
    assert agent.count('GPU is Unhealthy.*index=0') == 0


def test_a_fault_that_is_no_longer_enabled_is_dropped(node):
    agent = start(node, OLD, DP_ENABLE_HEALTHCHECKS='13')
    node.sim('inject', 'xid', '0', '13')
    node.wait_allocatable(12)
    agent.end()
    agent = node.start_agent()
    agent.wait_line('no longer counts.*XID 13')
    node.wait_allocatable(16)


def test_removing_the_file_overrules_without_a_restart(node):
    agent = start(node, OLD)
    node.sim('inject', 'xid', '0', '48')
    node.wait_allocatable(12)
    eventually((node.folder / 'state/health').exists, 'the health is saved')
    (node.folder / 'state/health').unlink()
    agent.wait_line('the saved health of the GPUs was removed')
    node.wait_allocatable(16)


# --- switched off ---

def test_a_disabled_xid_disables_what_the_driver_wants_because_of_it(node):
    agent = start(node, NEW, DP_DISABLE_HEALTHCHECKS='48')
    node.sim('inject', 'xid', '0', '48')
    agent.wait_line('reported an XID.*xid=48.*class=disabled')
    probed_often(node, (NEW[0], 36, 4))
    assert agent.count('GPU is Unhealthy.*index=0') == 0


@pytest.mark.parametrize('fault', [('error', 'nvmlDeviceGetMemoryInfo_v2', 'UNKNOWN', '0'), ('lost', '0'), ('xid', '0', '79')],
                         ids=['call', 'lost', 'xid'])
def test_all_switches_every_check_off(node, fault):
    """As in NVIDIA's plugin, which has no checks then."""
    agent = start(node, OLD, DP_DISABLE_HEALTHCHECKS='all', DP_ENABLE_HEALTHCHECKS='95')
    agent.wait_line('health checks are off')
    node.sim('inject', *fault)
    node.sim('inject', 'xid', '0', '31')  # has the GPU probed, unless that is switched off, too
    probed_often(node, (OLD[0], 20, 4))  # by the one check that is on
    assert agent.count('GPU is Unhealthy.*index=0') == 0


# --- XIDs are seen, even if the driver was not ready for that at first ---

CALLS = [('nvmlDeviceRegisterEvents', 'UNKNOWN'), ('nvmlDeviceRegisterEvents', 'NOT_SUPPORTED'),
         ('nvmlDeviceGetSupportedEventTypes', 'UNKNOWN'), ('nvmlDeviceGetSupportedEventTypes', 'NOT_SUPPORTED'),
         ('nvmlEventSetCreate', 'UNKNOWN'), ('nvmlEventSetCreate', 'INSUFFICIENT_RESOURCES'),
         ('nvmlEventSetWait_v2', 'NOT_SUPPORTED'), ('nvmlEventSetWait_v2', 'UNKNOWN'),
         ('nvmlEventSetWait_v2', 'INVALID_ARGUMENT')]


@pytest.mark.parametrize('call, error', CALLS, ids=['-'.join(one) for one in CALLS])
def test_a_watch_that_fails_at_first_is_tried_again(node, call, error):
    address = f'127.0.0.1:{free_port()}'
    node.machine('p3.8xlarge')
    node.start_kubelet()
    node.sim('inject', 'error', call, error)
    agent = node.start_agent(GUIDE, '--http-address', address)
    for _ in range(4):
        agent.wait_line('GPU does not report XID events')
    node.wait_allocatable(16)
    agent.wait_line('listening for HTTP')
    watched = lambda: re.findall('^gpuslice_gpu_watched.* (.)$', http_get(address, '/metrics')[1], re.M)
    assert watched() == ['0', '0', '0', '0']
    node.sim('inject', 'error', call, 'none')
    eventually(lambda: agent.count('GPU reports XID events again') == 4, 'all are watched')
    assert watched() == ['1', '1', '1', '1']
    assert agent.count('GPU does not report XID events') == 4, 'said once for each'
    node.sim('inject', 'xid', '1', '79')
    agent.wait_line('GPU is Unhealthy.*XID 79')
    node.wait_allocatable(12)


def test_one_gpu_that_cannot_be_watched_at_first(node):
    node.machine('p3.8xlarge')
    node.start_kubelet()
    node.sim('inject', 'error', 'nvmlDeviceRegisterEvents', 'UNKNOWN', '2')
    agent = node.start_agent()
    agent.wait_line('GPU does not report XID events')
    node.wait_allocatable(16)
    node.sim('inject', 'xid', '1', '79')  # the others are watched meanwhile
    node.wait_allocatable(12)
    node.sim('inject', 'error', 'nvmlDeviceRegisterEvents', 'none', '2')
    agent.wait_line('GPU reports XID events again')
    node.sim('inject', 'xid', '2', '79')
    node.wait_allocatable(8)
    assert agent.count('GPU does not report XID events') == 1
