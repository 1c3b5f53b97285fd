# SPDX-License-Identifier: Apache-2.0
"""Row 2: what the library costs, alone on the GPU: launches, graph launches, allocations, and a model's training; and the same where turns are
given, and nobody else has work."""
import os
import sys

from bed import GIB, HERE, MIB, Tenant, middle
from sharing import Device

PAIRS, ROUNDS, BATCHES = int(os.environ.get('PAIRS', 4)), 2, 60
CASES = (
    # name, command, ns allowed
    ('launch of an empty kernel', ('launch', BATCHES), 60),
    ('launch of a graph', ('graph', BATCHES), 60),
    ('cuMemAlloc + cuMemFree of 64 KiB', ('alloc', 64 << 10, BATCHES), None),
    ('cuMemAlloc + cuMemFree of 1 MiB', ('alloc', MIB, BATCHES), None),
    ('cuMemAlloc + cuMemFree of 64 MiB', ('alloc', 64 * MIB, BATCHES // 3), 50_000),
    ('cuMemAlloc + cuMemFree of 1 GiB', ('alloc', GIB, BATCHES // 6), 50_000),
)
TRAININGS = int(os.environ.get('PAIRS', 4)) // 2


def calls(bed, label='', options=()):
    """Rounds alternate, so that a slow moment of the machine meets both. One process may be slower than another from its start to its end (by a
    quarter, with nothing preloaded), so that there are several pairs; and who comes first finds memory that the driver has cleared meanwhile (some
    GiB), so that both come first. The least of all is least disturbed."""
    samples = {name: {'without': [], 'with': []} for name, _, _ in CASES}
    for _ in range(PAIRS):
        with Tenant(bed) as plain, Tenant(bed, bed.nvml.total() // 2, options=options) as limited:
            probers = {'without': plain.prober(), 'with': limited.prober()}
            for i in range(2 * ROUNDS):
                for name, words, _ in CASES:
                    for which, prober in sorted(probers.items(), reverse=i % 2 == 1):
                        code, values = prober.call(*words)
                        assert code == 0, f'{words}: {code}'
                        samples[name][which].append([float(value) for value in values])
    for name, _, allowed in CASES:
        low = {which: min(min(one) for one in rounds) for which, rounds in samples[name].items()}
        typical = {which: middle([value for one in rounds for value in one]) for which, rounds in samples[name].items()}
        more = low['with'] - low['without']
        bed.line(label + name, f'{low["without"]:.0f} -> {low["with"]:.0f} ns: {more:+.0f} ns (medians {typical["with"] - typical["without"]:+.0f})',
                 f'<= +{allowed} ns' if allowed else '', more <= allowed if allowed else None)
    bed.note(f'{label}calls', samples)


def training(bed, label='', options=()):
    """Steps a second of a ResNet; each process measures several windows after its start, and the best of all is least disturbed."""
    if 'GPUSLICE_MACHINE' in os.environ:
        bed.line(f'{label}ResNet training', 'no results on the simulator', '<= 1 %', None)
        return
    rates = {'without': [], 'with': []}
    for _ in range(TRAININGS):
        for which, memory in (('without', None), ('with', bed.nvml.total() // 2)):
            status, out, errors = bed.run([sys.executable, HERE / 'programs/resnet_rate.py'], memory, options=options)
            if status:
                bed.line(f'{label}ResNet training', 'did not run: ' + (errors.strip().splitlines() or ['?'])[-1][:80], '<= 1 %', None)
                return
            rates[which].append([float(word) for word in out.split()])
    best = {which: max(max(one) for one in runs) for which, runs in rates.items()}
    lost = 100 * (1 - best['with'] / best['without'])
    bed.note(f'{label}training', rates)
    bed.line(f'{label}ResNet training', f'{best["without"]:.1f} -> {best["with"]:.1f} steps/s: {lost:+.2f} %', '<= 1 %', lost <= 1)


def switched(bed, device, prober):
    """In one process, while turns are switched off and on: processes differ by more than what is looked for."""
    samples = {name: {False: [], True: []} for name, _, _ in CASES[:2]}
    for i in range(4 * PAIRS):
        is_on = i % 4 in (1, 2)
        device.switch(is_on)
        for name, words, _ in CASES[:2]:
            prober.call(*words)  # the first launches find out what holds now
            code, values = prober.call(*words)
            assert code == 0, f'{words}: {code}'
            samples[name][is_on].append([float(value) for value in values])
    for name, _, allowed in CASES[:2]:
        off, on = (middle([value for one in samples[name][is_on] for value in one]) for is_on in (False, True))
        bed.line(f'turns switched on: {name}', f'{off:.0f} -> {on:.0f} ns: {on - off:+.0f} ns', f'<= +{allowed} ns', on - off <= allowed)
    bed.note('switched', {name: {'off': rounds[False], 'on': rounds[True]} for name, rounds in samples.items()})


def turns(bed):
    with Device(bed) as device:
        options = device.options(25)
        with Tenant(bed, 4 * GIB, options=options) as tenant:
            switched(bed, device, tenant.prober())
        device.switch(True)
        with Tenant(bed, 4 * GIB, options=options) as idle:
            idle.prober().call('launch', 1)
            calls(bed, 'turns: ', options)
            training(bed, 'turns: ', options)


PARTS = (calls, training, turns)
