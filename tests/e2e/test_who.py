# SPDX-License-Identifier: Apache-2.0
"""`gpuslice who` about the processes of real pods."""
import json
import os
import subprocess

import pytest

from agents import BUILD


@pytest.fixture
def root(bed, tmp_path):
    """The node's files as an ordinary node has them; the bed's kubelet keeps its logs in the bed's folder."""
    logs = tmp_path / 'var/log'
    logs.mkdir(parents=True)
    (tmp_path / 'proc').symlink_to('/proc')
    (logs / 'pods').symlink_to(bed.folder / 'pod-logs')
    (logs / 'containers').symlink_to('/var/log/containers')
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
