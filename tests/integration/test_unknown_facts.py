# SPDX-License-Identifier: Apache-2.0
"""What a driver leaves unknown of a GPU that works: it is offered all the same, and the node says what is missing.

tests/conformance/answers has every call and every wrong answer; here is what an agent makes of some of them.
"""
import json
import re

import pytest

from node import GUIDE, ROOT, Cluster, free_port, http_get

MEMORY = ['nvmlDeviceGetMemoryInfo', 'nvmlDeviceGetMemoryInfo_v2']
UNKNOWN_MEMORY = 'the memory of GPUs 0-3 is unknown: nvmlDeviceGetMemoryInfo is not supported here'


@pytest.fixture
def cluster(node):
    return Cluster(node)


def refuse(node, calls, error='NOT_SUPPORTED'):
    for call in calls:
        node.sim('inject', 'error', call, error)


def labels(cluster):
    state = cluster.wait('state', lambda message: message.get('labels'))
    return {label['key']: label['value'] for label in state['labels']}


def start(node, *arguments, **environment):
    node.start_kubelet()
    return node.start_agent(GUIDE, *arguments, **environment)


def test_unified_memory_is_offered_without_a_size(node, cluster):
    """DGX Spark: neither version of the memory query is supported."""
    refuse(node, MEMORY)
    cluster.greet = {}
    address = f'127.0.0.1:{free_port()}'
    agent = start(node, '--node-name=gpu-1', '--http-address', address)
    node.wait_allocatable(16)
    agent.wait_line(UNKNOWN_MEMORY)
    assert cluster.wait_event('GPUFactUnknown')['message'].startswith(UNKNOWN_MEMORY)
    assert 'nvidia.com/gpu.memory' not in labels(cluster)
    assert 'gpuslice_gpu_fact_unknown{gpu="0"' in http_get(address, '/metrics')[1]
    node.run_pods(16)


def test_a_plan_has_null_where_memory_is_unknown(node):
    refuse(node, MEMORY)
    node.configure(GUIDE)
    plan = node.run('gpuslice', 'plan', '--node', '--config', node.config, '--output', 'json', check=False)
    assert plan.returncode == 1  # a warning
    gpus = json.loads(plan.stdout)['gpus']
    assert UNKNOWN_MEMORY in plan.stderr
    assert [gpu['memory_bytes'] for gpu in gpus] == [None] * 4
    assert [gpu['unknown'] for gpu in gpus] == [['memory']] * 4
    assert {piece['memory_bytes'] for gpu in gpus for piece in gpu['slices']} == {None}


def test_a_memory_query_that_fails_is_no_fault_of_the_gpu(node):
    """Other answers show that the GPUs are alive."""
    refuse(node, MEMORY, 'UNKNOWN')
    agent = start(node)
    node.wait_allocatable(16)
    agent.wait_line('the memory of GPUs 0-3 is unknown: nvmlDeviceGetMemoryInfo failed')
    node.run_pods(16)
    assert not agent.count('GPU is Unhealthy')


def test_gpus_that_no_longer_answer_at_all_are_unhealthy(node):
    agent = start(node)
    node.wait_allocatable(16)
    refuse(node, MEMORY + ['nvmlDeviceGetTotalEnergyConsumption', 'nvmlDeviceGetFieldValues'], 'UNKNOWN')
    node.sim('inject', 'xid', 'all', '94')  # of an application, which makes the agent probe
    agent.wait_line('GPU is Unhealthy.*unknown error')
    node.wait_allocatable(0)


@pytest.mark.parametrize('strategy', ['cdi-cri', 'cdi-annotations', 'cdi-cri,cdi-annotations'])
def test_without_a_device_node_cdi_has_nothing_to_offer(node, cluster, strategy):
    node.sim('inject', 'error', 'nvmlDeviceGetMinorNumber', 'NOT_SUPPORTED', '1')
    cluster.greet = {}
    agent = start(node, '--node-name=gpu-1', '--device-list-strategy', strategy)
    node.wait_allocatable(12)
    agent.wait_line('GPU 1 .*is left out: its device node is unknown, so no CDI specification can hold it')
    assert 'its device node is unknown' in cluster.wait_event('GPULeftOut')['message']
    node.run_pods(12)
    assert set(names(node)) < devices(node)


def test_beside_another_strategy_only_what_has_a_node_is_named_by_cdi(node):
    node.sim('inject', 'error', 'nvmlDeviceGetMinorNumber', 'NOT_SUPPORTED', '1')
    start(node, '--device-list-strategy', 'envvar,cdi-cri')
    node.wait_allocatable(16)
    node.run_pods(16)
    assert len(set(names(node))) == 3 and set(names(node)) < devices(node)


def test_wsl2_has_one_device_node_for_all(node):
    node.sim('inject', 'error', 'nvmlDeviceGetMinorNumber', 'NOT_SUPPORTED')
    sysfs = node.folder / 'sys'
    (sysfs / 'bus/vmbus/drivers/dxgkrnl').mkdir(parents=True)
    agent = start(node, '--device-list-strategy', 'cdi-cri', GPUSLICE_SYSFS=str(sysfs))
    node.wait_allocatable(16)
    node.run_pods(16)
    assert len(set(names(node))) == 4 and set(names(node)) < devices(node)
    assert {entry['path'] for device in spec(node)['devices']
            for entry in device['containerEdits']['deviceNodes']} == {'/dev/dxg'}
    assert not agent.count('minor number')


def test_wsl2_brings_its_driver_by_cdi(node):
    """Windows' libraries and the folder of its drivers, and nvidia-smi where programs look for it."""
    node.sim('inject', 'error', 'nvmlDeviceGetMinorNumber', 'NOT_SUPPORTED')
    (node.folder / 'sys/bus/vmbus/drivers/dxgkrnl').mkdir(parents=True)
    root = node.folder / 'host'
    for path in ['lib/libcuda.so.1.1', 'lib/nvidia-smi', 'drivers/nv_dispi.inf_amd64_1/libcuda.so.1.1']:
        (root / 'usr/lib/wsl' / path).parent.mkdir(parents=True, exist_ok=True)
        (root / 'usr/lib/wsl' / path).touch()
    start(node, '--device-list-strategy', 'cdi-cri', '--container-driver-root', root,
          GPUSLICE_SYSFS=str(node.folder / 'sys'))
    node.wait_allocatable(16)
    edits = spec(node)['containerEdits']
    assert {mount['containerPath'] for mount in edits['mounts']} == {
        '/usr/lib/wsl/lib/libcuda.so.1.1', '/usr/bin/nvidia-smi', '/usr/lib/wsl/drivers'}
    assert any('/usr/lib/wsl/lib' in hook['args'] for hook in edits['hooks'])


def spec(node):
    return json.loads((node.folder / 'cdi/gpuslice-k8s.device-plugin.nvidia.com-gpu.json').read_text())


def devices(node):
    """What the specification defines."""
    return {f'{spec(node)["kind"]}={device["name"]}' for device in spec(node)['devices']}


def names(node):
    """What the answers named."""
    return [name for pod in node.pods() for container in pod['containers']
            for name in [*container['cdi_devices'],
                         *(name for key, value in container['annotations'].items()
                           if key.startswith('cdi.k8s.io/') for name in value.split(','))]]


def test_the_man_page_names_every_fact():
    rows = re.findall(r'\[FACT_\w+\] = \{"([a-z-]+)"', (ROOT / 'src/slice/unknown.c').read_text())
    of_machine = {'driver-version', 'cuda-version'}
    page = (ROOT / 'doc/man/gpuslice.1.scd').read_text()
    assert of_machine < set(rows)
    assert [name for name in rows if name not in of_machine and f'_{name}_' not in page] == []
