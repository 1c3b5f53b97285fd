# SPDX-License-Identifier: Apache-2.0
"""The agent partitions GPUs as the Node's label asks, on a simulated p4d.24xlarge (8 A100 with 40 GB)."""
import fcntl
import json
import re
import signal

import pytest
from node import BUILD, ROOT, Cluster, deployment, eventually, held_ids, reset_as

LABEL, STATE = 'nvidia.com/mig.config', 'nvidia.com/mig.config.state'
MIXED = 'version: v1\nflags: {migStrategy: mixed}\n'
SMALL, LARGE = 'nvidia.com/mig-1g.5gb', 'nvidia.com/mig-3g.20gb'
LAYOUTS = (ROOT / 'tests/data/mig-layouts.yaml').read_text()


@pytest.fixture(autouse=True)
def machine(node):
    reset_as(node, 'p4d.24xlarge')  # eight A100


@pytest.fixture
def cluster(node):
    return Cluster(node)


def ask(cluster, layout):
    """Labels the Node; returns from where on the answer can be awaited."""
    since = cluster.mark()
    cluster.tell(labels={LABEL: layout} if layout else {})
    return since


def wait_state(cluster, word, since=0):
    return cluster.wait('state', lambda state: {'key': STATE, 'value': word} in state.get('extraLabels', []), since=since)


def start(node, cluster, *arguments, layout=None):
    cluster.greet = {'labels': {LABEL: layout} if layout else {}}
    return node.start_agent(MIXED, '--node-name=gpu-1', '--mig-partition', *arguments)


def partition(node, cluster, layout, *arguments):
    """A node with that layout in force; returns the agent."""
    node.start_kubelet()
    agent = start(node, cluster, *arguments, layout=layout)
    wait_state(cluster, 'success')
    return agent


def test_a_pod_of_the_guide_runs_and_so_do_56(node, cluster):
    partition(node, cluster, 'all-1g.5gb')
    node.wait_allocatable(56, SMALL)
    ids = held_ids(node.run_pods(1, name='guide', resource=SMALL))
    assert len(ids) == 1 and ids[0].startswith('MIG-')
    pods = node.run_pods(55, name='rest', resource=SMALL)
    assert len(set(held_ids(pods))) == 56
    event = cluster.wait_event('MIGLayoutApplied')
    assert event['message'] == 'the MIG layout all-1g.5gb (label nvidia.com/mig.config) is in force'


def waited_for(cluster):
    """GPU -> the pods that its layout waits for, by the last state; None while a uid is not known."""
    text = cluster.all('state')[-1]['migWaits']
    told = {gpu['index']: gpu['pods'] for gpu in json.loads(text)['gpus']} if text else {}
    return None if any(not pod['uid'] for pods in told.values() for pod in pods) or len(told) < 4 else told


def test_four_gpus_are_partitioned_while_pods_run_on_the_others(node, cluster):
    layouts = node.folder / 'layouts.yaml'
    layouts.write_text(LAYOUTS)
    agent = partition(node, cluster, 'all-1g.5gb', '--mig-config-file', layouts)
    node.wait_allocatable(56, SMALL)
    before = node.run_pods(56, resource=SMALL)
    on = {one.split('::')[0] for one in held_ids(before)}
    assert len(on) == 56
    # Nothing is to be had of GPUs 4 to 7 while pods are on them; they are named, and nothing is destroyed.
    since = ask(cluster, 'half')
    waits = cluster.wait_event('MIGLayoutWaits', since=since)
    assert 'GPU 4 waits for pod default/demo-' in waits['message'] and waits['warning']
    assert 'GPU 0' not in waits['message']
    wait_state(cluster, 'pending', since)
    assert node.pods() == before
    # For the controller all of them are named, each with its uid.
    eventually(lambda: waited_for(cluster), 'the pods are published with their uids')
    told = waited_for(cluster)
    assert sorted(told) == [4, 5, 6, 7] and all(len(pods) == 7 for pods in told.values())
    assert len({pod['uid'] for pods in told.values() for pod in pods}) == 28
    # They end; 28 pods are left, on whatever GPU. What is free goes when its GPU is, and none that runs is disturbed.
    node.apply(deployment('demo', 0, {SMALL: 1}))
    wait_state(cluster, 'success', since)
    node.wait_allocatable(28, SMALL)
    node.wait_allocatable(8, LARGE)
    assert not cluster.all('state')[-1]['migWaits']
    kept = node.run_pods(28, resource=SMALL)
    since = ask(cluster, 'all-balanced')  # GPUs 4 to 7 can have it now, the others wait
    waits = cluster.wait_event('MIGLayoutWaits', since=since)
    node.wait_allocatable(4, LARGE)
    assert node.pods() == kept
    assert agent.alive()


def test_without_the_label_a_layout_stays(node, cluster):
    agent = partition(node, cluster, 'all-1g.5gb')
    node.wait_allocatable(56, SMALL)
    since = ask(cluster, None)
    cluster.wait('state', lambda state: all(label['key'] != STATE for label in state.get('extraLabels', [])), since=since)
    assert agent.end() == 0
    start(node, cluster)  # it is adopted as it is
    node.wait_allocatable(56, SMALL)
    node.run_pods(56, resource=SMALL)


def test_counts_in_the_configuration(node, cluster):
    """What a SliceProfile with mig.devices gives the agent: no file of layouts, and no name."""
    cluster.greet = {'labels': {}}
    node.start_kubelet()
    node.start_agent(MIXED + 'gpuslice: {mig: {layout: "3 x 1g.5gb, 1 x 4g.20gb"}}\n', '--node-name=gpu-1', '--mig-partition')
    node.wait_allocatable(24, SMALL)
    node.wait_allocatable(8, 'nvidia.com/mig-4g.20gb')
    assert '3 x 1g.5gb, 1 x 4g.20gb (gpuslice.mig.layout)' in cluster.wait_event('MIGLayoutApplied')['message']


def test_a_layout_that_the_gpus_cannot_have_fails_with_what_they_can(node, cluster):
    node.start_kubelet()
    start(node, cluster, layout='all-9g.99gb')
    failed = cluster.wait_event('MIGLayoutFailed')
    assert '1g.5gb' in failed['message'] and 'all-9g.99gb' in failed['message']
    wait_state(cluster, 'failed')
    node.wait_allocatable(8)  # they are as they were
    wait_state(cluster, 'success', ask(cluster, 'all-disabled'))
    node.wait_allocatable(8)


@pytest.mark.parametrize('steps', [1, 9, 16, 30])
def test_a_killed_agent_is_followed_by_one_that_goes_on(node, cluster, steps):
    node.start_kubelet()
    agent = start(node, cluster, layout='all-balanced')
    eventually(lambda: agent.count('next step') >= steps, f'{steps} steps')
    agent.send(signal.SIGKILL)
    agent.wait()
    start(node, cluster, layout='all-balanced')
    wait_state(cluster, 'success')
    node.wait_allocatable(16, SMALL)
    node.wait_allocatable(8, 'nvidia.com/mig-2g.10gb')
    node.wait_allocatable(8, LARGE)


def test_a_layout_is_back_after_a_reboot(node, cluster):
    agent = partition(node, cluster, 'all-1g.5gb')
    assert agent.end() == 0
    (node.folder / 'machine.state').unlink()  # instances do not outlive it
    start(node, cluster, layout='all-1g.5gb')
    wait_state(cluster, 'success', cluster.mark())
    node.wait_allocatable(56, SMALL)


def states(cluster):
    """The values of the state label as they followed each other."""
    told = [label['value'] for state in cluster.all('state') for label in state.get('extraLabels', []) if label['key'] == STATE]
    return [value for i, value in enumerate(told) if i == 0 or told[i - 1] != value]


def test_where_a_reset_is_refused_the_gpus_stay_whole_and_offered(node, cluster):
    node.sim('inject', 'reset-refused', 'all', 'on')
    node.start_kubelet()
    agent = start(node, cluster, layout='all-1g.5gb')
    wait_state(cluster, 'failed')
    eventually(lambda: agent.count('step="reset the GPU"') >= 3 * 8, 'retries')
    node.wait_allocatable(8)
    assert states(cluster) == ['pending', 'failed']
    node.run_pods(8)
    # Nobody wants it any more: the next reboot does not bring it either.
    since = ask(cluster, None)
    cluster.wait('state', lambda state: all(label['key'] != STATE for label in state.get('extraLabels', [])), since=since)
    eventually(lambda: 'after a reset' not in node.sim('mig', 'list'), 'modes that are taken back')
    node.wait_allocatable(8)


def whole_layouts(node):
    """The layout of each GPU, as sorted profile names; an empty GPU instance is named."""
    gpus = {}
    for line in node.sim('mig', 'list').splitlines():
        gpu = re.match(r'\s*GPU (\d+): (.*)', line)
        profile = re.search(r'\d+g\.\d+gb', gpu[2])
        gpus.setdefault(gpu[1], []).append('empty' if 'empty' in gpu[2] else profile[0] if profile else gpu[2])
    return [' '.join(sorted(gpu)) for gpu in gpus.values()]


@pytest.mark.parametrize('is_killed', [False, True])
@pytest.mark.parametrize('steps', [1, 4, 9, 17])
def test_a_layout_that_is_no_longer_wanted_leaves_no_gpu_half_made(node, cluster, steps, is_killed):
    agent = partition(node, cluster, 'all-1g.5gb')
    node.wait_allocatable(56, SMALL)
    begun = agent.count('next step')
    ask(cluster, 'all-balanced')
    eventually(lambda: agent.count('next step') >= begun + steps, f'{steps} steps')
    if is_killed:
        agent.send(signal.SIGKILL)
        agent.wait()
        start(node, cluster)
    else:
        ask(cluster, None)
    allowed = {' '.join(['1g.5gb'] * 7), '1g.5gb 1g.5gb 2g.10gb 3g.20gb'}
    eventually(lambda: set(whole_layouts(node)) <= allowed, 'the old layout or the new one on each GPU')
    new = sum('3g.20gb' in gpu for gpu in whole_layouts(node))
    node.wait_allocatable(7 * (8 - new) + 2 * new, SMALL)
    node.wait_allocatable(new, LARGE)
    eventually(lambda: not (node.folder / 'grants/mig-begun').exists(), 'nothing that is still to be made')


def test_a_step_that_fails_everywhere_leaves_the_other_gpus_serving(node, cluster):
    partition(node, cluster, 'all-1g.5gb')
    node.wait_allocatable(56, SMALL)
    node.sim('inject', 'error', 'nvmlGpuInstanceDestroy', 'UNKNOWN')
    since = ask(cluster, 'all-3g.20gb')
    cluster.wait('event', lambda event: 'GPU 7 wait until steps no longer fail' in event['message'], since=since)
    wait_state(cluster, 'failed', since)
    node.wait_allocatable(6 * 7, SMALL)
    node.run_pods(6 * 7, resource=SMALL)
    node.apply(deployment('demo', 0, {SMALL: 1}))
    node.sim('inject', 'error', 'nvmlGpuInstanceDestroy', 'none')
    wait_state(cluster, 'success', since)
    node.wait_allocatable(16, LARGE)


def test_a_layout_that_fails_says_how_to_be_rid_of_it(node, cluster):
    """Whose last step fails each time: without the label the GPUs are again what they were."""
    calls = ['nvmlGpuInstanceCreateComputeInstance', 'nvmlGpuInstanceCreateComputeInstanceWithPlacement']
    node.start_kubelet()
    start(node, cluster)
    node.wait_allocatable(8)
    for call in calls:
        node.sim('inject', 'error', call, 'UNKNOWN')
    since = ask(cluster, 'all-1g.5gb')
    way_out = 'not offered until a retry succeeds, another layout is chosen, or none (then what was there comes back)'
    wait_state(cluster, 'failed', since)
    failed = cluster.wait('event', lambda event: event['reason'] == 'MIGLayoutFailed' and way_out in event['message'], since=since)
    assert 'label nvidia.com/mig.config' in failed['message']
    cluster.wait('state', lambda state: way_out in state['message'], since=since)
    node.wait_allocatable(6)  # two are stuck, and no further one is begun
    since = ask(cluster, None)
    cluster.wait('state', lambda state: all(label['key'] != STATE for label in state.get('extraLabels', [])), since=since)
    node.wait_allocatable(8)
    node.run_pods(8)
    assert 'GPU instance' not in node.sim('mig', 'list')
    assert not (node.folder / 'grants/mig-begun').exists()


def test_an_empty_gpu_that_the_layout_does_not_name_is_left_out_with_a_reason(node, cluster):
    """It is nobody's intention, as it is with those that the layout leaves without devices."""
    (node.folder / 'layouts.yaml').write_text('version: v1\nmig-configs:\n  mine:\n'
                                              '  - {devices: [0], mig-enabled: true, mig-devices: {"1g.5gb": 7}}\n'
                                              '  - {devices: [1], mig-enabled: true, mig-devices: {}}\n')
    for gpu in ('2', '3'):
        node.sim('mig', 'on', gpu)
        node.sim('mig', 'reset', gpu)
    partition(node, cluster, 'mine', '--mig-config-file', node.folder / 'layouts.yaml')
    node.wait_allocatable(7, SMALL)
    left_out = cluster.wait('event', lambda event: event['reason'] == 'GPULeftOut')
    assert left_out['message'].startswith('GPUs 2, 3 are not offered: MIG is enabled, and there is no MIG device')
    # Without the layout that is true of GPU 1, too.
    since = ask(cluster, None)
    later = cluster.wait('event', lambda event: event['reason'] == 'GPULeftOut', since=since)
    assert later['message'].startswith('GPUs 1, 2, 3 are not offered')


def test_a_layout_for_other_gpus_is_answered(node, cluster):
    """A tool that waits for the state gets it, as from NVIDIA's MIG manager; and an event tells why nothing changed."""
    (node.folder / 'layouts.yaml').write_text('version: v1\nmig-configs:\n  mine:\n'
                                              '  - {device-filter: "0x233010DE", devices: all, mig-enabled: true, mig-devices: {"1g.10gb": 7}}\n')
    partition(node, cluster, 'mine', '--mig-config-file', node.folder / 'layouts.yaml')
    applied = cluster.wait('event', lambda event: event['reason'] == 'MIGLayoutApplied')
    assert applied['message'].startswith('the MIG layout mine (label nvidia.com/mig.config) leaves all GPUs of this node as they are')
    node.wait_allocatable(8)


def test_an_excluded_gpu_is_not_touched(node, cluster):
    node.start_kubelet()
    cluster.greet = {'labels': {LABEL: 'all-1g.5gb'}}
    node.start_agent(MIXED + 'gpuslice: {excludeDevices: [0]}\n', '--node-name=gpu-1', '--mig-partition')
    wait_state(cluster, 'success')
    node.wait_allocatable(7 * 7, SMALL)
    partitioned = [gpu for gpu in whole_layouts(node) if '1g.5gb' in gpu]
    assert partitioned == [' '.join(['1g.5gb'] * 7)] * 7


def test_what_is_applied_beside_no_agent_replaces_what_one_had_begun(node, cluster):
    node.start_kubelet()
    agent = start(node, cluster, layout='all-1g.5gb')
    agent.wait_line('next step', n=6)  # a GPU in between
    agent.send(signal.SIGKILL)
    agent.wait()
    assert (node.folder / 'grants/mig-begun').exists()
    layout = node.folder / 'layout.yaml'
    layout.write_text('version: v1\nmig-configs: {x: [{devices: all, mig-enabled: true, mig-devices: {1g.5gb: 3}}]}\n')
    done = node.run('gpuslice', 'mig', 'apply', '-f', layout, check=False, GPUSLICE_STATE_DIR=str(node.folder / 'state'),
                    LD_LIBRARY_PATH=str(BUILD / 'sim/nvml'))
    assert done.returncode == 0, done.stderr
    agent = start(node, cluster)
    node.wait_allocatable(8 * 3, SMALL)
    node.run_pods(8 * 3, resource=SMALL)
    assert not agent.count('next step')


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGKILL])
def test_a_mode_is_taken_back_though_the_label_goes_while_the_agent_is_down(node, cluster, how):
    node.sim('inject', 'reset-refused', 'all', 'on')
    node.start_kubelet()
    agent = start(node, cluster, layout='all-1g.5gb')
    wait_state(cluster, 'failed')
    agent.send(how)
    agent.wait()
    agent = start(node, cluster)
    eventually(lambda: 'after a reset' not in node.sim('mig', 'list'), 'modes that are taken back')
    node.wait_allocatable(8)
    assert not agent.count('reset the GPU') and not agent.count('enable MIG')  # it was only remembered


def test_a_gpu_that_a_monitoring_agent_has_stays_offered(node, cluster):
    node.sim('inject', 'process', 'add', '7', '4242', '1Gi', 'nv-hostengine', 'client')
    node.start_kubelet()
    start(node, cluster, layout='all-1g.5gb')
    waits = cluster.wait_event('MIGLayoutWaits')
    assert 'GPU 7 waits for ' in waits['message'] and 'pid 0' not in waits['message']
    node.wait_allocatable(49, SMALL)
    node.wait_allocatable(1)
    node.run_pods(1)


def test_what_the_gpu_operator_deploys_is_paused_while_it_is_in_the_way(node, cluster):
    def told(since):
        return cluster.wait('state', lambda state: state['handlesClients'] and state['pausesClients'], since=since)

    node.sim('inject', 'process', 'add', '7', '4242', '1Gi', 'nv-hostengine', 'client')
    node.start_kubelet()
    start(node, cluster, '--mig-pause-clients', layout='all-1g.5gb')
    told(0)
    node.sim('inject', 'process', 'remove', '7', '4242')  # its pod is taken away
    wait_state(cluster, 'success')
    cluster.wait('state', lambda state: {'key': STATE, 'value': 'success'} in state['extraLabels'] and state['handlesClients']
                 and not state['pausesClients'])


def test_a_strategy_is_no_news_where_a_layout_is_wanted(node, cluster):
    node.sim('inject', 'reset-refused', 'all', 'on')
    node.start_kubelet()
    agent = start(node, cluster, layout='all-1g.5gb')
    wait_state(cluster, 'failed')
    eventually(lambda: agent.count('step="reset the GPU"') >= 2 * 8, 'retries')
    assert 'MIGStrategy' not in [event['reason'] for event in cluster.all('event')]
    since = ask(cluster, None)
    cluster.wait('state', lambda state: all(label['key'] != STATE for label in state.get('extraLabels', [])), since=since)
    wait_state(cluster, 'failed', ask(cluster, 'all-1g.5gb'))  # it is withheld and offered many times
    assert sum(event['reason'] == 'MIGStrategy' for event in cluster.all('event')) <= 1


def test_a_driver_without_profiles_while_mig_is_off(node, cluster):
    old = node.folder / 'old.yaml'
    old.write_text('machine: old\ndriver: {version: 525.147.05, cuda: "12.0"}\nmodel: A100-SXM4-40GB\ngpus:\n- {pci: "0000:00:1b.0"}\n')
    reset_as(node, old)
    partition(node, cluster, 'all-1g.5gb')
    node.wait_allocatable(7, SMALL)


def test_a_driver_without_profiles_and_a_layout_that_is_impossible(node, cluster):
    """The catalog knows the model: nothing is changed, and pods have the GPU meanwhile."""
    old = node.folder / 'old.yaml'
    old.write_text('machine: old\ndriver: {version: 525.147.05, cuda: "12.0"}\nmodel: A100-SXM4-40GB\ngpus:\n- {pci: "0000:00:1b.0"}\n')
    layouts = node.folder / 'tight.yaml'
    layouts.write_text('version: v1\nmig-configs: {tight: [{devices: all, mig-enabled: true, mig-devices: {3g.20gb: 3}}]}\n')
    reset_as(node, old)
    node.environment['GPUSLICE_CATALOG'] = str(ROOT / 'share/catalog')  # the agent runs as a copy, outside of the build folder
    before = node.sim('mig', 'list')
    node.start_kubelet()
    agent = start(node, cluster, '--mig-config-file', layouts, layout='tight')
    failed = cluster.wait_event('MIGLayoutFailed')
    assert 'the most of it that fits is 2 x 3g.20gb' in failed['message']
    wait_state(cluster, 'failed')
    node.wait_allocatable(1)
    assert node.sim('mig', 'list') == before and agent.count('next step') == 0


def test_a_configuration_wants_a_layout_without_a_cluster(node):
    node.start_kubelet()
    node.start_agent(MIXED + 'gpuslice: {mig: {layout: all-7g.40gb}}\n', '--mig-partition')
    node.wait_allocatable(8, 'nvidia.com/mig-7g.40gb')
    node.configure(MIXED + 'gpuslice: {mig: {layout: all-disabled}}\n')
    node.wait_allocatable(8)


def test_a_wanted_layout_without_the_right_to_make_it_is_told(node, cluster):
    node.start_kubelet()
    cluster.greet = {}
    node.start_agent(MIXED + 'gpuslice: {mig: {layout: all-7g.40gb}}\n', '--node-name=gpu-1')
    assert '--mig-partition' in cluster.wait_event('MIGLayoutFailed')['message']
    node.wait_allocatable(8)


def test_beside_an_agent_pods_keep_their_mig_devices(node):
    """An agent that does not partition holds no lock; no process of a pod uses the GPU, so the driver knows of none."""
    for gpu in (0, 1):
        node.sim('mig', 'on', gpu)
        node.sim('mig', 'reset', gpu)
    node.sim('mig', 'create', 0, *['1g.5gb'] * 7)
    node.start_kubelet()
    agent = node.start_agent(MIXED)
    node.wait_allocatable(7, SMALL)
    pods = node.run_pods(1, resource=SMALL)
    node.apply(deployment('whole', 1, {'nvidia.com/gpu': 1}))
    node.wait_for('pods=2')
    layout, before = node.folder / 'layout.yaml', node.sim('mig', 'list')
    layout.write_text('version: v1\nmig-configs: {x: [{devices: [0], mig-enabled: true, mig-devices: {"7g.40gb": 1}}]}\n')
    beside = {'GPUSLICE_STATE_DIR': str(node.folder / 'state'), 'LD_LIBRARY_PATH': str(BUILD / 'sim/nvml')}
    for way in (beside, {**beside, 'GPUSLICE_STATE_DIR': str(node.folder / 'other'),
                         'GPUSLICE_DEVICE_PLUGIN_DIR': str(node.plugins)}):
        done = node.run('gpuslice', 'mig', 'apply', '-f', layout, check=False, **way)
        assert done.returncode == 1 and 'GPU 0 keeps its layout: it is used by container main of pod' in done.stderr
        assert '(MIG device 0:' in done.stderr and pods[0]['uid'] in done.stderr
        assert node.sim('mig', 'list') == before
    done = node.run('gpuslice', 'mig', 'apply', '-c', 'all-enabled', check=False, **beside)
    assert done.returncode == 1 and '(GPU ' in done.stderr
    before = node.sim('mig', 'list')
    agent.end()
    done = node.run('gpuslice', 'mig', 'apply', '-f', layout, check=False, **beside)
    assert done.returncode == 1 and node.sim('mig', 'list') == before
    (node.plugins / 'kubelet_internal_checkpoint').write_text('{')
    done = node.run('gpuslice', 'mig', 'apply', '-f', layout, check=False, **beside)
    assert done.returncode == 1 and 'it is unknown which pods have GPUs' in done.stderr
    (node.plugins / 'kubelet_internal_checkpoint').unlink()
    done = node.run('gpuslice', 'mig', 'apply', '-f', layout, check=False, **beside)
    assert done.returncode == 1 and 'a pod that begins or has just ended (MIG device 0:' in done.stderr
    assert node.sim('mig', 'list') == before


def test_an_agent_waits_for_who_changes_layouts(node, cluster):
    (node.folder / 'state').mkdir()
    with open(node.folder / 'state/mig.lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write('gpuslice mig apply (pid 17)\n')
        lock.flush()
        node.start_kubelet()
        agent = start(node, cluster, layout='all-1g.5gb')
        agent.wait_line('no GPU is partitioned yet.*gpuslice mig apply .pid 17. changes how the GPUs')
        wait_state(cluster, 'failed')
        assert 'GPU instance' not in node.sim('mig', 'list')
    wait_state(cluster, 'success')
    node.wait_allocatable(56, SMALL)


def test_gpus_that_a_layout_leaves_without_devices_are_no_fault(node, cluster):
    partition(node, cluster, 'all-enabled')
    node.wait_allocatable(0)
    assert 'GPULeftOut' not in [event['reason'] for event in cluster.all('event')]
