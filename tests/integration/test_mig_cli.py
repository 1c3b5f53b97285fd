# SPDX-License-Identifier: Apache-2.0
"""`gpuslice mig`, and `gpuslice check` of mig-parted's files."""
import fcntl
import json
import os
import subprocess

import pytest
import yaml
from node import BUILD, PROGRAMS
from test_cli import CLEAN, ERRORS, WARNINGS, run

LAYOUTS = """version: v1
mig-configs:
  all-disabled:
  - {devices: all, mig-enabled: false}
  all-1g.5gb:
  - devices: all
    mig-enabled: true
    mig-devices: {"1g.5gb": 7}
"""
ONE = 'version: v1\nmig-configs: {only: [{devices: all, mig-enabled: false}]}\n'
VALID = 'Selected MIG configuration is valid\n'
FAILED = 1


def in_map(text):
    lines = ''.join(f'    {line}\n' for line in text.splitlines())
    return ('apiVersion: v1\nkind: ConfigMap\nmetadata: {name: default-mig-parted-config}\n'
            f'data:\n  config.yaml: |\n{lines}')


def in_values(text):
    lines = ''.join(f'        {line}\n' for line in text.splitlines())
    return f'migManager:\n  config:\n    default: all-disabled\n    data:\n      config.yaml: |\n{lines}'


SHAPES = {'bare': lambda text: text, 'ConfigMap': in_map, 'values': in_values}


# --- check ---

@pytest.mark.parametrize('shape', SHAPES)
def test_check_recognises_the_file_in_every_shape(shape):
    done = run('check', '-', stdin=SHAPES[shape](LAYOUTS))
    assert (done.returncode, done.stdout) == (CLEAN, '<stdin>: clean\n')
    done = run('check', '-', stdin=SHAPES[shape](LAYOUTS.replace('"1g.5gb": 7', '"1g.5g": 7')))
    assert done.returncode == ERRORS and "the MIG profile '1g.5g' is not" in done.stdout
    line = next(n for n, text in enumerate(SHAPES[shape](LAYOUTS).splitlines(), 1) if 'mig-devices' in text)
    assert f'<stdin>:{line}:' in done.stdout


def test_check_looks_at_both_kinds_of_values():
    values = 'config: {map: {any: "version: v2"}}\n' + in_values(LAYOUTS.replace('false', 'fals'))
    done = run('check', '-', stdin=values)
    assert done.returncode == ERRORS
    assert 'version v1' in done.stdout and "got 'fals'" in done.stdout


def test_check_warns_of_what_mig_parted_ignores():
    done = run('check', '-', stdin=ONE.replace('devices', 'device-filter: A100, devices'))
    assert done.returncode == WARNINGS and "'A100' is not a PCI id" in done.stdout


def test_the_agents_verbs_refuse_it():
    done = run('plan', '-', '-m', 'p4d.24xlarge', stdin=LAYOUTS)
    assert done.returncode == ERRORS and 'a configuration of mig-parted' in done.stderr


def test_check_compares_it_with_a_machine():
    text = """version: v1
mig-configs:
  good: [{devices: all, mig-enabled: true, mig-devices: {3g.20gb: 2}}]
  other: [{devices: all, mig-enabled: true, mig-devices: {1g.10gb: 1, 1g.6gb: 4}}]
  tight: [{devices: [0, 8], mig-enabled: true, mig-devices: {3g.20gb: 3}}]
"""
    done = run('check', '-', '-m', 'p4d.24xlarge', stdin=text)
    assert done.returncode == WARNINGS
    lines = done.stdout.splitlines()
    assert 'good' not in done.stdout
    assert lines[0].startswith('<stdin>:4:3: note: mig-configs.other: ') and 'no MIG profile 1g.6gb' in lines[0]
    assert lines[1].startswith('<stdin>:5:3: warning: mig-configs.tight: ') and '2 x 3g.20gb' in lines[1]
    assert lines[2].startswith('<stdin>:5:11: warning: ') and 'no GPU 8' in lines[2]


@pytest.mark.parametrize('machine,known', [('g5.12xlarge', 'cannot be partitioned by MIG'),
                                           ('p3.8xlarge', 'cannot be partitioned by MIG'),
                                           ('p5.48xlarge', 'no MIG profile 1g.5gb')])
def test_check_warns_when_no_label_is_for_the_machine(machine, known):
    done = run('check', '-', '-m', machine, stdin=LAYOUTS)
    assert done.returncode == WARNINGS
    assert known in done.stdout and 'none of the labels that turn MIG on' in done.stdout


# --- assert --valid-config ---

@pytest.mark.parametrize('shape', SHAPES)
def test_a_label_is_valid(shape):
    for arguments in (['-c', 'all-1g.5gb', '-a'], ['--selected-config=all-disabled', '--valid-config'], ['-ac', 'all-1g.5gb']):
        done = run('mig', 'assert', '-f', '-', *arguments, stdin=SHAPES[shape](LAYOUTS))
        assert (done.returncode, done.stdout, done.stderr) == (0, VALID, '')


def test_one_label_needs_no_name():
    assert run('mig', 'assert', '-a', '-f', '-', stdin=ONE).stdout == VALID


def test_variables_stand_in_for_options(tmp_path):
    path = tmp_path / 'config.yaml'
    path.write_text(LAYOUTS)
    variables = {'MIG_PARTED_CONFIG_FILE': str(path), 'MIG_PARTED_SELECTED_CONFIG': 'all-1g.5gb',
                 'MIG_PARTED_VALID_CONFIG': 'true'}
    assert run('mig', 'assert', **variables).stdout == VALID
    assert run('mig', 'assert', '-c', 'no', **variables).returncode == FAILED
    assert run('mig', '--debug', 'assert', **variables).stdout == VALID


@pytest.mark.parametrize('arguments,text,said', [
    ([], LAYOUTS, 'several labels; choose one: all-disabled, all-1g.5gb'),
    (['-c', 'all-1g.5g'], LAYOUTS, "did you mean 'all-1g.5gb'?"),
    (['-c', 'x'], '', 'no label'),
    (['-c', 'only'], ONE.replace('v1', 'v2'), '<stdin>:1:10: error: version: only version v1'),
    (['-c', 'only'], '- a\n- b\n', '<stdin>:1:1: error: '),
    (['-c', 'only', '--vaild-config'], ONE, 'did you mean --valid-config?'),
])
def test_every_failure_has_mig_parteds_status(arguments, text, said):
    done = run('mig', 'assert', '-a', '-f', '-', *arguments, stdin=text)
    assert (done.returncode, done.stdout) == (FAILED, '')
    assert said in done.stderr


def test_a_file_is_needed():
    for arguments in ([], ['-f', '/nowhere/config.yaml']):
        done = run('mig', 'assert', '-a', *arguments)
        assert (done.returncode, done.stdout) == (FAILED, '') and done.stderr.startswith('gpuslice: ')


# --- a machine that is partitioned ---

class Machine:
    """A simulated node; `nvidia-smi --gpu-reset` is played by the simulator's own tool."""

    def __init__(self, folder, name):
        self.folder = folder
        self.variables = {'GPUSLICE_MACHINE': str(name), 'GPUSLICE_GRANT_DIR': str(folder / 'grants'),
                          'GPUSLICE_DEVICE_PLUGIN_DIR': str(folder / 'plugins'), 'GPUSLICE_SIM_STATE': str(folder / 'state'),
                          'GPUSLICE_STATE_DIR': str(folder / 'run'), 'GPUSLICE_PROC': str(folder / 'proc'),
                          'GPUSLICE_SYSFS': str(folder / 'sys'), 'LD_LIBRARY_PATH': str(BUILD / 'sim/nvml'),
                          'PATH': f'{folder}/bin:{os.environ["PATH"]}'}
        smi = folder / 'bin/nvidia-smi'
        smi.parent.mkdir()
        smi.write_text(f'#!/bin/sh\necho "$3" >> {folder}/resets\n'
                       f'exec {PROGRAMS["gpuslice-sim"]} mig reset "$(cat {folder}/index-"$3")"\n')
        smi.chmod(0o755)
        for gpu in self.state():
            (folder / f'index-{gpu["uuid"]}').write_text(str(gpu['index']))

    def sim(self, *arguments):
        return subprocess.run([PROGRAMS['gpuslice-sim'], *map(str, arguments)], check=True, capture_output=True, text=True,
                              timeout=60, env={**os.environ, **self.variables}).stdout

    def state(self):
        return json.loads(self.sim('-o', 'json', 'state'))['gpus']

    def instances(self, gpu):
        return self.state()[gpu]['mig']['instances']

    def mig(self, *arguments, stdin='', **variables):
        return run('mig', *arguments, stdin=stdin, **{**self.variables, **variables})

    def resets(self):
        path = self.folder / 'resets'
        return [int((self.folder / f'index-{uuid}').read_text()) for uuid in path.read_text().split()] if path.exists() else []

    def layout(self):
        """What export says: a list of entries."""
        done = self.mig('export', '-o', 'json')
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)['mig-configs']['current']


@pytest.fixture
def p4d(tmp_path):
    return Machine(tmp_path, 'p4d.24xlarge')


BALANCED = {'1g.5gb': 2, '2g.10gb': 1, '3g.20gb': 1}
APPLIED = 'MIG configuration applied successfully\n'


def wants(*entries):
    return json.dumps({'version': 'v1', 'mig-configs': {'x': list(entries)}})


def on(devices, **counts):
    return {'devices': devices, 'mig-enabled': True,
            'mig-devices': {name.lstrip('_').replace('_', '.'): count for name, count in counts.items()}}


def test_export_is_what_assert_and_apply_read(p4d):
    assert p4d.layout() == [{'devices': 'all', 'mig-enabled': False, 'mig-devices': {}}]
    p4d.sim('mig', 'on', 'all')
    p4d.sim('mig', 'reset', 'all')
    p4d.sim('mig', 'create', 0, '1c.3g.20gb', '1g.5gb', '1g.5gb')
    p4d.sim('mig', 'create', 1, '3g.20gb', '3g.20gb')
    p4d.sim('mig', 'create', 5, '3g.20gb', '3g.20gb')
    assert p4d.layout() == [
        {'devices': [0], 'mig-enabled': True, 'mig-devices': {'1c.3g.20gb': 1, '1g.5gb': 2}},
        {'devices': [1, 5], 'mig-enabled': True, 'mig-devices': {'3g.20gb': 2}},
        {'devices': [2, 3, 4, 6, 7], 'mig-enabled': True, 'mig-devices': {}}]
    done = p4d.mig('export', '-l', 'before')
    assert done.stdout.startswith('version: v1\nmig-configs:\n  before:\n  - devices: [0]\n    mig-enabled: true\n'
                                  '    mig-devices:\n      1c.3g.20gb: 1\n')
    assert p4d.mig('assert', '-f', '-', stdin=done.stdout).stdout == 'Selected MIG configuration currently applied\n'
    before = p4d.state()
    assert p4d.mig('apply', '-f', '-', stdin=done.stdout).stdout == APPLIED
    assert [gpu['mig'] for gpu in p4d.state()] == [gpu['mig'] for gpu in before]


def test_apply_partitions_and_resets_each_gpu_once(p4d):
    done = p4d.mig('apply', '-c', 'all-balanced')
    assert (done.returncode, done.stdout, done.stderr) == (0, APPLIED, '')
    assert p4d.layout() == [{'devices': 'all', 'mig-enabled': True, 'mig-devices': BALANCED}]
    assert sorted(p4d.resets()) == list(range(8))
    assert p4d.mig('assert', '-c', 'all-balanced').returncode == 0
    assert p4d.mig('apply', '-c', 'all-disabled').stdout == APPLIED
    assert p4d.layout() == [{'devices': 'all', 'mig-enabled': False, 'mig-devices': {}}]


def test_hopper_needs_no_reset(tmp_path):
    machine = Machine(tmp_path, 'p5.48xlarge')
    assert machine.mig('apply', '-c', 'all-1g.10gb').stdout == APPLIED
    assert machine.layout() == [{'devices': 'all', 'mig-enabled': True, 'mig-devices': {'1g.10gb': 7}}]
    assert not machine.resets()


def test_apply_keeps_what_is_as_wanted(p4d):
    p4d.mig('apply', '-f', '-', stdin=wants(on([0, 1], _3g_20gb=2)))
    before = p4d.instances(0)
    done = p4d.mig('apply', '-d', '-f', '-', stdin=wants(on([0], _3g_20gb=1, _1g_5gb=3)))
    assert done.stdout == APPLIED
    after = p4d.instances(0)
    assert [instance for instance in before if instance in after]
    assert 'GPU 1' not in done.stderr and done.stderr.count('destroy GPU instance') == 1


def test_what_is_in_use_is_named_and_stays(p4d):
    p4d.mig('apply', '-c', 'all-7g.40gb')
    p4d.sim('inject', 'process', 'add', '2:0:0', '4242', '1Gi', 'python3')
    before = p4d.instances(2)
    done = p4d.mig('apply', '-c', 'all-3g.20gb')
    assert (done.returncode, done.stdout) == (FAILED, '')
    assert 'GPU 2 keeps its layout: it is used by python3 (pid 4242)' in done.stderr
    assert p4d.instances(2) == before
    assert p4d.layout()[0] == {'devices': [0, 1, 3, 4, 5, 6, 7], 'mig-enabled': True, 'mig-devices': {'3g.20gb': 2}}
    done = p4d.mig('assert', '-c', 'all-3g.20gb')
    assert done.returncode == FAILED and done.stderr.splitlines() == [
        'gpuslice: GPU 2 (NVIDIA A100-SXM4-40GB): now: 7g.40gb; wanted: 2 x 3g.20gb',
        'gpuslice: Assertion failure: selected configuration not currently applied']


def test_a_layout_that_cannot_be_changes_nothing(p4d):
    done = p4d.mig('apply', '-f', '-', stdin=wants(on([0], _1g_5gb=7), on([1], _3g_20gb=3), on([2], _1g_6gb=1)))
    assert (done.returncode, done.stdout) == (FAILED, '')
    assert '2 x 3g.20gb; wanted: 3 x 3g.20gb' in done.stderr and 'GPU 2 has no MIG profile 1g.6gb' in done.stderr
    assert 'nothing was changed' in done.stderr
    assert p4d.layout() == [{'devices': 'all', 'mig-enabled': False, 'mig-devices': {}}]


def test_mode_alone_and_a_reset_of_somebody_else(p4d):
    done = p4d.mig('apply', '-c', 'all-1g.5gb', '-s')
    assert done.returncode == FAILED and 'the mode of 8 GPUs changes with the next reset' in done.stderr
    assert p4d.mig('assert', '-m', '-c', 'all-1g.5gb').returncode == FAILED
    assert p4d.mig('apply', '-c', 'all-1g.5gb', '-sm').stdout == APPLIED
    assert not p4d.resets()
    p4d.sim('mig', 'reset', 'all')
    assert p4d.mig('assert', '-m', '-c', 'all-1g.5gb').stdout == \
        'Selected MIG mode settings from configuration currently applied\n'
    assert p4d.mig('assert', '-c', 'all-1g.5gb').returncode == FAILED


def test_a_mode_that_waits_for_a_reset_is_no_failure_where_nothing_is_to_be_created(p4d):
    p4d.mig('apply', '-c', 'all-1g.5gb')
    done = p4d.mig('apply', '-c', 'all-disabled', '--skip-reset')
    assert (done.returncode, done.stdout) == (0, APPLIED)
    assert 'the mode of 8 GPUs changes with the next reset' in done.stderr
    assert not any(gpu['mig']['pending'] for gpu in p4d.state())


@pytest.mark.parametrize('on_before', [[], [0]])
def test_a_driver_that_tells_no_profiles_while_mig_is_off(tmp_path, on_before):
    """Before R535: the catalog tells, also of one GPU beside another that is partitioned."""
    path = tmp_path / 'machine.yaml'
    path.write_text('machine: old\ndriver: {version: 525.147.05, cuda: "12.0"}\nmodel: A100-SXM4-40GB\n'
                    'gpus: [{pci: "0000:00:1b.0"}, {pci: "0000:00:1c.0"}]\n'
                    f'mig: {[{"gpu": gpu} for gpu in on_before]}\n')
    machine = Machine(tmp_path, path)
    assert machine.mig('plan', '-c', 'all-1g.5gb').returncode == 0
    done = machine.mig('apply', '-f', '-', stdin=wants(on('all', _1g_5gb=3)))
    assert (done.returncode, done.stdout, done.stderr) == (0, APPLIED, '')
    assert machine.mig('assert', '-f', '-', stdin=wants(on('all', _1g_5gb=3))).returncode == 0
    assert machine.mig('apply', '-c', 'all-disabled').stdout == APPLIED


def checkpoint(machine, uid, *ids):
    folder = machine.folder / 'plugins'
    folder.mkdir(exist_ok=True)
    entry = {'PodUID': uid, 'ContainerName': 'main', 'ResourceName': 'nvidia.com/any', 'DeviceIDs': {'-1': list(ids)}, 'AllocResp': None}
    (folder / 'kubelet_internal_checkpoint').write_text(json.dumps({'Data': {'PodDeviceEntries': [entry]}, 'Checksum': 1}))


def test_what_a_pod_has_stays(p4d):
    """The kubelet's checkpoint tells, whatever device plugin gave the device to the pod; the driver knows no process."""
    p4d.mig('apply', '-c', 'all-3g.20gb')
    uuids = {gpu: [device['uuid'] for device in p4d.instances(gpu)] for gpu in (0, 1)}
    checkpoint(p4d, '8d8c1a5e-5c0f-4d6a-9a3b-0f3c1f6a7b1e', uuids[0][1], f'{uuids[1][0]}::2')
    before = [p4d.instances(gpu) for gpu in (0, 1)]
    done = p4d.mig('apply', '-c', 'all-1g.5gb')
    who = 'it is used by container main of pod 8d8c1a5e-5c0f-4d6a-9a3b-0f3c1f6a7b1e'
    assert done.returncode == FAILED
    assert f'GPU 0 keeps its layout: {who} (MIG device 0:1)' in done.stderr
    assert f'GPU 1 keeps its layout: {who} (MIG device 1:0)' in done.stderr
    assert [p4d.instances(gpu) for gpu in (0, 1)] == before
    done = p4d.mig('apply', '-c', 'all-disabled')
    assert done.returncode == FAILED and [p4d.instances(gpu) for gpu in (0, 1)] == before
    # What is beside it may change.
    assert p4d.mig('apply', '-f', '-', stdin=wants(on([0], _3g_20gb=1, _1g_5gb=3))).stdout == APPLIED
    assert before[0][1] in p4d.instances(0)
    (p4d.folder / 'pods').mkdir()  # of a kubelet that has removed the pod
    assert p4d.mig('apply', '-c', 'all-disabled').stdout == APPLIED


def test_every_gpu_needs_an_entry_to_be_as_the_label_wants_it(p4d):
    some = wants({'devices': [0], 'mig-enabled': False})
    done = p4d.mig('assert', '-f', '-', stdin=some)
    assert done.returncode == FAILED and 'GPUs 1-7 (NVIDIA A100-SXM4-40GB): no entry of the label is for it' in done.stderr
    assert p4d.mig('assert', '-m', '-f', '-', stdin=some).returncode == 0
    assert p4d.mig('apply', '-f', '-', stdin=some).returncode == 0


def test_the_last_of_two_entries_counts(p4d):
    both = wants({'devices': 'all', 'mig-enabled': False}, on([3], _7g_40gb=1))
    done = p4d.mig('apply', '-f', '-', stdin=both)
    assert done.stdout == APPLIED and 'which differs; this one counts' in done.stderr
    assert p4d.resets() == [3]
    assert p4d.mig('assert', '-f', '-', stdin=both).returncode == 0


def test_a_filter_chooses_the_model(p4d):
    text = wants({**on('all', _1g_5gb=7), 'device-filter': ['0x20B210DE', '0x20B010DE']},
                 {'device-filter': '0x233010DE', 'devices': 'all', 'mig-enabled': False})
    assert p4d.mig('apply', '-f', '-', stdin=text).stdout == APPLIED
    assert p4d.layout() == [{'devices': 'all', 'mig-enabled': True, 'mig-devices': {'1g.5gb': 7}}]


def test_gpus_without_mig(tmp_path):
    machine = Machine(tmp_path, 'g5.12xlarge')
    for verb in ('apply', 'assert'):
        done = machine.mig(verb, '-f', '-', '-c', 'all-1g.5gb', stdin=LAYOUTS)
        assert done.returncode == FAILED and 'be partitioned by MIG; sharing.timeSlicing' in done.stderr
        assert machine.mig(verb, '-f', '-', '-c', 'all-disabled', stdin=LAYOUTS).returncode == 0
    assert machine.layout() == [{'devices': 'all', 'mig-enabled': False, 'mig-devices': {}}]


def test_hooks_run_in_their_order(p4d):
    hooks = p4d.folder / 'hooks.yaml'
    points = ['apply-start', 'pre-apply-mode', 'pre-apply-config', 'apply-exit']
    hooks.write_text(json.dumps({'version': 'v1', 'hooks': {
        point: [{'command': '/bin/sh', 'args': ['-c', 'echo "$POINT $MIG_PARTED_SELECTED_CONFIG $HOME" >> "$LOG"; echo shown'],
                 'envs': {'POINT': point, 'LOG': str(p4d.folder / 'log')}}] for point in points}}))
    log = p4d.folder / 'log'

    def apply(*arguments):
        log.write_text('')
        done = p4d.mig('apply', '-k', hooks, '-c', *arguments)
        return done, [line.split() for line in log.read_text().splitlines()]

    done, ran = apply('all-balanced')
    assert done.stdout == APPLIED and ran == [[point, 'all-balanced'] for point in points]
    done, ran = apply('all-balanced', '--debug')
    assert done.stdout.count('shown') == 2 and [point for point, _ in ran] == ['apply-start', 'apply-exit']
    done, ran = apply('all-3g.20gb')
    assert [point for point, _ in ran] == ['apply-start', 'pre-apply-config', 'apply-exit']
    hooks.write_text(hooks.read_text().replace('echo shown', 'test $POINT != pre-apply-config'))
    done, ran = apply('all-1g.5gb')
    assert done.returncode == FAILED and 'hook pre-apply-config: /bin/sh failed with status 1' in done.stderr
    assert ran[-1][0] == 'apply-exit' and p4d.mig('assert', '-c', 'all-3g.20gb').returncode == 0


def test_one_at_a_time(p4d):
    folder = p4d.folder / 'run'
    folder.mkdir()
    with open(folder / 'mig.lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write('gpuslice-node (pid 17)\n')
        lock.flush()
        done = p4d.mig('apply', '-c', 'all-1g.5gb')
        assert done.returncode == FAILED and 'gpuslice-node (pid 17) changes how the GPUs' in done.stderr
    assert p4d.mig('apply', '-c', 'all-1g.5gb').stdout == APPLIED


def test_plan_shows_the_steps_and_takes_none(p4d):
    done = p4d.mig('plan', '-f', '-', stdin=wants(on([0, 1], _7g_40gb=1), on([2], _3g_20gb=3)))
    assert done.returncode == FAILED and done.stderr == ''
    assert done.stdout.splitlines() == [
        'GPUs 0-1 (NVIDIA A100-SXM4-40GB): 7g.40gb', '  enable MIG', '  reset the GPU',
        '  create a GPU instance 7g.40gb at memory slice 0', '  create a compute instance 7g.40gb in the GPU instance at memory slice 0',
        'GPU 2 (NVIDIA A100-SXM4-40GB): has no room for all that is wanted; the most of it that fits is 2 x 3g.20gb; wanted: 3 x 3g.20gb',
        'GPUs 3-7 (NVIDIA A100-SXM4-40GB): stays as it is: no entry of the label is for it']
    assert p4d.mig('assert', '-c', 'all-disabled').returncode == 0
    simulated = run('mig', 'plan', '--machine', 'p4d.24xlarge', '-c', 'all-7g.40gb')
    assert simulated.returncode == 0 and simulated.stdout.startswith('GPUs 0-7 (NVIDIA A100-SXM4-40GB): 7g.40gb\n')


def test_plan_names_the_pods_in_the_way_and_their_moves(p4d):
    """As the agent does; see src/slice/test-migmoves.c for the moves."""
    p4d.mig('apply', '-c', 'all-1g.5gb')
    unknown = ('the steps are shown as if nobody used the MIG devices; which pods do is unknown: '
               f'there is no checkpoint of a kubelet in {p4d.folder}/plugins')
    plan = p4d.mig('plan', '-c', 'all-balanced')
    assert plan.returncode == 0 and unknown in plan.stderr and 'waits' not in plan.stdout
    uuid = {device['start']: device['uuid'] for device in p4d.instances(0)}
    uid = '8d8c1a5e-5c0f-4d6a-9a3b-0f3c1f6a7b1e'
    checkpoint(p4d, uid, uuid[1], f'{uuid[5]}::3')
    waits = f'waits for container main of pod {uid}; there is room for all when container main of pod {uid} moves from memory slice 5 to 0'
    plan = p4d.mig('plan', '-c', 'all-balanced')
    assert plan.returncode == 0 and plan.stderr == ''
    lines = plan.stdout.splitlines()
    assert lines[0] == f'GPU 0 (NVIDIA A100-SXM4-40GB): 3g.20gb, 2g.10gb, 2 x 1g.5gb; {waits}' and plan.stdout.count('waits') == 1
    assert 'GPUs 1-7 (NVIDIA A100-SXM4-40GB): 3g.20gb, 2g.10gb, 2 x 1g.5gb' in lines
    assert 'destroy' in lines[1]
    done = run('plan', '--node', '--mig', 'all-balanced', **p4d.variables)
    assert waits in done.stdout and unknown not in done.stderr, done.stdout + done.stderr
    tree = json.loads(run('plan', '--node', '--mig', 'all-balanced', '-o', 'json', **p4d.variables).stdout)
    assert [gpu.get('waits') for gpu in tree['mig']['gpus']] == [waits] + 7 * [None]
    # Nobody has to move where all that is held may stay.
    checkpoint(p4d, uid, uuid[0])
    assert 'waits' not in p4d.mig('plan', '-c', 'all-balanced').stdout
    # What is simulated has no pods, and devices of which nobody knows who has them.
    machine = p4d.folder / 'machine.yaml'
    machine.write_text('type: p4d.24xlarge\nmig: [{gpu: 0, instances: [7g.40gb]}]\n')
    done = run('mig', 'plan', '--machine', machine, '-c', 'all-balanced')
    assert done.returncode == 0 and f'is unknown: {machine} is simulated, without a kubelet' in done.stderr
    assert run('mig', 'plan', '--machine', 'p4d.24xlarge', '-c', 'all-balanced').stderr == ''


def test_a_generated_file_fits_the_machine(p4d):
    path = p4d.folder / 'generated.yaml'
    assert p4d.mig('generate-config', '-f', path).returncode == 0
    labels = yaml.safe_load(path.read_text())['mig-configs']
    assert labels['all-disabled'] == [{'devices': 'all', 'mig-enabled': False, 'mig-devices': {}}]
    assert labels['all-balanced'] == [{'devices': 'all', 'mig-enabled': True, 'mig-devices': BALANCED}]
    assert labels['all-1g.5gb.me'] == [{'devices': 'all', 'mig-enabled': True, 'mig-devices': {'1g.5gb+me': 1}}]
    assert labels['all-1g.5gb'] == [{'devices': 'all', 'mig-enabled': True, 'mig-devices': {'1g.5gb': 7}}]
    done = run('check', path, '-m', 'p4d.24xlarge')
    assert done.returncode == CLEAN and done.stdout == f'{path}: clean\n'
    for label in labels:
        assert p4d.mig('apply', '-f', path, '-c', label).stdout == APPLIED
        assert p4d.mig('assert', '-f', path, '-c', label).returncode == 0
    generated = json.loads(run('mig', 'generate-config', '--machine', 'p5.48xlarge', '-o', 'json').stdout)
    assert generated['mig-configs']['all-1g.10gb'][0]['mig-devices'] == {'1g.10gb': 7}
    done = run('mig', 'generate-config', '--machine', 'g5.12xlarge')
    assert done.returncode == FAILED and 'no GPU of g5.12xlarge (simulated) can be partitioned' in done.stderr


def test_variables_of_apply_and_export(p4d):
    path = p4d.folder / 'config.yaml'
    path.write_text(LAYOUTS)
    variables = {'MIG_PARTED_CONFIG_FILE': str(path), 'MIG_PARTED_SELECTED_CONFIG': 'all-1g.5gb',
                 'MIG_PARTED_SKIP_RESET': 'true', 'MIG_PARTED_MODE_CHANGE_ONLY': '1'}
    assert p4d.mig('apply', **variables).stdout == APPLIED
    assert all(gpu['mig']['pending'] and not gpu['mig']['current'] for gpu in p4d.state())
    exported = json.loads(p4d.mig('export', MIG_PARTED_OUTPUT_FORMAT='json', MIG_PARTED_CONFIG_LABEL='now').stdout)
    assert list(exported['mig-configs']) == ['now']
    done = p4d.mig('export', MIG_PARTED_OUTPUT_FORMAT='xml')
    assert done.returncode == FAILED and 'use one of yaml|json' in done.stderr
