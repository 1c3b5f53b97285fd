# SPDX-License-Identifier: Apache-2.0
"""Memory limits: gpuslice-arbiter on simulated GPUs, real processes that connect to the sockets of their grants, and the
files of a node as kernel, kubelet and agent write them. No library of ours is in the processes."""
import base64
import os
import shutil
import signal
import stat
import struct
import time

import pytest
from grantlog import GRANT, MAGIC, crc32c
from limitsclient import (CHARGE, DENIED, ENFORCED, ENTER, ENTERED, GRANTED, GREW, LEFT, NONE, OBSERVE, REFUSED, RELEASE, SHRANK,
                          RESERVE, SEALS, WELCOME, Client)
from node import eventually, in_folder
from test_arbiter import Watched
from test_audit import MIB

GIB = 1 << 30


def text(string):
    return struct.pack('<H', len(string)) + string.encode()


def frame(payload):
    length = struct.pack('<I', len(payload))
    return length + struct.pack('<I', crc32c(length + payload)) + payload


def field(number, data):
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


class Limited(Watched):
    """A node whose agent gives grants; a pod's container `main` has one for each device."""

    def __init__(self, folder):
        super().__init__(folder)
        self.clients, self.grants = [], {}
        self.journal = self.root / 'grants/grants-v1.log'
        (self.root / 'grants/grants').mkdir(parents=True)
        self.journal.write_bytes(MAGIC + frame(b'machine\nboot\n'))

    def append_grant(self, grant, ids, uuid, size, resource='nvidia.com/gpu', share=250):
        payload = bytes([GRANT]) + text(grant) + text('boot') + struct.pack('<qB', 0, 0) + text(resource)
        payload += struct.pack('<I', len(ids)) + b''.join(map(text, ids))
        payload += struct.pack('<I', 1) + text(uuid) + struct.pack('<IQ', share, size)
        with self.journal.open('ab') as journal:
            journal.write(frame(payload))

    def name_grant(self, pod, grant, ids, container='main', resource='nvidia.com/gpu', library=None):
        """As the kubelet does once it has the answer of Allocate. library: the folder that it mounts."""
        annotation = field(1, f'gpuslice.dev/grant.{resource.replace("/", ".")}'.encode()) + field(2, grant.encode())
        mount = field(2, field(1, b'/opt/gpuslice/lib') + field(2, library.encode())) if library else b''
        self.entries.append({'PodUID': self.uid(pod), 'ContainerName': container, 'ResourceName': resource, 'DeviceIDs': {'-1': ids},
                             'AllocResp': base64.b64encode(mount + field(4, annotation)).decode()})
        self.checkpoint()

    def grant(self, pod, size, gpu=0, slot=0, container='main', is_named=True, share=250):
        """A slice for a container, with so many thousandths of the device; returns the grant's socket."""
        grant, ids = f'{len(self.grants) + 1:016x}', [f'{self.uuids[gpu]}::{slot}']
        self.grants[grant] = ids
        if not (self.root / 'pods' / self.uid(pod)).is_dir():
            self.pod(pod)
        self.append_grant(grant, ids, self.uuids[gpu], size, share=share)
        folder = self.root / 'grants/grants' / grant
        folder.mkdir()
        if is_named:
            self.name_grant(pod, grant, ids, container)
        return str(folder / 'arbiter.sock')

    def limits(self, mode='enforced', *flags):
        arbiter = self.arbiter(f'--limits={mode}', *flags)
        self.serve_once()
        return arbiter

    def serve_once(self):
        if not any(process.name == 'gpuslice-http' for process in self.processes):
            self.serve()

    def client(self, pod, path=None):
        """A process of a pod; registered if there is a socket's path."""
        client = Client()
        self.clients.append(client)
        self.write_cgroup(client.pid, pod)
        if path:
            eventually(lambda: os.path.exists(path), 'the grant has its socket')
            assert client.register(path)[0] == WELCOME
        return client

    def write_cgroup(self, pid, pod):
        folder = self.root / f'proc/{pid}'
        folder.mkdir(exist_ok=True)
        (folder / 'cgroup').write_text(f'0::/kubepods/burstable/pod{self.uid(pod)}/{self.container(pod)}\n' if pod else '0::/user.slice\n')
        (folder / 'comm').write_text('python\n')

    def show(self, client, gpu, mebibytes):
        """What the driver shows of a process from now on."""
        self.sim('inject', 'process', 'add', gpu, client.pid, f'{mebibytes}Mi')

    def end(self):
        for client in self.clients:
            client.end()
        super().end()


@pytest.fixture
def node():
    yield from in_folder(Limited)


def charged(client, device=0):
    return client.page().devices[device]['charged']


# --- what a container may have ---

def test_a_container_gets_what_its_slice_gives_and_not_more(node):
    path = node.grant('train', 4 * GIB)
    node.limits()
    a = node.client('train', path)
    page = a.page()
    assert (page.version, page.mode, page.n_devices) == (1, ENFORCED, 1)
    device, = page.devices
    assert 'GPU-' + '-'.join(device['uuid'].hex()[at:to] for at, to in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))) == node.uuids[0]
    assert (device['limit'], device['charged'], device['n_processes']) == (4 * GIB, 0, 1)
    assert a.request(RESERVE, 0, 3 * GIB, 3 * GIB)[0] == GRANTED
    assert a.request(RESERVE, 0, GIB + 1, GIB + 1)[:3] == (DENIED, ENFORCED, GIB)
    assert a.request(RESERVE, 0, GIB, GIB)[0] == GRANTED
    assert charged(a) == 4 * GIB and a.page().devices[0]['n_denied'] == 1
    a.send(RELEASE, 0, 2 * GIB)
    assert a.request(RESERVE, 0, 2 * GIB, 2 * GIB)[0] == GRANTED


def test_processes_of_a_container_share_its_limit(node):
    """Those of its neighbour have their own."""
    path, other = node.grant('train', 4 * GIB), node.grant('serve', 2 * GIB, slot=1)
    node.limits()
    clients = [node.client('train', path) for _ in range(8)]
    neighbour = node.client('serve', other)
    for client in clients:  # all at once
        client.ask('request', RESERVE, 0, GIB, GIB)
    answers = [client.result()[0] for client in clients]
    assert sorted(answers) == [GRANTED] * 4 + [DENIED] * 4
    assert charged(clients[0]) == 4 * GIB and clients[3].page().devices[0]['n_processes'] == 8
    assert neighbour.request(RESERVE, 0, 2 * GIB, 2 * GIB)[0] == GRANTED


def test_grants_of_one_container_are_summed_up(node):
    path, second = node.grant('train', GIB), node.grant('train', GIB, slot=1)
    node.grant('train', 3 * GIB, gpu=1, container='other')
    node.limits()
    a, b = node.client('train', path), node.client('train', second)
    assert [device['limit'] for device in a.page().devices] == [2 * GIB]
    assert a.request(RESERVE, 0, 2 * GIB, 2 * GIB)[0] == GRANTED
    assert b.request(RESERVE, 0, 1, 1)[0] == DENIED


def test_a_context_is_charged_before_it_exists_and_corrected_by_the_driver(node):
    path = node.grant('train', 4 * GIB)
    node.limits()
    a = node.client('train', path)
    kind, _, size, _ = a.request(ENTER)
    assert kind == GRANTED and size == charged(a) == 512 * MIB  # an unknown kind of GPU
    node.show(a, 0, 300)
    a.send(ENTERED)
    eventually(lambda: charged(a) == 300 * MIB, 'the driver has told what it is')
    assert a.page().devices[0]['overhead'] == 300 * MIB
    eventually(lambda: a.page().devices[0]['context_mib'] == 300, 'the next context is expected to cost the same')
    assert a.request(ENTER)[2] == 300 * MIB
    a.send(LEFT)
    assert a.request(RESERVE, 0, 4 * GIB - 300 * MIB, 4 * GIB - 300 * MIB)[0] == GRANTED


# --- what the driver shows ---

def test_who_takes_more_than_it_says_is_charged_within_two_seconds(node):
    path = node.grant('train', 2 * GIB)
    arbiter = node.limits()
    a, b = node.client('train', path), node.client('train', path)
    assert a.request(RESERVE, 0, 100 * MIB, 100 * MIB)[0] == GRANTED
    node.show(a, 0, 1900)
    began = time.monotonic()
    eventually(lambda: charged(b) >= 1900 * MIB, 'it is charged')
    assert time.monotonic() - began < 10  # with a busy machine's time
    assert b.request(RESERVE, 0, 200 * MIB, 200 * MIB)[0] == DENIED
    node.end_process(0, a.pid)
    eventually(lambda: charged(b) == 100 * MIB, 'what it gave back is free')
    assert arbiter.alive()


def test_a_process_that_never_connected_is_charged_to_its_container(node):
    path = node.grant('train', 2 * GIB)
    node.limits()
    a = node.client('train', path)
    silent = node.client('train')
    node.show(silent, 0, 1500)
    eventually(lambda: charged(a) == 1500 * MIB, 'it is charged')
    assert a.request(RESERVE, 0, GIB, GIB)[0] == DENIED and a.page().devices[0]['n_processes'] == 1
    node.end_process(0, silent.pid)
    eventually(lambda: charged(a) == 0, 'it is gone')


def test_what_the_driver_takes_by_itself_is_charged_when_it_is_told(node):
    """A guess, until the driver has told; where that is beyond the limit, it is asked at once."""
    path = node.grant('train', 2 * GIB)
    node.limits()
    a = node.client('train', path)
    assert a.request(RESERVE, 0, GIB, GIB, allocated=GIB)[0] == GRANTED
    node.show(a, 0, 1024 + 500)
    assert a.request(GREW, 0, 500 * MIB, allocated=GIB)[0] == GRANTED
    assert charged(a) == GIB + 500 * MIB
    node.show(a, 0, 1024)
    a.send(SHRANK, 0, 500 * MIB, allocated=GIB)
    assert a.request(GREW, 0, 2 * GIB, allocated=GIB)[0] == DENIED  # it took nothing: a neighbour did
    eventually(lambda: charged(a) == GIB, 'a reading has shown it')
    node.show(a, 0, 1024 + 1500)
    kind, _, reading, _ = a.request(GREW, 0, 1500 * MIB, allocated=GIB)
    assert kind == DENIED and a.page().n_reading < reading <= a.page().n_reading + 2
    eventually(lambda: a.page().n_reading >= reading, 'the driver is read')
    assert charged(a) == GIB + 1500 * MIB
    node.show(a, 0, 1024)
    a.send(SHRANK, 0, 1500 * MIB, allocated=GIB)
    assert a.request(RESERVE, 0, GIB - 4 * MIB, GIB - 4 * MIB, allocated=GIB)[0] == GRANTED


def test_tenants_do_not_decide_how_often_the_driver_is_read(node):
    path = node.grant('train', GIB)
    node.limits()
    a = node.client('train', path)
    before, began = a.page().n_reading, time.monotonic()
    while time.monotonic() - began < 2:
        assert a.request(GREW, 0, 2 * GIB)[0] == DENIED
        a.send(SHRANK, 0, 2 * GIB)
    assert a.page().n_reading - before <= (time.monotonic() - began) * 5 + 3


# --- ends ---

def test_what_a_killed_process_had_is_free_at_once(node):
    path = node.grant('train', 2 * GIB)
    node.limits()
    a, b = node.client('train', path), node.client('train', path)
    node.show(a, 0, 2000)
    assert a.request(RESERVE, 0, 2 * GIB, 2 * GIB)[0] == GRANTED
    assert b.request(RESERVE, 0, 1, 1)[0] == DENIED
    before = b.page().n_reading
    a.end(signal.SIGKILL)
    eventually(lambda: b.request(RESERVE, 0, 1900 * MIB, 1900 * MIB)[0] == GRANTED, 'it is free')
    assert b.page().n_reading - before <= 1  # no reading that began later was needed


def test_a_process_that_hangs_up_and_goes_on_stays_charged(node):
    """Until the driver shows that it has nothing; else a second connection would give it the limit once more."""
    path = node.grant('train', 2 * GIB)
    node.limits()
    a, b = node.client('train', path), node.client('train', path)
    assert a.request(RESERVE, 0, 2 * GIB, 2 * GIB)[0] == GRANTED
    node.show(a, 0, 2048)
    a.close()
    eventually(lambda: b.page().devices[0]['n_processes'] == 1, 'it has hung up')
    assert charged(b) == 2 * GIB and b.request(RESERVE, 0, MIB, MIB)[0] == DENIED
    node.wait_audits(2)
    assert charged(b) == 2 * GIB
    assert a.register(path)[0] == WELCOME
    assert a.request(RESERVE, 0, MIB, MIB)[0] == DENIED
    a.send(CHARGE, 0, 2 * GIB)
    a.send(RELEASE, 0, GIB)
    node.end_process(0, a.pid)
    eventually(lambda: charged(b) == GIB, 'what it released is free')
    a.end()
    eventually(lambda: charged(b) == 0, 'it has ended')


def test_a_new_arbiter_is_told_what_processes_have(node):
    path = node.grant('train', 2 * GIB)
    first = node.limits()
    a, b = node.client('train', path), node.client('train', path)
    assert a.request(RESERVE, 0, GIB, GIB)[0] == GRANTED
    first.end(signal.SIGKILL)
    assert a.receive() is None  # it hung up
    assert charged(a) == GIB  # what was last known
    node.limits()
    eventually(lambda: connects(a, path), 'there is an arbiter again')
    a.send(CHARGE, 0, GIB, allocated=GIB)
    assert b.register(path)[0] == WELCOME
    assert b.request(RESERVE, 0, GIB + 1, GIB + 1)[0] == DENIED
    assert charged(b) == GIB and a.page().devices[0]['n_processes'] == 2


def connects(client, path):
    try:
        return client.register(path)[0] == WELCOME
    except (ConnectionRefusedError, FileNotFoundError):
        return False


def test_sockets_come_and_go_with_the_directories(node):
    path = node.grant('train', GIB)
    arbiter = node.limits()
    a = node.client('train', path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    later = node.grant('later', GIB, slot=1)
    assert node.client('later', later).request(RESERVE, 0, GIB, GIB)[0] == GRANTED
    os.unlink(path)
    eventually(lambda: os.path.exists(path), 'a socket that somebody removed is made again')
    assert node.client('train').register(path)[0] == WELCOME
    shutil.rmtree(os.path.dirname(path))
    assert a.request(RESERVE, 0, GIB, GIB)[0] == GRANTED  # who is connected goes on
    assert arbiter.end() == 0
    assert not os.path.exists(later)


# --- modes ---

@pytest.mark.parametrize('mode, number, denied', [('none', NONE, 0), ('observe', OBSERVE, 1)])
def test_without_enforcement_everything_is_granted_and_the_account_goes_on(node, mode, number, denied):
    path = node.grant('train', GIB)
    node.limits(mode)
    a = node.client('train', path)
    assert a.page().mode == number
    assert a.request(RESERVE, 0, 3 * GIB, 3 * GIB)[:3] == (GRANTED, number, 3 * GIB)
    assert (charged(a), a.page().devices[0]['n_denied']) == (3 * GIB, denied)


# --- who may ---

def test_a_process_of_another_pod_is_refused(node):
    path, other = node.grant('train', GIB), node.grant('serve', GIB, slot=1)
    node.pod('curious')
    arbiter = node.limits()
    eventually(lambda: os.path.exists(path), 'the grant has its socket')
    kind, _, _, reason = node.client('curious').register(path)
    assert kind == REFUSED and reason == 'not of the pod that has the grant'
    arbiter.wait_line('a process has no part in a grant.*it is not of the pod that has the grant.*grant=0000000000000001')
    kind, _, _, reason = node.client(None).register(other)
    assert kind == REFUSED
    arbiter.wait_line('a process has no part in a grant.*belongs to no pod')


def test_a_grant_that_the_kubelet_has_not_recorded_yet_is_waited_for(node):
    path = node.grant('train', GIB, is_named=False)
    arbiter = node.limits()
    a = node.client('train')
    eventually(lambda: os.path.exists(path), 'the grant has its socket')
    a.connect(path)
    a.ask('request', 1, 0, 1)
    node.name_grant('train', '0000000000000001', node.grants['0000000000000001'])
    assert a.result()[0] == WELCOME
    unknown = node.grant('train', GIB, slot=1, is_named=False)
    b = node.client('train')
    eventually(lambda: os.path.exists(unknown), 'the grant has its socket')
    kind, _, _, reason = b.register(unknown)
    assert (kind, reason) == (REFUSED, 'the grant is in no record')
    arbiter.wait_line("the kubelet's checkpoint and the log of grants do not have the grant")


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
def test_nobody_in_a_container_writes_to_its_page(node):
    path = node.grant('train', GIB)
    node.limits()
    a = node.client('train', path)
    before = a.read_page()
    done, seals = a.attack_page()
    assert (done, seals) == ([], SEALS)
    assert a.read_page() == before


# --- hostile ones ---

@pytest.mark.parametrize('what', [b'', b'x', b'\0' * 64, b'\xff' * 64, b'x' * 5000], ids=['nothing', 'short', 'zero', 'ones', 'long'])
def test_who_sends_anything_else_is_disconnected(node, what):
    path = node.grant('train', GIB)
    arbiter = node.limits()
    a, b = node.client('train', path), node.client('train', path)
    assert a.request(RESERVE, 0, MIB, MIB)[0] == GRANTED
    a.raw(what)
    assert a.receive() is None
    if what:
        arbiter.wait_line('a process was disconnected for what it sent')
    assert b.request(RESERVE, 0, MIB, MIB)[0] == GRANTED and charged(b) >= 2 * MIB


def test_what_is_sent_along_holds_up_nobody(node):
    path, other = node.grant('train', GIB), node.grant('serve', GIB, slot=1)
    arbiter = node.limits()
    a, b = node.client('train', path), node.client('serve', other)
    begin = time.monotonic()
    a.send_slow()
    assert a.receive() is None
    arbiter.wait_line('a message with descriptors')
    assert b.request(RESERVE, 0, MIB, MIB)[0] == GRANTED
    assert time.monotonic() - begin < 15


def test_who_does_not_read_is_not_waited_for(node):
    path = node.grant('train', GIB)
    node.limits()
    a, b = node.client('train', path), node.client('train', path)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while True:
            a.send(RESERVE, 0, 0, 0)
    assert b.request(RESERVE, 0, MIB, MIB)[0] == GRANTED


def test_connections_of_a_grant_are_bounded(node):
    """Those of a neighbour are not fewer for it."""
    path, other = node.grant('train', GIB), node.grant('serve', GIB, slot=1)
    node.limits()
    eventually(lambda: os.path.exists(path), 'the grant has its socket')
    a = node.client('train')
    refused = []
    for _ in range(300):
        a.ask('hoard', path)
        refused.append(a.result())
    assert refused.index('too many connections of this grant') == 256
    assert node.client('serve', other).request(RESERVE, 0, GIB, GIB)[0] == GRANTED


def test_two_hundred_registrations_at_once(node):
    path = node.grant('train', GIB)
    node.limits()
    clients = [node.client('train') for _ in range(200)]
    eventually(lambda: os.path.exists(path), 'the grant has its socket')
    for client in clients:
        client.ask('register', path)
    assert {client.result()[0] for client in clients} == {WELCOME}
    assert clients[0].page().devices[0]['n_processes'] == 200
    for client in clients:
        client.ask('request', RESERVE, 0, 5 * MIB, 5 * MIB)
    assert [client.result()[0] for client in clients].count(GRANTED) == 200
    for client in clients[1:]:
        client.end()
    eventually(lambda: charged(clients[0]) == 5 * MIB, 'all others have ended')


# --- options ---

def test_limits_only_when_asked_for(node):
    path = node.grant('train', GIB)
    node.arbiter()
    node.serve()
    node.wait_audits(2)
    assert not os.path.exists(path)


# --- pods that take what is not theirs, with --on-violation=starve ---

STARVE = '--on-violation=starve', '--grace=0'


def may_reserve(client, size=MIB, device=0):
    granted = client.request(RESERVE, device, size, size)[0] == GRANTED
    if granted:
        client.send(RELEASE, device, size)
    return granted


def starved(node):
    return {labels['pod'] for labels, value in node.metrics('gpuslice_memory_starved') if value}


def test_who_uses_another_gpu_gets_no_more_of_its_own(node):
    """A process that never asks has memory of a GPU where its pod has no slice: it is not stopped, and the pod's library is refused."""
    hostile, content = node.grant('hostile', 4 * GIB), node.grant('content', 4 * GIB, slot=1)
    arbiter = node.limits('enforced', *STARVE)
    a, neighbour, evader = node.client('hostile', hostile), node.client('content', content), node.client('hostile')
    assert may_reserve(a)
    node.show(evader, 1, 300)
    arbiter.wait_line('a pod gets no more GPU memory.*finding=other-device.*pod=hostile')
    eventually(lambda: not may_reserve(a), 'nothing is granted')
    assert a.request(RESERVE, 0, 1, MIB)[:3] == (DENIED, ENFORCED, 0) and a.request(ENTER, 0)[0] == DENIED
    assert charged(a) >= 4 * GIB  # so it sees nothing free
    assert may_reserve(neighbour) and charged(neighbour) <= MIB  # what is released comes a moment later
    assert starved(node) == {'hostile'}
    node.end_process(1, evader.pid)
    arbiter.wait_line('a finding has ended.*pod=hostile')
    eventually(lambda: may_reserve(a), 'it goes on')
    assert charged(a) < GIB and starved(node) == set()


def test_who_evades_the_library_is_charged_to_its_container_and_starves_it(node):
    path, second = node.grant('hostile', 4 * GIB), node.grant('hostile', 4 * GIB, gpu=1, container='side')
    arbiter = node.limits('enforced', *STARVE)
    a, other, evader = node.client('hostile', path), node.client('hostile', second), node.client('hostile')
    assert may_reserve(a) and may_reserve(other)
    node.show(evader, 0, 5000)
    arbiter.wait_line('a pod gets no more GPU memory.*finding=over.*pod=hostile')
    eventually(lambda: not may_reserve(a) and not may_reserve(other), 'nothing is granted, of any device')
    node.end_process(0, evader.pid)
    node.show(evader, 0, 1000)
    arbiter.wait_line('a finding has ended.*pod=hostile')
    eventually(lambda: may_reserve(a) and may_reserve(other), 'it is back under its limit')


def test_a_pod_that_holds_no_slice_cannot_be_starved(node):
    node.grant('content', 4 * GIB)
    node.pod('curious')
    arbiter, process = node.limits('enforced', *STARVE), node.client('curious')
    node.show(process, 0, 300)
    arbiter.wait_line('a pod cannot be starved.*pod=curious.*it holds no slice')
    node.wait_audits(3)
    assert starved(node) == set() and arbiter.count('a pod cannot be starved') == 1 and arbiter.count('no more GPU memory') == 0


@pytest.mark.parametrize('flags', [('--on-violation=report',), ('--on-violation=starve', '--grace=86400'),
                                   (*STARVE, '--spare-namespaces=default')])
def test_nobody_is_starved_unless_the_policy_says_so(node, flags):
    path = node.grant('hostile', 4 * GIB)
    arbiter = node.limits('enforced', *flags)
    a, evader = node.client('hostile', path), node.client('hostile')
    node.show(evader, 1, 300)
    arbiter.wait_line('holds no slice.*finding=other-device')
    node.wait_audits(3)
    assert may_reserve(a) and starved(node) == set()


def test_starving_is_over_when_limits_are_not_enforced_and_with_another_policy(node):
    """The mode is live; the policy is the arbiter's, which is replaced."""
    path = node.grant('hostile', 4 * GIB)
    arbiter = node.limits('enforced', *STARVE)
    a, evader = node.client('hostile', path), node.client('hostile')
    node.show(evader, 1, 300)
    eventually(lambda: not may_reserve(a), 'nothing is granted')
    off = node.root / 'grants/enforcement-off'
    off.touch()
    eventually(lambda: may_reserve(a), 'the mode is none')
    arbiter.wait_line('a pod gets GPU memory again')
    off.unlink()
    eventually(lambda: not may_reserve(a), 'the mode is enforced again')
    arbiter.end()
    arbiter = node.limits('enforced', '--on-violation=report')
    again = node.client('hostile', path)
    node.wait_audits(3)
    assert may_reserve(again)
