# SPDX-License-Identifier: Apache-2.0
"""gpuslice-controller and the nodes of SliceProfiles, before a real API server: a node is open when it advertises what it was promised to have,
what is wrong is reported with its reason, and what never comes is replaced if the profile wants that."""
import contextlib
import os
import signal
import subprocess
import tempfile
import urllib.request

import pytest

import bed
import programs
from awskarpenter import EC2_CLASSES
from cluster import GPU
from karpenter import CLAIMS, NODE_CLASS, OVERLAYS, POOLS, condition, requirement
from test_controller import NAMESPACE, PATIENCE, PROGRAM, Election, stays
from test_profiles import OLD, module

PROFILES, SLICES = '/apis/gpuslice.dev/v1alpha1/sliceprofiles', '/apis/resource.k8s.io/v1/resourceslices'
SHARED, TYPE, STARTUP = 'nvidia.com/gpu.shared', 'g5.12xlarge', {'key': 'gpuslice.dev/not-ready', 'effect': 'NoSchedule'}
RIGHT = {GPU: 0, SHARED: 16}
ADVERTISES = 'gpuslice.dev/advertises'
LIMIT_S = 3  # what a node has, here
AWS_CLASS, DRA_SHARES = {'group': 'karpenter.k8s.aws', 'kind': 'EC2NodeClass', 'name': 'shared'}, 'karpenter.k8s.aws/nvidia-consumable-capacity'
TOLD_S, AGAIN_S = 5, 60  # a difference is reported within it; so long it may not ask for a kind that was not there
ALL_WELL = 'True', 'AllResourcesRegistered', '1 resource is registered with the kubelet'


@pytest.fixture(scope='module')
def plane(tmp_path_factory):
    if not (programs.BIN / 'kube-apiserver').exists():
        pytest.skip('tests/e2e/bed build was not run')
    if not PROGRAM.exists():
        pytest.skip(f'{PROGRAM} is not built')
    made = bed.ControlPlane(tmp_path_factory.mktemp('nodegates') / 'plane', 27943)
    crds = module(OLD) / 'pkg/apis/crds'
    try:
        made.up()
        files = programs.ROOT / 'deploy/helm/gpuslice/sliceprofiles.yaml', *(crds / f'karpenter.sh_{name}.yaml' for name in ('nodeclaims', 'nodeoverlays', 'nodepools'))
        made.kubectl('apply', '--server-side', *(word for path in files for word in ('-f', path)))
        made.await_kinds()
        made.api.call('/api/v1/namespaces', 'POST', {'metadata': {'name': NAMESPACE}})
        bed.wait('default', lambda: made.api.find('/api/v1/namespaces/default'))
        yield made
    finally:
        made.down()


@pytest.fixture(scope='module')
def channel():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # gpuslice-http is another user
        yield folder


@pytest.fixture(scope='module')
def election(plane, channel, tmp_path_factory):
    """One leader for all tests, that gives a node 3 s."""
    with Election(plane, tmp_path_factory.mktemp('election'), 'gates', '--profiles=keep', f'--node-limit={LIMIT_S}', f'--channel-dir={channel}') as made:
        made.start('a')
        made.await_leader()
        yield made


class Profile:
    """A SliceProfile of four slices for each GPU; the controller makes its NodePool and NodeOverlays."""

    def __init__(self, plane, name, **more):
        self.plane, self.api, self.name = plane, plane.api, name
        self.path, self.n_nodes = f'{PROFILES}/{name}', 0
        self.api.call(PROFILES, 'POST', {'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': name}, 'spec': {
            'instanceTypes': [TYPE], 'timeSlicing': {'replicas': 4, 'renameByDefault': True}, 'nodeClass': NODE_CLASS, **more}})
        self.template = self.await_template({})

    def await_template(self, than):
        """What Karpenter would give to new nodes."""
        def changed():
            pool = self.api.find(f'{POOLS}/{self.name}')
            metadata = pool and pool['spec']['template']['metadata']
            return metadata != than and metadata
        return bed.wait(f'the NodePool {self.name}', changed, PATIENCE)

    def change(self, **spec):
        self.api.call(self.path, 'PATCH', {'spec': spec})
        self.template = self.await_template(self.template)

    def overlays(self, node):
        """Those that were made for the state that the node is of."""
        state = self.api.call(node.path)['metadata']['labels']['gpuslice.dev/profile-hash']
        return [one for one in self.api.call(OVERLAYS)['items'] if state in one['metadata']['name']]

    def node(self, **more):
        self.n_nodes += 1
        return Node(self.plane, f'{self.name}-{self.n_nodes}', self, **more)

    def condition(self, kind='NodesAsPromised'):
        return condition(self.api.call(self.path), kind)

    def heed(self):
        """As Karpenter does with the overlays."""
        def heeded():
            for one in self.api.call(f'{OVERLAYS}?labelSelector=gpuslice.dev/profile={self.name}')['items']:
                self.api.call(f"{OVERLAYS}/{one['metadata']['name']}/status", 'PATCH', {'status': {'conditions': [
                    {'type': 'Ready', 'status': 'True', 'reason': 'x', 'message': '', 'lastTransitionTime': '2026-01-01T00:00:00Z'}]}})
            return self.is_kept()
        bed.wait(f'{self.name} to be Ready', heeded, PATIENCE)

    def is_kept(self):
        return (self.condition('Ready') or ())[:2] == ('True', 'Kept')

    def replaced(self):
        rows = self.api.call(self.path).get('status', {}).get('replacements', {}).get('types', [])
        return {one['instanceType']: one['nodeClaims'] for one in rows}


class Node:
    """As Karpenter makes one, with its NodeClaim. The kubelet and the agent are what the test writes; nobody deletes a node."""

    def __init__(self, plane, name, profile, capacity='on-demand', counts=None, taints=()):
        self.api, self.name, self.path = plane.api, name, f'/api/v1/nodes/{name}'
        labels = {**profile.template['labels'], 'node.kubernetes.io/instance-type': TYPE, 'karpenter.sh/nodepool': profile.name,
                  'karpenter.sh/capacity-type': capacity}
        claim = self.api.call(CLAIMS, 'POST', {'apiVersion': 'karpenter.sh/v1', 'kind': 'NodeClaim', 'metadata': {'name': f'of-{name}', 'labels': labels},
                                               'spec': {'nodeClassRef': NODE_CLASS, 'requirements': [requirement('node.kubernetes.io/instance-type', TYPE)]}})
        counts = {resource: str(count) for resource, count in (counts or {}).items()}
        self.api.call('/api/v1/nodes', 'POST', {
            'metadata': {'name': name, 'labels': labels, 'annotations': profile.template.get('annotations', {}), 'ownerReferences': [
                {'apiVersion': 'karpenter.sh/v1', 'kind': 'NodeClaim', 'name': f'of-{name}', 'uid': claim['metadata']['uid']}]},
            'spec': {'taints': [*taints, STARTUP]},
            'status': {'capacity': counts, 'allocatable': counts, 'conditions': [{'type': 'Ready', 'status': 'True'}]}})

    def advertise(self, **counts):
        counts = {resource: str(count) for resource, count in counts.items()}
        self.api.call(f'{self.path}/status', 'PATCH', {'status': {'capacity': counts, 'allocatable': counts}})

    def agent(self, status, reason, message='x', configured=None):
        self.api.call(f'{self.path}/status', 'PATCH', {'status': {'conditions': [
            {'type': 'Ready', 'status': 'True'}, {'type': 'GPUSlicesReady', 'status': status, 'reason': reason, 'message': message}]}})
        if configured is not None:
            self.api.call(self.path, 'PATCH', {'metadata': {'annotations': {ADVERTISES: configured}}})

    def taints(self):
        return [one['key'] for one in self.api.call(self.path)['spec'].get('taints', []) if not one['key'].startswith('node.kubernetes.io/')]

    def is_open(self):
        return STARTUP['key'] not in self.taints()

    def await_open(self):
        bed.wait(f'{self.name} to be open', self.is_open, PATIENCE)

    def events(self, reason):
        return events(self.api, self.name, reason)

    def await_event(self, reason):
        return bed.wait(f'{reason} of {self.name}', lambda: self.events(reason), PATIENCE)[0]

    def has_claim(self):
        return self.api.find(f'{CLAIMS}/of-{self.name}') is not None

    def go(self):
        """As Karpenter does it once the NodeClaim is deleted."""
        self.api.call(self.path, 'DELETE')


@pytest.fixture
def make(plane, election):
    """make(name, ...): a profile; all of it is gone with the test."""
    def new(name, **more):
        return Profile(plane, name, **more)
    yield new
    for path in '/api/v1/nodes', CLAIMS, SLICES, PROFILES, POOLS, OVERLAYS:
        plane.api.call(path, 'DELETE')


# The first one, since a leader that is young asks often for a kind that is not there.
def test_what_karpenter_believes_by_dra_is_told(plane, make, election, channel):
    """Where there are no EC2NodeClasses nothing is missing, and no line says so; when the first comes it is seen."""
    profile = make('by-dra', nodeClass=AWS_CLASS)
    profile.heed()
    assert 'ec2nodeclasses' not in election.await_leader().log.read_text()
    serve_classes(plane)
    path = create_class(plane, '4')

    def is_told():
        told = profile.condition('Ready')
        return told[:2] == ('False', 'PromisedTwice') and told[2]
    try:
        said = bed.wait('the first one', is_told, PATIENCE + AGAIN_S)
        assert said.startswith('EC2NodeClass shared: Karpenter promises the GPUs of the NodePool by-dra twice') and f'{DRA_SHARES}=4' in said
        bed.wait('its event', lambda: said in events(plane.api, 'by-dra', 'PromisedTwice'), TOLD_S)
        assert 'gpuslice_profile_ready{profile="by-dra"} 0' in page(channel, '/metrics')
        for shares in 'disabled', None:
            annotate_class(plane, path, shares)
            bed.wait('its end', profile.is_kept, TOLD_S)
            annotate_class(plane, path, '8')
            assert f'{DRA_SHARES}=8' in bed.wait('the annotation to be told', is_told, TOLD_S)
        plane.api.call(path, 'DELETE')
        bed.wait('the end of the class', profile.is_kept, TOLD_S)
    finally:
        plane.api.call(EC2_CLASSES, 'DELETE')


def serve_classes(plane):
    plane.kubectl('apply', '--server-side', '-f', module(OLD) / 'pkg/apis/crds/karpenter.k8s.aws_ec2nodeclasses.yaml')
    plane.await_kinds()


def create_class(plane, shares):
    """The class that NodePools with AWS_CLASS have; its path."""
    some = [{'tags': {'a': 'b'}}]
    plane.api.call(EC2_CLASSES, 'POST', {
        'apiVersion': 'karpenter.k8s.aws/v1', 'kind': 'EC2NodeClass', 'metadata': {'name': AWS_CLASS['name'], 'annotations': {DRA_SHARES: shares}},
        'spec': {'role': 'x', 'amiSelectorTerms': [{'alias': 'al2023@latest'}], 'subnetSelectorTerms': some, 'securityGroupSelectorTerms': some}})
    return f"{EC2_CLASSES}/{AWS_CLASS['name']}"


def annotate_class(plane, path, shares):
    plane.api.call(path, 'PATCH', {'metadata': {'annotations': {DRA_SHARES: shares}}})


def events(api, name, reason):
    return [one['message'] for one in api.call('/api/v1/namespaces/default/events')['items']
            if one['involvedObject']['name'] == name and one['reason'] == reason]


def test_a_node_is_open_when_the_numbers_are_right(make):
    profile = make('opens')
    node = profile.node(taints=[{'key': 'example.com/mine', 'effect': 'NoSchedule', 'value': 'x'}])
    ready = profile.node(counts=RIGHT)
    ready.await_open()  # by now the other one was judged, too
    assert not node.is_open()
    node.agent(*ALL_WELL)  # that it is well opens nothing
    node.advertise(**{SHARED: 4})
    said = node.await_event('Unknown')
    assert '16 promised, Karpenter believes 16, 4 advertised' in said and not node.is_open()
    bed.wait('the condition', lambda: profile.condition()[:2] == ('False', 'Unknown'), PATIENCE)
    node.advertise(**{SHARED: 16, GPU: 4})  # whole GPUs were not promised
    stays(lambda: not node.is_open())
    node.advertise(**RIGHT)
    node.await_open()
    assert node.taints() == ['example.com/mine']
    node.await_event('SlicesAsPromised')
    bed.wait('the condition', lambda: profile.condition()[:2] == ('True', 'AllAsPromised'), PATIENCE)


def test_reasons_are_told(plane, make, channel):
    profile = make('reasons')
    cases = {
        'DriverMissing': (('False', 'DriverNotAvailable', 'libnvidia-ml.so.1 is not there'), {}, 'libnvidia-ml'),
        'AnotherPlugin': (None, {GPU: 4}, 'another device plugin'),
        'GeometryFailed': (('True', 'MIGLayoutFailed', 'GPU 0 cannot have it'), {}, 'GPU 0'),
        'ConfiguredOtherwise': ((*ALL_WELL, 'nvidia.com/gpu.shared=8'), {SHARED: 8}, '16 promised, Karpenter believes 16, 8 configured, 8 advertised'),
        'NotAdvertised': ((*ALL_WELL, 'nvidia.com/gpu.shared=16'), {SHARED: 12}, '16 configured, 12 advertised'),
        'AgentNotRunning': (None, {}, 'no agent of gpuslice'),
    }
    nodes = {}
    for reason, (said, counts, _) in cases.items():
        nodes[reason] = profile.node(counts=counts)
        if said:
            nodes[reason].agent(*said)
    twice = profile.node(counts=RIGHT)
    serve_by_dra(plane, twice)
    for reason, node in nodes.items():
        assert cases[reason][2] in node.await_event(reason), reason
        assert not node.is_open(), reason
    assert 'gpu.nvidia.com' in twice.await_event('DoubleManagement') and twice.is_open()
    wrong = bed.wait('the condition', lambda: (one := profile.condition()) and one[2].startswith('7 of 7 nodes') and one, PATIENCE)
    assert wrong[0] == 'False' and 'reasons-1' in wrong[2]
    metrics = page(channel, '/metrics')
    assert f'gpuslice_controller_profile_node_wrong{{node="{twice.name}",reason="DoubleManagement"}} 1' in metrics
    assert 'gpuslice_controller_profile_nodes{profile="reasons",nodepool="reasons",state="short"} 6' in metrics
    assert 'gpuslice_controller_profile_nodes{profile="reasons",nodepool="reasons",state="open"} 1' in metrics


def serve_by_dra(plane, node):
    plane.api.call(SLICES, 'POST', {'metadata': {'name': f'of-{node.name}'}, 'spec': {
        'driver': 'gpu.nvidia.com', 'nodeName': node.name, 'pool': {'name': node.name, 'generation': 1, 'resourceSliceCount': 1}, 'devices': []}})


def page(channel, path):
    http = subprocess.Popen([PROGRAM.with_name('gpuslice-http'), f'--connect={channel}/controller.sock', '127.0.0.1:27950'])

    def get():
        with contextlib.suppress(OSError), urllib.request.urlopen(f'http://127.0.0.1:27950{path}', timeout=10) as answer:
            return answer.read().decode()
    try:
        return bed.wait(path, get, PATIENCE)
    finally:
        http.terminate()
        http.wait()


def test_what_karpenter_believes_is_compared(plane, make):
    profile = make('believes')
    node = profile.node(counts=RIGHT)
    node.await_open()
    plane.api.call(OVERLAYS, 'POST', {'apiVersion': 'karpenter.sh/v1alpha1', 'kind': 'NodeOverlay', 'metadata': {'name': 'stranger'}, 'spec': {
        'requirements': [requirement('node.kubernetes.io/instance-type', TYPE)], 'weight': 2000, 'capacity': {SHARED: '32'}}})
    said = node.await_event('BelievedOtherwise')
    assert 'NodeOverlay stranger' in said and '16 promised, Karpenter believes 32, 16 advertised' in said
    plane.api.call(f'{OVERLAYS}/stranger', 'DELETE')
    node.await_event('SlicesAsPromised')


@pytest.mark.parametrize('kept', ['overlays', 'annotation'])
def test_a_node_of_an_earlier_state_is_compared_with_that(plane, make, kept):
    profile = make(f'earlier-{kept}')
    earlier = profile.node()
    profile.change(timeSlicing={'replicas': 2, 'renameByDefault': True})
    if kept == 'annotation':  # without a NodeClaim nobody needs the overlays
        plane.api.call(f'{CLAIMS}/of-{earlier.name}', 'DELETE')
        bed.wait('no overlay', lambda: not profile.overlays(earlier), PATIENCE)
    else:
        assert profile.overlays(earlier)
    now = profile.node(counts={GPU: 0, SHARED: 8})
    now.await_open()
    earlier.advertise(**{GPU: 0, SHARED: 8})
    assert '16 promised' in earlier.await_event('AnotherPlugin') and not earlier.is_open()
    earlier.advertise(**RIGHT)
    earlier.await_open()


def test_what_never_comes_is_replaced_three_times(make):
    profile = make('replaces', repair='replace')
    reserved = profile.node(capacity='reserved')
    for n in range(1, 4):
        node, other = profile.node(), None
        if n == 1:
            other = profile.node()
        bed.wait('a NodeClaim to be deleted', lambda: not node.has_claim() or (other and not other.has_claim()), PATIENCE)
        if other:  # one at a time
            gone, left = (other, node) if node.has_claim() else (node, other)
            stays(left.has_claim)
            left.go()
            node = gone
        assert len(profile.replaced()[TYPE]) == n and f'of-{node.name}' in profile.replaced()[TYPE]
        node.await_event('Replaced')
        node.go()
    last = profile.node()
    assert 'three in a row' in last.await_event('NotReplaced') and last.has_claim()
    assert 'reserved' in reserved.await_event('NotReplaced') and reserved.has_claim()
    good = profile.node(counts=RIGHT)
    good.await_open()  # so it is worth trying again
    bed.wait('a replacement', lambda: not last.has_claim(), PATIENCE)
    assert profile.replaced() == {TYPE: [f'of-{last.name}']} and reserved.has_claim()


def test_who_takes_over_goes_on(plane, make, election):
    profile = make('takeover', repair='replace')
    first = election.await_leader()
    election.start('b')
    open_, closed, claimed = profile.node(), profile.node(), profile.node()
    first.end(signal.SIGKILL)
    written = {'status': {'replacements': {'observedGeneration': 1, 'types': [{'instanceType': TYPE, 'nodeClaims': [f'of-{claimed.name}']}]}}}
    plane.api.call(f'{profile.path}/status', 'PATCH', written)  # it was killed before it deleted it
    election.await_leader(first)
    bed.wait('the NodeClaim to be deleted', lambda: not claimed.has_claim(), PATIENCE)
    assert profile.replaced() == {TYPE: [f'of-{claimed.name}']} and closed.has_claim()  # one at a time
    open_.advertise(**RIGHT)
    open_.await_open()
    assert not closed.is_open()
