# SPDX-License-Identifier: Apache-2.0
"""A configuration that changes live, while pods hold devices: nobody else gets what they hold, under whatever name it is offered then."""
import sys

import grpc
import pytest

from node import PATIENCE_S, ROOT, Cluster, deployment, eventually, free_port, held_ids, http_get
from test_mig import instances, mig, partition  # noqa: F401
from test_mig_names import GPU, SMALL, both, plugin

sys.path.insert(0, str(ROOT / 'proto'))
pb, _ = grpc.protos_and_services('deviceplugin/v1beta1/api.proto')

LARGE = 'nvidia.com/mig-3g.20gb'
REASON = 'DevicesHeldUnderFormerName'


def of_two(strategy, more=''):
    """The first two GPUs, under one name each."""
    return f'version: v1\nflags: {{migStrategy: {strategy}}}\ngpuslice: {{excludeDevices: [2, 3, 4, 5, 6, 7]}}\n{more}'


def shared(replicas, resource=GPU, rename=''):
    return f'sharing: {{timeSlicing: {{{rename}resources: [{{name: {resource}, replicas: {replicas}}}]}}}}\n'


RENAME = 'renameByDefault: true, '
# How the two GPUs are partitioned, the first configuration, how many pods hold what of it, the second, what it offers, how much
# of that while they hold, and after.
CASES = {
    'single-mixed': (7, of_two('single'), 3, GPU, of_two('mixed'), SMALL, 11, 14),
    'mixed-single': (7, of_two('mixed'), 3, SMALL, of_two('single'), GPU, 11, 14),
    'mixed-none': (2, of_two('mixed'), 3, LARGE, of_two('none'), GPU, 0, 2),
    'none-mixed': (2, of_two('none'), 1, GPU, of_two('mixed'), LARGE, 2, 4),
    'none-single': (2, of_two('none'), 1, GPU, of_two('single'), GPU, 2, 4),
    'both-mixed': (7, both('0%'), 3, GPU, of_two('mixed'), SMALL, 11, 14),
    'both-single': (7, both('100%'), 3, SMALL, of_two('single'), GPU, 11, 14),
    'none-both': (7, of_two('none'), 1, GPU, both('0%'), GPU, 7, 14),
    'renamed': (0, of_two('none', shared(4)), 3, GPU, of_two('none', shared(4, rename=RENAME)), f'{GPU}.shared', 5, 8),
    'renamed-mig': (2, of_two('mixed', shared(2, LARGE)), 3, LARGE, of_two('mixed', shared(2, LARGE, RENAME)), f'{LARGE}.shared', 5, 8),
    'shared-whole': (0, of_two('none', shared(4, rename=RENAME)), 1, f'{GPU}.shared', of_two('none'), GPU, 1, 2),
    'whole-shared': (0, of_two('none'), 1, GPU, of_two('none', shared(4)), GPU, 4, 8),
    'shared-partitioned': (2, of_two('none', shared(4)), 1, GPU, of_two('mixed'), LARGE, 2, 4),
    'fewer-replicas': (0, of_two('none', shared(4, rename=RENAME)), 1, f'{GPU}.shared', of_two('none', shared(2)), GPU, 3, 4),
    'more-replicas': (0, of_two('none', shared(2, rename=RENAME)), 1, f'{GPU}.shared', of_two('none', shared(4)), GPU, 6, 8),
}
# That a pod has ended is certain after some ten seconds: it is awaited in one case of each kind.
RELEASED = {'single-mixed', 'none-single', 'more-replicas'}


def told(cluster):
    return len([event for event in cluster.all('event') if event['reason'] == REASON])


@pytest.mark.parametrize('case', CASES)
def test_what_pods_hold_is_nobody_elses(mig, case):  # noqa: F811
    parts, first, count, held, second, offered, meanwhile, after = CASES[case]
    for gpu in range(2):
        if parts:
            partition(mig, gpu, *{7: ['1g.5gb'] * 7, 2: ['3g.20gb'] * 2}[parts])
    cluster = Cluster(mig)
    cluster.greet = {}
    mig.start_kubelet()
    agent = mig.start_agent(first, NODE_NAME='node')
    mig.run_pods(count, 'former', held)
    mig.configure(second)
    mig.wait_allocatable(meanwhile, offered)
    assert f'(held as {held}' in cluster.wait_event(REASON)['message']
    # Under one name, the kubelet counts what is held in another way as well.
    running = meanwhile if held == offered else count + meanwhile
    mig.apply(deployment('next', meanwhile + 1, {offered: 1}))
    mig.wait_for(f'pods={running}')
    if parts and offered != f'{LARGE}.shared':
        assert len(set(held_ids(mig.pods()))) == running
    agent.end()
    mig.start_agent(second, NODE_NAME='node')  # it knows from its log
    mig.wait_allocatable(meanwhile, offered)
    eventually(lambda: told(cluster) == 2, 'each agent tells it, once')
    if case in RELEASED:
        mig.kubelet('delete', 'former')
        mig.wait_allocatable(after, offered)
        mig.wait_for(f'pods={meanwhile + 1}')


def test_devices_of_another_plugins_name_are_known_without_a_log(mig):  # noqa: F811
    """Pods got MIG devices as GPUs from a plugin that is gone; ours offers them by their profiles."""
    for gpu in range(2):
        partition(mig, gpu, *['1g.5gb'] * 7)
    mig.start_kubelet()
    first = mig.start_agent(of_two('single'))
    mig.run_pods(3, 'former', GPU)
    first.end()
    for file in (mig.folder / 'grants').iterdir():
        if file.is_file():
            file.unlink()
    agent = mig.start_agent(of_two('mixed'))
    agent.wait_line(f'adopted devices.*resource={GPU}')
    mig.wait_allocatable(11, SMALL)


def test_an_allocate_of_what_is_held_is_refused_and_counted(mig):  # noqa: F811
    for gpu in range(2):
        partition(mig, gpu, *['1g.5gb'] * 7)
    address = f'127.0.0.1:{free_port()}'
    mig.start_kubelet()
    agent = mig.start_agent(of_two('single'), '--http-address', address)
    device, = held_ids(mig.run_pods(1, 'former', GPU))
    mig.configure(of_two('mixed'))
    mig.wait_allocatable(13, SMALL)
    request = pb.AllocateRequest(container_requests=[{'devices_ids': [device]}])
    with plugin(mig, SMALL) as stub, pytest.raises(grpc.RpcError) as refused:
        stub.Allocate(request, timeout=PATIENCE_S)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.details() == (
        f'{device} cannot be given to a container as {SMALL}: what was offered before the configuration changed is still held, as {GPU}')
    agent.wait_line(f'allocation rejected.*resource={SMALL}')
    metrics = http_get(address, '/metrics')[1].splitlines()
    for line in (f'gpuslice_lost_names_total{{resource="{SMALL}"}} 1', f'gpuslice_devices{{resource="{SMALL}",health="Elsewhere"}} 1',
                 f'gpuslice_devices{{resource="{SMALL}",health="Unhealthy"}} 0'):
        assert line in metrics, line
