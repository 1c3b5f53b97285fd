# SPDX-License-Identifier: Apache-2.0
"""`gpuslice audit` on simulated GPUs, with the files of a node as kernel and kubelet write them."""
import json
import os
import subprocess

import pytest
from node import BUILD, PROGRAMS
from test_cli import CLEAN, WARNINGS, run

UNREADABLE = 3
MIB = 1 << 20


class Node:
    """p3.8xlarge: 4 x V100 of 16384 MiB, beside a device plugin of others that offers each in four slices."""

    def __init__(self, folder, machine='p3.8xlarge'):
        self.root, self.entries = folder / 'root', []
        self.variables = {'GPUSLICE_MACHINE': machine, 'GPUSLICE_SIM_STATE': str(folder / 'state'),
                          'GPUSLICE_STATE_DIR': str(folder / 'run'), 'GPUSLICE_DEVICE_PLUGIN_DIR': '/plugins',
                          'GPUSLICE_GRANT_DIR': '/grants', 'GPUSLICE_PROC': str(self.root / 'proc'),
                          'LD_LIBRARY_PATH': str(BUILD / 'sim/nvml')}
        for name in ('plugins', 'proc/2', 'var/log/pods', 'var/log/containers', 'pods'):
            (self.root / name).mkdir(parents=True)
        (self.root / 'proc/2/comm').write_text('kthreadd\n')
        self.uuids = [gpu['uuid'] for gpu in json.loads(self.sim('-o', 'json', 'state'))['gpus']]
        self.registered = {'nvidia.com/gpu': [f'{uuid}::{n}' for uuid in self.uuids for n in range(4)]}

    def sim(self, *arguments):
        return subprocess.run([PROGRAMS['gpuslice-sim'], *map(str, arguments)], check=True, capture_output=True, text=True,
                              timeout=60, env={**os.environ, **self.variables}).stdout

    def uid(self, name):
        return f'{sum(map(ord, name)):08x}-0000-4000-8000-000000000000'

    def pod(self, name, ids=(), resource='nvidia.com/gpu'):
        """It runs, with one container `main`, that has these devices."""
        (self.root / 'pods' / self.uid(name)).mkdir()
        (self.root / f'var/log/pods/default_{name}_{self.uid(name)}/main').mkdir(parents=True)
        (self.root / f'var/log/containers/{name}_default_main-{self.container(name)}.log').symlink_to(
            f'/var/log/pods/default_{name}_{self.uid(name)}/main/0.log')
        if ids:
            self.entries.append({'PodUID': self.uid(name), 'ContainerName': 'main', 'ResourceName': resource,
                                 'DeviceIDs': {'-1': list(ids)}, 'AllocResp': ''})

    def container(self, name):
        return f'{sum(map(ord, name)):064x}'

    def process(self, pid, gpu, mebibytes, pod=None, kind='compute'):
        cgroup = f'0::/kubepods/burstable/pod{self.uid(pod)}/{self.container(pod)}\n' if pod else '0::/system.slice/dcgm.service\n'
        (self.root / f'proc/{pid}').mkdir(exist_ok=True)
        (self.root / f'proc/{pid}/cgroup').write_text(cgroup)
        (self.root / f'proc/{pid}/comm').write_text('python\n' if pod else 'dcgm\n')
        self.sim('inject', 'process', 'add', gpu, pid, f'{mebibytes}Mi', 'python' if pod else 'dcgm', kind)

    def audit(self, *words):
        data = {'PodDeviceEntries': self.entries, 'RegisteredDevices': self.registered}
        (self.root / 'plugins/kubelet_internal_checkpoint').write_text(json.dumps({'Data': data, 'Checksum': 1}))
        return run('audit', '--root', str(self.root), *words, **self.variables)

    def uses(self):
        done = self.audit('-o', 'json')
        return done.returncode, {(one['pod'], one['device']): one for one in json.loads(done.stdout)['uses']}


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_everybody_within_their_slices(node):
    a, b = node.uuids[:2]
    node.pod('train', [f'{a}::0', f'{a}::1'])
    node.pod('serve', [f'{b}::3'])
    node.pod('idle', [f'{b}::0'])
    node.process(100, 0, 4000, 'train')
    node.process(101, 0, 4000, 'train')
    node.process(102, 1, 3900, 'serve')
    status, uses = node.uses()
    assert status == CLEAN
    train = uses['train', a]
    assert (train['processes'], train['slices'], train['used_bytes']) == (2, 2, 8000 * MIB)
    assert 8000 * MIB < train['limit_bytes'] <= 8192 * MIB and train['verdict'] == 'within' and train['problem'] is None
    assert (uses['idle', b]['processes'], uses['idle', b]['namespace']) == (0, 'default')
    done = node.audit()
    assert (done.returncode, done.stderr) == (CLEAN, '')
    assert '0 of 3 pods use more GPU memory than their slices give.' in done.stdout


def test_who_takes_more_is_named(node):
    a = node.uuids[0]
    node.pod('greedy', [f'{a}::0'])
    node.pod('curious')
    node.pod('lost', [f'{node.uuids[2]}::0'])
    node.process(100, 0, 6000, 'greedy')
    node.process(101, 0, 500, 'curious')
    node.process(102, 0, 400, 'lost')
    node.process(103, 0, 30)
    status, uses = node.uses()
    assert status == WARNINGS
    verdicts = {(pod, device): one['verdict'] for (pod, device), one in uses.items() if one['processes']}
    assert verdicts == {('greedy', a): 'over', ('curious', a): 'asked-nothing', ('lost', a): 'other-device', (None, a): 'host'}
    assert uses[None, a]['process'] == 'dcgm'
    done = node.audit()
    assert done.returncode == WARNINGS
    assert 'gpuslice: pod default/greedy (container main) uses 6000 MiB of GPU 0, ' in done.stderr
    assert 'more than its 1 of nvidia.com/gpu gives' in done.stderr
    assert 'pod default/curious (container main) uses 500 MiB of GPU 0 and requested no GPU' in done.stderr
    assert 'dcgm' not in done.stderr and 'process 103 (dcgm)' in done.stdout
    assert '1 of 3 pods uses more GPU memory than their slices give.' in done.stdout


@pytest.mark.parametrize('kind', ['client', 'raw'])
def test_memory_without_a_context_is_named(node, kind):
    """It is in no list of NVML: the kernel module tells who has it. What only monitors has none, and is not told."""
    a = node.uuids[0]
    node.pod('raw', [f'{a}::0'])
    node.process(100, 0, 5632, 'raw', kind)
    node.process(103, 0, 0, kind='client')
    status, uses = node.uses()
    assert status == WARNINGS and list(uses) == [('raw', a)]
    assert (uses['raw', a]['processes'], uses['raw', a]['used_bytes'], uses['raw', a]['verdict']) == (1, 5632 * MIB, 'over')
    assert 'pod default/raw (container main) uses 5632 MiB of GPU 0, ' in node.audit().stderr


def test_memory_that_an_ended_process_left_is_nobodys(node):
    """Its descriptor is another's by now. Nobody is accused of it."""
    node.pod('curious')
    node.process(100, 0, 30, 'curious')
    node.sim('inject', 'process', 'add', 0, 101, '500Mi', 'gone', 'client')
    status, uses = node.uses()
    assert status == WARNINGS
    assert {(pod, one['used_bytes'], one['verdict']) for (pod, _), one in uses.items()} == {
        ('curious', 30 * MIB, 'asked-nothing'), (None, 500 * MIB, 'unknown')}


def test_a_pod_that_ended_holds_nothing(node):
    """The kubelet takes it out of its checkpoint with the next pod."""
    node.pod('gone', [f'{node.uuids[0]}::0'])
    node.variables['GPUSLICE_DEVICE_PLUGIN_DIR'] = '/device-plugins'
    (node.root / 'plugins').rename(node.root / 'device-plugins')
    (node.root / 'plugins').symlink_to('device-plugins')
    (node.root / 'pods' / node.uid('gone')).rmdir()
    assert node.uses() == (CLEAN, {})


def test_mig_devices(tmp_path):
    node = Node(tmp_path, 'p4d.24xlarge')
    node.sim('mig', 'on', '0')
    node.sim('mig', 'reset', '0')
    node.sim('mig', 'create', '0', '1g.5gb', '1g.5gb')
    listed = node.sim('mig', 'list')
    devices = [line.rsplit(None, 1)[1] for line in listed.splitlines() if 'MIG-' in line]
    instances = [line.split('GPU instance ')[1].split()[0] for line in listed.splitlines() if 'MIG-' in line]
    node.pod('part', [devices[0]], 'nvidia.com/mig-1g.5gb')
    node.process(100, f'0:{instances[0]}:0', 300, 'part')
    node.process(101, f'0:{instances[1]}:0', 200, 'part')
    status, uses = node.uses()
    assert status == WARNINGS
    assert {device: one['verdict'] for (_, device), one in uses.items()} == {devices[0]: 'within', devices[1]: 'other-device'}


def test_a_gpu_whose_processes_are_not_told(node):
    """The others are audited, and nobody takes silence for a GPU that nobody uses."""
    node.process(100, 1, 300, 'curious')
    node.sim('inject', 'error', 'nvmlDeviceGetComputeRunningProcesses_v3', 'NO_PERMISSION', 0)
    done = node.audit('-o', 'json')
    assert done.returncode == WARNINGS and 'who uses GPU 0 is not known' in done.stderr and 'GPU 1 is' not in done.stderr
    tree = json.loads(done.stdout)
    assert [one['is_complete'] for one in tree['devices']] == [False, True, True, True] and len(tree['uses']) == 1


def test_a_checkpoint_that_is_none(node):
    node.audit()
    (node.root / 'plugins/kubelet_internal_checkpoint').write_text('{')
    done = run('audit', '--root', str(node.root), **node.variables)
    assert done.returncode == UNREADABLE and 'kubelet_internal_checkpoint' in done.stderr and not done.stdout


def test_a_node_without_a_checkpoint(node):
    """What could not be read is reported, and so what the rest is worth."""
    node.process(100, 0, 300, 'curious')
    done = run('audit', '--root', str(node.root), **node.variables)
    assert done.returncode == WARNINGS
    assert f'there is no kubelet_internal_checkpoint in {node.root}/plugins' in done.stderr


def test_the_folders_that_the_agent_left(node):
    """It leaves links, whose targets are as the node has them."""
    node.pod('greedy', [f'{node.uuids[0]}::0'])
    node.process(100, 0, 6000, 'greedy')
    node.audit()
    del node.variables['GPUSLICE_DEVICE_PLUGIN_DIR']
    state = node.root / node.variables['GPUSLICE_STATE_DIR'].lstrip('/')
    state.mkdir(parents=True)
    (state / 'device-plugins').symlink_to('/elsewhere')
    (node.root / 'plugins').rename(node.root / 'elsewhere')
    done = run('audit', '--root', str(node.root), **node.variables)
    assert done.returncode == WARNINGS and 'pod default/greedy' in done.stderr
