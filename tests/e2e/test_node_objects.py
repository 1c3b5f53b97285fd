# SPDX-License-Identifier: Apache-2.0
"""What gpuslice-nodesync does to the objects of a real API server. No kubelet: each test makes a Node by hand."""
import json
import shutil
import time
import urllib.request

import pytest

import pki
from api import Refused
from bed import wait
from clusterprogram import CONFIG_LABEL, ClusterProgram, config_of, state

NAMESPACE = 'gpus'
COUNT, PRODUCT = 'nvidia.com/gpu.count', 'nvidia.com/gpu.product'
GFD = {COUNT: '4', PRODUCT: 'Tesla-V100-SXM2-16GB', 'nvidia.com/gpu.sharing-strategy': ''}
OURS = 'gpuslice-node'
NFD_LABELS = 'nfd.node.kubernetes.io/feature-labels'
GROUP = '/apis/nfd.k8s-sigs.io/v1alpha1'
CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
FEATURES = {
    'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition',
    'metadata': {'name': 'nodefeatures.nfd.k8s-sigs.io'},
    'spec': {'group': 'nfd.k8s-sigs.io', 'scope': 'Namespaced',
             'names': {'kind': 'NodeFeature', 'plural': 'nodefeatures', 'singular': 'nodefeature'},
             'versions': [{'name': 'v1alpha1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': {
                 'type': 'object', 'properties': {'spec': {
                     'type': 'object', 'required': ['features'], 'properties': {
                         'labels': {'type': 'object', 'additionalProperties': {'type': 'string'}},
                         'features': {'type': 'object', 'required': ['attributes', 'flags', 'instances'],
                                      'x-kubernetes-preserve-unknown-fields': True}}}}}}}]}}
RULES = {  # what the program may need, one line for each thing that stops without it
    'nodes': ('', 'nodes', ['list', 'watch', 'patch']),
    'status': ('', 'nodes/status', ['patch']),
    'events': ('', 'events', ['create', 'patch']),
    'pods': ('', 'pods', ['get']),
    'daemonsets': ('apps', 'daemonsets', ['get']),
    'features': ('nfd.k8s-sigs.io', 'nodefeatures', ['get', 'create', 'patch', 'delete']),
}


class Objects:
    def __init__(self, plane, name):
        self.plane, self.api, self.name = plane, plane.api, name
        self.path = f'/api/v1/nodes/{name}'

    def node(self):
        return self.api.find(self.path)

    def meta(self):
        return self.node()['metadata']

    def labels(self):
        return self.meta().get('labels', {})

    def taints(self):
        return [(taint['key'], taint.get('value', ''), taint['effect']) for taint in self.node()['spec'].get('taints', [])]

    def condition(self):
        return next((one for one in self.node()['status'].get('conditions', []) if one['type'] == 'GPUSlicesReady'), None)

    def patch(self, body, path=''):
        return self.api.call(self.path + path, 'PATCH', body)

    def label(self, **more):
        return self.patch({'metadata': {'labels': more}})

    def await_(self, what, found, timeout=20):
        return wait(what, lambda: (found(node) if (node := self.node()) else False), timeout)

    def await_labels(self, labels, timeout=20):
        return wait(f'labels {labels}', lambda: labels.items() <= self.labels().items(), timeout)

    def events(self, kind='Node', name=None):
        items = self.api.call('/api/v1/events')['items']
        return [one for one in items if one['involvedObject'].get('kind') == kind
                and one['involvedObject']['name'] == (name or self.name)]

    def ensure(self, path, body):
        try:
            return self.api.call(path, 'POST', body)
        except Refused as refused:
            if refused.status != 409:
                raise
        return self.api.call(f"{path}/{body['metadata']['name']}")

    def namespace(self, name=NAMESPACE):
        self.ensure('/api/v1/namespaces', {'metadata': {'name': name}})
        self.ensure(f'/api/v1/namespaces/{name}/serviceaccounts', {'metadata': {'name': 'default'}})

    def pod(self, name, namespace=NAMESPACE, owner=None):
        self.namespace(namespace)
        return self.ensure(f'/api/v1/namespaces/{namespace}/pods', {
            'metadata': {'name': name, 'ownerReferences': [owner] if owner else []},
            'spec': {'containers': [{'name': 'main', 'image': 'none'}]}})

    def daemonset(self, name):
        """It and a pod of it, as a DaemonSet's controller would make one."""
        self.namespace()
        labels = {'app': name}
        made = self.ensure(f'/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets', {
            'metadata': {'name': name},
            'spec': {'selector': {'matchLabels': labels}, 'template': {
                'metadata': {'labels': labels}, 'spec': {'containers': [{'name': 'main', 'image': 'none'}]}}}})
        self.pod(f'{name}-x', owner={'apiVersion': 'apps/v1', 'kind': 'DaemonSet', 'name': name,
                                     'uid': made['metadata']['uid'], 'controller': True})
        return f'/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{name}', f'{name}-x'

    def limited(self, folder, *left_out):
        """A kubeconfig with RULES but these, and the path of its ClusterRole."""
        name = f'limited-{self.name}'
        rbac = '/apis/rbac.authorization.k8s.io/v1'
        self.namespace()
        self.ensure(f'/api/v1/namespaces/{NAMESPACE}/serviceaccounts', {'metadata': {'name': name}})
        rules = [{'apiGroups': [group], 'resources': [resource], 'verbs': verbs}
                 for key, (group, resource, verbs) in RULES.items() if key not in left_out]
        self.ensure(f'{rbac}/clusterroles', {'metadata': {'name': name}, 'rules': rules})
        self.ensure(f'{rbac}/clusterrolebindings', {
            'metadata': {'name': name}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': name},
            'subjects': [{'kind': 'ServiceAccount', 'name': name, 'namespace': NAMESPACE}]})
        token = self.api.call(f'/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token', 'POST',
                              {'spec': {}})['status']['token']
        target = folder / 'limited.kubeconfig'
        pki.kubeconfig(target, self.plane.address, self.plane.pki / 'ca.crt', token)
        return target, f'{rbac}/clusterroles/{name}'


@pytest.fixture
def objects(plane, request):
    made = Objects(plane, request.node.name.replace('_', '-').replace('[', '-').replace(']', '')[-50:].strip('-'))
    plane.api.call('/api/v1/nodes', 'POST', {'metadata': {'name': made.name, 'labels': {'zone': 'a'}}})
    yield made
    if made.node():
        plane.api.call(made.path, 'DELETE')


@pytest.fixture
def program(objects, tmp_path):
    made = ClusterProgram(tmp_path, objects.plane.kubeconfig, objects.name)
    yield made
    made.end()
    said = made.said() if made.log.exists() else ''
    print('--- gpuslice-nodesync:\n' + said)
    assert 'Sanitizer' not in said and 'runtime error' not in said


@pytest.fixture
def features(plane):
    """The CRD, without a controller."""
    plane.api.call(CRDS, 'POST', FEATURES)
    wait('the CRD', lambda: plane.api.find(GROUP))
    yield f'{GROUP}/namespaces/{NAMESPACE}/nodefeatures'
    plane.api.call(f'{CRDS}/nodefeatures.nfd.k8s-sigs.io', 'DELETE')
    wait('the CRD gone', lambda: not plane.api.find(GROUP))


def managers(meta, label):
    return {entry['manager'] for entry in meta['managedFields']
            if f'f:{label}' in entry['fieldsV1'].get('f:metadata', {}).get('f:labels', {})}


# --- labels ---

def test_labels_appear_change_and_vanish(objects, program):
    program.start(state(GFD, {'team': 'blue'}))
    objects.await_labels({**GFD, 'team': 'blue', 'zone': 'a'})
    program.say(state({COUNT: '8'}, {'team': 'green'}))
    objects.await_labels({COUNT: '8', 'team': 'green'})
    wait('the product gone', lambda: PRODUCT not in objects.labels())
    assert objects.labels()['zone'] == 'a'
    program.say(state(by='none', labels=GFD))
    wait('all gone', lambda: set(objects.labels()) == {'zone'})


def test_a_label_set_by_hand_wins(objects, program):
    objects.patch({'metadata': {'labels': {PRODUCT: 'by-hand'}}})
    program.start(state(GFD))
    objects.await_labels({COUNT: '4', PRODUCT: 'by-hand'})
    news = program.await_news('the label that is not ours', lambda news: news['labelsHeldByOthers'])
    assert len(news['labelsHeldByOthers']) == 1 and news['labelsHeldByOthers'][0].startswith(f'{PRODUCT} (')
    # Set while we run, on top of ours; and given back.
    objects.patch({'metadata': {'labels': {COUNT: '1'}}})
    program.await_news('the second', lambda news: len(news['labelsHeldByOthers']) == 2)
    assert objects.labels()[COUNT] == '1'
    objects.patch({'metadata': {'labels': {COUNT: None, PRODUCT: None}}})
    objects.await_labels(GFD)
    program.await_news('none is held', lambda news: not news['labelsHeldByOthers'])
    assert 'not setting labels that are owned by others' in program.said()


def test_a_label_older_than_all_managers_is_left_alone(objects, program):
    objects.patch({'metadata': {'labels': {COUNT: '1'}}})
    objects.patch({'metadata': {'managedFields': [{}]}})  # the server says whose it is when it refuses
    program.start(state(GFD))
    objects.await_labels({COUNT: '1', PRODUCT: GFD[PRODUCT]})
    news = program.await_news('the label that is not ours', lambda news: news['labelsHeldByOthers'])
    assert news['labelsHeldByOthers'] == [f'{COUNT} (before-first-apply)']
    assert 'cannot write' not in program.said()


def test_a_label_that_kubernetes_refuses_does_not_hold_up_the_others(objects, program):
    program.start(state({COUNT: '4', PRODUCT: 'x' * 64, 'no domain/x': '1'}))
    objects.await_labels({COUNT: '4'})
    wait('both are named', lambda: PRODUCT in program.said() and 'no domain/x' in program.said())


def test_a_restart_writes_nothing(objects, program):
    wanted = state(GFD, {'team': 'blue'}, [('nvidia.com/gpu', 'present', 'NoSchedule')], ready=True)
    program.start(wanted)
    objects.await_labels(GFD)
    objects.await_('all written', lambda node: node['spec'].get('taints') and objects.condition())
    program.await_news('read', lambda news: True)
    settled = wait('rest', lambda: (version := objects.meta()['resourceVersion']) and time.sleep(0.5)
                   or (version == objects.meta()['resourceVersion'] and version))
    before = {one['time'] for one in objects.meta()['managedFields'] if one['manager'] == OURS}
    time.sleep(1.1)  # a write from now on would show in those times
    assert program.drop() == 0
    for ending in (program.bye, program.drop):
        program.start(wanted)
        program.await_news('read', lambda news: True)
        ending()
    program.start(wanted)
    program.await_news('read', lambda news: True)
    program.say(wanted)
    assert objects.meta()['resourceVersion'] == settled
    # That the program has dealt with all of it is known when it tells of a change that comes after it.
    objects.label(**{CONFIG_LABEL: 'x'})
    program.await_news('the change', lambda news: config_of(news) == 'x')
    stamps = {one['time'] for one in objects.meta()['managedFields'] if one['manager'] == OURS}
    assert stamps == before


# --- taints ---

def test_taints_come_and_go_beside_those_of_others(objects, program):
    theirs = {'key': 'example.com/theirs', 'value': 'x', 'effect': 'NoSchedule'}
    same = {'key': 'nvidia.com/gpu', 'value': 'theirs', 'effect': 'NoSchedule'}
    objects.patch({'spec': {'taints': [theirs, same]}})
    a, b = ('gpuslice.dev/a', '', 'NoSchedule'), ('gpuslice.dev/b', '1', 'PreferNoSchedule')
    others = [('example.com/theirs', 'x', 'NoSchedule'), ('nvidia.com/gpu', 'theirs', 'NoSchedule')]
    program.start(state(taints=[a, b, ('nvidia.com/gpu', '', 'NoSchedule')]))
    wait('both added', lambda: objects.taints() == [*others, a, b])
    assert objects.meta()['annotations']['gpuslice.dev/taints'] == 'gpuslice.dev/a:NoSchedule,gpuslice.dev/b=1:PreferNoSchedule'
    objects.api.call(objects.path, 'PATCH', [{'op': 'add', 'path': '/spec/taints/-', 'value': {
        'key': 'example.com/late', 'effect': 'NoSchedule'}}], 'application/json-patch+json')
    program.say(state(taints=[('gpuslice.dev/b', '2', 'PreferNoSchedule')]))
    late = ('example.com/late', '', 'NoSchedule')
    wait('one gone, one changed', lambda: objects.taints() == [*others, ('gpuslice.dev/b', '2', 'PreferNoSchedule'), late])
    assert program.drop() == 0
    program.start(state())  # the next agent wants none, and knows by the annotation which were ours
    wait('ours gone', lambda: objects.taints() == [*others, late])
    assert 'gpuslice.dev/taints' not in objects.meta().get('annotations', {})


# --- the condition ---

def test_the_condition_flips_and_keeps_its_time_between(objects, program):
    program.start(state(ready=False, reason='ResourcesNotRegistered', message='one of two'))
    first = wait('the condition', objects.condition)
    assert (first['status'], first['reason'], first['message']) == ('False', 'ResourcesNotRegistered', 'one of two')
    time.sleep(1.1)  # the API keeps times in whole seconds
    program.say(state(ready=False, reason='ConfigurationRefused', message='x.yaml:3:1: no'))
    second = wait('the other reason', lambda: (one := objects.condition())['reason'] == 'ConfigurationRefused' and one)
    assert second['lastTransitionTime'] == first['lastTransitionTime']
    program.say(state(ready=True))
    third = wait('true', lambda: (one := objects.condition())['status'] == 'True' and one)
    assert third['lastTransitionTime'] > first['lastTransitionTime']
    program.say(state())
    wait('no GPU, no condition', lambda: not objects.condition())


# --- events ---

def test_events_reach_the_node_and_the_pods(objects, program):
    uid = objects.pod('trainer')['metadata']['uid']
    program.start(state())
    program.say_event('DeviceUnhealthy', 'GPU 0 fell off the bus', [(NAMESPACE, 'trainer'), (NAMESPACE, 'gone')])
    on_pod = wait('the event on the pod', lambda: objects.events('Pod', 'trainer'))[0]
    on_node = wait('the event on the Node', objects.events)[0]
    assert on_pod['involvedObject']['uid'] == uid and on_pod['metadata']['namespace'] == NAMESPACE
    for event in on_pod, on_node:
        assert (event['reason'], event['type'], event['count']) == ('DeviceUnhealthy', 'Warning', 1)
        assert event['source'] == {'component': OURS, 'host': objects.name}
    told = objects.plane.kubectl('describe', 'node', objects.name)
    assert 'GPU 0 fell off the bus' in told.partition('Events:')[2]
    told = objects.plane.kubectl('describe', 'pod', '-n', NAMESPACE, 'trainer')
    assert 'GPU 0 fell off the bus' in told.partition('Events:')[2]
    program.say_event('DeviceHealthy', 'GPU 0 is back', warning=False)
    wait('the second', lambda: {one['reason'] for one in objects.events()} == {'DeviceUnhealthy', 'DeviceHealthy'})
    assert not objects.events('Pod', 'gone')


def test_a_storm_of_events_is_counted_and_not_written_out(objects, program):
    program.start(state())
    for _ in range(10):
        for _ in range(50):
            program.say_event('DeviceUnhealthy', 'Xid 79')
        for n in range(50):
            program.say_event('ContainerRefused', f'container {n} wants too much')
    wait('the count', lambda: [one['count'] for one in objects.events() if one['message'] == 'Xid 79'] == [500], 60)
    wait('all others', lambda: sum(one['count'] for one in objects.events() if one['reason'] == 'ContainerRefused') == 500, 60)
    many = [one for one in objects.events() if one['reason'] == 'ContainerRefused']
    assert len(many) == 9 and sum(one['message'].startswith('(combined') for one in many) == 1
    versions = [int(one['metadata']['resourceVersion']) for one in objects.events()]
    assert max(versions) - min(versions) < 200  # of 1000


# --- node-feature-discovery ---

def named(program, pod=''):
    program.setup.update(namespace=NAMESPACE, pod=pod)
    return program


def serve(objects, labels):
    """As nfd-master does: what stands there with the right value gets no patch; the annotation names all."""
    missing = {key: value for key, value in labels.items() if objects.labels().get(key) != value}
    objects.api.call(f'{objects.path}?fieldManager=nfd-master', 'PATCH',
                     {'metadata': {'labels': missing, 'annotations': {NFD_LABELS: ','.join(['cpu-cpuid.AVX', *labels])}}})


def test_a_crd_alone_is_no_proof(objects, program, features):
    objects.namespace()
    named(program).start(state(GFD))
    feature = wait('the NodeFeature', lambda: objects.api.find(f'{features}/nvidia-features-for-{objects.name}'))
    assert feature['spec']['labels'] == GFD
    assert feature['metadata']['labels'] == {'nfd.node.kubernetes.io/node-name': objects.name}
    objects.await_labels(GFD)
    assert managers(objects.meta(), COUNT) == {OURS}


def test_labels_are_handed_over_to_nfd_and_taken_back(objects, program, features):
    daemonset, pod = objects.daemonset('agents')
    named(program, pod).start(state(GFD, {'team': 'blue'}))
    path = f'{features}/nvidia-features-for-{objects.name}'
    feature = wait('the NodeFeature', lambda: objects.api.find(path))
    assert [one['kind'] for one in feature['metadata']['ownerReferences']] == ['DaemonSet']
    objects.await_labels(GFD)
    lost = []  # a moment without a label would drive pods of other DaemonSets off
    version = objects.meta()['resourceVersion']
    serve(objects, GFD)
    wait('handed over', lambda: not managers(objects.meta(), COUNT))
    objects.await_labels({**GFD, 'team': 'blue'})
    assert managers(objects.meta(), 'team') == {OURS}
    for kind, node in objects.api.watch(f'/api/v1/nodes?fieldSelector=metadata.name%3D{objects.name}&resourceVersion={version}', 1):
        lost += [key for key in GFD if key not in node['metadata'].get('labels', {})]
    assert not lost
    # NFD sets what changes.
    program.say(state({**GFD, COUNT: '8'}, {'team': 'blue'}))
    wait('the NodeFeature changed', lambda: objects.api.find(path)['spec']['labels'][COUNT] == '8')
    serve(objects, {**GFD, COUNT: '8'})
    objects.await_labels({COUNT: '8'})
    # NFD is removed, with its labels.
    objects.patch({'metadata': {'labels': dict.fromkeys(GFD), 'annotations': {NFD_LABELS: None}}})
    objects.await_labels({**GFD, COUNT: '8'})
    assert managers(objects.meta(), COUNT) == {OURS}


def test_nfd_that_is_installed_later_is_found(objects, program, plane):
    objects.namespace()
    named(program).start(state(GFD))
    objects.await_labels(GFD)
    plane.api.call(CRDS, 'POST', FEATURES)
    try:
        wait('the CRD', lambda: plane.api.find(GROUP))
        objects.patch({'metadata': {'annotations': {NFD_LABELS: 'cpu-cpuid.AVX'}}})
        wait('the NodeFeature', lambda: objects.api.find(f'{GROUP}/namespaces/{NAMESPACE}/nodefeatures/nvidia-features-for-{objects.name}'))
    finally:
        plane.api.call(f'{CRDS}/nodefeatures.nfd.k8s-sigs.io', 'DELETE')
        wait('the CRD gone', lambda: not plane.api.find(GROUP))


# --- the end ---

def everything(program, objects):
    program.start(state(GFD, {'team': 'blue'}, [('gpuslice.dev/a', '', 'NoSchedule')], ready=True))
    objects.await_labels({**GFD, 'team': 'blue'})
    wait('the taint', lambda: any(one[0] == 'gpuslice.dev/a' for one in objects.taints()))
    wait('the condition', objects.condition)


def test_a_restart_keeps_and_an_uninstall_removes(objects, program, features):
    daemonset, pod = objects.daemonset('ending')
    feature = f'{features}/nvidia-features-for-{objects.name}'
    named(program, pod)
    everything(program, objects)
    wait('the NodeFeature', lambda: objects.api.find(feature))
    program.bye()
    objects.await_labels({**GFD, 'team': 'blue'}, 0)
    assert objects.condition() and objects.api.find(feature)
    everything(program, objects)
    objects.api.call(daemonset, 'DELETE', {'propagationPolicy': 'Foreground'})
    assert objects.api.find(daemonset)  # nobody collects it here: it is being deleted
    program.bye()
    assert set(objects.labels()) == {'zone'}
    assert not objects.condition() and not objects.api.find(feature)
    assert not any(one[0] == 'gpuslice.dev/a' for one in objects.taints())
    assert not objects.meta().get('annotations')
    assert 'uninstalled' in program.said()


def test_a_node_that_the_daemonset_does_not_choose_any_more_is_left_clean(objects, program):
    daemonset, pod = objects.daemonset('choosy')
    objects.api.call(daemonset, 'PATCH', {'spec': {'template': {'spec': {'nodeSelector': {'gpus': 'sliced'}}}}})
    objects.label(gpus='sliced')
    named(program, pod)
    everything(program, objects)
    program.bye()
    objects.await_labels({**GFD, 'team': 'blue', 'gpus': 'sliced'}, 0)
    everything(program, objects)
    objects.label(gpus=None, **{CONFIG_LABEL: 'any'})
    program.await_news('the label gone, with one that came', lambda news: config_of(news) == 'any')
    program.bye()
    assert set(objects.labels()) == {'zone', CONFIG_LABEL} and not objects.condition()


def test_the_agents_death_changes_nothing(objects, program):
    everything(program, objects)
    version = objects.meta()['resourceVersion']
    assert program.drop() == 0
    assert objects.meta()['resourceVersion'] == version


def test_nonsense_from_the_agent_ends_the_program(objects, program):
    program.start()
    program.say({'kind': 'state', 'labels': 7})
    assert program.process.wait(10) == 1
    assert 'labels should be a list' in program.said()


# --- trouble ---

@pytest.mark.parametrize('missing', ['status', 'events', 'pods', 'daemonsets', 'features'])
def test_one_refusal_does_not_stop_the_others(objects, program, features, tmp_path, missing):
    daemonset, pod = objects.daemonset(f'refused-{missing}')
    objects.pod('trainer')
    kubeconfig, role = objects.limited(tmp_path, missing)
    named(program, pod).setup['kubeconfig'] = str(kubeconfig)
    program.start(state(GFD, ready=True))
    program.say_event('DeviceUnhealthy', f'without {missing}', [(NAMESPACE, 'trainer')])
    objects.await_labels(GFD)
    if missing != 'status':
        wait('the condition', objects.condition)
    if missing != 'events':
        wait('the event', objects.events)
        wait('the event on the pod', lambda: [one for one in objects.events('Pod', 'trainer') if missing in one['message']])
    if missing != 'features':
        wait('the NodeFeature', lambda: objects.api.find(f'{features}/nvidia-features-for-{objects.name}'))
    if missing != 'daemonsets':  # asked for at the end only
        said = wait('it is said', lambda: '403' in program.said() and program.said())
        assert said.count('RBAC forbids') <= 3  # once for each thing, not for each try
    program.bye()
    objects.await_labels(GFD, 0)
    unknown = 'cannot determine whether this is an uninstall'
    assert (unknown in program.said()) == (missing == 'daemonsets')


def test_an_uninstall_does_not_wait_out_what_failed_before(objects, program, tmp_path):
    daemonset, pod = objects.daemonset('hurried')
    kubeconfig, role = objects.limited(tmp_path, 'status')
    named(program, pod).setup['kubeconfig'] = str(kubeconfig)
    program.start(state(GFD, ready=True))
    objects.await_labels(GFD)
    wait('the refusal', lambda: 'let our service account patch nodes/status' in program.said())
    time.sleep(5)  # the waits grow
    objects.api.call(role, 'PATCH', [{'op': 'add', 'path': '/rules/-', 'value': {
        'apiGroups': [''], 'resources': ['nodes/status'], 'verbs': ['patch']}}], 'application/json-patch+json')
    objects.api.call(daemonset, 'DELETE', {'propagationPolicy': 'Foreground'})
    program.bye()
    assert set(objects.labels()) == {'zone'} and not objects.condition()
    assert 'in time' not in program.said()


def test_a_right_that_is_given_later_is_used(objects, program, tmp_path):
    kubeconfig, role = objects.limited(tmp_path, 'status')
    program.setup['kubeconfig'] = str(kubeconfig)
    program.start(state(GFD, ready=True))
    wait('the refusal is said with what to do', lambda: 'let our service account patch nodes/status' in program.said())
    objects.api.call(role, 'PATCH', [{'op': 'add', 'path': '/rules/-', 'value': {
        'apiGroups': [''], 'resources': ['nodes/status'], 'verbs': ['patch']}}], 'application/json-patch+json')
    wait('the condition', objects.condition, 30)
    wait('it is said', lambda: 'writing to the cluster again' in program.said())


def test_an_api_server_that_dies_and_comes_back(objects, program, plane):
    program.start(state(GFD, ready=True))
    objects.await_labels(GFD)
    program.await_news('read', lambda news: True)
    plane.server.kill()
    program.say(state({COUNT: '8'}, ready=False, reason='ResourcesNotRegistered'))
    program.say_event('DeviceUnhealthy', 'said while nobody heard')
    wait('it is said', lambda: 'the API server is unreachable' in program.said())
    program.await_news('it is known', lambda news: not news['heard'] and not news['gone'])
    # What is older than this moment cannot be watched from any more: the program has to list again.
    etcd = f'http://127.0.0.1:{plane.port + 1}/v3/kv'
    revision = post(f'{etcd}/range', {'key': 'AA=='})['header']['revision']
    post(f'{etcd}/compaction', {'revision': revision, 'physical': True})
    plane.server_start()
    objects.await_labels({COUNT: '8'}, 40)
    wait('the condition', lambda: objects.condition()['status'] == 'False')
    wait('the event', objects.events, 40)
    assert program.said().count('the API server is unreachable') <= 3
    program.await_news('it is heard', lambda news: news['heard'])
    objects.label(**{CONFIG_LABEL: 'small'})
    program.await_news('the configuration chosen', lambda news: config_of(news) == 'small', 30)


def post(address, body):
    request = urllib.request.Request(address, json.dumps(body).encode(), {'Content-Type': 'application/json'})
    return json.load(urllib.request.urlopen(request, timeout=5))


# --- news ---

def test_news_of_the_node(objects, program):
    program.start(state())
    first = program.await_news('read', lambda news: True)
    assert config_of(first) is None and first['resources'] == []
    objects.label(**{CONFIG_LABEL: 'large'})
    program.await_news('the label', lambda news: config_of(news) == 'large')
    objects.patch({'status': {'capacity': {'nvidia.com/gpu': '16', 'example.com/many': '2000', 'cpu': '4'},
                              'allocatable': {'nvidia.com/gpu': '12', 'example.com/many': '2000', 'cpu': '4'}}}, '/status')
    news = program.await_news('the resources', lambda news: news['resources'])
    assert sorted((one['name'], one['capacity'], one['allocatable']) for one in news['resources']) == [
        ('example.com/many', 2000, 2000), ('nvidia.com/gpu', 16, 12)]
    objects.label(**{CONFIG_LABEL: None})
    program.await_news('the label gone', lambda news: config_of(news) is None)


def test_a_node_that_comes_late_or_anew(objects, program):
    objects.api.call(objects.path, 'DELETE')
    program.start(state(GFD, taints=[('gpuslice.dev/a', '', 'NoSchedule')], ready=True))
    wait('it is said', lambda: 'no Node of our name' in program.said())
    assert program.await_news('it is gone', lambda news: news['gone'])['heard']
    for _ in range(2):
        objects.api.call('/api/v1/nodes', 'POST', {'metadata': {'name': objects.name}})
        objects.await_labels(GFD)
        wait('the condition', objects.condition)
        wait('the taint', lambda: ('gpuslice.dev/a', '', 'NoSchedule') in objects.taints())
        program.await_news('it is there', lambda news: not news['gone'])
        objects.api.call(objects.path, 'DELETE')
        time.sleep(0.3)
        assert not objects.node()  # applying does not make one


def test_an_access_that_comes_late(objects, program, tmp_path):
    late = tmp_path / 'late.kubeconfig'
    program.setup['kubeconfig'] = str(late)
    program.start(state(GFD))
    program.say_event('DeviceUnhealthy', 'said while nobody could be told')
    wait('it is said', lambda: 'late.kubeconfig' in program.said())
    shutil.copy(objects.plane.kubeconfig, late)
    objects.await_labels(GFD)
    assert wait('the event', objects.events)[0]['message'] == 'said while nobody could be told'


def test_it_is_small(objects, program):
    program.start(state(GFD, ready=True))
    objects.await_labels(GFD)
    print(f'gpuslice-nodesync: {program.rss_kib()} KiB')
    assert program.rss_kib() < 40 << 10 or 'asan' in str(program.process.args)
