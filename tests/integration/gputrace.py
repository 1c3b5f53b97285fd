# SPDX-License-Identifier: Apache-2.0
"""Pods of a production GPU cluster, for tests: made up, by the facts of a public trace that is no part of this repository.

The trace is Alibaba's cluster-trace-gpu-v2023 as hkust-adsl/kubernetes-scheduler-simulator keeps it (commit 8f3d641, Apache-2.0,
data/csv/openb_pod_list_default.csv): 8,152 tasks, of which 1,088 want no GPU, 3,078 a part of one, the others whole ones. `read` takes
that file; what `generate` makes has its columns, the distribution of its shares and that of its lifetimes.

By its own clock the trace never has more than 53 GPU pods at once (149 days): fill a cluster by arrivals without departures
("inflation"), or compress the time between arrivals, and say which.
"""
import csv
import math
import random
from collections import Counter

COLUMNS = ('name', 'cpu_milli', 'memory_mib', 'num_gpu', 'gpu_milli', 'gpu_spec', 'qos', 'pod_phase', 'creation_time',
           'deletion_time', 'scheduled_time')
# Thousandths of a GPU, and how many of 3,078 pods want them: p10, p50, p75, p90 are 270, 470, 810, 810; 0.5626 on average.
SHARES = {50: 7, 110: 30, 160: 80, 220: 66, 230: 140, 270: 12, 320: 328, 370: 60, 460: 130, 470: 760, 550: 72, 590: 75, 650: 260, 810: 1093}
LIFETIME_S = math.log(540), 2.05  # of a lognormal distribution: p50 540 s, p90 7,500 s (the trace: 6,574), p99 64,000 s (93,426)
WHOLE_GPUS, NO_GPU = 0.49, 0.13   # of all tasks


class Pod:
    """A pod that wants a part of a GPU: `milli` thousandths."""

    def __init__(self, row):
        self.name, self.milli = row['name'], int(row['gpu_milli'])
        self.cpu_milli, self.memory_mib = int(row['cpu_milli']), int(row['memory_mib'])
        self.starts = int(row['creation_time'] or 0)
        self.lasts = max(1, int(row['deletion_time'] or 0) - self.starts)


def read(path):
    """The pods with shares of a file with these columns, in its order."""
    with open(path, newline='', encoding='utf-8') as file:
        return [Pod({**dict.fromkeys(COLUMNS, '0'), **row}) for row in csv.DictReader(file)
                if int(row['num_gpu']) == 1 and 0 < int(row['gpu_milli']) < 1000]


def generate(path, n_tasks=8152, seed=2023):
    """Writes such a file."""
    chance, now = random.Random(seed), 0
    shares, weights = list(SHARES), list(SHARES.values())
    with open(path, 'w', newline='', encoding='utf-8') as file:
        table = csv.writer(file, lineterminator='\n')
        table.writerow(COLUMNS)
        for n in range(n_tasks):
            now += int(chance.expovariate(1 / 1580))
            kind, lasts = chance.random(), int(chance.lognormvariate(*LIFETIME_S)) + 1
            if kind < NO_GPU:
                gpus = 0, 0
            elif kind < NO_GPU + WHOLE_GPUS:
                gpus = chance.choices((1, 2, 4, 8), (98, 0.4, 0.4, 1.2))[0], 1000
            else:
                gpus = 1, chance.choices(shares, weights)[0]
            table.writerow([f'pod-{n:04}', chance.choice((4000, 8000, 12000)), chance.choice((8192, 16384, 30720)), *gpus, '', 'LS', 'Running',
                            now, now + lasts, now])


def first_fit(parts, whole=1000):
    """GPUs, filled in this order. Independent of the product's way."""
    room = []
    for one in parts:
        place = next((n for n, left in enumerate(room) if left >= one), None)
        if place is None:
            room.append(whole)
            place = -1
        room[place] -= one
    return len(room)


def first_fit_decreasing(parts, whole=1000):
    return first_fit(sorted(parts, reverse=True), whole)


def equal_slices(pods, n_slices):
    """GPUs in n_slices each; a pod has as many of one as it needs."""
    return first_fit_decreasing([-(-pod.milli * n_slices // 1000) for pod in pods], n_slices)


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def demand(pods):
    """GPUs in sum, and how many pods want each share."""
    return sum(pod.milli for pod in pods) / 1000, Counter(pod.milli for pod in pods)
