# SPDX-License-Identifier: Apache-2.0
"""Where a GPU cannot be reset the agent has the host rebooted for its MIG mode: once, and when told to."""
import json
import shutil
import signal

import pytest
from node import Cluster, deployment, eventually, held_ids
from systembus import SystemBus
from test_mig_layouts import MIXED, SMALL, STATE, ask, reset_as, start, states, wait_state

LOGIND, SYSTEMD = 'org.freedesktop.login1', 'org.freedesktop.systemd1'
REBOOT = (f'{LOGIND}.Manager', 'Reboot', [False])
START_UNIT = (f'{SYSTEMD}.Manager', 'StartUnit', ['reboot.target', 'replace-irreversibly'])


@pytest.fixture(autouse=True)
def guest(node):
    """Eight A100 that the hypervisor does not let be reset."""
    reset_as(node, 'p4d.24xlarge')
    node.sim('inject', 'reset-refused', 'all', 'on')
    node.start_kubelet()


@pytest.fixture
def cluster(node):
    return Cluster(node)


@pytest.fixture
def bus(node):
    bus = SystemBus(node.folder)
    yield bus
    bus.end()


def start_allowed(node, cluster, bus, *arguments, layout='all-1g.5gb'):
    return start(node, cluster, '--mig-reboot', f'--system-bus={bus.socket}', *arguments, layout=layout)


def wait_failure(cluster, *said, since=0):
    """Other failures may be reported before."""
    return cluster.wait('event', lambda event: event['reason'] == 'MIGLayoutFailed'
                        and all(part in event['message'] for part in said), since=since)


def memory(node):
    return node.folder / 'grants/mig-reboot'


def boot(node, agent, modes_come=True):
    """The node goes down and comes up; what waited for a reset is in force, or was lost."""
    agent.send(signal.SIGKILL)
    agent.wait()
    node.sim('inject', 'reset-refused', 'all', 'off')
    for gpu in range(8):
        if not modes_come:
            node.sim('mig', 'off', gpu)
        node.sim('mig', 'reset', gpu)
    node.sim('inject', 'reset-refused', 'all', 'on')
    lines = memory(node).read_text().splitlines()
    assert lines[0].startswith('gpuslice-mig-reboot 1 ')
    memory(node).write_text('\n'.join(['gpuslice-mig-reboot 1 another-boot', *lines[1:], '']))


def test_the_host_is_rebooted_and_the_layout_made_after_it(node, cluster, bus):
    logind = bus.serve(LOGIND)
    agent = start_allowed(node, cluster, bus)
    wait_state(cluster, 'rebooting')
    eventually(lambda: logind.calls, 'the call of logind')
    reboots = cluster.wait_event('MIGNodeReboots')
    assert reboots['warning'] and 'after a reboot of the node' in reboots['message']
    node.wait_allocatable(0)  # nobody begins now
    assert states(cluster) == ['pending', 'rebooting']
    boot(node, agent)
    since = cluster.mark()
    start_allowed(node, cluster, bus)
    wait_state(cluster, 'success', since)
    node.wait_allocatable(56, SMALL)
    assert logind.calls == [REBOOT]
    eventually(lambda: not memory(node).exists(), 'the reboot is forgotten')


def test_a_reboot_that_does_not_help_is_not_repeated(node, cluster, bus):
    logind = bus.serve(LOGIND)
    agent = start_allowed(node, cluster, bus)
    eventually(lambda: logind.calls, 'the call of logind')
    for _ in range(2):
        boot(node, agent, modes_come=False)
        since = cluster.mark()
        agent = start_allowed(node, cluster, bus)
        wait_state(cluster, 'failed', since)
        wait_failure(cluster, 'which did not help', since=since)
        node.wait_allocatable(8)  # pods can have them whole
    assert logind.calls == [REBOOT]


def test_nor_when_the_cluster_tells_its_label_late(node, cluster, bus):
    """After 30 s without the label nothing is wanted; that does not make the reboot forgotten."""
    logind = bus.serve(LOGIND)
    agent = start_allowed(node, cluster, bus)
    eventually(lambda: logind.calls, 'the call of logind')
    boot(node, agent, modes_come=False)
    shutil.rmtree(node.folder / 'state')  # the host's /run
    cluster.greet = None
    agent = node.start_agent(MIXED, '--node-name=gpu-1', '--mig-partition', '--mig-reboot', f'--system-bus={bus.socket}')
    agent.wait_line('the cluster has not reported this node.s labels')
    node.wait_allocatable(8)
    since = ask(cluster, 'all-1g.5gb')
    wait_state(cluster, 'failed', since)
    wait_failure(cluster, 'which did not help', since=since)
    assert logind.calls == [REBOOT]


def start_with_pod(node, cluster, bus):
    """A pod has one GPU; returns its index."""
    start_allowed(node, cluster, bus, '--mig-config-file', node.folder / 'layouts.yaml', layout=None)
    node.wait_allocatable(8)
    uuid = held_ids(node.run_pods(1))[0]
    gpus = json.loads(node.run('gpuslice', 'plan', '--machine', 'p4d.24xlarge', '-o', 'json').stdout)['gpus']
    return next(i for i, gpu in enumerate(gpus) if gpu['uuid'] == uuid)


def test_pods_on_other_gpus_are_waited_for(node, cluster, bus):
    logind = bus.serve(LOGIND)
    held = start_with_pod(node, cluster, bus)
    (node.folder / 'layouts.yaml').write_text(f'version: v1\nmig-configs: {{x: [{{devices: [{(held + 1) % 8}], mig-enabled: true, '
                                              'mig-devices: {"1g.5gb": 7}}]}\n')
    ask(cluster, 'x')
    waits = cluster.wait_event('MIGLayoutWaits')
    assert f'GPU {(held + 1) % 8} waits for pod default/demo-' in waits['message']
    assert 'then the node is rebooted' in waits['message']
    node.wait_allocatable(7)
    assert not logind.calls
    node.apply(deployment('demo', 0, {'nvidia.com/gpu': 1}))
    eventually(lambda: logind.calls, 'the call of logind')


def test_one_reboot_is_for_all_gpus(node, cluster, bus):
    """Also for the one that a pod had when the others waited already."""
    logind = bus.serve(LOGIND)
    held = start_with_pod(node, cluster, bus)
    ask(cluster, 'all-1g.5gb')
    assert f'GPU {held} waits for pod default/demo-' in cluster.wait_event('MIGLayoutWaits')['message']
    node.apply(deployment('demo', 0, {'nvidia.com/gpu': 1}))
    eventually(lambda: logind.calls, 'the call of logind')
    assert memory(node).read_text().count(' on\n') == 8


def test_without_logind_systemd_is_asked(node, cluster, bus):
    systemd = bus.serve(SYSTEMD)
    start_allowed(node, cluster, bus)
    eventually(lambda: systemd.calls, 'the call of systemd')
    assert systemd.calls == [START_UNIT]


@pytest.mark.parametrize('said,refuse', [
    ('Interactive authentication required', ('org.freedesktop.DBus.Error.InteractiveAuthorizationRequired',
                                             'Interactive authentication required.')),
    ('The name org.freedesktop.systemd1 was not provided', None),
])
def test_a_host_that_refuses_is_told(node, cluster, bus, said, refuse):
    logind = bus.serve(LOGIND, refuse) if refuse else None
    start_allowed(node, cluster, bus)
    wait_failure(cluster, 'the host does not reboot: ', said)
    wait_state(cluster, 'failed')
    node.wait_allocatable(8)
    assert not logind or logind.calls == [REBOOT]


def test_a_host_whose_policy_forbids_it(node, cluster):
    bus = SystemBus(node.folder, f'<deny send_interface="{LOGIND}.Manager"/>')
    try:
        logind = bus.serve(LOGIND)
        start_allowed(node, cluster, bus)
        wait_failure(cluster, 'AccessDenied')
        assert not logind.calls
    finally:
        bus.end()


def test_a_host_without_a_bus(node, cluster):
    start(node, cluster, '--mig-reboot', f'--system-bus={node.folder}/nowhere', layout='all-1g.5gb')
    wait_failure(cluster, f'{node.folder}/nowhere')


def test_nobody_reboots_a_node_untold(node, cluster, bus):
    logind = bus.serve(LOGIND)
    start(node, cluster, f'--system-bus={bus.socket}', layout='all-1g.5gb')
    wait_failure(cluster, 'reboot the node, or let the agent do so (mig.reboot')
    wait_state(cluster, 'failed')
    assert not logind.calls and not memory(node).exists()


def test_who_no_longer_wants_it_gets_no_reboot(node, cluster, bus):
    logind = bus.serve(LOGIND)
    start_with_pod(node, cluster, bus)
    ask(cluster, 'all-1g.5gb')
    cluster.wait_event('MIGLayoutWaits')
    since = ask(cluster, None)
    cluster.wait('state', lambda state: all(label['key'] != STATE for label in state.get('extraLabels', [])), since=since)
    eventually(lambda: 'after a reset' not in node.sim('mig', 'list'), 'modes that are taken back')
    node.wait_allocatable(8)
    assert not logind.calls


def test_a_memory_that_cannot_be_read_counts_no_more_once_it_is_removed(node, cluster, bus):
    logind = bus.serve(LOGIND)
    memory(node).parent.mkdir(mode=0o700, exist_ok=True)
    memory(node).write_text('garbage\n')
    start_allowed(node, cluster, bus)
    wait_failure(cluster, f'{memory(node)}: not a list')
    assert not logind.calls
    memory(node).unlink()
    eventually(lambda: logind.calls, 'the call of logind')
