# SPDX-License-Identifier: Apache-2.0
"""Our labels with the real node-feature-discovery: its nfd-master, its CRDs, a real API server, no kubelet.

What nfd-master 0.19 does, which these tests rest on: it patches Nodes with JSON patches, regardless of a label's owner; it
looks at a Node when the spec of a NodeFeature changes, and else once an hour; it gives a label that stands there
with the right value no patch, but names it in its annotation; when a NodeFeature goes it removes what it had named.
"""
import json
import subprocess
import time

import pytest

import programs
from bed import ControlPlane, Program, wait
from clusterprogram import state
from test_node_objects import COUNT, GFD, NAMESPACE, NFD_LABELS, OURS, PRODUCT, Objects, managers, named, program  # noqa: F401

PORT = 26643
NFD = 'nfd-master'


@pytest.fixture(scope='module')
def plane():
    if not (programs.BIN / NFD).exists():
        pytest.skip(f'{NFD} is not built; `tests/e2e/bed build` does')
    made = ControlPlane(programs.FOLDER / 'nfd', PORT)
    try:
        made.up()
        made.kubectl('apply', '--server-side', '-f', programs.nfd_crds())
        made.api.call('/api/v1/namespaces', 'POST', {'metadata': {'name': 'node-feature-discovery'}})
        # nfd-master asks for the Node it runs on.
        made.api.call('/api/v1/nodes', 'POST', {'metadata': {'name': 'master', 'labels': {'kubernetes.io/hostname': 'master'}}})
        yield made
    finally:
        made.down()


class Master(Program):
    """nfd-master, outside of any pod."""

    def __init__(self, plane):
        super().__init__(plane.folder, NFD, 'env', 'NODE_NAME=master', 'KUBERNETES_NAMESPACE=node-feature-discovery',
                         programs.BIN / NFD, '-kubeconfig', plane.kubeconfig, '-port', PORT + 5, '-v', '2')

    @property
    def pid(self):
        """`env` has become nfd-master."""
        return self.child.pid if self.child and self.child.poll() is None else None

    def prune(self):
        """What NFD's uninstallation runs. A Node that changes meanwhile ends it, and its Job tries again."""
        self.end()
        for _ in range(5):
            done = subprocess.run([*self.argv, '-prune'], capture_output=True, text=True, timeout=60)
            if 'the object has been modified' not in done.stderr:
                break
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def master(plane):
    made = Master(plane)
    made.start()
    yield made
    made.end()
    print('--- nfd-master:\n' + made.tail(40))


@pytest.fixture
def objects(plane, request):
    made = Objects(plane, request.node.name.replace('_', '-'))
    plane.api.call('/api/v1/nodes', 'POST', {'metadata': {'name': made.name, 'labels': {'zone': 'a'}, 'annotations': {'a': 'b'}}})
    yield made
    plane.api.call(made.path, 'DELETE')


def named_by_nfd(objects):
    return set(objects.meta().get('annotations', {}).get(NFD_LABELS, '').split(','))


def history(objects, version):
    """Every state of the Node since `version`, until nothing came for a second."""
    watch = f'/api/v1/nodes?fieldSelector=metadata.name%3D{objects.name}&resourceVersion={version}'
    return [node for _, node in objects.api.watch(watch, 1)]


def settle(objects):
    """Awaits a second and a half in which the Node stays as it is: NFD works once a second."""
    def is_quiet():
        before = objects.meta()['resourceVersion']
        time.sleep(1.5)
        return objects.meta()['resourceVersion'] == before
    wait('nobody writes any more', is_quiet, 30)


def handed_over(objects, program):  # noqa: F811
    objects.namespace()
    named(program).start(state(GFD))
    objects.await_labels(GFD)
    version = objects.meta()['resourceVersion']
    wait('NFD names them', lambda: set(GFD) <= named_by_nfd(objects))
    wait('we hold none', lambda: OURS not in managers(objects.meta(), COUNT))
    return version


def test_labels_go_over_without_a_gap(objects, program, master):  # noqa: F811
    version = handed_over(objects, program)
    lost = [key for node in history(objects, version) for key in GFD if key not in node['metadata'].get('labels', {})]
    assert not lost
    settle(objects)
    objects.await_labels(GFD, 0)
    assert not program.await_news('it was told', lambda news: True)['labelsHeldByOthers']


def test_nfd_sets_what_changes(objects, program, master):  # noqa: F811
    handed_over(objects, program)
    settle(objects)
    version = objects.meta()['resourceVersion']
    program.say(state({**GFD, COUNT: '8'}))
    objects.await_labels({COUNT: '8'})
    settle(objects)
    writers = [managers(node['metadata'], COUNT) for node in history(objects, version)]
    assert all(OURS not in held for held in writers)
    wanted = {key: value for key, value in GFD.items() if key != COUNT}
    program.say(state(wanted))
    wait('the label gone', lambda: COUNT not in objects.labels())
    objects.await_labels(wanted, 0)


def test_nfd_that_is_removed_gives_them_back(objects, program, master):  # noqa: F811
    handed_over(objects, program)
    master.prune()
    objects.await_labels(GFD)
    assert managers(objects.meta(), COUNT) == {OURS}
    assert not objects.meta()['annotations'].get(NFD_LABELS)


def test_nfd_that_comes_later_takes_them_over(objects, program, master):  # noqa: F811
    master.end()
    objects.namespace()
    named(program).start(state(GFD))
    objects.await_labels(GFD)
    assert managers(objects.meta(), COUNT) == {OURS}
    master.start()
    wait('NFD names them', lambda: set(GFD) <= named_by_nfd(objects))
    wait('we hold none', lambda: OURS not in managers(objects.meta(), COUNT))
    objects.await_labels(GFD, 0)


@pytest.mark.soak
def test_nfd_that_died_is_not_waited_for(objects, program, master):  # noqa: F811
    """Its annotation stands, it even is the only holder of a label, and nobody acts on our NodeFeature any more."""
    handed_over(objects, program)
    program.say(state({**GFD, COUNT: '6'}))
    wait('NFD holds it alone', lambda: objects.labels()[COUNT] == '6' and managers(objects.meta(), COUNT) == {NFD})
    settle(objects)
    master.end()
    program.say(state({**GFD, COUNT: '8'}))
    objects.await_labels({COUNT: '8'}, 90)
    for count in '16', '2':
        program.say(state({**GFD, COUNT: count, PRODUCT: f'other-{count}'}))
        objects.await_labels({COUNT: count, PRODUCT: f'other-{count}'}, 5)
    objects.label(**{COUNT: 'by-hand'})
    program.say(state(GFD))
    objects.await_labels({PRODUCT: GFD[PRODUCT], COUNT: 'by-hand'})
    objects.label(**{COUNT: None})
    objects.await_labels(GFD)
    # It is back, and is relied on again.
    master.start()
    program.say(state({**GFD, COUNT: '12'}))
    objects.await_labels({COUNT: '12'})
    settle(objects)
    version = objects.meta()['resourceVersion']
    time.sleep(3)
    assert objects.meta()['resourceVersion'] == version, json.dumps(objects.meta()['managedFields'])


def test_an_uninstall_leaves_nothing(objects, program, master):  # noqa: F811
    daemonset, pod = objects.daemonset('leaving')
    program.setup['pod'] = pod
    objects.namespace()
    named(program, pod).start(state(GFD, {'team': 'blue'}))
    wait('NFD names them', lambda: set(GFD) <= named_by_nfd(objects))
    objects.api.call(daemonset, 'DELETE', {'propagationPolicy': 'Foreground'})
    program.bye()
    feature = f'/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/{NAMESPACE}/nodefeatures/nvidia-features-for-{objects.name}'
    assert not objects.api.find(feature)
    wait('all labels gone', lambda: set(objects.labels()) == {'zone'})
    wait('none is named', lambda: not objects.meta()['annotations'].get(NFD_LABELS))


def test_a_label_of_another_node_feature_wins(objects, program, master):  # noqa: F811
    """gpu-feature-discovery's own object, for one; the last by name decides, and nobody fights."""
    objects.namespace()
    objects.api.call(f'/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/{NAMESPACE}/nodefeatures', 'POST', {
        'apiVersion': 'nfd.k8s-sigs.io/v1alpha1', 'kind': 'NodeFeature',
        'metadata': {'name': f'zz-{objects.name}', 'labels': {'nfd.node.kubernetes.io/node-name': objects.name}},
        'spec': {'labels': {COUNT: '1'}, 'features': {'attributes': {}, 'flags': {}, 'instances': {}}}})
    objects.await_labels({COUNT: '1'})
    named(program).start(state(GFD))
    objects.await_labels({key: value for key, value in GFD.items() if key != COUNT})
    settle(objects)
    assert objects.labels()[COUNT] == '1'
    version = objects.meta()['resourceVersion']
    time.sleep(3)
    assert objects.meta()['resourceVersion'] == version, json.dumps(objects.meta()['managedFields'])
