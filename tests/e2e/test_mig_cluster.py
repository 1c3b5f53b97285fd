# SPDX-License-Identifier: Apache-2.0
"""MIG with the rest of a real cluster: gpuslice-controller beside the agent, and a reboot of the node."""
import contextlib

import clusterprogram  # noqa: F401  (the path of tests/integration)
import pytest
from bed import GRANTS
from systembus import SystemBus
from test_controller import DEMAND, DRAIN, SMALL, Replica
from test_mig import STATE, WISH

ONE_GPU = 'excludeDevices: [1, 2, 3, 4, 5, 6, 7]'
BUDGETS = '/apis/policy/v1/namespaces/default/poddisruptionbudgets'
PATIENCE = 90


@pytest.fixture
def node(cluster, agent):
    """A node of eight A100 whose agent is not started. Its labels and annotations are those of before when the test ends."""
    if agent.is_process():
        pytest.skip('what the chart mounts and permits is tested')
    agent.machine.become('p4d.24xlarge')
    yield agent
    cluster.label_node(WISH, None)
    cluster.api.call(cluster.node_path, 'PATCH', {'metadata': {'annotations': {DRAIN: None, DEMAND: None}}})


@pytest.fixture
def controller(bed, tmp_path):
    replica = Replica(bed, tmp_path, 'e2e', 'one', '--namespace=kube-system')
    yield replica
    replica.end()
    print('--- controller:\n' + replica.log.read_text())


def labels(cluster):
    return cluster.api.call(cluster.node_path)['metadata']['labels']


def wait_state(cluster, word, **others):
    wanted = {STATE: word, **others}
    cluster.wait(f'the labels {wanted}', lambda: wanted.items() <= labels(cluster).items(), PATIENCE)


@contextlib.contextmanager
def budget(cluster, name):
    """None of these pods may go; yields what allows it."""
    path = f'{BUDGETS}/{name}'
    cluster.api.call(BUDGETS, 'POST', {'metadata': {'name': name}, 'spec': {
        'minAvailable': 1, 'selector': {'matchLabels': {'app': name}}}})
    try:
        cluster.wait('the budget', lambda: cluster.api.call(path)['status'].get('currentHealthy') == 1)
        yield lambda: cluster.api.call(path, 'PATCH', {'spec': {'minAvailable': 0}})
    finally:
        cluster.api.call(path, 'DELETE')


def test_pods_get_devices_under_their_name_and_leave_for_another_layout(cluster, node, controller):
    node.sim('mig', 'on', '0')
    node.sim('mig', 'reset', '0')
    cluster.label_node(WISH, 'all-1g.5gb')
    node.start(f'version: v1\nflags: {{migStrategy: single, plugin: {{passDeviceSpecs: true}}}}\n'
               f'gpuslice: {{{ONE_GPU}, mig: {{names: both, split: 10%}}}}\n', 'mig.partition=true')
    cluster.wait_allocatable(7, timeout=PATIENCE)
    assert cluster.node(SMALL)[1] == 0
    # One that waits for the other name moves a free device there, and runs.
    cluster.create_pod('small', {SMALL: 1})
    cluster.wait_running(1, timeout=PATIENCE)
    [[small]] = cluster.held()['small']['main-0'].values()
    cluster.wait_allocatable(6)
    assert cluster.node(SMALL)[1] == 1 and node.machine.mig_devices()[small][3] == '1g.5gb'
    cluster.wait('nothing to be waited for any more', lambda: DEMAND not in cluster.api.call(cluster.node_path)['metadata']['annotations'])
    cluster.delete_pod('small')
    cluster.wait_count(0)
    # A layout that has no place for the pod: it is evicted once its budget allows it, and another one runs on what is new.
    cluster.deploy('web', 1)
    cluster.wait_running(1)
    with budget(cluster, 'web') as allow:
        before = cluster.held_ids()
        cluster.api.call(cluster.node_path, 'PATCH', {'metadata': {'annotations': {DRAIN: 'allowed'}}})
        cluster.label_node(WISH, 'all-2g.10gb')
        cluster.wait('the refusal', lambda: 'MIGDrainBlocked' in [one['reason'] for one in cluster.events('Node', cluster.bed.node_name)],
                     PATIENCE)
        assert cluster.held_ids() == before
        allow()
        wait_state(cluster, 'success', **{'nvidia.com/gpu.product': 'NVIDIA-A100-SXM4-40GB-MIG-2g.10gb', 'nvidia.com/gpu.count': '3'})
        cluster.wait('the other pod', lambda: cluster.pods(phase='Running') and cluster.held_ids() and
                     {node.machine.mig_devices().get(one, [''])[-1] for one in cluster.held_ids()} == {'2g.10gb'}, PATIENCE)


def test_the_node_reboots_for_a_mode_and_has_its_layout_afterwards(cluster, node):
    """Its GPUs cannot be reset."""
    bus = SystemBus(node.machine.folder)
    node.machine.environment['GPUSLICE_SYSTEM_BUS'] = str(bus.socket)
    try:
        logind = bus.serve('org.freedesktop.login1')
        node.sim('inject', 'reset-refused', 'all', 'on')
        cluster.label_node(WISH, 'all-1g.5gb')
        node.start(f'version: v1\nflags: {{migStrategy: mixed}}\ngpuslice: {{{ONE_GPU}}}\n', 'mig.partition=true', 'mig.reboot=true')
        wait_state(cluster, 'rebooting')
        cluster.wait('the call of logind', lambda: logind.calls)

        def boot():
            node.sim('inject', 'reset-refused', 'all', 'off')
            node.sim('mig', 'reset', 'all')
            first, *others = (GRANTS / 'mig-reboot').read_text().splitlines()
            assert first.startswith('gpuslice-mig-reboot 1 ')
            (GRANTS / 'mig-reboot').write_text('\n'.join(['gpuslice-mig-reboot 1 another-boot', *others, '']))
        cluster.bed.reboot(meanwhile=boot)
        wait_state(cluster, 'success')
        cluster.wait_allocatable(7, SMALL, timeout=PATIENCE)
        assert [call[:2] for call in logind.calls] == [('org.freedesktop.login1.Manager', 'Reboot')]
    finally:
        bus.end()
