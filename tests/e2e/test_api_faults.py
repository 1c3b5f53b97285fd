# SPDX-License-Identifier: Apache-2.0
"""An API server that is down, slow, silent, resets connections or answers nonsense: a real one behind faultproxy.py.
Slicing goes on, and once the fault is over the Node is as it should be, each thing written once."""
import json
import os
import random
import re
import shutil
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agents import replicas
import pki
import programs
from bed import ControlPlane, wait
from clusterprogram import BUILD, CONFIG_LABEL, ClusterProgram, config_of, state
from cluster import Timeline
from faultproxy import ANSWERS, DEEDS, FaultProxy, Remote, Tls
from test_node_objects import NAMESPACE, Objects

COUNT, EVENT = 'nvidia.com/gpu.count', 'SomethingHappened'
IS_ASAN = 'asan' in str(BUILD) or bool(os.environ.get('ASAN_OPTIONS'))
RSS_MAX_KIB = 40 << 10


@pytest.fixture(scope='module')
def plane():
    made = ControlPlane(programs.FOLDER / 'faults', 26543)
    try:
        yield made.up()
    finally:
        made.down()


@pytest.fixture(scope='module')
def tls(plane):
    return Tls(*(str(plane.pki / name) for name in ('apiserver.crt', 'apiserver.key', 'ca.crt')))


class Case:
    """A Node, a program that keeps it, and a proxy between that program and the API server. `tls` None: TCP is passed
    through, so that the two use HTTP/2."""

    def __init__(self, plane, folder, name, tls):
        self.plane, self.api, self.name, self.folder = plane, plane.api, name, folder
        self.path = f'/api/v1/nodes/{name}'
        folder.mkdir()
        created = self.api.call('/api/v1/nodes', 'POST', {'metadata': {'name': name, 'labels': {'zone': 'a'}}})
        self.created = created['metadata']['resourceVersion']
        self.proxy = FaultProxy(upstream=('127.0.0.1', plane.port), tls=tls).start()
        self.authority = folder / 'ca.crt'
        shutil.copy(plane.pki / 'ca.crt', self.authority)
        self.program = ClusterProgram(folder, self.kubeconfig('admin-token'), name)

    def kubeconfig(self, token):
        path = self.folder / 'kubeconfig'
        pki.kubeconfig(path, 'https://{}:{}'.format(*self.proxy.address), self.authority, token)
        return path

    def end(self):
        self.program.end()
        self.proxy.stop()
        self.api.call(self.path, 'DELETE')
        said = self.said()
        assert 'Sanitizer' not in said and 'runtime error' not in said, said

    # --- what should be ---

    def want(self, count, ready=True):
        """Labels, condition and an event, all of them with this number."""
        return [state({COUNT: str(count)}, ready=ready, message=f'number {count}'),
                {'kind': 'event', 'warning': True, 'reason': EVENT, 'message': f'number {count}', 'pods': []}]

    def start(self, count):
        self.program.start(*self.want(count))
        return self

    def node(self):
        return self.api.call(self.path)

    def has(self, count):
        """Whether all of it stands there."""
        node = self.node()
        conditions = [one['message'] for one in node['status'].get('conditions', []) if one['type'] == 'GPUSlicesReady']
        return (node['metadata']['labels'].get(COUNT) == str(count) and conditions == [f'number {count}']
                and any(one['message'].endswith(f'number {count}') for one in self.events()))

    def events(self):
        items = self.api.call(f'/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{self.name}')['items']
        return [one for one in items if one['reason'] == EVENT]

    def await_(self, count, timeout=30):
        wait(f'{self.name} with {count}: {self.said()[-3000:]}', lambda: self.has(count), timeout)

    def version(self):
        return self.node()['metadata']['resourceVersion']

    def n_versions(self, since):
        """How often the Node was changed since then."""
        path = f'/api/v1/nodes?fieldSelector=metadata.name%3D{self.name}&resourceVersion={since}'
        return sum(kind == 'MODIFIED' for kind, _ in self.api.watch(path, 0.5))

    def hears(self, value):
        """The program gets changes, and has handled everything before."""
        self.api.call(self.path, 'PATCH', {'metadata': {'labels': {CONFIG_LABEL: value}}})
        self.program.await_news('the change', lambda news: config_of(news) == value, 30)

    def in_trouble(self):
        """What the program said it cannot do, and has not said since that it can again."""
        found = set()
        for line in self.said().splitlines():
            message = re.search(r'msg="([^"]*)"', line)[1]
            what = re.search(r'what="([^"]*)"', line)
            key = what[1] if what else 'events' if 'events' in message else 'server'
            if 'cannot' in message:
                found.add(key)
            elif message.endswith('again'):
                found.discard(key)
        return found

    def rests(self, also='.*'):
        """Nothing is written any more, also when it looks again. `also`: of the objects besides the Node."""
        wait(f'{self.name} in good order: {self.said()[-3000:]}', lambda: not self.in_trouble(), 30)
        before, mark = self.version(), self.proxy.mark()
        self.hears('looks-again')
        assert self.n_versions(before) == 1
        assert [one for one in self.proxy.writes(mark) if re.search(also, one)] == []

    # --- what it costs ---

    def said(self):
        return self.program.said() if self.program.log.exists() else ''

    def warnings(self):
        return [line for line in self.said().splitlines() if ' level=warn' in line or ' level=error' in line]

    def peak_kib(self):
        lines = Path(f'/proc/{self.program.process.pid}/status').read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith('VmHWM')))

    def check_peak(self, limit=RSS_MAX_KIB):
        assert IS_ASAN or self.peak_kib() < limit, f'{self.peak_kib()} KiB'


@pytest.fixture
def make(plane, tmp_path, request):
    made, word = [], request.node.name.partition('[')[2].strip(']') or request.node.name[5:25]

    def make_one(name, tls):
        made.append(Case(plane, tmp_path / name, f'{word}-{name}'.replace('_', '-').strip('-').lower(), tls))
        return made[-1]
    yield make_one
    for one in made:
        print(f'--- {one.name}:\n{one.said()}')
        one.end()


# --- one answer is wrong ---

REQUESTS = {
    'list': {'method': 'GET', 'path': '/api/v1/nodes', 'query': 'limit='},
    'watch': {'method': 'GET', 'path': '/api/v1/nodes', 'query': 'watch=1'},
    'patch': {'method': 'PATCH', 'path': '/api/v1/nodes/.*'},
    'event': {'method': 'POST', 'path': '.*/events'},
}


@pytest.mark.parametrize('what', REQUESTS)
def test_wrong_answers(make, tls, what):
    """Each of the proxy's wrong answers, each to a program of its own; all at the same time."""
    cases = {answer: make(answer, tls) for answer in [*ANSWERS, *DEEDS]}
    for answer, case in cases.items():
        case.proxy.answer(answer, count=1 if answer in ('hang', 'endless', 'conflict') else 2, **REQUESTS[what])
        case.start(4)
    wait('the silence', lambda: any(one.faked for one in cases['hang'].proxy.requests))
    cases['hang'].proxy.drop()  # else it takes as long as the program is patient
    all_of(cases, recovered_once)


def all_of(cases, check):
    """Checks all at the same time, and tells of all that failed."""
    wrong = []

    def check_one(name):
        try:
            check(cases[name])
        except Exception as error:
            wrong.append(f'{name}: {type(error).__name__} {error}\n{cases[name].said()}')
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(check_one, cases))
    assert not wrong, '\n\n'.join(wrong)


def recovered_once(case):
    case.await_(4)
    assert any(one.faked for one in case.proxy.requests), 'the fault never came'
    assert case.n_versions(case.created) == 2  # labels, condition
    assert [one['count'] for one in case.events()] == [1]
    case.rests()
    assert len(case.warnings()) <= 4
    case.check_peak()


# --- connections are faulty ---

CONNECTIONS = {
    'down': lambda proxy: proxy.down(),
    'hang': lambda proxy: proxy.hang(),
    'slow': lambda proxy: proxy.slow(delay_s=0.2, bytes_per_s=20_000),
    'reset': lambda proxy: proxy.reset(),         # what is written is written, and its answer is lost
    'torn': lambda proxy: proxy.reset(after_bytes=700),
    'drop': lambda proxy: proxy.drop(),
}


def test_faulty_connections(make, tls):
    """By HTTP/2, and by HTTP/1.1."""
    cases = {f'{name}-{mode}': make(f'{name}-{mode}', keys) for name in CONNECTIONS for mode, keys in (('h2', None), ('h1', tls))}
    for case in cases.values():
        case.start(4)
    for name, case in cases.items():
        case.await_(4)
        case.hears('before')
        case.before = case.version()
        CONNECTIONS[name[:-3]](case.proxy)
        case.program.say(*case.want(8))
    time.sleep(1.5)  # some tries fail
    for name, case in cases.items():
        assert case.has(8) or name[:-3] != 'drop'
        assert not case.has(8) or name[:-3] not in ('down', 'hang')
        case.proxy.clear()
    all_of(cases, caught_up_once)


def caught_up_once(case):
    started = time.monotonic()
    case.await_(8)
    print(f'TIME {case.name}: {time.monotonic() - started:.1f} s')
    assert case.n_versions(case.before) == 2  # a try whose answer was lost, and its repetition, are one change
    assert sorted((one['message'], one['count']) for one in case.events()) == [('number 4', 1), ('number 8', 1)]
    case.rests()
    assert len(case.warnings()) <= 8
    case.check_peak()


def test_one_connection_serves_all(make):
    case = make('one', None).start(4)
    case.await_(4)
    case.hears('x')
    case.program.say(*case.want(8))
    case.await_(8)
    assert case.proxy.n_connections == 1


def storm(case, seconds):
    """Faults of all kinds, a quarter of a second each, while the agent has always something new to say."""
    case.start(0)
    case.await_(0)
    calm_kib, deadline, number = case.peak_kib(), time.monotonic() + seconds, 0
    kinds = [*CONNECTIONS.values(), lambda proxy: proxy.clear()]
    answers = [answer for answer in ANSWERS if answer != 'too-many']
    chance = random.Random(7)
    while time.monotonic() < deadline:
        number += 1
        case.proxy.clear()
        chance.choice(kinds)(case.proxy)
        case.proxy.answer(chance.choice(answers), method=chance.choice(('GET', 'PATCH', 'POST', '.*')))
        case.program.say(*case.want(number, ready=number % 2 == 0))
        time.sleep(0.25)
    case.proxy.clear()
    case.await_(number, 90)
    case.hears('after')
    case.rests('nodes')  # so many events are written at their own pace
    print(f'storm: {number} faults, {len(case.proxy.requests)} requests, {len(case.warnings())} warnings, '
          f'{calm_kib} -> {case.peak_kib()} KiB')
    case.check_peak()
    assert IS_ASAN or case.peak_kib() < calm_kib + (8 << 10)
    assert len(case.proxy.requests) < 40 * seconds
    assert len(case.warnings()) < 10 * seconds


def test_storm(make, tls):
    storm(make('x', tls), 5)


@pytest.mark.soak
def test_long_storm(make, tls):
    storm(make('x', tls), 60)


@pytest.mark.soak
def test_a_server_that_never_answers_is_left_in_time(make, tls):
    """Nothing resets the silent request: the program's own patience ends it."""
    cases = {what: make(what, tls) for what in REQUESTS}
    for what, case in cases.items():
        case.proxy.answer('hang', count=1, **REQUESTS[what])
        case.start(4)
    for case in cases.values():
        case.await_(4, 60)
        case.hears('x')
        case.rests()


# --- token and authority ---

def swap(path, text):
    """As the kubelet does it: whole or not at all."""
    new = path.with_suffix('.new')
    new.write_text(text)
    new.rename(path)


def account(api, name):
    """The path of a service account that may do everything."""
    rbac = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings'
    path = '/api/v1/namespaces/default/serviceaccounts'
    api.call(path, 'POST', {'metadata': {'name': name}})
    api.call(rbac, 'POST', {
        'metadata': {'name': name}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': 'cluster-admin'},
        'subjects': [{'kind': 'ServiceAccount', 'name': name, 'namespace': 'default'}]})
    return f'{path}/{name}'


def test_token_rotation(make, plane, tls):
    path = account(plane.api, 'faults')
    first, second, third = (plane.api.call(f'{path}/token', 'POST', {'spec': {'expirationSeconds': 600 + n}})['status']['token']
                            for n in range(3))
    case = make('x', tls)
    file, config = case.folder / 'token', case.folder / 'kubeconfig'
    file.write_text(first)
    made = json.loads(config.read_text())
    made['users'][0]['user'] = {'tokenFile': str(file)}
    config.write_text(json.dumps(made))
    case.start(4)
    case.await_(4)
    # Rotated in time: nobody notices.
    swap(file, second)
    case.program.say(*case.want(5))
    case.await_(5)
    assert case.proxy.requests[-1].headers['authorization'] == f'Bearer {second}' and not case.warnings()
    # Rotated too late: the server rejects the old one, which is logged once.
    before = case.version()
    swap(file, first[:-8] + 'A' * 8)
    case.proxy.drop()
    case.program.say(*case.want(6))
    wait('refused', lambda: sum(one.status == 401 for one in case.proxy.requests) >= 6)
    swap(file, '')
    wait('it is said', lambda: 'contains no token' in case.said())
    swap(file, third)
    case.await_(6)
    assert case.n_versions(before) == 2
    case.rests()
    assert len(case.warnings()) <= 8


def test_authority_rotation(make, tls):
    case = make('x', tls)
    case.start(4)
    case.await_(4)
    before = case.version()
    (case.folder / 'new').mkdir()
    pki.make(case.folder / 'new', 'localhost')
    case.proxy.inspect(str(case.folder / 'new/apiserver.crt'), str(case.folder / 'new/apiserver.key'), tls.ca)
    n_requests = case.proxy.mark()
    case.program.say(*case.want(5))
    wait('it is said', lambda: 'certificate' in case.said())
    assert case.proxy.mark() == n_requests  # no token goes to a server that is not known
    swap(case.authority, (case.folder / 'new/ca.crt').read_text())
    case.await_(5)
    assert case.n_versions(before) == 2
    case.rests()
    assert len(case.warnings()) <= 4


# --- the program dies ---

def test_restarts_write_nothing(make, tls):
    case = make('x', tls)
    case.start(4)
    case.await_(4)
    case.hears('x')
    before, mark, chance = case.version(), case.proxy.mark(), random.Random(3)
    wanted = case.want(4)[0]
    for _ in range(20):
        case.program.process.kill()
        case.program.end()
        case.program.start(wanted)
        time.sleep(chance.uniform(0, 0.15))
    case.program.await_news('read', lambda news: True)
    assert case.proxy.writes(mark) == [] and case.version() == before
    case.rests()


def test_nonsense_at_the_end_is_no_uninstallation(make, plane, tls):
    """Whether its DaemonSet is gone is asked when an agent ends. Only the API server itself says so."""
    cases = {answer: make(answer, tls) for answer in [*ANSWERS, *DEEDS]}
    _, pod = Objects(plane, 'any').daemonset('asked-for')
    for answer, case in cases.items():
        case.proxy.answer(answer, path='.*/daemonsets/.*')
        case.program.setup.update(namespace=NAMESPACE, pod=pod)
        case.start(4)
    all_of(cases, ends_and_keeps)
    # And it does say so.
    case = make('truly', tls)
    case.program.setup.update(namespace=NAMESPACE, pod=pod)
    case.start(4)
    case.await_(4)
    plane.api.call(f'/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/asked-for', 'DELETE')
    assert case.program.bye() < 3.5 and not case.has(4)


def ends_and_keeps(case):
    case.await_(4)
    case.hears('x')
    before = case.version()
    assert case.program.bye() < 3.5
    assert any(one.faked for one in case.proxy.requests) and case.version() == before


# --- a large cluster ---

def add_nodes(plane, numbers):
    """Nodes of 4 KiB."""
    def add(number):
        plane.api.call('/api/v1/nodes', 'POST', {'metadata': {
            'name': f'many-{number}', 'labels': {'many': ''}, 'annotations': {'example.com/much': f'{number:08d}' * 500}}})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, numbers))


def list_all(plane, config):
    """Lists every Node by kube-probe. (their number, the most memory it took in KiB)"""
    with subprocess.Popen([BUILD / 'tests/kube/kube-probe', '--kubeconfig', config], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as probe:
        probe.stdin.write('watch /api/v1/nodes\n')
        probe.stdin.flush()
        count = 0
        for line in probe.stdout:
            said = json.loads(line)
            if said['event'] == 'synced':
                break
            count += said['event'] == 'ADDED'
        status = Path(f'/proc/{probe.pid}/status').read_text()
        probe.stdin.close()
        return count, int(next(line.split()[1] for line in status.splitlines() if line.startswith('VmHWM')))


@pytest.mark.soak
def test_five_thousand_nodes(make, plane, tls):
    add_nodes(plane, range(500))
    few, few_kib = list_all(plane, plane.kubeconfig)
    add_nodes(plane, range(500, 5000))
    started = time.monotonic()
    many, many_kib = list_all(plane, plane.kubeconfig)
    print(f'{few} Nodes: {few_kib} KiB; {many} Nodes: {many_kib} KiB, {time.monotonic() - started:.2f} s')
    assert few >= 500 and many >= 5000 and many_kib < few_kib + (2 << 10)
    case = make('x', tls)
    case.start(4)
    case.await_(4)
    case.check_peak()
    plane.api.call('/api/v1/nodes?labelSelector=many', 'DELETE')


# --- a node that slices meanwhile: the agent of our chart on a real kubelet, which has its own way to the API server ---

ANSWERED = {
    'refused': lambda proxy: proxy.answer(name='unauthorized'),
    'unavailable': lambda proxy: proxy.answer(name='unavailable'),
    'nonsense': lambda proxy: proxy.answer(name='garbage-body'),
}


@pytest.fixture
def way(bed, agent):
    """The agents' way to the API server. At the end all is well again."""
    if agent.is_process():
        pytest.skip('a process of the node has no account at the API server')
    made = Remote(bed.folder / 'proxy.sock')
    yield made
    made.clear()
    made.pass_through()


def is_ready(agent):
    with urllib.request.urlopen(f"http://{agent.pod()['status']['podIP']}:19400/readyz", timeout=5) as answer:
        return answer.status == 200


def replicas_label(cluster):
    return cluster.api.call(cluster.node_path)['metadata']['labels'].get('nvidia.com/gpu.replicas')


def test_slicing_goes_on_while_the_api_is_faulty(cluster, agent, bed, way):
    agent.start(replicas(4))
    cluster.wait_allocatable(16)
    cluster.wait('the label', lambda: replicas_label(cluster) == '4')
    line = Timeline(cluster)
    for mode, faults in ('tcp', CONNECTIONS), ('tls', ANSWERED):
        if mode == 'tls':
            way.clear()
            way.inspect(cert=str(bed.pki / 'apiserver.crt'), key=str(bed.pki / 'apiserver.key'), ca=str(bed.pki / 'ca.crt'))
        for name, fault in faults.items():
            way.clear()
            fault(way)
            pods = [f'{name}-{number}' for number in range(2)]
            for pod in pods:
                cluster.create_pod(pod)
            cluster.wait_running(2)
            ids = cluster.held_ids()
            assert len(ids) == len(set(ids)) and set(pods) <= set(cluster.held()) and is_ready(agent)
            for pod in pods:
                cluster.delete_pod(pod)
    assert set(line.end('faults')) == {(16, 16)}
    # What the node offers does not depend on the API server either; the labels follow when it is reachable again.
    agent.configure(replicas(8))
    cluster.wait_allocatable(32, timeout=90)
    assert is_ready(agent) and replicas_label(cluster) == '4'
    way.clear()
    cluster.wait('the label', lambda: replicas_label(cluster) == '8', 60)
    assert not cluster.pods(phase='Failed')


def test_an_agent_that_starts_without_the_api_remembers(cluster, agent, way):
    """The Node's label chose a configuration before."""
    agent.configure(replicas(8), 'many')
    agent.start(replicas(4), 'config.default=any')
    cluster.wait_allocatable(16)
    try:
        cluster.label_node(CONFIG_LABEL, 'many')
        cluster.wait_allocatable(32)
        cluster.wait('the label', lambda: replicas_label(cluster) == '8')
        way.down()
        agent.mark()
        line = Timeline(cluster)
        agent.kill()
        started = time.monotonic()
        agent.wait_line('registered with the kubelet')
        print(f'TIME killed -> registered, without the API: {time.monotonic() - started:.2f} s')
        assert time.monotonic() - started < 20  # at once, with a busy machine's time
        cluster.settles((32, 32))
        assert {allocatable for _, allocatable in line.end('restart without the API')} <= {0, 32}
        assert is_ready(agent)
        way.clear()
        agent.wait_line('is reachable again|maintaining our Node', 60)
        cluster.stays((32, 32), cluster.node, seconds=1)
    finally:
        cluster.label_node(CONFIG_LABEL, None)
        agent.configure(None, 'many')  # of two configurations nothing would choose one for the next test
