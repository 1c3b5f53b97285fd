# SPDX-License-Identifier: Apache-2.0
"""A node of a slice profile: its configuration comes with the Node, and the first list that the kubelet gets of a resource is the whole one."""
import re
import signal

import pytest
from node import GUIDE, ROOT, Cluster, Volume, eventually, replicas, reset_as

PROFILE, CONFIG, SELECTS = 'gpuslice.dev/profile', 'gpuslice.dev/config', 'nvidia.com/device-plugin.config'
SHARED, SMALL = 'nvidia.com/gpu.shared', 'nvidia.com/mig-1g.5gb'
# What `gpuslice render karpenter` writes for renamed quarters, and for all-1g.5gb.
QUARTERS = '''version: v1
sharing:
  timeSlicing:
    renameByDefault: true
    resources:
    - name: nvidia.com/gpu
      replicas: 4
'''
PARTS = '''version: v1
flags:
  migStrategy: mixed
gpuslice:
  mig:
    layout: all-1g.5gb
'''


@pytest.fixture
def cluster(node):
    return Cluster(node)


def of_profile(config, label=None):
    return {'label': label, 'labels': {PROFILE: 'p'}, 'annotations': {CONFIG: config} if config else {}}


def start(node, *arguments, config=None, **environment):
    return node.start_agent(config, '--node-name=gpu-1', *arguments, **environment)


def said_of(kubelet):
    """What the kubelet received, in order: registrations, and lists with their numbers."""
    return re.findall(r'(plugin registered|devices listed)" resource=(\S+)(?: capacity=(\d+))?', kubelet.output())


@pytest.mark.parametrize(('machine', 'config', 'resource', 'count'), [
    ('p3.8xlarge', QUARTERS, SHARED, 16), ('p4d.24xlarge', PARTS, SMALL, 56),
    ('p4d.24xlarge', PARTS.replace('mixed', 'single'), 'nvidia.com/gpu', 56)], ids=['quarters', 'mixed', 'single'])
def test_the_kubelet_gets_all_slices_at_once(node, cluster, machine, config, resource, count):
    """Whatever is configured otherwise on the node: no whole GPUs first, and no number that grows."""
    reset_as(node, machine)
    kubelet = node.start_kubelet()
    cluster.greet = of_profile(config)
    agent = start(node, '--mig-partition', config=GUIDE)
    node.wait_allocatable(count, resource)
    state = cluster.wait_condition('AllResourcesRegistered')
    if config is not QUARTERS:
        state = cluster.wait('state', lambda state: state['advertises'] == f'{resource}={count}')
        cluster.wait_event('MIGLayoutApplied')
    assert state['advertises'] == f'{resource}={count}'
    assert said_of(kubelet) == [('plugin registered', resource, ''), ('devices listed', resource, str(count))]
    assert all(state['advertises'] in ('', f'{resource}={count}') for state in cluster.all('state'))
    assert not agent.count('until then they are offered whole')


def test_pods_that_have_devices_are_served_whatever_is_being_partitioned(node, cluster):
    """An agent that comes back does not hold back what was given out, while a layout waits for a pod."""
    reset_as(node, 'p4d.24xlarge')
    node.start_kubelet()
    cluster.greet = of_profile(PARTS)
    agent = start(node, '--mig-partition')
    node.wait_allocatable(56, SMALL)
    node.run_pods(1, resource=SMALL)
    agent.end(signal.SIGKILL)
    cluster.greet = of_profile(PARTS.replace('1g.5gb', '7g.40gb'))
    mark = cluster.mark()
    start(node, '--mig-partition')
    cluster.wait_condition('MIGLayoutPending', since=mark)
    node.wait_allocatable(7, 'nvidia.com/mig-7g.40gb')


def test_no_variable_changes_what_a_profile_means(node, cluster):
    """Karpenter expects devices by their profile, whatever the chart says of all nodes."""
    reset_as(node, 'p4d.24xlarge')
    node.start_kubelet()
    cluster.greet = of_profile(PARTS)
    start(node, '--mig-partition', MIG_STRATEGY='single')
    node.wait_allocatable(56, SMALL)


def test_a_profile_is_waited_for(node, cluster):
    """A kubelet may label its Node before Karpenter annotates it: nothing is offered until then."""
    kubelet = node.start_kubelet()
    cluster.greet = of_profile(None)
    start(node, config=GUIDE)
    state = cluster.wait_condition('ConfigurationMissing')
    assert not state['ready'] and 'the annotation gpuslice.dev/config' in state['message'] and "'p'" in state['message']
    cluster.tell(**of_profile(QUARTERS))
    node.wait_allocatable(16, SHARED)
    cluster.wait_condition('AllResourcesRegistered')
    assert len(said_of(kubelet)) == 2


def test_a_profile_is_remembered_and_followed(node, cluster):
    node.start_kubelet()
    cluster.greet = of_profile(QUARTERS)
    agent = start(node)
    node.wait_allocatable(16, SHARED)
    assert agent.end() == 0
    cluster.greet, mark = None, cluster.mark()  # the API server is away
    agent = start(node)
    cluster.wait('setup', since=mark)
    node.wait_allocatable(16, SHARED)
    cluster.tell(**of_profile(QUARTERS.replace('4', '5')))  # by hand: Karpenter replaces the node
    node.wait_allocatable(20, SHARED)
    cluster.tell()
    node.wait_allocatable(4)
    assert agent.alive()


def test_the_label_outranks_the_profile_and_that_the_volume(node, cluster):
    node.start_kubelet()
    volume = Volume(node.folder / 'configs', default=GUIDE, mine=replicas(2))
    cluster.greet = of_profile(QUARTERS, label='mine')
    agent = start(node, '--config-file-srcdir', volume.path, '--fallback-strategies', 'named')
    node.wait_allocatable(8)
    event = cluster.wait_event('ProfileOutranked')
    assert event['warning'] and "selects the configuration 'mine'" in event['message'] and "profile 'p'" in event['message']
    assert agent.count('so that the slice profile') == 1
    cluster.tell(**of_profile(QUARTERS))
    node.wait_allocatable(16, SHARED)
    cluster.tell()
    node.wait_allocatable(16)
    assert SHARED not in [name for name, count in node.node()['allocatable'].items() if int(count)]


def test_a_profile_configures_slices_alone(node, cluster):
    """Who may annotate a Node does not choose what the agent loads, and a refused text does not give way to whole GPUs."""
    kubelet = node.start_kubelet()
    cluster.greet = of_profile(QUARTERS + 'flags: {nvidiaDriverRoot: /tmp/theirs}\n')
    start(node, config=GUIDE)
    event = cluster.wait_event('ConfigurationRefused')
    assert "'nvidiaDriverRoot', which is not about slices" in event['message']
    cluster.wait_condition('ConfigurationRefused')
    assert not said_of(kubelet)
    cluster.tell(**of_profile(QUARTERS))
    node.wait_allocatable(16, SHARED)
    eventually(lambda: cluster.all('state')[-1]['ready'], 'ready')


def test_what_was_promised_is_told_in_numbers_of_the_node(node, cluster):
    """By the instance type and not by what the driver finds; for who opens the Node."""
    node.start_kubelet()
    promise = 'nvidia.com/gpu=0,nvidia.com/gpu.shared=4 per GPU'
    told = of_profile(QUARTERS)
    cluster.greet = {'labels': {**told['labels'], 'node.kubernetes.io/instance-type': 'p3.16xlarge'},
                     'annotations': {**told['annotations'], 'gpuslice.dev/promise': promise}}
    agent = start(node, '--controller-lease=c', NAMESPACE='gpus', GPUSLICE_CATALOG=str(ROOT / 'share/catalog'))
    assert cluster.wait('setup')['lease'] == 'c'
    node.wait_allocatable(16, SHARED)
    state = cluster.wait_condition('AllResourcesRegistered')
    assert state['promise'] == [{'name': 'nvidia.com/gpu', 'count': 0}, {'name': SHARED, 'count': 32}]
    mark = cluster.mark()
    cluster.tell(labels={PROFILE: 'p'}, annotations={CONFIG: QUARTERS, 'gpuslice.dev/promise': promise})
    cluster.wait('state', lambda state: not state['promise'], since=mark)
    agent.wait_line('only a controller opens it')
    assert agent.count('only a controller opens it') == 1
