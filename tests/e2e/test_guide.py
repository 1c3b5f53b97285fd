# SPDX-License-Identifier: Apache-2.0
"""The first guide's and the README's own commands, run by a shell as they stand."""
import os
import re
import shutil
import subprocess
import time

import programs
import pytest
from agents import EXAMPLES, ROOT, image_reference
from cluster import Timeline, gpus_of

GUIDE = ROOT / 'tests/data/guides/time-slicing.md'
WORKLOAD = 'public.ecr.aws/r5m2h0c9/cifar10_cnn:v2'
DEMO = 'gpu-demo'


@pytest.fixture
def shell(cluster, release, bed, tmp_path):
    """run(script, **environment), in a cluster that never saw the chart. `helm upgrade` is given where the image and the
    simulated GPUs are; the workload's image, known by its name, only waits."""
    if not hasattr(release, 'retire'):
        pytest.skip('there is no chart for agents that are bare processes')
    release.retire()
    release.reset()
    values = release.write_values(node_selector=None)
    clients = programs.clients()
    helm = tmp_path / 'bin/helm'
    helm.parent.mkdir()
    helm.write_text(f'#!/bin/sh\n[ "$1" = upgrade ] && set -- "$@" -f {values}\nexec {clients}/helm "$@"\n')
    helm.chmod(0o755)
    bed.ctr('images', 'tag', '--force', programs.PAUSE, WORKLOAD)

    def run(script, folder=ROOT, **environment):
        done = subprocess.run(['sh', '-eu'], input=script, text=True, capture_output=True, cwd=folder, timeout=100,
                              env={**os.environ, 'PATH': f"{helm.parent}:{clients}:{os.environ['PATH']}",
                                   'KUBECONFIG': str(bed.kubeconfig), **environment})
        assert done.returncode == 0, f'{script}\n{done.stdout}{done.stderr}'
        print(done.stdout)
        return done.stdout

    yield run
    cluster.clean(DEMO)  # a namespace with pods is looked at again after half of their grace period
    cluster.kubectl('delete', 'namespace', DEMO, '--ignore-not-found', '--wait=false')
    cluster.wait('no namespace', lambda: not cluster.api.find(f'/api/v1/namespaces/{DEMO}'))
    release.retire()
    cluster.wait_nothing()


def eight_on_four_gpus(cluster):
    cluster.wait_allocatable(16)
    cluster.wait('limits', lambda: 'memory limits are enforced' in cluster.said_by_condition('GPUSlicesReady'))
    print(f'TIME 8 Running: {cluster.wait_running(8, DEMO):.2f} s')
    assert cluster.node() == (16, 16)
    held = cluster.held(DEMO)
    containers = cluster.containers(DEMO)
    assert len(held) == len(containers) == 8
    ids = cluster.held_ids(DEMO)
    assert len(set(ids)) == 8 and sorted(gpus_of(ids).values()) == [2, 2, 2, 2]
    for (pod, name), (_, environment) in containers.items():
        [one] = held[pod][name]['nvidia.com/gpu']
        assert environment['NVIDIA_VISIBLE_DEVICES'] == one.split('::')[0]


def blocks(path, kind):
    return re.findall(rf'^```{kind}\n(.*?)^```$', path.read_text(), re.M | re.S)


@pytest.mark.timeout(180)
def test_guide(cluster, shell, tmp_path):
    """Its three commands; NVIDIA's chart by ours, of which no old release can be asked for, and the namespace made first."""
    script = '\n'.join(blocks(GUIDE, 'bash'))
    assert script.count('kubectl apply') == 2 and script.count('helm upgrade') == 1
    script = script.replace('nvdp/nvidia-device-plugin', str(ROOT / 'deploy/helm/gpuslice'))
    script = re.sub(r'^ *--version 0\.14\.0 \\\n', '', script, flags=re.M)
    shutil.copy(EXAMPLES / 'nvdp-values.yaml', tmp_path)
    line, started = Timeline(cluster), time.monotonic()
    shell('kubectl create namespace gpu-demo\n' + script, tmp_path)
    eight_on_four_gpus(cluster)
    print(f'TIME the whole guide: {time.monotonic() - started:.2f} s')
    line.end('guide')


@pytest.mark.timeout(180)
def test_readme(cluster, shell):
    """The quick start's second block, word for word, with a repository that the node has the image from."""
    [script] = [one for one in blocks(ROOT / 'README.md', 'sh') if 'helm upgrade' in one]
    repository, _ = image_reference()
    said = shell(script, REPOSITORY=repository)
    assert re.search(r'^localhost +16$', said, re.M)
    assert len(re.findall(r'^tensorflow-deployment-\S+ +1/1 +Running', said, re.M)) == 8
    eight_on_four_gpus(cluster)
