# SPDX-License-Identifier: Apache-2.0
"""GPUs are partitioned below a real kubelet, on a simulated p4d.24xlarge (8 A100); and on a g5.12xlarge, whose GPUs cannot be."""
import re
import textwrap

import programs
import pytest
from agents import CAPS_MAJOR, ROOT, SYSTEM
from cluster import GPU, Timeline

SMALL, LARGE = 'nvidia.com/mig-1g.5gb', 'nvidia.com/mig-3g.20gb'
WISH, STATE = 'nvidia.com/mig.config', 'nvidia.com/mig.config.state'
LAYOUTS = (ROOT / 'tests/data/mig-layouts.yaml').read_text()
# What gpu-feature-discovery publishes for a MIG device of an A100 with 40 GB, besides its count.
DEVICE_LABELS = {
    SMALL: {'product': 'NVIDIA-A100-SXM4-40GB-MIG-1g.5gb', 'memory': '4864', 'multiprocessors': '14', 'slices.gi': '1', 'slices.ci': '1',
            'engines.copy': '1', 'engines.decoder': '0', 'engines.encoder': '0', 'engines.jpeg': '0', 'engines.ofa': '0'},
    LARGE: {'product': 'NVIDIA-A100-SXM4-40GB-MIG-3g.20gb', 'memory': '19968', 'multiprocessors': '42', 'slices.gi': '3',
            'slices.ci': '3', 'engines.copy': '3', 'engines.decoder': '2', 'engines.encoder': '0', 'engines.jpeg': '0',
            'engines.ofa': '0'}}
GUIDE = ROOT / 'tests/data/guides/mig-and-karpenter.md'


@pytest.fixture
def partitioning(cluster, agent):
    """An agent that may partition, where all GPUs have seven slices. The mode is on before: an A100 changes it by a reset, for
    which this driver root has no nvidia-smi."""
    if agent.is_process():
        pytest.skip('what the chart mounts and permits is tested')
    path = f'/api/v1/namespaces/{SYSTEM}/configmaps'
    cluster.api.call(path, 'POST', {'metadata': {'name': 'layouts'}, 'data': {'config.yaml': LAYOUTS}})
    agent.machine.become('p4d.24xlarge')
    agent.sim('mig', 'on', 'all')
    agent.sim('mig', 'reset', 'all')
    cluster.label_node(WISH, 'all-1g.5gb')
    agent.start('version: v1\nflags: {migStrategy: mixed, plugin: {passDeviceSpecs: true}}\n', 'mig.partition=true',
                'mig.configMap=layouts')
    yield agent
    cluster.label_node(WISH, None)
    cluster.api.call(f'{path}/layouts', 'DELETE')


def guide_pod(name):
    """A pod with the guide's block pasted into its container; the word "yaml" above it is a slip of the guide's."""
    [block] = re.findall(r'^```\nyaml\n(\nresources:.*?)^```', GUIDE.read_text(), re.M | re.S)
    return f'''
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: {programs.PAUSE}
    imagePullPolicy: Never
''' + textwrap.indent(block, '    ')


def on_their_own_devices(cluster, machine):
    """{pod: the GPU of its MIG device}; every container has one of its own, the capability nodes of just that, and no more."""
    held, devices, capabilities, found = cluster.held(), machine.mig_devices(), machine.capabilities(), {}
    for (pod, name), (pid, environment) in cluster.containers().items():
        [[one]] = held[pod][name].values()
        gpu, gi, ci, _ = devices[one]
        own = {capabilities[f'gpu{gpu}/gi{gi}'], capabilities[f'gpu{gpu}/gi{gi}/ci{ci}']}
        assert environment['NVIDIA_VISIBLE_DEVICES'] == one
        names, minors = cluster.device_nodes(pid)
        assert names == {f'nvidia{gpu}', 'nvidiactl', 'nvidia-caps'} and minors in (None, {gpu, 255})
        names, minors = cluster.device_nodes(pid, 'nvidia-caps', CAPS_MAJOR)
        assert names == {f'nvidia-cap{minor}' for minor in own} and minors in (None, own)
        found[pod] = gpu
    assert len(set(cluster.held_ids())) == len(found)
    return found


def wait_labels(cluster, **counts):
    """Those of gpu-feature-discovery for these MIG devices, and for no others; the whole GPUs' beside them."""
    wanted = {f'{name}.{key}': value for name, count in counts.items()
              for key, value in {**DEVICE_LABELS[name], 'count': str(count), 'replicas': '1', 'sharing-strategy': 'none'}.items()}
    wanted.update({f'{GPU}.count': '8', f'{GPU}.product': 'NVIDIA-A100-SXM4-40GB', 'nvidia.com/mig.strategy': 'mixed',
                   'nvidia.com/mig.capable': 'true', STATE: 'success'})

    def are_there():
        labels = cluster.api.call(cluster.node_path)['metadata']['labels']
        return wanted.items() <= labels.items() and not [
            name for name in labels if name.startswith('nvidia.com/mig-') and name not in wanted]
    cluster.wait(f'the labels {wanted}', are_there)


def untouched(cluster, agent):
    """What a change of other GPUs leaves alone."""
    node = cluster.api.call(cluster.node_path)
    ready = [one for one in node['status']['conditions'] if one['type'] == 'Ready']
    return agent.pids()[0], [(one['status'], one['lastTransitionTime']) for one in ready]


@pytest.mark.timeout(400)
def test_56_pods_and_four_gpus_get_another_layout_below_them(cluster, partitioning):
    cluster.wait_allocatable(56, SMALL, timeout=60)
    cluster.kubectl('apply', '-f', '-', stdin=guide_pod('guide'))
    for n in range(55):
        cluster.create_pod(f'other-{n}', {SMALL: 1})
    cluster.wait_running(56, timeout=200)
    gpu_of = on_their_own_devices(cluster, partitioning.machine)
    assert len(gpu_of) == 56
    wait_labels(cluster, **{SMALL: 56})

    # The pods on four GPUs end, the others stay; and those four get another layout.
    for pod in (pod for pod, gpu in gpu_of.items() if gpu >= 4):
        cluster.delete_pod(pod)
    cluster.wait_count(28, timeout=120)
    kept, before, line = cluster.state(), untouched(cluster, partitioning), Timeline(cluster, SMALL)
    cluster.label_node(WISH, 'half')
    cluster.wait_allocatable(8, LARGE, timeout=60)
    cluster.wait_allocatable(28, SMALL)
    wait_labels(cluster, **{SMALL: 28, LARGE: 8})
    for n in range(8):
        cluster.create_pod(f'large-{n}', {LARGE: 1})
    cluster.wait_running(36, timeout=120)
    gpus = on_their_own_devices(cluster, partitioning.machine)
    assert sorted(gpus[f'large-{n}'] for n in range(8)) == [4, 4, 5, 5, 6, 6, 7, 7]
    now = cluster.state()
    assert {key: now[key] for key in kept} == kept and len(kept) == 28
    assert not [pod for pod in cluster.pods() for one in pod['status']['containerStatuses'] if one['restartCount']]
    assert untouched(cluster, partitioning) == before
    assert min(allocatable for _, allocatable in line.end('four GPUs of eight')) == 28


@pytest.mark.timeout(200)
def test_a_node_whose_gpus_cannot_do_it_says_so_and_serves_slices(cluster, agent):
    """The guide lists g5 among the types for MIG."""
    if agent.is_process():
        pytest.skip('events are looked for')
    agent.machine.become('g5.12xlarge')
    cluster.label_node(WISH, 'all-1g.5gb')
    try:
        agent.start('''
version: v1
flags: {migStrategy: single}
sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}
''', 'mig.partition=true')
        cluster.wait_allocatable(16)
        cluster.wait('an event', lambda: any(
            one['reason'] == 'MIGLayoutFailed' and 'MIG cannot partition NVIDIA A10G; guides that list the A10' in one['message']
            for one in cluster.events('Node', cluster.bed.node_name)))
        agent.wait_line('MIG cannot partition NVIDIA A10G')

        def labels():
            return cluster.api.call(cluster.node_path)['metadata']['labels']
        cluster.wait('the layout to be refused', lambda: labels().get(STATE) == 'failed')
        assert labels()['nvidia.com/mig.capable'] == 'false'
        cluster.create_pod('slice', {GPU: 1})
        cluster.create_pod('guide', {SMALL: 1})
        cluster.wait_running(1)
        [[one]] = cluster.held()['slice']['main-0'].values()
        assert one.startswith('GPU-')
        assert [pod['metadata']['name'] for pod in cluster.pods(phase='Pending')] == ['guide']
    finally:
        cluster.label_node(WISH, None)
