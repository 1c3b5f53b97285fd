# SPDX-License-Identifier: Apache-2.0
"""Kernels of a known time: who is alone, short ones that are awaited one by one, and a light task beside heavy ones."""
from bed import middle
from sharing import NATIVE, ROUNDS, TURNS, Device, progress, quantile, spread, times

HEAVY_US, LIGHT_US, THINK_US, SHORT_US = 5700, (79, 272), 200, 66
LONG = {'us': HEAVY_US, 'depth': 8}


def alone(bed):
    """Beside three who have nothing to do."""
    with Device(bed) as device:
        device.start(('heavy', 'spinner', {'share': 25, **LONG}), ('empty', 'nothing', {'share': 25}), ('cnn', 'cnn', {'share': 25}),
                     ('idle', 'spinner', {'share': 25}))
        for name in [one for one in ('heavy', 'empty', 'cnn') if one in device.workers]:
            found = device.compare([name], rounds=2 * ROUNDS, systems=(NATIVE, TURNS))
            bed.note(f'alone: {name}', found)
            native, turns = ([one[name]['rate'] for one in found[system]] for system in (NATIVE, TURNS))
            part = middle(turns) / middle(native)
            bed.line(f'alone: {name}', f'{spread(native, "{:.1f}")} -> {spread(turns, "{:.1f}")}: {part:.1%}', '>= 99 %', part >= .99)


def short(bed):
    """Each of the time of a driver's launch and wait, or so."""
    names = [f'short{i}' for i in range(4)]
    with Device(bed) as device:
        device.start(*[(name, 'spinner', {'share': 25, 'us': SHORT_US, 'depth': 0}) for name in names])
        found = device.compare(names)
        bed.note('short', found)
        native, turns = ([sum(values) for values in zip(*(progress(found, system, name) for name in names))] for system in (NATIVE, TURNS))
        each = ', '.join(f'{middle(progress(found, TURNS, name)):.0%}' for name in names)
        bed.line(f'4 x kernels of {SHORT_US} us, awaited', f'{spread(native)} -> {spread(turns)} ({each})', '>= 0.95 in sum', middle(turns) >= .95)


def light(bed):
    """Busy time: steps by their time alone on the GPU, in sum."""
    heavy = [f'heavy{i}' for i in range(7)]
    with Device(bed) as device:
        device.start(('light', 'spinner', {'share': 12, 'us': LIGHT_US[0], 'depth': 0, 'think': THINK_US}),
                     *[(name, 'spinner', {'share': 12, **LONG}) for name in heavy])
        for n in (3, 7):
            for us in LIGHT_US:
                names = ['light', *heavy[:n]]
                found = device.compare(names, light={'us': us})
                bed.note(f'light of {us} us beside {n}', found)
                p50, p99 = ([quantile(times(found[system], 'light'), part) for system in (NATIVE, TURNS)] for part in (.5, .99))
                busy = [sum(middle([one[name]['rate'] for one in found[system]]) * (us if name == 'light' else HEAVY_US) / 1e6 for name in names)
                        for system in (NATIVE, TURNS)]
                bed.line(f'light of {us} us beside {n} heavy: p50, p99', f'{p50[0]:.2f}, {p99[0]:.2f} -> {p50[1]:.2f}, {p99[1]:.2f} ms', 'p99 <= 2.6 ms',
                         p99[1] <= 2.6)
                bed.line(f'light of {us} us beside {n} heavy: busy time', f'{busy[0]:.3f} -> {busy[1]:.3f}: {busy[1] / busy[0]:.1%}', '>= 98 %',
                         busy[1] >= .98 * busy[0])


PARTS = (alone, short, light)
