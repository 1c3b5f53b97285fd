# SPDX-License-Identifier: Apache-2.0
"""Mixes of models: progress of each tenant by its rate alone, natively and in turns; STP is their sum."""
import os
import shutil
import subprocess
import tempfile
from math import prod

from bed import GIB, middle
from sharing import NATIVE, NATIVE_LEAD_S, NATIVE_S, TURNS, Device, progress, spread

SHARE = 25
KINDS = {'big': 'big', 'dec': 'decoder', 'cnn': 'cnn', 'res': 'resnet'}
POOL = {'big': 7, 'dec': 1, 'cnn': 4, 'res': 4}
MIXES = (  # heavy mixes, of which STP is compared; and those that launch-bound tenants fill
    ('3 big + dec', {'big': 3, 'dec': 1}, True), ('2 big + resnet + cnn', {'big': 2, 'res': 1, 'cnn': 1}, True),
    ('2 big + 2 cnn', {'big': 2, 'cnn': 2}, True), ('7 big + dec', {'big': 7, 'dec': 1}, True),
    ('4 cnn', {'cnn': 4}, False), ('4 resnet', {'res': 4}, False))
PEERS = '2 big + resnet + cnn'


def names_of(mix):
    return [f'{kind}{i}' for kind, n in mix.items() for i in range(n)]


def pool(counts, **more):
    return [(f'{kind}{i}', KINDS[kind], {'share': SHARE, 'memory': 7 * GIB, **more}) for kind, n in counts.items() for i in range(n)]


def stp(found, system, names):
    return [sum(values) for values in zip(*(progress(found, system, name) for name in names))]


def show(bed, name, mix, found, is_heavy):
    names = names_of(mix)
    bed.note(name, found)
    native, turns = (stp(found, system, names) for system in (NATIVE, TURNS))
    plan = [(device['turns'] or {}).get('plan') for view in found['status'] for device in view]
    bed.line(f'{name}: STP', f'{spread(native)} -> {spread(turns)}, {"/".join(map(str, plan))}', '' if is_heavy else '>= 0.95 x native',
             None if is_heavy else middle(turns) >= 0.95 * middle(native))
    worst = None
    for one in names:
        was, now = (middle(progress(found, system, one)) for system in (NATIVE, TURNS))
        good = now >= 0.98 * min(was, 1 / len(names))
        worst = (one, was, now) if not good or worst is None and one == names[-1] else worst
        print(f'    {one:<6} {spread(progress(found, NATIVE, one))} -> {spread(progress(found, TURNS, one))}{"" if good else "  NOT"}', flush=True)
    if is_heavy:
        bed.line(f'{name}: nobody below native or share', f'{worst[0]}: {worst[1]:.2f} -> {worst[2]:.2f}', f'min(native, {1 / len(names):.2f})',
                 worst[2] >= 0.98 * min(worst[1], 1 / len(names)))
    return middle(native), middle(turns)


def by_weight(bed, found):
    bigs = sum(middle(progress(found, TURNS, f'big{i}')) for i in range(3))
    decoder = middle(progress(found, TURNS, 'dec0'))
    bed.line('3 big + dec: decode, bigs in sum', f'{decoder:.0%}, {bigs:.0%}', '>= 85 %, 71 % or 69 %, 79 %',
             decoder >= .85 and bigs >= .71 or decoder >= .69 and bigs >= .79)


class Mps:
    """A server of its own. compute mode and clocks stay as they are."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix='mps-')
        self.variables = {'CUDA_MPS_PIPE_DIRECTORY': f'{self.folder}/pipe', 'CUDA_MPS_LOG_DIRECTORY': f'{self.folder}/log'}
        for folder in self.variables.values():
            os.mkdir(folder)

    def __enter__(self):
        subprocess.run(['nvidia-cuda-mps-control', '-d'], env={**os.environ, **self.variables}, check=True, timeout=60, capture_output=True)
        return self

    def __exit__(self, *_):
        subprocess.run(['nvidia-cuda-mps-control'], input='quit\n', text=True, env={**os.environ, **self.variables}, timeout=60, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def peers(bed, device, found):
    """The mix under MPS, open and with a quarter of the multiprocessors each, in the same run."""
    mix = dict(next(mix for name, mix, _ in MIXES if name == PEERS))
    names, best = names_of(mix), middle(stp(found, NATIVE, names_of(mix)))
    if not shutil.which('nvidia-cuda-mps-control'):
        bed.line(f'{PEERS}: under MPS', 'there is no MPS here', '', None)
        return
    for label, limit in (('MPS', {}), ('MPS 25 %', {'CUDA_MPS_ACTIVE_THREAD_PERCENTAGE': '25'})):
        with Mps() as server:
            clients = [(f'm-{name}', kind, {'mps': {**server.variables, **limit}}) for name, kind, _ in pool(mix)]
            if not device.start(*clients):
                bed.line(f'{PEERS}: {label}', 'did not start', '', None)
                device.stop(*[name for name, _, _ in clients if name in device.workers])
                continue
            windows = [device.window(NATIVE_S, NATIVE_LEAD_S, [name for name, _, _ in clients]) for _ in range(2)]
            device.stop(*[name for name, _, _ in clients])
        found[label] = [{name[2:]: answer for name, answer in window.items()} for window in windows]
        values = stp(found, label, names)
        best = max(best, middle(values))
        each = ', '.join(f'{name} {middle(progress(found, label, name)):.2f}' for name in names)
        bed.line(f'{PEERS}: {label}', f'STP {spread(values)}: {each}', '', None)
    ours = middle(stp(found, TURNS, names))
    bed.note(PEERS, found)
    bed.line(f'{PEERS}: beside the best of them', f'{ours:.2f}, {best:.2f}', 'not less', ours >= best)


def play(bed, counts):
    """All mixes that so many workers allow."""
    with Device(bed) as device:
        if not device.start(*pool(counts)):
            bed.line('mixes', 'workers did not start', '', False)
            return
        gains = []
        for name, mix, is_heavy in MIXES:
            if not set(names_of(mix)) <= set(device.workers):
                continue
            found = device.compare(names_of(mix))
            native, turns = show(bed, name, mix, found, is_heavy)
            if is_heavy:
                gains.append(turns / native)
            if name.startswith('3 big'):
                by_weight(bed, found)
            if name == PEERS:
                kept = found
        if gains:
            mean = prod(gains) ** (1 / len(gains))
            bed.line('STP by native, geometric mean', f'{mean:.2f}', '>= 1.4', mean >= 1.4)
            peers(bed, device, kept)


def heavy(bed):
    """Some that fill the GPU, and others beside them; and under MPS."""
    play(bed, {**POOL, 'cnn': 2, 'res': 1})


def launching(bed):
    """Those that the host's pace limits."""
    play(bed, {'cnn': 4, 'res': 4})


PARTS = (heavy, launching)
