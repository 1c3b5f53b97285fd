# SPDX-License-Identifier: Apache-2.0
"""What NVIDIA's end-to-end tests ask of its chart (k8s-device-plugin, tests/e2e), asked of ours: the resource on the node, a Job that
runs on it, and the labels of gpu-feature-discovery by the same patterns."""
import re

from agents import LABEL
from cluster import DEFAULT, GPU, pod_spec
from test_install import chart  # noqa: F401

CONFIG = 'version: v1\n'  # whole GPUs: NVIDIA's tests configure nothing
# The time is a label of ours only where somebody wants it: it would be written for its own sake.
VALUES = ['devicePlugin.enabled=true', 'gfd.enabled=true', 'gfd.noTimestamp=false']
COMPLETIONS = 5
NUMBER = r'\d+'
LABELS = {
    'gfd.timestamp': r'\d{10}', 'cuda.driver.major': NUMBER, 'cuda.driver.minor': NUMBER, 'cuda.driver.rev': r'\d*',
    'cuda.runtime.major': NUMBER, 'cuda.runtime.minor': NUMBER, 'gpu.machine': '.*', 'gpu.count': NUMBER, 'gpu.replicas': NUMBER,
    'gpu.sharing-strategy': 'none|mps|time-slicing', 'gpu.product': r'[A-Za-z_-]+.*', 'gpu.memory': NUMBER, 'gpu.family': '[a-z]+',
    'mig.capable': 'true|false', 'gpu.compute.major': NUMBER, 'gpu.compute.minor': NUMBER, 'mps.capable': 'true|false'}


def job(name):
    container = {'name': 'cuda-container', 'command': ['/pause', '--once'], 'resources': {'limits': {GPU: '1'}}}
    tolerations = [{'key': GPU, 'operator': 'Exists', 'effect': 'NoSchedule'}]
    return {'metadata': {'name': name}, 'spec': {
        'completions': COMPLETIONS, 'parallelism': COMPLETIONS, 'backoffLimit': 0,
        'template': {'spec': pod_spec([container], restartPolicy='Never', tolerations=tolerations)}}}


def test_resource_job_and_labels(cluster, chart):  # noqa: F811
    """Of five pods one waits for a GPU of another, and none fails: the Job has no second try."""
    chart.start(CONFIG, *VALUES)
    cluster.wait('the resource', lambda: re.fullmatch('[1-9]', str(cluster.node()[0])) and cluster.node()[0] == cluster.node()[1])

    jobs = f'/apis/batch/v1/namespaces/{DEFAULT}/jobs'
    cluster.api.call(jobs, 'POST', job('j-e2e-1'))
    try:
        def conditions():
            return {one['type'] for one in status().get('conditions', []) if one['status'] == 'True'}

        def status():
            return cluster.api.call(f'{jobs}/j-e2e-1')['status']
        cluster.wait('the end of the Job', lambda: conditions() & {'Complete', 'Failed'}, 60)
        assert (status().get('succeeded'), status().get('failed', 0)) == (COMPLETIONS, 0) and 'Complete' in conditions()
        assert [pod['status']['phase'] for pod in cluster.pods()] == ['Succeeded'] * COMPLETIONS
    finally:
        cluster.api.call(f'{jobs}/j-e2e-1?propagationPolicy=Background', 'DELETE')

    def labels():
        return cluster.api.call(cluster.node_path)['metadata']['labels']
    cluster.wait('the labels', lambda: 'nvidia.com/gfd.timestamp' in labels())
    shown = {name.removeprefix('nvidia.com/'): value for name, value in labels().items() if name != LABEL}
    assert not [(name, shown.get(name)) for name, pattern in LABELS.items() if not re.fullmatch(pattern, shown.get(name, ''))
                or name not in shown]
