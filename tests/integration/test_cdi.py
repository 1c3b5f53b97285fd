# SPDX-License-Identifier: Apache-2.0
"""CDI: what the agent writes and answers, read by the interface's own library as a runtime does."""
import json
import os
import signal
import stat
import subprocess

import pytest

from node import GUIDE, ROOT, Cluster, eventually, free_port, http_get, replicas

pytestmark = pytest.mark.timeout(1200)  # of the first, which builds those that read it

VENDOR = 'k8s.device-plugin.nvidia.com'
DRIVER = '550.163.01'  # the simulated machine's
LIBRARY_FOLDER = '/usr/lib/x86_64-linux-gnu'
LIBRARIES = {'today': [], 'older': ['-modfile=older.mod', '-tags', 'older']}
CONTROL = ['/dev/nvidiactl', '/dev/nvidia-uvm']
FEATURES = ['/dev/gdrdrv', '/dev/nvidia-fs0', '/dev/nvidia-fs1']
CHANNEL = '/dev/nvidia-caps-imex-channels/channel0'


@pytest.fixture(scope='module', params=LIBRARIES)
def runtime(request):
    """Loads a folder of specs and injects devices: {'devices': [names], 'spec': OCI spec}."""
    name, arguments = request.param, LIBRARIES[request.param]
    program = subprocess.check_output([ROOT / 'tools/go-program', 'tests/interop/cdi', f'interop/cdi-{name}',
                                       *arguments], text=True).strip()

    def inject(folder, *devices):
        done = subprocess.run([program, folder, *devices], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return inject


@pytest.fixture
def driver(node):
    """The root of an installed driver, as the agent sees it: libraries, tools, device nodes. On the host, where the
    runtime works, it lies elsewhere: see host_root. Injection needs the nodes."""
    root = node.folder / 'driver'
    host_root(root).symlink_to(root)
    for path in [f'{LIBRARY_FOLDER}/libcuda.so.{DRIVER}', '/usr/bin/nvidia-smi']:
        (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (root / path[1:]).touch()
    for minor, path in enumerate([f'/dev/nvidia{n}' for n in range(4)] + CONTROL + FEATURES + [CHANNEL]):
        make_node(root / path[1:], minor)
    return root


def host_root(root):
    return root.with_name('host-driver')


def roots(root):
    return '--nvidia-driver-root', host_root(root), '--container-driver-root', root


def make_node(path, minor):
    """A character device, or what a user without rights may make of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(195, minor))
    except PermissionError:
        os.mkfifo(path)


def start(node, root, *arguments, config=GUIDE):
    node.start_kubelet()
    agent = node.start_agent(config, *roots(root), *arguments)
    node.wait_allocatable(16)
    return agent


def names_of(container):
    """The CDI devices that the agent named to the kubelet for a container, in either way."""
    annotated = [name for key, value in container['annotations'].items()
                 if key.startswith('cdi.k8s.io/nvidia-device-plugin_') for name in value.split(',')]
    named = list(container['cdi_devices'])
    assert not annotated or not named or annotated == named
    return annotated or named


def paths(spec):
    return [device['path'] for device in spec['linux']['devices']]


@pytest.mark.parametrize('strategy', ['cdi-cri', 'cdi-annotations', 'cdi-cri,cdi-annotations'])
@pytest.mark.parametrize('id_strategy', ['uuid', 'index'])
def test_every_name_of_an_answer_can_be_injected(node, runtime, driver, strategy, id_strategy):
    start(node, driver, '--device-list-strategy', strategy, '--device-id-strategy', id_strategy)
    [pod] = node.run_pods(1, each=2)
    names = names_of(pod['containers'][0])
    assert len(names) == 2 and all(name.startswith(f'{VENDOR}/gpu=') for name in names)

    listed = runtime(node.cdi)['devices']
    assert len(listed) == 5 and f'{VENDOR}/gpu=all' in listed
    if id_strategy == 'index':
        assert listed[:4] == [f'{VENDOR}/gpu={n}' for n in range(4)]
    for name in [*names, *listed]:
        gpus = [path for path in paths(runtime(node.cdi, name)['spec']) if path[-1].isdigit()]
        assert len(gpus) == (4 if name.endswith('=all') else 1)

    spec = runtime(node.cdi, *names, *names)['spec']  # two resources may name one GPU
    assert len(spec['linux']['devices']) == len(CONTROL) + 2
    assert sorted(mount['destination'] for mount in spec['mounts']) == \
        ['/usr/bin/nvidia-smi', f'{LIBRARY_FOLDER}/libcuda.so.{DRIVER}']


def test_a_container_gets_its_gpu_and_the_driver(node, runtime, driver):
    start(node, driver, '--device-list-strategy', 'cdi-cri', '--device-id-strategy', 'index')
    spec = runtime(node.cdi, f'{VENDOR}/gpu=2')['spec']
    assert sorted(paths(spec)) == sorted([*CONTROL, '/dev/nvidia2'])
    for device in spec['linux']['devices']:
        assert device['major'] == os.major(os.stat(f"{driver}{device['path']}").st_rdev)
        assert device.get('minor', 0) == os.minor(os.stat(f"{driver}{device['path']}").st_rdev)
    assert spec['process']['env'] == ['NVIDIA_VISIBLE_DEVICES=void']
    for mount in spec['mounts']:
        assert mount['source'] == f"{host_root(driver)}{mount['destination']}"
    assert [' '.join(hook['args']) for hook in spec['hooks']['createContainer']] == [
        f'nvidia-ctk hook create-symlinks --link libcuda.so.1::{LIBRARY_FOLDER}/libcuda.so',
        f'nvidia-ctk hook enable-cuda-compat --host-driver-version={DRIVER}',
        f'nvidia-ctk hook update-ldcache --folder {LIBRARY_FOLDER}',
        'nvidia-ctk hook disable-device-node-modification']


def test_hooks_can_be_left_out(node, runtime, driver):
    start(node, driver, '--device-list-strategy', 'cdi-cri', '--cdi-disable-hooks',
          'enable-cuda-compat,disable-device-node-modification')
    spec = runtime(node.cdi, f'{VENDOR}/gpu=all')['spec']
    assert [hook['args'][2] for hook in spec['hooks']['createContainer']] == ['create-symlinks', 'update-ldcache']


def test_files_of_opencl_vulkan_and_sockets(node, runtime, driver):
    for path in ['/etc/OpenCL/vendors/nvidia.icd', '/usr/share/vulkan/icd.d/nvidia_icd.json',
                 '/run/nvidia-persistenced/socket']:
        (driver / path[1:]).parent.mkdir(parents=True)
        (driver / path[1:]).touch()
    start(node, driver, '--device-list-strategy', 'cdi-cri')
    mounts = {mount['destination']: mount for mount in runtime(node.cdi, f'{VENDOR}/gpu=all')['spec']['mounts']}
    assert mounts['/etc/OpenCL/vendors/nvidia.icd']['source'] == f'{host_root(driver)}/etc/OpenCL/vendors/nvidia.icd'
    assert mounts['/etc/vulkan/icd.d/nvidia_icd.json']['source'] == \
        f'{host_root(driver)}/usr/share/vulkan/icd.d/nvidia_icd.json'
    assert 'noexec' in mounts['/run/nvidia-persistenced/socket']['options']


def test_device_specs_are_found_in_our_view_and_named_as_on_the_host(node, driver):
    """Without CDI: the kubelet passes them on, and would lose a GPU whose control nodes it does not know."""
    start(node, driver, '--pass-device-specs', '--imex-channel-ids', '0')
    [pod] = node.run_pods(1)
    devices = {device['container_path']: device['host_path'] for device in pod['containers'][0]['device_nodes']}
    assert {*CONTROL, CHANNEL} < set(devices) and len(devices) == len(CONTROL) + 2
    assert all(host == f'{host_root(driver)}{path}' for path, host in devices.items())


def test_features_and_channels_have_their_devices(node, runtime, driver):
    """Also mofed, of which this node has nothing: the container starts without it."""
    start(node, driver, '--device-list-strategy', 'cdi-cri', '--gdrcopy-enabled', '--gds-enabled',
          '--mofed-enabled', '--imex-channel-ids', '0')
    [pod] = node.run_pods(1)
    names = names_of(pod['containers'][0])
    assert [name.partition('/')[2] for name in names[1:]] == \
        ['imex-channel=0', 'gdrcopy=all', 'gds=all', 'mofed=all']
    assert {*FEATURES, CHANNEL} < set(paths(runtime(node.cdi, *names)['spec']))


def test_specs_follow_the_configuration(node, runtime, driver):
    """A reload that asks for something else changes the specs; one that asks for none removes them."""
    agent = start(node, driver, config=replicas(4, 'flags: {plugin: {deviceListStrategy: cdi-cri}}'))
    assert len(runtime(node.cdi)['devices']) == 5
    mark = agent.mark()
    node.configure(replicas(8, 'flags: {gdrcopyEnabled: true, plugin: '
                               '{deviceListStrategy: cdi-cri, deviceIDStrategy: index}}'))
    agent.wait_line('configuration applied', mark)
    node.wait_allocatable(32)
    assert runtime(node.cdi)['devices'] == \
        [f'{VENDOR}/gdrcopy=all', *(f'{VENDOR}/gpu={name}' for name in [0, 1, 2, 3, 'all'])]
    mark = agent.mark()
    node.configure(replicas(8))
    agent.wait_line('configuration applied', mark)
    eventually(lambda: not list(node.cdi.iterdir()), 'no spec is left')


@pytest.mark.parametrize('withheld', [
    'gpuslice: {excludeDevices: [0]}\n', 'gpuslice: {excludeDevices: [0, 1, 2, 3]}\n',
    'sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}\n'])
def test_a_gpu_that_is_no_longer_offered_stays_for_its_pods(node, runtime, driver, withheld):
    """Excluded live, or without its MPS daemon: a container of a pod that holds it may restart, and is not allocated
    again."""
    flags = 'flags: {mpsRoot: %s, plugin: {deviceListStrategy: cdi-cri}}\n' % (node.folder / 'mps')
    agent = start(node, driver, config=replicas(4, flags))
    pods = node.run_pods(4, each=4)
    names = [name for pod in pods for name in names_of(pod['containers'][0])]
    before = names_in(node)
    mark = agent.mark()
    node.configure(flags + withheld if 'mps:' in withheld else replicas(4, flags + withheld))
    agent.wait_line('configuration applied', mark)
    node.wait_allocatable(12 if '[0]' in withheld else 0)
    assert names_in(node) == before
    runtime(node.cdi, *names)


# --- the specs outlive the agent, since containers restart without being allocated again ---

CDI = replicas(4, 'flags: {plugin: {deviceListStrategy: cdi-cri}}')
BY_INDEX = replicas(4, 'flags: {plugin: {deviceListStrategy: cdi-cri, deviceIDStrategy: index}}')


def start_agent(node, root, *arguments, config=CDI):
    return node.start_agent(config, *roots(root), *arguments)


def specs(node):
    return sorted(path.name for path in node.cdi.iterdir()) if node.cdi.exists() else []


def names_in(node):
    [spec] = [json.loads(path.read_text()) for path in node.cdi.iterdir()]
    return [device['name'] for device in spec['devices']]


def test_an_upgrade_leaves_no_gap(node, driver):
    agent = start(node, driver, config=CDI)
    before = specs(node)
    assert before and agent.end() == 0
    assert specs(node) == before
    agent = start_agent(node, driver)
    agent.wait_line('every resource is registered')
    agent.end(signal.SIGKILL)
    assert specs(node) == before


def test_an_older_agent_that_ends_leaves_the_specs_of_the_newer(node, driver):
    older = start(node, driver, config=CDI)
    newer = start_agent(node, driver)
    newer.wait_line('every resource is registered')
    older.wait_line('another agent serves')
    assert older.end() == 0
    assert specs(node) and newer.alive()


def test_who_takes_over_writes_its_own_specs(node, driver):
    """The newer agent has another configuration, and its specs with it, until it ends."""
    older = start(node, driver, config=CDI)
    uuids = names_in(node)
    (node.folder / 'second.yaml').write_text(BY_INDEX)
    newer = start_agent(node, driver, '--config-file', node.folder / 'second.yaml', config=None)
    newer.wait_line('every resource is registered')
    older.wait_line('another agent serves')
    assert names_in(node) == ['0', '1', '2', '3', 'all']
    # Who stands by leaves them alone, whatever happens to it.
    mark = older.mark()
    node.configure(CDI + '# another content\n')
    older.wait_line('configuration applied', mark)
    assert names_in(node) == ['0', '1', '2', '3', 'all']
    assert newer.end() == 0
    older.wait_line('every resource is registered', mark)
    assert names_in(node) == uuids


def test_beside_another_plugin_there_are_no_specs_of_ours(node, driver):
    """They would name the same devices as its own, and a runtime refuses what is named twice."""
    node.start_kubelet()
    peer = node.start_peer()
    agent = start_agent(node, driver)
    agent.wait_line('device plugin serves')
    assert not specs(node)
    peer.end()
    agent.wait_line('every resource is registered')
    assert specs(node)


@pytest.mark.parametrize('farewell', ['', '{"kind":"uninstall"}\n'])
def test_an_uninstall_removes_them(node, driver, farewell):
    cluster = Cluster(node)
    cluster.greet, cluster.farewell = {}, farewell
    address = f'127.0.0.1:{free_port()}'
    agent = start(node, driver, '--node-name=gpu-1', '--http-address', address, config=CDI)
    agent.wait_line('listening for HTTP')
    eventually(lambda: 'gpuslice_cluster_connected 1\n' in http_get(address, '/metrics')[1], 'the agent hears the cluster')
    assert specs(node)
    assert agent.end() == 0
    assert bool(specs(node)) == (not farewell)


def test_hooks_that_the_host_does_not_have(node, driver):
    """An nvidia-ctk of a container toolkit before 1.17.5 ends with status 3 on them, and no container would start."""
    (driver / 'usr/bin/nvidia-ctk').write_bytes(b'\x7fELF\0create-symlinks\0update-ldcache\0')
    agent = start(node, driver, '--device-list-strategy=cdi-cri', '--nvidia-cdi-hook-path', host_root(driver) / 'usr/bin/nvidia-ctk')
    agent.wait_line('too old for the CDI hooks enable-cuda-compat, disable-device-node-modification')
    hooks = json.loads((node.cdi / f'gpuslice-{VENDOR}-gpu.json').read_text())['containerEdits']['hooks']
    assert {hook['args'][2] for hook in hooks} == {'create-symlinks', 'update-ldcache'}
