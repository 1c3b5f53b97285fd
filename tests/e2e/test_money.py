# SPDX-License-Identifier: Apache-2.0
"""What real Karpenter launches for pods as a production cluster had them, beside what `gpuslice plan --workload` counts, and what that
costs when pods come and go. TRACE=FILE takes the public trace itself (tests/integration/gputrace.py says which), else pods are made up by
its facts. Only what pods want of GPUs counts: of CPU and memory they ask for nothing. A node has one GPU, so that a pod's slices are on
one. SAMPLE=PODS takes fewer."""
import csv
import heapq
import json
import os
import sys
import threading
import time

import programs
import pytest
import yaml
from api import Follower, Refused
from bed import wait
from cluster import GPU
from karpenter import CLAIMS, NODE_CLASS, gpuslice, render

sys.path.append(str(programs.ROOT / 'tests/integration'))
import gputrace  # noqa: E402

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1500)]
NODE, SHARED, WORKLOAD = 'g5.xlarge', 'nvidia.com/gpu.shared', 'example.com/workload'
SAMPLE, AT_ONCE = int(os.environ.get('SAMPLE', '300')), 25
REPLICAS = 6
MORE = {'unequal': 1.15, 'equal': 1.3}  # than the plan, at most; equal slices leave more gaps when small pods come first
FASTER = 100       # times, of the churn
CHURN_S, CHURN_PODS = 120, SAMPLE * 4 // 5
QUIET_S = 60       # after them, in which no pod comes and only those of the longest lives are left


@pytest.fixture(scope='module')
def trace(tmp_path_factory):
    path = os.environ.get('TRACE')
    if not path:
        path = tmp_path_factory.mktemp('money') / 'trace.csv'
        gputrace.generate(path)
    return gputrace.read(path)


def sample_of(trace, count):
    """Evenly from all of it, in its order."""
    return [trace[n * len(trace) // count] for n in range(count)]


@pytest.fixture
def made(karpenter):
    yield karpenter
    karpenter.clean()
    # They cost Karpenter something as long as they go: on busy cores no more than one in a second.
    karpenter.plane.await_('no nodes', lambda: not karpenter.api.call(f'{CLAIMS}?limit=1')['items'], 2 * SAMPLE + 60)


def planned(folder, pods):
    path = folder / 'sample.csv'
    with open(path, 'w', newline='') as file:
        table = csv.writer(file)
        table.writerows([['name', 'gpu_milli'], *([pod.name, pod.milli] for pod in pods)])
    return json.loads(gpuslice('plan', '--workload', path, '-o', 'json'))


class Pools:
    """NodePools whose nodes are sliced in one way, and how many slices of which name a pod then asks for."""

    def __init__(self, karpenter, label, disruption=None):
        self.karpenter, self.label, self.names = karpenter, label, []
        self.disruption = disruption or {'consolidationPolicy': 'WhenEmpty', 'consolidateAfter': 'Never'}

    def add(self, pool, overlays, nodes):
        spec = pool['spec']
        spec['template']['metadata'].setdefault('labels', {})[WORKLOAD] = self.label
        spec['template']['spec']['expireAfter'] = 'Never'
        spec['disruption'] = self.disruption
        self.karpenter.apply_pool(pool, nodes)
        for path in overlays():
            self.karpenter.await_condition(path, 'Ready')
        self.names.append(pool['metadata']['name'])

    def add_profile(self, how, nodes, weight=None):
        """The pool of a SliceProfile and its overlays, as they are rendered."""
        made = render(self.karpenter.plane.folder, {
            'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': self.karpenter.new_name('pool')}, 'spec': {
                'instanceTypes': list(nodes), **how, 'taints': [], 'nodeClass': NODE_CLASS}})
        pool, = made['NodePool']
        if weight:
            pool['spec']['weight'] = weight
        self.add(pool, lambda: self.karpenter.apply_overlays(made), nodes)

    def n_launched(self):
        return sum(sum(self.karpenter.launched(name).values()) for name in self.names)


class Equal(Pools):
    def __init__(self, karpenter, label, replicas, **more):
        super().__init__(karpenter, label, **more)
        self.replicas = replicas
        self.add_profile({'timeSlicing': {'replicas': replicas, 'renameByDefault': True}}, {NODE: {GPU: 0, SHARED: replicas}})

    def request(self, pod):
        return {SHARED: -(-pod.milli * self.replicas // 1000)}


class Unequal(Pools):
    """A pool for each layout of a plan, the layout of the largest slices first."""

    def __init__(self, karpenter, label, plan, **more):
        super().__init__(karpenter, label, **more)
        self.sizes = sorted(round(10 * float(one['share'].rstrip('%'))) for one in plan['names'])
        for n, layout in enumerate(plan['layouts']):
            self.add_profile({'slices': layout['slices']}, {NODE: {
                GPU: 0, **{f"{GPU}-{one['name']}": one['count'] for one in layout['slices']}}}, 100 - n)

    def request(self, pod):
        return {f'{GPU}-{next(size for size in self.sizes if size >= pod.milli)}m': 1}


def create(karpenter, pools, pods):
    for pod in pods:
        karpenter.cluster.create_pod(pod.name, pools.request(pod), nodeSelector={WORKLOAD: pools.label})


def all_run(karpenter):
    return not karpenter.api.call('/api/v1/namespaces/default/pods?fieldSelector=status.phase!=Running&limit=1')['items']


def pools_of(way, karpenter, pods, **more):
    label = karpenter.new_name(way)  # nodes of another test may still be there
    return Unequal(karpenter, label, planned(karpenter.plane.folder, pods), **more) if way == 'unequal' else \
        Equal(karpenter, label, REPLICAS, **more)


def offline(way, pods, plan):
    gpus = {row['slices']: row['gpus'] for row in plan['ways']}
    return gpus['unequal, 8 names' if way == 'unequal' else f'{REPLICAS} equal slices']


@pytest.mark.parametrize('at_once', [SAMPLE, AT_ONCE], ids=['burst', 'slowly'])
@pytest.mark.parametrize('way', ['unequal', 'equal'])
def test_online(made, trace, way, at_once):
    """Pods come and stay, all in one burst or a few at a time in the trace's order. Karpenter knows none of those to come, and sorts a burst by CPU
    and memory and not by slices; the plan knows all of them, and places the largest first."""
    pods = sample_of(trace, SAMPLE)
    pools, started = pools_of(way, made, pods), time.monotonic()
    for n in range(0, len(pods), at_once):
        create(made, pools, pods[n:n + at_once])
        made.await_('pods that run', lambda: all_run(made))
    took = time.monotonic() - started
    made.settle()
    launched, wanted = pools.n_launched(), offline(way, pods, planned(made.plane.folder, pods))
    least = gputrace.first_fit_decreasing(pod.milli for pod in pods)
    print(f'MONEY online, {way}, {SAMPLE} pods, {at_once} at once: launched {launched}, the plan {wanted}, first-fit-decreasing of any shares '
          f'{least}, whole GPUs {len(pods)}; {launched / least:.3f} of first-fit-decreasing, all Running {took:.0f} s')
    assert wanted - 1 <= launched <= wanted * MORE[way] + 1


# --- pods come and go ---

class Meter:
    """Seconds of nodes, from the NodeClaim's creation until it is gone."""

    def __init__(self, api):
        self.began, self.ended, self.lock = {}, {}, threading.Lock()
        self.follower = Follower(api, CLAIMS, self.look)

    def look(self, kind, claim):
        with self.lock:
            name = claim['metadata']['name']
            self.began.setdefault(name, time.monotonic())
            if kind == 'DELETED':
                self.ended.setdefault(name, time.monotonic())

    def stop(self, names):
        """(seconds, nodes at most) of the claims of these pools."""
        self.follower.end()
        now = time.monotonic()
        times = [(self.began[name], self.ended.get(name, now)) for name in self.began if name.startswith(names)]
        most = max((sum(a <= at < b for a, b in times) for at, _ in times), default=0)
        return sum(b - a for a, b in times), most


def scheduler_config(plane, scoring):
    """None: the default. MostAllocated: the fullest node that has room."""
    config = {'apiVersion': 'kubescheduler.config.k8s.io/v1', 'kind': 'KubeSchedulerConfiguration',
              'clientConnection': {'kubeconfig': str(plane.folder / 'scheduler.kubeconfig'), 'qps': 500, 'burst': 1000},
              'leaderElection': {'leaderElect': False},
              'profiles': [{'schedulerName': 'default-scheduler',
                            'plugins': {'score': {'disabled': [{'name': 'NodeResourcesBalancedAllocation'}]}},
                            'pluginConfig': [{'name': 'NodeResourcesFit', 'args': {'scoringStrategy': {
                                'type': scoring, 'resources': [{'name': SHARED, 'weight': 1}]}}}]}]}
    path = plane.folder / 'scheduler.yaml'
    path.write_text(yaml.safe_dump(config))
    return [f'--config={path}']


@pytest.fixture
def scheduler(karpenter):
    """Starts the scheduler with another way to score; the usual one is back at the end."""
    program, usual = karpenter.plane.scheduler, karpenter.plane.scheduler.argv

    def start(scoring):
        program.end()
        program.argv = usual + (scheduler_config(karpenter.plane, scoring) if scoring else [])
        program.start()
    yield start
    program.end()
    program.argv = usual
    program.start()


def come_and_go(karpenter, pools, pods):
    """Pods in the trace's order, evenly over CHURN_S, each for its lifetime, FASTER, until QUIET_S later. Seconds x (GPUs wanted, pods); the nodes
    for the pods that are left then, and how many those need."""
    started, events, wanted, lived, last = time.monotonic(), [], 0, 0, CHURN_S + QUIET_S
    for n, pod in enumerate(pods):
        begins = n * CHURN_S / len(pods)
        ends = min(last, begins + max(1, pod.lasts / FASTER))
        wanted, lived = wanted + (ends - begins) * pod.milli / 1000, lived + ends - begins
        events += [(begins, n, True), (ends, n, False)]
    heapq.heapify(events)
    idle, left, n_nodes = threading.Event(), [], None
    while events:
        when, n, is_begin = heapq.heappop(events)
        idle.wait(max(0, started + when - time.monotonic()))
        if is_begin:
            create(karpenter, pools, [pods[n]])
        else:
            if when == last and n_nodes is None:
                n_nodes = len(karpenter.api.call(CLAIMS)['items'])
            left += [pods[n].milli] * (when == last)
            with_grace = f'/api/v1/namespaces/default/pods/{pods[n].name}?gracePeriodSeconds=0'
            try:
                karpenter.api.call(with_grace, 'DELETE')
            except Refused as refused:
                assert refused.status == 404
    return wanted, lived, n_nodes, gputrace.first_fit_decreasing(left)


@pytest.mark.parametrize(('way', 'scoring'), [('equal', None), ('equal', 'MostAllocated'), ('unequal', None)])
def test_churn(made, trace, scheduler, way, scoring):
    """GPU-seconds paid for each that pods wanted. Nodes go 3 s after the last pod: `consolidateAfter` of 300 s, as much faster as the pods."""
    pods = sample_of(trace, CHURN_PODS)
    scheduler(scoring)
    pools = pools_of(way, made, pods, disruption={'consolidationPolicy': 'WhenEmpty', 'consolidateAfter': '3s', 'budgets': [{'nodes': '100%'}]})
    meter = Meter(made.api)
    wanted, lived, n_nodes, least = come_and_go(made, pools, pods)
    paid, most = meter.stop(tuple(f'{name}-' for name in pools.names))
    print(f'MONEY churn, {way}, scheduler scores by {scoring or "default"}: {len(pods)} pods in {CHURN_S} s, {FASTER} times faster than the trace, {QUIET_S} s without new ones; GPU-seconds '
          f'wanted {wanted:.0f}, paid {paid:.0f}: {paid / wanted:.2f}; whole GPUs would be {lived / wanted:.2f} without any idle time; '
          f'at most {most} nodes at once, {len(meter.began)} launched; {n_nodes} in the end for pods that need {least}')
    assert paid > wanted and least <= n_nodes <= most
    wait('nodes that go when all pods have gone', lambda: not made.api.call(CLAIMS)['items'], 120)
