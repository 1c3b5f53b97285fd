# SPDX-License-Identifier: Apache-2.0
"""The main job on this machine's own GPUs and driver; skipped where there are none."""
import json
import os
import subprocess

import pytest

from node import BUILD, GUIDE, held_ids

pytestmark = pytest.mark.skipif(not os.path.exists('/dev/nvidiactl'), reason='no NVIDIA GPU here')


@pytest.fixture
def real(node):
    del node.environment['GPUSLICE_MACHINE']
    node.environment['LD_LIBRARY_PATH'] = os.environ.get('LD_LIBRARY_PATH', '')
    node.config.write_text(GUIDE)
    return node


def smi(query):
    lines = subprocess.check_output(['nvidia-smi', f'--query-gpu={query}', '--format=csv,noheader,nounits'],
                                    text=True)
    return [line.strip() for line in lines.splitlines()]


def plan(node):
    return json.loads(node.run('gpuslice', 'plan', '--node', '--config', node.config, '-o', 'json').stdout)


def test_nvml_conformance(real):
    """The cases that the simulator passes, on the driver that it imitates."""
    done = subprocess.run([BUILD / 'tests/conformance/conformance-nvml'], env=real.environment,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_plan_agrees_with_nvidia_smi(real):
    gpus = plan(real)['gpus']
    assert [gpu['uuid'] for gpu in gpus] == smi('uuid')
    assert [gpu['model'] for gpu in gpus] == smi('name')
    assert [gpu['memory_bytes'] // 2**20 for gpu in gpus] == [int(mib) for mib in smi('memory.total')]


def test_guide(real):
    real.start_kubelet()
    agent = real.start_agent(GUIDE, '--device-list-strategy', 'envvar,cdi-cri', '--pass-device-specs')
    count = 4 * len(smi('uuid'))
    real.wait_allocatable(count)
    pods = real.run_pods(count)
    assert sorted(held_ids(pods)) == sorted(f'{uuid}::{n}' for uuid in smi('uuid') for n in range(4))
    for pod in pods:
        container = pod['containers'][0]
        assert container['env']['NVIDIA_VISIBLE_DEVICES'] in smi('uuid')
        assert {'/dev/nvidiactl', '/dev/nvidia-uvm'} <= {d['host_path'] for d in container['device_nodes']}
    assert agent.end() == 0
    assert not list(real.plugins.glob('gpuslice-*'))
    assert list(real.cdi.iterdir())  # for containers that restart while no agent runs
