# SPDX-License-Identifier: Apache-2.0
"""A GPU breaks: its slices leave the node, and nobody else's."""
import re

from cluster import Timeline, gpus_of
from test_configuration import restart_kubelet
from test_restarts import eight


def told(cluster, agent, pods, sick):
    """Events on the Node and on the pods with a slice of the sick GPU, and on no other pod."""
    if agent.is_process():
        return  # it knows of no API server

    def has_event(kind, name):
        return any(one['reason'] == 'GPUUnhealthy' for one in cluster.events(kind, name))
    concerned = {pod for (pod, _), (_, ids) in pods.items() if sick in gpus_of(ids)}
    assert len(concerned) == 2
    cluster.wait('an event on the Node', lambda: has_event('Node', cluster.bed.node_name))
    for pod in concerned:
        cluster.wait(f'an event on {pod}', lambda pod=pod: has_event('Pod', pod))
    assert not [pod for pod, _ in pods if pod not in concerned and has_event('Pod', pod)]


def test_an_xid_takes_the_gpus_four_slices(cluster, agent):
    before, line = eight(cluster, agent), Timeline(cluster)
    agent.mark()
    agent.sim('inject', 'xid', 0, 79)
    print(f'TIME xid 79 -> 12: {cluster.wait_allocatable(12):.2f} s')
    assert cluster.node() == (16, 12)
    cluster.deploy('more', 8)
    cluster.wait('4 more fit', lambda: len(cluster.pods(phase='Running')) == 12)
    cluster.stays(4, lambda: len(cluster.pods(phase='Pending')))
    now = cluster.state()
    assert {key: now[key] for key in before} == before
    more = [one for (pod, _), (_, ids) in now.items() if pod.startswith('more') for one in ids]
    sick = re.search(r'GPU is Unhealthy" gpu=(\S+)', agent.said())[1]
    assert len(more) == 4 and sick not in gpus_of(more)
    told(cluster, agent, before, sick)
    agent.sim('inject', 'reset', 0)
    print(f'TIME reset -> 16: {cluster.wait_allocatable(16, timeout=90):.2f} s')
    line.end('xid')
    cluster.wait_running(16)
    assert len(set(cluster.held_ids())) == 16


def remembered(cluster):
    """What people find on the Node: an event, and the condition's message."""
    node = cluster.api.call(cluster.node_path)
    texts = [one['message'] for one in cluster.events('Node', cluster.bed.node_name) if one['reason'] == 'GPUUnhealthy']
    texts += [one['message'] for one in node['status']['conditions'] if one['type'] == 'GPUSlicesReady']
    return sum('XID 48' in text and 'DP_DISABLE_HEALTHCHECKS=48' in text for text in texts) == 2


def test_a_restarted_agent_reports_the_fault_that_it_remembers(cluster, agent):
    before = eight(cluster, agent)
    agent.sim('inject', 'xid', 0, 48)
    cluster.wait_allocatable(12)
    agent.kill()
    agent.resume()
    cluster.settles((16, 12))
    if not agent.is_process():
        cluster.wait('it on the Node', lambda: remembered(cluster))
    cluster.keeps(before, seconds=1)
    agent.sim('inject', 'reset', 0)
    cluster.wait_allocatable(16, timeout=90)


def test_kubelet_restart_with_a_sick_gpu(cluster, agent, bed):
    before = eight(cluster, agent)
    agent.sim('inject', 'xid', 1, 79)
    cluster.wait_allocatable(12)
    restart_kubelet(agent, bed)
    cluster.settles((16, 12))
    cluster.keeps(before, seconds=1)
