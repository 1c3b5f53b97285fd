# SPDX-License-Identifier: Apache-2.0
"""A first start is like any later moment: whatever is wrong with a configuration ends no agent, is reported on the
Node, and is repaired live. Each input is tried both ways, and both must say the same."""
import os
import re
import signal

import pytest
from node import GUIDE, Cluster, Volume, eventually, free_port, http_get, replicas
from test_agent import gpu_on_the_bus

LABEL = 'nvidia.com/device-plugin.config'


def content(text):
    def spoil(volume, cluster):
        volume.write(mine=text, other=GUIDE)
    return spoil


def label(value):
    def spoil(volume, cluster):
        cluster.tell(label=value)
    return spoil


def missing(volume, cluster):
    volume.write(other=GUIDE)


def unreadable(volume, cluster):
    """Root reads what it may not read; nobody reads a folder that is a file."""
    volume.path.rename(volume.path.with_suffix('.away'))
    volume.path.write_text('not a folder')


BAD = {
    'a wrong word': (content('version: v1\nflags: {migStrategy: sometimes}\n'), r'configs/mine:2:22: flags.migStrategy'),
    'another version': (content('version: v9\n'), r'configs/mine:1:10: version'),
    'not YAML': (content('flags: [\n'), r'configs/mine:'),
    'not UTF-8': (content('flags: {migStrategy: "\\x00"}\n'), r'configs/mine:'),
    'a list': (content('- a\n- b\n'), r'configs/mine:1:1'),
    'a refused number': (content(replicas(-3)), r'configs/mine:\d+:\d+: sharing'),
    'a refused combination': (content('sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}\n'
                                      'flags: {migStrategy: mixed}\n'), r'configs/mine:1:\d+: sharing.mps'),
    'a label that names nothing': (label('nothing'), r"'nothing', which is none of: mine, other"),
    'a file that is gone': (missing, r"'mine', which is none of: other"),
    'a folder that cannot be read': (unreadable, r'cannot read .*configs: Not a directory'),
}


def repair(volume, cluster):
    if volume.path.is_file():
        volume.path.unlink()
        volume.path.with_suffix('.away').rename(volume.path)
    volume.write(mine=replicas(4), other=GUIDE)
    cluster.tell(label='mine')


def start(node, address, *arguments, **environment):
    agent = node.start_agent(None, *arguments, '--node-name=gpu-1', '--http-address', address, **environment)
    agent.wait_line('listening for HTTP')
    return agent


def metric(address, line):
    return line + '\n' in http_get(address, '/metrics')[1]


def assert_refused(cluster, address, since):
    """The Node's condition, the event, /readyz and the metrics say one thing; returns it."""
    event = cluster.wait_event('ConfigurationRefused', since=since)
    state = cluster.wait_condition('ConfigurationRefused', since=since)
    assert event['warning'] and not state['ready'] and state['message'] == event['message']
    status, why = http_get(address, '/readyz')
    assert status == 503 and event['message'] in why
    assert metric(address, 'gpuslice_ready{reason="ConfigurationRefused"} 0')
    assert metric(address, 'gpuslice_config_refused 1')
    assert http_get(address, '/healthz')[0] == 200
    return event['message']


def assert_repaired(node, cluster, address, since):
    assert not cluster.wait_event('ConfigurationTaken', since=since)['warning']
    cluster.wait_condition('AllResourcesRegistered', since=since)
    node.wait_allocatable(16)
    eventually(lambda: http_get(address, '/readyz') == (200, 'ok\n'), 'ready')
    assert metric(address, 'gpuslice_ready{reason="AllResourcesRegistered"} 1')
    assert metric(address, 'gpuslice_config_refused 0')


@pytest.fixture
def cluster(node):
    return Cluster(node)


@pytest.mark.parametrize('name', BAD)
def test_a_first_configuration_is_refused_as_a_later_one(node, cluster, name):
    spoil, said = BAD[name]
    node.start_kubelet()
    address = f'127.0.0.1:{free_port()}'
    volume = Volume(node.folder / 'configs', mine=replicas(4), other=GUIDE)
    arguments = ('--config-file-srcdir', volume.path)

    # Later: the agent runs on what it had.
    cluster.greet = {'label': 'mine'}
    agent = start(node, address, *arguments)
    node.wait_allocatable(16)
    mark = cluster.mark()
    spoil(volume, cluster)
    later = assert_refused(cluster, address, mark)
    node.wait_allocatable(16)
    mark = cluster.mark()
    repair(volume, cluster)
    assert_repaired(node, cluster, address, mark)
    assert agent.end() == 0
    (node.folder / 'state/config-label').unlink()  # a node that is new

    # First.
    if 'label' in name:
        cluster.greet = {'label': 'nothing'}
    else:
        spoil(volume, cluster)
    mark = cluster.mark()
    agent = start(node, address, *arguments)
    first = assert_refused(cluster, address, mark)
    assert first == later and re.search(said, first), first
    agent.wait_line('is rejected; nothing is offered until it is corrected')
    assert agent.alive()
    states = cluster.all('state', since=mark)
    assert all(state['keepsLabels'] for state in states), states  # what stood on the Node stays
    mark = cluster.mark()
    repair(volume, cluster)
    assert_repaired(node, cluster, address, mark)
    assert agent.end() == 0


@pytest.mark.parametrize('spoil', ['missing', 'a folder', 'wrong', 'a pipe', 'dangling'])
def test_a_single_file_that_is_bad_at_first(node, cluster, spoil):
    node.start_kubelet()
    cluster.greet = {}
    address = f'127.0.0.1:{free_port()}'
    {'missing': lambda: None,
     'a folder': node.config.mkdir,
     'wrong': lambda: node.config.write_text('version: v2\nflags: {migStrategy: sometimes}\n'),
     'a pipe': lambda: os.mkfifo(node.config),
     'dangling': lambda: node.config.symlink_to('nowhere/config.yaml')}[spoil]()
    agent = start(node, address, '--config-file', node.config)
    message = assert_refused(cluster, address, 0)
    assert 'config.yaml' in message
    mark = cluster.mark()
    if spoil == 'a folder':
        node.config.rmdir()
    if spoil == 'dangling':
        node.config.unlink()
    node.configure(replicas(4))
    assert_repaired(node, cluster, address, mark)
    assert agent.end() == 0


def test_no_key_selected_at_first(node, cluster):
    """Two configurations, and neither label, default nor fallback chooses one."""
    node.start_kubelet()
    cluster.greet = {}
    address = f'127.0.0.1:{free_port()}'
    volume = Volume(node.folder / 'configs', a=replicas(2), b=replicas(4))
    agent = start(node, address, '--config-file-srcdir', volume.path)
    assert f'set its label {LABEL} to one of: a, b' in assert_refused(cluster, address, 0)
    mark = cluster.mark()
    cluster.tell(label='b')
    assert_repaired(node, cluster, address, mark)
    assert agent.end() == 0


@pytest.mark.parametrize('label', ['mine', 'nothing'])
def test_a_fallback_is_edited_live(node, cluster, label):
    """The selected key is bad from the start: until it is good, the fallback is what can be corrected."""
    node.start_kubelet()
    cluster.greet = {'label': label}
    address = f'127.0.0.1:{free_port()}'
    volume = Volume(node.folder / 'configs', mine='version: v9\n', default=replicas(2))
    agent = start(node, address, '--config-file-srcdir', volume.path, '--default-config=default')
    node.wait_allocatable(8)
    volume.write(mine='version: v9\n', default=replicas(3))
    node.wait_allocatable(12)
    assert agent.count('the old one stays in force') == 0
    mark = cluster.mark()
    volume.write(mine=replicas(4), default=replicas(3))
    cluster.tell(label='mine')
    assert_repaired(node, cluster, address, mark)
    assert agent.end() == 0


def test_a_node_without_a_gpu_says_nothing_about_it(node, cluster, tmp_path):
    """The same DaemonSet runs there: no condition, no event, ready."""
    (tmp_path / 'sys/bus/pci/devices').mkdir(parents=True)
    del node.environment['GPUSLICE_MACHINE']
    cluster.greet = {}
    address = f'127.0.0.1:{free_port()}'
    node.config.write_text('version: v9\n')
    agent = start(node, address, '--config-file', node.config, GPUSLICE_SYSFS=str(tmp_path / 'sys'))
    agent.wait_line('has no NVIDIA GPU')
    state = cluster.wait('state')
    assert not state['hasCondition']
    assert http_get(address, '/readyz') == (200, 'ok\n')
    assert metric(address, 'gpuslice_ready{reason="NoGPU"} 1')
    assert cluster.all('event') == []
    assert agent.end() == 0


def test_a_refused_configuration_waits_for_the_driver_too(node, cluster, tmp_path):
    """failOnInitError belongs to a configuration: only a good one can end the agent."""
    del node.environment['GPUSLICE_MACHINE']
    cluster.greet = {}
    agent = node.start_agent('version: v9\n', '--node-name=gpu-1', GPUSLICE_SYSFS=gpu_on_the_bus(tmp_path))
    cluster.wait_event('DriverNotAvailable')
    cluster.wait_event('ConfigurationRefused')
    cluster.wait_condition('DriverNotAvailable')
    assert agent.alive()
    node.configure(replicas(4))
    assert agent.wait() == 1


def test_the_driver_is_missed_whatever_comes_first(node, cluster, tmp_path):
    """The label comes after the driver was found missing: the agent ends as when it came before."""
    del node.environment['GPUSLICE_MACHINE']
    volume = Volume(node.folder / 'configs', mine=replicas(4))
    agent = node.start_agent(None, '--config-file-srcdir', volume.path, '--node-name=gpu-1',
                             GPUSLICE_SYSFS=gpu_on_the_bus(tmp_path))
    cluster.wait_event('DriverNotAvailable')
    assert agent.alive()
    cluster.tell(label='mine')
    assert agent.wait() == 1


def test_labels_in_a_file_stay_while_a_configuration_is_refused(node):
    """For node-feature-discovery: one-shot modes keep the file, and a refused configuration writes none."""
    node.start_kubelet()
    output = node.folder / 'gfd'
    good = replicas(4, extra=f'flags: {{gfd: {{oneshot: true, outputFile: {output}}}}}')
    agent = node.start_agent('version: v9\n')
    agent.wait_line('is rejected')
    assert not output.exists()
    node.configure(good)
    node.wait_allocatable(16)
    eventually(lambda: output.exists() and 'nvidia.com/gpu.count=4' in output.read_text(), 'the labels')
    assert agent.end(signal.SIGTERM) == 0
    before = output.read_text()
    agent = node.start_agent('version: v9\n')
    agent.wait_line('is rejected')
    agent.wait_line('driver is available')
    assert output.read_text() == before
    assert agent.end() == 0


SURROUNDINGS = {
    'state': (['--state-dir', '{}/file/x'], {}), 'grants': (['--grant-dir', '{}/file/x'], {}),
    'specifications': (['--cdi-dir', '{}/file/x', '--device-list-strategy=cdi-cri'], {}),
    'kubelet': (['--kubelet-socket', '{}/none/kubelet.sock'], {}), 'sockets': (['--device-plugin-dir', '{}/file'], {}),
    'no sockets': (['--device-plugin-dir', '{}/none'], {}), 'labels': (['--output-file', '{}/file/x'], {}),
    'driver root': (['--container-driver-root', '{}/none'], {}), 'pods': (['--pod-resources-socket', '{}/file/x'], {}),
    'cluster': (['--node-name=gpu-1'], {'KUBECONFIG': '/none'}), 'once': (['--oneshot'], {}),
    'XIDs': ([], {'DP_DISABLE_HEALTHCHECKS': 'garbage,,', 'DP_ENABLE_HEALTHCHECKS': '99999999999999999999'}),
}


@pytest.mark.parametrize('name', SURROUNDINGS)
def test_bad_surroundings_end_nobody(node, name):
    """What is tried again later is no reason to end at the start."""
    words, variables = SURROUNDINGS[name]
    (node.folder / 'file').write_text('a file in the way')
    agent = node.start_agent(GUIDE, *(word.format(node.folder) for word in words), **variables)
    agent.wait_line('driver is available')  # everything was started
    assert agent.end() == 0


def test_a_key_that_the_manifest_lacks(node):
    node.start_kubelet()
    manifest = 'kind: ConfigMap\napiVersion: v1\nmetadata: {{name: x}}\ndata:\n  {}: |\n    version: v1\n'
    agent = node.start_agent(manifest.format('other'), '--config-key=mine')
    agent.wait_line("is rejected; nothing is offered until it is corrected.*mine")
    node.configure(manifest.format('mine'))
    node.wait_allocatable(4)
    assert agent.end() == 0


@pytest.mark.parametrize('words, variables', [
    (['--mig-strategy=sometimes'], {}), (['--no-such-option'], {}), (['--config-file'], {}), (['word'], {}),
    ([], {'MIG_STRATEGY': 'sometimes'}), ([], {'GPUSLICE_DRIVER_DEADLINE': 'soon'})])
def test_only_a_usage_error_ends_it(node, words, variables):
    agent = node.start('gpuslice-node', *words, **variables)
    assert agent.wait() == 64
    assert 'gpuslice-node --help' in agent.output()
