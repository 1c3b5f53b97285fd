# SPDX-License-Identifier: Apache-2.0
"""What the agent and the cluster tell each other, and the configuration a node is given by its label.

The test takes the place of gpuslice-nodesync: it reads each line of the agent and sends the news.
"""
import os
import re
import signal
import time

import pytest
from node import GUIDE, Cluster, Volume, eventually, free_port, http_get, news, replicas

LABEL = 'nvidia.com/device-plugin.config'
LINGERS = 'gpuslice-nodesync does not exit; killing it'


@pytest.fixture
def cluster(node):
    return Cluster(node)


def start(node, *arguments, **environment):
    return node.start_agent(None, *arguments, **{'NODE_NAME': 'gpu-1', **environment})


def start_by_folder(node, folder, *arguments, **environment):
    return start(node, '--config-file-srcdir', folder.path, *arguments, **environment)


def labels_of(state, key='labels'):
    return {label['key']: label['value'] for label in state[key]}


def wait_connected(cluster, address, connected=True):
    """Until the agent has received the first news, if there are any."""
    cluster.wait_condition('AllResourcesRegistered')
    wanted = f'gpuslice_cluster_connected {int(connected)}\n'
    eventually(lambda: wanted in http_get(address, '/metrics')[1], wanted)


# --- the node's state ---

def test_without_a_node_name_nobody_talks_to_the_cluster(node, cluster):
    node.start_kubelet()
    address = f'127.0.0.1:{free_port()}'
    node.start_agent(GUIDE, '--http-address', address)
    node.wait_allocatable(16)
    assert cluster.all('started') == []
    assert 'gpuslice_cluster' not in http_get(address, '/metrics')[1]


def test_setup_and_state_are_told_once_and_nothing_at_rest(node, cluster):
    node.start_kubelet()
    cluster.greet = {}
    address = f'127.0.0.1:{free_port()}'
    agent = node.start_agent(GUIDE, '--node-name=gpu-1', '--http-address', address, NAMESPACE='gpus',
                             POD_NAME='agent-x', KUBECONFIG='/k')
    node.wait_allocatable(16)
    state = cluster.wait_condition('AllResourcesRegistered')
    assert state['ready'] and state['hasCondition'] and state['labelsBy'] == 'auto'
    assert state['message'] == '1 resource is registered with the kubelet'
    labels = labels_of(state)
    assert labels['nvidia.com/gpu.count'] == '4'
    assert labels['nvidia.com/gpu.product'].endswith('-SHARED')
    assert 'nvidia.com/gfd.timestamp' not in labels
    setup = cluster.wait('setup')
    assert {**setup, 'kind': 0} == {'node': 'gpu-1', 'namespace': 'gpus', 'pod': 'agent-x', 'kubeconfig': '/k', 'lease': '',
                                    'watchedLabels': ['nvidia.com/mig.config', 'gpuslice.dev/profile', 'node.kubernetes.io/instance-type'],
                                    'watchedAnnotations': ['gpuslice.dev/mig-layout', 'gpuslice.dev/mig-names-demand',
                                                           'gpuslice.dev/config', 'gpuslice.dev/promise'], 'kind': 0}
    assert cluster.wait('started')['arguments'] == ['info', 'logfmt']
    wait_connected(cluster, address)
    agent.send(signal.SIGHUP)
    cluster.wait_event('ConfigurationTaken')
    assert len(cluster.all('state')) == 1  # nothing changed, nothing is sent


def test_an_agent_that_starts_says_nothing_before_it_knows(node, cluster):
    """Between start and registration nothing is taken back that the agent before said."""
    cluster.greet = {}
    node.start_agent(GUIDE, '--node-name=gpu-1')
    cluster.wait('setup')
    time.sleep(0.5)
    node.start_kubelet()
    cluster.wait_condition('AllResourcesRegistered')
    assert len(cluster.all('state')) == 1


def test_resources_that_stay_unregistered_are_told(node, cluster):
    cluster.greet = {}
    node.start_agent(GUIDE, '--node-name=gpu-1')
    state = cluster.wait_condition('ResourcesNotRegistered')
    assert not state['ready'] and state['message'] == 'not registered with the kubelet: nvidia.com/gpu'
    node.start_kubelet()
    cluster.wait_condition('AllResourcesRegistered')


def test_a_node_without_a_gpu_says_nothing_of_itself(node, cluster):
    cluster.greet = {}
    del node.environment['LD_LIBRARY_PATH']
    agent = node.start_agent(replicas(2, 'gpuslice: {labels: {team: ml}, taints: [{key: gpu, effect: NoSchedule}]}'),
                             '--node-name=gpu-1')
    agent.wait_line('no NVIDIA GPU')
    state = cluster.wait('state')
    assert not state['hasCondition']
    assert not state['labels'] and not state['extraLabels'] and not state['taints']
    node.configure('version: v9')
    agent.wait_line('is rejected')
    agent.end()
    assert cluster.all('event') == [] and len(cluster.all('state')) == 1


def test_gpus_of_virtual_machines_are_told_on_the_node(node, cluster, tmp_path):
    """Ready, with the reason that nothing is offered; no label says that there are GPUs to use."""
    cluster.greet = {}
    del node.environment['LD_LIBRARY_PATH']
    device = tmp_path / 'sys/bus/pci/devices/0000:00:1e.0'
    device.mkdir(parents=True)
    (device / 'vendor').write_text('0x10de\n')
    (device / 'class').write_text('0x030200\n')
    (device / 'driver').symlink_to('../../../../bus/pci/drivers/vfio-pci')
    node.start_agent(replicas(2), '--node-name=gpu-1', GPUSLICE_SYSFS=str(tmp_path / 'sys'))
    state = cluster.wait_condition('NoGPUsToServe')
    assert state['ready'] and 'vfio-pci' in state['message'] and not state['labels']
    assert cluster.all('event') == []


def test_own_labels_taints_and_how_labels_are_published(node, cluster):
    cluster.greet = {}
    began = int(time.time())
    node.start_kubelet()
    node.start_agent(replicas(2, '''
flags: {useNodeFeatureAPI: false, gfd: {noTimestamp: false, machineTypeFile: machine}}
gpuslice:
  labels: {team: ml}
  taints: [{key: gpu, value: shared, effect: NoSchedule}]
'''), '--node-name=gpu-1')
    (node.folder / 'machine').write_text('Power  Edge (R750)\n')
    node.configure(node.config.read_text() + '\n')
    state = cluster.wait('state', lambda state: labels_of(state).get('nvidia.com/gpu.machine') == 'Power-Edge-R750')
    assert state['labelsBy'] == 'node'
    assert labels_of(state, 'extraLabels') == {'team': 'ml'}
    assert state['taints'] == [{'key': 'gpu', 'value': 'shared', 'effect': 'NoSchedule'}]
    assert began <= int(labels_of(state)['nvidia.com/gfd.timestamp']) <= time.time()


def test_a_program_that_dies_is_started_again_and_told_everything(node, cluster):
    cluster.greet = {}
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--node-name=gpu-1')
    cluster.wait_condition('AllResourcesRegistered')
    mark = cluster.mark()
    os.kill(cluster.wait('started')['pid'], signal.SIGKILL)
    cluster.wait('setup', since=mark)
    cluster.wait_condition('AllResourcesRegistered', since=mark)
    assert agent.count('gpuslice-nodesync ended') == 1
    node.wait_allocatable(16)


def test_nonsense_from_the_program_is_said_once(node, cluster):
    cluster.greet = {}
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--node-name=gpu-1')
    cluster.wait_condition('AllResourcesRegistered')
    cluster.send('{"kind":"nonsense"}\nfoo\n{"kind":"bye"}\n' + 'x' * (3 << 20) + '\n')
    agent.wait_line('sent an invalid message')
    cluster.tell()
    node.wait_allocatable(16)
    assert agent.count('sent an invalid message') == 1
    assert agent.alive()


def test_bye_is_said_at_the_end(node, cluster):
    node.start_kubelet()
    cluster.greet = {}
    address = f'127.0.0.1:{free_port()}'
    agent = node.start_agent(GUIDE, '--node-name=gpu-1', '--http-address', address)
    wait_connected(cluster, address)
    assert agent.end() == 0
    cluster.wait('bye')


@pytest.mark.parametrize('greet', [None, {}])
def test_the_end_waits_for_nobody_long(node, cluster, greet):
    """Three seconds for a program that was connected; none for one that never was."""
    kubelet = node.start_kubelet()
    cluster.greet, cluster.linger = greet, True
    address = f'127.0.0.1:{free_port()}'
    agent = node.start_agent(GUIDE, '--node-name=gpu-1', '--http-address', address)
    wait_connected(cluster, address, greet is not None)
    begin = time.monotonic()
    agent.send(signal.SIGTERM)
    gone = kubelet.wait_line('plugin disconnected')
    assert agent.wait() == 0
    if greet is None:
        assert agent.count(LINGERS) == 0 and cluster.all('bye') == []
    else:
        left = agent.wait_line(LINGERS)
        assert gone < left and left - begin > 2.5  # services end immediately, whatever lingers
        assert len(cluster.all('bye')) == 1


def test_the_metric_says_whether_the_api_server_is_heard(node, cluster):
    node.start_kubelet()
    cluster.greet = {}
    address = f'127.0.0.1:{free_port()}'
    node.start_agent(GUIDE, '--node-name=gpu-1', '--http-address', address)
    wait_connected(cluster, address)
    cluster.tell(heard=False)
    wait_connected(cluster, address, False)
    cluster.tell()
    wait_connected(cluster, address)
    cluster.greet = None
    os.kill(cluster.wait('started')['pid'], signal.SIGKILL)
    wait_connected(cluster, address, False)


# --- the labels' file ---

@pytest.mark.parametrize('more,stays', [('', False), (', oneshot: true', True), (', sleepInterval: infinite', True)])
def test_labels_go_to_a_file(node, cluster, more, stays):
    node.start_kubelet()
    out = node.folder / 'features.d' / 'gfd'
    out.parent.mkdir()
    cluster.greet = {}
    agent = node.start_agent(replicas(2, f'flags: {{gfd: {{outputFile: {out}{more}}}}}'), '--node-name=gpu-1')
    state = cluster.wait_condition('AllResourcesRegistered')
    assert state['labelsBy'] == 'none'
    agent.wait_line('labels written')
    lines = out.read_text().splitlines()
    assert lines == sorted(lines) and 'nvidia.com/gpu.count=4' in lines
    assert any(re.fullmatch(r'nvidia.com/gfd.timestamp=\d+', line) for line in lines)
    assert out.stat().st_mode & 0o777 == 0o644
    assert agent.end() == 0
    assert out.exists() == stays
    assert [entry.name for entry in out.parent.iterdir()] == (['gfd'] if stays else [])


def test_labels_go_to_a_file_without_a_cluster(node):
    node.start_kubelet()
    out = node.folder / 'gfd'
    agent = node.start_agent(GUIDE, GFD_OUTPUT_FILE=str(out), GFD_NO_TIMESTAMP='true')
    agent.wait_line('labels written')
    assert 'timestamp' not in out.read_text()
    node.configure(replicas(2))
    agent.wait_line('configuration applied')
    eventually(lambda: 'nvidia.com/gpu.replicas=2\n' in out.read_text(), 'replicas=2')


def test_labels_go_to_standard_output(node):
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--output-file=')
    agent.wait_line('^nvidia.com/gpu.count=4$')


def test_a_file_that_cannot_be_written_is_said_once(node):
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--output-file', node.folder / 'none/gfd')
    agent.wait_line('none/gfd.*must be mounted')
    node.wait_allocatable(16)


# --- the configuration by the node's label ---

def test_the_label_chooses_the_configuration(node, cluster):
    node.start_kubelet()
    folder = Volume(node.folder / 'configs', default=replicas(2), four=replicas(4), eight=replicas(8))
    cluster.greet = {'label': 'four'}
    agent = start_by_folder(node, folder)
    node.wait_allocatable(16)
    assert LABEL in cluster.wait('setup')['watchedLabels']
    assert cluster.all('event') == []  # the first choice is no news
    cluster.tell(label='eight')
    node.wait_allocatable(32)
    assert 'configs/eight' in cluster.wait_event('ConfigurationTaken')['message']
    agent.wait_line('configuration applied.*configs/eight')
    mark = agent.mark()
    # Hasty changes count as the last. All in one write: one that came late would not be hasty.
    cluster.send(''.join(news(label=value) for value in ('four', 'eight', 'four', 'eight', 'default')))
    node.wait_allocatable(8)
    assert agent.count('configuration applied', mark) == 1


def test_without_a_label_the_default_and_the_fallbacks(node, cluster):
    node.start_kubelet()
    folder = Volume(node.folder / 'configs', two=replicas(2), four=replicas(4))
    cluster.greet = {}
    agent = start_by_folder(node, folder, DEFAULT_CONFIG='four', FALLBACK_STRATEGIES='named,single')
    node.wait_allocatable(16)
    cluster.tell(label='two')
    node.wait_allocatable(8)
    cluster.tell()
    node.wait_allocatable(16)
    agent.end()
    (node.folder / 'state/config-label').unlink()
    start_by_folder(node, folder, '--fallback-strategies=named,single', '--fallback-strategies=empty')
    node.wait_allocatable(4)  # empty: whole GPUs
    folder.write(two=replicas(2))
    node.wait_allocatable(8)  # single


def test_a_node_that_is_gone_asks_for_no_other_configuration(node, cluster):
    """Somebody deleted it, and the kubelet has not recreated it: pods here keep what they have."""
    node.start_kubelet()
    folder = Volume(node.folder / 'configs', default=replicas(2), four=replicas(4), eight=replicas(8))
    cluster.greet = {'label': 'four'}
    agent = start_by_folder(node, folder, DEFAULT_CONFIG='default')
    node.wait_allocatable(16)
    mark = agent.mark()
    cluster.tell(gone=True)
    time.sleep(0.3)  # longer than hasty changes are gathered
    cluster.tell(label='eight')
    node.wait_allocatable(32)
    assert agent.count('configuration applied', mark) == 1


def test_edits_are_taken(node, cluster):
    node.start_kubelet()
    folder = Volume(node.folder / 'configs', four=replicas(4), other=GUIDE)
    cluster.greet = {'label': 'four'}
    agent = start_by_folder(node, folder)
    node.wait_allocatable(16)
    for count in (8, 4):
        mark = agent.mark()
        folder.write(four=replicas(count), other=GUIDE)
        agent.wait_line('configuration applied', mark)
        node.wait_allocatable(4 * count)


def test_a_bad_label_keeps_the_old_plan_and_says_so(node, cluster):
    node.start_kubelet()
    folder = Volume(node.folder / 'configs', four=replicas(4), eight=replicas(8))
    cluster.greet = {'label': 'four'}
    agent = start_by_folder(node, folder)
    node.wait_allocatable(16)
    mark = cluster.mark()
    cluster.tell(label='fuor')
    event = cluster.wait_event('ConfigurationRefused', since=mark)
    assert event['warning'] and "'fuor', which is none of: eight, four" in event['message']
    state = cluster.wait_condition('ConfigurationRefused', since=mark)
    assert not state['ready'] and state['message'] == event['message']
    assert labels_of(state)['nvidia.com/gpu.replicas'] == '4'
    agent.wait_line('the old one stays in force.*fuor')
    node.wait_allocatable(16)
    mark = cluster.mark()
    cluster.tell(label='eight')
    assert not cluster.wait_event('ConfigurationTaken', since=mark)['warning']
    cluster.wait_condition('AllResourcesRegistered', since=mark)
    node.wait_allocatable(32)


def test_a_broken_file_keeps_the_old_plan_and_names_the_place(node, cluster):
    node.start_kubelet()
    folder = Volume(node.folder / 'configs', four=replicas(4))
    cluster.greet = {'label': 'four'}
    start_by_folder(node, folder)
    node.wait_allocatable(16)
    mark = cluster.mark()
    folder.write(four='version: v1\nflags: {migStrategy: sometimes}\nsharing: 5\n')
    message = cluster.wait_event('ConfigurationRefused', since=mark)['message']
    assert 'configs/four:2:22: flags.migStrategy:' in message and message.endswith('(and 1 more problem)')
    assert cluster.wait_condition('ConfigurationRefused', since=mark)['message'] == message
    mark = cluster.mark()
    folder.write(other=replicas(4))
    message = cluster.wait_event('ConfigurationRefused', since=mark)['message']
    assert "'four', which is none of: other" in message
    node.wait_allocatable(16)
    assert len(cluster.all('event', since=mark)) == 1
    mark = cluster.mark()
    folder.write(four=replicas(8))
    cluster.wait_event('ConfigurationTaken', since=mark)
    node.wait_allocatable(32)


def test_a_restart_remembers_the_label(node, cluster):
    node.start_kubelet()
    folder = Volume(node.folder / 'configs', default=replicas(2), four=replicas(4))
    cluster.greet = {'label': 'four'}
    agent = start_by_folder(node, folder, '--fallback-strategies=named')
    node.wait_allocatable(16)
    agent.end(signal.SIGKILL)
    cluster.greet = None  # the API server is away
    agent = start_by_folder(node, folder, '--fallback-strategies=named')
    agent.wait_line('label as remembered.*value=four.*last_used=four')
    agent.wait_line('every resource is registered')
    node.wait_allocatable(16)
    assert agent.count('has not reported this node.s label|treating it as unset') == 0  # nor was that waited for


def test_no_news_means_no_label_after_five_seconds(node, cluster):
    node.start_kubelet()
    folder = Volume(node.folder / 'configs', default=replicas(2), four=replicas(4))
    agent = start_by_folder(node, folder, '--fallback-strategies=named')
    agent.wait_line(f'has not reported this node; .*{LABEL}')
    node.wait_allocatable(8)
    cluster.tell(label='four')
    node.wait_allocatable(16)


def test_a_bad_label_at_the_first_start_has_a_stand_in(node, cluster):
    node.start_kubelet()
    folder = Volume(node.folder / 'configs', default=replicas(2), broken='version: v9')
    cluster.greet = {'label': 'none'}
    agent = start_by_folder(node, folder, '--fallback-strategies=named')
    node.wait_allocatable(8)
    agent.wait_line('falling back to another one.*configs/default')
    assert "'none', which is none of: broken, default" in cluster.wait_event('ConfigurationRefused')['message']
    cluster.wait_condition('ConfigurationRefused')
    agent.end()
    mark = cluster.mark()
    (node.folder / 'state/config-label').unlink()
    cluster.greet = {'label': 'broken'}
    start_by_folder(node, folder, '--fallback-strategies=named')
    node.wait_allocatable(8)
    assert 'configs/broken:1:10' in cluster.wait_condition('ConfigurationRefused', since=mark)['message']
    folder.write(default=replicas(2), broken=replicas(4))  # it was followed all the same
    node.wait_allocatable(16)
    cluster.wait_condition('AllResourcesRegistered', since=mark)


def test_a_bad_label_keeps_the_old_plan_over_a_restart(node, cluster):
    node.start_kubelet()
    folder = Volume(node.folder / 'configs', default=replicas(2), four=replicas(4))
    cluster.greet = {'label': 'four'}
    agent = start_by_folder(node, folder, '--fallback-strategies=named')
    node.wait_allocatable(16)
    cluster.tell(label='none')
    cluster.wait_event('ConfigurationRefused')
    agent.end(signal.SIGKILL)
    mark = cluster.mark()
    cluster.greet = {'label': 'none'}
    agent = start_by_folder(node, folder, '--fallback-strategies=named')
    agent.wait_line('falling back to another one.*configs/four')
    cluster.wait_condition('ConfigurationRefused', since=mark)
    node.wait_allocatable(16)


def test_a_config_map_that_is_made_later_is_taken(node, cluster):
    node.start_kubelet()
    folder = Volume(node.folder / 'configs')
    cluster.greet = {}
    address = f'127.0.0.1:{free_port()}'
    agent = start_by_folder(node, folder, '--http-address', address, FALLBACK_STRATEGIES='named,single')
    agent.wait_line('there is no configuration yet')
    cluster.wait_condition('ConfigurationMissing')
    assert http_get(address, '/readyz') == (503, 'there is no configuration yet for this node\n')
    folder.write(any=replicas(4))
    node.wait_allocatable(16)
    cluster.wait_condition('AllResourcesRegistered')
    assert agent.count('there is no configuration yet') == 1
    assert re.search(f'^gpuslice_config_info{{file="{folder.path}/any"}} 1$', http_get(address, '/metrics')[1],
                     re.M)


def test_a_folder_without_a_cluster(node):
    """No node name: the fallbacks decide."""
    node.start_kubelet()
    folder = Volume(node.folder / 'configs', any=replicas(4))
    node.start_agent(None, CONFIG_FILE_SRCDIR=str(folder.path), FALLBACK_STRATEGIES='named,single')
    node.wait_allocatable(16)


# --- events ---

def test_a_gpu_that_breaks_is_told_with_its_pods(node, cluster):
    node.start_kubelet()
    cluster.greet = {}
    node.start_agent(GUIDE, '--node-name=gpu-1', '--pod-resources-socket',
                     node.kubelet_root / 'pod-resources/kubelet.sock')
    node.run_pods(8)
    pods = {pod['name'] for pod in node.pods()}
    node.sim('inject', 'xid', '0', '79')
    event = cluster.wait_event('GPUUnhealthy')
    assert event['warning'] and re.match(r'GPU 0 \(GPU-.*\) is Unhealthy: .*79', event['message'])
    assert len(event['pods']) == 2 and {pod['name'] for pod in event['pods']} <= pods
