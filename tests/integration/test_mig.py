# SPDX-License-Identifier: Apache-2.0
"""MIG devices: made and removed by others while the agent runs, offered under each strategy, with their labels, nodes and faults."""
import json
import re

import pytest

from node import PATIENCE_S, Cluster, deployment, eventually, held_ids

A100, H100 = 'p4d.24xlarge', 'p5.48xlarge'


def config(strategy, more=''):
    return f'version: v1\nflags: {{migStrategy: {strategy}, deviceDiscoveryStrategy: auto}}\n{more}'


def minors(folder, gpus=8):
    """The kernel's list of capability nodes, as an H200 has it; for GPUs that have these minor numbers."""
    lines, number = ['config 1', 'monitor 2'], 3
    for gpu in range(gpus):
        for gi in range(15):
            lines.append(f'gpu{gpu}/gi{gi}/access {number}')
            number += 1
            for ci in range(8):
                lines.append(f'gpu{gpu}/gi{gi}/ci{ci}/access {number}')
                number += 1
    path = folder / 'proc/driver/nvidia-caps'
    path.mkdir(parents=True)
    (path / 'mig-minors').write_text('\n'.join(lines) + '\n')
    return folder / 'proc'


@pytest.fixture
def mig(node):
    """A simulated machine whose GPUs can be partitioned, with the kernel's files."""
    node.environment['GPUSLICE_PROC'] = str(minors(node.folder))
    return node.machine(A100)


def partition(node, gpu, *profiles):
    node.sim('mig', 'on', gpu)
    node.sim('mig', 'reset', gpu)
    if profiles:
        node.sim('mig', 'create', gpu, *profiles)


def instances(node):
    """(GPU, GPU instance, compute instance, profile, UUID) of each MIG device."""
    pattern = r'GPU (\d+): GPU instance (\d+) at \S+, compute instance (\d+), (\S+), (MIG-\S+)'
    return re.findall(pattern, node.sim('mig', 'list'))


def labels(node, has='nvidia.com/gpu.product'):
    """Those that are published, once one of them is: they follow the devices."""
    path, found = node.folder / 'labels', {}

    def is_there():
        if path.exists():
            found.clear()
            found.update(line.split('=', 1) for line in path.read_text().splitlines())
        return has in found

    eventually(is_there, f'{has} is published')
    return found


def start(node, strategy, more='', **environment):
    kubelet = node.start_kubelet()
    agent = node.start_agent(config(strategy, more), '--output-file', node.folder / 'labels', '--no-timestamp', **environment)
    return kubelet, agent


def allocatable(node):
    return {name: count for name, count in node.node()['allocatable'].items() if name.startswith('nvidia.com/')}


def test_mixed_offers_each_profile_with_its_labels(mig):
    partition(mig, 0, '3g.20gb', '2g.10gb', '1c.2g.10gb')
    partition(mig, 1, '1g.5gb+me', '1g.5gb')
    start(mig, 'mixed')
    for name, count in {'gpu': 6, 'mig-3g.20gb': 1, 'mig-2g.10gb': 1, 'mig-1c.2g.10gb': 1, 'mig-1g.5gb.me': 1, 'mig-1g.5gb': 1}.items():
        mig.wait_allocatable(count, f'nvidia.com/{name}')
    found = labels(mig, 'nvidia.com/mig-1g.5gb.product')
    assert found['nvidia.com/mig.strategy'] == 'mixed' and found['nvidia.com/mig.capable'] == 'true'
    assert found['nvidia.com/gpu.count'] == '8' and found['nvidia.com/gpu.product'] == 'NVIDIA-A100-SXM4-40GB'
    assert {key.removeprefix('nvidia.com/mig-3g.20gb.'): value for key, value in found.items() if 'mig-3g.20gb.' in key} == {
        'count': '1', 'replicas': '1', 'sharing-strategy': 'none', 'product': 'NVIDIA-A100-SXM4-40GB-MIG-3g.20gb',
        'memory': '19968', 'multiprocessors': '42', 'slices.gi': '3', 'slices.ci': '3', 'engines.copy': '3',
        'engines.decoder': '2', 'engines.encoder': '0', 'engines.jpeg': '0', 'engines.ofa': '0'}
    assert found['nvidia.com/mig-1c.2g.10gb.slices.ci'] == '1' and found['nvidia.com/mig-1c.2g.10gb.slices.gi'] == '2'
    assert found['nvidia.com/mig-1g.5gb.me.product'] == 'NVIDIA-A100-SXM4-40GB-MIG-1g.5gb.me'


def test_single_offers_mig_devices_as_gpus(mig):
    for gpu in range(8):
        partition(mig, gpu, *['1g.5gb'] * 7)
    start(mig, 'single')
    mig.wait_allocatable(56)
    found = labels(mig)
    assert found['nvidia.com/gpu.product'] == 'NVIDIA-A100-SXM4-40GB-MIG-1g.5gb' and found['nvidia.com/gpu.count'] == '56'
    assert found['nvidia.com/gpu.memory'] == '4864' and found['nvidia.com/gpu.multiprocessors'] == '14'
    held = held_ids(mig.run_pods(56))
    assert sorted(held) == sorted(row[4] for row in instances(mig))


def test_single_serves_what_it_can_and_says_the_rest(mig):
    for gpu in range(6):
        partition(mig, gpu, '3g.20gb', '3g.20gb')
    partition(mig, 6, '1g.5gb', '1g.5gb')
    partition(mig, 7)  # MIG is on, and there is nothing on it
    cluster = Cluster(mig)
    start(mig, 'single', NODE_NAME='node')
    mig.wait_allocatable(12)
    assert labels(mig)['nvidia.com/gpu.product'] == 'NVIDIA-A100-SXM4-40GB-MIG-3g.20gb'
    for words in ('migStrategy single offers devices of one kind', 'there is no MIG device'):
        cluster.wait('event', lambda event, words=words: event['reason'] == 'GPULeftOut' and words in event['message'])
    cluster.wait('event', lambda event: event['reason'] == 'MIGStrategy' and 'belongs to migStrategy: mixed' in event['message'])
    left_out = [event for event in cluster.all('event') if event['reason'] == 'GPULeftOut']
    assert len(left_out) == 2, left_out


def test_a_strategy_with_mig_off_is_told(mig):
    cluster = Cluster(mig)
    start(mig, 'single', NODE_NAME='node')
    mig.wait_allocatable(8)
    event = cluster.wait_event('MIGStrategy')
    assert 'MIG is off' in event['message'] and 'nvidia.com/mig.config=all-1g.5gb' in event['message']


def test_a_model_without_mig_is_told_by_name(mig):
    cluster = Cluster(mig)
    mig.machine('g5.12xlarge')
    _, agent = start(mig, 'single', NODE_NAME='node')
    mig.wait_allocatable(4)
    event = cluster.wait_event('MIGStrategy')
    assert 'MIG cannot partition NVIDIA A10G' in event['message'] and 'guides that list the A10' in event['message']
    agent.wait_line('MIG cannot partition NVIDIA A10G')


def test_instances_of_others_come_and_go(mig):
    partition(mig, 0, '3g.20gb')
    _, agent = start(mig, 'mixed')
    mig.wait_allocatable(1, 'nvidia.com/mig-3g.20gb')
    mig.sim('mig', 'create', 0, '2g.10gb')
    mig.wait_allocatable(1, 'nvidia.com/mig-2g.10gb')
    gone = [row for row in instances(mig) if row[3] == '3g.20gb'][0]
    mig.sim('mig', 'destroy', 0, gone[1])
    mig.wait_allocatable(0, 'nvidia.com/mig-3g.20gb')
    agent.wait_line(f'MIG device that is gone.*{gone[4]}')
    assert allocatable(mig)['nvidia.com/mig-2g.10gb'] == 1
    eventually(lambda: 'nvidia.com/mig-3g.20gb.count' not in labels(mig), 'its labels go')


def test_a_device_that_a_pod_holds_stays_when_it_vanishes(mig):
    partition(mig, 0, '3g.20gb')
    _, agent = start(mig, 'mixed')
    mig.wait_allocatable(1, 'nvidia.com/mig-3g.20gb')
    mig.run_pods(1, resource='nvidia.com/mig-3g.20gb')
    device = instances(mig)[0]
    mig.sim('mig', 'destroy', 0, device[1])
    mig.wait_allocatable(0, 'nvidia.com/mig-3g.20gb')
    agent.wait_line(f'MIG device is Unhealthy.*{device[4]}')
    mig.sim('mig', 'create', 0, '3g.20gb@' + ('4' if device[1] == '2' else '0'))
    mig.wait_allocatable(1, 'nvidia.com/mig-3g.20gb')  # the same place has the same UUID
    assert instances(mig)[0][4] == device[4] and agent.count('is dropped') == 0


def test_a_held_uuid_is_not_given_out_for_another_device(mig):
    """A UUID belongs to a place: the next device in it, of another profile, has the same."""
    partition(mig, 0, '2g.10gb@0')
    _, agent = start(mig, 'mixed')
    mig.wait_allocatable(1, 'nvidia.com/mig-2g.10gb')
    mig.run_pods(1, resource='nvidia.com/mig-2g.10gb')
    device = instances(mig)[0][4]
    mig.sim('mig', 'destroy', 0)
    mig.sim('mig', 'create', 0, '1g.10gb@0', '1g.10gb@2')
    mig.wait_allocatable(1, 'nvidia.com/mig-1g.10gb')
    same, other = instances(mig)
    assert (same[3], same[4]) == ('1g.10gb', device)
    agent.wait_line(f'MIG device is Unhealthy.*{device}.*profile=1g.10gb.*nvidia.com/mig-2g.10gb')
    mig.apply(deployment('next', 1, {'nvidia.com/mig-1g.10gb': 1}))
    mig.wait_for('pods=2')
    assert sorted(held_ids(mig.pods())) == sorted([device, other[4]])
    agent.end()
    agent = mig.start_agent(config('mixed'))  # which withholds it as well
    agent.wait_line(f'MIG device is Unhealthy.*{device}.*profile=1g.10gb.*nvidia.com/mig-2g.10gb')


@pytest.mark.parametrize('beside', ['alone', 'beside another'])
def test_what_is_gone_after_a_reboot_stays_unhealthy_while_a_pod_has_it(mig, beside):
    """Instances do not outlive a reboot, and this agent has never seen them: the kubelet must not take the id for fit."""
    name, others = 'nvidia.com/mig-2g.10gb', ['2g.10gb@4'] if beside != 'alone' else []
    partition(mig, 0, '2g.10gb@0')
    _, agent = start(mig, 'mixed')
    mig.wait_allocatable(1, name)
    mig.run_pods(1, resource=name)
    device = instances(mig)[0][4]
    agent.end()
    mig.sim('mig', 'destroy', 0)
    if others:
        mig.sim('mig', 'create', 0, *others)
    agent = mig.start_agent(config('mixed'))
    agent.wait_line(f'a pod holds MIG device {device} as {name}, and it does not exist')
    mig.wait_for(f'capacity:{name}={1 + len(others)}')
    mig.wait_allocatable(len(others), name)
    mig.sim('mig', 'create', 0, '1g.10gb@0')  # another one, by the same UUID
    mig.wait_for('capacity:nvidia.com/mig-1g.10gb=1')
    agent.wait_line(f'MIG device is Unhealthy.*{device}.*profile=1g.10gb')
    mig.wait_for(f'capacity:{name}={1 + len(others)}')
    assert allocatable(mig)[name] == len(others) and allocatable(mig)['nvidia.com/mig-1g.10gb'] == 0
    mig.sim('mig', 'destroy', 0, [row for row in instances(mig) if row[4] == device][0][1])
    mig.sim('mig', 'create', 0, '2g.10gb@0')  # the one that it was
    mig.wait_allocatable(1 + len(others), name)
    agent.end()
    mig.sim('mig', 'destroy', 0, [row for row in instances(mig) if row[4] == device][0][1])
    agent = mig.start_agent(config('mixed'))
    agent.wait_line(f'a pod holds MIG device {device}')
    mig.wait_allocatable(len(others), name)
    mig.kubelet('delete', 'demo')  # two of the agent's lists have to miss it, and one a minute is certain
    mig.kubelet('wait', '--for', f'capacity:{name}={len(others)}', '--timeout', f'{2 * PATIENCE_S - 5}s')


@pytest.mark.parametrize('ids', ['unshared', 'slices'])
def test_under_single_a_held_uuid_is_not_given_out_for_another_profile(mig, ids):
    """Neither the resource's name nor the size tells the profiles apart: the grant does, also to the next agent."""
    shared = 'sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}\n' if ids == 'slices' else ''
    more = f'gpuslice: {{excludeDevices: [1, 2, 3, 4, 5, 6, 7]}}\n{shared}'
    each = 2 if shared else 1
    partition(mig, 0, '2g.10gb@0')
    _, agent = start(mig, 'single', more)
    mig.wait_allocatable(each)
    held = held_ids(mig.run_pods(1))
    device = instances(mig)[0][4]
    mig.sim('mig', 'destroy', 0)
    mig.sim('mig', 'create', 0, '1g.10gb@0', '1g.10gb@2', '1g.10gb@4')
    mig.wait_allocatable(2 * each)
    same, *others = instances(mig)
    assert (same[3], same[4]) == ('1g.10gb', device)
    told = f'MIG device is Unhealthy.*{device}.*profile=1g.10gb.*a pod still holds the device that had this UUID before'
    agent.wait_line(told)
    agent.end()
    agent = mig.start_agent(config('single', more))
    agent.wait_line(told)
    mig.wait_allocatable(2 * each)
    mig.apply(deployment('next', each, {'nvidia.com/gpu': 1}))
    mig.wait_for(f'pods={1 + each}')
    assert {one.split('::')[0] for one in set(held_ids(mig.pods())) - set(held)} <= {other[4] for other in others}


@pytest.mark.parametrize('machine', [A100, H100])
def test_mig_is_switched_on_under_the_agent(mig, machine):
    mig.machine(machine)
    small = {A100: '1g.5gb', H100: '1g.10gb'}[machine]
    start(mig, 'mixed')
    mig.wait_allocatable(8)
    partition(mig, 3, small)
    mig.wait_allocatable(7)
    mig.wait_allocatable(1, f'nvidia.com/mig-{small}')


def test_changes_are_seen_without_the_event(mig):
    mig.sim('inject', 'error', 'nvmlDeviceGetSupportedEventTypes', 'NOT_SUPPORTED')
    partition(mig, 0, '3g.20gb')
    start(mig, 'mixed')
    mig.wait_allocatable(1, 'nvidia.com/mig-3g.20gb')
    mig.sim('mig', 'create', 0, '1g.5gb')
    mig.wait_allocatable(1, 'nvidia.com/mig-1g.5gb')


def test_an_xid_marks_its_instance_alone(mig):
    partition(mig, 0, '3g.20gb', '3g.20gb')
    _, agent = start(mig, 'mixed')
    mig.wait_allocatable(2, 'nvidia.com/mig-3g.20gb')
    hit, other = instances(mig)
    mig.sim('inject', 'xid', f'0:{hit[1]}:{hit[2]}', 48)
    mig.wait_allocatable(1, 'nvidia.com/mig-3g.20gb')
    # A device under suspicion is Healthy again after a probe of its GPU, which has an answer for all of its devices.
    mig.sim('inject', 'xid', f'0:{other[1]}:{other[2]}', 8)
    agent.wait_line(f'MIG device is Unhealthy.*{other[4]}')
    agent.wait_line(f'MIG device is Healthy.*{other[4]}')
    mig.wait_allocatable(1, 'nvidia.com/mig-3g.20gb')
    assert held_ids(mig.run_pods(1, resource='nvidia.com/mig-3g.20gb')) == [other[4]]


def test_an_xid_of_the_whole_gpu_marks_every_instance(mig):
    partition(mig, 0, '3g.20gb', '3g.20gb')
    partition(mig, 1, '3g.20gb')
    start(mig, 'mixed')
    mig.wait_allocatable(3, 'nvidia.com/mig-3g.20gb')
    hit = instances(mig)[0]
    mig.sim('inject', 'xid', f'0:{hit[1]}:{hit[2]}', 95)
    mig.wait_allocatable(1, 'nvidia.com/mig-3g.20gb')


def test_profiles_are_told_apart_without_the_right_to_list_instances(mig):
    for call in ('nvmlDeviceGetGpuInstanceById', 'nvmlDeviceGetGpuInstances'):
        mig.sim('inject', 'error', call, 'NO_PERMISSION')
    partition(mig, 0, '1g.5gb+me', '1g.5gb', '1c.2g.10gb', '1g.10gb')
    start(mig, 'mixed')
    for name in ('1g.5gb.me', '1g.5gb', '1c.2g.10gb', '1g.10gb'):
        mig.wait_allocatable(1, f'nvidia.com/mig-{name}')


def test_device_nodes_and_cdi_names_of_new_instances(mig):
    """The specification has a device before the kubelet can give it out."""
    partition(mig, 0, '3g.20gb')
    start(mig, 'mixed', DEVICE_LIST_STRATEGY='cdi-cri', NVIDIA_DEV_ROOT='/')
    mig.wait_allocatable(1, 'nvidia.com/mig-3g.20gb')
    mig.sim('mig', 'create', 0, '2g.10gb')
    mig.wait_allocatable(1, 'nvidia.com/mig-2g.10gb')
    _, gi, ci, _, uuid = [row for row in instances(mig) if row[3] == '2g.10gb'][0]
    spec = json.loads(next(path for path in mig.cdi.iterdir() if 'gpu' in path.name).read_text())
    device = {one['name']: one for one in spec['devices']}[uuid]
    nodes = [node['path'] for node in device['containerEdits']['deviceNodes']]
    first = 3 + int(gi) * 9
    assert nodes == ['/dev/nvidia0', f'/dev/nvidia-caps/nvidia-cap{first}', f'/dev/nvidia-caps/nvidia-cap{first + 1 + int(ci)}']


def test_mig_devices_are_shared(mig):
    partition(mig, 0, '3g.20gb', '3g.20gb')
    start(mig, 'mixed', 'sharing: {timeSlicing: {resources: [{name: nvidia.com/mig-3g.20gb, replicas: 3}]}}\n')
    mig.wait_allocatable(6, 'nvidia.com/mig-3g.20gb')
    found = labels(mig, 'nvidia.com/mig-3g.20gb.product')
    assert found['nvidia.com/mig-3g.20gb.product'].endswith('-MIG-3g.20gb-SHARED')
    assert found['nvidia.com/mig-3g.20gb.replicas'] == '3' and found['nvidia.com/mig-3g.20gb.sharing-strategy'] == 'time-slicing'


def test_none_offers_partitioned_gpus_whole(mig):
    partition(mig, 0, '3g.20gb')
    start(mig, 'none')
    mig.wait_allocatable(8)
    assert not [name for name in allocatable(mig) if 'mig-' in name]


@pytest.mark.parametrize('strategy,resources', [('none', {'gpu': 8}), ('mixed', {'gpu': 6, 'mig-3g.20gb': 2}), ('single', {'gpu': 6})])
def test_a_gpu_with_mig_on_and_nothing_on_it_hides_no_other(mig, strategy, resources):
    """NVIDIA's plugin ends under single. Ours offers the kind that most GPUs have, here whole ones."""
    partition(mig, 0)
    partition(mig, 1, '3g.20gb', '3g.20gb')
    start(mig, strategy)
    for name, count in resources.items():
        mig.wait_allocatable(count, f'nvidia.com/{name}')
        mig.apply(deployment(name.replace('.', '-'), count, {f'nvidia.com/{name}': 1}))
    mig.wait_for(f'pods={sum(resources.values())}')
    assert allocatable(mig) == {f'nvidia.com/{name}': count for name, count in resources.items()}
