# SPDX-License-Identifier: Apache-2.0
"""What `make run` shows, and that nothing is left of it however it ends."""
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from node import BUILD, ROOT

DEMO = ROOT / 'tools/demo'
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


def environment(tmp_path, **more):
    """TMPDIR is the test's own folder, so that what is left behind shows in it."""
    env = {name: value for name, value in os.environ.items()
           if name not in ('MACHINE', 'CONFIG', 'WORKLOAD', 'STAY', 'TMPDIR')}
    return {**env, 'GPUSLICE_BUILD': str(BUILD), 'TMPDIR': str(tmp_path), **more}


@pytest.fixture
def short_path():
    """Sockets lie below TMPDIR, and a socket's path has room for 107 characters."""
    path = Path(subprocess.run(['mktemp', '-d', '/tmp/gpuslice-demo-XXXXXX'], check=True,
                               capture_output=True, text=True).stdout.strip())
    yield path
    left = [one.name for one in path.iterdir()]
    subprocess.run(['rm', '-rf', path], check=True)
    assert left == []


def run(path, **more):
    return subprocess.run([DEMO], env=environment(path, **more), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=False)


def test_main_job(short_path):
    done = run(short_path)
    assert done.returncode == 0, done.stderr
    assert 'nvidia.com/gpu: 16 allocatable of 16' in done.stdout
    assert 'slices in use: GPU 0: 2, GPU 1: 2, GPU 2: 2, GPU 3: 2' in done.stdout
    assert len(re.findall(r'Running .* 25 % .* 4040 MiB', done.stdout)) == 8
    assert '\033' not in done.stdout


def test_a_lost_gpu_is_shown_as_unknown(short_path, tmp_path):
    machine = tmp_path / 'lost.yaml'
    machine.write_text(LOST)
    done = run(short_path, MACHINE=str(machine))
    assert done.returncode == 0, done.stderr
    assert 'machine lost.yaml: 2 x Tesla V100-SXM2-16GB, unknown' in done.stdout
    assert 'GPU 1 left out: ' in done.stdout and '4 of 8 pods are running' in done.stdout


def test_a_config_with_errors_is_answered_with_them(short_path, tmp_path):
    config = tmp_path / 'bad.yaml'
    config.write_text('sharing: {timeSlicing: {resources: [{name: gpu, replicas: 0}]}}\n')
    done = run(short_path, CONFIG=str(config))
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert f'{config}:1:59: ' in done.stderr and 'must be at least 1' in done.stderr


def test_without_a_build_it_says_what_to_do(short_path):
    done = run(short_path, GPUSLICE_BUILD='/nowhere')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'make build' in done.stderr


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stays_until_told(short_path, number):
    """SIGHUP is what a closed terminal sends. The fixture looks for files; here, for processes."""
    demo = subprocess.Popen([DEMO], env=environment(short_path, STAY='1'), text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0)
    for line in demo.stdout:
        if line.startswith('staying up'):
            break
    demo.send_signal(number)
    demo.communicate(timeout=60)
    assert demo.returncode == (0 if number == signal.SIGINT else 128 + number)
    commands = [path.read_bytes() for path in Path('/proc').glob('[0-9]*/cmdline') if path.exists()]
    assert not [command for command in commands if bytes(short_path) in command]
