# SPDX-License-Identifier: Apache-2.0
"""Servers of a language model, alone and beside others: tokens a second, and how even the time of a token is."""
import os

from bed import GIB, middle
from sharing import NATIVE, TURNS, Device, progress, quantile, spread, times

MODEL = 20 * GIB
CASES = (  # name, servers, tokens at once of each, others; must reach
    ('2 x batch 1', 2, 1, 0), ('2 x batch 8', 2, 8, 0), ('2 x batch 32', 2, 32, 0), ('4 x batch 8', 4, 8, 0), ('batch 8 + an idle one', 1, 8, 0),
    ('batch 8 + 2 big', 1, 8, 2))
RESIDENT = tuple(map(int, os.environ.get('RESIDENT', '2 4 8 16 32').split()))
TOKENS_OUT = 256
# %, two models on an A100, by resident requests.
PUBLISHED = {'fractions': {2: 63.5, 4: 60.4, 8: 68.0, 16: 77.8, 32: 87.9}, 'HAMi under KAI': {2: 44.5, 4: 45.0, 8: 51.2, 16: 61.6, 32: 72.8}}
WINDOW_S = 8.0


def pool():
    return [(f'srv{i}', 'server', {'share': 25, 'memory': MODEL, 'batch': 32}) for i in range(4)] + \
        [(f'big{i}', 'big', {'share': 25, 'memory': 6 * GIB}) for i in range(2)]


def evenness(found, system, names):
    """The worst p99 of a step by its p50."""
    return max(quantile(times(found[system], name), .99) / quantile(times(found[system], name), .5) for name in names)


def servers(bed):
    with Device(bed) as device:
        if not device.start(*pool()):
            bed.line('servers', 'workers did not start', '', False)
            return
        for case, n, batch, bigs in CASES:
            names, others = [f'srv{i}' for i in range(n)], [f'big{i}' for i in range(bigs)]
            found = device.compare(names + others, **{name: {'batch': batch, 'output': 0} for name in names})
            bed.note(case, found)
            native, turns = ([middle(progress(found, system, name)) for name in names] for system in (NATIVE, TURNS))
            plan = '/'.join(str((view['turns'] or {}).get('plan')) for status in found['status'] for view in status)
            even = evenness(found, TURNS, names)
            least = .60 if bigs else .98 * native[0] if n == 1 else .95 * middle(native)
            beside = f', bigs {sum(middle(progress(found, NATIVE, one)) for one in others):.0%} -> ' \
                     f'{sum(middle(progress(found, TURNS, one)) for one in others):.0%}' if others else ''
            bed.line(f'{case}: progress each', f'{middle(native):.0%} -> {middle(turns):.0%}{beside}, {plan}',
                     f'>= {least:.0%}', min(turns) >= least)
            bed.line(f'{case}: step p99 by p50', f'{evenness(found, NATIVE, names):.2f} -> {even:.2f}', '<= 1.2', even <= 1.2)


def requests(bed):
    """Tokens of both by those of one alone: 100 % is what one has, 200 % would be two GPUs."""
    with Device(bed) as device:
        if device.start(*pool()[:2]):
            closed_loop(bed, device)
        else:
            bed.line('requests', 'workers did not start', '', False)


def closed_loop(bed, device):
    names, found = ['srv0', 'srv1'], {}
    for resident in RESIDENT:
        orders = {name: {'batch': resident, 'output': TOKENS_OUT} for name in names}
        device.switch(False)
        alone = [device.window(WINDOW_S / 2, 1, [name], **orders)[name]['rate'] for name in names]
        both = {}
        for system in (NATIVE, TURNS):
            device.switch(system == TURNS)
            windows = device.window(WINDOW_S, 2, names, **orders)
            both[system] = [windows[name]['rate'] / rate for name, rate in zip(names, alone)]
        found[resident] = {'alone': alone, **both}
        published = ', '.join(f'{who} {values[resident]} %' for who, values in PUBLISHED.items())
        bed.line(f'2 servers, {resident} resident, each', f'{middle(both[NATIVE]):.1%} -> {middle(both[TURNS]):.1%}', f'published: {published}', None)
    bed.note('closed loop', found)


PARTS = (servers, requests)
