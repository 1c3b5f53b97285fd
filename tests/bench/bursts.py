#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How many nodes real Karpenter launches for a burst of pods, of how many are needed, and how soon all pods run: with the overlays of our
SliceProfiles and without. And how soon an empty node goes.

    tests/bench/bursts.py [PODS...] [SLICES...]      1 16 17 64 160 1000 by default, which takes a quarter of an hour; GPUSLICE_BUILD=build-asan for another build

SLICES are names of the first column, such as 'MIG, mixed'; all by default.

Karpenter's KWOK provider makes Node objects, which have their slices at once: on a cloud a node takes minutes. It needs what `make bed` builds.
"""
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests/e2e'))

import programs  # noqa: E402
from bed import ControlPlane  # noqa: E402
from cluster import GPU  # noqa: E402
from karpenter import CLAIMS, PARTS, Karpenter  # noqa: E402
from test_karpenter import MIG, MIXED, RENAMED, SHARED, SHARES, Sliced, await_refusal, make_pool  # noqa: E402

WAYS = {'time-slicing': (SHARES, GPU), 'time-slicing, renamed': (RENAMED, SHARED), 'MIG, mixed': (MIXED, MIG)}
SIZES = 1, 16, 17, 64, 160, 1000
CONSOLIDATE_S = 10
WITH, WITHOUT = 'with overlays', 'without'


def burst(karpenter, pool, n_pods, resource):
    """Seconds until all run; None when none will."""
    started = time.monotonic()
    karpenter.deploy(pool, n_pods, [{resource: 1}])

    def outcome():
        if karpenter.n_running(pool) == n_pods:
            return 'running'
        return not karpenter.claims(pool) and time.monotonic() - started > 5 and is_refused(karpenter, pool) and 'refused'
    if karpenter.await_(f'{n_pods} pods', outcome) == 'running':
        return time.monotonic() - started
    await_refusal(karpenter, pool)
    return None


def is_refused(karpenter, pool):
    return any(karpenter.rejection(pod['metadata']['name']) for pod in karpenter.pods(pool)[:1])


def measure(karpenter, name, way, n_pods):
    sliced, resource = WAYS[name]
    pool = make_pool(karpenter, sliced) if way == WITH else karpenter.create_pool(sliced.nodes)
    seconds = burst(karpenter, pool, n_pods, resource)
    karpenter.settle()
    launched = sum(karpenter.launched(pool).values())
    needed = -(-n_pods // max(next(iter(sliced.nodes.values())).values()))
    print(f'{name:24}{way:16}{n_pods:6}{launched:10}{needed:8}{launched / needed:8.2f}' + (f'{seconds:12.1f}' if seconds else f'{"never":>12}'), flush=True)
    karpenter.clean()
    return launched, needed


def measure_scale_in(karpenter):
    """From the end of the last pod."""
    pool = make_pool(karpenter, Sliced(RENAMED.nodes, **RENAMED.how, consolidateAfter=f'{CONSOLIDATE_S}s'))
    burst(karpenter, pool, 17, SHARED)
    karpenter.cluster.scale(pool, 0)
    karpenter.await_('no pods', lambda: not karpenter.pods(pool))
    started = time.monotonic()
    karpenter.await_('no nodes', lambda: not karpenter.api.call(f'{CLAIMS}?labelSelector=karpenter.sh/nodepool={pool}')['items'])
    print(f'\ntwo empty nodes are gone after {time.monotonic() - started:.1f} s, with consolidateAfter: {CONSOLIDATE_S}s', flush=True)
    karpenter.clean()


def bench_bursts(sizes=SIZES, names=tuple(WAYS)):
    programs.build(PARTS)
    karpenter = Karpenter(ControlPlane(programs.FOLDER / 'bursts', 28143))  # beside a run of the tests
    try:
        karpenter.plane.up(controllers=True, scheduler=True)
        karpenter.up()
        print(f'\n{"slices":24}{"":16}{"pods":>6}{"launched":>10}{"needed":>8}{"ratio":>8}{"running, s":>12}')
        for n_pods in sizes:
            for name in names:
                for way in WITH, WITHOUT:
                    measure(karpenter, name, way, n_pods)
        measure_scale_in(karpenter)
    finally:
        karpenter.down()
        karpenter.plane.down()


if __name__ == '__main__':
    os.environ.setdefault('GPUSLICE_BUILD', str(ROOT / 'build'))
    words = sys.argv[1:]
    if unknown := [word for word in words if not word.isdigit() and word not in WAYS]:
        sys.exit(f"no slices are called {unknown[0]!r}; there are: {'; '.join(WAYS)}")
    bench_bursts([int(word) for word in words if word.isdigit()] or SIZES, [word for word in words if not word.isdigit()] or tuple(WAYS))
