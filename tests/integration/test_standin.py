# SPDX-License-Identifier: Apache-2.0
"""gpuslice-kubelet hurts no node: it does nothing unasked, and leaves the folder of a kubelet alone."""
import json
import socket
import subprocess
from pathlib import Path

import pytest

from node import BUILD, PROGRAMS

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
