#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""GPUs that pods with shares need, by how GPUs are sliced, beside first-fit counts of our own and the arithmetic of what else there is.

    tests/bench/money.py [FILE]     TRACE=FILE does the same for `make bench`; GPUSLICE_BUILD=build-asan for another build

FILE is openb_pod_list_default.csv of hkust-adsl/kubernetes-scheduler-simulator (data/csv); without it pods are made up by that trace's
facts (tests/integration/gputrace.py). All pods are there at once and none ends: "inflation".
"""
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests/integration'))

import gputrace  # noqa: E402

BUILD = Path(os.environ.get('GPUSLICE_BUILD', ROOT / 'build')).resolve()
KAI_GUESS = 0.1  # of a GPU, for a pod that asks for memory: what KAI's node-scale-adjuster assumes by default (its docs/gpu-sharing/autoscaling)


def plan(path):
    done = subprocess.run([BUILD / 'src/gpuslice', 'plan', '--workload', path, '-o', 'json'], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def in_rounds(parts, guess):
    """(GPUs, rounds) when each round launches GPUs for what is guessed of the pods that still wait, and first-fit places what it can."""
    room, waiting, rounds = [], list(parts), 0
    while waiting:
        room += [1000] * max(1, math.ceil(sum(map(guess, waiting))))
        rounds, left, begin = rounds + 1, [], {}
        for one in waiting:
            # where the last one of this size found no room, this one finds none either
            place = next((n for n in range(begin.get(one, 0), len(room)) if room[n] >= one), None)
            begin[one] = len(room) if place is None else place
            if place is None:
                left.append(one)
            else:
                room[place] -= one
        waiting = left
    return len(room), rounds


def print_row(name, gpus, least, remark=''):
    print(f'{name:52}{gpus:8}{gpus / least:8.2f}  {remark}'.rstrip())


def bench_money(path=None):
    with tempfile.TemporaryDirectory(prefix='gpuslice-bench-') as folder:
        source = path or Path(folder, 'pods.csv')
        if not path:
            gputrace.generate(source)
        pods, tree = gputrace.read(source), plan(source)
    parts = [pod.milli for pod in pods]
    least = gputrace.first_fit_decreasing(parts)
    print(f"\nGPUs for {len(pods)} pods that want {sum(parts) / 1000:.1f} in sum, {path or 'made up by the facts of a public trace'};\n"
          f'beside first-fit-decreasing of the shares as they are\n')
    print(f'{"":52}{"GPUs":>8}{"ratio":>8}')
    print_row('first-fit-decreasing, any share', least, least)
    print_row('first-fit in the order of the file, any share', gputrace.first_fit(parts), least)
    for row in tree['ways']:
        print_row(f"gpuslice: {row['slices']}", row['gpus'], least, f"{row['names']} name{'s' * (row['names'] > 1)}, +{row['rounded_up_percent']:.1f} %")
    for name, guess in (('their shares', lambda one: one / 1000), (f'{KAI_GUESS} GPU for each', lambda _: KAI_GUESS)):
        gpus, rounds = in_rounds(parts, guess)
        print_row(f'as many as by {name}, until all fit', gpus, least, f'{rounds} round{"s" * (rounds > 1)} of launches')
    return tree


if __name__ == '__main__':
    bench_money(sys.argv[1] if len(sys.argv) > 1 else os.environ.get('TRACE'))
