# SPDX-License-Identifier: Apache-2.0
"""Grants beside a real kubelet: its own checkpoint says which pod has which grant, and the agent's log agrees."""
import base64
import json
import os
import re
import signal
import sys
from pathlib import Path

import grpc
from agents import replicas
from bed import GRANTS
from test_rivals import REGISTERED, SERVES, peer, slices  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / 'proto'), str(ROOT / 'tests/integration')]
pb, _ = grpc.protos_and_services('deviceplugin/v1beta1/api.proto')

from grantlog import Ledger  # noqa: E402

CHECKPOINT = Path('/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint')
GPU = 'nvidia.com/gpu'
ANNOTATION = 'gpuslice.dev/grant.nvidia.com.gpu'


def entries(with_pod=False):
    """(container, device ids, grant) for each entry of the kubelet's checkpoint; with_pod, the pod's UID comes first."""
    for entry in json.loads(CHECKPOINT.read_text())['Data']['PodDeviceEntries'] or ():
        answer = pb.ContainerAllocateResponse.FromString(base64.b64decode(entry['AllocResp']))
        ids = [i for node in entry['DeviceIDs'].values() for i in node]
        found = entry['ContainerName'], ids, answer.annotations.get(ANNOTATION)
        yield (entry['PodUID'], *found) if with_pod else found


def grants_of_pods():
    """(pod UID, device id): grant."""
    return {(pod, i): grant for pod, _, ids, grant in entries(with_pod=True) for i in ids}


def log_of(agent):
    return agent.folder / 'grants/grants-v1.log' if agent.is_process() else GRANTS / 'grants-v1.log'


def held():
    return {i: grant for _, ids, grant in entries() for i in ids}


def agree(cluster, agent, count):
    """The kubelet's books and the log, once the former are written."""
    cluster.wait(f'{count} grants in the checkpoint', lambda: len(held()) == count)
    found = held()
    assert all(found.values())
    assert found.items() <= Ledger(log_of(agent)).holders.items()
    return found


def test_restarts_change_no_grant(cluster, agent, bed):
    agent.start(replicas(4))
    cluster.wait_allocatable(16)
    cluster.deploy('demo', 4)
    cluster.wait_running(4)
    before = agree(cluster, agent, 4)
    agent.mark()
    agent.upgrade()
    bed.kubelet.kill()
    bed.kubelet.start()
    agent.wait_line('grants loaded')
    cluster.settles((16, 16))
    cluster.scale('demo', 5)
    cluster.wait_running(5)
    after = agree(cluster, agent, 5)
    assert before.items() <= after.items()
    assert 'adopted' not in agent.said()


def test_a_restarted_container_keeps_its_grant(cluster, agent):
    """The kubelet reuses its cached answer: nobody asks us."""
    agent.start(replicas(4))
    cluster.wait_allocatable(16)
    cluster.deploy('demo', 4)
    cluster.wait_running(4)
    before, grants = agree(cluster, agent, 4), set(Ledger(log_of(agent)).grants)
    assert set(before.values()) <= grants

    def status():
        [found] = [one['status']['containerStatuses'][0] for one in cluster.pods() if one['metadata']['name'] == pod]
        return found
    state = cluster.state()
    (pod, name), (pid, ids) = sorted(state.items())[0]
    container = status()['containerID']
    os.kill(pid, signal.SIGKILL)
    cluster.wait('another container', lambda: status()['restartCount'] == 1 and 'running' in status()['state'], 60)
    assert status()['containerID'] != container
    cluster.wait('its process', lambda: (pod, name) in cluster.state())
    now = cluster.state()
    assert now[pod, name][0] != pid and now[pod, name][1] == ids
    assert {key: now[key] for key in now if key[0] != pod} == {key: state[key] for key in state if key[0] != pod}
    assert agree(cluster, agent, 4) == before
    assert set(before.values()) <= set(Ledger(log_of(agent)).grants) <= grants


def adopted(agent):
    """{id: its grant}, of those that the log calls adopted."""
    path = log_of(agent)
    grants = Ledger(path).grants.values() if path.exists() else ()
    return {i: grant.id for grant in grants if grant.adopted for i in grant.ids}


def count_adopted(agent):
    found = re.search(r'^gpuslice_grants_adopted (\d+)$', agent.metrics(), re.M)
    return found and int(found[1])


def test_what_another_plugin_gave_is_adopted(cluster, agent, peer):  # noqa: F811
    """It goes while pods run with its devices, and we serve the same ones. They are free when those pods are gone."""
    log_of(agent).unlink(missing_ok=True)  # an earlier test's
    peer.start(slices(agent))
    cluster.wait_allocatable(16)
    cluster.deploy('demo', 4)
    cluster.wait_running(4)
    before, ids = cluster.state(), set(cluster.held_ids())
    assert len(ids) == 4 and peer.count('allocated') == 4
    agent.serve_metrics()
    agent.mark()
    agent.start(replicas(4))
    agent.wait_line(SERVES)
    cluster.wait('metrics', lambda: count_adopted(agent) == 0)  # they are its own as long as it serves
    peer.end()
    agent.wait_line(REGISTERED)
    cluster.settles((16, 16))
    cluster.wait('all are adopted', lambda: set(adopted(agent)) == ids, 90)
    cluster.wait('the metric', lambda: count_adopted(agent) == 4)
    for one in ids:
        agent.wait_line(f'adopted devices that a pod already held.*{re.escape(one)}')
    assert cluster.node() == (16, 16)
    cluster.scale('demo', 6)
    cluster.wait_running(6)
    now = cluster.state()
    assert {key: now[key] for key in before} == before and len(set(cluster.held_ids())) == 6
    assert set(adopted(agent)) == ids and peer.count('allocated') == 4
    cluster.scale('demo', 0)
    cluster.wait_count(0)
    cluster.scale('demo', 1)  # else the kubelet's books name those that ended for another two minutes
    cluster.wait_running(1)
    cluster.wait('none is adopted any more', lambda: count_adopted(agent) == 0 and not adopted(agent), 240)
    assert cluster.node() == (16, 16)
    cluster.scale('demo', 16)
    cluster.wait_running(16)
    assert set(cluster.held_ids()) > ids
    assert not adopted(agent)


def test_an_init_container_hands_its_id_over(cluster, agent):
    agent.start(replicas(4))
    cluster.wait_allocatable(16)
    cluster.create_pod('one', {GPU: 1}, initContainers=[
        {'name': 'init', 'command': ['/pause', '--once'], 'resources': {'limits': {GPU: '1'}}}])
    cluster.wait_running(1)
    cluster.wait('both in the checkpoint', lambda: len(list(entries())) == 2)
    (init, init_ids, init_grant), (main, main_ids, main_grant) = sorted(entries(), key=lambda one: one[0] != 'init')
    assert init == 'init' and main != 'init' and init_ids == main_ids
    ledger = Ledger(log_of(agent))
    assert ledger.holders[main_ids[0]] == main_grant
    assert init_grant in ledger.grants and ledger.position(init_grant) < ledger.position(main_grant)


def test_a_lost_log_is_made_again_from_the_kubelets_books(cluster, agent):
    """Also a rollback: the log of now is nothing to the agent that comes."""
    agent.start(replicas(4))
    cluster.wait_allocatable(16)
    cluster.deploy('demo', 4)
    cluster.wait_running(4)
    before = agree(cluster, agent, 4)
    agent.leave()
    log_of(agent).rename(log_of(agent).with_name('grants-v2.log'))
    agent.mark()
    agent.come()
    agent.wait_line('adopted devices')
    cluster.settles((16, 16))
    cluster.wait('all are adopted', lambda: before.items() <= Ledger(log_of(agent)).holders.items())
    log_of(agent).with_name('grants-v2.log').unlink()


def test_a_reboot_keeps_what_was_granted(cluster, agent, bed):
    """The kubelet reuses its cached answers, without a new Allocate."""
    agent.start(replicas(4))
    cluster.wait_allocatable(16)
    cluster.deploy('demo', 4)
    cluster.wait_running(4)
    agree(cluster, agent, 4)
    before = grants_of_pods()
    if agent.is_process():
        agent.kill()
    bed.reboot()
    if agent.is_process():
        agent.resume()
    # What the API server says is first what was before: so what runs, too.
    cluster.wait('four that run', lambda: len(cluster.containers()) == 4 and len(cluster.pods(phase='Running')) == 4, 150)
    cluster.wait_allocatable(16, timeout=120)
    cluster.wait('the grants of now', lambda: held().items() <= Ledger(log_of(agent)).holders.items())
    # A pod that the kubelet kept has the grant of before, and no pod lost its limits by being adopted. The kubelet
    # may also have rejected pods, before the agent registered: their successors have grants of their own.
    after = grants_of_pods()
    assert after and all(before.get(key, grant) == grant for key, grant in after.items())
    adopted = {grant.id for grant in Ledger(log_of(agent)).grants.values() if grant.adopted}
    assert not adopted & set(after.values())
