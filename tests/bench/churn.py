#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is paid when pods come and go: GPU-hours of nodes for each GPU-hour that pods want, simulated, by how GPUs are sliced and how pods are
placed. `spread` is the scheduler's default among nodes that have room (the fewest pods first), `packed` its MostAllocated (the fullest
first): what is packed empties sooner.

    tests/bench/churn.py [FILE]     as money.py; tests/e2e/test_money.py does a sample of it with real Karpenter and scheduler

The trace's arrivals come FASTER, since by its own clock hardly two of its pods meet; lifetimes are as they are. A node is one GPU, is
paid from its launch on, takes pods START_S later, and goes when it has been empty for EMPTY_S.
"""
import heapq
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import money  # noqa: E402
from money import gputrace  # noqa: E402

FASTER, START_S, EMPTY_S = 100, 90, 300


class Node:
    def __init__(self, slices, now):
        self.free, self.n_pods, self.used, self.since, self.gone = dict(slices), 0, 0, now, None
        self.ready, self.empty_since = now + START_S, now + START_S


class Way:
    """`slices_of`: what one GPU offers. `request`: of a pod, (name, count)."""

    def __init__(self, name, layouts, request):
        self.name, self.layouts, self.request = name, layouts, request


def equal(count):
    name = f'{count} equal slices' if count > 1 else 'whole GPUs'
    return Way(name, [{'slice': count}], lambda pod: ('slice', -(-pod.milli * count // 1000)))


def unequal(tree):
    sizes = sorted(round(10 * float(one['share'].rstrip('%'))) for one in tree['names'])
    layouts = [{round(10 * float(one['share'].rstrip('%'))): one['count'] for one in layout['slices']} for layout in tree['layouts']]
    return Way(f'unequal, {len(sizes)} names', layouts, lambda pod: (next(size for size in sizes if size >= pod.milli), 1))


def simulate(pods, way, is_packed):
    """(GPU-seconds of nodes, nodes at once, launched)."""
    events = [(pod.starts / FASTER, n, 'begin') for n, pod in enumerate(pods)]
    heapq.heapify(events)
    nodes, where, paid, most, launched = [], {}, 0, 0, 0
    while events:
        now, n, what = heapq.heappop(events)
        if what == 'end':
            node, name, count = where.pop(n)
            node.free[name] += count
            node.n_pods, node.used = node.n_pods - 1, node.used - pods[n].milli
            if not node.n_pods:
                node.empty_since = now
            continue
        alive = []
        for node in nodes:
            goes = node.empty_since + EMPTY_S
            if node.n_pods or goes > now:
                alive.append(node)
            else:
                paid += goes - node.since
        nodes = alive
        name, count = way.request(pods[n])
        room = [node for node in nodes if node.free.get(name, 0) >= count]
        # a node that starts is for the pods it was launched for, and takes others as well
        node = (max(room, key=lambda one: one.used) if is_packed else min(room, key=lambda one: one.n_pods)) if room else None
        if not node:
            node = Node(next(layout for layout in way.layouts if layout.get(name, 0) >= count), now)
            nodes.append(node)
            launched += 1
        node.free[name] -= count
        node.n_pods, node.used = node.n_pods + 1, node.used + pods[n].milli
        where[n] = node, name, count
        heapq.heappush(events, (max(now, node.ready) + pods[n].lasts, n, 'end'))
        most = max(most, len(nodes))
    return paid + sum(node.empty_since + EMPTY_S - node.since for node in nodes), most, launched


def bench_churn(path=None):
    with tempfile.TemporaryDirectory(prefix='gpuslice-bench-') as folder:
        source = path or Path(folder, 'pods.csv')
        if not path:
            gputrace.generate(source)
        pods, tree = sorted(gputrace.read(source), key=lambda pod: pod.starts), money.plan(source)
    wanted = sum(pod.lasts * pod.milli / 1000 for pod in pods)
    print(f'\nGPU-hours of nodes for each that pods want ({wanted / 3600:.0f}), simulated: {len(pods)} pods, arrivals {FASTER} times faster, a node starts in '
          f'{START_S} s\nand goes after {EMPTY_S} s without a pod; nodes at once; nodes launched\n')
    print(f'{"":28}' + ''.join(f'{name:>10}{"most":>7}{"launched":>10}' for name in ('spread', 'packed')))
    for way in (*map(equal, (1, 2, 4, 6, 7, 8)), unequal(tree)):
        figures = [simulate(pods, way, is_packed) for is_packed in (False, True)]
        print(f'{way.name:28}' + ''.join(f'{paid / wanted:10.2f}{most:7}{launched:10}' for paid, most, launched in figures), flush=True)


if __name__ == '__main__':
    bench_churn(sys.argv[1] if len(sys.argv) > 1 else os.environ.get('TRACE'))
