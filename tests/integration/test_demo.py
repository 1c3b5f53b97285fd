# SPDX-License-Identifier: Apache-2.0
"""What `make run` shows, that it touches nothing but its own folder, and that nothing is left of it however it ends."""
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from node import BUILD, PATIENCE_S, PROGRAMS, ROOT, eventually
from environment import options_of  # noqa: I001 - node.py makes it importable

DEMO = ROOT / 'tools/demo'
WIDTH = 100
LOST = '''
machine: lost
driver: {version: 550.54.15, cuda: 12.4}
model: tesla-v100-sxm2-16gb
gpus:
- {pci: "0000:01:00.0"}
- {pci: "0000:02:00.0"}
faults:
- {gpu: 1, lost: true}
'''
NO_MEMORY = LOST.replace('lost: true', 'call: nvmlDeviceGetMemoryInfo, error: NOT_SUPPORTED').rstrip() + \
    '\n- {gpu: 1, call: nvmlDeviceGetMemoryInfo_v2, error: NOT_SUPPORTED}\n'
SLICED = 'version: v1\nsharing: {{timeSlicing: {{{more}resources: [{{name: nvidia.com/gpu, replicas: {n}{rename}}}]}}}}\n'
SEVERAL_KEYS = '''
apiVersion: v1
kind: ConfigMap
metadata: {name: several}
data:
  two: "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}"
  three: "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 3}]}}"
'''
JOB = '''
apiVersion: batch/v1
kind: Job
metadata: {name: three, namespace: here}
spec:
  parallelism: 3
  completions: 3
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: i, resources: {limits: {nvidia.com/gpu: 2}}}]}}
'''
# Host paths that the agent only reads, or uses with MPS alone.
READ_ONLY = {'--driver-root', '--driver-root-ctr-path', '--nvidia-cdi-hook-path', '--machine-type-file', '--mps-root'}


def help_text():
    return subprocess.run([PROGRAMS['gpuslice-node'], '--help'], check=True, capture_output=True, text=True).stdout


def variables():
    """Every variable that the agent reads."""
    return sorted({*options_of(help_text()), 'KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT',
                   'GPUSLICE_SYSFS', 'GPUSLICE_MACHINE_PATH', 'GPUSLICE_CATALOG', 'LD_PRELOAD'})


def host_paths():
    """Every option of the agent with a path of the host as its default."""
    return sorted(set(re.findall(r'^  (--[\w-]+).* PATH(?=\n(?:      .*\n)*?      .*Default:\s+/)', help_text(), re.M)) - READ_ONLY)


def environment(tmp_path, **more):
    """TMPDIR is the test's own folder, so that what is left behind shows in it."""
    env = {name: value for name, value in os.environ.items()
           if name not in ('MACHINE', 'CONFIG', 'KEY', 'WORKLOAD', 'STAY', 'TMPDIR')}
    # Pods have the library before the sanitizer's.
    sanitizer = f"{os.environ.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0:detect_leaks=0"
    return {**env, 'GPUSLICE_BUILD': str(BUILD), 'TMPDIR': str(tmp_path), 'ASAN_OPTIONS': sanitizer, **more}


@pytest.fixture
def short_path():
    """Sockets lie below TMPDIR, and a socket's path has room for 107 characters."""
    path = Path(subprocess.run(['mktemp', '-d', '/tmp/gpuslice-demo-XXXXXX'], check=True,
                               capture_output=True, text=True).stdout.strip())
    yield path
    left = [one.name for one in path.iterdir()]
    subprocess.run(['rm', '-rf', path], check=True)
    assert left == []


@pytest.fixture
def files():
    """For what the demo is given, by short names: they stand in lines that must fit the screen."""
    with tempfile.TemporaryDirectory(prefix='gd-') as folder:
        yield Path(folder)


def run(path, **more):
    return subprocess.run([DEMO], env=environment(path, **more), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=False)


def written(path, text):
    path.write_text(text)
    return str(path)


def of(path):
    """Processes that name the folder."""
    found = []
    for one in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            command = one.read_bytes().split(b'\0')
        except OSError:
            continue  # it has ended
        if any(bytes(path) in word for word in command):
            found.append((int(one.parent.name), [word.decode() for word in command]))
    return found


@contextmanager
def staying(path, **more):
    """(the demo, its output)"""
    demo = subprocess.Popen([DEMO], env=environment(path, STAY='1', **more), text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0)
    lines = []
    for line in demo.stdout:
        lines.append(line.rstrip('\n'))
        if line.startswith('staying up'):
            break
    try:
        yield demo, lines
    finally:
        if demo.poll() is None:
            demo.terminate()
        demo.communicate(timeout=PATIENCE_S)


# --- what it shows ---

def test_main_job(short_path):
    done = run(short_path)
    assert done.returncode == 0, done.stderr
    assert 'nvidia.com/gpu: 16 allocatable of 16' in done.stdout
    assert 'slices in use: GPU 0: 2, GPU 1: 2, GPU 2: 2, GPU 3: 2' in done.stdout
    assert len(re.findall(r'Running .* 25 % .* 4040 MiB', done.stdout)) == 8
    assert '\033' not in done.stdout and not done.stderr


def test_one_pod_goes_over_its_limit_and_the_others_do_not_notice(short_path):
    """Each is a process with the library, counted by the arbiter, and `gpuslice top` shows it."""
    done = run(short_path)
    assert done.returncode == 0, done.stderr
    text = re.sub(r'\s+', ' ', done.stdout)
    assert 'cuMemAlloc of 1010 MiB: CUDA_ERROR_OUT_OF_MEMORY (2)' in text
    assert re.search(r'MemoryLimitReached, container tensorflow reached the 4040 MiB that its slices have of GPU-\S+: \d+ allocations? failed', text)
    assert 'the other 7 never noticed' in text
    memory, turns = done.stdout.partition('gpuslice top')[2].split('\n\n')[:2]
    rows = [line.split() for line in memory.splitlines() if 'tensorflow' in line]
    assert len(rows) == 8 and all(row[3:5] == ['4040', 'MiB'] and row[-1] == '-' for row in rows), rows
    assert [row[-2] for row in rows].count('0') == 7, 'one was denied'
    received = re.findall(r'^\d+ +-\w+ +tensorflow +25\.0 % +\d+\.\d s +(\d+\.\d) s$', turns, re.M)
    assert len(received) == 8 and all(float(one) > 0 for one in received), turns
    assert 'memory limits are enforced; pods take turns on each GPU by their shares' in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= WIDTH, done.stdout


def test_whole_gpus_have_no_limit(short_path, files):
    done = run(short_path, CONFIG=written(files / 'c.yaml', 'version: v1\n'))
    assert done.returncode == 0 and 'no memory limit holds here' in done.stdout, done.stderr
    assert 'gpuslice top' not in done.stdout and 'turns' not in done.stdout


def test_a_configuration_without_turns(short_path, files):
    done = run(short_path, CONFIG=written(files / 'c.yaml', SLICED.format(n=4, more='', rename='') + 'gpuslice: {compute: none}\n'))
    assert done.returncode == 0, done.stderr
    assert 'memory limits are enforced; there are no turns' in done.stdout and 'RECEIVED' not in done.stdout


def test_slices_without_room_for_a_context(short_path, files):
    done = run(short_path, CONFIG=written(files / 'c.yaml', SLICED.format(n=20, more='', rename='')))
    assert done.returncode == 0, done.stderr
    assert 'too small for a CUDA context' in done.stdout and 'CUDA_ERROR' not in done.stdout


def test_a_lost_gpu_is_shown_as_unknown(short_path, files):
    done = run(short_path, MACHINE=written(files / 'lost.yaml', LOST))
    assert done.returncode == 0, done.stderr
    assert 'machine lost.yaml: 2 x Tesla V100-SXM2-16GB, unknown' in done.stdout
    assert 'GPU 1 left out: ' in done.stdout and '4 of 8 pods are running' in done.stdout


def test_memory_that_the_driver_does_not_tell(short_path, files):
    done = run(short_path, MACHINE=written(files / 'm.yaml', NO_MEMORY))
    assert done.returncode == 0 and '8 of 8 pods are running' in done.stdout, done.stderr
    assert len(re.findall('Running  1 .* unknown$', done.stdout, re.M)) == 4


@pytest.mark.parametrize('config, resource', [
    (SLICED.format(n=4, more='renameByDefault: true, ', rename=''), 'nvidia.com/gpu.shared'),
    (SLICED.format(n=4, more='', rename=', rename: nvidia.com/quarter'), 'nvidia.com/quarter'),
    (SLICED.format(n=4, more='', rename=', rename: nvidia.com/gpu-of-the-platform-team'),
     'nvidia.com/gpu-of-the-platform-team'),
])
def test_the_pods_ask_for_what_is_offered(short_path, files, config, resource):
    done = run(short_path, CONFIG=written(files / 'c.yaml', config))
    assert done.returncode == 0, done.stderr
    assert f'its pods ask for {resource}, as this configuration offers no nvidia.com/gpu' in re.sub(r'\s+', ' ', done.stdout)
    assert '8 of 8 pods are running' in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= WIDTH, done.stdout


def test_a_resource_that_is_offered_is_kept(short_path):
    assert 'its pods ask for' not in run(short_path).stdout


LONG_NAME = ', rename: nvidia.com/gpu-of-the-platform-team'


@pytest.mark.parametrize('n, machine', [(2, 'p3.8xlarge'), (3, 'p4d.24xlarge'), (3, '8xH100-80GB-HBM3'), (64, 'p5.48xlarge')])
def test_tables_fit_the_screen(short_path, files, machine, n):
    """Also with slices that differ by a remainder, and when pods wait."""
    workload = (ROOT / 'deploy/examples/tensorflow-deployment.yaml').read_text().replace('replicas: 8', 'replicas: 30')
    done = run(short_path, MACHINE=machine, WORKLOAD=written(files / 'w.yaml', workload),
               CONFIG=written(files / 'c.yaml', SLICED.format(n=n, more='', rename=LONG_NAME)))
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= WIDTH, done.stdout


@pytest.mark.parametrize('n', [2, 3, 4096])
@pytest.mark.parametrize('rename', ['', LONG_NAME])
def test_the_plans_tables_fit_the_screen(files, n, rename):
    config = written(files / 'c.yaml', SLICED.format(n=n, more='', rename=rename))
    for machine in ('p3.8xlarge', 'p4d.24xlarge', 'p5en.48xlarge', 'g6e.48xlarge', 'g5.xlarge', '8xH100-80GB-HBM3'):
        plan = subprocess.run([PROGRAMS['gpuslice'], 'plan', '-m', machine, '-c', config], check=False, capture_output=True,
                              text=True)
        assert plan.returncode <= 1, plan.stderr
        assert max(map(len, plan.stdout.splitlines())) <= WIDTH, plan.stdout


def test_reasons_stand_below_the_table(short_path, files):
    done = run(short_path, CONFIG=written(files / 'c.yaml', 'version: v1\n'))
    assert '4 of 8 pods are running' in done.stdout and len(re.findall('-[a-z0-9]{5}  Pending$', done.stdout, re.M)) == 4
    assert len(re.findall('^4 pods are Pending: .*Insufficient nvidia.com/gpu', done.stdout, re.M)) == 1
    assert max(map(len, done.stdout.splitlines())) <= WIDTH, done.stdout


def test_warnings_are_shown(short_path, files):
    """Each that `gpuslice plan` has, below the line about the configuration."""
    config = written(files / 'c.yaml', SLICED.format(n=4096, more='', rename='') + 'flags: {plugin: {noSuchKey: 1}}\n')
    plan = subprocess.run([PROGRAMS['gpuslice'], 'plan', '-m', 'p4d.24xlarge', '-c', config], check=False,
                          capture_output=True, text=True).stderr
    done = run(short_path, MACHINE='p4d.24xlarge', CONFIG=config)
    assert 'noSuchKey' in plan and '518' in plan, plan
    shown = re.sub(r'\s+', ' ', done.stdout.partition('agent started')[2].partition('kubelet advertises')[0])
    assert re.sub(r'\s+', ' ', plan).strip() in shown


def test_one_of_several_keys(short_path, files):
    config = written(files / 'c.yaml', SEVERAL_KEYS)
    for key, count in (('two', 8), ('three', 12)):
        done = run(short_path, CONFIG=config, KEY=key)
        assert f'c.yaml, key {key}' in done.stdout and f'nvidia.com/gpu: {count} allocatable' in done.stdout, done.stderr
    done = run(short_path, CONFIG=config)
    assert done.returncode == 1 and 'KEY=NAME: two, three' in done.stderr
    done = run(short_path, CONFIG=config, KEY='four')
    assert done.returncode == 1 and 'two' in done.stderr


def test_a_workload_of_ones_own(short_path, files):
    done = run(short_path, WORKLOAD=written(files / 'job.yaml', JOB))
    assert done.returncode == 0 and '3 of 3 pods are running' in done.stdout, done.stderr


# --- what it refuses: in a sentence of the program that knows, before anything is shown that is in vain ---

def test_a_config_with_errors_is_answered_with_them(short_path, files):
    config = written(files / 'bad.yaml', 'sharing: {timeSlicing: {resources: [{name: gpu, replicas: none}]}}\n')
    done = run(short_path, CONFIG=config)
    assert done.returncode == 1 and 'Traceback' not in done.stderr and not done.stdout
    assert f'{config}:1:59: ' in done.stderr


@pytest.mark.parametrize('variables_, sentence', [
    ({'MACHINE': 'nope'}, "no machine 'nope'"),
    ({'CONFIG': '/nope.yaml'}, '/nope.yaml'),
    ({'WORKLOAD': '/nope.yaml'}, '/nope.yaml: No such file or directory'),
    ({'WORKLOAD': str(ROOT / 'deploy/examples')}, 'Is a directory'),
    ({'WORKLOAD': str(ROOT / 'README.md')}, 'README.md:'),
    ({'WORKLOAD': '/dev/null'}, 'no objects'),
])
def test_a_mistake_is_one_sentence(short_path, variables_, sentence):
    done = run(short_path, **variables_)
    assert done.returncode == 1 and sentence in done.stderr
    assert 'agent started' not in done.stdout
    assert '---' not in done.stderr and 'Traceback' not in done.stderr and 'demo' not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize('no_color, coloured', [(None, True), ('', True), ('1', False)])
def test_colours_can_be_refused(no_color, coloured):
    """As with the programs: the variable has to hold something. Loaded as a module, it runs nothing."""
    script = 'import runpy, sys; sys.stdout.isatty = lambda: True; print(runpy.run_path(sys.argv[1])["paint"](1, "x") != "x")'
    env = {name: value for name, value in os.environ.items() if name != 'NO_COLOR'}
    done = subprocess.run([sys.executable, '-c', script, DEMO], env={**env, **({} if no_color is None else {'NO_COLOR': no_color})},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == f'{coloured}\n', done.stderr


def test_without_a_build_it_says_what_to_do(short_path):
    done = run(short_path, GPUSLICE_BUILD='/nowhere')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'make build' in done.stderr


def test_a_long_name_of_the_folder_for_temporary_files(tmp_path):
    deep = tmp_path / ('long' * 30)
    deep.mkdir()
    done = run(deep)
    assert done.returncode == 0 and '8 of 8 pods are running' in done.stdout, done.stderr
    assert done.stdout.startswith(f'the name of {deep} is too long for a socket; using /tmp')
    assert not list(deep.iterdir())


# --- what it touches ---

def test_nothing_of_the_shell_reaches_the_agent(short_path):
    poison = {name: 'poisoned-by-the-shell' for name in variables()}
    assert {'NODE_NAME', 'KUBECONFIG', 'MIG_STRATEGY', 'DEVICE_LIST_STRATEGY', 'DP_DISABLE_HEALTHCHECKS'} <= set(poison)
    # Of tools/demo's own programs only those need it that the shell starts for it: LD_PRELOAD would be complained about there.
    poison.pop('LD_PRELOAD')
    with staying(short_path, **poison) as (_, lines):
        assert any('8 of 8 pods are running' in line for line in lines), lines
        pids = [pid for pid, command in of(short_path) if 'gpuslice-' in command[0]]
        assert len(pids) >= 2
        for pid in pids:
            assert b'poisoned' not in Path(f'/proc/{pid}/environ').read_bytes()


def test_nothing_of_the_host_is_used(short_path):
    wanted = host_paths()
    assert {'--kubelet-socket', '--pod-resources-socket', '--cdi-dir', '--state-dir', '--grant-dir'} <= set(wanted)
    with staying(short_path):
        [command] = [command for _, command in of(short_path) if command[0].endswith('gpuslice-node') and '--config-file' in command]
        for option in wanted:
            assert command[command.index(option) + 1].startswith(str(short_path)), option


def test_what_is_worth_trying_works_as_printed(short_path):
    with staying(short_path) as (_, lines):
        lines = lines[lines.index('Worth trying in another terminal:'):]
        commands = [line for line in lines if line.startswith('  ') and not line.startswith('  #')]
        assert max(len(line.replace(str(short_path), '/tmp')) for line in lines) <= WIDTH
        said = {}
        [kubelet] = {line.split()[0] for line in commands if line.endswith('get pods')}

        def await_(condition):
            subprocess.run([kubelet, 'wait', '--for', condition, '--timeout', f'{PATIENCE_S}s'], check=True)

        for command in commands:
            done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True, cwd='/', timeout=PATIENCE_S,
                                  env={'PATH': os.environ['PATH']})
            assert done.returncode == 0, (command, done.stderr)
            said[command.split()[1]] = done.stdout
            if command.endswith(' top'):
                assert done.stdout.count('tensorflow') >= 8
            if ' scale ' in command:
                await_('pods=16')
                await_('pods.Pending=4')
            if ' xid ' in command:
                await_('nvidia.com/gpu=12')
            if ' reset ' in command:
                await_('nvidia.com/gpu=16')
            if command.endswith('get node'):
                assert re.search(r'nvidia.com/gpu +16 +12 +16', done.stdout)
            if command.endswith('get pods'):
                assert done.stdout.count('Running') == 8 and max(map(len, done.stdout.splitlines())) <= WIDTH
            if command.endswith('/metrics') or '/metrics"' in command:
                assert 'gpuslice_devices{resource="nvidia.com/gpu",health="Healthy"} 16' in done.stdout
            if ' tail ' in command:
                assert 'XID 79' in done.stdout
        assert len(commands) == 9 and len([c for c in commands if 'inject' in c]) == 2


# --- what is left of it ---

@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stays_until_told(short_path, number):
    """SIGHUP is what a closed terminal sends. The fixture looks for files; here, for processes."""
    with staying(short_path) as (demo, _):
        demo.send_signal(number)
        demo.communicate(timeout=60)
        assert demo.returncode == (0 if number == signal.SIGINT else 128 + number)
        assert not of(short_path)


@pytest.mark.parametrize('victims', [['demo'], ['gpuslice-kubelet', 'demo'], ['gpuslice-node', 'demo'], ['keeper']])
def test_a_kill_leaves_nothing(short_path, victims):
    """The keeper ends what it started; when it is killed itself, the kernel and the demo do."""
    with staying(short_path) as (demo, _):
        [kubelet] = [pid for pid, command in of(short_path) if 'gpuslice-kubelet' in command[0] and 'run' in command]
        pods = [int(pid) for pid in Path(f'/proc/{kubelet}/task/{kubelet}/children').read_text().split()]
        assert len(pods) == 8
        for victim in victims:
            pids = [demo.pid] if victim == 'demo' else [
                pid for pid, command in of(short_path) if any(word.endswith(victim) for word in command[:2])]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not of(short_path), 'no process is left')
        eventually(lambda: not any(Path(f'/proc/{pid}').exists() for pid in pods), 'no pod is left')
        if victims == ['keeper']:
            demo.terminate()
            demo.communicate(timeout=PATIENCE_S)
        eventually(lambda: not list(short_path.iterdir()), 'no file is left')


def test_the_picture_is_what_is_shown(short_path, files):
    """README's, but for times and names of the machine; `make picture` draws it again."""
    tool, env = ROOT / 'tools/picture', environment(short_path)
    subprocess.run([tool, files / 'new.svg'], env=env, check=True, timeout=2 * PATIENCE_S)
    drawn, kept = (subprocess.run([tool, '--text', path], env=env, check=True, capture_output=True, text=True).stdout
                   for path in (files / 'new.svg', ROOT / 'doc/picture.svg'))
    assert kept == drawn, '`make picture` brings doc/picture.svg up to date'
    assert '16          12 ' in drawn and drawn.count('Running') == 8 and max(map(len, drawn.splitlines())) <= WIDTH
