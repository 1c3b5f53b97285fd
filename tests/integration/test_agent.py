# SPDX-License-Identifier: Apache-2.0
"""The agent between a simulated machine and the kubelet stand-in: what a user of the node sees."""
import json
import os
import shutil
import signal

import pytest

from node import GUIDE, ROOT, deployment, eventually, free_port, held_ids, http_get, replicas

EXAMPLES = ROOT / 'deploy/examples'


# --- the main job ---

def test_guide_from_its_own_files(node):
    """The guide's ConfigMap and Deployment, unchanged: 16 slices, 8 pods, 2 on each of 4 GPUs."""
    node.start_kubelet()
    node.start_agent(None, '--config-file', EXAMPLES / 'time-slicing-configmap.yaml')
    node.wait_allocatable(16)
    node.kubelet('apply', '-f', EXAMPLES / 'tensorflow-deployment.yaml')
    node.wait_for('pods=8')
    pods = node.pods()
    assert [pod['phase'] for pod in pods] == ['Running'] * 8
    ids = held_ids(pods)
    assert len(set(ids)) == 8
    per_gpu = {}
    for one in ids:
        uuid = one.split('::')[0]
        per_gpu[uuid] = per_gpu.get(uuid, 0) + 1
    assert sorted(per_gpu.values()) == [2, 2, 2, 2]
    for pod in pods:
        container = pod['containers'][0]
        [held] = container['devices']['nvidia.com/gpu']
        assert container['env']['NVIDIA_VISIBLE_DEVICES'] == held.split('::')[0]


def test_sixteen_fit_and_the_seventeenth_waits(node):
    node.start_kubelet()
    node.start_agent()
    node.wait_allocatable(16)
    node.run_pods(16)
    node.kubelet('scale', 'demo', '17')
    phases = sorted(pod['phase'] for pod in node.pods())
    assert phases == ['Pending'] + ['Running'] * 16
    [waiting] = [pod for pod in node.pods() if pod['phase'] == 'Pending']
    assert 'Insufficient nvidia.com/gpu' in waiting['message']
    node.kubelet('scale', 'demo', '4')
    node.wait_for('pods=4')
    node.kubelet('scale', 'demo', '16')
    node.wait_for('pods=16')
    assert len(set(held_ids(node.pods()))) == 16


def test_a_container_with_two_slices_gets_two_gpus(node):
    node.start_kubelet()
    node.start_agent()
    node.wait_allocatable(16)
    [pod] = node.run_pods(1, each=2)
    assert len({one.split('::')[0] for one in held_ids([pod])}) == 2
    visible = pod['containers'][0]['env']['NVIDIA_VISIBLE_DEVICES'].split(',')
    assert sorted(visible) == sorted({one.split('::')[0] for one in held_ids([pod])})


def test_whole_gpus_keep_their_bare_uuid(node):
    node.machine('p3.16xlarge').start_kubelet()
    node.start_agent('version: v1')
    node.wait_allocatable(8)
    [pod] = node.run_pods(1, each=2)
    assert all('::' not in one for one in held_ids([pod]))


def test_fail_requests_greater_than_one(node):
    node.start_kubelet()
    node.start_agent(GUIDE.replace('timeSlicing:', 'timeSlicing:\n    failRequestsGreaterThanOne: true'))
    node.wait_allocatable(16)
    node.apply(json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'two'},
                           'spec': {'restartPolicy': 'Never', 'containers': [
                               {'name': 'main', 'image': 'none',
                                'resources': {'limits': {'nvidia.com/gpu': 2}}}]}}))
    node.wait_for('settled=1')
    [pod] = node.pods()
    assert pod['phase'] == 'Failed' and pod['reason'] == 'UnexpectedAdmissionError'
    assert 'failRequestsGreaterThanOne' in pod['message']


def test_two_resources_in_one_container(node):
    config = '''
version: v1
sharing:
  timeSlicing:
    resources:
    - {name: nvidia.com/gpu, rename: nvidia.com/gpu-small, replicas: 4, devices: [0, 1]}
    - {name: nvidia.com/gpu, rename: nvidia.com/gpu-big, replicas: 2, devices: [2, 3]}
'''
    node.start_kubelet()
    node.start_agent(config)
    node.wait_allocatable(8, 'nvidia.com/gpu-small')
    node.wait_allocatable(4, 'nvidia.com/gpu-big')
    node.apply(json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'both'},
                           'spec': {'containers': [
                               {'name': 'main', 'image': 'none',
                                'resources': {'limits': {'nvidia.com/gpu-small': 1,
                                                         'nvidia.com/gpu-big': 1}}}]}}))
    node.wait_for('pods=1')
    [pod] = node.pods()
    assert sorted(pod['containers'][0]['devices']) == ['nvidia.com/gpu-big', 'nvidia.com/gpu-small']


# --- the kubelet comes and goes ---

def test_kubelet_absent_at_start(node):
    agent = node.start_agent()
    agent.wait_line('resource offered')
    assert agent.count('registered with the kubelet') == 0
    node.start_kubelet()
    agent.wait_line('registered with the kubelet')
    node.wait_allocatable(16)


def test_kubelet_restart_keeps_the_pods(node):
    kubelet = node.start_kubelet('--keep-pods')
    agent = node.start_agent()
    node.wait_allocatable(16)
    before = held_ids(node.run_pods(8))
    mark = agent.mark()
    kubelet.end()
    node.start_kubelet('--keep-pods')
    agent.wait_line('registered with the kubelet', mark)
    node.wait_allocatable(16)
    assert held_ids(node.pods()) == before
    node.kubelet('delete', 'demo')


def test_kubelet_killed_and_started(node):
    kubelet = node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    mark = agent.mark()
    kubelet.end(signal.SIGKILL)
    node.start_kubelet()
    agent.wait_line('registered with the kubelet', mark)
    node.wait_allocatable(16)


def test_deleted_plugin_folder(node):
    kubelet = node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    kubelet.end()
    os.rename(node.plugins, node.folder / 'deleted')
    shutil.rmtree(node.folder / 'deleted')
    mark = agent.mark()
    node.start_kubelet()
    agent.wait_line('registered with the kubelet', mark)
    node.wait_allocatable(16)


def test_our_own_socket_deleted(node):
    node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    mark = agent.mark()
    (node.plugins / 'gpuslice-gpu.sock').unlink()
    agent.wait_line('registered with the kubelet', mark)
    assert (node.plugins / 'gpuslice-gpu.sock').is_socket()
    node.wait_allocatable(16)


def test_kubelet_restarts_under_load(node):
    """Pods come and go while the kubelet is killed again and again: nothing is held twice."""
    kubelet = node.start_kubelet('--keep-pods')
    agent = node.start_agent()
    node.wait_allocatable(16)
    node.run_pods(8)
    for count in (3, 12, 6):
        node.kubelet('scale', 'demo', str(count))
        mark = agent.mark()
        kubelet.end(signal.SIGKILL)
        kubelet = node.start_kubelet('--keep-pods')
        agent.wait_line('registered with the kubelet', mark)
        node.wait_allocatable(16)
        node.wait_for(f'pods={count}')
        node.wait_for('settled=1')  # one that is ending has its slice still
        ids = held_ids(node.pods())
        assert len(ids) == len(set(ids)) == count
    node.kubelet('delete', 'demo')


# --- the configuration changes ---

def test_reload_of_a_rewritten_file(node):
    node.start_kubelet()
    node.start_agent(replicas(4))
    node.wait_allocatable(16)
    before = held_ids(node.run_pods(4))
    node.config.write_text(replicas(8))
    node.wait_allocatable(32)
    assert held_ids(node.pods()) == before
    node.config.write_text(replicas(4))
    node.wait_allocatable(16)
    assert held_ids(node.pods()) == before


def test_reload_of_a_configmap_volume(node):
    """A ConfigMap volume: key -> ..data/key, ..data -> a folder; an update swaps ..data."""
    volume = node.folder / 'available-configs'

    def publish(name, text):
        (volume / name).mkdir(parents=True)
        (volume / name / 'any').write_text(text)
        (volume / '..data_tmp').symlink_to(name)
        os.replace(volume / '..data_tmp', volume / '..data')

    publish('..2026_01', replicas(4))
    (volume / 'any').symlink_to('..data/any')
    node.start_kubelet()
    node.start_agent(None, '--config-file', volume / 'any')
    node.wait_allocatable(16)
    publish('..2026_02', replicas(2))
    shutil.rmtree(volume / '..2026_01')
    node.wait_allocatable(8)
    publish('..2026_03', replicas(3))
    node.wait_allocatable(12)


def test_reload_on_sighup(node):
    node.start_kubelet()
    agent = node.start_agent(replicas(4))
    node.wait_allocatable(16)
    mark = agent.mark()
    agent.send(signal.SIGHUP)
    agent.wait_line('configuration applied', mark)
    node.wait_allocatable(16)


def test_a_bad_file_keeps_the_old_plan_and_says_where(node):
    port = free_port()
    node.start_kubelet()
    agent = node.start_agent(replicas(4), '--http-address', f'127.0.0.1:{port}')
    agent.wait_line('listening for HTTP')
    node.wait_allocatable(16)
    mark = agent.mark()
    node.configure(replicas('four'))
    agent.wait_line(r'config\.yaml:7:\d+: sharing\.timeSlicing\.resources\[0\]\.replicas', mark)
    agent.wait_line('is rejected', mark)
    assert node.node()['allocatable']['nvidia.com/gpu'] == 16
    assert 'gpuslice_config_refused 1' in http_get(f'127.0.0.1:{port}', '/metrics')[1]
    node.configure(replicas(2))
    node.wait_allocatable(8)
    assert 'gpuslice_config_refused 0' in http_get(f'127.0.0.1:{port}', '/metrics')[1]


def test_a_renamed_resource_is_withdrawn(node):
    node.start_kubelet()
    agent = node.start_agent(replicas(4))
    node.wait_allocatable(16)
    node.configure(replicas(4, rename='nvidia.com/gpu.shared'))
    node.wait_allocatable(16, 'nvidia.com/gpu.shared')
    node.wait_allocatable(0)
    agent.wait_line('resource withdrawn')
    eventually(lambda: not (node.plugins / 'gpuslice-gpu.sock').exists(), 'its socket is removed')


def test_only_what_changed_is_sent_again(node):
    config = '''
version: v1
sharing:
  timeSlicing:
    resources:
    - {name: nvidia.com/gpu, rename: nvidia.com/gpu-a, replicas: 2, devices: [0]}
    - {name: nvidia.com/gpu, rename: nvidia.com/gpu-b, replicas: %d, devices: [1]}
'''
    port = free_port()
    node.start_kubelet()
    agent = node.start_agent(config % 2, '--http-address', f'127.0.0.1:{port}')
    agent.wait_line('listening for HTTP')
    node.wait_allocatable(2, 'nvidia.com/gpu-a')
    node.wait_allocatable(2, 'nvidia.com/gpu-b')
    before = lists_sent(port)
    node.configure(config % 5)
    node.wait_allocatable(5, 'nvidia.com/gpu-b')
    after = lists_sent(port)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {'nvidia.com/gpu-b'}


def lists_sent(port):
    table = {}
    for line in http_get(f'127.0.0.1:{port}', '/metrics')[1].splitlines():
        if line.startswith('gpuslice_device_lists_total{'):
            table[line.split('"')[1]] = float(line.split()[-1])
    return table


def test_config_swaps_under_load(node):
    """Pods are created while the file flips between 4 and 8 replicas: no admission fails."""
    node.start_kubelet()
    node.start_agent(replicas(4))
    node.wait_allocatable(16)
    for turn in range(6):
        node.configure(replicas(8 if turn % 2 == 0 else 4))
        node.kubelet('apply', '-f', write_deployment(node, f'load-{turn}', 2))
    node.wait_allocatable(16)
    node.wait_for('pods=12')
    pods = node.pods()
    assert {pod['phase'] for pod in pods} == {'Running'}
    assert len(set(held_ids(pods))) == 12


def write_deployment(node, name, count):
    path = node.folder / f'{name}.json'
    path.write_text(deployment(name, count, {'nvidia.com/gpu': 1}))
    return path


# --- health ---

def gpu_uuids(node):
    plan = json.loads(node.run('gpuslice', 'plan', '--config', node.config, '--machine',
                               node.environment['GPUSLICE_MACHINE'], '-o', 'json').stdout)
    return [gpu['uuid'] for gpu in plan['gpus']]


@pytest.mark.parametrize('xid', [48, 79, 95, 119])
def test_xid_that_needs_a_reset(node, xid):
    """Every slice of the GPU goes, stays away, and comes back after a reset, without a restart."""
    node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    before = held_ids(node.run_pods(8))
    agent.wait_line('driver is available')
    node.sim('inject', 'xid', '1', str(xid))
    agent.wait_line('GPU is Unhealthy')
    node.wait_allocatable(12)
    assert node.node()['capacity']['nvidia.com/gpu'] == 16
    assert held_ids(node.pods()) == before
    node.sim('inject', 'reset', '1')
    node.wait_allocatable(16)


def test_xid_of_an_application_changes_nothing(node):
    port = free_port()
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--http-address', f'127.0.0.1:{port}')
    agent.wait_line('listening for HTTP')
    node.wait_allocatable(16)
    for xid in (13, 31, 43, 45, 68, 109):
        node.sim('inject', 'xid', '0', str(xid))
    node.sim('inject', 'xid', '2', '79')  # an event that does change something, behind the others
    node.wait_allocatable(12)
    healthy = [line for line in http_get(f'127.0.0.1:{port}', '/metrics')[1].splitlines()
               if line.startswith('gpuslice_gpu_healthy')]
    assert [line.split()[-1] for line in healthy] == ['1', '1', '0', '1']


def test_disabled_health_checks(node):
    node.start_kubelet()
    agent = node.start_agent(DP_DISABLE_HEALTHCHECKS='79')
    node.wait_allocatable(16)
    node.sim('inject', 'xid', '0', '79')
    node.sim('inject', 'xid', '1', '95')
    agent.wait_line('GPU is Unhealthy')
    node.wait_allocatable(12)


def test_enabled_wins_over_disabled_all(node):
    node.start_kubelet()
    node.start_agent(DP_DISABLE_HEALTHCHECKS='all', DP_ENABLE_HEALTHCHECKS='79')
    node.wait_allocatable(16)
    node.sim('inject', 'xid', '1', '95')
    node.sim('inject', 'xid', '0', '79')
    node.wait_allocatable(12)


def test_reset_is_not_forgotten_by_a_restart(node):
    node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    node.sim('inject', 'xid', '1', '95')
    node.wait_allocatable(12)
    agent.end()
    node.start_agent()
    node.wait_allocatable(12)
    node.sim('inject', 'reset', '1')
    node.wait_allocatable(16)


def test_lost_gpu(node):
    """A GPU off the bus is Unhealthy, the others go on, also for new pods; it comes back by itself."""
    node.start_kubelet()
    node.start_agent()
    node.wait_allocatable(16)
    lost = gpu_uuids(node)[2]
    node.sim('inject', 'lost', '2')
    node.wait_allocatable(12)
    pods = node.run_pods(12)
    assert not [one for one in held_ids(pods) if one.startswith(lost)]
    node.sim('inject', 'back', '2')
    node.wait_allocatable(16)


def test_lost_gpu_at_start(node):
    node.sim('inject', 'lost', '3')
    node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(12)
    agent.wait_line('GPU left out.*index=3')


def test_hanging_driver_call(node):
    """A call that never returns is reported after the deadline; slices and allocations go on."""
    port = free_port()
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--driver-deadline', '300ms', '--http-address', f'127.0.0.1:{port}')
    agent.wait_line('listening for HTTP')
    node.wait_allocatable(16)
    node.sim('inject', 'hang', '1')
    node.sim('inject', 'xid', '1', '31')  # makes the agent ask the GPU how it is
    agent.wait_line('does not return')
    node.wait_allocatable(12)
    assert http_get(f'127.0.0.1:{port}', '/healthz') == (200, 'ok\n')
    assert {pod['phase'] for pod in node.run_pods(12)} == {'Running'}
    node.sim('inject', 'unhang', '1')
    node.wait_allocatable(16)


def test_driver_that_hangs_at_start(node):
    port = free_port()
    node.sim('inject', 'hang', 'all')
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--driver-deadline', '300ms', '--http-address', f'127.0.0.1:{port}')
    agent.wait_line('does not return')
    agent.wait_line('listening for HTTP')
    status, why = http_get(f'127.0.0.1:{port}', '/readyz')
    assert status == 503 and 'driver' in why
    node.sim('inject', 'unhang', 'all')
    node.wait_allocatable(16)


def test_killed_helper_is_replaced(node):
    node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    mark = agent.mark()
    for pid in agent.children():
        os.kill(pid, signal.SIGKILL)
    agent.wait_line('driver is available', mark)
    node.sim('inject', 'xid', '0', '79')
    node.wait_allocatable(12)


# --- starting and ending ---

def test_sigterm_leaves_nothing_but_the_specs(node):
    """The CDI specifications are for containers that restart while no agent runs."""
    config = 'flags: {plugin: {deviceListStrategy: [envvar, cdi-cri]}}\n' + GUIDE
    node.start_kubelet()
    agent = node.start_agent(config.replace('flags: {migStrategy: none}\n', ''))
    node.wait_allocatable(16)
    specs = {path.name: path.read_text() for path in node.cdi.iterdir()}
    assert specs
    family = agent.children()
    assert agent.end() == 0
    assert not list(node.plugins.glob('gpuslice-*'))
    assert {path.name: path.read_text() for path in node.cdi.iterdir()} == specs
    for pid in family:
        assert not os.path.exists(f'/proc/{pid}'), 'a helper outlived the agent'


def test_a_node_without_gpus_is_ready_and_silent(node, tmp_path):
    (tmp_path / 'sys/bus/pci/devices').mkdir(parents=True)
    del node.environment['GPUSLICE_MACHINE']
    port = free_port()
    agent = node.start_agent(GUIDE, '--http-address', f'127.0.0.1:{port}',
                             GPUSLICE_SYSFS=str(tmp_path / 'sys'))
    agent.wait_line('no NVIDIA GPU')
    agent.wait_line('listening for HTTP')
    assert http_get(f'127.0.0.1:{port}', '/readyz') == (200, 'ok\n')
    assert agent.count('level=(error|warning)') == 0
    assert agent.alive()


def gpu_on_the_bus(folder, driver=None):
    device = folder / 'sys/bus/pci/devices/0000:00:1e.0'
    device.mkdir(parents=True)
    (device / 'vendor').write_text('0x10de\n')
    (device / 'class').write_text('0x030200\n')
    if driver:
        (device / 'driver').symlink_to(f'../../../../bus/pci/drivers/{driver}')
    return str(folder / 'sys')


def test_a_driver_that_is_not_loaded_ends_the_agent(node, tmp_path):
    del node.environment['GPUSLICE_MACHINE']
    agent = node.start_agent(GPUSLICE_SYSFS=gpu_on_the_bus(tmp_path))
    assert agent.wait() == 1
    assert 'is the driver loaded' in agent.output() and 'runtimeClassName' in agent.output()


def test_the_kernel_driver_in_the_way_is_named(node, tmp_path):
    del node.environment['GPUSLICE_MACHINE']
    agent = node.start_agent(GPUSLICE_SYSFS=gpu_on_the_bus(tmp_path, 'nouveau'))
    assert agent.wait() == 1
    assert 'nouveau has the GPU' in agent.output() and 'is the driver loaded' not in agent.output()


def tegra(folder):
    (folder / 'sys/devices/soc0').mkdir(parents=True)
    (folder / 'sys/devices/soc0/family').write_text('Tegra\n')
    return str(folder / 'sys')


@pytest.mark.parametrize('sysfs,sentence', [
    (lambda folder: gpu_on_the_bus(folder, 'vfio-pci'), 'passed through to virtual machines, by vfio-pci'),
    (tegra, 'Tegra')], ids=['passthrough', 'tegra'])
def test_gpus_that_are_not_for_us_leave_the_agent_ready_and_silent(node, tmp_path, sysfs, sentence):
    """No crash loop on a node whose GPUs belong to virtual machines; the log gives the true reason."""
    del node.environment['GPUSLICE_MACHINE']
    port = free_port()
    agent = node.start_agent(GUIDE, '--http-address', f'127.0.0.1:{port}', GPUSLICE_SYSFS=sysfs(tmp_path))
    agent.wait_line(sentence)
    agent.wait_line('listening for HTTP')
    assert http_get(f'127.0.0.1:{port}', '/readyz') == (200, 'ok\n')
    assert agent.count('level=(error|warning)') == 0 and agent.count('no NVIDIA GPU') == 0
    assert agent.alive()


def test_fail_on_init_error_false_keeps_trying(node, tmp_path):
    del node.environment['GPUSLICE_MACHINE']
    agent = node.start_agent(FAIL_ON_INIT_ERROR='false', GPUSLICE_SYSFS=gpu_on_the_bus(tmp_path))
    agent.wait_line('is the driver loaded')
    assert agent.alive()


def test_a_bad_file_at_start_shows_every_problem(node):
    agent = node.start_agent('version: v2\nflags: {migStrategy: sometimes}\n')
    agent.wait_line('is rejected; nothing is offered until it is corrected')
    assert 'config.yaml:1:' in agent.output() and 'config.yaml:2:' in agent.output()
    assert agent.end() == 0


def test_a_missing_file_at_start_is_one_error(node):
    agent = node.start_agent(None, '--config-file', node.folder / 'none.yaml')
    agent.wait_line('is rejected; nothing is offered until it is corrected')
    assert agent.end() == 0
    assert agent.count('none.yaml: No such file') == 1 and 'gpuslice check' not in agent.output()


def test_a_machine_without_a_kubelet_is_named(node):
    """Its folder is missing, not only its socket."""
    agent = node.start_agent(GUIDE, '--kubelet-socket', node.folder / 'nowhere/kubelet.sock')
    agent.wait_line('cannot register with the kubelet.* hint="is a kubelet on this machine?')
    assert agent.end() == 0


def test_http_pages(node):
    port = free_port()
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--http-address', f'127.0.0.1:{port}')
    node.wait_allocatable(16)
    agent.wait_line('every resource is registered')
    agent.wait_line('listening for HTTP')
    address = f'127.0.0.1:{port}'
    assert http_get(address, '/healthz') == (200, 'ok\n')
    assert http_get(address, '/readyz') == (200, 'ok\n')
    status, text = http_get(address, '/metrics')
    assert status == 200
    assert 'gpuslice_devices{resource="nvidia.com/gpu",health="Healthy"} 16' in text
    assert 'gpuslice_registered{resource="nvidia.com/gpu"} 1' in text
    assert http_get(address, '/nothing')[0] == 404


def test_not_ready_without_a_kubelet(node):
    port = free_port()
    agent = node.start_agent(GUIDE, '--http-address', f'127.0.0.1:{port}')
    agent.wait_line('resource offered')
    agent.wait_line('listening for HTTP')
    status, why = http_get(f'127.0.0.1:{port}', '/readyz')
    assert status == 503 and 'nvidia.com/gpu is not registered' in why


# --- strategies, seen from the container ---

@pytest.mark.parametrize('strategy, key', [('envvar', 'env'), ('volume-mounts', 'mounts'),
                                           ('cdi-annotations', 'annotations'),
                                           ('cdi-cri', 'cdi_devices')])
def test_device_list_strategies(node, strategy, key):
    node.start_kubelet()
    node.start_agent(GUIDE, '--device-list-strategy', strategy)
    node.wait_allocatable(16)
    [pod] = node.run_pods(1)
    container = pod['containers'][0]
    uuid = held_ids([pod])[0].split('::')[0]
    assert uuid in json.dumps(container[key])
    if strategy.startswith('cdi'):
        [spec] = node.cdi.iterdir()
        names = [device['name'] for device in json.loads(spec.read_text())['devices']]
        assert uuid in names


def test_environment_of_an_existing_daemonset(node):
    node.start_kubelet()
    node.start_agent('version: v1', PASS_DEVICE_SPECS='true', DEVICE_ID_STRATEGY='index',
                     NVIDIA_DEV_ROOT='/nowhere', MIG_STRATEGY='single')
    node.wait_allocatable(4)
    [pod] = node.run_pods(1)
    container = pod['containers'][0]
    index = container['env']['NVIDIA_VISIBLE_DEVICES']
    assert index in '0123'
    assert [device['host_path'] for device in container['device_nodes']] == \
        [f'/nowhere/dev/nvidia{index}']
