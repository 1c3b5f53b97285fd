# SPDX-License-Identifier: Apache-2.0
"""An earlier release's agent, arbiter and library beside this one's: the real programs, of the commit that EARLIER names. Pods are
processes that the kubelet's stand-in starts with what the agent answered, so each keeps the library that was current then, and the
programs of the node are replaced under them. test_limits_skew.py has what the first release said, as bytes; this has all of it."""
import json
import os
import re
import select
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from node import BUILD, GUIDE, PATIENCE_S, ROOT, SANITIZED, Node, deployment, eventually, in_folder

MIB, OUT_OF_MEMORY = 1 << 20, '2'
# The first one in which all three were there.
EARLIEST = '93ceeb3'
THIS, EARLIER = 'this', 'earlier'
MIXES = [(agent, arbiter, library) for agent in (THIS, EARLIER) for arbiter in (THIS, EARLIER) for library in (THIS, EARLIER)][1:]
PARTS = {'gpuslice-node': 'src/gpuslice-node', 'gpuslice-http': 'src/gpuslice-http', 'gpuslice-nodesync': 'src/gpuslice-nodesync',
         'gpuslice-arbiter': 'src/gpuslice-arbiter', 'gpuslice': 'src/gpuslice', 'library': 'src/shim/libgpuslice.so'}


def build(folder):
    """The programs of the earlier commit. With sanitizers where ours have them: they load the same simulated driver."""
    if not (ROOT / '.git').exists():
        pytest.skip('no commits here')
    commit = os.environ.get('EARLIER', EARLIEST)
    source = folder / 'source'
    source.mkdir()
    archive = subprocess.run(['git', '-C', ROOT, 'archive', commit], check=True, capture_output=True).stdout
    subprocess.run(['tar', '-x', '-C', source], input=archive, check=True)
    sanitized = ['-Doptimization=1', '-Db_sanitize=address,undefined'] if SANITIZED else []
    for words in (['meson', 'setup', *sanitized, folder / 'build', source], ['ninja', '-C', folder / 'build', *PARTS.values()]):
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return folder / 'build'


@pytest.fixture(scope='module')
def releases():
    """The folders of both builds. GPUSLICE_EARLIER_BUILD: one that is there already, made as ours."""
    with tempfile.TemporaryDirectory(prefix='earlier-') as folder:
        there = os.environ.get('GPUSLICE_EARLIER_BUILD')
        yield {THIS: BUILD, EARLIER: Path(there) if there else build(Path(folder))}


class Pod:
    """A cuda-steps in the container of a pod."""

    def __init__(self, node, name):
        self.name, self.folder = name, node.folder / 'pods' / name
        self.folder.mkdir(parents=True)
        for end in ('in', 'out'):
            os.mkfifo(self.folder / end)
        node.apply(deployment(name, 1, {'nvidia.com/gpu': 1}))
        self.input = os.open(self.folder / 'in', os.O_RDWR)
        self.output = os.open(self.folder / 'out', os.O_RDWR)
        self.left = b''
        assert self.said() == 'ready'

    def said(self):
        while b'\n' not in self.left:
            assert select.select([self.output], [], [], PATIENCE_S)[0], f'{self.name} says nothing'
            self.left += os.read(self.output, 1 << 16)
        line, self.left = self.left.split(b'\n', 1)
        return line.decode().strip()

    def __call__(self, step):
        os.write(self.input, step.encode() + b'\n')
        return self.said()

    def info(self):
        return tuple(map(int, self('info').split()))

    def end(self):
        os.close(self.input)
        os.close(self.output)


class Mixed(Node):
    def __init__(self, folder):
        super().__init__(folder)
        self.machine('p5.48xlarge')
        self.environment |= {'LD_LIBRARY_PATH': f'{BUILD / "sim/nvml"}:{BUILD / "sim/cuda"}', 'GPUSLICE_CATALOG': str(ROOT / 'share/catalog')}
        self.agent = self.arbiter = None
        self.made = []
        steps = BUILD / 'tests/conformance/cuda/cuda-steps'
        script = (f'pod=${{HOSTNAME%-*}}; CUDA_VISIBLE_DEVICES=$NVIDIA_VISIBLE_DEVICES exec {steps} {BUILD}/sim/cuda/libcuda.so.1 {BUILD}/sim/nvml/libnvidia-ml.so.1 '
                  f'< {folder}/pods/${{pod%-*}}/in > {folder}/pods/${{pod%-*}}/out')
        variables = {**self.environment, 'ASAN_OPTIONS': 'verify_asan_link_order=0:detect_leaks=0'}
        self.start_kubelet('--node-root', folder, '--run', f'*={script}',
                           *(word for key, value in variables.items() if key.startswith(('GPUSLICE_', 'LD_', 'ASAN_'))
                             for word in ('--env', f'{key}={value}')))

    def programs_of(self, release):
        self.programs |= {name: release / path for name, path in PARTS.items()}

    def start_arbiter(self, release, library):
        self.programs_of(release)
        self.arbiter = self.start('gpuslice-arbiter', '--root', self.folder, '--state-dir', self.folder / 'noted', '--limits', 'enforced',
                                  '--arbiter-dir', self.folder / 'arbiter', '--library', library / PARTS['library'],
                                  GPUSLICE_GRANT_DIR='/grants', GPUSLICE_DEVICE_PLUGIN_DIR='/device-plugins')
        self.arbiter.wait_line('gpuslice-arbiter .*audit')

    def start_agent_of(self, release):
        self.programs_of(release)
        self.agent = self.start_agent(GUIDE + 'gpuslice: {memory: enforced}\n', '--node-name=gpu-1', '--arbiter-dir', self.folder / 'arbiter')

    def replace_arbiter(self, release, library, number=signal.SIGKILL):
        self.arbiter.end(number)
        self.start_arbiter(release, library)

    def replace_agent(self, release):
        since = self.arbiter.mark()
        self.agent.end()
        self.start_agent_of(release)
        self.arbiter.wait_line('the agent is connected', since)

    def pod(self, name):
        self.made.append(Pod(self, name))
        return self.made[-1]

    def top(self, release=BUILD):
        done = subprocess.run([release / PARTS['gpuslice'], 'top', '--json', '--arbiter-dir', self.folder / 'arbiter'], capture_output=True,
                              text=True, check=True, env=self.environment)
        return json.loads(done.stdout)

    def row(self, pod):
        rows = [row for device in self.top()['devices'] for row in device['containers'] if (row['pod'] or '').startswith(f'{pod.name}-')]
        return rows[0] if rows else {}

    def end(self):
        for pod in self.made:
            pod.end()
        super().end()


@pytest.fixture
def node():
    yield from in_folder(Mixed)


def limits_hold(pod, taken=0):
    """It sees its slice, and gets all of it and not more; `taken` MiB of it are taken. Afterwards as before."""
    free, total = pod.info()
    assert total < 81559 // 4 and free <= total - taken
    assert pod(f'alloc {free - 4}') == '0' and pod('alloc 64') == OUT_OF_MEMORY
    assert pod('free') == '0'


def libraries(node):
    """The versions that pods of this node have in use, by their folders."""
    found = set()
    for maps in Path('/proc').glob('[0-9]*/maps'):
        try:
            found |= set(re.findall(rf'{node.folder}/grants/lib/([^/]+)/libgpuslice.so', maps.read_text()))
        except OSError:
            pass  # it has ended, or is none of ours
    return found


def test_a_container_that_starts_again_after_an_upgrade_keeps_its_library(node):
    """The kubelet has it mounted again; new pods get the new one."""
    node.start_arbiter(BUILD, BUILD)
    node.start_agent_of(BUILD)
    node.wait_allocatable(32)
    pod = node.pod('train')
    assert pod('start') == '0'
    limits_hold(pod)
    first = libraries(node)
    later = node.folder / 'later' / PARTS['library']
    later.parent.mkdir(parents=True)
    later.write_bytes((BUILD / PARTS['library']).read_bytes() + b'of another release')
    node.replace_arbiter(BUILD, node.folder / 'later')
    assert [pod('exit'), pod.said(), pod('start')] == ['ended', 'ready', '0']
    limits_hold(pod)
    assert libraries(node) == first
    current = os.readlink(node.folder / 'grants/lib/current')
    node.agent.wait_line(f'new containers get this library.*/{current}')
    new = node.pod('new')
    assert new('start') == '0'
    limits_hold(new)
    assert len(first) == 1 and len(libraries(node)) == 2
    eventually(lambda: node.row(pod).get('registered') == node.row(new).get('registered') == 1, 'both are registered')
    assert not node.row(pod)['is_unenforced'] and not node.row(new)['is_unenforced']


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize('agent, arbiter, library', MIXES)
def test_a_slice_is_enforced_whoever_is_of_which_release(node, releases, agent, arbiter, library):
    node.start_arbiter(releases[arbiter], releases[library])
    node.start_agent_of(releases[agent])
    node.wait_allocatable(32)
    pod = node.pod('train')
    assert pod('start') == '0'
    limits_hold(pod)
    assert pod('alloc 1000') == '0'
    eventually(lambda: node.row(pod).get('used_bytes', 0) >= 1000 * MIB, 'it is told')
    row = node.row(pod)
    assert not row['is_unenforced'] and row['charged_bytes'] >= 1000 * MIB and row['denials'] == 1, row
    assert row['limit_bytes'] == pod.info()[1] * MIB


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM], ids=['killed', 'ended'])
def test_the_arbiter_is_replaced_under_processes_of_both(node, releases, number):
    node.start_arbiter(releases[EARLIER], releases[EARLIER])
    node.start_agent_of(releases[EARLIER])
    node.wait_allocatable(32)
    pods = [node.pod('former')]
    assert [pods[0](step) for step in ('start', 'alloc 1000', 'alloc 1')] == ['0'] * 3
    for release in (THIS, EARLIER, THIS):
        node.replace_arbiter(releases[release], releases[release], number)
        for pod in pods:
            # By an allocation that is larger than any credit.
            eventually(lambda pod=pod: pod('alloc 64') == pod('free') == '0' and node.row(pod).get('registered') == 1, 'it is registered')
            limits_hold(pod, 1000)
            row = node.row(pod)
            assert not row['is_unenforced'] and row['charged_bytes'] >= 1000 * MIB, (release, pod.name, row)
        if len(pods) == 1:
            node.replace_agent(releases[THIS])
            pods.append(node.pod('current'))
            assert [pods[1](step) for step in ('start', 'alloc 1000', 'alloc 1')] == ['0'] * 3
    # Both are known to have what they have.
    for pod in pods:
        eventually(lambda pod=pod: node.row(pod).get('used_bytes', 0) >= 1000 * MIB, 'the driver shows it')
        assert node.row(pod)['charged_bytes'] >= node.row(pod)['used_bytes']
