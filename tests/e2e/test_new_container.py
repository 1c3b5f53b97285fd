# SPDX-License-Identifier: Apache-2.0
"""A real kubelet makes the new container that mends a lost driver, and repairs a first configuration that is refused;
pods that run notice neither."""
from agents import replicas
from bed import wait
from test_install import chart  # noqa: F401
from test_pod import ready, restarts
from test_switching import condition_is, keep_and_grow


def gpu_on_the_bus(machine):
    """What the kernel shows of a GPU beside the driver."""
    device = machine.folder / 'sys/bus/pci/devices/0000:00:1e.0'
    device.mkdir(parents=True)
    (device / 'vendor').write_text('0x10de\n')
    (device / 'class').write_text('0x030200\n')
    place = f'extraEnv[{len(machine.environment)}]'
    return f'{place}.name=GPUSLICE_SYSFS', f'{place}.value={machine.folder}/sys'


def node_events(cluster, reason):
    return [one for one in cluster.events('Node', cluster.bed.node_name) if one['reason'] == reason]


def labels(cluster):
    node = cluster.api.call(cluster.node_path)
    return {key: value for key, value in node['metadata']['labels'].items() if key.startswith('nvidia.com/gpu')}


def condition_is_soon(cluster, status, reason):
    """Within the helper's longest back-off."""
    cluster.wait(reason, lambda: cluster.condition('GPUSlicesReady') == (status, reason), 90)


def eight_running(cluster):
    cluster.wait_allocatable(16)
    cluster.deploy('demo', 8)
    cluster.wait_running(8)
    return cluster.state()


def test_a_lost_driver(cluster, chart):  # noqa: F811
    settings = ('extraArgs={--driver-patience=5s}', *gpu_on_the_bus(chart.machine))
    chart.start(replicas(4), *settings)
    condition_is(cluster, 'True', 'AllResourcesRegistered')
    before = eight_running(cluster)
    cluster.wait_labels({'nvidia.com/gpu.count': '4'})
    told = labels(cluster)
    chart.sim('inject', 'error', 'all', 'LIB_RM_VERSION_MISMATCH')
    chart.sim('inject', 'xid', '0', '48')  # so that the driver is asked now, not within a minute

    cluster.wait('a new container', lambda: restarts(chart)['agent'] == 1, 120)
    condition_is(cluster, 'False', 'DriverNotAvailable')
    cluster.wait('the event', lambda: node_events(cluster, 'ContainerOutdated'))
    cluster.wait('it runs, and waits', lambda: ready(chart)['agent'], 60)
    assert labels(cluster) == told
    cluster.keeps(before)
    assert restarts(chart)['agent'] == 1

    chart.sim('reset')
    condition_is_soon(cluster, 'True', 'AllResourcesRegistered')
    cluster.wait_allocatable(16, timeout=90)
    assert restarts(chart) == {'agent': 1, 'nodesync': 0, 'http': 0}
    keep_and_grow(cluster, before, 9)


def test_a_first_configuration_that_is_refused(cluster, chart):  # noqa: F811
    chart.start('version: v9\n')
    condition_is(cluster, 'False', 'ConfigurationRefused')
    cluster.wait('the event', lambda: node_events(cluster, 'ConfigurationRefused'))
    wait('it is probed', lambda: ready(chart) == {name: True for name in ready(chart)}, 60)
    assert cluster.node()[1] in (0, None)
    assert restarts(chart)['agent'] == 0
    chart.configure(replicas(4))
    cluster.wait_allocatable(16, timeout=120)
    condition_is(cluster, 'True', 'AllResourcesRegistered')
    assert restarts(chart)['agent'] == 0
