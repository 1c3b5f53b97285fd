# SPDX-License-Identifier: Apache-2.0
"""gpuslice-kubelet hurts no node: it does nothing unasked, and leaves the folder of a kubelet alone."""
import json
import socket
import subprocess
from pathlib import Path

import pytest

from node import BUILD, PROGRAMS, eventually

STAND_IN = PROGRAMS['gpuslice-kubelet']
VERBS = ['run', 'apply -f x', 'delete x', 'scale x 1', 'get pods', 'get node', 'logs x', 'wait --for pods=1']


def stand_in(*arguments):
    """It must end by itself."""
    return subprocess.run([STAND_IN, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False)


def snapshot(folder):
    return {str(path): (path.lstat().st_ino, path.read_bytes() if path.is_file() else b'')
            for path in sorted(folder.rglob('*'))}


def test_without_arguments_it_explains_itself():
    done = stand_in()
    assert (done.returncode, done.stdout) == (64, '')
    assert done.stderr == stand_in('--help').stdout and '--root-dir DIR' in done.stderr


def test_a_version():
    done = stand_in('--version')
    assert done.returncode == 0 and done.stdout.startswith('gpuslice-kubelet ')


@pytest.mark.parametrize('verb', VERBS)
def test_no_verb_has_a_default_folder(verb):
    done = stand_in(*verb.split())
    assert done.returncode == 64 and '--root-dir' in done.stderr


@pytest.mark.parametrize('serving', [
    ['device-plugins/kubelet.sock', 'device-plugins/nvidia-gpu.sock'], ['pod-resources/kubelet.sock'],
    ['device-plugins/nvidia.sock'], [],
])
def test_a_kubelets_folder_stays_as_it_is(node, serving):
    """What serves goes on serving: the last row is a kubelet that has stopped."""
    root = node.folder / 'var-lib-kubelet'
    (root / 'device-plugins').mkdir(parents=True)
    (root / 'pod-resources').mkdir()
    (root / 'device-plugins/kubelet_internal_checkpoint').write_text('{"Data":{"PodDeviceEntries":null}}')
    listeners = []
    for name in serving:
        listeners.append(socket.socket(socket.AF_UNIX))
        listeners[-1].bind(str(root / name))
        listeners[-1].listen()
    before = snapshot(root)
    done = stand_in('--root-dir', root, 'run')
    assert done.returncode == 1 and 'another --root-dir' in done.stderr
    assert snapshot(root) == before


def test_it_is_not_installed():
    plan = json.loads((BUILD / 'meson-info/intro-install_plan.json').read_text())
    names = {Path(built).name for kind in plan.values() for built in kind}
    assert 'gpuslice' in names and not [name for name in names if 'gpuslice-kubelet' in name]


def test_its_options_by_their_long_names(node, tmp_path):
    """One container runs what --run says and ends; its restarts wait for --restart-back-off. The other has no log of it."""
    image, (one, other) = 'registry.example/demo:1', ('one', 'other')
    manifest = tmp_path / 'pod.json'
    manifest.write_text(json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'demo'}, 'spec': {'containers': [
        {'name': one, 'image': image}, {'name': other, 'image': 'registry.example/other:1'}]}}))
    node.start_kubelet('--run', 'registry.example/d*=echo "a line of $WORD"; exit 1', '--env', 'WORD=mine', '--restart-back-off', '10ms')
    node.kubelet('apply', '--dry-run', '--filename', manifest)
    assert not node.pods()
    node.kubelet('apply', '--filename', manifest)

    def restarts():
        [pod] = node.pods()
        return next(container for container in pod['containers'] if container['name'] == one).get('restarts', 0)
    eventually(lambda: restarts() > 2, 'it is restarted again and again')
    assert 'a line of mine' in node.kubelet('logs', 'demo', '--container', one).stdout
    assert 'a line' not in node.kubelet('logs', 'demo', '--container', other).stdout


def test_the_simulators_state_by_its_long_name(node, tmp_path):
    """gpuslice-sim --state chooses another machine than the variable does."""
    for state in ('a', 'b'):
        node.run('gpuslice-sim', '--machine', 'p3.8xlarge', '--state', tmp_path / state, 'reset')
    node.run('gpuslice-sim', '--machine', 'p3.8xlarge', '--state', tmp_path / 'a', 'inject', 'lost', '0')
    shown = [node.run('gpuslice-sim', '--machine', 'p3.8xlarge', '--state', tmp_path / state, '--output', 'json', 'state').stdout
             for state in ('a', 'b')]
    assert shown[0] != shown[1] and [path.name for path in sorted(tmp_path.iterdir())] == ['a', 'b']


def test_whose_its_processes_are(node, tmp_path):
    """For gpuslice-arbiter --root: as kernel and kubelet would show it, as long as the process runs."""
    manifest = tmp_path / 'pod.json'
    manifest.write_text(json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'demo'}, 'spec': {'containers': [
        {'name': 'main', 'image': 'any'}]}}))
    node.start_kubelet('--node-root', tmp_path / 'root')
    node.kubelet('apply', '--filename', manifest)
    node.kubelet('wait', '--for', 'pods=1')
    [pod] = node.pods()
    cgroup = tmp_path / f"root/proc/{pod['containers'][0]['pid']}/cgroup"
    owner, container = cgroup.read_text().strip().rsplit('/', 1)
    assert owner == f"0::/kubepods/besteffort/pod{pod['uid']}"
    [log] = (tmp_path / 'root/var/log/containers').iterdir()
    assert log.name == f"demo_{pod['namespace']}_main-{container}.log" and pod['uid'] in str(log.readlink())
    node.kubelet('delete', 'demo')
    eventually(lambda: not cgroup.exists(), 'the process is gone')
