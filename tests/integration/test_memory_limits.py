# SPDX-License-Identifier: Apache-2.0
"""Memory limits, the agent's part: what a container gets, when slices are Healthy, what it reports. The test is the arbiter."""
import contextlib
import json
import shutil
import signal
import stat
import sys
from pathlib import Path

import grpc
import pytest

from node import GUIDE, PATIENCE_S, ROOT, Cluster, eventually, held_ids, replicas
from played_arbiter import EVENT, USABLE, Arbiter, install_library, lines

sys.path.insert(0, str(ROOT / 'proto'))
pb, services = grpc.protos_and_services('deviceplugin/v1beta1/api.proto')

GRANT = 'gpuslice.dev/grant.'
WHOLE = 'version: v1\n'
OBSERVE = GUIDE + 'gpuslice: {memory: observe}\n'
SIZES = '''
version: v1
gpuslice:
  slices:
  - {name: half, share: 50%}
  - {name: eighth, share: 12.5%, count: 4}
'''


@pytest.fixture
def cluster(node):
    return Cluster(node)


@contextlib.contextmanager
def plugin(node, resource='gpu'):
    with grpc.insecure_channel(f'unix:{node.plugins}/gpuslice-{resource}.sock') as channel:
        yield services.DevicePluginStub(channel)


def grants_of(node):
    return node.folder / 'grants'


def limited(node):
    return '--arbiter-dir', node.folder / 'arbiter'


def start_alone(node, config, *arguments):
    """An agent that registers with nobody: the test is its kubelet."""
    node.plugins.mkdir(parents=True, exist_ok=True)
    agent = node.start_agent(config, '--kubelet-socket', '', '--device-plugin-dir', node.plugins,
                             '--pod-resources-socket', '', *arguments)
    agent.wait_line('resource offered')
    return agent


def allocate(stub, *ids):
    request = pb.AllocateRequest(container_requests=[{'devices_ids': ids}])
    return stub.Allocate(request, timeout=PATIENCE_S).container_responses[0]


def health_of(stub):
    """The first list of a new watch."""
    watch = stub.ListAndWatch(pb.Empty(), timeout=PATIENCE_S)
    devices = next(watch).devices
    watch.cancel()
    return {device.ID: device.health for device in devices}


def wants_pre_start(stub):
    return stub.GetDevicePluginOptions(pb.Empty(), timeout=PATIENCE_S).pre_start_required


def without_grant(answer):
    """Its bytes: the grant's id is another one each time."""
    for key in [key for key in answer.annotations if key.startswith(GRANT)]:
        answer.annotations[key] = ''
    return answer.SerializeToString(deterministic=True)


def mounts_of(answer):
    return {mount.container_path: (mount.host_path, mount.read_only) for mount in answer.mounts}


# --- the answer ---

def answers(node, config, ids, *arguments):
    agent = start_alone(node, config, *arguments)
    with plugin(node) as stub:
        seen = [without_grant(allocate(stub, one)) for one in ids], wants_pre_start(stub)
    agent.end()
    return seen


def test_whole_gpus_are_answered_as_without_limits(node):
    """Byte by byte, beside an arbiter that could enforce."""
    install_library(grants_of(node))
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    ids = [one.split('::')[0] for one in node.slices(1)]
    before = answers(node, WHOLE, ids)
    assert answers(node, WHOLE, ids, *limited(node)) == before
    assert not before[1]
    assert not list(grants_of(node).glob('grants/*'))
    assert arbiter.n_hellos


def test_slices_are_answered_as_before_without_the_option(node):
    install_library(grants_of(node))
    agent = start_alone(node, GUIDE)
    with plugin(node) as stub:
        answer = allocate(stub, node.slices()[0])
        assert not answer.mounts and not wants_pre_start(stub)
        assert list(answer.annotations) == [f'{GRANT}nvidia.com.gpu']
    assert not (grants_of(node) / 'grants').exists()
    assert agent.count('arbiter') == 0


def test_a_slice_comes_with_its_limit(node):
    install_library(grants_of(node))
    Arbiter(node.folder / 'arbiter', USABLE)
    start_alone(node, GUIDE, *limited(node))
    uuid = node.slices()[0].split('::')[0]
    memory = {piece['id']: piece['memory_bytes'] for gpu in json.loads(node.run('gpuslice', 'plan', node.config, '--machine', 'p3.8xlarge',
                                                                                '-o', 'json').stdout)['gpus'] for piece in gpu['slices']}
    with plugin(node) as stub:
        assert wants_pre_start(stub)
        answer = allocate(stub, f'{uuid}::0', f'{uuid}::1')
    grant = answer.annotations[f'{GRANT}nvidia.com.gpu']
    folder = grants_of(node) / 'grants' / grant
    assert mounts_of(answer) == {
        '/opt/gpuslice/nvidia.com.gpu': (str(folder), True),
        '/opt/gpuslice/lib': (str(grants_of(node) / 'lib/1.0'), True),
        '/etc/ld.so.preload': (str(grants_of(node) / 'lib/1.0/ld.so.preload'), True)}
    # It is there as soon as the answer is, for any user.
    assert (folder / 'limits').read_text() == f'mode enforced\n{uuid} {memory[f"{uuid}::0"] + memory[f"{uuid}::1"]}\n'
    assert stat.S_IMODE((folder / 'limits').stat().st_mode) == 0o644
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_two_resources_of_a_container_share_the_library(node):
    """The kubelet takes the first mount of each path in the container."""
    install_library(grants_of(node))
    Arbiter(node.folder / 'arbiter', USABLE)
    agent = start_alone(node, SIZES, *limited(node))
    agent.wait_line('resource offered.*gpu-half')
    found = []
    for resource in ('half', 'eighth'):
        with plugin(node, f'gpu-{resource}') as stub:
            found.append(mounts_of(allocate(stub, next(iter(health_of(stub))))))
    assert found[0].keys() & found[1].keys() == {'/opt/gpuslice/lib', '/etc/ld.so.preload'}
    assert all(found[0][path] == found[1][path] for path in found[0].keys() & found[1].keys())
    assert {path for one in found for path in one} >= {'/opt/gpuslice/nvidia.com.gpu-half', '/opt/gpuslice/nvidia.com.gpu-eighth'}


def test_without_a_library_a_container_runs_unlimited_and_that_is_logged(node):
    """A refusal would leave a dead pod behind, and the mount of a file that is missing an empty directory."""
    agent = start_alone(node, OBSERVE, *limited(node))
    with plugin(node) as stub:
        assert not allocate(stub, node.slices()[0]).mounts
    agent.wait_line('a container gets slices without a memory limit')


def test_limits_without_a_record_are_refused(node):
    node.plugins.mkdir(parents=True)
    agent = node.start_agent(GUIDE, '--kubelet-socket', '', '--grant-dir', '', *limited(node))
    agent.wait_line('--arbiter-dir needs --grant-dir')
    assert agent.wait() == 1


def test_a_directory_that_was_lost_is_there_when_the_container_starts_again(node):
    install_library(grants_of(node))
    Arbiter(node.folder / 'arbiter', USABLE)
    start_alone(node, GUIDE, *limited(node))
    ids = [node.slices()[0]]
    with plugin(node) as stub:
        grant = allocate(stub, *ids).annotations[f'{GRANT}nvidia.com.gpu']
        shutil.rmtree(grants_of(node) / 'grants')
        stub.PreStartContainer(pb.PreStartContainerRequest(devices_ids=ids), timeout=PATIENCE_S)
    assert (grants_of(node) / 'grants' / grant / 'limits').exists()


# --- the order at the start, and afterwards ---

def wait_health(node, **counts):
    for state, count in counts.items():
        assert state == 'healthy'
        node.wait_allocatable(count)


def test_slices_of_a_fresh_node_wait_for_arbiter_and_library(node, cluster):
    node.start_kubelet()
    cluster.greet = {}
    node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    state = cluster.wait_condition('MemoryLimitsNotEnforced')
    assert not state['ready'] and 'gpuslice-arbiter is not connected' in state['message']
    node.wait_allocatable(0)
    arbiter = Arbiter(node.folder / 'arbiter', lines(version='1.0', trouble='the disk is full'))
    arbiter.wait_mode('enforced')
    cluster.wait('state', lambda state: 'the disk is full' in state['message'])
    node.wait_allocatable(0)
    install_library(grants_of(node))
    arbiter.tell(USABLE)
    node.wait_allocatable(16)
    state = cluster.wait_condition('AllResourcesRegistered')
    assert state['message'] == ('1 resource is registered with the kubelet; memory limits are enforced; '
                                'never verified on volta with driver 550 (gpuslice verify)')
    cluster.wait_event('MemoryLimitsEnforced')


def test_an_arbiter_that_is_there_before_its_library(node, cluster):
    arbiter = Arbiter(node.folder / 'arbiter', lines(version='1.0', trouble='the disk is full'))
    node.start_kubelet()
    cluster.greet = {}
    node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    cluster.wait_event('MemoryLimitsNotEnforced')
    node.wait_allocatable(0)
    install_library(grants_of(node))
    arbiter.tell(USABLE)
    node.wait_allocatable(16)


def test_an_agent_that_starts_again_changes_nothing(node, cluster):
    install_library(grants_of(node))
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    node.start_kubelet()
    cluster.greet = {}
    agent = node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    node.wait_allocatable(16)
    held = held_ids(node.run_pods(3))
    files = {path: path.read_text() for path in grants_of(node).glob('grants/*/limits')}
    assert len(files) == 3
    arbiter.end()
    agent.end(signal.SIGKILL)
    since = cluster.mark()
    node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    with plugin(node) as stub:
        eventually(lambda: set(health_of_or_none(stub).values()) == {'Healthy'}, 'every slice is Healthy')
    cluster.wait_condition('AllResourcesRegistered', since=since)
    assert {path: path.read_text() for path in grants_of(node).glob('grants/*/limits')} == files
    assert held_ids(node.pods()) == held
    Arbiter(node.folder / 'arbiter', USABLE).wait_mode('enforced')


def health_of_or_none(stub):
    try:
        return health_of(stub)
    except grpc.RpcError:
        return {}


@pytest.mark.waits
def test_without_its_arbiter_a_node_offers_no_more_and_pods_keep_what_they_have(node, cluster):
    install_library(grants_of(node))
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    node.start_kubelet()
    cluster.greet = {}
    agent = node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    node.wait_allocatable(16)
    held = held_ids(node.run_pods(3))
    # One that comes back is not noticed.
    since = agent.mark()
    arbiter.end()
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    arbiter.wait_mode('enforced')
    assert not agent.count('Unhealthy', since)
    arbiter.end()
    node.wait_allocatable(3)
    with plugin(node) as stub:
        assert sorted(one for one, health in health_of(stub).items() if health == 'Healthy') == held
        # The scheduler may have been quicker: no pod dies of it.
        assert mounts_of(allocate(stub, next(one for one in node.slices() if one not in held)))
    assert all(pod['phase'] == 'Running' for pod in node.pods())
    event = cluster.wait_event('MemoryLimitsNotEnforced')
    assert event['warning'] and 'gpuslice-arbiter is not connected' in event['message']
    Arbiter(node.folder / 'arbiter', USABLE)
    node.wait_allocatable(16)


def test_an_arbiter_of_an_earlier_release_enforces_nothing(node, cluster):
    arbiter = Arbiter(node.folder / 'arbiter', serves=False)
    node.start_kubelet()
    cluster.greet = {}
    node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    arbiter.wait(lambda arbiter: arbiter.n_hellos > 1)
    cluster.wait_condition('MemoryLimitsNotEnforced')
    node.wait_allocatable(0)
    node.configure(OBSERVE)
    node.wait_allocatable(16)


# --- the mode ---

def modes_of(node):
    return {path.read_text().splitlines()[0] for path in grants_of(node).glob('grants/*/limits')}


def test_the_mode_is_live(node, cluster):
    install_library(grants_of(node))
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    node.start_kubelet()
    cluster.greet = {}
    node.start_agent(OBSERVE, '--node-name=gpu-1', *limited(node))
    arbiter.wait_mode('observe')
    node.wait_allocatable(16)
    node.run_pods(2)
    assert modes_of(node) == {'mode observe'}
    for mode, said in (('enforced', 'memory limits are enforced'), ('none', 'gpuslice.memory: none'), ('observe', 'observed, not enforced')):
        node.configure(GUIDE + f'gpuslice: {{memory: {mode}}}\n')
        arbiter.wait_mode(mode)
        eventually(lambda mode=mode: modes_of(node) == {f'mode {mode}'}, f'{mode} is in the files')
        cluster.wait('state', lambda state, said=said: said in state['message'])
    assert len(held_ids(node.pods())) == 2


@pytest.mark.parametrize('way', [('--default-memory', 'observe'), {'GPUSLICE_DEFAULT_MEMORY': 'observe'}], ids=['flag', 'variable'])
def test_a_default_that_the_configuration_outranks(node, way):
    install_library(grants_of(node))
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    node.start_kubelet()
    arguments, environment = (way, {}) if isinstance(way, tuple) else ((), way)
    node.start_agent(GUIDE, *arguments, GPUSLICE_ARBITER_DIR=str(node.folder / 'arbiter'), **environment)
    arbiter.wait_mode('observe')
    node.configure(GUIDE + 'gpuslice: {memory: enforced}\n')
    arbiter.wait_mode('enforced')


@pytest.mark.parametrize('way', [('--default-compute', 'strict'), {'GPUSLICE_DEFAULT_COMPUTE': 'strict'}], ids=['flag', 'variable'])
def test_turns_by_default_that_the_configuration_outranks(node, way):
    install_library(grants_of(node))
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    node.start_kubelet()
    arguments, environment = (way, {}) if isinstance(way, tuple) else ((), way)
    node.start_agent(GUIDE, *arguments, GPUSLICE_ARBITER_DIR=str(node.folder / 'arbiter'), **environment)
    for config, compute in ((GUIDE, 'strict'), (GUIDE + 'gpuslice: {compute: none}\n', 'none'), (GUIDE + 'gpuslice: {compute: elastic}\n', 'elastic'),
                            (GUIDE, 'strict')):
        node.configure(config)
        arbiter.wait(lambda arbiter, compute=compute: arbiter.wishes and arbiter.wishes[-1]['compute'] == compute)


def test_a_mode_without_an_arbiter_is_reported(node, cluster):
    cluster.greet = {}
    node.start_kubelet()
    agent = node.start_agent(GUIDE + 'gpuslice: {memory: enforced}\n', '--node-name=gpu-1')
    agent.wait_line('gpuslice.memory asks for limits, and nobody serves them here')
    cluster.wait_event('MemoryLimitsNotEnforced')
    node.wait_allocatable(16)


def test_overcommitted_memory_is_only_offered_when_asked_for(node, cluster):
    install_library(grants_of(node))
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    config = 'version: v1\ngpuslice:\n  slices: [{name: big, share: 25%, memory: 10Gi, count: 4}]\n'
    node.start_kubelet()
    cluster.greet = {}
    agent = node.start_agent(config, '--node-name=gpu-1', *limited(node))
    node.wait_allocatable(4, 'nvidia.com/gpu-big')
    assert arbiter.wishes[-1]['overcommits'] == 'false'
    node.configure(config + '  overcommit: true\n')
    node.wait_allocatable(16, 'nvidia.com/gpu-big')
    agent.wait_line('gpuslice.overcommit: the memory limits of the slices of GPU 0 add up to 40960 MiB')
    arbiter.wait(lambda arbiter: arbiter.wishes[-1]['overcommits'] == 'true')
    cluster.wait('state', lambda state: '(gpuslice.overcommit)' in state['message'])


# --- what happens to pods ---

def test_a_pod_hears_of_its_limit(node, cluster):
    install_library(grants_of(node))
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    node.start_kubelet()
    cluster.greet = {}
    node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    node.wait_allocatable(16)
    arbiter.say(EVENT, lines(reason='MemoryLimitReached', namespace='team', pod='train-0', container='main',
                             message='3 allocations of container main were denied: its slices of GPU-1 have 4096 MiB'))
    event = cluster.wait_event('MemoryLimitReached')
    assert event['warning'] and event['ofPods']  # the Node gets none
    assert event['pods'] == [{'namespace': 'team', 'name': 'train-0'}]
    assert event['message'].startswith('3 allocations of container main were denied')


def test_pods_from_before_are_named(node, cluster):
    install_library(grants_of(node))
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    node.start_kubelet()
    cluster.greet = {}
    node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    cluster.wait_condition('AllResourcesRegistered')
    arbiter.tell(USABLE + 'container-is\n' + lines(unenforced='true', namespace='team', pod='old', container='main'))
    cluster.wait('state', lambda state: 'without a limit, from before there was one: team/old/main' in state['message'])
    arbiter.tell(USABLE + lines(off='true'))
    cluster.wait('state', lambda state: 'switched off on this node' in state['message'])


def test_an_uninstall_releases_running_pods(node, cluster):
    install_library(grants_of(node))
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    node.start_kubelet()
    cluster.greet = {}
    cluster.farewell = '{"kind": "uninstall"}\n'
    agent = node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    node.wait_allocatable(16)
    node.run_pods(2)
    cluster.tell()
    assert agent.end() == 0
    arbiter.wait_mode('none')
    assert modes_of(node) == {'mode none'}  # their files and mounts stay


def test_an_agent_that_ends_leaves_limits_as_they_are(node, cluster):
    install_library(grants_of(node))
    arbiter = Arbiter(node.folder / 'arbiter', USABLE)
    node.start_kubelet()
    cluster.greet = {}
    agent = node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    node.wait_allocatable(16)
    node.run_pods(2)
    assert agent.end() == 0
    assert arbiter.wishes[-1]['mode'] == 'enforced'
    assert modes_of(node) == {'mode enforced'}


def test_agent_and_arbiter_together(node, cluster):
    """The real one: it installs the library, makes a socket in each grant's directory, keeps the mode, and may be replaced."""
    library = node.folder / 'libgpuslice.so'
    library.write_bytes(b'\x7fELF of this release')
    node.start_kubelet()
    cluster.greet = {}

    def start_arbiter():
        return node.start('gpuslice-arbiter', '--limits=observe', '--library', library, '--state-dir', node.folder / 'noted', '--arbiter-dir',
                          node.folder / 'arbiter', GPUSLICE_GRANT_DIR=str(grants_of(node)), GPUSLICE_DEVICE_PLUGIN_DIR=str(node.plugins))

    agent = node.start_agent(GUIDE, '--node-name=gpu-1', *limited(node))
    cluster.wait_condition('MemoryLimitsNotEnforced')
    node.wait_allocatable(0)
    arbiter = start_arbiter()
    node.wait_allocatable(16)
    cluster.wait('state', lambda state: state['message'].endswith('memory limits are enforced; never verified on volta with driver 550 (gpuslice verify)'))
    held = held_ids(node.run_pods(2))
    eventually(lambda: len(list(grants_of(node).glob('grants/*/arbiter.sock'))) == 2, 'each grant has a socket')
    with plugin(node) as stub:
        mounts = mounts_of(allocate(stub, next(one for one in node.slices() if one not in held)))
    assert {Path(host).name for host, _ in mounts.values()} >= {'ld.so.preload'}
    assert Path(mounts['/opt/gpuslice/lib'][0], 'libgpuslice.so').read_bytes() == library.read_bytes()
    since, said = agent.mark(), cluster.mark()
    arbiter.end(signal.SIGKILL)
    start_arbiter()
    agent.wait_line('gpuslice-arbiter is connected', since)
    assert not agent.count('Unhealthy', since)
    node.configure(OBSERVE)
    cluster.wait('state', lambda state: 'observed, not enforced' in state['message'], since=said)
    eventually(lambda: 'observe' in (grants_of(node) / 'memory-mode').read_text(), 'the arbiter keeps the mode')
    assert held_ids(node.pods()) == held


def test_a_resource_that_becomes_shared_registers_again(node):
    """The kubelet knows from Register alone whether to call before starts of containers."""
    install_library(grants_of(node))
    Arbiter(node.folder / 'arbiter', USABLE)
    node.start_kubelet()
    agent = node.start_agent(WHOLE, *limited(node))
    node.wait_allocatable(4)
    since = agent.mark()
    node.configure(replicas(4))
    agent.wait_line('registered with the kubelet', since)
    node.wait_allocatable(16)
    with plugin(node) as stub:
        assert wants_pre_start(stub)
    node.run_pods(1)
