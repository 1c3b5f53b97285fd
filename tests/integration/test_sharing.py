# SPDX-License-Identifier: Apache-2.0
"""How GPUs are divided, at the edges of what people ask for: between a simulated machine and the kubelet stand-in."""
import json

from node import Cluster, held_ids, replicas

# --- as many as the kubelet can read ---

def test_a_slice_per_mib(node):
    """16,384 replicas, as NVIDIA's plugin serves them."""
    node.start_kubelet()
    node.start_agent(replicas(16384).replace('replicas: 16384', 'replicas: 16384, devices: [0], rename: nvidia.com/mib'))
    node.wait_allocatable(16384, 'nvidia.com/mib')
    node.wait_allocatable(3)
    [pod] = node.run_pods(1, resource='nvidia.com/mib', each=3)
    assert len(set(held_ids([pod]))) == 3

def test_more_than_the_kubelet_can_read(node):
    """What fits is offered, and log, Node and plan tell how many that are."""
    cluster = Cluster(node)
    node.start_kubelet()
    agent = node.start_agent(replicas(50000), NODE_NAME='here')
    agent.wait_line('registered with the kubelet')
    said = cluster.wait_condition('OfferIncomplete')['message']
    offered = int(said.split('this node offers ')[1].split(',')[0])
    assert 60000 < offered < 70000 and '200000 slices of nvidia.com/gpu' in said
    node.wait_allocatable(offered)
    assert cluster.wait_event('OfferIncomplete')['message'] == said
    plan = node.run('gpuslice', 'plan', '--config', node.config, '--machine', 'p3.8xlarge', '-o', 'json')
    assert json.loads(plan.stdout)['resources']['nvidia.com/gpu'] == offered
    assert f'this node offers {offered}' in plan.stderr
    mark = cluster.mark()
    node.configure(replicas(4))
    node.wait_allocatable(16)
    cluster.wait_condition('AllResourcesRegistered', since=mark)


# --- replicas: 1 ---

def test_one_gpu_by_its_uuid(node):
    """A resource of its own for one GPU, all others shared."""
    [uuid] = {one.split('::')[0] for one in node.slices()[8:9]}
    node.start_kubelet()
    node.start_agent(f'''
sharing:
  timeSlicing:
    failRequestsGreaterThanOne: true
    resources:
    - {{name: nvidia.com/gpu, rename: nvidia.com/gpu-render, devices: [{uuid}], replicas: 1}}
    - {{name: nvidia.com/gpu, replicas: 4}}
''')
    node.wait_allocatable(1, 'nvidia.com/gpu-render')
    node.wait_allocatable(12)
    [pod] = node.run_pods(1, resource='nvidia.com/gpu-render')
    assert held_ids([pod]) == [uuid]
    assert pod['containers'][0]['env']['NVIDIA_VISIBLE_DEVICES'] == uuid


def test_one_replica_of_each_is_not_shared(node):
    node.start_kubelet()
    node.start_agent(replicas(1))
    node.wait_allocatable(4)
    [pod] = node.run_pods(1, each=2)
    assert all('::' not in one for one in held_ids([pod]))
