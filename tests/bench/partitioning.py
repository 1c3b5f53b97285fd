# SPDX-License-Identifier: Apache-2.0
"""How soon a node has another MIG layout, and what that costs: our agent, by the label of its Node, beside NVIDIA's mig-parted on the
same simulated machine, a p4d.24xlarge. mig-parted clears a GPU and tries the orders of its new devices; it runs alone here, without
the plugin that NVIDIA's MIG manager ends before it and starts after it.

A simulated driver takes no time for a change. A real one does: so the calls by which it changes something are counted, too, and all
calls, most of which ask how the GPUs are partitioned.
"""
import collections
import tempfile
import time
from pathlib import Path

import pytest

import foreign
import migparted
from node import Cluster, reset_as
from reactions import simulated

TIMES = 5
TYPE = 'p4d.24xlarge'
LABEL = 'nvidia.com/mig.config'
START = 'all-disabled'
LAYOUTS = ['all-balanced', 'other', 'all-1g.5gb', 'all-balanced', 'some', START]  # one after the other, and again
CHANGES = ('nvmlGpuInstanceDestroy', 'nvmlComputeInstanceDestroy', 'nvmlDeviceCreateGpuInstance',
           'nvmlDeviceCreateGpuInstanceWithPlacement', 'nvmlGpuInstanceCreateComputeInstance',
           'nvmlGpuInstanceCreateComputeInstanceWithPlacement')


class Theirs:
    def __init__(self, folder, program):
        self.machine = migparted.Machine(foreign.ROOT / f'sim/machines/{TYPE}.yaml', folder, program)

    def apply(self, label):
        """Seconds, calls."""
        began = time.monotonic()
        status, output, calls = self.machine.parted('apply', '-f', str(self.machine.folder / 'config.yaml'), '-c', label)
        assert status == 0, output
        return time.monotonic() - began, calls

    def resources(self):
        """{name: how many} of what the node then has."""
        counts = collections.Counter()
        for profiles in self.machine.profiles():
            counts.update(f'nvidia.com/mig-{one.replace("+", ".")}' for one in profiles)
            counts['nvidia.com/gpu'] += not profiles
        return +counts


class Ours:
    """An agent, and a kubelet that has its list."""

    def __init__(self, node):
        self.trace = node.folder / 'trace'
        reset_as(node, TYPE)
        (node.folder / 'layouts.yaml').write_text(migparted.CONFIG)
        self.kubelet, self.cluster = node.start_kubelet(), Cluster(node)
        self.cluster.greet = {'labels': {LABEL: START}}
        node.start_agent('version: v1\nflags: {migStrategy: mixed}\n', '--node-name=node', '--mig-partition',
                         '--mig-config-file', node.folder / 'layouts.yaml', GPUSLICE_SIM_TRACE=str(self.trace))
        self.resources = {}
        self.await_({'nvidia.com/gpu': 8}, 0)

    def await_(self, resources, mark):
        """When the kubelet had the last of them."""
        names = {**dict.fromkeys(self.resources, 0), **resources}
        changed = {name: count for name, count in names.items() if count != self.resources.get(name, 0)}
        self.resources = resources
        return max(self.kubelet.wait_line(rf'resource={name} .*allocatable={count}$', mark) for name, count in changed.items())

    def apply(self, label, resources):
        mark, before, began = self.kubelet.mark(), self.trace.stat().st_size, time.monotonic()
        self.cluster.tell(labels={LABEL: label})
        took = self.await_(resources, mark) - began
        return took, collections.Counter(self.trace.read_text()[before:].split())


def figures(runs):
    """ms, GPU instances destroyed and created, all calls, changes, of (seconds, calls) of each time."""
    _, calls = runs[0]
    return (sorted(took for took, _ in runs)[len(runs) // 2] * 1000, calls['nvmlGpuInstanceDestroy'], migparted.created(calls),
            sum(calls.values()), sum(calls[call] for call in CHANGES))


def print_row(name, ours, theirs):
    pairs = [f'{mine}/{peer}' for mine, peer in zip(ours[1:], theirs[1:])]
    print(f'{name:28}{ours[0]:8.0f}{theirs[0]:12.0f}{ours[0] / theirs[0]:8.2f}'
          + ''.join(f'{pair:>{width}}' for pair, width in zip(pairs, (12, 12, 14, 12)))
          + f'{ours[-1] / theirs[-1]:8.2f}', flush=True)


def bench_partitioning():
    try:
        program = migparted.program()
    except pytest.skip.Exception as reason:
        print(f'\nMIG layouts: {reason}')
        return
    print(f'\nMIG layouts of eight A100, {TIMES} of each: ms from the label until the kubelet has all of the new list, beside mig-parted '
          'apply\nalone; GPU instances destroyed and created, calls of the driver, those that change something, each ours/theirs\n')
    print(f'{"layout":28}{"ours":>8}{"mig-parted":>12}{"ratio":>8}{"destroyed":>12}{"created":>12}{"calls":>14}{"changes":>12}{"ratio":>8}')
    with simulated(TYPE) as node, tempfile.TemporaryDirectory(prefix='gpuslice-bench-') as folder:
        measure(Ours(node), Theirs(Path(folder), program))


def measure(ours, theirs):
    found = {}
    for _ in range(TIMES):
        for before, label in zip([START, *LAYOUTS], LAYOUTS):
            peer = theirs.apply(label)
            pair = found.setdefault(f'{before} -> {label}', ([], []))
            pair[0].append(ours.apply(label, theirs.resources()))
            pair[1].append(peer)
    rows = {name: [figures(runs) for runs in pair] for name, pair in found.items()}
    for name, pair in rows.items():
        print_row(name, *pair)
    print_row('all of them', *([sum(column) for column in zip(*side)] for side in zip(*rows.values())))
