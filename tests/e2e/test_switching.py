# SPDX-License-Identifier: Apache-2.0
"""From NVIDIA's chart to ours and back by Helm, while pods run: the plugin that we replace is a DaemonSet as NVIDIA's is."""
import re
import urllib.error
import urllib.request

import pytest
from agents import SYSTEM, replicas
from cluster import Timeline
from peerchart import PeerChart, matches
from test_install import chart, ours  # noqa: F401
from test_rivals import REGISTERED, registrations, slices


@pytest.fixture
def nvidia(cluster, chart):  # noqa: F811
    """Not installed yet; at the end it goes."""
    made = PeerChart(cluster, slices(chart))
    yield made
    if made.is_installed():
        made.uninstall()


def eight_on(cluster):
    cluster.wait_allocatable(16)
    cluster.deploy('demo', 8)
    cluster.wait_running(8)
    before = cluster.state()
    assert len(before) == 8 and all(len(ids) == 1 for _, ids in before.values())
    return before


def keep_and_grow(cluster, before, count):
    """
    The same processes hold the same ids, and new pods get others. What pods of an earlier configuration held is
    nobody's until three lists of the kubelet, 10 s apart, say that they ended while no agent ran.
    """
    cluster.settles((16, 16), timeout=60)
    cluster.keeps(before, seconds=1)
    cluster.scale('demo', count)
    cluster.wait_running(count)
    ids = cluster.held_ids()
    assert len(ids) == len(set(ids)) == count
    assert {key: value for key, value in cluster.state().items() if key in before} == before
    assert not cluster.pods(phase='Failed')


def readyz(agent):
    """(HTTP status, text)"""
    # The kubelet reports a pod's address after the pod itself has written its Node's condition.
    agent.cluster.wait("the agent's address", lambda: agent.pod()['status'].get('podIP'))
    address = agent.pod()['status']['podIP']
    try:
        with urllib.request.urlopen(f'http://{address}:19400/readyz', timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def event(cluster, reason, text=''):
    """The message of the Node's event with this text, once it is there."""
    def found():
        return [one['message'] for one in cluster.events('Node', cluster.bed.node_name)
                if one['reason'] == reason and text in one['message']]
    cluster.wait(f'an event {reason} with {text!r}', found)
    return found()[-1]


def condition_is(cluster, status, reason):
    cluster.wait(reason, lambda: cluster.condition('GPUSlicesReady') == (status, reason))


def go_over(cluster, chart, over, before, count):  # noqa: F811
    """`over` replaces the agent's pod: pods run on, and new ones get slices. What holds them then."""
    old = chart.pod()['metadata']['uid']
    over()
    chart.wait_pod(old)
    keep_and_grow(cluster, before, count)
    condition_is(cluster, 'True', 'AllResourcesRegistered')
    return cluster.state()


def test_over(cluster, chart, nvidia):  # noqa: F811
    nvidia.install()
    before = eight_on(cluster)

    # Both are installed: who served goes on, and we say what is wrong and what to do.
    chart.start(replicas(4))
    condition_is(cluster, 'False', 'ForeignDevicePlugin')
    pod = f'{SYSTEM}/{nvidia.pod_name()}'
    event(cluster, 'ForeignDevicePlugin', pod)
    status, text = readyz(chart)
    assert status == 503 and 'nvidia.com/gpu' in text and 'nvidia-gpu.sock' in text and pod in text
    assert pod in chart.said() and registrations(chart) == 0
    cluster.stays((16, 16), cluster.node, seconds=2)

    # Over.
    line = Timeline(cluster)
    with nvidia.log() as log:  # the kubelet removes it with the pod
        nvidia.uninstall()
        chart.wait_line(REGISTERED)
        keep_and_grow(cluster, before, 12)
        [(stopped, _)] = matches(log, '^stopped')
    line.end('over')
    with open(chart.logs('agent')[-1]) as log:
        registered, _ = matches(log, REGISTERED)[-1]
    print(f'TIME sockets gone -> registered: {registered - stopped:.3f} s')
    assert registered - stopped < 1
    condition_is(cluster, 'True', 'AllResourcesRegistered')
    assert event(cluster, 'ForeignDevicePluginGone')
    assert readyz(chart)[0] == 200


def test_back_with_both_installed(cluster, chart, nvidia):  # noqa: F811
    """
    NVIDIA's beside ours serves at once. When ours goes then, the kubelet takes that for the end of NVIDIA's, which is
    not told: it has to be restarted, and ours says so with its last words.
    """
    chart.start(replicas(4))
    before = eight_on(cluster)
    line = Timeline(cluster)
    nvidia.install()
    condition_is(cluster, 'False', 'ForeignDevicePlugin')
    cluster.scale('demo', 9)
    cluster.wait_running(9)
    assert nvidia.count('allocated') == 1 and registrations(chart) == 1
    assert {key: value for key, value in cluster.state().items() if key in before} == before
    before = cluster.state()
    with open(chart.logs('agent')[-1]) as log:
        chart.retire()
        [(_, last_words)] = matches(log, 'takes our shutdown for that of the device plugin')
    assert 'nvidia-gpu.sock' in last_words
    assert not ours(cluster.api.call(cluster.node_path))
    cluster.wait_allocatable(0)
    cluster.kubectl('-n', SYSTEM, 'delete', 'pod', nvidia.pod_name())
    keep_and_grow(cluster, before, 16)
    line.end('back, both installed')


def test_back_by_uninstalling_first(cluster, chart, nvidia):  # noqa: F811
    """As the guide says: in between the Node shows 0 allocatable, and pods run on."""
    chart.start(replicas(4))
    before = eight_on(cluster)
    line = Timeline(cluster)
    chart.retire()
    cluster.wait_allocatable(0)
    cluster.keeps(before, seconds=1)
    nvidia.install()
    keep_and_grow(cluster, before, 9)
    line.end('back, ours first')
    assert not ours(cluster.api.call(cluster.node_path))


def test_one_release_changes_its_chart(cluster, chart):  # noqa: F811
    """The guide's own command on a release of NVIDIA's chart."""
    nvidia = PeerChart(cluster, slices(chart), release='nvdp')
    chart.retire()
    nvidia.install()
    before = eight_on(cluster)
    chart.configure(replicas(4))
    line = Timeline(cluster)
    chart.install()
    chart.come()
    chart.wait_line(REGISTERED)
    keep_and_grow(cluster, before, 9)
    line.end('in place')
    cluster.wait("NVIDIA's DaemonSet is gone", lambda: not nvidia.is_installed())
    condition_is(cluster, 'True', 'AllResourcesRegistered')


def apply_labels(cluster, manager, **labels):
    cluster.api.call(f'{cluster.node_path}?fieldManager={manager}', 'PATCH', {'metadata': {'labels': labels}})


def test_labels_of_others_stay_and_are_named(cluster, chart):  # noqa: F811
    by_hand, by_nfd = 'nvidia.com/gpu.product', 'nvidia.com/gpu.memory'
    cluster.kubectl('label', '--overwrite', 'node', cluster.bed.node_name, f'{by_hand}=my-gpu')
    apply_labels(cluster, 'nfd-master', **{by_nfd: '1'})

    def labels():
        return cluster.api.call(cluster.node_path)['metadata']['labels']
    try:
        chart.start(replicas(4))
        cluster.wait('our labels', lambda: labels().get('nvidia.com/gpu.replicas') == '4')
        cluster.stays(('my-gpu', '1'), lambda: (labels()[by_hand], labels()[by_nfd]), seconds=2)
        chart.wait_line('not setting labels that are owned by others')
        said = [line for line in chart.said().splitlines() if 'not setting labels that are owned by others' in line][-1]
        assert re.search(rf'{by_hand} \(kubectl-label\)', said) and re.search(rf'{by_nfd} \(nfd-master\)', said)
        # Let go of, it becomes ours.
        cluster.kubectl('label', 'node', cluster.bed.node_name, f'{by_hand}-')
        cluster.wait('our label', lambda: labels().get(by_hand) == 'Tesla-V100-SXM2-16GB-SHARED')
        chart.retire()
        cluster.wait('no label of ours', lambda: by_hand not in labels())
        assert labels()[by_nfd] == '1'
    finally:
        apply_labels(cluster, 'test', **{by_hand: None, by_nfd: None})


def test_other_gpu_software_is_named(cluster, chart):  # noqa: F811
    pods = {'FeatureDiscoveryFound': 'nvdp-gpu-feature-discovery-x2x4z', 'MigManagerFound': 'nvidia-mig-manager-b5k7p'}
    for name in pods.values():
        cluster.create_pod(name, {})
    cluster.wait_running(2)
    chart.start(replicas(4))
    for reason, name in pods.items():
        assert f'default/{name}' in event(cluster, reason)
    condition_is(cluster, 'True', 'AllResourcesRegistered')
