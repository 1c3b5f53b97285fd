# SPDX-License-Identifier: Apache-2.0
"""The arbiter of the chart beside the agent, on the real kubelet: real containers, whose processes the simulated driver
lists; whose they are, the cgroups of the kernel and the kubelet's own files say."""
import re

from agents import SYSTEM, replicas, scrape
from bed import has_ended
from cluster import GPU
from test_install import chart  # noqa: F401

MIB = 1 << 20


def pid_of(cluster, pod):
    return next(pid for (name, _), (pid, _) in cluster.containers().items() if name == pod)


def metrics(chart):
    pods = [pod for pod in chart.agents() if pod['metadata']['name'].startswith('nvdp-gpuslice-arbiter-http')]
    return ''.join(scrape(f"{pod['status'].get('podIP')}:19400") for pod in pods)


def test_who_takes_more_is_named_and_ended(cluster, chart):  # noqa: F811
    chart.start(replicas(4), 'arbiter.mode=audit', 'arbiter.onViolation=kill', 'arbiter.graceSeconds=2')
    cluster.wait_allocatable(16)
    for name in ('content', 'greedy'):
        cluster.create_pod(name, {GPU: 1})
    cluster.create_pod('curious', {})
    cluster.wait_running(3)
    held = {name: next(iter(containers.values()))[GPU][0] for name, containers in cluster.held().items() if name in ('content', 'greedy')}
    gpus = {name: chart.machine.device_name(one.split('::')[0]).removeprefix('nvidia') for name, one in held.items()}
    before = {name: pid_of(cluster, name) for name in ('content', 'greedy', 'curious')}
    # The kubelet starts the containers of both others again: that is the restart policy's.
    for name, gpu, size in (('content', gpus['content'], '3000Mi'), ('greedy', gpus['greedy'], '6000Mi'), ('curious', '0', '200Mi')):
        chart.sim('inject', 'process', 'add', gpu, before[name], size)
    chart.wait_line(r'pod default/greedy \(container main-0\) uses 6000 MiB of GPU \d, .* more than its 1 of nvidia.com/gpu gives')
    chart.wait_line(r'pod default/curious \(container main-0\) uses 200 MiB of GPU 0 and requested no GPU')
    for name in ('greedy', 'curious'):
        chart.wait_line(rf'a process was killed.*pod={name} .*pid={before[name]}\b')
        cluster.wait('its end', lambda pid=before[name]: has_ended(pid))
        chart.sim('inject', 'process', 'remove', gpus.get(name, '0'), before[name])
        chart.wait_line(rf'a finding has ended.*pod={name} ')
    cluster.wait('metrics', lambda: f'pod="content",' in metrics(chart))
    page = metrics(chart)
    assert re.search(rf'^gpuslice_audit_memory_used_bytes\{{[^}}]*namespace="default",pod="content",[^}}]*\}} {3000 * MIB}$', page, re.M)
    assert pid_of(cluster, 'content') == before['content']
    pod = next(one for one in chart.agents() if re.match(r'nvdp-gpuslice-arbiter-\w+$', one['metadata']['name']))
    assert pod['spec']['hostPID'] and pod['metadata']['namespace'] == SYSTEM
