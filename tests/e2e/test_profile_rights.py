# SPDX-License-Identifier: Apache-2.0
"""The chart's rights for SliceProfiles and their nodes are enough and none is too many: with any one verb taken away something of
it is missing, and the controller says why. The rights that it has without profiles are those of test_controller.py."""
import copy
import json
import signal
from types import SimpleNamespace

import pytest

import programs
from api import Api, Refused
from awskarpenter import EC2_CLASSES
from bed import wait
from controllers import SLICED
from karpenter import CLAIMS, OVERLAYS, POOLS, condition, render
from test_chart_rbac import without
from test_controller import NAMESPACE, PATIENCE, Replica, objects_of
from test_nodegates import AWS_CLASS, PROFILES, RIGHT, SLICES, TYPE, Node, annotate_class, create_class, serve_by_dra, serve_classes
from test_profiles import OLD, module

NAME = 'rights'
MAPS = f'/api/v1/namespaces/{NAMESPACE}/configmaps'
USER = f'system:serviceaccount:{NAMESPACE}:{NAME}-controller'
MANAGED, OF_MAP, PROFILE = {'app.kubernetes.io/managed-by': 'gpuslice-controller'}, 'gpuslice.dev/config-map', 'gpuslice.dev/profile'
GROUPS = {'sliceprofiles': 'gpuslice.dev', 'nodepools': 'karpenter.sh', 'nodeoverlays': 'karpenter.sh', 'nodeclaims': 'karpenter.sh',
          'ec2nodeclasses': 'karpenter.k8s.aws', 'resourceslices': 'resource.k8s.io', 'nodes': '', 'configmaps': ''}

# What is done about what there is when it starts, and about what comes later.
POOL = {'pool', 'class'}  # whose class promises twice
KEPT, LEFT = {'overlay', *POOL}, {'overlay of one that went', 'pool of one that went'}
MADE, UNMADE = {'profile of a ConfigMap'}, {'profile of a ConfigMap that went'}
SLOW = {'replaced', 'driver'}  # after seconds
NOT_TWICE = 'Waiting', 'OverlaysNotServed'  # what a profile waits for when all else is well: no Karpenter runs here
GATES = {'opened', *SLOW}
FIRST = {'status', *KEPT, *LEFT, *MADE, *UNMADE, *GATES}
LATER = {'later pool', 'later overlay', 'later class', 'later claim', 'later node', 'later driver'}
# case: what is missing without that verb, and the reason that the profile's condition Ready has then; None: only the log tells
CASES = {
    'all rights':                 (set(), None),
    'list sliceprofiles':         (FIRST, None),
    'watch sliceprofiles':        ({'replaced'}, None),
    'create sliceprofiles':       (MADE, None),
    'patch sliceprofiles':        (MADE, None),
    'delete sliceprofiles':       (UNMADE, None),
    'list configmaps':            (MADE | UNMADE, None),
    'watch configmaps':           (set(), None),
    'patch sliceprofiles/status': ({'status', 'replaced', *POOL}, None),
    'list nodeoverlays':          (KEPT | LEFT, 'Forbidden'),
    'watch nodeoverlays':         (set(), 'Forbidden'),
    'create nodeoverlays':        (KEPT, 'WriteFailed'),
    'patch nodeoverlays':         (KEPT, 'WriteFailed'),
    'delete nodeoverlays':        (LEFT, None),
    'list nodepools':             (KEPT | LEFT, 'Forbidden'),
    'watch nodepools':            (set(), 'Forbidden'),
    'create nodepools':           (POOL, 'WriteFailed'),
    'patch nodepools':            ({*POOL, 'pool of one that went'}, 'WriteFailed'),
    'delete nodepools':           ({'pool of one that went'}, None),
    'list nodeclaims':            (KEPT | LEFT, 'Forbidden'),
    'watch nodeclaims':           (set(), 'Forbidden'),
    'delete nodeclaims':          ({'replaced'}, None),
    'list ec2nodeclasses':        ({'class'}, None),
    'watch ec2nodeclasses':       (set(), None),
    'list resourceslices':        ({'driver'}, None),
    'watch resourceslices':       (set(), None),
    'list nodes':                 (GATES, None),
    'watch nodes':                ({'replaced'}, None),
    'patch nodes':                ({'opened'}, None),
}
# Without watch all is listed again and again, and there is a moment in which nothing seems to be missing.
BY_CHANCE = {**{case: KEPT | LEFT for case in ('watch nodeoverlays', 'watch nodepools', 'watch nodeclaims')},
             **{case: MADE | UNMADE for case in ('watch sliceprofiles', 'watch configmaps')}}


@pytest.fixture(scope='module')
def rights(plane):
    """The chart's objects, and the kinds that they are about."""
    crds = module(OLD) / 'pkg/apis/crds'
    files = programs.ROOT / 'deploy/helm/gpuslice/sliceprofiles.yaml', *(crds / f'karpenter.sh_{name}.yaml' for name in ('nodeclaims', 'nodeoverlays', 'nodepools'))
    plane.kubectl('apply', '--server-side', *(word for path in files for word in ('-f', path)))
    plane.await_kinds()
    serve_classes(plane)
    wait('default', lambda: plane.api.find('/api/v1/namespaces/default'))
    plane.api.call('/api/v1/namespaces', 'POST', {'metadata': {'name': NAMESPACE}})
    objects = [one for one in objects_of(NAME, profiles=True) if one['kind'] != 'Deployment']
    plane.kubectl('apply', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': objects}))
    token = plane.kubectl('-n', NAMESPACE, 'create', 'token', f'{NAME}-controller').strip()
    return SimpleNamespace(objects=objects, token=token)


def take(plane, objects, verb, resource):
    """The chart's rights, but for that."""
    paths = {'ClusterRole': 'clusterroles', 'Role': f'namespaces/{NAMESPACE}/roles'}
    for one in without(copy.deepcopy(objects), resource, verb):
        if one['kind'] in paths:
            plane.api.call(f"/apis/rbac.authorization.k8s.io/v1/{paths[one['kind']]}/{one['metadata']['name']}", 'PATCH', {'rules': one['rules']})
    for case in CASES:
        one = case.split()
        if case != 'all rights':
            wait(f'{case}: its right', lambda one=one: may(plane, *one) == (one != [verb, resource]), PATIENCE)


def may(plane, verb, resource):
    kind, _, part = resource.partition('/')
    asked = {'user': USER, 'resourceAttributes': {'namespace': NAMESPACE if kind == 'configmaps' else '', 'verb': verb, 'group': GROUPS[kind], 'resource': kind, 'subresource': part}}
    return plane.api.call('/apis/authorization.k8s.io/v1/subjectaccessreviews', 'POST', {
        'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SubjectAccessReview', 'spec': asked})['status']['allowed']


class World:
    """A profile with nodes, and what is left of another one that somebody deleted."""

    def __init__(self, plane, folder):
        self.plane, self.api = plane, plane.api
        self.profile = {'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': 'here'}, 'spec': {
            'instanceTypes': [TYPE], 'timeSlicing': {'replicas': 4, 'renameByDefault': True}, 'nodeClass': AWS_CLASS, 'repair': 'replace'}}
        self.path = f'{PROFILES}/here'
        self.node_class = create_class(plane, '4')
        template = self.rendered(folder, 'here')['NodePool'][0]['spec']['template']['metadata']
        self.pool = SimpleNamespace(name='here', template=template)
        gone = self.rendered(folder, 'gone')
        for path, kind in (POOLS, 'NodePool'), (OVERLAYS, 'NodeOverlay'):
            one, = gone[kind]
            one['metadata'].setdefault('labels', {}).update(MANAGED)
            self.api.call(path, 'POST', one)
        self.api.call(PROFILES, 'POST', self.profile)
        self.api.call(PROFILES, 'POST', {**self.profile, 'metadata': {'name': 'left-any', 'labels': {**MANAGED, OF_MAP: 'left'},
                                                                       'annotations': {f'{OF_MAP}-key': 'any', f'{OF_MAP}-namespace': NAMESPACE}}})
        self.api.call(MAPS, 'POST', {'metadata': {'name': 'map', 'labels': SLICED, 'annotations': {'gpuslice.dev/instance-types': TYPE}}, 'data': {
            'any': 'sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 3}]}}'}})
        self.right, self.never, self.twice = self.node('right', RIGHT), self.node('never', capacity='on-demand'), self.node('twice', RIGHT)
        self.late, self.later = self.node('late'), self.node('later', RIGHT)
        serve_by_dra(self.plane, self.twice)
        self.removed = set()

    def rendered(self, folder, name):
        return render(folder, {**self.profile, 'metadata': {'name': name}}, startup_taint=True)

    def node(self, name, counts=None, capacity='reserved'):
        """One that is not replaced."""
        return Node(self.plane, name, self.pool, counts=counts, capacity=capacity)

    def status(self):
        return self.api.call(self.path).get('status', {})

    def reason(self):
        ready = condition({'status': self.status()}, 'Ready')
        return ready and ready[1]

    def of(self, path, profile):
        return {one['metadata']['uid']: one['metadata']['name'] for one in self.api.call(f'{path}?labelSelector={PROFILE}={profile}')['items']}

    def seen(self):
        overlays, pools = self.of(OVERLAYS, 'here'), self.of(POOLS, 'here')
        n_claims = len(self.api.call(CLAIMS)['items'])
        return {what for what, is_so in {
            'status': self.reason(), 'overlay': overlays, 'pool': pools, 'class': self.reason() == 'PromisedTwice',
            'overlay of one that went': not self.of(OVERLAYS, 'gone'), 'pool of one that went': not self.of(POOLS, 'gone'),
            'profile of a ConfigMap': self.api.find(f'{PROFILES}/map-any'), 'profile of a ConfigMap that went': not self.api.find(f'{PROFILES}/left-any'),
            'opened': self.right.is_open(), 'replaced': not self.never.has_claim(), 'driver': self.twice.events('DoubleManagement'),
            'later pool': self.removed and pools and not self.removed & {*pools},
            'later overlay': self.removed and self.overlay in overlays.values() and not self.removed & {*overlays},
            'later class': self.removed and self.reason() in NOT_TWICE,
            'later claim': self.removed and self.status().get('nodes') == n_claims, 'later node': self.late.is_open(),
            'later driver': self.later.events('DoubleManagement')}.items() if is_so}

    def go_on(self):
        """What the controller is to notice while it runs."""
        overlays, pools = self.of(OVERLAYS, 'here'), self.of(POOLS, 'here')
        self.overlay = next(iter(overlays.values()), None)
        self.removed = {*overlays, *pools}
        self.late.advertise(**RIGHT)
        serve_by_dra(self.plane, self.later)
        annotate_class(self.plane, self.node_class, None)
        self.api.call(f'{CLAIMS}/of-later', 'DELETE')
        self.api.call(f'{OVERLAYS}?labelSelector={PROFILE}=here', 'DELETE')
        self.api.call(f'{POOLS}?labelSelector={PROFILE}=here', 'DELETE')

    def change(self):
        """The profile: its overlays of before stay as long as there are nodes of before."""
        self.api.call(self.path, 'PATCH', {'spec': {'timeSlicing': {'replicas': 2}}})
        wait('other overlays', lambda: len(self.of(OVERLAYS, 'here')) == 2, PATIENCE)

    def end(self):
        for path in '/api/v1/nodes', CLAIMS, SLICES, EC2_CLASSES, PROFILES, POOLS, OVERLAYS, f'{MAPS}?labelSelector=gpuslice.dev/slice-profile', '/api/v1/namespaces/default/events':
            self.api.call(path, 'DELETE')


@pytest.fixture
def world(plane, rights, tmp_path):
    made = World(plane, tmp_path)
    yield made
    made.end()


def refusal(log, resource):
    """The line in which it says what it must not do."""
    return next((line for line in log.read_text().splitlines() if 'RBAC forbids it' in line and resource.partition('/')[0] in line), None)


@pytest.mark.parametrize('case', CASES)
def test_what_works_without_one_verb(plane, rights, world, tmp_path, case):
    (missing, reason), (verb, resource) = CASES[case], case.split() if case != 'all rights' else (None, None)
    take(plane, rights.objects, verb, resource)
    expected = FIRST - missing - BY_CHANCE.get(case, set()) - (SLOW if resource and not missing & SLOW else set())
    own = Replica(plane, tmp_path, NAME, 'probe', '--profiles=keep', '--node-limit=1', token=rights.token)
    try:
        wait('what works', lambda: expected <= world.seen(), PATIENCE)
        if resource:
            wait('why the rest does not', lambda: refusal(own.log, resource) and (not reason or world.reason() == reason), PATIENCE)
        assert not missing & world.seen()
        if not resource:
            world.go_on()
            wait('what comes later', lambda: LATER <= world.seen(), PATIENCE)
            world.change()
            check_what_is_refused(plane, rights.token, world)
            assert 'RBAC' not in own.log.read_text()
    finally:
        own.end(signal.SIGTERM)


def check_what_is_refused(plane, token, world):
    """By the chart's admission policy: the rights alone would do."""
    api = Api(plane.port, plane.pki / 'ca.crt', token)
    node = world.node('another', RIGHT, 'on-demand')
    patches = {
        'label': {'metadata': {'labels': {'a': 'b'}}}, 'cordon': {'spec': {'unschedulable': True}},
        'taint': {'spec': {'taints': [{'key': 'x', 'effect': 'NoExecute'}]}}}
    for what, patch in patches.items():
        assert is_refused(lambda patch=patch: api.call(f'{node.path}?dryRun=All', 'PATCH', patch)), what
    assert is_refused(lambda: api.call(f'{CLAIMS}/of-right?dryRun=All', 'DELETE'))
    api.call(f'{CLAIMS}/of-{node.name}?dryRun=All', 'DELETE')


def is_refused(call):
    try:
        call()
    except Refused as refused:
        return 'denied request' in refused.text
    return False


def test_no_verb_of_the_chart_is_left_out():
    def verbs(**controller):
        return {(resource, verb) for one in objects_of('x', **controller) if one['kind'] in ('ClusterRole', 'Role')
                for rule in one['rules'] for resource in rule['resources'] for verb in rule['verbs']}
    tried = {tuple(reversed(case.split())) for case in CASES if case != 'all rights'}
    assert verbs(profiles=True) - verbs() == {one for one in tried if one[0] != 'nodes'}
