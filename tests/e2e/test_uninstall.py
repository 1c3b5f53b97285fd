# SPDX-License-Identifier: Apache-2.0
"""What an uninstallation leaves: nothing on the Node, in the cluster and in the kubelet's folder, and every pod."""
import json
import os
import re
import subprocess
import time

import programs
import pytest
from agents import CONFIG, ROOT, SYSTEM, bed_values, replicas
from bed import CDI, PLUGINS
from cluster import Timeline
from test_install import KINDS, chart, ours  # noqa: F401
from test_node_objects import CRDS, FEATURES, GROUP
from test_switching import eight_on, keep_and_grow

EXTRAS = '''
gpuslice:
  labels: {example.com/pool: sliced}
  taints:
  - {key: example.com/sliced, value: "yes", effect: PreferNoSchedule}
'''
MANIFEST = ROOT / 'deploy/gpuslice.yml'
GUIDE = ROOT / 'doc/guide/switching-over.md'


def traces(cluster):
    """What of the Node is ours, that of the configuration included."""
    node = cluster.api.call(cluster.node_path)
    return (ours(node) + [name for name in node['metadata']['labels'] if name.startswith('example.com/pool')]
            + [one['key'] for one in node['spec'].get('taints', []) if one['key'] == 'example.com/sliced'])


def objects(cluster):
    kinds = ','.join([*KINDS, *(['nodefeatures'] if cluster.api.find(GROUP) else [])])
    names = cluster.kubectl('get', kinds, '-A', '-o', 'name').split()
    return [one for one in names if 'gpuslice' in one or 'nvdp' in one or 'nvidia-features' in one]


def files():
    """Of the agent's, on the host; /run/gpuslice is kept until the next boot, as the manual says."""
    return [str(path) for folder in (PLUGINS, CDI) if folder.exists() for path in folder.rglob('*')
            if 'gpuslice' in path.name or 'nvidia' in path.name]


def everything(cluster):
    return traces(cluster) + objects(cluster) + files()


@pytest.fixture
def features(cluster):
    """The CRD of node-feature-discovery, without a controller."""
    cluster.api.call(CRDS, 'POST', FEATURES)
    cluster.wait('the API group', lambda: cluster.api.find(GROUP))
    yield f'{GROUP}/namespaces/{SYSTEM}/nodefeatures'
    cluster.api.call(f"{CRDS}/{FEATURES['metadata']['name']}", 'DELETE')
    cluster.wait('no API group', lambda: not cluster.api.find(GROUP))


@pytest.fixture
def strangers(cluster):
    """A label in NVIDIA's name and a taint, both by hand: nobody takes them along."""
    node = cluster.bed.node_name
    cluster.kubectl('label', 'node', node, 'nvidia.com/my.pool=a')
    cluster.kubectl('taint', 'node', node, 'example.com/mine=x:PreferNoSchedule')
    yield lambda: ('nvidia.com/my.pool' in cluster.api.call(cluster.node_path)['metadata']['labels'],
                   [one['key'] for one in cluster.api.call(cluster.node_path)['spec'].get('taints', [])])
    cluster.kubectl('label', 'node', node, 'nvidia.com/my.pool-')
    cluster.kubectl('taint', 'node', node, 'example.com/mine-')


@pytest.mark.containerd2
def test_by_helm(cluster, chart, features, strangers, bed):  # noqa: F811
    chart.retire()
    cdi = ('deviceListStrategy={envvar,cdi-annotations}', 'cdi.nvidiaHookPath=/bin/true') if bed.major == '2' else ()
    chart.start(replicas(4) + EXTRAS, *cdi)
    before = eight_on(cluster)
    cluster.wait('everything of ours', lambda: {'GPUSlicesReady', 'example.com/pool', 'example.com/sliced', 'nvidia.com/gpu.count',
                                                'gpuslice.dev/taints'} <= set(traces(cluster)))
    cluster.wait('the NodeFeature', lambda: cluster.api.call(features)['items'])
    assert list(PLUGINS.glob('gpuslice-*.sock')) and bool(cdi) == CDI.exists()
    line = Timeline(cluster)
    started = time.monotonic()
    cluster.helm('uninstall', 'nvdp', '--namespace', SYSTEM)
    print(f'TIME helm uninstall: {time.monotonic() - started:.1f} s')
    assert traces(cluster) == ['nvidia.com/my.pool']  # at once, since Helm waits for the hook
    assert strangers() == (True, ['example.com/mine'])
    assert not cluster.api.call(features)['items']
    cluster.wait('no object of ours', lambda: not objects(cluster))
    assert cluster.api.find(f'/api/v1/namespaces/{SYSTEM}/configmaps/{CONFIG}')  # it was there before the chart
    assert not files()
    cluster.wait_allocatable(0)
    cluster.keeps(before)
    line.end('helm uninstall')
    # And again, over the pods that still hold their slices.
    chart.start(replicas(4))
    keep_and_grow(cluster, before, 9)


def shell_lines(heading):
    """The commands of the comment at the top of the manifest that holds this one."""
    return [line[4:] for line in MANIFEST.read_text().split('---')[0].splitlines() if line.startswith('#   ') and heading in line]


def test_without_helm(cluster, chart, tmp_path):  # noqa: F811
    """deploy/gpuslice.yml, put there and taken away by the commands that it names itself."""
    chart.retire()

    def run(command):
        words = command.split()
        assert words[0] == 'kubectl'
        return cluster.kubectl(*[str(ROOT / word) if word.startswith('deploy/') else word for word in words[1:]])

    [apply] = shell_lines('kubectl apply')
    patch = next(line for line in shell_lines('patch-file') if 'configmap' in line)
    foreground, delete = shell_lines(' delete ')
    chart.configure(replicas(4))
    run(apply)
    run(patch)
    values = bed_values(chart.machine, None)
    root = values['nvidiaDriverRoot']
    (tmp_path / 'machine.json').write_text(json.dumps({'spec': {'template': {'spec': {
        'containers': [{'name': 'agent', 'env': [*values['extraEnv'], {'name': 'NVIDIA_DRIVER_ROOT', 'value': root}],
                        'volumeMounts': [*values['extraVolumeMounts'], {'name': 'driver-root', 'mountPath': '/driver-root'}]}],
        'volumes': [*values['extraVolumes'], {'name': 'driver-root', 'hostPath': {'path': root}}]}}}}))
    cluster.kubectl('-n', SYSTEM, 'patch', 'daemonset', 'gpuslice', '--patch-file', tmp_path / 'machine.json')
    try:
        before = eight_on(cluster)
        cluster.wait('the condition', lambda: cluster.condition('GPUSlicesReady') == ('True', 'AllResourcesRegistered'))
        run(foreground)
        cluster.wait('a Node without a trace', lambda: not traces(cluster), 10)
        run(delete)
        cluster.wait('no object of ours', lambda: not objects(cluster))
    finally:
        cluster.kubectl('delete', '-f', MANIFEST, '--ignore-not-found')
    assert not files()
    cluster.wait_allocatable(0)
    cluster.keeps(before)
    chart.start(replicas(4))
    keep_and_grow(cluster, before, 9)


def test_a_node_that_is_no_longer_chosen(cluster, chart):  # noqa: F811
    """The chart's nodeSelector stops matching: the agent goes from this node alone, and its traces with it."""
    chart.start(replicas(4))
    before = eight_on(cluster)
    cluster.wait('the condition', lambda: cluster.condition('GPUSlicesReady'))
    chart.leave()
    cluster.wait('a Node without a trace', lambda: not traces(cluster), 10)
    assert not files()
    cluster.wait_allocatable(0)
    cluster.keeps(before, seconds=1)
    chart.come()
    keep_and_grow(cluster, before, 9)


def test_a_node_that_was_down_is_cleaned_by_hand(cluster, chart, bed, tmp_path):  # noqa: F811
    """Its agent had no orderly shutdown; the guide's commands remove what it wrote."""
    chart.start(replicas(4))
    cluster.wait_allocatable(16)
    cluster.wait('the condition', lambda: cluster.condition('GPUSlicesReady'))
    name = chart.pod()['metadata']['name']
    bed.kubelet.kill()
    chart.kill()
    cluster.kubectl('-n', SYSTEM, 'delete', 'daemonset', 'nvdp-gpuslice')
    cluster.kubectl('-n', SYSTEM, 'delete', 'pod', name, '--force', '--grace-period=0', '--ignore-not-found')
    bed.kubelet.start()
    chart.retire()
    cluster.wait_nothing()
    assert {'GPUSlicesReady', 'nvidia.com/gpu.count'} <= set(traces(cluster))
    [script] = re.findall(r'```sh\n(echo .*?)```', GUIDE.read_text(), re.S)
    done = subprocess.run(['sh', '-eu'], input=script.replace('NODE', bed.node_name), text=True, capture_output=True, cwd=tmp_path,
                          env={**os.environ, 'PATH': f"{programs.clients()}:{os.environ['PATH']}", 'KUBECONFIG': str(bed.kubeconfig)})
    assert done.returncode == 0, done.stderr
    assert not traces(cluster)
