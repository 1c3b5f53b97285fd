# SPDX-License-Identifier: Apache-2.0
"""libgpuslice.so, preloaded into programs that know nothing of it, on the simulated driver, in a container of the kind that the
agent's answer makes: the library, and the directory of a grant with a socket in it. An arbiter for tests stands behind that."""
import json
import os
import re
import resource
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from limitsarbiter import (CHARGE, DENIED, ENFORCED, ENTER, ENTERED, GREW, LEFT, MIB, NONE, OBSERVE, REGISTER, RELEASE, RESERVE, SHRANK, Arbiter)
from node import BUILD, PROGRAMS, eventually

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = BUILD / 'src/shim/libgpuslice.so'
CUDA, NVML = BUILD / 'sim/cuda/libcuda.so.1', BUILD / 'sim/nvml/libnvidia-ml.so.1'
CASES = BUILD / 'tests/conformance/cuda'
LIMIT, CONTEXT, DEVICE = 4096, 518, 143155  # MiB; all as the simulator has them
OUT_OF_MEMORY = '2'


def hooks(word):
    return re.findall(rf'^{word}\((\w+)', (ROOT / 'src/shim/hooks.def').read_text(), re.M)


def output(*words):
    return subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True).stdout


# --- the built object ---

def test_it_needs_libc_alone():
    needed = re.findall(r'NEEDED.*\[(.*)\]', output('readelf', '-d', LIBRARY))
    assert [name for name in needed if not re.match(r'libc\.so\.6|ld-linux', name)] == []


def test_it_does_nothing_when_it_is_loaded_or_unloaded():
    """No constructor, no destructor, nothing for exit to call."""
    assert re.findall(r'\((INIT\w*|FINI\w*|PREINIT\w*)\)', output('readelf', '-d', LIBRARY)) == []


def test_it_runs_with_glibc_2_17():
    wanted = re.findall(r'\*UND\*.*\(GLIBC_([\d.]+)\) (\S+)', output('objdump', '-T', LIBRARY))
    assert len(wanted) > 20
    assert [name for version, name in wanted if tuple(map(int, version.split('.'))) > (2, 17)] == []


def test_it_exports_its_hooks_and_nothing_else():
    defined = [line.split() for line in output('nm', '-D', '--defined-only', LIBRARY).splitlines()]
    names = sorted(name for _, kind, name in defined if kind == 'T')
    oldest = 'GLIBC_2.2.5' if os.uname().machine == 'x86_64' else 'GLIBC_2.17'
    routes = [f'{name}{version}' for name in ('dlsym', 'dlvsym') for version in ('@@GLIBC_2.34', f'@{oldest}')]
    assert names == sorted(hooks('HOOK') + hooks('NVML_HOOK') + routes)
    assert len(names) > 60


# --- programs in a container ---

class Container:
    """What a pod with one slice sees. `folder`: its grant's directory."""

    def __init__(self, folder):
        self.folder = folder / 'grant'
        self.folder.mkdir()
        self.environment = {**os.environ, 'GPUSLICE_MACHINE': 'p5en.48xlarge', 'GPUSLICE_SIM_STATE': str(folder / 'state'),
                            'LD_LIBRARY_PATH': str(BUILD / 'sim/nvml')}
        # Of sanitized programs, what comes first is the sanitizer; and it would look for leaks in forked children.
        self.environment['ASAN_OPTIONS'] = 'verify_asan_link_order=0:detect_leaks=0'
        gpus = json.loads(subprocess.run([PROGRAMS['gpuslice-sim'], '-o', 'json', 'state'], env=self.environment, check=True,
                                         capture_output=True, text=True).stdout)['gpus']
        self.uuids = [gpu['uuid'] for gpu in gpus]
        self.processes, self.arbiters = [], []

    def arbiter(self, limit=LIMIT, devices=1, **words):
        self.arbiters.append(Arbiter(self.folder, [(uuid, limit * MIB) for uuid in self.uuids[:devices]], **words))
        return self.arbiters[-1]

    def command(self, *words, granted=True):
        mount = f'mkdir -p /opt/gpuslice/nvidia.com.gpu && mount --bind {self.folder} /opt/gpuslice/nvidia.com.gpu && ' if granted else ''
        return ['unshare', '--mount', 'sh', '-c', f'mount -t tmpfs none /opt && {mount} export LD_PRELOAD={LIBRARY} && exec "$@"', 'sh',
                *map(str, words)]

    def run(self, *words, **named):
        return subprocess.run(self.command(*words, **named), env=self.environment, capture_output=True, text=True, timeout=120)

    def steps(self, **named):
        self.processes.append(Steps(self.command(CASES / 'cuda-steps', CUDA, NVML, **named), self.environment))
        return self.processes[-1]

    def end(self):
        for process in self.processes:
            process.end()
        for arbiter in self.arbiters:
            arbiter.answers = False


class Steps:
    """A running cuda-steps."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, bufsize=1)
        assert self.said() == 'ready'

    def said(self):
        line = self.process.stdout.readline().strip()
        assert line, self.process.stderr.read()
        return line

    def __call__(self, command):
        self.process.stdin.write(command + '\n')
        return self.said()

    def info(self):
        """Free and total MiB."""
        return tuple(map(int, self('info').split()))

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        return self.process.communicate()[1]


@pytest.fixture
def container(tmp_path):
    made = Container(tmp_path)
    yield made
    made.end()


def test_allocations_up_to_the_limit(container):
    arbiter = container.arbiter(8192)
    done = container.run(CASES / 'conformance-limits', CUDA)
    assert (done.returncode, 'not ok' in done.stdout) == (0, False), done.stdout + done.stderr
    assert done.stdout.count('\nok ') == 20
    eventually(lambda: arbiter.charged() == 0, 'nothing is charged to processes that ended')


def test_the_driver_is_the_same_with_a_limit(container):
    container.arbiter(16384)
    done = container.run(CASES / 'conformance-cuda', '-l', CUDA)
    assert (done.returncode, 'not ok' in done.stdout) == (0, False), done.stdout + done.stderr


@pytest.mark.parametrize('words', [[], ['--pretend'], ['--driver', '--limit-mib', '16384']], ids=['cgroup', 'pretended', 'driver'])
def test_with_gpuslice_arbiter(words):
    """The same cases, as they are run on a real GPU."""
    done = subprocess.run([ROOT / 'tests/conformance/cuda/limits', BUILD, *words], capture_output=True, text=True, timeout=300)
    assert (done.returncode, 'not ok' in done.stdout) == (0, False), done.stdout + done.stderr
    assert done.stdout.count('\nok ') >= 16


def test_lookups_are_the_same_with_a_limit(container):
    container.arbiter()
    done = container.run(CASES / 'preload-routes', CUDA)
    assert (done.returncode, 'not ok' in done.stdout) == (0, False), done.stdout + done.stderr


def test_a_program_without_cuda_connects_to_nothing(container):
    arbiter = container.arbiter()
    assert container.run('sh', '-c', 'ls / >/dev/null && echo done').stdout == 'done\n'
    assert arbiter.said == []


def test_without_a_grant_nothing_is_limited(container):
    steps = container.steps(granted=False)
    begin = time.monotonic()
    assert steps('start') == '0'
    assert time.monotonic() - begin < 5  # a process that waits for an arbiter does so for 5 s
    assert steps.info()[1] == DEVICE
    assert steps(f'alloc {LIMIT * 2}') == '0'


def test_a_slice_is_all_that_is_seen(container):
    container.arbiter()
    steps = container.steps()
    assert steps('total') == f'0 {LIMIT}'
    assert steps('start') == '0'
    assert steps.info() == (LIMIT - CONTEXT, LIMIT)
    assert steps('alloc 1000') == '0'
    assert steps.info() == (LIMIT - CONTEXT - 1000, LIMIT)
    assert steps('nvml') == f'{LIMIT} {LIMIT - CONTEXT - 1000} {CONTEXT + 1000} 1'
    assert steps(f'alloc {LIMIT}') == OUT_OF_MEMORY
    assert steps('free') == '0'
    assert steps.info() == (LIMIT - CONTEXT, LIMIT)


def test_slices_of_two_devices_are_seen_by_themselves(container):
    """And the third device as it is, of which the container has none. What NVML shows adds up as it does without a slice."""
    container.arbiters.append(Arbiter(container.folder, [(container.uuids[0], LIMIT * MIB), (container.uuids[1], LIMIT // 2 * MIB)]))
    first, second = container.steps(), container.steps()
    assert [first(step) for step in ('start', 'alloc 1000')] == [second(step) for step in ('start 1', 'alloc 500')] == ['0', '0']
    assert first.info() == (LIMIT - CONTEXT - 1000, LIMIT)
    assert second.info() == (LIMIT // 2 - CONTEXT - 500, LIMIT // 2)
    for steps in (first, second):
        assert steps('memory 0') == f'{LIMIT} 0 {CONTEXT + 1000} {LIMIT - CONTEXT - 1000}'
        assert steps('memory 1') == f'{LIMIT // 2} 0 {CONTEXT + 500} {LIMIT // 2 - CONTEXT - 500}'
        total, reserved, used, free = map(int, steps('memory 2').split())
        assert total - reserved == DEVICE and reserved > 0 and abs(total - reserved - used - free) <= 3
    assert second(f'alloc {LIMIT // 2}') == OUT_OF_MEMORY and first(f'alloc {LIMIT // 2}') == '0'


def test_memory_of_another_process_is_charged_to_that_one(container, tmp_path):
    """By an IPC handle and by a descriptor, however often it is opened."""
    arbiter = container.arbiter()
    owner, guest = container.steps(), container.steps()
    assert [owner(step) for step in ('start', 'alloc 512')] == ['0', '0'] and guest('start') == '0'
    charged = arbiter.charged()
    handle = owner('give')
    assert guest(f'open {handle}') == '0'
    assert arbiter.charged() == charged and guest.info() == owner.info() == (LIMIT - charged // MIB, LIMIT)
    assert guest(f'inbox {tmp_path}/inbox') == '0' and owner(f'export {tmp_path}/inbox') == '0'
    charged = arbiter.charged()
    assert guest('import') == '0'
    assert arbiter.charged() == charged and guest.info()[0] == LIMIT - charged // MIB
    guest.end()
    eventually(lambda: len(arbiter.sessions) == 1, 'it has ended')
    assert owner.info()[0] == LIMIT - (charged // MIB - CONTEXT) + 16  # its own credit, which what it exported is out of


def test_processes_of_other_containers_are_not_seen(container):
    container.arbiter()
    steps, environment = container.steps(), container.environment
    assert steps('start') == '0'
    subprocess.run([PROGRAMS['gpuslice-sim'], 'inject', 'process', 'add', '0', str(os.getppid()), '100Mi'], env=environment, check=True)
    own = Path('/proc/self/cgroup').read_text()
    others = 0 if Path(f'/proc/{os.getppid()}/cgroup').read_text() != own else 1
    assert steps('nvml').split()[3] == str(1 + others)
    subprocess.run([PROGRAMS['gpuslice-sim'], 'inject', 'process', 'add', '0', '4194303', '100Mi'], env=environment, check=True)
    assert steps('nvml').split()[3] == str(1 + others)


def test_the_context_counts_and_may_be_denied(container):
    arbiter = container.arbiter(limit=500)
    assert container.steps()('start') == OUT_OF_MEMORY
    assert [said[0] for said in arbiter.said] == [REGISTER, ENTER]


@pytest.mark.parametrize('before', ['alloc 1', 'pass 500'])
def test_what_nobody_uses_is_in_no_contexts_way(container, before):
    """What the library keeps for small allocations, and what a pool gave back when it was waited for."""
    container.arbiter(limit=2 * CONTEXT + 10)
    steps = container.steps()
    assert [steps(step) for step in ('start', before, 'context')] == ['0', '0', '0']
    assert steps('context') == OUT_OF_MEMORY


def test_what_a_pool_gave_back_is_free_for_other_processes(container):
    """Once the one that freed it has waited for that, whatever it does from then on."""
    container.arbiter()
    idle, other = container.steps(), container.steps()
    assert [idle('start'), other('start'), idle('pass 2000')] == ['0', '0', '0']
    assert other(f'alloc {LIMIT - 2 * CONTEXT - 100}') == '0'


def test_small_allocations_ask_once(container):
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    for _ in range(10):
        assert steps('alloc 1') == '0'
    asked = [said for said in arbiter.said if said[0] == RESERVE]
    assert len(asked) == 2, asked  # each takes a granule of 2 MiB, and one is asked for with a credit of 16 MiB


# --- modules ---

NEIGHBOUR = '4194303'  # a process id that there is not


def ptx(mib):
    return f'.version 6.3\n.target sm_70\n.address_size 64\n.visible .global .align 4 .b8 variable[{mib * MIB}];\n'


class Driver:
    """The simulated one: which of its functions are called, where they hang, and what a neighbour has meanwhile."""

    def __init__(self, container, tmp_path):
        self.environment, self.trace, self.pipe = container.environment, tmp_path / 'trace', tmp_path / 'image'
        self.environment['GPUSLICE_SIM_TRACE'] = str(self.trace)
        os.mkfifo(self.pipe)

    def sim(self, *words):
        subprocess.run([PROGRAMS['gpuslice-sim'], 'inject', *words], env=self.environment, check=True)

    def calls(self, name):
        return self.trace.read_text().split().count(name)

    def load(self, steps, mib, meanwhile):
        """An image whose size is known to nobody before the driver has read it: it comes through a pipe."""
        steps.process.stdin.write(f'file {self.pipe}\n')
        with open(self.pipe, 'w') as image:  # the driver has opened it, too
            meanwhile()
            image.write(ptx(mib))
        return steps.said()


@pytest.fixture
def driver(container, tmp_path):
    return Driver(container, tmp_path)


def test_variables_of_modules_are_charged_at_once(container):
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    assert steps('load 1000') == '0'
    assert steps.info() == (LIMIT - CONTEXT - 1000, LIMIT)
    assert steps(f'load {LIMIT}') == OUT_OF_MEMORY
    assert steps('nvml').split()[2] == str(CONTEXT + 1000)
    assert steps.info() == (LIMIT - CONTEXT - 1000, LIMIT)
    assert steps(f'alloc {LIMIT - CONTEXT - 999}') == OUT_OF_MEMORY
    assert steps('unload') == '0'
    assert steps.info() == (LIMIT - CONTEXT, LIMIT)
    assert steps(f'alloc {LIMIT - CONTEXT}') == '0'
    assert [said for said in arbiter.said if said[0] in (GREW, SHRANK)] == []


def test_what_does_not_fit_is_not_loaded(container, driver, tmp_path):
    """The driver is not called, as for any allocation: its image tells how much it takes."""
    container.arbiter()
    (tmp_path / 'module.ptx').write_text(ptx(LIMIT - CONTEXT + 1))
    steps = container.steps()
    assert steps('start') == '0'
    assert steps(f'load {LIMIT - CONTEXT + 1}') == OUT_OF_MEMORY
    assert steps(f'file {tmp_path}/module.ptx') == OUT_OF_MEMORY
    assert steps(f'library {LIMIT - CONTEXT + 1}') == f'0 {OUT_OF_MEMORY}'
    assert [driver.calls(name) for name in ('cuModuleLoadData', 'cuModuleLoad', 'cuLibraryGetModule')] == [0, 0, 0]
    assert steps.info() == (LIMIT - CONTEXT, LIMIT)
    assert steps(f'load {LIMIT - CONTEXT}') == '0'


def test_what_a_neighbour_frees_meanwhile_hides_no_module(container, driver):
    """The device has no less memory afterwards."""
    container.arbiter()
    driver.sim('process', 'add', '0', NEIGHBOUR, '2000Mi')
    steps = container.steps()
    assert steps('start') == '0'
    driver.sim('hang', 'all', 'cuModuleLoadData')
    steps.process.stdin.write('load 1000\n')
    eventually(lambda: driver.calls('cuModuleLoadData') == 1, 'it is being loaded')
    driver.sim('process', 'remove', '0', NEIGHBOUR)
    driver.sim('unhang', 'all', 'cuModuleLoadData')
    assert steps.said() == '0'
    assert steps.info() == (LIMIT - CONTEXT - 1000, LIMIT)
    assert steps(f'load {LIMIT - CONTEXT - 999}') == OUT_OF_MEMORY


def test_what_the_driver_refuses_is_not_charged(container, driver):
    container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    driver.sim('error', 'cuModuleLoadData', '200')
    assert steps('load 1000') == '200'
    assert steps.info() == (LIMIT - CONTEXT, LIMIT)


def test_a_module_of_unknown_size_is_charged_at_once(container, driver):
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    assert driver.load(steps, 1000, lambda: None) == '0'
    assert steps.info() == (LIMIT - CONTEXT - 1000, LIMIT)
    assert driver.load(steps, LIMIT, lambda: None) == OUT_OF_MEMORY
    assert steps('nvml').split()[2] == str(CONTEXT + 1000)  # it is unloaded again
    assert steps.info() == (LIMIT - CONTEXT - 1000, LIMIT)
    assert steps('unload') == '0'
    assert steps.info() == (LIMIT - CONTEXT, LIMIT)
    assert [said[0] for said in arbiter.said if said[0] in (GREW, SHRANK)] == [GREW, GREW, SHRANK, SHRANK]


def test_what_a_neighbour_took_meanwhile_is_no_reason_to_refuse_a_module(container, driver):
    """The device has less memory afterwards; what the arbiter reads of the process itself decides."""
    arbiter = container.arbiter()
    arbiter.corrections = [100 * MIB]
    steps = container.steps()
    assert steps('start') == '0'
    assert driver.load(steps, 100, lambda: driver.sim('process', 'add', '0', NEIGHBOUR, f'{LIMIT}Mi')) == '0'
    assert steps.info() == (LIMIT - CONTEXT - 100, LIMIT)


@pytest.mark.parametrize('mode', [NONE, OBSERVE])
def test_a_module_stays_where_limits_are_switched_off_meanwhile(container, driver, mode):
    arbiter = container.arbiter()
    arbiter.mode_meanwhile = mode
    steps = container.steps()
    assert steps('start') == '0'
    assert driver.load(steps, LIMIT, lambda: None) == '0'
    assert arbiter.denied == [1]


def loads_beside_who_frees(driver, arbiter, steps, mib, freed=LIMIT):
    """The arbiter tells that a neighbour gave something back, and the device has no less than before."""
    def meanwhile():
        driver.sim('process', 'remove', '0', NEIGHBOUR)
        arbiter.returned[0] += freed * MIB
    driver.sim('process', 'add', '0', NEIGHBOUR, f'{freed}Mi')
    return driver.load(steps, mib, meanwhile)


def asked_beyond(arbiter):
    return [said[3] // MIB for said in arbiter.said if said[0] == GREW]


def test_a_module_that_a_neighbour_hides_and_that_does_not_fit(container, driver):
    """A reading is waited for, which shows it."""
    arbiter = container.arbiter()
    arbiter.corrections = [(LIMIT - CONTEXT + 100) * MIB]
    steps = container.steps()
    assert steps('start') == '0'
    assert loads_beside_who_frees(driver, arbiter, steps, LIMIT - CONTEXT + 100) == OUT_OF_MEMORY
    assert asked_beyond(arbiter) == [LIMIT]
    assert steps('nvml').split()[2] == str(CONTEXT)  # it is unloaded again, and costs nothing
    assert steps.info() == (LIMIT - CONTEXT, LIMIT)


def test_a_module_that_a_neighbour_may_hide_and_does_not(container, driver):
    arbiter = container.arbiter()
    arbiter.corrections = [10 * MIB]
    steps = container.steps()
    assert steps('start') == '0'
    assert loads_beside_who_frees(driver, arbiter, steps, 10) == '0'
    assert steps.info() == (LIMIT - CONTEXT - 10, LIMIT)
    assert steps('unload') == '0'
    assert steps.info() == (LIMIT - CONTEXT, LIMIT)


def test_what_is_hidden_and_fits_is_looked_for_when_the_rest_is_taken(container, driver):
    """Not before: then it could matter."""
    arbiter = container.arbiter()
    arbiter.corrections = [1000 * MIB]
    steps = container.steps()
    assert steps('start') == '0'
    assert loads_beside_who_frees(driver, arbiter, steps, 1000, 2000) == '0'
    assert steps('alloc 500') == '0'
    assert asked_beyond(arbiter) == []
    assert steps(f'alloc {LIMIT - CONTEXT - 1000}') == OUT_OF_MEMORY
    assert len(asked_beyond(arbiter)) == 1
    assert steps(f'alloc {LIMIT - CONTEXT - 1500}') == '0'
    assert steps.info()[0] == 0


def test_an_image_that_the_driver_reads_otherwise(container, tmp_path):
    """To the simulated one, a comment is a declaration. What no image explains is suspected to be the module's."""
    image = tmp_path / 'image.ptx'
    image.write_text(f'{ptx(0)}\n/*\n{ptx(LIMIT)}*/\n')
    arbiter = container.arbiter()
    arbiter.corrections = [LIMIT * MIB]
    steps = container.steps()
    assert steps('start') == '0'
    assert steps(f'file {image}') == OUT_OF_MEMORY
    assert steps('nvml').split()[2] == str(CONTEXT)  # it is unloaded again
    assert steps.info() == (LIMIT - CONTEXT, LIMIT)


def test_what_may_be_hidden_is_denied_to_nobody(container, driver):
    """Another process of the container gets what is left, while the one that loads waits."""
    arbiter = container.arbiter()
    arbiter.corrections, arbiter.reading_s = [0], 1
    loading, other = container.steps(), container.steps()
    assert (loading('start'), other('start')) == ('0', '0')

    def meanwhile():
        arbiter.returned[0] += LIMIT * MIB
    loaded = threading.Thread(target=driver.load, args=[loading, 0, meanwhile])
    loaded.start()
    arbiter.wait_said(GREW)
    assert other(f'alloc {LIMIT - 2 * CONTEXT}') == '0'
    loaded.join()
    assert loading.info() == (0, LIMIT)


def test_readings_show_what_was_hidden(container, driver):
    """Of two that ended later, one began later. Then nobody waits."""
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    assert loads_beside_who_frees(driver, arbiter, steps, 10, 2000) == '0'
    arbiter.n_readings = arbiter.n_promised = 2
    arbiter.write_page()
    assert steps(f'alloc {LIMIT - CONTEXT}') == '0'
    assert asked_beyond(arbiter) == []


def test_many_modules_beside_who_frees_all_the_time_are_not_slow(container, driver):
    """Readings are waited for on suspicion alone for a second and a tenth of the time."""
    arbiter = container.arbiter()
    arbiter.corrections, arbiter.reading_s = [0] * 300, 0.2
    steps = container.steps()
    assert steps('start') == '0'

    def meanwhile():
        arbiter.returned[0] += LIMIT * MIB
    begin = time.monotonic()
    for _ in range(300):
        assert driver.load(steps, 0, meanwhile) == '0'
    waited = len(asked_beyond(arbiter)) * arbiter.reading_s
    assert 1 <= waited <= 1.5 + (time.monotonic() - begin) / 10


def test_the_credit_of_small_allocations_makes_room_for_a_module(container):
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    assert steps('alloc 1') == '0'
    assert arbiter.charged() > (CONTEXT + 2) * MIB
    assert steps(f'load {LIMIT - CONTEXT - 2}') == '0'
    assert arbiter.denied == [0]


def test_a_library_is_charged_where_it_is_used(container):
    container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    assert steps('library 1000') == '0 0'
    assert steps.info() == (LIMIT - CONTEXT - 1000, LIMIT)
    assert steps(f'library {LIMIT}') == f'0 {OUT_OF_MEMORY}'


def test_an_older_arbiter_is_asked_for_what_is_known_ahead(container, driver):
    """And not told of the rest."""
    arbiter = container.arbiter(revision=1)
    steps = container.steps()
    assert steps('start') == '0'
    assert steps(f'load {LIMIT}') == OUT_OF_MEMORY
    assert driver.load(steps, LIMIT, lambda: None) == '0'
    assert steps('unload') == '0'
    assert steps('load 1000') == '0'
    assert steps('unload') == '0'
    assert steps('alloc 1000') == '0'
    assert max(said[0] for said in arbiter.said) <= LEFT


def test_without_an_arbiter_modules_are_a_part_as_well(container):
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    arbiter.end()
    assert steps(f'load {LIMIT - CONTEXT + 100}') == OUT_OF_MEMORY
    assert steps(f'load {LIMIT - CONTEXT - 100}') == '0'
    assert steps('alloc 200') == OUT_OF_MEMORY
    assert steps('unload') == '0'
    assert steps('alloc 200') == '0'


# --- modes ---

@pytest.mark.parametrize('mode', [NONE, OBSERVE])
def test_modes_that_deny_nothing_count_all_the_same(container, mode):
    arbiter = container.arbiter(mode=mode)
    steps = container.steps()
    assert steps('start') == '0'
    assert steps.info()[1] == DEVICE
    assert steps(f'alloc {LIMIT + 1000}') == '0'
    assert arbiter.charged() >= (LIMIT + 1000 + CONTEXT) * MIB
    arbiter.set_mode(ENFORCED)
    assert steps.info() == (0, LIMIT)
    assert steps('alloc 10') == OUT_OF_MEMORY
    arbiter.set_mode(mode)
    assert steps('alloc 10') == '0'
    assert steps.info()[1] == DEVICE


def test_threads_at_once(container):
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    before = steps.info()[0]
    assert steps('threads 16') == '0'
    eventually(lambda: steps.info()[0] >= before - 64, 'nothing is left')
    assert arbiter.denied == [0]


# --- processes ---

def test_a_child_is_a_process_of_its_own(container):
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('nvml') == f'{LIMIT} {LIMIT} 0 0'
    assert steps('fork') == 'forked'
    assert steps('start') == '0'
    assert steps('alloc 1000') == '0'
    assert len(arbiter.sessions) == 2
    assert steps('exit') == 'ended'
    assert steps.said() == 'joined'
    eventually(lambda: len(arbiter.sessions) == 1 and arbiter.charged() == 0, 'what was the child\'s is free')
    assert steps('start') == '0'
    assert steps.info() == (LIMIT - CONTEXT, LIMIT)


def test_another_program_in_its_place_registers_itself(container):
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    assert steps('alloc 1000') == '0'
    assert steps('exec') == 'ready'
    eventually(lambda: arbiter.charged() == 0, 'the first one is gone')
    assert steps('start') == '0'
    assert steps.info() == (LIMIT - CONTEXT, LIMIT)


def test_a_program_may_close_what_it_does_not_know(container):
    """And what it opens under that number is its own: it is charged again over another connection."""
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    assert steps('alloc 1000') == '0'
    assert steps('close') == 'closed'
    assert steps('alloc 500') == '0'
    assert [said[:3] for said in arbiter.said if said[0] == CHARGE] == [(CHARGE, 0, 1000 * MIB)]
    eventually(lambda: arbiter.charged() == 1500 * MIB, 'the first connection is gone')


def test_what_a_daemon_has_closed_is_no_connection(container):
    """What is written to its standard streams goes nowhere, or to what the program has opened there."""
    first = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    assert steps('daemon') == 'closed'
    first.end()
    second = container.arbiter()
    assert steps('alloc 100') == '0'
    assert second.charged() == 100 * MIB
    open_now = Path(f'/proc/{steps.process.pid}/fd').iterdir()
    sockets = [int(path.name) for path in open_now if os.readlink(path).startswith('socket:')]
    assert sockets and min(sockets) > 2


# --- the arbiter ---

def test_another_arbiter_is_told_what_there_is(container):
    first = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    assert steps('alloc 1000') == '0'
    first.end()
    second = container.arbiter()
    assert steps('alloc 500') == '0'
    assert second.charged() == 1500 * MIB
    assert steps('free') == '0'
    second.wait_said(RELEASE)
    assert second.charged() == 1000 * MIB
    assert steps(f'alloc {LIMIT}') == OUT_OF_MEMORY


def test_a_credit_of_an_arbiter_that_is_gone_is_nobodys(container):
    """The next one does not know of it, and gives that memory to others."""
    first = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0' and steps('alloc 1') == '0'
    first.end()
    second = container.arbiter()
    other = container.steps()
    assert other('start') == '0' and other(f'alloc {LIMIT - CONTEXT}') == '0'
    assert steps('alloc 1') == OUT_OF_MEMORY
    assert second.charged() >= LIMIT * MIB  # with what there was
    assert [said[2] for said in second.said if said[0] == CHARGE] == [2 * MIB]


def test_who_only_launches_connects_again(container):
    """It has all the memory that it wants, and no device is shared by turns."""
    first = container.arbiter()
    steps = container.steps()
    assert [steps(step) for step in ('start', 'alloc 1000', 'kernel', 'stream', 'launches 100 0', 'wait')] == ['0'] * 6
    first.end()
    second = container.arbiter()
    eventually(lambda: (steps('launches 100 0'), steps('wait')) and second.charged() >= 1000 * MIB, 'it is told')


def test_what_a_program_sees_is_what_the_arbiter_of_now_says(container):
    first = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0' and steps('alloc 1000') == '0'
    first.end()
    container.arbiter(LIMIT)
    other = container.steps()
    assert other('start') == '0' and other('alloc 1000') == '0'
    assert steps.info() == (LIMIT - CONTEXT - 2000, LIMIT)


@pytest.mark.parametrize('how', ['killed', 'stopped'])
def test_without_an_arbiter_a_process_keeps_to_its_part(container, how):
    """Of two: half of what was free when it went."""
    arbiter = container.arbiter()
    steps, other = container.steps(), container.steps()
    assert (steps('start'), other('start')) == ('0', '0')
    part = (LIMIT - 2 * CONTEXT) // 2
    if how == 'killed':
        arbiter.end()
    else:
        arbiter.answers = False
    begin = time.monotonic()
    assert steps(f'alloc {part - 100}') == '0'
    assert time.monotonic() - begin < 5
    assert steps('alloc 200') == OUT_OF_MEMORY
    assert steps('free') == '0'
    assert steps(f'alloc {part - 100}') == '0'
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize('how', ['killed', 'stopped'])
def test_without_an_arbiter_a_device_may_be_used_first(container, how):
    """Within the same part of what was free of it."""
    arbiter = container.arbiter(devices=2)
    steps, other = container.steps(), container.steps()
    assert (steps('start'), other('start')) == ('0', '0')
    if how == 'killed':
        arbiter.end()
    else:
        arbiter.answers = False
    assert steps('alloc 100') == '0'
    assert steps('start 1') == '0'
    part = LIMIT // 2 - CONTEXT
    assert steps(f'alloc {part - 10}') == '0'
    assert steps('alloc 20') == OUT_OF_MEMORY


def test_a_stopped_arbiter_is_found_again(container):
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    arbiter.answers = False
    assert steps('alloc 1000') == '0'
    arbiter.answers = True
    eventually(lambda: (steps('alloc 2'), steps('free')) and sum(1 for said in arbiter.said if said[0] == CHARGE), 'it is told')
    assert arbiter.charged() >= 1000 * MIB


def test_nothing_is_lost_when_the_arbiter_does_not_read(container):
    """Messages for which the socket has no room go along with later ones, and nobody waits."""
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    before = steps.info()[0]
    for _ in range(800):
        assert steps('alloc 4') == '0'
    arbiter.reads.clear()
    begin = time.monotonic()
    for _ in range(800):
        assert steps('free') == '0'
    assert time.monotonic() - begin < 60  # of 800, each would wait for 150 ms
    arbiter.reads.set()
    eventually(arbiter.has_read_all, 'it reads again')
    assert steps.info()[0] == before
    assert sum(1 for said in arbiter.said if said[0] == RELEASE) < 800
    assert [said for said in arbiter.said if said[0] == CHARGE] == []


def test_who_never_had_an_arbiter_goes_by_the_file(container):
    (container.folder / 'limits').write_text(f'mode enforced\n{container.uuids[0]} {LIMIT * MIB}\n')
    steps = container.steps()
    begin = time.monotonic()
    assert steps('start') == '0'
    assert 4 < time.monotonic() - begin < 30
    assert steps.info()[1] == LIMIT
    assert steps('alloc 2000') == '0'
    assert steps('alloc 2000') == OUT_OF_MEMORY
    arbiter = container.arbiter()
    eventually(lambda: (steps('alloc 2'), steps('free')) and arbiter.charged(), 'it is told')
    assert re.fullmatch(r'gpuslice: no arbiter .*\n', steps.end())


@pytest.mark.parametrize('terms', [None, 'mode enforced\n', 'mode observe\n{uuid} 1048576\n'], ids=['empty', 'adopted', 'observe'])
def test_who_has_no_limit_says_so(container, terms):
    """A runtime makes an empty directory of one that is lost; the grant of devices that were adopted tells no memory."""
    if terms:
        (container.folder / 'limits').write_text(terms.format(uuid=container.uuids[0]))
    steps = container.steps()
    assert steps('start') == '0' and steps.info()[1] == DEVICE
    assert steps(f'alloc {LIMIT * 2}') == '0'
    assert re.fullmatch(r'gpuslice: no arbiter .* answered; GPU memory is not limited\n', steps.end())


def test_who_starts_again_after_an_uninstallation_is_free(container):
    """The mounts are still there, with a socket that nobody serves, and the last word of the agent. Also beside another device plugin."""
    (container.folder / 'limits').write_text(f'mode none\n{container.uuids[0]} {LIMIT * MIB}\n')
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(container.folder / 'arbiter.sock'))
    steps = container.steps()
    assert steps('start') == '0'
    assert steps.info()[1] == DEVICE
    assert steps(f'alloc {LIMIT * 2}') == '0'
    assert re.fullmatch(r'gpuslice: no arbiter .*\n', steps.end())


def test_who_is_refused_goes_by_the_file(container):
    (container.folder / 'limits').write_text(f'mode observe\n{container.uuids[0]} {LIMIT * MIB}\n')
    container.arbiter().refuses = True
    steps = container.steps()
    assert steps('start') == '0'
    assert steps.info()[1] == DEVICE
    assert steps(f'alloc {LIMIT * 2}') == '0'
    assert 'does not know this container' in steps.end()


def test_who_never_touches_cuda_pays_nothing(container):
    """A program that starts a hundred others: in all within a millisecond of the processor for each, where each takes several of its own."""
    def spend(granted_environment):
        script = 'i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done'
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(['sh', '-c', script], env=granted_environment, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    plain = {**os.environ, 'LD_PRELOAD': ''}
    preloaded = {**os.environ, 'LD_PRELOAD': str(LIBRARY)}
    best = [min(spend(environment) for _ in range(5)) for environment in (plain, preloaded)]
    assert best[1] - best[0] < 0.1, best


def test_a_program_that_is_done_leaves_its_contexts(container):
    arbiter = container.arbiter()
    steps = container.steps()
    assert steps('start') == '0'
    arbiter.wait_said(ENTERED)
    assert steps('exit') == 'ended'
    assert [said[0] for said in arbiter.said] == [REGISTER, ENTER, ENTERED]
    assert DENIED and LEFT  # words of the protocol that other cases use
