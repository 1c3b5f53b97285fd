# SPDX-License-Identifier: Apache-2.0
"""Simulated machines for other people's programs, and where those come from."""
import fcntl
import importlib.machinery
import importlib.util
import json
import os
import platform
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get('GPUSLICE_BUILD', ROOT / 'build')).resolve()
TOOLS = Path(os.environ.get('GPUSLICE_TOOLS', ROOT / 'build-tools')).resolve()
SIM = BUILD / 'sim/nvml/gpuslice-sim'
MACHINES = sorted((ROOT / 'sim/machines').glob('*.yaml'))


class Machine:
    """A machine file of ours, running; with the driver that the program belongs to, if it belongs to one."""

    def __init__(self, path, folder, driver=None):
        file = folder / path.name
        facts = path.read_text()
        if driver:
            facts, n = re.subn('^driver:.*$', f'driver: {driver}', facts, flags=re.M)
            assert n == 1
        file.write_text(facts)
        self.env = dict(os.environ, GPUSLICE_MACHINE=str(file), GPUSLICE_SIM_STATE=str(folder / 'state'),
                        LD_LIBRARY_PATH=str(BUILD / 'sim/nvml'), LC_ALL='C.UTF-8', HOME=str(folder),
                        # Ours look for what pods hold. Not at a kubelet of the host: its pods may hold GPUs of the same UUIDs.
                        GPUSLICE_DEVICE_PLUGIN_DIR=str(folder / 'plugins'), GPUSLICE_GRANT_DIR=str(folder / 'grants'),
                        GPUSLICE_STATE_DIR=str(folder / 'ours'))
        self.gpus = json.loads(self.sim('show', file, '-o', 'json'))['gpus']
        for gpu in self.gpus:
            gpu['mib'] = gpu['memory_bytes'] >> 20

    def sim(self, *words):
        return subprocess.run([SIM, *map(str, words)], env=self.env, check=True, capture_output=True, text=True).stdout

    def environment(self, **more):
        """A foreign program's; a sanitized library needs its runtime first."""
        env = {**self.env, **more}
        if os.environ.get('GPUSLICE_SANITIZER_PRELOAD'):
            env['LD_PRELOAD'] = os.environ['GPUSLICE_SANITIZER_PRELOAD']
            env['ASAN_OPTIONS'] = env.get('ASAN_OPTIONS', '') + ':detect_leaks=0'  # the program's own
        return env

    def run(self, *argv, **more):
        return subprocess.run([str(word) for word in argv], env=self.environment(**more), capture_output=True, text=True,
                              timeout=100)

    def output(self, *argv, **more):
        done = self.run(*argv, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def busy(self, gpu):
        """The PID of a process with 2 GiB on the GPU, which is at 73 %."""
        sleeper = subprocess.Popen(['sleep', '1000'])
        try:
            self.sim('inject', 'process', 'add', gpu, sleeper.pid, '2Gi')
            self.sim('inject', 'utilization', gpu, 73)
            yield sleeper.pid
        finally:
            sleeper.kill()
            sleeper.wait()


def script(name):
    """A program of this folder, as a module."""
    loader = importlib.machinery.SourceFileLoader(name.replace('-', '_'), str(Path(__file__).parent / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@contextmanager
def one_at_a_time(name):
    """Workers take turns to make what they share."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with open(TOOLS / f'{name}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def debian(name, *packages):
    """The root in which they lie, below build-tools/NAME. Skips where they cannot be had."""
    if platform.machine() != 'x86_64':
        pytest.skip(f'of Debian\'s {" and ".join(packages)}, the edition for x86-64 is tried')
    try:
        with one_at_a_time(name):
            return script('fetch-debian').fetch(TOOLS / name, *packages)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f'{" and ".join(packages)} cannot be had here: {error}')


def built(name, fetch, build, **how):
    """Fetches public sources and builds programs from them. Skips where they cannot be had, or what builds them is not there.
    How long it may take to build says the limit of its test: beside other work a compiler may wait long for a processor."""
    with one_at_a_time(name):
        try:
            subprocess.run(fetch, check=True, capture_output=True, text=True, timeout=300, **how)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f'{name} cannot be had here: {error} {getattr(error, "stderr", None) or ""}')
        done = subprocess.run(build, capture_output=True, text=True, **how)
    assert done.returncode == 0, done.stderr


def go_programs(name, *packages):
    """The folder of programs that use NVML through cgo, built from `packages` as the module tests/integration/NAME pins them."""
    go, folder = ROOT / 'tools/go', TOOLS / name
    # As all Go programs of the tests are built, so that they share what they compile: Go's own library above all.
    built(name, [go, 'list', '-deps', *packages], [go, 'build', '-o', f'{folder}/', '-trimpath', '-gcflags=all=-N -l', *packages],
          cwd=Path(__file__).parent / name, env=dict(os.environ, GOFLAGS='-mod=readonly', CGO_ENABLED='1', CGO_CFLAGS='-O0'))
    return folder
