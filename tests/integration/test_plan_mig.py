# SPDX-License-Identifier: Apache-2.0
"""gpuslice plan --mig: a machine as a MIG layout would make it."""
import json

import pytest

from test_cli import CLEAN, ERRORS, UNREADABLE, WARNINGS, run

MIB = 2**20


def plan(machine, layout, *arguments, stdin='', status=CLEAN):
    done = run('plan', '-m', machine, '--mig', layout, '-o', 'json', *arguments, stdin=stdin)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout), done.stderr


def strategy(word):
    return f'version: v1\nflags: {{migStrategy: {word}}}\n'


def test_seven_of_each_of_eight():
    tree, said = plan('p4d.24xlarge', 'all-1g.5gb')
    assert tree['resources'] == {'nvidia.com/mig-1g.5gb': 56}
    assert 'migStrategy' in said and 'mixed' in said
    assert tree['mig']['layout'] == 'all-1g.5gb' and [on['index'] for on in tree['mig']['gpus']] == list(range(8))
    for gpu, on in zip(tree['gpus'], tree['mig']['gpus']):
        assert on['devices'] == '7 x 1g.5gb'
        assert on['steps'][:2] == ['enable MIG', 'reset the GPU'] and len(on['steps']) == 2 + 2 * 7
        assert sorted(step for step in on['steps'] if step.startswith('create a GPU instance')) == [
            f'create a GPU instance 1g.5gb at memory slice {slot}' for slot in range(7)]
        assert gpu['slices'] == [] and len(gpu['mig_devices']) == 7
        for device in gpu['mig_devices']:
            assert device['profile'] == '1g.5gb' and device['memory_bytes'] == 4864 * MIB
            assert device['uuid'].startswith(f'MIG-{gpu["uuid"]}/')
    ids = [slice_['id'] for gpu in tree['gpus'] for device in gpu['mig_devices'] for slice_ in device['slices']]
    assert len(set(ids)) == 56
    labels = tree['labels']
    assert labels['nvidia.com/mig.strategy'] == 'mixed'
    assert labels['nvidia.com/mig-1g.5gb.count'] == '56'
    assert labels['nvidia.com/mig-1g.5gb.product'] == 'NVIDIA-A100-SXM4-40GB-MIG-1g.5gb'
    assert labels['nvidia.com/mig-1g.5gb.memory'] == '4864'
    assert labels['nvidia.com/mig-1g.5gb.multiprocessors'] == '14'
    assert labels['nvidia.com/mig-1g.5gb.slices.gi'] == labels['nvidia.com/mig-1g.5gb.slices.ci'] == '1'


@pytest.mark.parametrize(('machine', 'layout', 'resources'), [
    ('p4d.24xlarge', 'all-balanced', {'mig-1g.5gb': 16, 'mig-2g.10gb': 8, 'mig-3g.20gb': 8}),
    ('p4d.24xlarge', 'all-1g.5gb.me', {'mig-1g.5gb.me': 8}),
    ('p4de.24xlarge', 'all-3g.40gb', {'mig-3g.40gb': 16}),
    ('p5.48xlarge', 'all-7g.80gb', {'mig-7g.80gb': 8}),
    ('2xA30', 'all-balanced', {'mig-1g.6gb': 4, 'mig-2g.12gb': 2}),
    ('1xRTX-PRO-6000-Blackwell-Server-Edition', 'all-1g.24gb-me', {'mig-1g.24gb-me': 4}),
    ('p4d.24xlarge', 'all-disabled', {'gpu': 8}),
    ('g5.12xlarge', 'all-disabled', {'gpu': 4}),
])
def test_layouts(machine, layout, resources):
    tree, _ = plan(machine, layout)
    assert tree['resources'] == {f'nvidia.com/{name}': n for name, n in resources.items()}


def test_the_configuration_decides_how_it_is_offered():
    tree, said = plan('p4d.24xlarge', 'all-2g.10gb', '-', stdin=strategy('single'))
    assert tree['resources'] == {'nvidia.com/gpu': 24} and 'shown as with mixed' not in said
    assert tree['labels']['nvidia.com/gpu.product'] == 'NVIDIA-A100-SXM4-40GB-MIG-2g.10gb'
    tree, said = plan('p4d.24xlarge', 'all-2g.10gb', '-', stdin=strategy('none'), status=1)
    assert tree['resources'] == {'nvidia.com/gpu': 8} and "migStrategy is 'none'" in said
    tree, _ = plan('p4d.24xlarge', 'all-3g.20gb', '-', stdin=strategy('mixed') + (
        'sharing: {timeSlicing: {resources: [{name: nvidia.com/mig-3g.20gb, replicas: 2}]}}\n'))
    assert tree['resources'] == {'nvidia.com/mig-3g.20gb': 32}


def test_enabled_without_devices():
    tree, _ = plan('p5.48xlarge', 'all-enabled', status=1)
    assert tree['resources'] == {}
    assert all(on['steps'] == ['enable MIG'] for on in tree['mig']['gpus'])


def test_hopper_needs_no_reset():
    tree, _ = plan('p5.48xlarge', 'all-7g.80gb')
    assert tree['mig']['gpus'][0]['steps'] == [
        'enable MIG', 'create a GPU instance 7g.80gb at memory slice 0',
        'create a compute instance 7g.80gb in the GPU instance at memory slice 0']


@pytest.mark.parametrize(('machine', 'layout', 'words'), [
    ('g5.12xlarge', 'all-1g.5gb', ['NVIDIA A10G', 'cannot be partitioned by MIG', 'timeSlicing']),
    ('p3.8xlarge', 'all-balanced', ['Tesla V100', 'cannot be partitioned by MIG', 'timeSlicing']),
    ('p4d.24xlarge', 'all-1g.10gb.me', ['NVIDIA A100-SXM4-40GB', 'all-1g.5gb.me', 'all-balanced', 'all-1g.10gb']),
    ('p4d.24xlarge', 'all-1g.6gb', ['has no MIG layout all-1g.6gb', 'all-1g.5gb']),
    ('p4d.24xlarge', 'halves', ["no MIG layout 'halves'", 'all-3g.20gb', '--mig-config FILE']),
    ('p4d.24xlarge', '1g.5gb', ["did you mean 'all-1g.5gb'?"]),
    ('p4d.24xlarge', '1g.5gb.me', ["did you mean 'all-1g.5gb.me'?"]),
    ('p4d.24xlarge', 'balanced', ["did you mean 'all-balanced'?"]),
    ('p3.8xlarge', 'halves', ['no GPU of p3.8xlarge', 'can be partitioned']),
])
def test_what_a_machine_cannot_have(machine, layout, words):
    done = run('plan', '-m', machine, '--mig', layout)
    assert done.returncode == UNREADABLE and done.stdout == ''
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_as_a_table():
    done = run('plan', '-m', 'p4d.24xlarge', '--mig', 'all-3g.20gb')
    assert done.returncode == CLEAN
    assert 'MIG LAYOUT all-3g.20gb\nGPU 0-7: 2 x 3g.20gb, in these steps:\n   1  enable MIG\n' in done.stdout
    assert done.stdout.count('create a GPU instance') == 2
    assert 'mig' not in json.loads(run('plan', '-m', 'p4d.24xlarge', '-o', 'json').stdout)


def test_a_wrong_configuration_comes_first():
    done = run('plan', '-', '-m', 'p4d.24xlarge', '--mig', 'all-1g.5gb', stdin='version: v2\n')
    assert done.returncode == ERRORS and done.stdout == ''


def test_room_for_one_more():
    tree = json.loads(run('plan', '-m', 'p4d.24xlarge', '--mig', 'all-4g.20gb', '--room', '3g.20gb', '-o', 'json').stdout)
    assert tree['room'] == {'profile': '3g.20gb', 'gpus': [
        {'index': i, 'possible': True, 'moves': []} for i in range(8)]}
    done = run('plan', '-m', '2xA30', '--mig', 'all-2g.12gb', '--room', '1g.6gb')
    assert done.returncode == CLEAN
    assert 'ROOM FOR ONE MORE 1g.6gb\nGPU 0: no room, wherever its instances lie\nGPU 1: no room' in done.stdout


def test_the_host_has_no_say_in_a_machine_with_instances(tmp_path):
    """The kernel's list of capability nodes is of this host, if it has one."""
    machine = tmp_path / 'machine.yaml'
    machine.write_text("""machine: one
driver: {version: 550.163.01, cuda: "12.4"}
model: A100-SXM4-40GB
gpus: [{pci: "0000:00:1b.0"}]
mig: [{instances: [3g.20gb, 1g.5gb]}]
""")
    config = tmp_path / 'config.yaml'
    config.write_text('version: v1\nflags: {migStrategy: mixed}\n')
    for verb in ('plan', 'check'):
        done = run(verb, '-m', machine, config)
        assert 'mig-minors' not in done.stdout + done.stderr
        assert done.returncode == CLEAN, done.stderr


def test_an_empty_gpu_instance_in_the_way(tmp_path):
    machine = tmp_path / 'machine.yaml'
    machine.write_text("""machine: one
driver: {version: 550.163.01, cuda: "12.4"}
model: A100-SXM4-40GB
gpus: [{pci: "0000:00:1b.0"}]
mig: [{instances: ['gi:3g.20gb@0', 1g.5gb@5]}]
""")
    done = run('plan', '-m', machine, '--room', '4g.20gb')
    assert 'GPU 0: after this:\n    GPU instance 1 (3g.20gb) at memory slice 0 is destroyed' in done.stdout
    tree = json.loads(run('plan', '-m', machine, '--room', '4g.20gb', '-o', 'json').stdout)
    assert tree['room']['gpus'] == [{'index': 0, 'possible': True, 'moves': [
        {'gpu_instance': 1, 'profile': '3g.20gb', 'from': 0, 'to': None}]}]
    assert 'GPU 0: there is room\n' in run('plan', '-m', machine, '--room', '3g.20gb').stdout


@pytest.mark.parametrize(('arguments', 'words'), [
    (['--room', '3g.20gb'], ['MIG enabled', '--mig']),
    (['--mig', 'all-1g.5gb', '--room', '3g.40gb'], ['has the MIG profile 3g.40gb', '3g.20gb (2)']),
    (['--mig', 'all-1g.5gb', '--room', '3g'], ["'3g'", "'1g.5gb'"]),
])
def test_no_room_to_speak_of(arguments, words):
    done = run('plan', '-m', 'p4d.24xlarge', *arguments)
    assert done.returncode == UNREADABLE and done.stdout == ''
    for word in words:
        assert word in done.stderr


PARTED = """version: v1
mig-configs:
  partly:
  - {devices: [0], mig-enabled: true, mig-devices: {3g.20gb: 3}}
  - {devices: [1], mig-enabled: true, mig-devices: {3g.20gb: 2}}
  only-too-much:
  - {devices: [5], mig-enabled: true, mig-devices: {7g.40gb: 2}}
  far:
  - {devices: [9], mig-enabled: true, mig-devices: {3g.20gb: 2}}
  other-model:
  - {device-filter: "0x233010DE", devices: all, mig-enabled: true, mig-devices: {7g.80gb: 1}}
  some:
  - devices: [0, 1]
    mig-enabled: true
    mig-devices: {1c.3g.20gb: 3, 3g.20gb: 1}
  - devices: [2]
    mig-enabled: false
  too-much:
  - {devices: all, mig-enabled: true, mig-devices: {3g.20gb: 2, 1g.5gb: 1}}
"""


def test_a_label_of_a_file(tmp_path):
    file = tmp_path / 'parted.yaml'
    file.write_text(PARTED)
    tree, said = plan('p4d.24xlarge', 'some', '--mig-config', file)
    assert tree['resources'] == {'nvidia.com/gpu': 6, 'nvidia.com/mig-1c.3g.20gb': 6, 'nvidia.com/mig-3g.20gb': 2}
    assert [on['devices'] for on in tree['mig']['gpus']] == ['3g.20gb, 3 x 1c.3g.20gb'] * 2 + ['MIG disabled']
    assert said.count('GPUs 3-7 (NVIDIA A100-SXM4-40GB): stays as it is: no entry of the label is for it') == 1
    done = run('plan', '-m', 'p4d.24xlarge', '--mig', 'too-much', '--mig-config', file)
    assert done.returncode == UNREADABLE
    assert 'the most of it that fits is 2 x 3g.20gb; wanted: 2 x 3g.20gb, 1g.5gb' in done.stderr
    tree, said = plan('p4d.24xlarge', 'partly', '--mig-config', file, status=WARNINGS)
    assert said.count('warning: --mig: GPU 0 (NVIDIA A100-SXM4-40GB): has no room') == 1 and 'fits is 2 x 3g.20gb' in said
    assert [on['devices'] for on in tree['mig']['gpus']] == ['2 x 3g.20gb']
    for label, words in (('only-too-much', 'would have only-too-much: GPU 5 (NVIDIA A100-SXM4-40GB) has no room'),
                         ('far', 'GPU 0 (NVIDIA A100-SXM4-40GB) stays as it is: no entry of the label is for it'),
                         ('other-model', 'no GPU of p4d.24xlarge (simulated) would have other-model')):
        done = run('plan', '-m', 'p4d.24xlarge', '--mig', label, '--mig-config', file)
        assert done.returncode == UNREADABLE and done.stdout == '' and words in done.stderr
    done = run('plan', '-m', 'g5.12xlarge', '--mig', 'too-much', '--mig-config', file)
    assert done.returncode == UNREADABLE and 'cannot be partitioned by MIG; sharing.timeSlicing' in done.stderr
    done = run('plan', '-m', 'p4d.24xlarge', '--mig', 'none', '--mig-config', file)
    assert done.returncode == UNREADABLE and 'too-much' in done.stderr
    done = run('plan', '-m', 'p4d.24xlarge', '--mig', 'x', '--mig-config', tmp_path / 'absent')
    assert done.returncode == UNREADABLE and 'absent' in done.stderr


@pytest.mark.parametrize('verb', ['check', 'plan'])
def test_the_layout_of_a_configuration_is_looked_at(verb):
    text = strategy('single') + 'gpuslice: {mig: {layout: %s}}\n'
    done = run(verb, '-', '--machine', 'p4d.24xlarge', stdin=text % 'all-1g.12gb')
    assert done.returncode == WARNINGS
    said = done.stdout + done.stderr
    assert ':3:26: warning: gpuslice.mig.layout: GPU 0 (NVIDIA A100-SXM4-40GB) has no MIG layout all-1g.12gb; it has ' in said and 'all-1g.5gb' in said
    done = run(verb, '-', '--machine', 'p4d.24xlarge', stdin=text % 'all-1g.5gb')
    assert done.returncode == CLEAN
    said = done.stdout + done.stderr
    assert 'the layout all-1g.5gb partitions them' in said and 'nvidia.com/mig.config' not in said
    done = run(verb, '-', '--machine', 'g5.12xlarge', stdin=text.replace('single', 'none') % 'all-1g.5gb')
    assert done.returncode == WARNINGS and 'MIG cannot partition NVIDIA A10G' in done.stdout + done.stderr
