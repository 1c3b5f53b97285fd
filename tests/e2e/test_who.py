# SPDX-License-Identifier: Apache-2.0
"""`gpuslice who` and `gpuslice audit` about the processes of real pods."""
import json
import os
import subprocess

import pytest

from agents import BUILD, clean_environment, replicas


@pytest.fixture
def root(bed, tmp_path):
    """The node's files as an ordinary node has them; the bed's kubelet keeps its logs in the bed's folder."""
    logs = tmp_path / 'var/log'
    logs.mkdir(parents=True)
    (tmp_path / 'proc').symlink_to('/proc')
    (logs / 'pods').symlink_to(bed.folder / 'pod-logs')
    (logs / 'containers').symlink_to('/var/log/containers')
    (tmp_path / 'var/lib').symlink_to('/var/lib')
    return tmp_path


def who(root, *pids):
    done = subprocess.run([BUILD / 'src/gpuslice', 'who', '--root', root, '-o', 'json', *map(str, pids)],
                          capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)['processes']


@pytest.mark.containerd2
def test_every_container_is_told_by_its_pid(cluster, root):
    cluster.create_pod('one', {})
    cluster.create_pod('two', {}, {})
    cluster.wait_running(2)
    expected = {(pod['metadata']['name'], one['name']): (pod['metadata']['uid'], one['containerID'].split('//')[1])
                for pod in cluster.pods() for one in pod['status']['containerStatuses']}
    status, told = who(root, *(pid for pid, _ in cluster.containers().values()))
    assert status == 0 and len(told) == 3
    assert {(one['pod'], one['container']): (one['pod_uid'], one['container_id']) for one in told} == expected
    assert {one['namespace'] for one in told} == {'default'}


def test_a_process_of_the_node(bed, root):
    status, [told] = who(root, os.getpid())
    assert status == 1 and told['pod'] is None and 'belongs to no pod' in told['problem']


def test_who_uses_more_than_its_slices(cluster, agent, root):
    agent.start(replicas(4))
    cluster.wait_allocatable(16)
    cluster.create_pod('greedy')
    cluster.create_pod('modest')
    cluster.create_pod('curious', {})
    cluster.wait_running(3)
    pids = {pod: pid for (pod, _), (pid, _) in cluster.containers().items()}
    gpus = {gpu['uuid']: gpu['index'] for gpu in json.loads(agent.sim('state', '-o', 'json'))['gpus']}
    holds = {pod: gpus[ids[0].split('::')[0]] for (pod, _), (_, ids) in cluster.state().items() if ids}
    for pod, gpu, size in (('greedy', holds['greedy'], '6Gi'), ('modest', holds['modest'], '3Gi'), ('curious', holds['modest'], '1Gi')):
        agent.sim('inject', 'process', 'add', gpu, pids[pod], size)
    done = subprocess.run([BUILD / 'src/gpuslice', 'audit', '--root', root, '-o', 'json'], capture_output=True, text=True,
                          env=clean_environment(**agent.machine.environment, LD_LIBRARY_PATH=str(BUILD / 'sim/nvml')))
    told = {one['pod']: one for one in json.loads(done.stdout)['uses']}
    assert {pod: one['verdict'] for pod, one in told.items()} == {'greedy': 'over', 'modest': 'within', 'curious': 'asked-nothing'}
    assert done.returncode == 1 and told['greedy']['container'] == 'main-0' and told['greedy']['namespace'] == 'default'
