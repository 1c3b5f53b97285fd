# SPDX-License-Identifier: Apache-2.0
"""How GPUs are divided, at the edges of what people ask for: between a simulated machine and the kubelet stand-in."""
import json
import socket
import threading

from node import ROOT, Cluster, free_port, held_ids, http_get, replicas

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
    cluster.greet = {}
    node.start_kubelet()
    agent = node.start_agent(replicas(50000), NODE_NAME='here')
    agent.wait_line('registered with the kubelet')
    said = cluster.wait_condition('OfferIncomplete')['message']
    offered = int(said.split('this node offers ')[1].split(',')[0])
    assert 60000 < offered < 70000 and '200000 slices of nvidia.com/gpu' in said
    node.wait_allocatable(offered)
    assert cluster.wait_event('OfferIncomplete')['message'] == said
    plan = node.run('gpuslice', 'plan', '--config', node.config, '--machine', 'p3.8xlarge', '-o', 'json', check=False)
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


# --- MPS, which needs a control daemon ---

MPS = '''
flags: {mpsRoot: %s}
sharing:
  mps:
    failRequestsGreaterThanOne: false
    resources:
    - {name: nvidia.com/gpu, rename: nvidia.com/gpu.mps, replicas: 4, devices: [0, 1]}
'''


class Daemon:
    """Somebody else's MPS control daemon, as far as connecting to it goes."""

    def __init__(self, root, resource='nvidia.com/gpu.mps'):
        folder = root / resource / 'pipe'
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'control').unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(str(folder / 'control'))
        self.socket.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:
                return

    def kill(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def test_mps_slices_come_and_go_with_their_daemon(node):
    """Without one a pod would have the whole GPU, and no limit. What is not shared by MPS is offered all the same."""
    root = node.folder / 'mps'
    cluster = Cluster(node)
    cluster.greet = {}
    port = free_port()
    node.start_kubelet()
    agent = node.start_agent(MPS % root, NODE_NAME='here', GPUSLICE_HTTP_ADDRESS=f'127.0.0.1:{port}')
    node.wait_allocatable(2)
    said = cluster.wait_condition('MPSDaemonNotAnswering')
    assert not said['ready'] and f'{root}/nvidia.com/gpu.mps/pipe/control' in said['message']
    assert cluster.wait_event('MPSDaemonNotAnswering')['message'] == said['message']
    assert 'nvidia.com/gpu.mps' not in node.kubelet('get', 'node', '-o', 'json').stdout
    assert http_get(f'127.0.0.1:{port}', '/readyz')[0] == 503
    agent.wait_line('GPUs 0, 1 not offered: no MPS control daemon answers for nvidia.com/gpu.mps')
    assert [event['reason'] for event in cluster.all('event')] == ['MPSDaemonNotAnswering']
    assert agent.count('no MPS control daemon answers') == 1

    daemon = Daemon(root)
    node.wait_allocatable(8, 'nvidia.com/gpu.mps')
    cluster.wait_condition('AllResourcesRegistered')
    cluster.wait_event('MPSDaemonAnswers')
    [pod] = node.run_pods(1, resource='nvidia.com/gpu.mps', each=2)
    assert pod['containers'][0]['env']['CUDA_MPS_PIPE_DIRECTORY'] == '/mps/nvidia.com/gpu.mps/pipe'

    mark = cluster.mark()
    daemon.kill()
    node.wait_allocatable(0, 'nvidia.com/gpu.mps')
    cluster.wait_condition('MPSDaemonNotAnswering', since=mark)
    assert [one['phase'] for one in node.pods()] == ['Running']
    node.wait_allocatable(2)


def test_mps_that_is_configured_away_is_no_daemon_that_answers(node):
    cluster = Cluster(node)
    cluster.greet = {}
    node.start_kubelet()
    node.start_agent(MPS % (node.folder / 'mps'), NODE_NAME='here')
    cluster.wait_event('MPSDaemonNotAnswering')
    mark = cluster.mark()
    node.configure(replicas(4))
    node.wait_allocatable(16)
    cluster.wait_condition('AllResourcesRegistered', since=mark)
    assert 'MPSDaemonAnswers' not in [event['reason'] for event in cluster.all('event')]


def test_each_resource_of_mps_has_its_daemon(node):
    """The one that answers is named, and so is the next that does not."""
    root = node.folder / 'mps'
    cluster = Cluster(node)
    cluster.greet = {}
    node.start_kubelet()
    node.start_agent(f'''
flags: {{mpsRoot: {root}}}
sharing:
  mps:
    resources:
    - {{name: nvidia.com/gpu, rename: nvidia.com/one, replicas: 4, devices: [0]}}
    - {{name: nvidia.com/gpu, rename: nvidia.com/two, replicas: 4, devices: [1]}}
''', NODE_NAME='here')
    assert 'nvidia.com/one is not offered' in cluster.wait_event('MPSDaemonNotAnswering')['message']
    mark = cluster.mark()
    Daemon(root, 'nvidia.com/one')
    assert 'nvidia.com/one' in cluster.wait_event('MPSDaemonAnswers', since=mark)['message']
    assert 'nvidia.com/two is not offered' in cluster.wait_event('MPSDaemonNotAnswering', since=mark)['message']
    node.wait_allocatable(4, 'nvidia.com/one')
    mark = cluster.mark()
    Daemon(root, 'nvidia.com/two')
    assert 'nvidia.com/two' in cluster.wait_event('MPSDaemonAnswers', since=mark)['message']
    node.wait_allocatable(4, 'nvidia.com/two')


def test_one_replica_below_mps_needs_no_daemon(node):
    node.start_kubelet()
    node.start_agent((MPS % (node.folder / 'mps')).replace('replicas: 4', 'replicas: 1'))
    node.wait_allocatable(2, 'nvidia.com/gpu.mps')


def test_check_and_plan_warn_of_mps(node):
    node.config.write_text(MPS % '/run/nvidia/mps')
    check = node.run('gpuslice', 'check', node.config, check=False)
    assert check.returncode == 1 and 'warning' in check.stdout
    assert 'starts no MPS control daemon' in check.stdout
    table = node.run('gpuslice', 'plan', '--config', node.config, '--machine', 'p3.8xlarge', check=False).stdout
    assert '\nLEFT OUT\nGPUs 0, 1: no MPS control daemon answers' in table and table.count('no MPS control daemon') == 1
    plan = node.run('gpuslice', 'plan', '--config', node.config, '--machine', 'p3.8xlarge', '-o', 'json', check=False)
    assert 'GPUs 0, 1 not offered: no MPS control daemon answers' in plan.stderr
    assert json.loads(plan.stdout)['resources'] == {'nvidia.com/gpu': 2}


# --- GPUs kept out ---

def test_excluded_gpus_leave_and_come_back_live(node):
    """By UUID and by index; the pods that run on one stay."""
    uuids = [one.split('::')[0] for one in node.slices(1)]
    cluster = Cluster(node)
    cluster.greet = {}
    node.start_kubelet()
    agent = node.start_agent(replicas(4), NODE_NAME='here')
    node.wait_allocatable(16)
    node.run_pods(4)
    node.configure(replicas(4) + f'gpuslice: {{excludeDevices: [0, {uuids[2]}]}}\n')
    node.wait_allocatable(8)
    agent.wait_line(f'GPU left out.*{uuids[2]}.*excludeDevices excludes it')
    assert [pod['phase'] for pod in node.pods()] == ['Running'] * 4
    assert not [event for event in cluster.all('event') if event['reason'] == 'GPULeftOut']
    node.configure(replicas(4))
    node.wait_allocatable(16)


def test_a_variable_excludes_in_place_of_the_file(node):
    uuids = [one.split('::')[0] for one in node.slices(1)]
    node.start_kubelet()
    node.start_agent(replicas(4) + 'gpuslice: {excludeDevices: [0]}\n',
                     GPUSLICE_EXCLUDE_DEVICES=f'{uuids[1]}, {uuids[2]},3')
    node.wait_allocatable(4)
    [pod] = node.run_pods(1)
    assert held_ids([pod])[0].startswith(uuids[0])


def test_the_example_of_excluded_and_named_gpus(node):
    plan = node.run('gpuslice', 'plan', '--config', ROOT / 'deploy/examples/exclude-and-name-gpus.yaml',
                    '--machine', 'p4d.24xlarge', '-o', 'json', check=False)
    assert json.loads(plan.stdout)['resources'] == {'nvidia.com/gpu': 24, 'nvidia.com/gpu-render': 1}


# --- n slices on n GPUs ---

def test_unique_slices_or_none(node):
    """Two slices are free, on one GPU: a container that wants two is refused, and one that wants one is not."""
    node.machine('p3.8xlarge').start_kubelet()
    node.start_agent(replicas(2) + 'gpuslice: {unique: true, excludeDevices: [2, 3]}\n')
    node.wait_allocatable(4)
    [pair] = node.run_pods(1, 'pair', each=2)
    assert len({one.split('::')[0] for one in held_ids([pair])}) == 2
    node.configure(replicas(2) + 'gpuslice: {unique: true, excludeDevices: [1, 2, 3]}\n')
    node.wait_allocatable(2)
    node.kubelet('scale', 'pair', '0')
    node.wait_for('pods=0')
    node.apply(json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'two'},
                           'spec': {'restartPolicy': 'Never', 'containers': [
                               {'name': 'main', 'image': 'none', 'resources': {'limits': {'nvidia.com/gpu': 2}}}]}}))
    node.wait_for('settled=1')
    [two] = node.pods()
    assert two['phase'] == 'Failed' and two['reason'] == 'UnexpectedAdmissionError'
    assert 'gpuslice.unique wants each on a GPU of its own' in two['message']
