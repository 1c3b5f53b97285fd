# SPDX-License-Identifier: Apache-2.0
"""gpuslice-controller before a real API server: one of two replicas leads, evicts what a MIG layout waits for if it may, tells Nodes
what pods wait for, and another goes on where one is killed; the chart's rights are enough and none is too many."""
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

import bed
import pki
import programs
from api import Api, Refused
from test_chart_api import CHART, helm
from test_chart_rbac import without

BUILD = Path(os.environ.get('GPUSLICE_BUILD', programs.ROOT / 'build')).resolve()
PROGRAM = BUILD / 'src/gpuslice-controller'
NAMESPACE = 'gpus'
WORK = 'work'  # where the pods are
LEASE_S = 3
PATIENCE = 60  # until what should come has come
SHORT = 3      # that long, what must not come is awaited
WAITS, DRAIN = 'gpuslice.dev/mig-waits', 'gpuslice.dev/mig-drain'
POOL, DEMAND = 'gpuslice.dev/mig-names', 'gpuslice.dev/mig-names-demand'
GPU, SMALL = 'nvidia.com/gpu', 'nvidia.com/mig-1g.5gb'


def objects_of(name, **controller):
    """What the chart renders for the controller of a release of this name."""
    text = helm('template', 'nvdp', CHART, '--namespace', NAMESPACE, '--no-hooks',
                values={'fullnameOverride': name, 'controller': {'enabled': True, **controller}})
    return [one for one in yaml.safe_load_all(text) if one and f'{name}-controller' in one['metadata']['name']]


@pytest.fixture(scope='module')
def plane(tmp_path_factory):
    if not (programs.BIN / 'kube-apiserver').exists():
        pytest.skip('tests/e2e/bed build was not run')
    if not PROGRAM.exists():
        pytest.skip(f'{PROGRAM} is not built')
    made = bed.ControlPlane(tmp_path_factory.mktemp('controller') / 'plane', 26843).up()
    try:
        for name in (NAMESPACE, WORK):
            made.api.call('/api/v1/namespaces', 'POST', {'metadata': {'name': name}})
        made.api.call(f'/api/v1/namespaces/{WORK}/serviceaccounts', 'POST', {'metadata': {'name': 'default'}})
        bed.wait('default', lambda: made.api.find('/api/v1/namespaces/default'))
        yield made
    finally:
        made.down()


class Node:
    """A Node whose agent says what a layout waits for. No kubelet runs: an evicted pod stays, with its deletionTimestamp."""

    def __init__(self, plane, name, **annotations):
        self.api, self.name = plane.api, name
        self.path = f'/api/v1/nodes/{name}'
        self.api.call('/api/v1/nodes', 'POST', {'metadata': {
            'name': name, 'labels': {'nvidia.com/mig.config.state': 'pending'}, 'annotations': annotations}})
        self.api.call(f'{self.path}/status', 'PATCH', {'status': {'conditions': [{'type': 'Ready', 'status': 'True'}]}})
        self.pods = {}

    def pod(self, name, owner='Job', **annotations):
        """Runs on this Node, and belongs to a controller of that kind."""
        path = f'/api/v1/namespaces/{WORK}/pods'
        made = self.api.call(path, 'POST', {
            'metadata': {'name': name, 'labels': {'app': name}, 'annotations': annotations, 'ownerReferences': [
                {'apiVersion': 'batch/v1', 'kind': owner, 'name': name, 'uid': f'of-{name}', 'controller': True}] if owner else []},
            'spec': {'nodeName': self.name, 'automountServiceAccountToken': False, 'containers': [{'name': 'x', 'image': 'x'}]}})
        self.api.call(f'{path}/{name}/status', 'PATCH', {'status': {
            'phase': 'Running', 'conditions': [{'type': 'Ready', 'status': 'True'}]}})
        self.pods[name] = made['metadata']['uid']
        return name

    def annotate(self, **annotations):
        self.api.call(self.path, 'PATCH', {'metadata': {'annotations': annotations}})

    def wait_for(self, *names, **uids):
        """As the agent does it."""
        pods = [{'namespace': WORK, 'name': name, 'uid': uids.get(name, self.pods[name])} for name in names]
        self.annotate(**{WAITS: json.dumps({'layout': 'all-1g.5gb', 'gpus': [{'index': 0, 'uuid': 'GPU-0', 'pods': pods}]})
                         if names else None})

    def delete(self):
        self.api.call(self.path, 'DELETE')

    def is_evicted(self, name):
        found = self.api.find(f'/api/v1/namespaces/{WORK}/pods/{name}')
        return name in self.pods and (not found or 'deletionTimestamp' in found['metadata'])

    def events(self, reason):
        """Their messages."""
        return [one['message'] for one in self.api.call('/api/v1/namespaces/default/events')['items']
                if one['involvedObject']['name'] == self.name and one['reason'] == reason]


class Budget:
    """A disruption budget. Its controller does not run: how many pods may go is what we write."""

    def __init__(self, plane, name, allowed):
        self.api, self.path = plane.api, f'/apis/policy/v1/namespaces/{WORK}/poddisruptionbudgets'
        self.api.call(self.path, 'POST', {'metadata': {'name': name}, 'spec': {
            'minAvailable': 1, 'selector': {'matchLabels': {'app': name}}}})
        self.path += f'/{name}'
        self.allow(allowed)

    def allow(self, number):
        self.api.call(f'{self.path}/status', 'PATCH', {'status': {
            'observedGeneration': 1, 'disruptionsAllowed': number, 'currentHealthy': 1, 'desiredHealthy': 1, 'expectedPods': 1}})


class Replica:
    def __init__(self, plane, folder, release, identity, *flags, token='admin-token'):
        config = folder / f'{release}-{identity}.kubeconfig'
        pki.kubeconfig(config, plane.address, plane.pki / 'ca.crt', token)
        self.identity, self.log = identity, folder / f'{release}-{identity}.log'
        with open(self.log, 'w') as out:
            self.process = subprocess.Popen(
                [PROGRAM, f'--kubeconfig={config}', f'--namespace={NAMESPACE}', f'--lease={release}-controller',
                 f'--identity={identity}', f'--lease-duration={LEASE_S}', *flags], stderr=out)

    def end(self, number=signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


class Election:
    """Replicas of one release."""

    def __init__(self, plane, folder, name, *flags):
        self.plane, self.folder, self.name, self.flags, self.replicas = plane, folder, name, flags, {}

    def start(self, identity):
        self.replicas[identity] = Replica(self.plane, self.folder, self.name, identity, *self.flags)
        return self.replicas[identity]

    def lease(self):
        found = self.plane.api.find(f'/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{self.name}-controller')
        return found['spec'] if found else {}

    def leader(self):
        """Who is alive and has it."""
        replica = self.replicas.get(self.lease().get('holderIdentity'))
        return replica if replica and replica.process.poll() is None else None

    def await_leader(self, than=None):
        return bed.wait('a leader', lambda: (one := self.leader()) and one is not than and one, PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for replica in self.replicas.values():
            replica.end()


@pytest.fixture
def make_node(plane):
    """make_node(name, **annotations): gone with the test."""
    made = []

    def make(name, **annotations):
        made.append(Node(plane, name, **annotations))
        return made[-1]
    yield make
    for one in made:
        one.delete()


@pytest.fixture
def elect(plane, tmp_path, request):
    """elect(*flags): two replicas of a release that is this test's."""
    with contextlib.ExitStack() as stack:
        def make(*flags):
            election = stack.enter_context(Election(plane, tmp_path, re.sub('[^a-z]', '', request.node.name)[:40], *flags))
            election.start('a')
            election.start('b')
            return election
        yield make


class NameNode:
    """A Node of MIG devices under `single`; with `free` as its agent tells it of both names."""

    def __init__(self, plane, name, free=None, capacity=(GPU,), taints=()):
        self.api, self.name, self.path = plane.api, name, f'/api/v1/nodes/{name}'
        self.api.call('/api/v1/nodes', 'POST', {'metadata': {'name': name, 'labels': {
            'host': name, 'nvidia.com/mig.strategy': 'single', 'nvidia.com/gpu.product': 'A100-MIG-1g.5gb'}, 'annotations': {
                POOL: f'{GPU}={free},{SMALL}={free}'} if free is not None else {}}})
        self.api.call(self.path, 'PATCH', {'spec': {'taints': [*taints]}})  # it was made with that of a Node that is not ready yet
        self.api.call(f'{self.path}/status', 'PATCH', {'status': {
            'conditions': [{'type': 'Ready', 'status': 'True'}], 'capacity': {one: '7' for one in (capacity if free is None else (GPU, SMALL))}}})

    def demand(self):
        return self.api.call(self.path)['metadata'].get('annotations', {}).get(DEMAND)

    def delete(self):
        self.api.call(self.path, 'DELETE')


class Waiting:
    """A pod that the scheduler, which does not run here, found no Node for: that many seconds ago."""

    def __init__(self, plane, name, resource, age=0, **spec):
        self.api, self.name, self.path = plane.api, name, f'/api/v1/namespaces/{WORK}/pods'
        self.api.call(self.path, 'POST', {'metadata': {'name': name}, 'spec': {
            'automountServiceAccountToken': False, 'terminationGracePeriodSeconds': 0,
            'containers': [{'name': 'x', 'image': 'x', 'resources': {'limits': {resource: '1'}}}], **spec}})
        self.path += f'/{name}'
        since = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() - age))
        self.api.call(f'{self.path}/status', 'PATCH', {'status': {'conditions': [{
            'type': 'PodScheduled', 'status': 'False', 'reason': 'Unschedulable', 'lastTransitionTime': since}]}})

    def bind(self, node):
        self.api.call(f'{self.path}/binding', 'POST', {'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': self.name},
                                                       'target': {'apiVersion': 'v1', 'kind': 'Node', 'name': node}})

    def answers(self):
        return [one for one in self.api.call(f'/api/v1/namespaces/{WORK}/events')['items']
                if one['involvedObject']['name'] == self.name and one['reason'] == 'MIGNameOfOtherStrategy']

    def delete(self):
        self.api.call(f'{self.path}?gracePeriodSeconds=0', 'DELETE')


@pytest.fixture
def make(plane):
    """make(kind, name, ...): gone with the test."""
    made = []

    def one(kind, *arguments, **more):
        made.append(kind(plane, *arguments, **more))
        return made[-1]
    yield one
    for it in made:
        with contextlib.suppress(Refused):  # the test did
            it.delete()


def stays(what, seconds=SHORT):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert what()
        time.sleep(0.1)


# -- who leads ------------------------------------------------------------------------------------------------


def test_one_of_two_leads_and_the_other_takes_over(elect):
    election = elect()
    first = election.await_leader()
    stays(lambda: election.leader() is first, 2 * LEASE_S)
    assert election.lease()['leaseTransitions'] == 0
    first.end(signal.SIGKILL)
    second = election.await_leader(first)
    assert election.lease()['leaseTransitions'] == 1
    assert 'this replica leads' in second.log.read_text()


def test_who_is_ended_gives_it_up(elect):
    election = elect()
    first = election.await_leader()
    assert first.end(signal.SIGTERM) == 0
    assert election.lease()['holderIdentity'] != first.identity
    election.await_leader(first)


def test_who_was_stopped_for_too_long_does_nothing_more(plane, make_node, elect):
    """It wakes up as the leader that it was, with a drain under way."""
    node = make_node('stopped', **{DRAIN: 'allowed'})
    budget = Budget(plane, node.pod('stopped-a'), 0)
    election = elect()
    node.wait_for('stopped-a')
    first = election.await_leader()
    bed.wait('a refusal', lambda: node.events('MIGDrainBlocked'), PATIENCE)
    first.process.send_signal(signal.SIGSTOP)
    second = bed.wait('another leader', lambda: (one := election.leader()) and one is not first and one, PATIENCE)
    first.process.send_signal(signal.SIGCONT)
    bed.wait('it notices', lambda: 'no longer leads' in first.log.read_text(), PATIENCE)
    budget.allow(1)
    bed.wait('the eviction', lambda: node.is_evicted('stopped-a'), PATIENCE)
    assert election.leader() is second


# -- drains ---------------------------------------------------------------------------------------------------


def test_only_with_consent(plane, make_node, elect):
    node = make_node('consent')
    node.wait_for(node.pod('consent-a'))
    elect().await_leader()
    stays(lambda: not node.is_evicted('consent-a'))
    node.annotate(**{DRAIN: 'yes'})
    assert 'write allowed, forced or denied' in bed.wait('an event', lambda: node.events('MIGDrainUnclear'), PATIENCE)[0]
    assert not node.is_evicted('consent-a')
    node.annotate(**{DRAIN: 'allowed'})
    bed.wait('the eviction', lambda: node.is_evicted('consent-a'), PATIENCE)
    bed.wait('an event', lambda: node.events('MIGDrainEvicted'), PATIENCE)
    assert not node.api.call(node.path)['spec'].get('unschedulable'), 'a node that is drained for MIG stays in use'


def test_all_nodes_may_be_drained_but_one(plane, make_node, elect):
    one, other = make_node('all'), make_node('but-one', **{DRAIN: 'denied'})
    one.wait_for(one.pod('all-a'))
    other.wait_for(other.pod('but-one-a'))
    elect('--drain-for-mig=allowed').await_leader()
    bed.wait('the eviction', lambda: one.is_evicted('all-a'), PATIENCE)
    stays(lambda: not other.is_evicted('but-one-a'))


def test_a_budget_blocks_until_it_allows(plane, make_node, elect):
    node = make_node('budget', **{DRAIN: 'allowed'})
    budget = Budget(plane, node.pod('budget-a'), 0)
    node.wait_for('budget-a', node.pod('budget-b'))
    election = elect()
    election.await_leader()
    said, = bed.wait('an event', lambda: node.events('MIGDrainBlocked'), PATIENCE)
    assert 'work/budget-a' in said and 'all-1g.5gb' in said and 'disruption budget' in said
    bed.wait('the other pod', lambda: node.is_evicted('budget-b'), PATIENCE)
    assert not node.is_evicted('budget-a')
    budget.allow(1)
    bed.wait('the eviction', lambda: node.is_evicted('budget-a'), PATIENCE)


def test_a_drain_goes_on_with_the_next_leader(plane, make_node, elect):
    node = make_node('next', **{DRAIN: 'allowed'})
    budget = Budget(plane, node.pod('next-a'), 0)
    election = elect()
    node.wait_for('next-a')
    first = election.await_leader()
    bed.wait('a refusal', lambda: node.events('MIGDrainBlocked'), PATIENCE)
    first.end(signal.SIGKILL)
    budget.allow(1)
    bed.wait('the eviction', lambda: node.is_evicted('next-a'), PATIENCE)
    assert election.leader() is not first


def test_who_is_never_evicted(plane, make_node, elect):
    node, other = make_node('never', **{DRAIN: 'allowed'}), make_node('never-other')
    left = [node.pod('never-set', 'DaemonSet'), node.pod('never-static', None, **{'kubernetes.io/config.mirror': 'x'}),
            node.pod('never-bare', None), node.pod('never-marked', **{'karpenter.sh/do-not-disrupt': 'true'})]
    silent = [node.pod('never-renamed'), node.pod('never-unknown')]
    node.pods |= {other.pod('never-elsewhere'): other.pods['never-elsewhere']}
    node.wait_for(*left, *silent, 'never-elsewhere', node.pod('never-last'), **{'never-renamed': 'another', 'never-unknown': ''})
    elect().await_leader()
    bed.wait('the last', lambda: node.is_evicted('never-last'), PATIENCE)
    said = bed.wait('events', lambda: len(found := node.events('MIGDrainLeft')) >= len(left) and found, PATIENCE)
    for name in left:
        assert any(name in one for one in said)
    for name in [*left, *silent, 'never-elsewhere']:
        assert not node.is_evicted(name), name
    node.annotate(**{DRAIN: 'forced'})
    bed.wait('the bare pod', lambda: node.is_evicted('never-bare'), PATIENCE)
    assert not any(node.is_evicted(name) for name in left if name != 'never-bare')


def test_what_is_waited_for_no_more_is_left_alone(plane, make_node, elect):
    node = make_node('over', **{DRAIN: 'allowed'})
    budget = Budget(plane, node.pod('over-a'), 0)
    node.wait_for('over-a')
    elect().await_leader()
    bed.wait('a refusal', lambda: node.events('MIGDrainBlocked'), PATIENCE)
    node.wait_for()
    time.sleep(SHORT)  # a request may be under way
    budget.allow(1)
    stays(lambda: not node.is_evicted('over-a'), 2 * SHORT)


# -- what pods wait for ---------------------------------------------------------------------------------------


def test_one_node_is_told_of_each_pod_and_the_next_leader_goes_on(make, elect):
    far = make(NameNode, 'far', 7, taints=[{'key': 'team', 'effect': 'NoSchedule'}])
    one, other = make(NameNode, 'one', 2), make(NameNode, 'other', 2)
    election = elect()
    first = election.await_leader()
    pods = [make(Waiting, f'small-{n}', SMALL) for n in range(3)]
    bed.wait('what both are told', lambda: {one.demand(), other.demand()} == {f'{SMALL}=2', f'{SMALL}=1'}, PATIENCE)
    first.end(signal.SIGKILL)
    pods[0].delete()  # nobody leads now
    election.await_leader(first)
    bed.wait('one pod less', lambda: {one.demand(), other.demand()} in ({f'{SMALL}=2', None}, {f'{SMALL}=1'}), PATIENCE)
    make(Waiting, 'large', GPU, nodeSelector={'host': 'other'}, tolerations=[{'key': 'team', 'operator': 'Exists'}])
    make(Waiting, 'tolerant', GPU, nodeSelector={'host': 'far'}, tolerations=[{'key': 'team', 'operator': 'Exists'}])
    bed.wait('another name', lambda: GPU in (other.demand() or '') and far.demand() == f'{GPU}=1', PATIENCE)
    for pod in pods[1:]:
        pod.bind('one')
    bed.wait('what is left', lambda: (one.demand(), other.demand(), far.demand()) == (None, f'{GPU}=1', f'{GPU}=1'), PATIENCE)


def test_a_name_of_another_strategy_is_answered_once(make, elect):
    make(NameNode, 'single')
    asks = make(Waiting, 'asks', SMALL, age=60)
    served = make(Waiting, 'served', 'nvidia.com/mig-2g.10gb', age=60)
    election = elect()
    first = election.await_leader()
    [said] = bed.wait('the event', asks.answers, PATIENCE)
    assert said['message'].startswith(f'{SMALL} is a name of migStrategy: mixed') and 'the Node single has such devices as nvidia.com/gpu' in said['message']
    assert 'nvidia.com/gpu.product: A100-MIG-1g.5gb' in said['message'] and 'gpuslice.mig.names: both' in said['message']
    assert said['involvedObject']['uid'] == asks.api.call(asks.path)['metadata']['uid']
    first.end(signal.SIGKILL)
    second = election.await_leader(first)
    late = make(Waiting, 'late', SMALL, age=60)
    bed.wait('the event', late.answers, PATIENCE)
    assert 'pod=asks' in second.log.read_text()  # it looked at the first one, too
    assert len(asks.answers()) == 1 and asks.answers()[0]['count'] == 1 and not served.answers()


def test_no_answer_while_some_node_could_serve_it(make, elect):
    make(NameNode, 'single')
    whole = make(NameNode, 'strange', capacity=(SMALL,))
    whole.api.call(whole.path, 'PATCH', {'metadata': {'labels': {'nvidia.com/mig.strategy': None}}})  # as another plugin may leave it
    patient = make(Waiting, 'patient', SMALL, age=60)
    fixed = make(Waiting, 'fixed', SMALL, age=60, nodeSelector={'host': 'single'})
    elect().await_leader()
    bed.wait('the event of the pod that is bound to the other', fixed.answers, PATIENCE)
    stays(lambda: not patient.answers(), 1)


# -- what it tells --------------------------------------------------------------------------------------------


def test_its_pages(plane, make_node, tmp_path):
    node = make_node('pages', **{DRAIN: 'allowed'})
    Budget(plane, node.pod('pages-a'), 0)
    node.wait_for('pages-a', node.pod('pages-b'))
    with tempfile.TemporaryDirectory() as channel, Election(plane, tmp_path, 'pages', f'--channel-dir={channel}') as election:
        os.chmod(channel, 0o755)  # gpuslice-http is another user
        election.start('a')
        http = subprocess.Popen([BUILD / 'src/gpuslice-http', f'--connect={channel}/controller.sock', '127.0.0.1:26850'])

        def page(path):
            try:
                with urllib.request.urlopen(f'http://127.0.0.1:26850{path}', timeout=10) as answer:
                    return answer.read().decode()
            except OSError:
                return ''
        try:
            bed.wait('a leader', lambda: 'this replica leads' in page('/readyz'), PATIENCE)
            assert page('/healthz') == 'ok\n'
            bed.wait('an eviction', lambda: 'evictions_total{result="accepted"} 1' in page('/metrics') and
                     'drain_pods{state="blocked"} 1' in page('/metrics'), PATIENCE)
            metrics = page('/metrics')
            assert 'gpuslice_controller_leader 1' in metrics and 'gpuslice_controller_terms_total 1' in metrics
            assert 'gpuslice_controller_draining_nodes 1' in metrics
        finally:
            http.terminate()
            http.wait()


# -- rights ---------------------------------------------------------------------------------------------------

TOLD = {'told', 'told again'}
ALL = {'leads', 'stays leader', 'evicted', 'another node is seen', 'event', 'event has its pod', 'event is counted', *TOLD}
WORKS = ALL - {'leads', 'stays leader'}
# case: (resource, verb) taken away, and what is missing then
CASES = {
    'all rights':          (None, None, set()),
    'list nodes':          ('nodes', 'list', WORKS),
    'watch nodes':         ('nodes', 'watch', {'another node is seen'}),
    'patch nodes':         ('nodes', 'patch', TOLD),
    'get pods':            ('pods', 'get', WORKS - TOLD),
    'list pods':           ('pods', 'list', TOLD),
    'watch pods':          ('pods', 'watch', {'told again'}),
    'create evictions':    ('pods/eviction', 'create', {'evicted', 'another node is seen', 'event', 'event has its pod', 'event is counted'}),
    'create events':       ('events', 'create', {'event', 'event has its pod', 'event is counted'}),
    'patch events':        ('events', 'patch', {'event is counted'}),
    'create leases':       ('leases', 'create', ALL),
    'get leases':          ('leases', 'get', ALL),
    'update leases':       ('leases', 'update', {'stays leader'}),
}
# Without watch the Nodes and pods are listed again and again; without update it leads for a moment, and again when that is over.
BY_CHANCE = {'watch nodes': {'another node is seen'}, 'watch pods': {'told again'}, 'update leases': WORKS}


class Case:
    """One after the other: a controller drains every Node of the cluster."""

    def __init__(self, plane, folder, title):
        self.plane, self.api, self.folder, self.title = plane, plane.api, folder, title
        self.resource, self.verb, self.missing = CASES[title]
        self.name, self.seen = f'rights-{[*CASES].index(title)}', set()
        self.log = folder / f'{self.name}-probe.log'

    def objects(self):
        # The pods of a Deployment are nobody's here, and its Role names the release's own Lease.
        return without([one for one in objects_of(self.name) if one['kind'] != 'Deployment'], self.resource, self.verb)

    def look(self):
        election = Election(self.plane, self.folder, self.name)
        lease = election.lease()
        node = [one for one in self.api.call('/api/v1/events')['items'] if one['source'].get('host') == 'probe' and
                one['involvedObject']['name'] in (self.first.name, f'{self.name}-a', f'{self.name}-b')]
        now = {
            'leads': lease.get('holderIdentity') == 'probe',
            'stays leader': lease.get('renewTime', '') > lease.get('acquireTime', '~'),
            'evicted': self.first.is_evicted(f'{self.name}-b'),
            'another node is seen': self.second.is_evicted(f'{self.name}-c'),
            'event': any(one['involvedObject']['kind'] == 'Node' for one in node),
            'event has its pod': any(one['involvedObject']['kind'] == 'Pod' and one['involvedObject'].get('uid') for one in node),
            'event is counted': any(one.get('count', 1) > 1 for one in node),
            'told': bool(self.pool.demand()),
            'told again': self.pool.demand() == f'{SMALL}=2',
        }
        self.seen |= {what for what, is_so in now.items() if is_so}

    def run(self):
        self.plane.kubectl('apply', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': self.objects()}))
        self.first, self.second = Node(self.plane, self.name, **{DRAIN: 'allowed'}), Node(self.plane, f'{self.name}-x', **{DRAIN: 'allowed'})
        Budget(self.plane, self.first.pod(f'{self.name}-a'), 0)
        self.first.wait_for(f'{self.name}-a', self.first.pod(f'{self.name}-b'))
        self.pool, self.waiting = NameNode(self.plane, f'{self.name}-pool', 7), [self.wait()]
        token = self.plane.kubectl('-n', NAMESPACE, 'create', 'token', f'{self.name}-controller').strip()
        replica = Replica(self.plane, self.folder, self.name, 'probe', token=token)
        expected, deadline = ALL - self.missing - BY_CHANCE.get(self.title, set()), time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline and not (expected <= self.seen and self.is_refused() == bool(self.missing)):
                self.look()
                if expected - {'another node is seen', 'told again'} <= self.seen and WAITS not in self.annotations():
                    self.second.wait_for(self.second.pod(f'{self.name}-c'))
                    self.waiting.append(self.wait())
                time.sleep(0.2)
            self.look()
        finally:
            replica.end()
            for one in (self.first, self.second, self.pool, *self.waiting):
                one.delete()
        return self

    def is_refused(self):
        """And what was refused does not come any more."""
        return 'RBAC' in self.log.read_text()

    def wait(self):
        return Waiting(self.plane, f'{self.name}-{time.monotonic_ns()}', SMALL, nodeSelector={'host': f'{self.name}-pool'})

    def annotations(self):
        return self.api.call(self.second.path)['metadata'].get('annotations', {})


@pytest.mark.parametrize('title', CASES)
def test_what_works_without_one_verb(plane, tmp_path, title):
    case = Case(plane, tmp_path, title).run()
    said = case.log.read_text()
    by_chance = BY_CHANCE.get(title, set())
    assert case.seen - by_chance == ALL - case.missing - by_chance, said
    assert case.is_refused() == (title != 'all rights'), said


def test_no_verb_of_the_chart_is_left_out():
    verbs = {(resource, verb) for one in objects_of('x') for rule in one.get('rules', [])
             for resource in rule['resources'] for verb in rule['verbs']}
    assert verbs == {(resource, verb) for resource, verb, _ in CASES.values() if resource}


class Bound:
    """Who has the controller's token, with the rights and the policies of the chart."""

    def __init__(self, plane, name, **controller):
        objects = [one for one in objects_of(name, **controller) if one['kind'] != 'Deployment']
        assert {one['kind'] for one in objects} >= {'ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'}
        plane.kubectl('apply', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': objects}))
        token = plane.kubectl('-n', NAMESPACE, 'create', 'token', f'{name}-controller').strip()
        self.api = Api(plane.port, plane.pki / 'ca.crt', token)

    def call(self, path, method, body=None):
        """Why it is refused; '' = it is not."""
        try:
            self.api.call(path, method, body)
        except Refused as refused:
            return refused.text
        return ''

    def patch(self, path, body):
        return self.call(path, 'PATCH', body)

    def await_policy(self, path, words):
        bed.wait('the policy', lambda: words in self.patch(path, {'metadata': {'labels': {'x': str(time.monotonic_ns())}}}), PATIENCE)


def test_of_a_node_it_writes_one_annotation(plane, make):
    node = make(NameNode, 'bound', 7, taints=[{'key': 'team', 'effect': 'NoSchedule'}])
    bound = Bound(plane, 'bound')
    bound.await_policy(node.path, 'changes no label')
    for body in ({POOL: 'x'}, {POOL: None}):
        assert 'changes no annotation' in bound.patch(node.path, {'metadata': {'annotations': body}})
    for body in ({'taints': []}, {'unschedulable': True}):
        assert 'taint' in bound.patch(node.path, {'spec': body})
    for value in (f'{SMALL}=1', f'{SMALL}=2', None):
        assert bound.patch(node.path, {'metadata': {'annotations': {DEMAND: value}}}) == ''
        assert node.demand() == value


def test_with_profiles_it_takes_the_startup_taint_too(plane, make):
    startup, team, more = ({'key': key, 'effect': 'NoSchedule'} for key in ('gpuslice.dev/not-ready', 'team', 'more'))
    node = make(NameNode, 'starting', 7, taints=[startup, team])
    bound = Bound(plane, 'starting', profiles=True)
    bound.await_policy(node.path, 'changes no label')
    for taints in ([startup], [], [startup, team, more], [team, more]):
        assert 'and no other' in bound.patch(node.path, {'spec': {'taints': taints}})
    assert 'other part' in bound.patch(node.path, {'spec': {'unschedulable': True}})
    assert bound.patch(node.path, {'metadata': {'annotations': {DEMAND: f'{SMALL}=1'}}}) == ''
    assert bound.patch(node.path, {'spec': {'taints': [team]}}) == ''
    assert 'and no other' in bound.patch(node.path, {'spec': {'taints': [startup, team]}})


KARPENTER = {'nodepools': ('NodePool', 'v1'), 'nodeclaims': ('NodeClaim', 'v1'), 'nodeoverlays': ('NodeOverlay', 'v1alpha1')}
OURS = {'app.kubernetes.io/managed-by': 'gpuslice-controller', 'gpuslice.dev/profile': 'ts'}


def make_kind(plane, plural):
    """A kind of Karpenter's by name, whatever is in it."""
    kind, version = KARPENTER[plural]
    plane.api.call('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', 'POST', {
        'metadata': {'name': f'{plural}.karpenter.sh', 'annotations': {'api-approved.kubernetes.io': 'unapproved'}},
        'spec': {'group': 'karpenter.sh', 'scope': 'Cluster', 'names': {'kind': kind, 'plural': plural}, 'versions': [{
            'name': version, 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': {
                'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}}}]}})
    bed.wait(plural, lambda: plane.answers(f'/apis/karpenter.sh/{version}/{plural}'), PATIENCE)


def karpenters(plural, name='', labels=None, **more):
    """(path, object)"""
    kind, version = KARPENTER[plural]
    return f'/apis/karpenter.sh/{version}/{plural}' + (f'/{name}' if name else ''), {
        'apiVersion': f'karpenter.sh/{version}', 'kind': kind, 'metadata': {'name': name, 'labels': labels or {}}, **more}


def test_of_karpenters_objects_it_writes_what_profiles_say(plane):
    for plural in KARPENTER:
        make_kind(plane, plural)

    def make_one(api, plural, name, labels=None, **more):
        path, made = karpenters(plural, name, labels, **more)
        return api(path.rpartition('/')[0], 'POST', made)
    spec = {'limits': {'cpu': '5'}, 'template': {'metadata': {}, 'spec': {'requirements': [{'key': 'a', 'operator': 'Exists'}]}}}
    theirs, own = (karpenters('nodepools', name)[0] for name in ('theirs', 'ts'))
    make_one(plane.api.call, 'nodepools', 'theirs', spec=spec)
    bound = Bound(plane, 'pooled', profiles=True)
    bound.await_policy(theirs, 'no metadata')

    # Somebody's pool: what a profile adds, and the end of a consent, which is not its to give.
    for body in ({'template': {'metadata': {'labels': {'a': 'b'}, 'annotations': {'c': 'd'}}}},
                 {'template': {'spec': {'startupTaints': [{'key': 'gpuslice.dev/not-ready', 'effect': 'NoSchedule'}], 'taints': []}}}):
        assert bound.patch(theirs, {'spec': body}) == ''
    for body in ({'limits': {'cpu': '0'}}, {'disruption': {}}, {'template': {'spec': {'requirements': []}}}):
        assert 'only labels' in bound.patch(theirs, {'spec': body})
    assert bound.patch(theirs, {'metadata': {'annotations': {'gpuslice.dev/applied': '{}'}}}) == ''
    assert 'consent' in bound.patch(theirs, {'metadata': {'annotations': {'gpuslice.dev/consent': 'x'}}})
    plane.api.call(theirs, 'PATCH', {'metadata': {'annotations': {'gpuslice.dev/consent': 'x'}}})
    assert bound.patch(theirs, {'metadata': {'annotations': {'gpuslice.dev/consent': None}}}) == ''
    assert 'of its own' in bound.call(theirs, 'DELETE')

    # Its own: all, and an end only where it starts no more nodes.
    assert 'of its own' in make_one(bound.call, 'nodepools', 'ts', spec=spec)
    assert make_one(bound.call, 'nodepools', 'ts', OURS, spec=spec) == ''
    assert 'starting nodes' in bound.call(own, 'DELETE')
    assert bound.patch(own, {'metadata': {'annotations': {'gpuslice.dev/retired': 'true'}}, 'spec': {'limits': {'cpu': '0'}}}) == ''
    assert bound.call(own, 'DELETE') == ''

    overlays = {name: karpenters('nodeoverlays', name)[0] for name in ('ts-1', 'other')}
    make_one(plane.api.call, 'nodeoverlays', 'other')
    assert make_one(bound.call, 'nodeoverlays', 'ts-1', OURS) == ''
    assert bound.patch(overlays['ts-1'], {'spec': {'weight': 2}}) == bound.call(overlays['ts-1'], 'DELETE') == ''
    assert 'of its own' in bound.patch(overlays['other'], {'spec': {'weight': 2}})
    assert 'of its own' in bound.call(overlays['other'], 'DELETE')

    # SliceProfiles: those that it makes of ConfigMaps.
    plane.kubectl('apply', '--server-side', '-f', programs.ROOT / 'deploy/helm/gpuslice/sliceprofiles.yaml')
    profiles = '/apis/gpuslice.dev/v1alpha1/sliceprofiles'
    bed.wait('sliceprofiles', lambda: plane.answers(profiles), PATIENCE)
    one = {'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'spec': {'gpuNames': ['v100'], 'timeSlicing': {'replicas': 4}}}
    plane.api.call(profiles, 'POST', {**one, 'metadata': {'name': 'somebodys'}})
    assert 'of its own' in bound.call(profiles, 'POST', {**one, 'metadata': {'name': 'p-any'}})
    assert bound.call(profiles, 'POST', {**one, 'metadata': {'name': 'p-any', 'labels': OURS}}) == ''
    assert bound.patch(f'{profiles}/p-any', {'spec': {'maxNodes': 2}}) == bound.call(f'{profiles}/p-any', 'DELETE') == ''
    assert 'of its own' in bound.patch(f'{profiles}/somebodys', {'spec': {'maxNodes': 2}})
    assert 'of its own' in bound.call(f'{profiles}/somebodys', 'DELETE')

    capacity, profile = 'karpenter.sh/capacity-type', {'gpuslice.dev/profile': 'ts'}
    for name, labels, refused in (('a', {**profile, capacity: 'spot'}, False), ('b', {**profile, capacity: 'reserved'}, True),
                                  ('c', profile, True), ('d', {capacity: 'spot'}, True)):
        make_one(plane.api.call, 'nodeclaims', name, labels)
        said = bound.call(karpenters('nodeclaims', name)[0], 'DELETE')
        assert ('none of reserved capacity' in said) == refused, (name, said)


def test_its_pods_meet_restricted(plane):
    deployment = next(one for one in objects_of('level') if one['kind'] == 'Deployment')
    plane.api.call('/api/v1/namespaces', 'POST', {'metadata': {'name': 'level', 'labels': {
        'pod-security.kubernetes.io/warn': 'restricted'}}})
    deployment['metadata']['namespace'] = 'level'
    done = subprocess.run([programs.clients() / 'kubectl', f'--kubeconfig={plane.kubeconfig}', 'create', '--dry-run=server', '-f', '-'],
                          input=json.dumps(deployment), text=True, capture_output=True)
    assert done.returncode == 0 and 'would violate' not in done.stderr, done.stderr
