# SPDX-License-Identifier: Apache-2.0
"""Turns, from end to end: gpuslice-arbiter, libgpuslice.so preloaded into real programs, and the simulated driver, whose device shares its
time as the hardware does. What a tenant got is read off the simulator's account of the device, in device time: how fast this machine is
changes how much of it there is, and little of how it is divided. On one that is full, elastic may rightly let all run free: what is measured
is for `make soak`."""
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from node import BUILD, PATIENCE_S, eventually, in_folder
from test_limit_control import Controlled
from test_limits import GIB
from test_preload import CASES, CUDA, LIBRARY, NVML, Steps

MS = 1000  # us
KERNEL_US = 2000
FOREVER = 10**8


def run_first(pid):
    """Before other programs of this machine: a busy machine lets them wait longer than a turn lasts. False: that is not permitted."""
    try:
        for task in os.listdir(f'/proc/{pid}/task'):
            os.sched_setscheduler(int(task), os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    return True


class Tenant(Steps):
    """A cuda-steps in a pod's container. It has begun to work when work() returns, and goes on until it is killed."""

    def __init__(self, node, pod):
        super().__init__(node.command(pod, CASES / 'cuda-steps', CUDA, NVML), node.environment())
        self.node, self.pod, self.pid = node, pod, self.process.pid
        node.write_cgroup(self.pid, pod)
        run_first(self.pid)
        for step in ('start', 'kernel', 'stream'):
            assert self(step) == '0'

    def account(self):
        return self.node.contexts().get(self.pid, {'received_us': 0, 'kernels': 0, 'slices': 0, 'foreign_slices': 0})

    def works(self, command):
        """Begins it; its answer is not awaited."""
        before = self.account()['kernels']
        self.process.stdin.write(command + '\n')
        eventually(lambda: self.account()['kernels'] > before, f'{self.pod} works')
        return self

    def is_heavy(self, depth=4, us=KERNEL_US):
        return self.works(f'batches {FOREVER} {depth} {us}')

    def is_heavy_by(self, how):
        """Batches in the default stream, of which the wait alone shows how long they take."""
        assert self('destroy') == '0'
        return self.works(f'batches {FOREVER} 8 500 {how}')

    def is_heavy_on_two(self, us=KERNEL_US):
        """A kernel on each device, and a wait for both."""
        assert self('second') == '0'
        return self.works(f'pairs {FOREVER} 1 {us}')

    def is_light(self, us=200, gap_us=10000):
        return self.works(f'tasks {FOREVER} {us} {gap_us}')

    def goes_on(self, more=50):
        before = self.account()['kernels']
        eventually(lambda: self.account()['kernels'] >= before + more, f'{self.pod} goes on')


class Window:
    """What happened on the device between two moments, which are `us` of received time apart, or more."""

    def __init__(self, node, us):
        if not node.runs_first:
            pytest.skip('programs here cannot run before others (CAP_SYS_NICE)')
        first = node.time()
        eventually(lambda: node.time()['busy_us'] - first['busy_us'] >= us, 'the device works')
        last = node.time()
        self.busy_us, self.switch_us = (last[key] - first[key] for key in ('busy_us', 'switch_us'))
        before = {one['pid']: one for one in first['contexts']}
        self.of = {one['pid']: {key: one[key] - before.get(one['pid'], {}).get(key, 0)
                                for key in ('received_us', 'kernels', 'slices', 'foreign_slices')} for one in last['contexts']}

    def received(self, tenant):
        return self.of[tenant.pid]['received_us']

    def part(self, tenant):
        return self.received(tenant) / self.busy_us

    def changes(self):
        """Time that changes of contexts take, by time worked: each takes 127 or 170 us."""
        return self.switch_us / self.busy_us

    def waits(self, tenant):
        """Slices of others for each of its kernels."""
        return self.of[tenant.pid]['foreign_slices'] / self.of[tenant.pid]['kernels']


class Chain(Controlled):
    def __init__(self, folder):
        super().__init__(folder)
        self.tenants, self.paths, self.control, self.runs_first = [], {}, None, True
        self.namespaces = {}  # of pods that are not in `default`

    def begin(self, compute, **shares):
        """The arbiter, and pods with so many thousandths of the first GPU each."""
        for slot, (pod, share) in enumerate(shares.items()):
            self.paths[pod] = self.grant(pod, 3 * GIB, slot=slot, share=share)
        arbiter = self.limits('none', f'--compute={compute}')
        self.runs_first = run_first(arbiter.pid)
        return arbiter

    def pod(self, name, *arguments):
        super().pod(name, *arguments)
        if name in self.namespaces:
            logs, rest = self.root / 'var/log/pods', f'_{name}_{self.uid(name)}'
            (logs / f'default{rest}').rename(logs / f'{self.namespaces[name]}{rest}')

    def begin_on_two(self, compute, **shares):
        """The same of the first two GPUs."""
        for slot, (pod, share) in enumerate(shares.items()):
            self.grant(pod, 3 * GIB, gpu=1, slot=slot, share=share)
        return self.begin(compute, **shares)

    def environment(self):
        return {**os.environ, **self.variables, 'LD_LIBRARY_PATH': f'{BUILD / "sim/nvml"}:{BUILD / "sim/cuda"}',
                'ASAN_OPTIONS': 'verify_asan_link_order=0:detect_leaks=0'}

    def command(self, pod, *words, first=''):
        """In a container of the kind that the agent's answer makes."""
        eventually(lambda: os.path.exists(self.paths[pod]), 'the grant has its socket')
        mount = f'mkdir -p /opt/gpuslice/nvidia.com.gpu && mount --bind {Path(self.paths[pod]).parent} /opt/gpuslice/nvidia.com.gpu'
        script = f'{first} mount -t tmpfs none /opt && {mount} && export LD_PRELOAD={LIBRARY} && exec "$@"'
        return ['unshare', '--mount', 'sh', '-c', script, 'sh', *map(str, words)]

    def run_in(self, pod, *words):
        """A program, from begin to end."""
        process = subprocess.Popen(self.command(pod, *words, first='read line;'), env=self.environment(), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.write_cgroup(process.pid, pod)  # before it is asked for
        run_first(process.pid)
        out, error = process.communicate('go\n', timeout=PATIENCE_S)
        return subprocess.CompletedProcess(words, process.returncode, out, error)

    def tenant(self, pod):
        self.tenants.append(Tenant(self, pod))
        return self.tenants[-1]

    def switch(self, compute):
        self.control = self.control or self.agent()
        self.control.notify(f'mode none\ncompute {compute}\n')
        eventually(lambda: self.control.state.get('compute') == compute, f'{compute} is in effect')

    def time(self):
        return json.loads(self.sim('-o', 'json', 'state'))['gpus'][0]['time']

    def contexts(self):
        return {one['pid']: one for one in self.time()['contexts']}

    def turns(self):
        """Of the device, as `top` shows them."""
        return self.status()['devices'][0]['turns']

    def row(self, tenant):
        """Of a container."""
        rows = {one['pod_uid']: one for device in self.status()['devices'] for one in device['containers']}
        return rows.get(self.uid(tenant.pod), {}).get('turns') or {}

    def wait_heavy(self, *tenants):
        eventually(lambda: all(self.row(one).get('weight') in ('heavy', 'full') for one in tenants), 'they are known to be heavy')

    def end(self):
        for tenant in self.tenants:
            tenant.end()
        super().end()


@pytest.fixture
def node():
    yield from in_folder(Chain)


# --- who shares the device, and how ---

def takes_long_runs(node, native):
    """A device that changes contexts as seldom as no hardware does by itself: half as often as natively, or less."""
    return Window(node, 400 * MS).changes() <= native.changes() / 2


@pytest.mark.soak
@pytest.mark.parametrize('compute', ['elastic', 'strict'])
def test_two_heavy_ones_take_turns_and_get_the_same(node, compute):
    node.begin('none', a=500, b=500)
    a, b = node.tenant('a').is_heavy(), node.tenant('b').is_heavy()
    native = Window(node, 600 * MS)
    node.switch(compute)
    node.wait_heavy(a, b)
    eventually(lambda: takes_long_runs(node, native), 'they take turns')
    both = Window(node, 2000 * MS)
    assert 0.4 < both.part(a) < 0.6, (both.of, node.turns())
    assert node.row(a)['turns'] > 0 and node.row(b)['turns'] > 0


@pytest.mark.soak
@pytest.mark.parametrize('compute', ['elastic', 'strict'])
def test_by_weight(node, compute):
    node.begin(compute, a=750, b=250)
    a, b = node.tenant('a').is_heavy(), node.tenant('b').is_heavy()
    node.wait_heavy(a, b)
    both = Window(node, 3000 * MS)
    assert 0.65 < both.part(a) < 0.85, (both.of, node.turns())


OTHER_WAYS = ['copy', 'second', 'async', 'query', 'event', 'free']


@pytest.mark.parametrize('how', OTHER_WAYS)
def test_who_waits_in_another_way_is_heavy_too(node, how):
    node.begin('strict', a=500, b=500)
    a, b = node.tenant('a').is_heavy_by(how), node.tenant('b').is_heavy()
    node.wait_heavy(a, b)
    first = rows(node, a, b, key='turns')
    eventually(lambda: all(now > before + 20 for now, before in zip(rows(node, a, b, key='turns'), first)), 'both have turns')
    assert rows(node, a, b, key='late') == [0, 0]


@pytest.mark.soak
@pytest.mark.parametrize('how', OTHER_WAYS)
def test_who_waits_in_another_way_gets_his_share(node, how):
    node.begin('strict', a=500, b=500)
    a, b = node.tenant('a').is_heavy_by(how), node.tenant('b').is_heavy(depth=20)
    node.wait_heavy(a, b)
    both = Window(node, 2000 * MS)
    assert 0.4 < both.part(a) < 0.6, (both.of, node.turns())


@pytest.mark.parametrize('launches', [0, 2])
def test_who_mostly_copies_is_not_heavy(node, launches):
    """The engine that copies is another one: others have no use of its turns. Behind launches the simulator's copies take their time, too."""
    node.begin('strict', a=500, b=500)
    b = node.tenant('b').is_heavy()
    a = node.tenant('a')
    a.process.stdin.write(f'copies {FOREVER} 128 {launches}\n')
    node.wait_heavy(b)
    if launches:
        eventually(lambda: node.row(a).get('weight', 'unjudged') != 'unjudged' and node.row(a)['launched'] > 100, 'it is judged')
    b.goes_on()
    row = node.row(a)
    assert not row or (row['weight'] in ('unjudged', 'light') and row['turns'] == 0), row


@pytest.mark.soak
def test_a_lone_heavy_one_is_never_held(node):
    node.begin('elastic', a=250, b=250)
    a = node.tenant('a').is_heavy()
    idle = node.tenant('b')
    assert idle('launch 100') == '0' and idle('wait') == '0'
    node.wait_heavy(a)
    before = node.row(a)
    Window(node, 2000 * MS)
    after = node.row(a)
    assert (after['waited_ns'], after['turns'], after['late']) == (before['waited_ns'], before['turns'], 0)
    assert (node.turns()['plan'], node.turns()['reason']) == ('free', 'no-need')


@pytest.mark.soak
def test_a_light_one_waits_for_fewer_slices_of_others(node):
    node.begin('none', a=400, b=400, c=200)
    a, b, c = node.tenant('a').is_heavy(), node.tenant('b').is_heavy(), node.tenant('c').is_light()
    native = Window(node, 1500 * MS)
    node.switch('strict')
    node.wait_heavy(a, b)
    turns = Window(node, 3000 * MS)
    assert turns.waits(c) < 0.85 * native.waits(c), (native.of, turns.of, node.turns())
    assert node.row(c)['weight'] == 'light'


@pytest.mark.soak
def test_strict_is_a_limit_for_who_is_alone(node):
    node.begin('strict', a=250)
    a = node.tenant('a').is_heavy()
    node.wait_heavy(a)
    began = time.monotonic()
    received = Window(node, 800 * MS).received(a) / 1e6
    passed = time.monotonic() - began
    assert 0.15 * passed < received < 0.30 * passed, received / passed
    assert node.turns()['reason'] == 'strict'


@pytest.mark.soak
def test_observe_holds_nobody_and_tells_what_each_received(node):
    node.begin('observe', a=250, b=250)
    a, b = node.tenant('a').is_heavy(), node.tenant('b').is_heavy()
    window = Window(node, 1500 * MS)
    for one in (a, b):
        eventually(lambda one=one: node.row(one).get('received_ns', 0) > 0, 'it is told')
        assert (node.row(one)['waited_ns'], node.row(one)['turns']) == (0, 0)
    assert 0.4 < window.part(a) < 0.6 and node.turns()['plan'] == 'free'


@pytest.mark.soak
def test_the_mode_is_live(node):
    """Who works goes on in each, and is not held in none."""
    node.begin('none', a=500, b=500)
    a, b = node.tenant('a').is_heavy(), node.tenant('b').is_heavy()
    native = Window(node, 600 * MS)
    assert node.turns() is None
    for compute in ('elastic', 'strict'):
        node.switch(compute)
        eventually(lambda: takes_long_runs(node, native), 'they take turns')
        node.switch('none')
        a.goes_on(), b.goes_on()
        assert node.turns() is None
        free = Window(node, 600 * MS)
        assert free.changes() > native.changes() / 2


# --- containers whose kernels wait for each other ---

def exchange(a, b, kind=''):
    """A handle of a's, which b opens: of its memory, or of an event."""
    assert a('alloc 8') == '0'
    handle = a(f'give {kind}'.strip())
    assert len(handle) == 128, handle
    assert b(f'open {kind} {handle}'.replace('  ', ' ')) == '0'


def rows(node, *tenants, key='group'):
    """At one moment."""
    of = {one['pod_uid']: one.get('turns') or {} for device in node.status()['devices'] for one in device['containers']}
    return [of.get(node.uid(tenant.pod), {}).get(key) for tenant in tenants]


@pytest.mark.parametrize('kind', ['', 'event'], ids=['memory', 'event'])
def test_those_who_exchange_a_handle_are_one_unit(node, kind):
    node.begin('strict', a=250, b=250, c=500)
    a, b, c = (node.tenant(pod) for pod in 'abc')
    exchange(a, b, kind)
    for one in (a, b, c):
        one.is_heavy()
    eventually(lambda: rows(node, a)[0], 'they are a group')
    of_a, of_b, of_c = rows(node, a, b, c)
    assert of_a == of_b and of_c is None
    node.wait_heavy(a, b, c)
    first = rows(node, a, b, c, key='turns')
    eventually(lambda: all(now > before + 20 for now, before in zip(rows(node, a, b, c, key='turns'), first)), 'there are turns')
    had_a, had_b, _ = (now - before for now, before in zip(rows(node, a, b, c, key='turns'), first))
    assert had_a == had_b  # together
    b.end()
    eventually(lambda: rows(node, a, c) == [None, None], 'each is one by itself')
    a.goes_on(), c.goes_on()


def are_one(node, a, b):
    eventually(lambda: rows(node, a)[0] and rows(node, a) == rows(node, b), 'they are a group')


def test_what_was_exchanged_before_there_were_turns_counts(node):
    node.begin('none', a=500, b=500)
    a, b = node.tenant('a'), node.tenant('b')
    exchange(a, b)
    a.is_heavy(), b.is_heavy()
    node.switch('strict')
    are_one(node, a, b)
    a.goes_on(), b.goes_on()


def test_another_arbiter_knows_who_is_one_unit(node):
    arbiter = node.begin('strict', a=500, b=500)
    a, b = node.tenant('a'), node.tenant('b')
    exchange(a, b)
    a.is_heavy(), b.is_heavy()
    are_one(node, a, b)
    arbiter.end(signal.SIGKILL)
    run_first(node.arbiter('--limits=none', '--compute=strict').pid)
    are_one(node, a, b)
    a.goes_on(), b.goes_on()


def export(node, a, b, kind=''):
    """A descriptor of a's memory, or of its pool, which b opens twice; a has closed its own by then."""
    inbox = node.folder / f'{b.pod}.inbox'
    assert b(f'inbox {inbox}') == '0'
    assert a(f'export {kind} {inbox}'.replace('  ', ' ')) == '0'
    assert b(f'import {kind}'.strip()) == '0'


@pytest.mark.parametrize('kind', ['', 'pool'], ids=['memory', 'pool'])
def test_those_who_exchange_a_descriptor_are_one_unit(node, kind):
    node.begin('strict', a=250, b=250, c=500)
    a, b, c = (node.tenant(pod) for pod in 'abc')
    export(node, a, b, kind)
    export(node, c, c, kind)  # to itself
    for one in (a, b, c):
        one.is_heavy()
    are_one(node, a, b)
    assert rows(node, c) == [None]
    b.end()
    eventually(lambda: rows(node, a, c) == [None, None], 'each is one by itself')
    a.goes_on(), c.goes_on()


def test_a_descriptor_of_before_there_were_turns_is_known_by_the_next(node):
    node.begin('none', a=500, b=500)
    a, b = node.tenant('a'), node.tenant('b')
    export(node, a, b)
    node.switch('strict')
    assert a(f'export {node.folder / "b.inbox"}') == '0' and b('import') == '0'
    a.is_heavy(), b.is_heavy()
    are_one(node, a, b)


def test_a_descriptor_makes_strangers_no_unit(node):
    """What it is known by can be read by everybody on the machine: it does not count across namespaces."""
    node.namespaces = {'c': 'other'}
    node.begin('strict', a=250, b=250, c=500)
    a, b, c = (node.tenant(pod) for pod in 'abc')
    export(node, a, c)
    export(node, a, b)
    for one in (a, b, c):
        one.is_heavy()
    are_one(node, a, b)
    assert rows(node, c) == [None]


def test_a_handle_that_nobody_gave_out_changes_nothing(node):
    node.begin('strict', a=500, b=500)
    a, b = node.tenant('a'), node.tenant('b')
    assert a('alloc 8') == '0' and len(a('give')) == 128
    assert b('open ' + 64 * '00') != '0'
    a.is_heavy(), b.is_heavy()
    node.wait_heavy(a, b)
    assert rows(node, a, b) == [None, None]


# --- containers with slices of several devices ---

def rows_of_devices(node, tenant):
    """As `top` shows it on each of its devices."""
    return [one['turns'] for device in node.status()['devices'] for one in device['containers'] if one['pod_uid'] == node.uid(tenant.pod)]


def test_containers_on_two_devices_have_their_turns_on_both(node):
    node.begin_on_two('strict', a=500, b=500)
    pair = [node.tenant(pod).is_heavy_on_two() for pod in 'ab']

    def known():
        return [row for one in pair for row in rows_of_devices(node, one) if row and row['weight'] in ('heavy', 'full')]
    eventually(lambda: len(known()) == 4, 'they are known to be heavy on both devices')
    first = [rows_of_devices(node, one) for one in pair]

    def since(key):
        """By container, and of each by device."""
        last = [rows_of_devices(node, one) for one in pair]
        return [[now[key] - before[key] for now, before in zip(*rows)] for rows in zip(last, first)]
    eventually(lambda: min(map(min, since('turns'))) > 100, 'there are turns on both devices')
    received, launched = since('received_ns'), since('launched')
    for on_first, on_second in received:
        assert 0.8 < on_first / on_second < 1.25, received
    assert 0.7 < launched[0][0] / launched[1][0] < 1.4, launched
    assert [row['overdue_turns'] - before['overdue_turns'] for one, rows in zip(pair, first)
            for row, before in zip(rows_of_devices(node, one), rows)] == [0] * 4


# --- faults ---

@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSTOP], ids=['killed', 'stopped'])
def test_one_after_the_other_is_gone_and_the_rest_go_on(node, number):
    """At any moment, so that some have the turn and some wait for it."""
    pods = {pod: 250 for pod in 'abcd'}
    node.begin('strict', **pods)
    left = [node.tenant(pod).is_heavy() for pod in pods]
    node.wait_heavy(*left)
    while len(left) > 1:
        os.kill(left.pop(0).pid, number)
        for one in left:
            one.goes_on(20)


@pytest.mark.parametrize('compute', [pytest.param('elastic', marks=pytest.mark.soak), 'strict'])
def test_without_the_arbiter_all_go_on_and_the_next_one_gives_turns_again(node, compute):
    arbiter = node.begin(compute, a=500, b=500)
    a, b = node.tenant('a').is_heavy(), node.tenant('b').is_heavy()
    node.wait_heavy(a, b)
    arbiter.end(signal.SIGKILL)
    for one in (a, b):
        one.goes_on()
    run_first(node.arbiter('--limits=none', f'--compute={compute}').pid)
    node.wait_heavy(a, b)
    eventually(lambda: all(node.row(one).get('turns', 0) > 0 for one in (a, b)), 'there are turns again')
    for one in (a, b):
        one.goes_on()


# --- programs as they are, beside one that is heavy ---

def test_captures_and_calls_from_streams_while_there_are_turns(node):
    node.begin('strict', a=500, b=500)
    a = node.tenant('a').is_heavy()
    b = node.tenant('b')
    node.wait_heavy(a)
    rounds, before = 20, b.account()['kernels']
    for _ in range(rounds):
        assert [b(step) for step in ('capture', 'launches 5 1000', 'captured', 'graph', 'callback', 'launch 1000', 'wait')] == ['0'] * 7
        assert [b(step) for step in ('elsewhere', 'launch 1000', 'over', 'launch 1000', 'sync')] == ['0'] * 5
    assert b.account()['kernels'] == before + rounds * (5 + 1 + 1 + 2)
    a.goes_on()


@pytest.mark.parametrize('compute', ['elastic', 'strict'])
def test_a_training_loop_computes_what_it_should(node, compute):
    node.begin(compute, a=500, b=500)
    a = node.tenant('a').is_heavy()
    done = node.run_in('b', BUILD / 'sim/train/cuda-train', '--steps', 100, '--step-ms', 3)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, '100 steps done'), done.stdout + done.stderr
    a.goes_on()


@pytest.mark.parametrize('beside', [False, True], ids=['alone', 'beside'])
def test_the_driver_is_the_same_with_turns(node, beside):
    """It makes itself a new machine, so beside another one it shares turns, and no device."""
    node.begin('strict' if beside else 'elastic', a=500, b=500)
    others = [node.tenant('a').is_heavy()] if beside else []
    node.wait_heavy(*others)
    before = [node.row(one)['turns'] for one in others]
    done = node.run_in('b', CASES / 'conformance-cuda', '-l', CUDA)
    assert (done.returncode, 'not ok' in done.stdout) == (0, False), done.stdout + done.stderr
    for one, turns in zip(others, before):
        assert node.row(one)['turns'] > turns
        launched = node.row(one)['launched']
        eventually(lambda one=one, launched=launched: node.row(one)['launched'] > launched + 50, 'it goes on')
