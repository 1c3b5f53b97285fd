# SPDX-License-Identifier: Apache-2.0
"""Grants beside a real kubelet: its own checkpoint says which pod has which grant, and the agent's log agrees."""
import base64
import json
import sys
from pathlib import Path

import grpc
from agents import replicas
from bed import GRANTS

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
    cluster.wait_allocatable(16, timeout=120)
    cluster.wait_running(4, timeout=150)
    cluster.wait('the grants of now', lambda: held().items() <= Ledger(log_of(agent)).holders.items())
    # A pod that the kubelet kept has the grant of before, and no pod lost its limits by being adopted. The kubelet
    # may also have rejected pods, before the agent registered: their successors have grants of their own.
    after = grants_of_pods()
    assert after and all(before.get(key, grant) == grant for key, grant in after.items())
    adopted = {grant.id for grant in Ledger(log_of(agent)).grants.values() if grant.adopted}
    assert not adopted & set(after.values())
