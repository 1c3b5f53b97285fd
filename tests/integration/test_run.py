# SPDX-License-Identifier: Apache-2.0
"""`gpuslice run`: commands with a limit of GPU memory, on simulated GPUs with the simulated CUDA driver."""
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from node import BUILD, PROGRAMS, eventually

PROBER = BUILD / 'src/gpuslice-prober'
LIBRARIES = f'{BUILD}/sim/cuda:{BUILD}/sim/nvml'
MIB = 1 << 20
GIB = 1 << 30
OUT_OF_MEMORY = '2'
USAGE, UNKEPT, NOT_EXECUTABLE, NOT_FOUND = 64, 3, 126, 127


class Machine:
    """p5.48xlarge: 8 x H100 of 81559 MiB."""

    def __init__(self, folder, **variables):
        self.state = tempfile.TemporaryDirectory(prefix='run-')  # a short name: there are sockets below it
        self.environment = {**os.environ, 'GPUSLICE_MACHINE': 'p5.48xlarge', 'GPUSLICE_SIM_STATE': str(folder / 'state'),
                            # Not those of this machine: an agent may be re-partitioning its GPUs.
                            'GPUSLICE_ARBITER_DIR': str(folder), 'GPUSLICE_GRANT_DIR': str(folder / 'grants'),
                            'GPUSLICE_STATE_DIR': self.state.name,
                            'LD_LIBRARY_PATH': LIBRARIES, 'ASAN_OPTIONS': 'verify_asan_link_order=0:detect_leaks=0', **variables}
        self.environment.pop('LD_PRELOAD', None)

    def start(self, *words, **more):
        return subprocess.Popen([PROGRAMS['gpuslice'], 'run', *map(str, words)], env=self.environment, stdin=subprocess.PIPE, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def run(self, *words, lines=(), status=0):
        process = self.start(*words)
        out, errors = process.communicate(''.join(line + '\n' for line in lines), 60)
        assert process.returncode == status, errors
        return out, errors


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def answers(out):
    return [line.split() for line in out.splitlines()]


def test_a_program_sees_a_gpu_of_that_size_and_gets_no_more(machine):
    out, errors = machine.run('--memory', '4Gi', '--device', '0', '--', PROBER,
                              lines=['info', f'fill cuMemAlloc {GIB} {2 * MIB} {16 * GIB}', 'mem', 'drop', f'take cuMemAlloc {GIB}'])
    info, fill, full, _, again = answers(out)
    assert int(info[3]) == 4 * GIB and int(info[4]) < 4 * GIB
    assert fill[0] == OUT_OF_MEMORY and 3 * GIB < int(fill[1]) <= 4 * GIB
    assert full[0] == '0' and int(full[2]) < 2 * MIB
    assert again == ['0']
    assert 'peak 4096 of 4096 MiB' in errors and 'denied' in errors


@pytest.mark.skipif(os.geteuid() != 0, reason='that of others is in XDG_RUNTIME_DIR')
def test_its_folder_is_in_the_state_folder_for_as_long_as_it_runs(machine):
    process = machine.start('--memory', '4Gi', '--device', '0', '--', 'cat')
    process.stdin.write('there\n')
    process.stdin.flush()
    assert process.stdout.readline() == 'there\n'
    assert len(list(Path(machine.state.name).glob('run-*'))) == 1
    process.communicate(timeout=60)
    assert not list(Path(machine.state.name).iterdir())


def test_two_processes_share_the_limit_and_what_one_had_is_free_when_it_ended(machine):
    script = f'echo "take cuMemAlloc {2 * GIB}" | {PROBER}; {PROBER} < <(echo "take cuMemAlloc {2 * GIB}"; exec sleep 60) & read go; ' \
             f'echo "take cuMemAlloc {2 * GIB}" | {PROBER}; kill $!'
    process = machine.start('--memory', '4Gi', '--device', '0', '--', 'bash', '-c', script)
    assert [process.stdout.readline() for _ in range(2)] == ['0\n', '0\n']
    out, _ = process.communicate('go\n', 60)
    assert out.splitlines()[0] == OUT_OF_MEMORY


def test_another_device_is_not_limited_by_this_one(machine):
    out, _ = machine.run('--memory', '4Gi', '--', 'env', 'CUDA_VISIBLE_DEVICES=3', PROBER, lines=['info', 'mem'])
    assert int(answers(out)[0][3]) == 4 * GIB
    out, _ = machine.run('--memory', '4Gi', '--device', '3', '--', 'printenv', 'CUDA_VISIBLE_DEVICES')
    assert out.startswith('GPU-')


@pytest.mark.parametrize('words, status, said', [
    (['--memory', '4Gi'], USAGE, 'which command'),
    (['--', 'true'], USAGE, 'how much memory'),
    (['--memory', 'much', '--', 'true'], USAGE, "got 'much'"),
    (['--share', '0%', '--', 'true'], USAGE, '--share: '),
    (['--share', '120%', '--', 'true'], USAGE, '--share: '),
    (['--memory', '90Gi', '--', 'true'], UNKEPT, 'has only 81559 MiB'),
    (['--memory', '4Gi', '--device', '8', '--', 'true'], UNKEPT, "no usable GPU or MIG device '8'"),
    (['--memory', '4Gi', '--', '/nowhere/at/all'], NOT_FOUND, '/nowhere/at/all: No such file'),
    (['--memory', '4Gi', '--', '/etc/passwd'], NOT_EXECUTABLE, '/etc/passwd: Permission denied'),
    (['--memory', '4Gi', '--', 'sh', '-c', 'exit 7'], 7, ''),
    (['--memory', '4Gi', '--', 'sh', '-c', 'kill -USR1 $$'], 128 + signal.SIGUSR1, ''),
])
def test_statuses(machine, words, status, said):
    assert said in machine.run(*words, status=status)[1]


def test_without_a_library_nothing_runs(tmp_path):
    _, errors = Machine(tmp_path, GPUSLICE_LIBRARY='/nowhere.so').run('--memory', '4Gi', '--', 'true', status=UNKEPT)
    assert 'cannot read the library /nowhere.so' in errors


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_are_passed_on(machine, number):
    process = machine.start('--memory', '4Gi', '--', 'sh', '-c', 'trap "echo told; exit 5" TERM HUP INT; echo ready; while :; do sleep 0.05; done',
                            start_new_session=True, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))  # nohup would ignore one for all
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(number)
    assert process.stdout.readline() == 'told\n'
    process.communicate(timeout=60)
    assert process.returncode == 5


def is_alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except FileNotFoundError:
        return False


def left_behind(machine):
    out, errors = machine.run('--memory', '4Gi', '--', 'sh', '-c', 'sleep 1000 >/dev/null 2>&1 & echo $!; cat /proc/$!/cgroup')
    return int(out.split()[0]), out, errors


def test_what_a_command_leaves_behind_ends_with_its_limit(machine):
    pid, out, errors = left_behind(machine)
    if 'gpuslice-run-' not in out:
        os.kill(pid, signal.SIGKILL)
        pytest.skip('no cgroup of its own can be made here')
    assert 'left behind were killed' in errors
    assert not is_alive(pid)


def name_of(pid):
    try:
        return Path(f'/proc/{pid}/comm').read_text()
    except OSError:  # it has ended meanwhile
        return ''


def test_an_arbiter_that_dies_is_started_again_and_the_limit_goes_on(machine):
    process = machine.start('--memory', '4Gi', '--device', '0', '--', PROBER)

    def ask(line):
        process.stdin.write(line + '\n')
        process.stdin.flush()
        return process.stdout.readline().split()

    def arbiter():
        children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
        return next((pid for pid in children if name_of(pid).startswith('gpuslice-arb')), None)

    assert ask(f'take cuMemAlloc {2 * GIB}') == ['0']
    first = arbiter()
    os.kill(int(first), signal.SIGKILL)
    eventually(lambda: arbiter() not in (None, first), 'another arbiter')
    fill = ask(f'fill cuMemAlloc {GIB} {2 * MIB} {16 * GIB}')
    assert fill[0] == OUT_OF_MEMORY and int(fill[1]) <= 2 * GIB
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and 'is started again' in errors


def test_strangers_are_refused(machine, tmp_path):
    """A process that only knows the folder, and is not of the command."""
    process = machine.start('--memory', '4Gi', '--device', '0', '--', 'sh', '-c', 'echo $GPUSLICE_GRANT; read x')
    folder = process.stdout.readline().strip()
    stranger = subprocess.run([PROBER], env={**machine.environment, 'GPUSLICE_GRANT': folder, 'LD_PRELOAD': str(BUILD / 'src/shim/libgpuslice.so')},
                              input='info\n', capture_output=True, text=True, timeout=60)
    assert 'gpuslice' in stranger.stderr, stranger
    _, errors = process.communicate('\n', 60)
    assert 'peak' not in errors, 'it was counted as one of the command'


def verify(machine, *words):
    """What it printed, each check with its verdict and what was found, and its exit status."""
    done = subprocess.run([PROGRAMS['gpuslice'], 'verify', *words], env=machine.environment, capture_output=True, text=True, timeout=240)
    print(done.stdout + done.stderr)
    rows = re.findall(r'^(PASS|FAIL|----)  (.{34}) (.*)$', done.stdout, re.M)
    return done, {what.strip(): (verdict, found) for verdict, what, found in rows}


def numbers(text):
    return [float(one) for one in re.findall(r'\d+(?:\.\d+)?', text)]


def test_verify_checks_every_kind_of_allocation_several_processes_and_turns(machine):
    done, checks = verify(machine, '--device', '2')
    turns = {what: found for what, (_, found) in checks.items() if what.startswith('turns')}
    # What the library costs, and how fast turns are, is no matter of a test on a shared machine.
    limits = {what: verdict for what, (verdict, found) in checks.items() if what not in turns and 'with the library' not in found}
    assert set(limits.values()) == {'PASS'} and len(limits) == 12
    assert len(checks) == 17 and '(simulated)' in done.stdout
    assert (done.returncode == 0) == all(verdict == 'PASS' for verdict, _ in checks.values())
    assert done.stdout.splitlines()[-1].startswith('| NVIDIA H100 80GB HBM3, simulated | 580.159.04 | ')
    progress, least = numbers(turns['turns: a heavy task alone'])
    assert 10 < progress < 200 and least == 99
    small, large, _, error, most = numbers(turns['turns: shares of 25 % and 75 %'])
    assert small + large == pytest.approx(100, abs=.2) and error == pytest.approx(abs(small / 25 - 1) * 100, abs=.3) and most >= 5
    found = dict(zip(('p50', 'p99', 'native_p50', 'native_p99'), re.findall(r'\d+\.\d+', turns['turns: a light task beside two'])))
    p50, p99, native_p50, native_p99 = map(float, found.values())
    assert .08 <= p50 <= p99 and .08 <= native_p50 <= native_p99, 'its kernel takes 80 us'


def test_verify_says_what_fails(machine, tmp_path):
    """With a library that limits nothing."""
    empty = tmp_path / 'empty.so'
    source = tmp_path / 'empty.c'
    source.write_text('int nothing;')
    subprocess.run(['cc', '-shared', '-o', empty, source], check=True)
    machine.environment['GPUSLICE_LIBRARY'] = str(empty)
    done, checks = verify(machine)
    assert done.returncode == 2
    failed = {what for what, (verdict, _) in checks.items() if verdict == 'FAIL'}
    assert {'cuMemAlloc', 'two processes racing', 'turns: shares of 25 % and 75 %'} <= failed
    small, large, *_ = numbers(checks['turns: shares of 25 % and 75 %'][1])
    assert small > 35, 'the hardware shares equally'
    assert '| FAIL (' in done.stdout.splitlines()[-1]


def test_verify_says_where_there_can_be_no_turns(machine):
    subprocess.run([PROGRAMS['gpuslice-sim'], 'inject', 'error', 'cuStreamWriteValue32_v2', 'NOT_SUPPORTED'], env=machine.environment, check=True)
    _, checks = verify(machine)
    assert [(what, verdict) for what, (verdict, _) in checks.items() if what.startswith('turns')] == [('turns', '----')]
    assert 'not available' in checks['turns'][1]


def test_verify_needs_a_gpu(machine):
    done = subprocess.run([PROGRAMS['gpuslice'], 'verify', '--device', '9'], env=machine.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == UNKEPT and "there is no GPU '9'" in done.stderr


@pytest.mark.parametrize('flags, status, sentence', [
    (['--local-grant={folder}/absent'], 1, 'absent'),
    (['--local-grant={folder}', '--report-fd=first'], USAGE, '--report-fd=first: write the number of a descriptor'),
])
def test_an_arbiter_of_one_command_needs_its_grant(tmp_path, flags, status, sentence):
    ended = subprocess.run([PROGRAMS['gpuslice-arbiter'], *(flag.format(folder=tmp_path) for flag in flags)],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    assert ended.returncode == status
    assert sentence in ended.stdout
