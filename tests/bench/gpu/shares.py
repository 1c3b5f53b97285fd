# SPDX-License-Identifier: Apache-2.0
"""Shares: what each gets of what all get, by its weight, over 10 s and over each second; and the sum, by what they get natively."""
from bed import middle
from sharing import ALONE_LEAD_S, NATIVE_LEAD_S, SETTLE_S, Device

WINDOW_S, ALONE_S, NATIVE_S = 10.0, 1.5, 4.0
SUM_LEAST = .97


def allowed(longest_ms, share, seconds):
    return max(.02 if seconds == 10 else .05, longest_ms / 1e3 / (share * seconds))


def measure(device, weights, **orders):
    """Progress of each: over the window, of each second; and natively, in sum."""
    names = list(weights)
    device.switch(False)
    alone = {name: device.window(ALONE_S, ALONE_LEAD_S, [name], **orders)[name]['rate'] for name in names}
    native = device.window(NATIVE_S, NATIVE_LEAD_S, names, **orders)
    device.switch(True)
    turns = device.window(WINDOW_S, SETTLE_S, names, **orders)
    return {'alone': alone, 'native': {name: native[name]['rate'] / alone[name] for name in names},
            'whole': {name: turns[name]['rate'] / alone[name] for name in names},
            'seconds': {name: [n / alone[name] for n in turns[name]['by_second'][:int(WINDOW_S)]] for name in names}, 'status': device.view()}


def judge(bed, case, weights, found, longest_ms, needs_sum=True):
    bed.note(case, found)
    whole, seconds = found['whole'], found['seconds']
    total = sum(weights.values())
    share = {name: weight / total for name, weight in weights.items()}
    got = {name: value / sum(whole.values()) for name, value in whole.items()}
    over = max(abs(got[name] / share[name] - 1) / allowed(longest_ms[name], share[name], 10) for name in weights)
    error = max(abs(got[name] / share[name] - 1) for name in weights)
    each = [abs(values[i] / sum(one[i] for one in seconds.values()) / share[name] - 1) / allowed(longest_ms[name], share[name], 1)
            for name, values in seconds.items() for i in range(int(WINDOW_S))]
    parts = ', '.join(f'{value:.1%}' for value in got.values())
    bed.line(f'{case}: over 10 s', f'{parts}: error {error:.1%}', '<= 2 %, K/(share x 10 s)', over <= 1)
    bed.line(f'{case}: over 1 s', f'worst {max(each):.2f}, median {middle(each):.2f} of what is allowed', '<= 5 %, K/(share x 1 s)', max(each) <= 1)
    ratio = sum(whole.values()) / sum(found['native'].values())
    if needs_sum:
        bed.line(f'{case}: sum', f'{sum(found["native"].values()):.3f} -> {sum(whole.values()):.3f}: {ratio:.1%}', f'>= {SUM_LEAST:.0%}', ratio >= SUM_LEAST)


WEIGHTS = {'ten': 10, 'twenty': 20, 'thirty': 30, 'forty': 40}


def weights(bed):
    for compute in ('elastic', 'strict'):
        with Device(bed, compute) as device:
            device.start(*[(name, 'spinner', {'share': share, 'us': 1000, 'depth': 8}) for name, share in WEIGHTS.items()])
            judge(bed, f'10/20/30/40 {compute}', WEIGHTS, measure(device, WEIGHTS), dict.fromkeys(WEIGHTS, 1))


def strict(bed):
    """A quarter of the time, although nobody else wants any."""
    with Device(bed, 'strict') as device:
        device.start(('quarter', 'spinner', {'share': 25, 'us': 1000, 'depth': 8}))
        found = measure(device, {'quarter': 1})
        bed.note('strict', found)
        whole, seconds = found['whole']['quarter'], found['seconds']['quarter']
        worst = max(abs(one / .25 - 1) for one in seconds)
        bed.line('one strict 25 % alone', f'{whole:.2%}, worst second {worst:.1%} off', '25 % +- 2 %, 5 %', abs(whole / .25 - 1) <= .02 and worst <= .05)


def commands(bed):
    """Graphs, kernels that last, and containers of several processes: each case is one pair."""
    spin = {'us': 1000, 'depth': 8}
    cases = (('graphs of 20 kernels beside kernels', {'graphs': ('spinner', {'us': 200, 'graph': 20, 'depth': 2}), 'plain': ('spinner', spin)}, (4, 1), True),
             ('kernels of 50 ms beside kernels', {'lasting': ('spinner', {'us': 50000, 'depth': 2}), 'plain': ('spinner', spin)}, (50, 1), True),
             ('3 processes beside 1', {'three': ('spinner', {**spin, 'processes': 3}), 'one': ('spinner', spin)}, (1, 1), False))
    for case, tenants, longest_ms, needs_sum in cases:
        with Device(bed) as device:
            device.start(*[(name, kind, {'share': 50, **words}) for name, (kind, words) in tenants.items()])
            halves = dict.fromkeys(tenants, 1)
            judge(bed, case, halves, measure(device, halves), dict(zip(tenants, longest_ms)), needs_sum)


def changing(bed):
    """One that is heavy and light, a second each, costs who is always heavy at most its own half while it is heavy."""
    with Device(bed) as device:
        device.start(('changing', 'changing', {'share': 50, 'us': 1000, 'depth': 8, 'period': 2000}), ('plain', 'spinner', {'share': 50, 'us': 1000, 'depth': 8}))
        found = measure(device, {'changing': 1, 'plain': 1})
        bed.note('changing', found)
        plain, ratio = found['whole']['plain'], sum(found['whole'].values()) / sum(found['native'].values())
        bed.line('beside one that changes each second', f'{found["native"]["plain"]:.1%} -> {plain:.1%}; sum {ratio:.1%}', '>= 73 %, sum >= 97 %',
                 plain >= .73 and ratio >= SUM_LEAST)


PARTS = (weights, strict, commands, changing)
