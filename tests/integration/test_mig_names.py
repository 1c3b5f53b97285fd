# SPDX-License-Identifier: Apache-2.0
"""gpuslice.mig.names: both: one pool of MIG devices under two names, each device under one of them at a time."""
import contextlib
import sys
import threading

import grpc
import pytest

from node import PATIENCE_S, ROOT, Cluster, deployment, free_port, held_ids, http_get
from test_mig import allocatable, instances, labels, mig, partition  # noqa: F401

sys.path.insert(0, str(ROOT / 'proto'))
pb, services = grpc.protos_and_services('deviceplugin/v1beta1/api.proto')

GPU, SMALL = 'nvidia.com/gpu', 'nvidia.com/mig-1g.5gb'
DEMAND = 'gpuslice.dev/mig-names-demand'


def both(split='50%', more=''):
    """Of two partitioned GPUs; the six whole ones would be the kind that the most GPUs have."""
    return (f'version: v1\nflags: {{migStrategy: single, deviceDiscoveryStrategy: auto}}\n'
            f'gpuslice: {{excludeDevices: [2, 3, 4, 5, 6, 7], mig: {{names: both, split: {split}}}}}\n{more}')


@pytest.fixture
def pool(mig):  # noqa: F811
    """14 MIG devices of one profile."""
    for gpu in range(2):
        partition(mig, gpu, *['1g.5gb'] * 7)
    return mig


def begin(node, config=None, *arguments, **environment):
    node.start_kubelet()
    return node.start_agent(config or both(), *arguments, **environment)


def wait_names(node, gpu, small):
    node.wait_allocatable(gpu, GPU)
    node.wait_allocatable(small, SMALL)


def run(node, count, resource, name):
    return held_under(node.run_pods(count, name, resource), resource)


def held_under(pods, resource):
    return sorted(one for pod in pods for container in pod['containers'] for one in container['devices'].get(resource, []))


@contextlib.contextmanager
def plugin(node, resource):
    with grpc.insecure_channel(f'unix:{node.plugins}/gpuslice-{resource.split("/")[1]}.sock') as channel:
        yield services.DevicePluginStub(channel)


class Offers:
    """What the agent announces under both names, and whether a device was ever Healthy under both."""

    def __init__(self, node):
        self.node, self.healthy, self.twice, self.most, self.changed = node, {}, set(), 0, threading.Condition()
        self.ever, self.is_checked = {GPU: set(), SMALL: set()}, False

    def watch(self, resource):
        while not self.is_checked:
            with contextlib.suppress(grpc.RpcError), plugin(self.node, resource) as stub:
                for message in stub.ListAndWatch(pb.Empty(), wait_for_ready=True):
                    self.see(resource, {one.ID for one in message.devices if one.health == 'Healthy'})
            self.see(resource, set())  # it registers again: to the kubelet, too, nothing is Healthy until then

    def see(self, resource, healthy):
        with self.changed:
            self.healthy[resource] = healthy
            self.ever[resource] |= healthy
            if len(self.healthy) == 2:
                self.twice |= self.healthy[GPU] & self.healthy[SMALL]
                self.most = max(self.most, sum(map(len, self.healthy.values())))
            self.changed.notify_all()

    def start(self):
        for resource in (GPU, SMALL):
            threading.Thread(target=self.watch, args=[resource], daemon=True).start()
        return self

    def check(self, n_devices=14):
        with self.changed:
            self.is_checked = True
            assert not self.twice and self.most <= n_devices


def test_both_names_and_their_labels(pool):
    begin(pool, None, '--output-file', pool.folder / 'labels', '--no-timestamp')
    wait_names(pool, 7, 7)
    found = labels(pool)
    assert found['nvidia.com/mig.strategy'] == 'single'
    for prefix in (GPU, SMALL):
        assert {key: found[f'{prefix}.{key}'] for key in ('product', 'count', 'replicas', 'sharing-strategy', 'memory', 'slices.gi')} == {
            'product': 'NVIDIA-A100-SXM4-40GB-MIG-1g.5gb', 'count': '14', 'replicas': '1', 'sharing-strategy': 'none',
            'memory': '4864', 'slices.gi': '1'}


def test_devices_go_where_pods_wait_and_back(pool):
    cluster = Cluster(pool)
    agent = begin(pool, NODE_NAME='node')
    wait_names(pool, 7, 7)
    offers = Offers(pool).start()
    cluster.wait('started')
    pool.apply(deployment('small', 10, {SMALL: 1}))
    pool.wait_for('pods=7')
    cluster.tell(annotations={DEMAND: f'{SMALL}=3'})
    pool.wait_for('pods=10')
    wait_names(pool, 4, 10)
    agent.wait_line(f'MIG devices change their name.*from={GPU} to={SMALL} devices=3')
    pool.apply(deployment('large', 4, {GPU: 1}))
    pool.wait_for('pods=14')
    assert held_ids(pool.pods()) == sorted(row[4] for row in instances(pool))  # each once
    offers.check()


def test_without_waiting_pods_the_split_is_restored(pool):
    cluster = Cluster(pool)
    begin(pool, NODE_NAME='node')
    wait_names(pool, 7, 7)
    offers = Offers(pool).start()
    cluster.tell(annotations={DEMAND: f'{GPU}=14'})
    wait_names(pool, 14, 0)
    cluster.tell(annotations={DEMAND: f'{GPU}=1,{SMALL}=9'})
    wait_names(pool, 5, 9)
    cluster.tell()
    wait_names(pool, 7, 7)
    pool.configure(both('0%'))
    wait_names(pool, 14, 0)
    pool.configure(both('100%'))
    wait_names(pool, 0, 14)
    offers.check()


def test_an_allocate_that_comes_too_late_is_refused_and_counted(pool):
    cluster, address = Cluster(pool), f'127.0.0.1:{free_port()}'
    agent = begin(pool, None, '--http-address', address, NODE_NAME='node')
    wait_names(pool, 7, 7)
    cluster.tell(annotations={DEMAND: f'{SMALL}=14'})
    wait_names(pool, 0, 14)
    device = instances(pool)[0][4]
    request = pb.AllocateRequest(container_requests=[{'devices_ids': [device]}])
    with plugin(pool, GPU) as stub, pytest.raises(grpc.RpcError) as refused:
        stub.Allocate(request, timeout=PATIENCE_S)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.details() == (
        f'{device} cannot be given to a container as {GPU}: it is offered as {SMALL} now, and gpuslice.mig.names: both '
        'offers each device under one name at a time')
    agent.wait_line(f'allocation rejected.*resource={GPU}')
    metrics = http_get(address, '/metrics')[1]
    for line in (f'gpuslice_lost_names_total{{resource="{GPU}"}} 1', f'gpuslice_lost_names_total{{resource="{SMALL}"}} 0',
                 f'gpuslice_devices{{resource="{GPU}",health="Elsewhere"}} 14',
                 f'gpuslice_devices{{resource="{GPU}",health="Unhealthy"}} 0',
                 f'gpuslice_devices{{resource="{SMALL}",health="Healthy"}} 14'):
        assert line in metrics.splitlines(), line
    with plugin(pool, SMALL) as stub:
        assert stub.Allocate(request, timeout=PATIENCE_S).container_responses


def test_held_devices_keep_their_name(pool):
    """While a pod holds them, over a restart, and until the pod's end is certain."""
    cluster = Cluster(pool)
    cluster.greet = {'annotations': {DEMAND: f'{SMALL}=14'}}
    agent = begin(pool, both('0%'), NODE_NAME='node')
    wait_names(pool, 0, 14)
    held = run(pool, 3, SMALL, 'small')
    cluster.greet = {'annotations': {DEMAND: f'{GPU}=14'}}
    cluster.tell(**cluster.greet)
    wait_names(pool, 11, 3)
    agent.end()
    agent = pool.start_agent(both('0%'), NODE_NAME='node')
    wait_names(pool, 11, 3)
    offers = Offers(pool).start()
    pool.apply(deployment('large', 12, {GPU: 1}))
    pool.wait_for('pods=14')
    assert not set(held) & set(held_under(pool.pods(), GPU))
    pool.kubelet('delete', 'small')
    pool.wait_for('pods=12')  # the last of the large ones got a device that was held
    offers.check()


def test_pods_from_before_keep_their_devices_without_a_log(pool):
    """The kubelet's list comes before anything is free: nothing of what it has is offered under the other name."""
    first = begin(pool, both('100%'))
    wait_names(pool, 0, 14)
    held = run(pool, 3, SMALL, 'small')
    first.end()
    for file in (pool.folder / 'grants').iterdir():
        if file.is_file():
            file.unlink()
    offers = Offers(pool)
    agent = pool.start_agent(both('0%'))
    offers.start()
    agent.wait_line('adopted devices')
    wait_names(pool, 11, 3)
    assert not set(held) & offers.ever[GPU]
    offers.check()


def test_slices_of_a_device_have_its_name(pool):
    cluster = Cluster(pool)
    begin(pool, both(more='sharing: {timeSlicing: {renameByDefault: true, resources: [{name: nvidia.com/gpu, replicas: 3}]}}\n'),
          NODE_NAME='node')
    pool.wait_allocatable(21, f'{GPU}.shared')
    pool.wait_allocatable(21, f'{SMALL}.shared')
    cluster.tell(annotations={DEMAND: f'{SMALL}.shared=22'})
    pool.wait_allocatable(18, f'{GPU}.shared')
    pool.wait_allocatable(24, f'{SMALL}.shared')


def test_the_names_follow_the_configuration(pool):
    begin(pool, both().replace('names: both', 'names: strategy'))
    pool.wait_allocatable(14)
    run(pool, 2, GPU, 'large')
    pool.configure(both('100%'))
    wait_names(pool, 2, 12)
    pool.configure(both().replace('names: both', 'names: strategy'))
    wait_names(pool, 14, 0)
    assert GPU in allocatable(pool)


@pytest.mark.parametrize('after', ['names: strategy', 'migStrategy: mixed'])
def test_a_device_that_a_pod_has_under_another_name_is_not_free(pool, after):
    """The configuration takes a name away under which pods hold devices: nobody else gets those by the other one."""
    before, other = ('100%', SMALL) if after == 'names: strategy' else ('0%', GPU)
    agent = begin(pool, both(before))
    pool.wait_allocatable(14, other)
    held = run(pool, 3, other, 'held')
    pool.configure(both().replace('names: both' if after == 'names: strategy' else 'migStrategy: single', after))
    pool.wait_allocatable(11, GPU if other == SMALL else SMALL)
    agent.wait_line(f'pods hold devices otherwise.*: 3 of .*held as {other}')
    pool.apply(deployment('next', 11, {GPU if other == SMALL else SMALL: 1}))
    pool.wait_for('pods=14')
    assert held_ids(pool.pods()) == sorted(row[4] for row in instances(pool)) and len(held) == 3


def test_an_annotation_that_is_wrong_is_told(pool):
    cluster = Cluster(pool)
    agent = begin(pool, NODE_NAME='node')
    wait_names(pool, 7, 7)
    cluster.tell(annotations={DEMAND: 'many'})
    agent.wait_line(f"{DEMAND}.*'many' is not a resource with a number; write for example 'nvidia.com/gpu=2")


def test_single_without_both_names_is_told(pool):
    cluster = Cluster(pool)
    agent = begin(pool, both().replace('names: both', 'names: strategy'), NODE_NAME='node')
    event = cluster.wait_event('MIGStrategy')
    assert f'the name {SMALL} belongs to migStrategy: mixed' in event['message'] and 'gpuslice.mig.names: both' in event['message']
    agent.wait_line('gpuslice.mig.names: both')


def test_single_where_whole_gpus_win_says_nothing_of_names(mig):  # noqa: F811
    for gpu in range(2):
        partition(mig, gpu, '3g.20gb', '3g.20gb')
    cluster = Cluster(mig)
    mig.start_kubelet()
    mig.start_agent('version: v1\nflags: {migStrategy: single}\n', '--output-file', mig.folder / 'labels', '--no-timestamp', NODE_NAME='node')
    mig.wait_allocatable(6)
    found = labels(mig)
    assert found['nvidia.com/gpu.count'] == '8' and found['nvidia.com/gpu.product'] == 'NVIDIA-A100-SXM4-40GB'  # as GFD: the model's GPUs
    cluster.wait('event', lambda event: event['reason'] == 'GPULeftOut')
    assert 'MIGStrategy' not in [event['reason'] for event in cluster.all('event')]
