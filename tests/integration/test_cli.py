# SPDX-License-Identifier: Apache-2.0
"""gpuslice as a person meets it: its output, its exit status, its help and its manual pages."""
import json
import os
import pty
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get('GPUSLICE_BUILD', ROOT / 'build')).resolve()
GPUSLICE = BUILD / 'src/gpuslice'
PROGRAMS = {'gpuslice-node': BUILD / 'src/gpuslice-node',
            'gpuslice-kubelet': BUILD / 'sim/kubelet/gpuslice-kubelet',
            'gpuslice-sim': BUILD / 'sim/nvml/gpuslice-sim'}
MACHINES = sorted(path.stem for path in (ROOT / 'sim/machines').glob('*.yaml'))
# What AWS publishes, from its own pages and not from share/catalog: count and GPU.
AWS = {'g4dn.xlarge': (1, 'T4'), 'g4dn.2xlarge': (1, 'T4'), 'g4dn.4xlarge': (1, 'T4'), 'g4dn.8xlarge': (1, 'T4'),
       'g4dn.12xlarge': (4, 'T4'), 'g4dn.16xlarge': (1, 'T4'), 'g4dn.metal': (8, 'T4'), 'g5.xlarge': (1, 'A10G'),
       'g5.2xlarge': (1, 'A10G'), 'g5.4xlarge': (1, 'A10G'), 'g5.8xlarge': (1, 'A10G'), 'g5.12xlarge': (4, 'A10G'),
       'g5.16xlarge': (1, 'A10G'), 'g5.24xlarge': (4, 'A10G'), 'g5.48xlarge': (8, 'A10G'), 'g6.xlarge': (1, 'L4'),
       'g6.2xlarge': (1, 'L4'), 'g6.4xlarge': (1, 'L4'), 'g6.8xlarge': (1, 'L4'), 'g6.12xlarge': (4, 'L4'),
       'g6.16xlarge': (1, 'L4'), 'g6.24xlarge': (4, 'L4'), 'g6.48xlarge': (8, 'L4'), 'gr6.4xlarge': (1, 'L4'),
       'gr6.8xlarge': (1, 'L4'), 'g6e.xlarge': (1, 'L40S'), 'g6e.2xlarge': (1, 'L40S'), 'g6e.4xlarge': (1, 'L40S'),
       'g6e.8xlarge': (1, 'L40S'), 'g6e.12xlarge': (4, 'L40S'), 'g6e.16xlarge': (1, 'L40S'),
       'g6e.24xlarge': (4, 'L40S'), 'g6e.48xlarge': (8, 'L40S'), 'p3.2xlarge': (1, 'V100'), 'p3.8xlarge': (4, 'V100'),
       'p3.16xlarge': (8, 'V100'), 'p3dn.24xlarge': (8, 'V100'), 'p4d.24xlarge': (8, 'A100'),
       'p4de.24xlarge': (8, 'A100'), 'p5.4xlarge': (1, 'H100'), 'p5.48xlarge': (8, 'H100'),
       'p5e.48xlarge': (8, 'H200'), 'p5en.48xlarge': (8, 'H200'),
       'g5g.xlarge': (1, 'T4G'), 'g5g.2xlarge': (1, 'T4G'), 'g5g.4xlarge': (1, 'T4G'), 'g5g.8xlarge': (1, 'T4G'),
       'g5g.16xlarge': (2, 'T4G'), 'g5g.metal': (2, 'T4G'), 'g7.2xlarge': (1, 'RTX PRO 4500'),
       'g7.4xlarge': (1, 'RTX PRO 4500'), 'g7.8xlarge': (1, 'RTX PRO 4500'), 'g7.12xlarge': (2, 'RTX PRO 4500'),
       'g7.24xlarge': (4, 'RTX PRO 4500'), 'g7.48xlarge': (8, 'RTX PRO 4500'), 'g7e.2xlarge': (1, 'RTX PRO 6000'),
       'g7e.4xlarge': (1, 'RTX PRO 6000'), 'g7e.8xlarge': (1, 'RTX PRO 6000'), 'g7e.12xlarge': (2, 'RTX PRO 6000'),
       'g7e.24xlarge': (4, 'RTX PRO 6000'), 'g7e.48xlarge': (8, 'RTX PRO 6000'), 'p6-b200.48xlarge': (8, 'B200'),
       'p6-b300.48xlarge': (8, 'B300'), 'p6e-gb200.36xlarge': (4, 'GB200')}
# Every type of the catalog; one that AWS has too little is missed above.
TYPES = sorted({*AWS, *re.findall(r'^  ([\w-]+\.\w+): ', '\n'.join(
    path.read_text() for path in (ROOT / 'share/catalog/types').glob('*.yaml')), re.M)})
GUIDE = ROOT / 'deploy/examples/time-slicing-configmap.yaml'
VERBS = ['plan', 'check', 'who', 'top', 'enforcement', 'run', 'verify', 'mig', 'mig apply', 'mig assert', 'mig export', 'mig generate-config', 'mig plan', 'convert', 'render', 'render karpenter', 'render placeholders', 'render cluster-autoscaler', 'render userdata',
         'version', 'help', 'completion']
MIB = 2**20

CLEAN, WARNINGS, ERRORS, UNREADABLE, USAGE = 0, 1, 2, 3, 64


def run(*arguments, stdin='', **environment):
    for name in ('NO_COLOR', 'GPUSLICE_CATALOG', 'GPUSLICE_MACHINE', 'GPUSLICE_SIM_STATE', 'GPUSLICE_MACHINE_PATH'):
        environment.setdefault(name, None)
    env = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    return subprocess.run([GPUSLICE, *map(str, arguments)], input=stdin, capture_output=True,
                          text=True, env=env, timeout=60, check=False)


def plan(machine, *arguments, stdin='', status=CLEAN):
    done = run('plan', '--machine', machine, '-o', 'json', *arguments, stdin=stdin)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


# --- plan ---

def assert_shape(tree):
    """The shape that gpuslice(1) promises, to the last key."""
    assert list(tree) == ['machine', 'driver', 'resources', 'sharing', 'labels', 'gpus']
    assert list(tree['driver']) == ['version', 'cuda'] and all(tree['driver'].values())
    assert list(tree['sharing']) == list(tree['resources'])
    for sharing in tree['sharing'].values():
        assert list(sharing) == ['sharing', 'per_container', 'advisory']
        assert sharing['sharing'] in ('none', 'time slicing', 'MPS')
        assert sharing['per_container'] in ('one', 'any number')
        assert sharing['advisory'] == (sharing['sharing'] != 'none')
    assert all(isinstance(n, int) and n > 0 for n in tree['resources'].values())
    assert all(isinstance(value, str) for value in tree['labels'].values())
    for gpu in tree['gpus']:
        assert list(gpu) == ['index', 'uuid', 'model', 'memory_bytes', 'left_out', 'slices']
        assert isinstance(gpu['index'], int) and isinstance(gpu['memory_bytes'], int)
        assert isinstance(gpu['uuid'], str) and isinstance(gpu['model'], str)
        assert gpu['left_out'] is None or gpu['left_out']
        for piece in gpu['slices']:
            assert list(piece) == ['id', 'resource', 'share_permille', 'memory_bytes', 'advisory']
            assert piece['advisory'] == ('::' in piece['id'])
            assert piece['id'].split('::')[0] == gpu['uuid']
            assert piece['resource'] in tree['resources']


@pytest.mark.parametrize('machine', MACHINES)
def test_guide_on_every_machine(machine):
    tree = plan(machine, GUIDE)
    assert_shape(tree)
    gpus = tree['gpus']
    assert tree['resources'] == {'nvidia.com/gpu': 4 * len(gpus)}
    ids = [piece['id'] for gpu in gpus for piece in gpu['slices']]
    assert len(set(ids)) == 4 * len(gpus)
    for gpu in gpus:
        assert gpu['left_out'] is None
        assert [piece['share_permille'] for piece in gpu['slices']] == [250] * 4
        parts = [piece['memory_bytes'] for piece in gpu['slices']]
        assert max(parts) - min(parts) <= MIB and all(part % MIB == 0 for part in parts)
        assert 0.9 * gpu['memory_bytes'] < sum(parts) < gpu['memory_bytes']
    assert tree['labels']['nvidia.com/gpu.replicas'] == '4'
    assert tree['labels']['nvidia.com/gpu.count'] == str(len(gpus))
    assert tree['labels']['nvidia.com/gpu.sharing-strategy'] == 'time-slicing'


@pytest.mark.parametrize('machine', TYPES)
def test_every_instance_type_has_the_gpus_that_aws_publishes(machine):
    count, word = AWS[machine]
    tree = plan(machine)
    assert tree['resources'] == {'nvidia.com/gpu': count} and len(tree['gpus']) == count
    assert all(f' {word} ' in ' ' + gpu['model'].replace('-', ' ') + ' ' for gpu in tree['gpus'])
    assert tree['labels']['nvidia.com/gpu.machine'] == machine


@pytest.mark.parametrize('word, name, model', [('4xA10G', '4xA10G', 'NVIDIA A10G'),
                                               ('2XTesla-t4', '2xT4', 'Tesla T4'),
                                               ('16xh100-80gb-hbm3', '16xH100-80GB-HBM3', 'NVIDIA H100 80GB HBM3')])
def test_so_many_of_a_model(word, name, model):
    tree = plan(word, GUIDE)
    count = int(word.lower().split('x')[0])
    assert [gpu['model'] for gpu in tree['gpus']] == [model] * count
    assert tree['resources'] == {'nvidia.com/gpu': 4 * count}
    assert tree['labels']['nvidia.com/gpu.machine'] == name


def test_a_model_that_is_not_there():
    done = run('plan', '-m', '8xA100')
    assert done.returncode == UNREADABLE
    assert "no model 'A100'; did you mean one of A100-SXM4-40GB, A100-SXM4-80GB?" in done.stderr
    done = run('plan', '-m', '17xT4')
    assert done.returncode == UNREADABLE and '1 to 16 GPUs' in done.stderr


def test_a_machine_file_of_a_type(tmp_path):
    machine = tmp_path / 'mine.yaml'
    machine.write_text('type: G5.12xlarge\nmodel: {like: L4, memory: 16Gi}\nfaults: [{gpu: 3, lost: true}]\n')
    tree = plan(machine, status=WARNINGS)
    assert tree['labels']['nvidia.com/gpu.machine'] == 'g5.12xlarge'
    assert [bool(gpu['left_out']) for gpu in tree['gpus']] == [False, False, False, True]
    assert {gpu['memory_bytes'] for gpu in tree['gpus'][:3]} == {16 << 30}


def test_another_catalog(tmp_path):
    """GPUSLICE_CATALOG names the folder; what is wrong in it is named with its place."""
    done = run('plan', '-m', 'g5.2xlarge', GPUSLICE_CATALOG=str(tmp_path))
    assert done.returncode == UNREADABLE and f"the catalog's folder {tmp_path}/models cannot be read" in done.stderr
    shutil.copytree(ROOT / 'share/catalog', tmp_path, dirs_exist_ok=True)
    (tmp_path / 'types/g9.yaml').write_text(
        'family: g9\nmodel: L40S\nnvlink: none\ntypes: {g9.big: {gpus: 2, vcpus: 8, memory: 32Gi}}\n')
    done = run('plan', '-m', 'g9.big', '-o', 'json', GPUSLICE_CATALOG=str(tmp_path))
    assert [gpu['model'] for gpu in json.loads(done.stdout)['gpus']] == ['NVIDIA L40S'] * 2
    (tmp_path / 'types/g9.yaml').write_text('family: g9\nmodel: L40\n')
    done = run('plan', '-m', 'g9.big', GPUSLICE_CATALOG=str(tmp_path))
    assert done.returncode == UNREADABLE and f'{tmp_path}/types/g9.yaml:1:1: ' in done.stderr


@pytest.mark.parametrize('machine', MACHINES)
def test_whole_gpus_without_configuration(machine):
    tree = plan(machine)
    assert_shape(tree)
    assert tree['resources'] == {'nvidia.com/gpu': len(tree['gpus'])}
    assert all(gpu['slices'][0]['id'] == gpu['uuid'] for gpu in tree['gpus'])


def test_main_job_of_the_guide():
    tree = plan('p3.8xlarge', '--config', GUIDE, '--key', 'any')
    assert tree['resources'] == {'nvidia.com/gpu': 16}
    assert {gpu['model'] for gpu in tree['gpus']} == {'Tesla V100-SXM2-16GB'}
    assert tree['labels']['nvidia.com/gpu.product'] == 'Tesla-V100-SXM2-16GB-SHARED'
    assert tree['labels']['nvidia.com/gpu.machine'] == 'p3.8xlarge'


def test_the_same_plan_twice():
    assert run('plan', '-m', 'p4d.24xlarge', '-o', 'json').stdout == \
        run('plan', '-m', 'p4d.24xlarge', '-o', 'json').stdout


def test_thirds_are_exact():
    tree = plan('g4dn.xlarge', '-', stdin='sharing: {timeSlicing: {resources: '
                                          '[{name: nvidia.com/gpu, replicas: 3}]}}')
    pieces = tree['gpus'][0]['slices']
    assert [piece['share_permille'] for piece in pieces] == [334, 333, 333]


def test_table_for_people():
    done = run('plan', GUIDE, '-m', 'p3.8xlarge')
    assert done.returncode == CLEAN and done.stderr == ''
    assert re.search(r'^ +0 +Tesla V100-SXM2-16GB +GPU-\w{8} +16384 MiB +4 x nvidia.com/gpu +25 % +'
                     r'\d+ MiB$', done.stdout, re.M)
    assert re.search(r'^nvidia.com/gpu +16 +time slicing', done.stdout, re.M)
    assert 'advisory' in done.stdout
    assert 'nvidia.com/gpu.product' not in done.stdout
    assert 'nvidia.com/gpu.product' in run('plan', GUIDE, '-m', 'p3.8xlarge', '--labels').stdout


def test_yaml_has_the_content_of_json():
    done = run('plan', GUIDE, '-m', 'g4dn.xlarge', '-o', 'yaml')
    tree = plan('g4dn.xlarge', GUIDE)
    gpu = tree['gpus'][0]
    wanted = ['machine: g4dn.xlarge (simulated)', 'driver:', '  version: "550.163.01"', '  cuda: "12.4"',
              'resources:', '  nvidia.com/gpu: 4', 'sharing:', '  nvidia.com/gpu:', '    sharing: time slicing',
              '    per_container: any number', '    advisory: true', 'labels:',
              *(f'  {key}: ' for key in tree['labels']), 'gpus:', '- index: 0',
              f'  uuid: {gpu["uuid"]}', f'  model: {gpu["model"]}',
              f'  memory_bytes: {gpu["memory_bytes"]}', '  left_out: null', '  slices:']
    for piece in gpu['slices']:
        wanted += [f'  - id: {piece["id"]}', '    resource: nvidia.com/gpu',
                   '    share_permille: 250', f'    memory_bytes: {piece["memory_bytes"]}', '    advisory: true']
    lines = done.stdout.splitlines()
    assert len(lines) == len(wanted)
    assert all(line.startswith(start) for line, start in zip(lines, wanted))
    assert '  nvidia.com/mig.capable: "false"' in lines  # a text, not a boolean


MACHINE_LABEL = 'nvidia.com/gpu.machine'


def test_plan_names_the_machine_as_the_agent_does(tmp_path):
    """flags.gfd.machineTypeFile, also where the file is not here."""
    (tmp_path / 'type').write_text('rack 7\n')
    for given, expected in [('', 'unknown'), (tmp_path / 'type', 'rack-7'), (tmp_path / 'none', 'unknown'),
                            ('/sys/class/dmi/id/product_name', 'p3.8xlarge')]:
        config = tmp_path / 'config.yaml'
        config.write_text(f'version: v1\nflags: {{gfd: {{machineTypeFile: "{given}"}}}}\n')
        done = run('plan', config, '-m', 'p3.8xlarge', '-o', 'json')
        assert json.loads(done.stdout)['labels'][MACHINE_LABEL] == expected, given
        assert ('cannot be read here' in done.stderr) == str(given).endswith('none')
        assert done.returncode == CLEAN
    assert plan('p3.8xlarge', GUIDE)['labels'][MACHINE_LABEL] == 'p3.8xlarge'


def test_plan_has_the_labels_and_taints_of_the_configuration(tmp_path):
    config = tmp_path / 'config.yaml'
    config.write_text('version: v1\ngpuslice:\n  labels: {example.com/rack: "7", nvidia.com/gpu.mode: mine}\n'
                      '  taints: [{key: nvidia.com/gpu, effect: NoSchedule}]\n')
    tree = plan('p3.8xlarge', config)
    assert tree['labels']['example.com/rack'] == '7'
    assert tree['labels']['nvidia.com/gpu.mode'] == 'mine'
    assert tree['labels']['nvidia.com/vgpu.present'] == 'false'
    assert tree['taints'] == [{'key': 'nvidia.com/gpu', 'value': '', 'effect': 'NoSchedule'}]
    table = run('plan', config, '-m', 'p3.8xlarge', '-l').stdout
    assert 'example.com/rack' in table and 'NoSchedule' in table
    assert 'taints' not in plan('p3.8xlarge', GUIDE)


def test_machine_file_and_lost_gpu(tmp_path):
    machine = tmp_path / 'mine.yaml'
    text = (ROOT / 'sim/machines/p3.8xlarge.yaml').read_text()
    machine.write_text(text + 'faults: [{gpu: 1, lost: true}]\n')
    tree = plan(machine, GUIDE, status=WARNINGS)
    assert tree['resources'] == {'nvidia.com/gpu': 12}
    assert [bool(gpu['left_out']) for gpu in tree['gpus']] == [False, True, False, False]
    done = run('plan', GUIDE, '-m', machine)
    assert 'LEFT OUT\nGPU 1: ' in done.stdout and 'GPU 1' in done.stderr
    named = run('plan', '-m', 'mine', '-o', 'json', GPUSLICE_MACHINE_PATH=str(tmp_path))
    assert json.loads(named.stdout)['resources'] == {'nvidia.com/gpu': 3}


def test_bad_machine_file_says_where(tmp_path):
    machine = tmp_path / 'bad.yaml'
    machine.write_text('machine: x\ndriver: {version: 550.1, cuda: 12.4}\ngpsu: []\n')
    done = run('plan', '-m', machine)
    assert done.returncode == UNREADABLE and done.stdout == ''
    assert f'{machine}:3:1: gpsu: unknown key' in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f'gpuslice: cannot simulate {machine}: ')


def test_simulated_state_is_private(tmp_path):
    """Nothing is left behind, and nothing of the environment's machine is touched."""
    state = tmp_path / 'state'
    folder = tmp_path / 'tmp'
    folder.mkdir()
    done = run('plan', '-m', 'p3.2xlarge', GPUSLICE_SIM_STATE=str(state),
               GPUSLICE_MACHINE='p4d.24xlarge', TMPDIR=str(folder))
    assert done.returncode == CLEAN and 'p3.2xlarge (simulated): 1 GPU,' in done.stdout
    assert not state.exists() and list(folder.iterdir()) == []


def test_problems_are_said_and_the_plan_goes_on():
    """As the agent: an unknown key is a warning, the first of two entries wins."""
    text = ('flags: {migStrategey: none}\nsharing:\n  timeSlicing:\n    resources:\n'
            '    - {name: nvidia.com/gpu, replicas: 4}\n    - {name: nvidia.com/gpu, replicas: 8}\n')
    done = run('plan', '-', '-m', 'p3.2xlarge', '-o', 'json', stdin=text)
    assert done.returncode == ERRORS
    assert json.loads(done.stdout)['resources'] == {'nvidia.com/gpu': 4}
    assert '<stdin>:1:9: error: flags.migStrategey:' in done.stderr and "'migStrategy'" in done.stderr
    assert '<stdin>:6:' in done.stderr


def test_refused_configuration_gives_no_plan():
    done = run('plan', '-', '-m', 'p3.2xlarge', stdin='version: v2\n')
    assert done.returncode == ERRORS and done.stdout == ''
    assert '<stdin>:1:10: error: version:' in done.stderr and 'no plan' in done.stderr


def test_node_without_a_driver_says_so(tmp_path):
    done = run('plan', GUIDE, '--node', LD_LIBRARY_PATH=str(BUILD / 'sim/nvml'),
               GPUSLICE_SIM_STATE=str(tmp_path / 'state'))
    assert done.returncode == UNREADABLE and done.stdout == ''
    assert re.fullmatch(r"gpuslice: cannot query this machine's driver: .+\n", done.stderr)


def test_plan_needs_a_machine():
    done = run('plan', GUIDE)
    assert done.returncode == USAGE and done.stdout == ''
    assert done.stderr.count('\n') == 1
    assert '--node' in done.stderr and 'p3.8xlarge' in done.stderr


def test_node_is_asked_through_its_driver(tmp_path):
    """The simulator replaces the node's own driver, found by the loader's search."""
    done = run('plan', GUIDE, '--node', '-o', 'json', GPUSLICE_MACHINE='p3.8xlarge',
               LD_LIBRARY_PATH=str(BUILD / 'sim/nvml'), GPUSLICE_SIM_STATE=str(tmp_path / 'state'))
    assert done.returncode == CLEAN, done.stderr
    assert json.loads(done.stdout)['resources'] == {'nvidia.com/gpu': 16}


def test_cuda_version_without_libcuda(tmp_path):
    """A container with NVIDIA_DRIVER_CAPABILITIES=utility has libnvidia-ml and no libcuda, which the newer call asks."""
    machine = {'GPUSLICE_MACHINE': 'p3.8xlarge', 'GPUSLICE_SIM_STATE': str(tmp_path / 'state')}
    subprocess.run([PROGRAMS['gpuslice-sim'], 'inject', 'error', 'nvmlSystemGetCudaDriverVersion_v2', 'LIBRARY_NOT_FOUND'],
                   env={**os.environ, **machine}, check=True, timeout=60)
    done = run('plan', GUIDE, '--node', '-o', 'json', LD_LIBRARY_PATH=str(BUILD / 'sim/nvml'), **machine)
    assert json.loads(done.stdout)['labels']['nvidia.com/cuda.runtime-version.full'] == '12.4', done.stderr


@pytest.mark.parametrize('program', [GPUSLICE, PROGRAMS['gpuslice-node']])
def test_a_reader_that_has_enough_is_no_error(program):
    """As in `gpuslice help | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([program, '--help'], stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE,
                          text=True, check=False)
    os.close(writer)
    assert done.stderr == ''
    assert done.returncode in (0, -signal.SIGPIPE)


def test_full_disk_is_not_success():
    with open('/dev/full', 'w', encoding='utf-8') as full:
        done = subprocess.run([GPUSLICE, 'plan', '-m', 'p3.8xlarge'], stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == UNREADABLE and 'No space left' in done.stderr


# --- check ---

CHECKS = [
    # what it is about     text                                              status    said
    ('guide-like',         'version: v1\nflags: {migStrategy: none}\n',      CLEAN,    [': clean\n']),
    ('unknown key',        'flags: {migStrategey: none}\n',                  ERRORS,
     ["<stdin>:1:9: error: flags.migStrategey: unknown key; did you mean 'migStrategy'?"]),
    ('unknown version',    'version: v2\n',                                  ERRORS,   ['<stdin>:1:10: error: version:']),
    ('not YAML',           'a: [1\nb: 2\n',                                  ERRORS,   ['<stdin>:2:']),
    ('replicas of one',    'sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 1}]}}\n',
     CLEAN, ['note: sharing.timeSlicing.resources[0]: replicas: 1 means not shared']),
    ('replicas of none',   'sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 0}]}}\n',
     ERRORS, ['sharing.timeSlicing.resources[0].replicas:']),
    ('enforcement',        'gpuslice: {memory: enforced, compute: strict}\n', CLEAN,
     ['note: gpuslice.memory: memory limits are kept where gpuslice-arbiter serves them',
      'note: gpuslice.compute: turns are taken where gpuslice-arbiter serves memory limits']),
    ('two entries',        'sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2},\n'
                           '  {name: nvidia.com/gpu, replicas: 4}]}}\n',     ERRORS,
     ['<stdin>:2:3: error: sharing.timeSlicing.resources[1]:']),
    ('renamed',            'sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2, '
                           'rename: nvidia.com/half}]}}\n',                  CLEAN,
     ['note:', "NVIDIA's plugin", 'nvidia.com/half']),
    ('some devices',       'sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2, '
                           'devices: 1}]}}\n',                               CLEAN,    ['note:', "NVIDIA's plugin"]),
    ('patterns',           "resources: {gpus: [{pattern: 'Tesla*', name: volta}]}\n", CLEAN,
     ['note:', "NVIDIA's plugin"]),
    ('mig name, single',   'flags: {migStrategy: single}\nsharing: {timeSlicing: {resources: '
                           '[{name: nvidia.com/mig-1g.5gb, replicas: 2}]}}\n', WARNINGS,
     ['warning:', 'nvidia.com/mig-1g.5gb exists only with `migStrategy: mixed`']),
    ('our own section',    'gpuslice: {memoryy: none}\n',                     ERRORS,
     ["gpuslice.memoryy: unknown key; did you mean 'memory'?"]),
]


@pytest.mark.parametrize('text,status,said', [row[1:] for row in CHECKS], ids=[row[0] for row in CHECKS])
def test_check(text, status, said):
    done = run('check', '-', stdin=text)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr == ''
    for words in said:
        assert words in done.stdout
    counts = json.loads(run('check', '-', '-o', 'json', stdin=text).stdout)
    assert bool(counts['errors']) == (status == ERRORS)
    if status != ERRORS:
        assert bool(counts['warnings']) == (status == WARNINGS)


def test_check_of_the_guide():
    for arguments in (['check', GUIDE], ['check', '--config', GUIDE, '--key', 'any'],
                      ['check', GUIDE, '--machine', 'p3.8xlarge']):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (CLEAN, f'{GUIDE}: clean\n')


def test_order_of_the_file_and_a_summary():
    text = ('version: v2\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2, '
            'rename: nvidia.com/half}]}}\n')
    lines = run('check', '-', stdin=text).stdout.splitlines()
    assert lines[0].startswith('<stdin>:1:10: error: version: ') and lines[1].startswith('<stdin>:2:')
    assert ' note: ' in lines[1]
    assert lines[-1] == '<stdin>: 1 error, 1 note'


def test_check_as_json():
    done = run('check', '-', '-o', 'json', stdin='flags: {migStrategey: none}\n')
    tree = json.loads(done.stdout)
    assert list(tree) == ['file', 'errors', 'warnings', 'notes', 'problems']
    assert (tree['file'], tree['errors']) == ('<stdin>', 1)
    problem = tree['problems'][0]
    assert list(problem) == ['severity', 'line', 'column', 'path', 'text']
    assert (problem['severity'], problem['line'], problem['column']) == ('error', 1, 9)


def test_models_without_mig_are_told():
    """The second guide calls the A10 of g5 instances MIG-compatible."""
    done = run('check', '-', '-m', 'g5.12xlarge', stdin='flags: {migStrategy: single}\n')
    assert done.returncode == WARNINGS
    assert 'MIG cannot partition NVIDIA A10G' in done.stdout and 'timeSlicing' in done.stdout
    assert run('check', '-', stdin='flags: {migStrategy: single}\n').returncode == CLEAN


@pytest.mark.parametrize('machine,model,instead', [
    ('g5.12xlarge', 'GPUs 0-3 (NVIDIA A10G)', True), ('4xA10G', 'GPUs 0-3 (NVIDIA A10G)', True),
    ('p3.8xlarge', 'GPUs 0-3 (Tesla V100-SXM2-16GB)', True), ('g4dn.xlarge', 'GPU 0 (Tesla T4)', True),
    ('g6.12xlarge', 'GPUs 0-3 (NVIDIA L4)', True), ('p4d.24xlarge', 'GPUs 0-7 (NVIDIA A100-SXM4-40GB)', False),
    ('p5.48xlarge', 'GPUs 0-7 (NVIDIA H100 80GB HBM3)', False)])
def test_what_mig_can_partition(machine, model, instead):
    done = run('check', '-m', machine)
    assert done.returncode == CLEAN and done.stdout.count('\n') == 2
    assert f'{model} {"cannot" if instead else "can"} be partitioned by MIG' in done.stdout
    assert ('sharing.timeSlicing' in done.stdout) == instead
    tree = json.loads(run('check', '-m', machine, '-o', 'json').stdout)
    assert {gpu['mig'] for gpu in tree['gpus']} == {'no' if instead else 'yes'}


def test_machine_problems_are_named_beside_the_files():
    text = ('typo: 1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2, '
            'devices: [7]}]}}\n')
    alone = run('check', '-', stdin=text)
    both = run('check', '-', '-m', 'p3.2xlarge', stdin=text)
    assert both.returncode == ERRORS and 'typo: unknown key' in both.stdout
    assert len(both.stdout.splitlines()) > len(alone.stdout.splitlines())


NOTHING = {'an empty file': '', 'a comment': '# version: v1\n', 'a lone mark': '---\n', 'null': 'null\n',
           'an empty map': '{}\n', 'sections without content': 'version: v1\nsharing:\n',
           'empty sections': 'sharing: {}\nflags: {plugin: {}}\n', 'blanks': ' \n\n',
           'an empty text of a ConfigMap': 'apiVersion: v1\nkind: ConfigMap\ndata: {any: ""}\n',
           'a comment in a ConfigMap': 'apiVersion: v1\nkind: ConfigMap\ndata:\n  any: |\n    # nothing\n',
           'a ConfigMap without data': 'apiVersion: v1\nkind: ConfigMap\n',
           'an empty list': 'apiVersion: v1\nkind: List\nitems: []\n',
           "others' manifests": 'apiVersion: v1\nkind: Service\n---\napiVersion: v1\nkind: ServiceAccount\n',
           "somebody else's ConfigMap": 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca}\ndata: {ca.crt: x}\n'
                                        '---\napiVersion: v1\nkind: Service\n',
           'values': 'image: {tag: v1}\ntolerations: []\n', 'values with an empty map': 'config: {map: {}}\n',
           'values with an empty text': 'config: {map: {any: ""}}\n',
           'values that name a ConfigMap': 'config: {name: nvidia-device-plugin}\n'}


@pytest.mark.parametrize('text', NOTHING.values(), ids=NOTHING)
def test_nothing_is_never_clean(text, tmp_path):
    """Whatever way it comes: a file, a pipe, a folder; and plan ends as check does."""
    path = tmp_path / 'x.yaml'
    path.write_text(text)
    for done in (run('check', path), run('check', '-', stdin=text), run('check', tmp_path)):
        assert done.returncode in (WARNINGS, ERRORS) and ': clean\n' not in done.stdout
    assert run('check', path, '-o', 'json').returncode == run('check', path).returncode
    assert run('plan', path, '-m', 'p3.2xlarge').returncode == run('check', path, '-m', 'p3.2xlarge').returncode


def test_dev_null_and_a_folder_without_files_are_not_clean(tmp_path):
    assert run('check', '/dev/null').returncode == WARNINGS
    done = run('check', tmp_path)
    assert done.returncode == UNREADABLE and 'no .yaml, .yml or .json file' in done.stderr


def test_no_value_of_the_chart_is_taken_for_a_configuration(tmp_path):
    """Each key of its values alone, unless it is an option's name: then the answer has its place."""
    for key in re.findall(r'^(\w+):', (ROOT / 'deploy/helm/gpuslice/values.yaml').read_text(), re.M):
        value = 'enabled: true' if key == 'gfd' else '{}'
        done = run('check', '-', stdin=f'{key}: {{{value}}}\n' if key == 'gfd' else f'{key}: {{}}\n')
        assert done.returncode in (WARNINGS, ERRORS), key
        assert re.search('these are values of a Helm chart|unknown key|nothing is configured here|no resources',
                         done.stdout), (key, done.stdout)
        assert not re.search('unknown key; valid here', done.stdout), (key, done.stdout)
    for page in ('deploy/helm/gpuslice/values.yaml', 'deploy/examples/nvdp-values.yaml'):
        done = run('check', ROOT / page)
        assert done.returncode == ERRORS
        assert re.fullmatch(r'.+: error: these are values of a Helm chart .+\n.+: 1 error\n', done.stdout)


VALUES = '''# of the chart
image: {tag: v1}
config:
  default: b
  map:
    a: |-
      version: v1
      sharing:
        timeSlicing:
          resources:
          - name: nvidia.com/gpu
            replicas: ten
    b: |-
      version: v1
      flags:
        migStrategy: singel
'''


def test_values_are_checked_in_place():
    done = run('check', '-', stdin=VALUES)
    assert done.returncode == ERRORS
    assert [line.split(' ')[0] for line in done.stdout.splitlines()] == ['<stdin>:12:23:', '<stdin>:16:22:', '<stdin>:']
    assert '<stdin>:12:' in run('check', '-', '-k', 'a', stdin=VALUES).stdout
    assert '<stdin>:16:' not in run('check', '-', '-k', 'a', stdin=VALUES).stdout
    good = VALUES.replace('ten', '4').replace('singel', 'none')
    assert run('check', '-', stdin=good).returncode == CLEAN
    assert plan('p3.2xlarge', '-', '-k', 'a', stdin=good)['resources'] == {'nvidia.com/gpu': 4}
    assert plan('p3.2xlarge', '-', stdin=good)['resources'] == {'nvidia.com/gpu': 1}  # config.default


KEYS = '''apiVersion: v1
kind: ConfigMap
metadata: {name: time-slicing, namespace: gpu-operator}
data:
  a100-40gb: |-
    version: v1
    flags: {migStrategy: mixd}
  tesla-t4: |-
    version: v1
    sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4, devices: [3]}]}}
'''


def test_check_looks_at_every_key():
    """As in the GPU Operator's guide; plan and the agent need one, and take it from the same variable."""
    assert ':7:26: error: flags.migStrategy' in run('check', '-', stdin=KEYS).stdout
    done = run('check', '-', '-m', 'p3.2xlarge', stdin=KEYS)
    assert ':7:26: error: ' in done.stdout and re.search(':10:.*: warning: .*GPU 3 in devices', done.stdout)
    done = run('check', '-', '-m', 'p3.2xlarge', stdin=KEYS, GPUSLICE_CONFIG_KEY='tesla-t4')
    assert done.returncode == WARNINGS and ':7:' not in done.stdout
    done = run('plan', '-', '-m', 'p3.2xlarge', stdin=KEYS)
    assert done.returncode == ERRORS and 'choose one with --key: a100-40gb, tesla-t4' in done.stderr
    done = run('plan', '-', '-m', 'p3.2xlarge', stdin=KEYS, GPUSLICE_CONFIG_KEY='tesla-t4')
    assert done.returncode == WARNINGS and 'nvidia.com/gpu' in done.stdout
    done = run('plan', '-', '-m', 'p3.2xlarge', '-k', 'a100-40gb', stdin=KEYS, GPUSLICE_CONFIG_KEY='tesla-t4')
    assert done.returncode == ERRORS and ':7:26:' in done.stderr


def test_findings_of_the_machine_name_their_key(tmp_path):
    machine = tmp_path / 'mine.yaml'
    machine.write_text('type: p3.8xlarge\nfaults: [{gpu: 1, lost: true}]\n')
    done = run('check', '-', '-m', machine, stdin=KEYS.replace('mixd', 'none'))
    assert '<stdin>: warning: tesla-t4 of gpu-operator/time-slicing: GPU 1' in done.stdout


def make_files(folder):
    for name, text in {'good.yaml': 'version: v1\n', 'bad.yml': 'version: v2\n', 'odd.json': '{"flags": {"x": 1}}',
                       'deep/warned.yaml': 'sharing:\n', 'deep/service.yaml': 'apiVersion: v1\nkind: Service\n',
                       'notes.txt': 'version: v9\n'}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def test_several_files_and_folders(tmp_path):
    make_files(tmp_path)
    done = run('check', tmp_path)
    assert done.returncode == ERRORS and 'notes.txt' not in done.stdout
    for line in (f'{tmp_path}/bad.yml:1:10: error: version: ', f'{tmp_path}/odd.json:1:12: error: flags.x: ',
                 f'{tmp_path}/deep/warned.yaml:1:1: warning: sharing: ', f'{tmp_path}/deep/service.yaml:1:1: note: '):
        assert f'\n{line}' in '\n' + done.stdout
    assert done.stdout.endswith('5 files: 2 errors, 1 warning, 1 note\n')
    done = run('check', tmp_path / 'good.yaml', tmp_path / 'deep/warned.yaml')
    assert done.returncode == WARNINGS and done.stdout.endswith('2 files: 1 warning\n')
    done = run('check', '-c', tmp_path / 'good.yaml', tmp_path / 'good.yaml')
    assert (done.returncode, done.stdout.count(': clean\n')) == (CLEAN, 3)


def test_one_unreadable_file_hides_no_other(tmp_path):
    make_files(tmp_path)
    done = run('check', tmp_path / 'gone.yaml', tmp_path / 'bad.yml')
    assert done.returncode == UNREADABLE
    assert 'gone.yaml' in done.stderr and 'bad.yml:1:10: error' in done.stdout
    tree = json.loads(run('check', '-o', 'json', tmp_path / 'gone.yaml', tmp_path / 'bad.yml').stdout)
    assert [file['errors'] for file in tree['files']] == [1, 1]


@pytest.mark.parametrize('place', ['first', 'last'])
@pytest.mark.parametrize('kind, said', [('empty', 'no .yaml, .yml or .json file is in the folder'),
                                        ('fifo', 'no .yaml, .yml or .json file is in the folder'),
                                        ('deep', 'is deeper than 16 folders')])
def test_one_odd_folder_hides_no_other(tmp_path, kind, said, place):
    """Nor does a FIFO in one block the run."""
    odd, bad = tmp_path / 'odd', tmp_path / 'bad.yml'
    (odd.joinpath(*['d'] * 17) if kind == 'deep' else odd).mkdir(parents=True)
    if kind == 'fifo':
        os.mkfifo(odd / 'a.yaml')
    bad.write_text('version: v2\n')
    words = [odd, bad] if place == 'first' else [bad, odd]
    done = run('check', *words)
    assert done.returncode == UNREADABLE and said in done.stderr and len(done.stderr.splitlines()) == 1
    assert 'bad.yml:1:10: error' in done.stdout and done.stdout.endswith('2 errors\n')
    tree = json.loads(run('check', '-o', 'json', *words).stdout)
    assert tree['errors'] == 2 and [said in str(file['problems']) for file in tree['files']].count(True) == 1
    alone = run('check', '-o', 'json', odd)
    assert alone.returncode == UNREADABLE and json.loads(alone.stdout)['errors'] == 1


def test_several_files_as_json(tmp_path):
    """A list of what one file gives; one file keeps its shape."""
    make_files(tmp_path)
    done = run('check', '-o', 'json', tmp_path)
    tree = json.loads(done.stdout)
    assert list(tree) == ['errors', 'warnings', 'notes', 'files']
    assert (done.returncode, tree['errors'], tree['warnings'], tree['notes']) == (ERRORS, 2, 1, 1)
    assert [Path(file['file']).name for file in tree['files']] == ['bad.yml', 'service.yaml', 'warned.yaml', 'good.yaml',
                                                                   'odd.json']
    assert list(tree['files'][0]) == ['file', 'errors', 'warnings', 'notes', 'problems']


AGREE = [text for _, text, _, _ in CHECKS] + [KEYS, VALUES, 'flags: {migStrategy: non}\n', 'a: [\n',
         'sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4, devices: [9]}]}}\n',
         'gpuslice: {mig: {onDemand: true}}\n', 'typo: 1\n']


@pytest.mark.parametrize('text', AGREE, ids=range(len(AGREE)))
def test_plan_and_check_end_alike(text):
    key = ['-k', 'tesla-t4'] if text == KEYS else []
    check = run('check', '-', '-m', 'p3.8xlarge', *key, stdin=text)
    done = run('plan', '-', '-m', 'p3.8xlarge', *key, stdin=text)
    if text != VALUES:  # of which plan takes one text
        assert done.returncode == check.returncode
        assert set(check.stdout.splitlines()[:-1]) <= set(done.stderr.splitlines())


def test_a_faulty_file_is_still_compared_with_the_machine():
    done = run('check', '-', '-m', 'p3.8xlarge', stdin='flags: {migStrategy: non}\nsharing: {timeSlicing: {resources: '
               '[{name: nvidia.com/gpu, replicas: 3, devices: [9]}, {name: nvidia.com/gpu, replicas: x}]}}\n')
    assert done.returncode == ERRORS
    assert 'flags.migStrategy' in done.stdout and 'GPU 9 in devices is not on this node' in done.stdout


def test_a_name_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / 'a\x1b[31m\nb.yaml'
    for text in ('version: v2\n', 'version: v1\n', ''):
        path.write_text(text)
        for arguments in ([path], [path, path], ['-m', 'p3.2xlarge', path]):
            done = run('check', *arguments)
            assert '\x1b' not in done.stdout + done.stderr and 'a?[31m?b.yaml' in done.stdout
    done = run('check', f'{path}.gone')
    assert '\x1b' not in done.stderr
    assert json.loads(run('check', '-o', 'json', path).stdout)['file'] == str(path)


def test_unreadable():
    for arguments in (['check', '/nowhere.yaml'], ['plan', '/tmp', '-m', 'p3.2xlarge'], ['check', GUIDE, '-m', 'nowhere'],
                      ['check', GUIDE, '-m', '/nowhere.yaml'], ['plan', '/nowhere.yaml', '-m', 'p3.2xlarge']):
        done = run(*arguments)
        assert done.returncode == UNREADABLE, arguments
        assert re.fullmatch(r'gpuslice: .+\n', done.stderr), done.stderr


def test_too_large_is_unreadable(tmp_path):
    """One byte or many too much: the same answer, with the limit of the manual."""
    for size in (2**20 + 1, 2**21):
        big = tmp_path / 'big.yaml'
        big.write_text('#' * size)
        done = run('check', big)
        assert done.returncode == UNREADABLE and done.stdout == ''
        assert done.stderr == f'gpuslice: {big} is larger than 1048576 bytes\n'


def test_wrong_key_lists_the_right_ones():
    done = run('check', GUIDE, '--key', 'many')
    assert done.returncode == ERRORS and 'any' in done.stdout


# --- words and help ---

WRONG = [
    (['chek'], "unknown verb 'chek'; did you mean 'check'?"),
    (['zzzzzzz'], "'gpuslice help' lists"),
    (['--verison'], "did you mean 'version'?"),
    (['help', 'plna'], "did you mean 'gpuslice help plan'?"),
    (['plan', '--machin', 'x'], 'did you mean --machine?'),
    (['plan', '-config', 'x'], 'did you mean --config?'),
    (['plan', '-m', 'x', '-o', 'xml'], 'table|json|yaml'),
    (['plan', '-m'], '-m needs a value'),
    (['plan', '--node', '-m', 'x'], 'exclude each other'),
    (['check'], 'nothing to check'),
    (['completion'], 'bash, zsh or fish'),
    (['completion', 'bsh'], "did you mean 'bash'?"),
    (['version', 'now'], "remove 'now'"),
    (['mig'], 'apply, assert, export, generate-config, plan'),
    (['mig', 'asert'], "did you mean 'gpuslice mig assert'?"),
]


@pytest.mark.parametrize('arguments,said', WRONG, ids=[' '.join(row[0]) for row in WRONG])
def test_wrong_usage(arguments, said):
    done = run(*arguments)
    assert done.returncode == USAGE and done.stdout == ''
    assert said in done.stderr and done.stderr.count('\n') == 1


def test_misspelt_machine():
    done = run('plan', '-m', 'p3.8xlrage')
    assert done.returncode == UNREADABLE and "did you mean 'p3.8xlarge'?" in done.stderr
    done = run('plan', '-m', 'nothing-like-it')
    assert done.returncode == UNREADABLE and 'p3.8xlarge' in done.stderr


def test_no_words_at_all():
    done = run()
    assert done.returncode == USAGE and done.stdout == '' and 'Usage: gpuslice' in done.stderr


@pytest.mark.parametrize('arguments', [['--help']] + [[*verb.split(), '--help'] for verb in VERBS],
                         ids=lambda words: ' '.join(words))
def test_help(arguments):
    done = run(*arguments)
    assert done.returncode == CLEAN and done.stderr == ''
    assert done.stdout.startswith('Usage: gpuslice')
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert run(*arguments[:-1], '-h').stdout == done.stdout
    assert run('help', *arguments[:-1]).stdout == done.stdout


def test_version():
    done = run('version')
    assert re.fullmatch(r'gpuslice \d+\.\d+\.\d+\n', done.stdout)
    assert run('--version').stdout == done.stdout


EVERY = {'gpuslice': GPUSLICE, **PROGRAMS, 'gpuslice-http': BUILD / 'src/gpuslice-http',
         'gpuslice-nodesync': BUILD / 'src/gpuslice-nodesync'}


def ask(program, *arguments, **environment):
    return subprocess.run([EVERY[program], *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False, env={**os.environ, **environment})


@pytest.mark.parametrize('program', EVERY)
def test_every_program_has_a_version_and_one_status_for_wrong_usage(program):
    done = ask(program, '--version')
    assert (done.returncode, done.stderr) == (CLEAN, '')
    assert re.fullmatch(rf'{program} \d+\.\d+\.\d+\n', done.stdout)
    for arguments in (['--no-such-option'], ['no-such-verb']):
        done = ask(program, *arguments)
        assert done.returncode == USAGE and done.stdout == '' and program in done.stderr


def test_short_names_of_the_version():
    for program, option in (('gpuslice', '-V'), ('gpuslice', '-v'), ('gpuslice-node', '-v'), ('gpuslice-sim', '-V')):
        assert ask(program, option).stdout == ask(program, '--version').stdout


def test_values_attached_to_their_letters():
    assert run('plan', '-mp3.8xlarge', f'-c{GUIDE}', '-ojson').stdout == \
        run('plan', '-m', 'p3.8xlarge', '-c', GUIDE, '-o', 'json').stdout


def test_the_agent_complains_once_about_a_misspelt_flag():
    done = ask('gpuslice-node', '--config-fil', '/a/long/path')
    assert done.returncode == USAGE
    assert done.stderr.count('error') == 1 and 'did you mean --config-file?' in done.stderr


def test_a_machine_that_is_not_there_names_those_that_are():
    for word, near, family in (('g5.3xlarge', 'g5.xlarge', 'g5.24xlarge'), ('p3.8xlrage', 'p3.8xlarge', 'p3.2xlarge')):
        done = run('plan', '-m', word)
        assert f"did you mean '{near}'?" in done.stderr and family in done.stderr
    assert '4xA10G' in run('plan', '-m', 'g9.xlarge').stderr


def test_both_programs_list_machines_in_natural_order():
    """By number: p3.2xlarge is before p3.16xlarge."""
    listed = ask('gpuslice-sim', 'list').stdout.split()
    assert set(listed) == set(run('completion', 'machines').stdout.split())
    for smaller, larger in (('p3.2xlarge', 'p3.16xlarge'), ('g4dn.2xlarge', 'g4dn.12xlarge'), ('g5.8xlarge', 'g5.48xlarge')):
        assert listed.index(smaller) < listed.index(larger)


def test_machine_files_are_checked_as_configurations_are(tmp_path):
    bad = tmp_path / 'bad.yaml'
    bad.write_text('machine: x\ngpsu: []\n')
    done = ask('gpuslice-sim', 'check', bad, 'p3.8xlarge')
    assert done.returncode == 1 and done.stdout == 'p3.8xlarge: clean\n'
    assert f'{bad}:2:1: error: gpsu: ' in done.stderr


def test_another_library_of_the_simulator(tmp_path):
    """GPUSLICE_SIM_LIBRARY is taken in place of the built one, and named where it is missing."""
    library = tmp_path / 'libnvidia-ml.so.1'
    done = run('plan', '-m', 'p3.8xlarge', GPUSLICE_SIM_LIBRARY=str(library))
    assert done.returncode == UNREADABLE and str(library) in done.stderr
    shutil.copy(BUILD / 'sim/nvml/libnvidia-ml.so.1', library)
    assert run('plan', '-m', 'p3.8xlarge', GPUSLICE_SIM_LIBRARY=str(library)).returncode == CLEAN


def test_a_moved_installation_finds_its_files(tmp_path):
    """As after `make install DESTDIR=...`: nothing is where it was configured to be."""
    for name, source in {'bin/gpuslice': GPUSLICE, 'bin/gpuslice-sim': PROGRAMS['gpuslice-sim'],
                         'share/gpuslice/machines': ROOT / 'sim/machines',
                         'share/gpuslice/catalog': ROOT / 'share/catalog'}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        else:
            shutil.copy(source, tmp_path / name)
    for library in ('lib', 'lib64', f'lib/{os.uname().machine}-linux-gnu'):
        (tmp_path / library / 'gpuslice/sim').mkdir(parents=True)
        shutil.copy(BUILD / 'sim/nvml/libnvidia-ml.so.1', tmp_path / library / 'gpuslice/sim')
    env = {name: value for name, value in os.environ.items() if not name.startswith('GPUSLICE_')}
    for command in (['gpuslice', 'plan', '-m', 'p3.8xlarge'], ['gpuslice', 'plan', '-m', 'g5.2xlarge'],
                    ['gpuslice-sim', 'list'], ['gpuslice-sim', 'show', '4xA10G']):
        done = subprocess.run([tmp_path / 'bin' / command[0], *command[1:]], env=env, capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == CLEAN and 'cannot' not in done.stderr.replace('cannot align', ''), (command, done.stderr)


@pytest.mark.parametrize('verb', ['plan', 'check'])
@pytest.mark.parametrize('kind, said', [('null', 'it is no regular file'), ('folder', 'it is a folder'), ('empty', 'it is empty'),
                                        ('gone', 'No such file or directory')])
def test_what_is_no_machine_file_is_one_sentence(tmp_path, verb, kind, said):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'empty').touch()
    machine = '/dev/null' if kind == 'null' else tmp_path / kind
    done = run(verb, GUIDE, '-m', machine)
    assert done.returncode == UNREADABLE
    line, = done.stderr.splitlines()
    assert str(machine) in line and said in line and 'driver' not in line


@pytest.mark.parametrize('verb', ['plan', 'check'])
@pytest.mark.parametrize('text, said', [
    ('x\n', ':1:1: this is not a machine file'), ('[1, 2]\n', ':1:1: this is not a machine file'), ('# none\n', ':1:1: the file is empty'),
    ('foo: bar\n', ':1:1: this is not a machine file: it has none of the keys'), ('a: b: c\n', ':1:'), ('\0', ':1:1: not a text file'),
    ('version: v1\n', ':1:1: this is not a machine file but a configuration'), ('\n  kind: Pod\n', ':2:3: this is not a machine file but'),
    ('type: p3.8xlarge\n---\nfoo: bar\n', ':1:1: expected one YAML document')])
def test_a_text_that_is_no_machine_file_is_one_sentence(tmp_path, verb, text, said):
    machine = tmp_path / 'odd.yaml'
    machine.write_text(text)
    done = run(verb, GUIDE, '-m', machine)
    assert done.returncode == UNREADABLE
    line, = done.stderr.splitlines()
    assert f'gpuslice: {machine}{said}' in line and 'driver' not in line


# --- colours ---

def run_on_terminal(*arguments, **environment):
    master, slave = pty.openpty()
    env = {**os.environ, 'TERM': 'xterm', **environment}
    if 'NO_COLOR' not in environment:
        env.pop('NO_COLOR', None)
    process = subprocess.Popen([GPUSLICE, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=slave,
                               stderr=slave, env=env)
    os.close(slave)
    output = b''
    try:
        while block := os.read(master, 65536):
            output += block
    except OSError:  # how a terminal says that its last user is gone
        pass
    os.close(master)
    process.wait(60)
    return output.decode()


def test_colours_on_terminals_only():
    assert '\x1b[' in run_on_terminal('plan', '-m', 'p3.2xlarge')
    assert '\x1b[' not in run('plan', '-m', 'p3.2xlarge').stdout


@pytest.mark.parametrize('environment,coloured', [({'NO_COLOR': '1'}, False), ({'NO_COLOR': ''}, True),
                                                  ({'TERM': 'dumb'}, False)])
def test_colours_can_be_refused(environment, coloured):
    assert ('\x1b[' in run_on_terminal('plan', '-m', 'p3.2xlarge', **environment)) == coloured


def test_a_line_with_a_caret_on_terminals_only(tmp_path):
    path = tmp_path / 'x.yaml'
    path.write_text('flags:\n  migStrategy:\tsingel\n')
    assert '|' not in run('check', path).stdout
    for program in (['check', path], ['plan', path, '-m', 'p3.2xlarge']):
        lines = run_on_terminal(*program, NO_COLOR='1').splitlines()
        assert lines[0].startswith(f'{path}:2:16: error: flags.migStrategy: ')
        assert lines[1:3] == ['    2 |   migStrategy: singel', '      |                ^']
        assert '\x1b[31merror:\x1b[0m flags' in run_on_terminal(*program)


def test_bold_ends_on_its_line():
    for arguments in (['plan', '-m', 'p3.2xlarge', '-l'], ['check', '/dev/null']):
        for line in run_on_terminal(*arguments).splitlines():
            assert line.count('\x1b[') % 2 == 0, line


# --- completion ---

@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_completion_files_are_what_is_printed(shell):
    done = run('completion', shell)
    assert done.stdout == (ROOT / f'completion/gpuslice.{shell}').read_text()
    for word in ' '.join(VERBS).split() + ['config', 'machine', 'output']:
        assert word in done.stdout


def complete(*words, program='gpuslice'):
    """What bash offers for the last word."""
    path = ':'.join(str(program.parent) for program in (GPUSLICE, *PROGRAMS.values()))
    script = (f'PATH="{path}:$PATH"; . {ROOT}/completion/gpuslice.bash\n'
              'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
              'function=$(complete -p "$1"); function=${function##*-F }; ${function%% *} "$1"\n'
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(['bash', '-c', script, 'bash', program, *map(str, words)], capture_output=True,
                          text=True, cwd='/', timeout=60, check=True)
    assert done.stderr == ''
    return done.stdout.split()


def test_bash_completes():
    subprocess.run(['bash', '-n', ROOT / 'completion/gpuslice.bash'], check=True)
    assert complete('pl') == ['plan']
    assert complete('plan', '--la') == ['--labels']
    assert complete('check', '--la') == []
    assert complete('plan', '-o', 'j') == ['json']
    assert complete('plan', '--machine', 'p3.8') == ['p3.8xlarge']
    assert complete('help', 'comp') == ['completion']


def test_bash_completes_keys(tmp_path):
    path = tmp_path / 'many.yaml'
    path.write_text(KEYS)
    for before in ([path], ['--config', path]):
        assert complete('check', *before, '-k', '') == ['a100-40gb', 'tesla-t4']
        assert complete('plan', *before, '--key', 'te') == ['tesla-t4']
    assert complete('check', '-k', '') == []
    assert run('completion', 'keys').stdout == run('completion', 'keys', '-c', '/nowhere').stdout == ''


@pytest.mark.parametrize('program,word,wanted', [('gpuslice-node', '--mig-st', '--mig-strategy'),
                                                 ('gpuslice-sim', 'inj', 'inject'), ('gpuslice-sim', '--out', '--output'),
                                                 ('gpuslice-kubelet', 'app', 'apply'),
                                                 ('gpuslice-kubelet', '--root', '--root-dir')])
def test_bash_completes_the_other_programs(program, word, wanted):
    assert complete(word, program=program) == [wanted]


def test_bash_completes_the_simulators_machines():
    for before in ('-m', '--machine', 'show'):
        assert complete(before, 'p3.8', program='gpuslice-sim') == ['p3.8xlarge']


def test_machines_are_listed():
    names = run('completion', 'machines').stdout.split()
    assert len(names) == len(set(names)) and set(names) >= set(MACHINES) | set(TYPES)


# --- manual pages ---

def page_of(program):
    return next((ROOT / 'doc/man').glob(f'{program}.[18].scd')).read_text().replace('\\', '')


def test_every_word_of_help_is_in_the_manual():
    page = page_of('gpuslice')
    for verb in VERBS:
        assert f'*{verb}*' in page
        for word in re.findall(r'^  (-\w), (--[\w-]+)', run('help', *verb.split()).stdout, re.M):
            assert f'*{word[0]}*, *{word[1]}*' in page


@pytest.mark.parametrize('program', PROGRAMS)
def test_every_option_of_the_others_is_in_their_manual(program):
    done = subprocess.run([PROGRAMS[program], '--help'], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == CLEAN
    assert max(map(len, done.stdout.splitlines())) <= 80
    page = page_of(program)
    options = set(re.findall(r'(?<![\w-])--[a-z][a-z-]*', done.stdout))
    assert options
    missing = [option for option in sorted(options) if f'{option}*' not in page]
    assert not missing


def test_every_variable_of_the_agent_is_in_its_manual():
    done = subprocess.run([PROGRAMS['gpuslice-node'], '--help'], capture_output=True, text=True, timeout=60,
                          check=True)
    page = page_of('gpuslice-node')
    variables = set(re.findall(r'\b[A-Z]+(?:_[A-Z]+)+\b', done.stdout))
    assert 'MIG_STRATEGY' in variables
    assert not [name for name in sorted(variables) if name not in page]


@pytest.mark.parametrize('page', sorted(path.name for path in (ROOT / 'doc/man').glob('*.scd')))
def test_manual_pages_render(page):
    roff = BUILD / 'doc/man' / page.removesuffix('.scd')
    if not roff.exists():
        pytest.skip('built without scdoc')
    done = subprocess.run(['man', '--warnings', '-l', roff], capture_output=True, text=True, timeout=60,
                          env={**os.environ, 'LC_ALL': 'C.UTF-8', 'MANWIDTH': '80'}, check=True)
    assert done.stderr == '' and 'NAME' in done.stdout


# --- the guide's manifests ---

def test_examples_are_configuration_and_workload():
    """A workload is no configuration, and is answered with a sentence that says so."""
    done = run('check', ROOT / 'deploy/examples/tensorflow-deployment.yaml')
    assert done.returncode == ERRORS and 'Deployment' in done.stdout


def console_sessions(page):
    """(command, what it printed) of every ```console block."""
    for block in re.findall(r'^```console\n(.*?)^```', page.read_text(), re.M | re.S):
        for command, output in re.findall(r'^\$ (.*)\n((?:(?!\$ ).*\n)*)', block, re.M):
            yield command, output


@pytest.mark.parametrize('page', sorted(page for page in (ROOT / 'doc/guide').glob('*.md')
                                        if re.search(r'^\$ gpuslice ', page.read_text(), re.M)), ids=lambda path: path.name)
def test_guides_print_what_they_show(page):
    sessions = [session for session in console_sessions(page) if session[0].startswith('gpuslice ')]
    assert sessions
    for command, output in sessions:
        done = subprocess.run(['bash', '-c', command], capture_output=True, text=True, cwd=ROOT, timeout=60,
                              env={**os.environ, 'PATH': f'{GPUSLICE.parent}:{os.environ["PATH"]}'}, check=False)
        assert done.stdout == output, command


# --- who ---

UID = 'dde1244b-5bb5-4297-b544-85f3bc0d80bf'
CONTAINER = 'acb62391578595ec849d87d8556369cee7f935f0425097fd5f870df0e8aabd3c'
NEIGHBOUR = '45490e76e0878aaa4d9808f7d2eefba37f093c3efbba9838b6d8ab804d9bd814'


def make_node(folder, processes):
    """A node's files: processes by their number, and what the kubelet keeps of the EKS sample's pod."""
    for pid, text in {2: '0::/\n', **processes}.items():
        (folder / f'proc/{pid}').mkdir(parents=True)
        (folder / f'proc/{pid}/cgroup').write_text(text)
    (folder / 'proc/2/comm').write_text('kthreadd\n')
    (folder / f'var/log/pods/ml_train-0_{UID}/trainer').mkdir(parents=True)
    links = folder / 'var/log/containers'
    links.mkdir()
    for name, digits in (('trainer', CONTAINER), ('sidecar', NEIGHBOUR)):
        (links / f'train-0_ml_{name}-{digits}.log').symlink_to(f'/var/log/pods/ml_train-0_{UID}/{name}/0.log')
    return folder


def recorded(name):
    return (ROOT / 'tests/data/cgroup' / name).read_text()


def who(node, *pids):
    """Exit status, output, and the processes by number."""
    done = run('who', '--root', node, *pids, '-o', 'json')
    assert done.stderr == ''
    found = json.loads(done.stdout)['processes']
    assert [process['pid'] for process in found] == list(pids)
    for process in found:
        assert list(process) == ['pid', 'namespace', 'pod', 'container', 'pod_uid', 'container_id', 'runtime', 'qos',
                                 'problem']
    return done.returncode, {process['pid']: process for process in found}


def test_who_names_the_pod(tmp_path):
    node = make_node(tmp_path, {41309: recorded('eks-v2-systemd')})
    done = run('who', '--root', node, 41309)
    assert (done.returncode, done.stderr) == (CLEAN, '')
    head, row = done.stdout.splitlines()
    assert head.split() == ['PID', 'POD', 'CONTAINER', 'POD', 'UID', 'CONTAINER', 'ID']
    assert row.split() == ['41309', 'ml/train-0', 'trainer', UID, CONTAINER[:13]]
    status, found = who(node, 41309)
    assert status == CLEAN
    assert found[41309] == {'pid': 41309, 'namespace': 'ml', 'pod': 'train-0', 'container': 'trainer', 'pod_uid': UID,
                            'container_id': CONTAINER, 'runtime': 'cri-containerd', 'qos': 'Burstable',
                            'problem': None}


def test_who_takes_no_name_that_a_container_made(tmp_path):
    """A container that may make cgroups makes one that looks like another pod's."""
    own = recorded('eks-v2-kernel-6.1').strip()
    node = make_node(tmp_path, {7: own + recorded('eks-v2-systemd').removeprefix('0::')})
    status, found = who(node, 7)
    assert status == WARNINGS
    assert found[7]['pod_uid'] == '06d44939-d15e-491f-84a3-2dbba9fc0440' and found[7]['pod'] is None
    assert 'has no directory in' in found[7]['problem'] and '--root' in found[7]['problem']


def test_who_names_neighbours_that_a_namespace_hides(tmp_path):
    """By the container's id, where the pod cannot be seen."""
    node = make_node(tmp_path, {7: f'0::/../cri-containerd-{NEIGHBOUR}.scope\n', 8: f'0::/../{"0" * 64}\n'})
    status, found = who(node, 7, 8)
    assert status == WARNINGS
    assert (found[7]['pod'], found[7]['container'], found[7]['pod_uid']) == ('train-0', 'sidecar', UID)
    assert found[7]['problem'] is None
    assert found[8]['pod_uid'] is None and 'the same pod as gpuslice' in found[8]['problem']


OTHERS = [
    # what it is about      its cgroups                       status      said
    ('the host',            recorded('host-v1'),              WARNINGS,   'process 7 belongs to no pod'),
    ('plain docker',        recorded('docker-alone-v1'),      WARNINGS,   'process 7 belongs to no pod'),
    ('the root',            '0::/\n',                         WARNINGS,   'the same container as gpuslice'),
    ('two pods',            recorded('eks-v1-cgroupfs') + recorded('gke-v1-cgroupfs'), ERRORS,
     'cannot determine the pod of process 7: its cgroups name two pods, '),
    ('an odd UID',          '0::/kubepods/pod\x1b[31m\xe4/x\n', ERRORS, "'pod?[31m"),
    ('no text of cgroups',  'what?\n',                        ERRORS,     "'what?' is no line of"),
    ('none',                None,                             UNREADABLE, 'there is no process 7 in '),
]


@pytest.mark.parametrize('text,status,said', [row[1:] for row in OTHERS], ids=[row[0] for row in OTHERS])
def test_who_says_why_not(text, status, said, tmp_path):
    node = make_node(tmp_path, {} if text is None else {7: text})
    done = run('who', '--root', node, 7)
    assert (done.returncode, done.stdout) == (status, '')
    assert said in done.stderr and done.stderr.count('\n') == 1 and '\x1b' not in done.stderr
    assert said in who(node, 7)[1][7]['problem']


def test_who_goes_on_behind_one_that_is_gone(tmp_path):
    node = make_node(tmp_path, {9: recorded('eks-v2-systemd')})
    done = run('who', '--root', node, 8, 9)
    assert done.returncode == UNREADABLE
    assert 'ml/train-0' in done.stdout and 'no process 8' in done.stderr
    assert who(node, 8, 9)[0] == UNREADABLE


def test_who_in_a_container_says_that_numbers_differ(tmp_path):
    node = make_node(tmp_path, {9: recorded('eks-v2-systemd')})
    (node / 'proc/2/comm').write_text('sleep\n')
    done = run('who', '--root', node, 9)
    assert done.returncode == WARNINGS
    assert 'ml/train-0' in done.stdout and 'hostPID' in done.stderr


def test_who_reads_this_machine():
    """A process that is there and one that cannot be: the real /proc."""
    me = os.getpid()
    done = run('who', me, '-o', 'json')
    assert json.loads(done.stdout)['processes'][0]['pid'] == me
    assert done.returncode in (CLEAN, WARNINGS)
    done = run('who', 4194304)
    assert done.returncode == UNREADABLE and 'there is no process 4194304 in /proc' in done.stderr


@pytest.mark.parametrize('words', [[], ['0'], ['12x'], ['4194305'], ['99999999999999999999'], ['[N/A]'], ['--', '-3']],
                         ids=str)
def test_who_wants_numbers(words):
    done = run('who', *words)
    assert done.returncode == USAGE and done.stdout == ''
    assert 'nvidia-smi' in done.stderr and done.stderr.count('\n') == 1


def test_who_is_completed():
    assert complete('wh') == ['who']
    assert complete('who', '--ro') == ['--root']
    assert complete('who', '-o', 'j') == ['json']
    assert complete('who', 'pl') == []
    assert '/etc' in complete('who', '--root', '/et')
