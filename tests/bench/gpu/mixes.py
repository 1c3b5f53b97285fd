# SPDX-License-Identifier: Apache-2.0
"""Mixes of models: progress of each tenant by its rate alone, natively and in turns; STP is their sum."""
import os
import shutil
import subprocess
import tempfile
from math import prod

from bed import GIB, middle
from sharing import NATIVE, NATIVE_LEAD_S, NATIVE_S, TURNS, Device, progress, spread

KINDS = {'big': 'big', 'dec': 'decoder', 'cnn': 'cnn', 'res': 'resnet'}
# What a launch-bound tenant needs of the device decides: the guide's sizes fill a third to a half of it, alone; the small ones a tenth.
SMALL = {'cnn': {'batch': 8}, 'res': {'batch': 1, 'reads': 0}}
BOTH, LARGE, LITTLE, FILLED = ('large', 'small'), ('large',), ('small',), ()
EIGHT = (('7 big + dec', {'big': 7, 'dec': 1}, BOTH, {}),)  # name, tenants, the means that its gain is part of, words for each kind
FOUR = (
    ('3 big + dec', {'big': 3, 'dec': 1}, BOTH, {}), ('2 big + resnet + cnn', {'big': 2, 'res': 1, 'cnn': 1}, LARGE, {'cnn': {'reads': 0}}),
    ('2 big + 2 cnn', {'big': 2, 'cnn': 2}, LARGE, {'cnn': {'reads': 0}}),
    ('2 big + small resnet + small cnn', {'big': 2, 'res': 1, 'cnn': 1}, LITTLE, SMALL), ('2 big + 2 small cnn', {'big': 2, 'cnn': 2}, LITTLE, SMALL))
LAUNCHING = (
    ('4 cnn', {'cnn': 4}, FILLED, {}), ('4 cnn that read no loss', {'cnn': 4}, FILLED, {'cnn': {'reads': 0}}), ('4 resnet', {'res': 4}, FILLED, {}))
PEERS = '2 big + resnet + cnn'


def names_of(mix):
    return [f'{kind}{i}' for kind, n in mix.items() for i in range(n)]


def orders_of(mix, words):
    return {f'{kind}{i}': words[kind] for kind, n in mix.items() if kind in words for i in range(n)}


def pool(counts, share=25):
    return [(f'{kind}{i}', KINDS[kind], {'share': share, 'memory': 7 * GIB}) for kind, n in counts.items() for i in range(n)]


def stp(found, system, names):
    return [sum(values) for values in zip(*(progress(found, system, name) for name in names))]


def show(bed, name, mix, found, is_filled):
    names = names_of(mix)
    bed.note(name, found)
    native, turns = (stp(found, system, names) for system in (NATIVE, TURNS))
    plan = [(device['turns'] or {}).get('plan') for view in found['status'] for device in view]
    bed.line(f'{name}: STP', f'{spread(native)} -> {spread(turns)}, {"/".join(map(str, plan))}', '>= 0.95 x native' if is_filled else '',
             middle(turns) >= 0.95 * middle(native) if is_filled else None)
    worst = None
    for one in names:
        was, now = (middle(progress(found, system, one)) for system in (NATIVE, TURNS))
        good = now >= 0.98 * min(was, 1 / len(names))
        worst = (one, was, now) if not good or worst is None and one == names[-1] else worst
        print(f'    {one:<6} {spread(progress(found, NATIVE, one))} -> {spread(progress(found, TURNS, one))}{"" if good else "  NOT"}', flush=True)
    if not is_filled:
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
    mix, words = next((mix, words) for name, mix, _, words in FOUR if name == PEERS)
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
            orders = {f'm-{name}': words for name, words in orders_of(mix, words).items()}
            windows = [device.window(NATIVE_S, NATIVE_LEAD_S, [name for name, _, _ in clients], **orders) for _ in range(2)]
            device.stop(*[name for name, _, _ in clients])
        found[label] = [{name[2:]: answer for name, answer in window.items()} for window in windows]
        values = stp(found, label, names)
        best = max(best, middle(values))
        each = ', '.join(f'{name} {middle(progress(found, label, name)):.2f}' for name in names)
        bed.line(f'{PEERS}: {label}', f'STP {spread(values)}: {each}', '', None)
    ours = middle(stp(found, TURNS, names))
    bed.note(PEERS, found)
    bed.line(f'{PEERS}: beside the best of them', f'{ours:.2f}, {best:.2f}', 'not less', ours >= best)


def play(bed, counts, mixes, share=25):
    """[(native, turns, means)] of STP."""
    with Device(bed) as device:
        if not device.start(*pool(counts, share)):
            bed.line('mixes', 'workers did not start', '', False)
            return []
        gains, kept = [], None
        for name, mix, means, words in mixes:
            found = device.compare(names_of(mix), **orders_of(mix, words))
            gains.append((*show(bed, name, mix, found, not means), means))
            if name.startswith('3 big'):
                by_weight(bed, found)
            kept = found if name == PEERS else kept
        if kept:
            peers(bed, device, kept)
        return gains


def heavy(bed):
    """Some that fill the GPU, and others beside them; and under MPS."""
    gains = play(bed, {'big': 7, 'dec': 1}, EIGHT, 12) + play(bed, {'big': 3, 'dec': 1, 'cnn': 2, 'res': 1}, FOUR)
    for mean in BOTH:
        ratios = [turns / native for native, turns, means in gains if mean in means and native]
        if ratios:
            value = prod(ratios) ** (1 / len(ratios))
            bed.line(f'STP by native, geometric mean, {mean} ones', f'{value:.2f}', '>= 1.4', value >= 1.4)


def launching(bed):
    """Those that the host's pace limits."""
    play(bed, {'cnn': 4, 'res': 4}, LAUNCHING)


PARTS = (heavy, launching)
