# SPDX-License-Identifier: Apache-2.0
"""gpuslice-arbiter beside a device plugin of others: simulated GPUs, real processes, and the files of a node as kernel
and kubelet write them. No agent of ours runs."""
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from node import PROGRAMS, Process, eventually, free_port, http_get, in_folder
from test_audit import MIB, Node

USAGE = 64


class Watched(Node):
    """A node with an arbiter, whose metrics are served as in its pod."""

    def __init__(self, folder, machine='p3.8xlarge'):
        super().__init__(folder, machine)
        self.folder, self.processes, self.address = folder, [], f'127.0.0.1:{free_port()}'
        self.checkpoint()

    def checkpoint(self):
        data = {'PodDeviceEntries': self.entries, 'RegisteredDevices': self.registered}
        fresh = self.root / 'plugins/fresh'
        fresh.write_text(json.dumps({'Data': data, 'Checksum': 1}))
        fresh.rename(self.root / 'plugins/kubelet_internal_checkpoint')

    def pod(self, name, ids=(), resource='nvidia.com/gpu'):
        super().pod(name, ids, resource)
        self.checkpoint()

    def start(self, name, *arguments):
        process = Process(name, arguments, {**os.environ, **self.variables}, self.folder, PROGRAMS.get(name, name))
        self.processes.append(process)
        return process

    def arbiter(self, *flags):
        arbiter = self.start('gpuslice-arbiter', '--root', self.root, '--state-dir', self.folder / 'noted', '--channel-dir', self.folder,
                             *flags)
        arbiter.wait_line('gpuslice-arbiter .*audit')
        return arbiter

    def serve(self):
        self.start('gpuslice-http', f'--connect={self.folder}/arbiter.sock', self.address)
        eventually(lambda: self.audits() > 0, 'an audit is made')

    def page(self, path='/metrics'):
        try:
            return http_get(self.address, path)
        except OSError:
            return None, ''

    def metrics(self, name):
        """Of each series of that name: (labels, value)."""
        found = re.findall(rf'^{name}(?:\{{(.*)\}})? (\S+)$', self.page()[1], re.M)
        return [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for labels, value in found]

    def audits(self):
        return sum(value for labels, value in self.metrics('gpuslice_audits_total') if labels['result'] == 'done')

    def wait_audits(self, count):
        """So many more are made from now on."""
        wanted = self.audits() + count
        eventually(lambda: self.audits() >= wanted, f'{count} audits are made')

    def wait_noted(self):
        noted = self.folder / 'noted/audit'
        eventually(lambda: noted.is_file() and 'asked-nothing' in noted.read_text(), 'it is noted')

    def end_process(self, gpu, pid):
        self.sim('inject', 'process', 'remove', gpu, pid)

    def end(self):
        for process in reversed(self.processes):
            if process.alive():
                process.end()


@pytest.fixture
def node():
    yield from in_folder(Watched)


@pytest.fixture
def mig_node():
    yield from in_folder(lambda folder: Watched(folder, 'p4d.24xlarge'))


# --- findings ---

def test_each_finding_is_told_when_it_begins_and_when_it_ends(node):
    a = node.uuids[0]
    node.pod('greedy', [f'{a}::0'])
    node.pod('curious')
    node.pod('lost', [f'{node.uuids[2]}::0'])
    node.pod('content', [f'{a}::1'])
    arbiter = node.arbiter()
    node.process(100, 0, 6000, 'greedy')
    node.process(101, 0, 500, 'curious')
    node.process(102, 0, 400, 'lost')
    node.process(103, 0, 30)
    node.process(104, 0, 3000, 'content')
    arbiter.wait_line(r'pod default/greedy \(container main\) uses 6000 MiB of GPU 0, .*finding=over.* namespace=default pod=greedy container=main')
    arbiter.wait_line(r'pod default/curious .* requested no GPU.*finding=asked-nothing')
    arbiter.wait_line(r'pod default/lost .* of which it holds no slice.*finding=other-device')
    node.serve()
    node.wait_audits(3)
    assert {(labels['finding'], labels['namespace'], labels['pod'], labels['container'], labels['uuid'])
            for labels, _ in node.metrics('gpuslice_audit_finding')} == {
                (finding, 'default', pod, 'main', a)
                for finding, pod in (('over', 'greedy'), ('asked-nothing', 'curious'), ('other-device', 'lost'))}
    used = {labels['pod']: value for labels, value in node.metrics('gpuslice_audit_memory_used_bytes') if labels['uuid'] == a}
    assert used == {'greedy': 6000 * MIB, 'curious': 500 * MIB, 'lost': 400 * MIB, 'content': 3000 * MIB}
    assert [value for labels, value in node.metrics('gpuslice_audit_other_processes') if labels['uuid'] == a] == [1]
    assert 'dcgm' not in node.page()[1] and '"103"' not in node.page()[1] and 'dcgm' not in arbiter.output()
    node.end_process(0, 100)
    arbiter.wait_line('a finding has ended.*finding=over.*pod=greedy')
    assert len(node.metrics('gpuslice_audit_finding')) == 2
    assert [arbiter.count(word) for word in ('uses 6000 MiB', 'requested no GPU', 'holds no slice', 'has ended')] == [1, 1, 1, 1]


@pytest.mark.parametrize('kind', ['client', 'raw'])
def test_memory_without_a_context_is_named_with_that_of_contexts(node, kind):
    """A process that takes it by ioctls, in no list of NVML, on a GPU that is not the module's first."""
    b = node.uuids[1]
    node.pod('both', [f'{b}::0'])
    arbiter = node.arbiter()
    node.process(100, 1, 3000, 'both')
    node.process(101, 1, 2632, 'both', kind)
    arbiter.wait_line(r'pod default/both \(container main\) uses 5632 MiB of GPU 1, .*finding=over.* pod=both')
    node.serve()
    assert {labels['pod']: value for labels, value in node.metrics('gpuslice_audit_memory_used_bytes')} == {'both': 5632 * MIB}
    node.end_process(1, 101)
    arbiter.wait_line('a finding has ended.*finding=over.*pod=both')
    assert 'are not seen' not in arbiter.output()


def test_where_the_kernel_module_does_not_tell_all_goes_on(mig_node):
    """As for a GPU in MIG mode."""
    mig_node.sim('mig', 'on', '0')
    mig_node.sim('mig', 'reset', '0')
    mig_node.pod('curious')
    arbiter = mig_node.arbiter()
    arbiter.wait_line('processes that have GPU memory without a CUDA context are not seen.*gpu=0 reason=.*status 0x1b')
    mig_node.process(101, 1, 500, 'curious')
    arbiter.wait_line('pod default/curious .* requested no GPU.*finding=asked-nothing')
    mig_node.serve()
    mig_node.wait_audits(3)
    assert arbiter.count('are not seen') == 1


def test_who_follows_tells_nothing_twice_and_notes_the_end(node):
    node.pod('curious')
    node.process(101, 0, 500, 'curious')
    first = node.arbiter()
    first.wait_line('requested no GPU')
    node.wait_noted()
    first.end(signal.SIGKILL)
    second = node.arbiter()
    node.serve()
    node.wait_audits(3)
    assert second.count('requested no GPU') == 0 and len(node.metrics('gpuslice_audit_finding')) == 1
    node.end_process(0, 101)
    second.wait_line('a finding has ended.*pod=curious')
    assert second.end() == 0


def test_lines_for_machines(node):
    node.pod('curious')
    node.process(101, 0, 500, 'curious')
    arbiter = node.arbiter('--log-format=json')
    arbiter.wait_line('requested no GPU')
    line = next(json.loads(line) for _, line in arbiter.lines if 'requested no GPU' in line)
    assert (line['finding'], line['namespace'], line['pod'], line['container'], line['gpu'], str(line['pid'])) == (
        'asked-nothing', 'default', 'curious', 'main', node.uuids[0], '101')


def test_what_cannot_be_noted_is_noted_later(node):
    noted = node.folder / 'noted/audit'
    noted.mkdir(parents=True)
    node.pod('curious')
    node.process(101, 0, 500, 'curious')
    arbiter = node.arbiter()
    arbiter.wait_line('what was reported cannot be noted')
    noted.rmdir()
    node.wait_noted()


def test_a_file_that_is_none_is_no_obstacle(node):
    (node.folder / 'noted').mkdir()
    (node.folder / 'noted/audit').write_text('nonsense')
    node.pod('curious')
    node.process(101, 0, 500, 'curious')
    arbiter = node.arbiter()
    arbiter.wait_line('what was reported before is not known')
    arbiter.wait_line('requested no GPU')


# --- the driver ---

def test_a_helper_that_ends_is_replaced(node):
    node.pod('curious')
    arbiter = node.arbiter()
    node.serve()
    [helper] = arbiter.children('gpuslice-driver')
    os.kill(helper, signal.SIGKILL)
    eventually(lambda: [pid for pid in arbiter.children('gpuslice-driver') if pid != helper], 'another helper runs')
    node.process(101, 0, 500, 'curious')
    arbiter.wait_line('requested no GPU')


@pytest.mark.waits
def test_a_call_that_hangs_ends_no_finding(node):
    """Its GPU is not asked for a while; the other ones are."""
    node.pod('curious')
    node.process(101, 0, 500, 'curious')
    arbiter = node.arbiter('--driver-deadline=1')
    arbiter.wait_line('requested no GPU')
    node.serve()
    node.sim('inject', 'hang', 0, 'nvmlDeviceGetComputeRunningProcesses_v3')
    arbiter.wait_line('a call into the driver does not return.*nvmlDeviceGetComputeRunningProcesses_v3')
    arbiter.wait_line('who uses GPU 0 is not known')
    node.pod('other')
    node.process(102, 1, 500, 'other')
    arbiter.wait_line('pod default/other .*requested no GPU')
    assert [labels['gpu'] for labels, value in node.metrics('gpuslice_audit_device_unread') if value] == ['0']
    assert arbiter.count('has ended') == 0 and len(node.metrics('gpuslice_audit_finding')) == 2
    node.end_process(0, 101)
    node.sim('inject', 'unhang', 'all')
    arbiter.wait_line('a finding has ended.*pod=curious')
    arbiter.wait_line('who uses the GPUs is known again')


def test_a_driver_that_does_not_tell(node):
    arbiter = node.arbiter()
    node.sim('inject', 'error', 'nvmlDeviceGetComputeRunningProcesses_v3', 'NO_PERMISSION', 0)
    arbiter.wait_line('who uses GPU 0 is not known')
    node.serve()
    assert node.page('/readyz') == (200, 'this node is audited\n')


def test_a_node_without_a_driver_is_ready_and_quiet(node):
    node.variables['LD_LIBRARY_PATH'] = '/nowhere'
    arbiter = node.arbiter()
    arbiter.wait_line('there is no driver to ask')
    node.start('gpuslice-http', f'--connect={node.folder}/arbiter.sock', node.address)
    eventually(lambda: node.page('/readyz')[0] == 200, 'it is ready')
    assert 'there is no driver' in node.page('/readyz')[1] and arbiter.count('level=(warning|error)') == 0


def test_a_driver_in_a_folder(node):
    """As an operator's container has it: the loader finds none."""
    library = node.folder / 'driver/usr/lib64/libnvidia-ml.so.1'
    library.parent.mkdir(parents=True)
    shutil.copy(f'{node.variables["LD_LIBRARY_PATH"]}/libnvidia-ml.so.1', library)
    node.variables['LD_LIBRARY_PATH'] = '/nowhere'
    node.pod('curious')
    arbiter = node.arbiter('--driver-root=/run/nvidia/driver', f'--container-driver-root={node.folder}/driver')
    node.process(101, 0, 500, 'curious')
    arbiter.wait_line('requested no GPU')


def test_gpus_that_are_being_partitioned_are_let_go(node):
    """A GPU that somebody has open cannot be reset."""
    (node.root / 'grants').mkdir()
    node.pod('curious')
    arbiter = node.arbiter()
    node.serve()
    (node.root / 'grants/mig-begun').write_text('gpuslice-mig-begun 1\n')
    arbiter.wait_line('no audit while GPUs are being partitioned')
    eventually(lambda: not arbiter.children(), 'nothing has the GPUs open')
    (node.root / 'grants/mig-begun').unlink()
    node.process(101, 0, 500, 'curious')
    arbiter.wait_line('requested no GPU')


# --- what is done about it ---

class Victims:
    """Real processes, whose cgroups are as the node's root tells."""

    def __init__(self, node):
        self.node, self.running = node, []

    def start(self, gpu, mebibytes, pod=None, user=None):
        one = subprocess.Popen(['sleep', '600'], stdin=subprocess.DEVNULL, user=user)
        self.running.append(one)
        self.node.process(one.pid, gpu, mebibytes, pod)
        (self.node.root / f'proc/{one.pid}/stat').symlink_to(f'/proc/{one.pid}/stat')
        return one

    def end(self):
        for one in self.running:
            one.kill()
            one.wait()


@pytest.fixture
def victims(node):
    made = Victims(node)
    yield made
    made.end()


def killed(process):
    return process.wait(60) == -signal.SIGKILL


def test_only_who_takes_too_much_is_killed(node, victims):
    a = node.uuids[0]
    node.pod('greedy', [f'{a}::0'])
    node.pod('content', [f'{a}::1'])
    node.pod('curious')
    small, large = victims.start(0, 2000, 'greedy'), victims.start(0, 3000, 'greedy')
    others = [victims.start(0, 3000, 'content'), victims.start(0, 9000)]
    stranger = victims.start(1, 100, 'curious')
    arbiter = node.arbiter('--on-violation=kill', '--grace=1')
    assert killed(large) and killed(stranger)
    for one in large, stranger:
        arbiter.wait_line(rf'a process was killed.*pid={one.pid}\b')
        node.end_process(0 if one is large else 1, one.pid)
    arbiter.wait_line('a finding has ended.*pod=greedy')
    node.serve()
    node.wait_audits(3)
    assert all(one.poll() is None for one in (small, *others))
    assert [value for labels, value in node.metrics('gpuslice_audit_kills_total') if labels['result'] == 'killed'] == [2]


@pytest.mark.parametrize('flags', [['--on-violation=report'], ['--on-violation=kill', '--grace=86400'],
                                   ['--on-violation=kill', '--grace=0', '--spare-namespaces=kube-system,default']])
def test_nobody_is_killed_unless_the_policy_says_so(node, victims, flags):
    node.pod('curious')
    one = victims.start(0, 100, 'curious')
    arbiter = node.arbiter(*flags)
    arbiter.wait_line('requested no GPU')
    node.serve()
    node.wait_audits(3)
    assert one.poll() is None and arbiter.count('killed') == 0


def test_without_a_checkpoint_nobody_is_killed(node, victims):
    """Every pod looks as if it had asked for nothing."""
    node.pod('curious')
    (node.root / 'plugins/kubelet_internal_checkpoint').unlink()
    one = victims.start(0, 100, 'curious')
    arbiter = node.arbiter('--on-violation=kill', '--grace=0')
    arbiter.wait_line('the kubelet has no checkpoint of devices')
    arbiter.wait_line('requested no GPU')
    node.serve()
    node.wait_audits(3)
    assert one.poll() is None


def test_a_number_that_another_process_has_since_is_spared(node, victims):
    """The driver lists a process that has ended; its number is that of one which started later."""
    node.pod('curious')
    one = victims.start(0, 100, 'curious')
    stat = node.root / f'proc/{one.pid}/stat'
    fields = Path(f'/proc/{one.pid}/stat').read_text().split(' ')
    stat.unlink()
    stat.write_text(' '.join([*fields[:21], str(1 << 50), *fields[22:]]))
    arbiter = node.arbiter('--on-violation=kill', '--grace=0')
    arbiter.wait_line('requested no GPU')
    node.serve()
    node.wait_audits(3)
    assert one.poll() is None and arbiter.count('killed') == 0


@pytest.mark.parametrize('action', ['kill', 'starve'])
def test_a_tree_of_others_is_no_pod(node, victims, action):
    """A container or a user's session may make cgroups with the names of a pod: it answers for nothing that is done there, and nothing there is ended."""
    node.pod('train', [f'{node.uuids[0]}::0'])
    own, others = victims.start(0, 100, 'train'), victims.start(0, 15000, 'train')
    path = node.root / f'proc/{others.pid}/cgroup'
    path.write_text(path.read_text().replace('/kubepods', '/user.slice/mine/kubepods'))
    arbiter = node.arbiter(f'--on-violation={action}', '--grace=0', '--limits=enforced')
    node.serve()
    node.wait_audits(4)
    assert own.poll() is None and others.poll() is None
    assert arbiter.count('pod=train') == 0


def test_a_pod_with_processes_has_not_ended(node, victims):
    """A folder `pods` of another kubelet, as k0s and an earlier installation leave it, names none of the pods that run."""
    a = node.uuids[0]
    node.pod('content', [f'{a}::0'])
    (node.root / 'pods' / node.uid('content')).rmdir()
    one = victims.start(0, 3000, 'content')
    arbiter = node.arbiter('--on-violation=kill', '--grace=0')
    node.serve()
    node.wait_audits(3)
    assert one.poll() is None and arbiter.count('requested no GPU') == 0


def test_numbers_of_another_namespace_kill_nobody(node, victims):
    """In a pod without hostPID /proc has other processes than the driver names."""
    (node.root / 'proc/2/comm').unlink()
    node.pod('curious')
    one = victims.start(0, 100, 'curious')
    arbiter = node.arbiter('--on-violation=kill', '--grace=0')
    arbiter.wait_line('/proc shows the processes of a container')
    arbiter.wait_line('requested no GPU')
    node.serve()
    node.wait_audits(3)
    assert one.poll() is None


def test_who_cannot_be_killed_does_not_flood_the_log(node, victims):
    """As where a policy of the host's forbids it: here the arbiter lacks KILL, and the processes are of another user."""
    node.pod('curious')
    for _ in range(40):
        victims.start(0, 1, 'curious', user=65534)
    arbiter = node.start('setpriv', '--bounding-set=-kill', '--inh-caps=-kill', PROGRAMS['gpuslice-arbiter'], '--root', node.root,
                         '--state-dir', node.folder / 'noted', '--channel-dir', node.folder, '--on-violation=kill', '--grace=0')
    arbiter.wait_line('a process cannot be killed')
    node.serve()
    eventually(lambda: sum(value for labels, value in node.metrics('gpuslice_audit_kills_total') if labels['result'] == 'failed') >= 80,
               'each is tried again after five seconds')
    assert 40 <= arbiter.count('a process cannot be killed') < 60


@pytest.fixture
def cgroup(node):
    """A container's cgroup of the kernel's own, as the kubelet makes them with systemd."""
    top = next((path for path in (Path('/sys/fs/cgroup/pids'), Path('/sys/fs/cgroup')) if (path / 'cgroup.procs').exists()), None)
    if not top or not os.access(top, os.W_OK):
        pytest.skip('no cgroup can be made here')
    uid = node.uid('curious')
    pod = f'kubepods-burstable-pod{uid.replace("-", "_")}.slice'
    path = top / 'kubepods.slice/kubepods-burstable.slice' / pod / f'cri-containerd-{node.container("curious")}.scope'
    path.mkdir(parents=True)
    yield path
    for folder in [path, *path.parents][:4]:
        try:
            folder.rmdir()
        except OSError:
            break  # of somebody else, too


def test_in_a_cgroup_of_the_kernels_own(node, cgroup):
    node.pod('curious')
    (node.root / 'proc/2/comm').unlink()
    (node.root / 'proc/2').rmdir()
    (node.root / 'proc').rmdir()
    (node.root / 'proc').symlink_to('/proc')
    inside, outside = [subprocess.Popen(['sleep', '600'], stdin=subprocess.DEVNULL) for _ in range(2)]
    try:
        (cgroup / 'cgroup.procs').write_text(str(inside.pid))
        for one in inside, outside:
            node.sim('inject', 'process', 'add', 0, one.pid, '500Mi')
        arbiter = node.arbiter('--on-violation=kill', '--grace=0')
        assert killed(inside)
        arbiter.wait_line(rf'a process was killed.*pod=curious.*pid={inside.pid}\b')
        node.end_process(0, inside.pid)
        arbiter.wait_line('a finding has ended.*pod=curious')
        assert outside.poll() is None
    finally:
        for one in inside, outside:
            one.kill()
            one.wait()


# --- the command line ---

@pytest.mark.parametrize('flag, sentence', [
    ('--on-violation=starve', '--on-violation=starve: without --limits no pod has a library that could be refused memory: add --limits=enforced, or write report or kill'),
    ('--mode=enforce', '--mode=enforce: write audit, the only mode of this release'),
    ('--grace=1m', '--grace=1m: write a number of seconds from 0 to 86400')])
def test_what_cannot_be_had_is_answered(flag, sentence):
    done = subprocess.run([PROGRAMS['gpuslice-arbiter'], flag], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (USAGE, f'gpuslice-arbiter: {sentence}; see gpuslice-arbiter --help\n')
