# SPDX-License-Identifier: Apache-2.0
"""What happens to others who share a GPU in turns, when one of them or the arbiter dies, stops, fails, waits for another, or lies."""
import os
import signal
import time
from pathlib import Path

from bed import eventually
from sharing import SCALE, SETTLE_S, Device

WINDOW_S, AT_S = 3.0 * SCALE, 1.0 * SCALE
NAMED_S = 10
HEAVY = {'us': 1000, 'depth': 8}


def others(bed, case, act, kind='spinner', undo=None, **orders):
    """Two heavy ones go on while something happens to the third."""
    names = ['a', 'b', 'victim']
    with Device(bed) as device:
        device.start(*[(name, kind if name == 'victim' else 'spinner', {'share': 30, **HEAVY}) for name in names])
        quiet = device.window(WINDOW_S, SETTLE_S, names)
        counted = device.order(WINDOW_S, 1, names[:2] if orders else names)
        if orders:
            time.sleep(max(0, counted + AT_S - time.monotonic()))
            device.order(.1, 0, ['victim'], **orders)
        else:
            time.sleep(max(0, counted + AT_S - time.monotonic()))
            act(device)
        answers = device.answers(names[:2])
        if undo:
            undo(device)
        again = device.window(1, .5, names[:2])
    before, gap = (max(one[name].get('gap_s', float('inf')) for name in names[:2]) for one in (quiet, answers))
    lives = all(one[name]['rate'] > 0 and 'error' not in one[name] for one in (answers, again) for name in names[:2])
    bed.note(case, {'before': quiet, 'during': answers, 'again': again})
    bed.line(case, f'others wait {gap * 1000:.0f} ms at most (before {before * 1000:.0f}){"" if lives else ", and one has ended"}', '<= 200 ms',
             gap <= .2 and lives)


def ends(bed):
    others(bed, 'kill -9 of one of three', lambda device: device.workers['victim'].kill())
    others(bed, 'SIGSTOP of one of three', lambda device: device.workers['victim'].kill(signal.SIGSTOP),
           undo=lambda device: device.workers['victim'].kill(signal.SIGCONT))
    others(bed, 'illegal address in one of three', None, victim={'fault': True})


def arbiter(bed):
    others(bed, 'kill -9 of the arbiter', lambda device: device.arbiter.process.kill())

    def again(device):
        device.arbiter.process.kill()
        device.arbiter.process.wait()
        device.start_arbiter()
    others(bed, 'the arbiter is killed and started again', again)
    others(bed, 'SIGSTOP of the arbiter', lambda device: device.arbiter.process.send_signal(signal.SIGSTOP),
           undo=lambda device: device.arbiter.process.send_signal(signal.SIGCONT))


def pingpong(bed):
    """Each waits for the other's kernel, across containers, beside a heavy one."""
    place = os.getpid()
    names = ['ping', 'pong', 'heavy']
    with Device(bed) as device:
        started = device.start(*[(name, 'pingpong', {'share': 30, 'us': 500, 'first': first, 'place': place}) for first, name in enumerate(names[:2])],
                               ('heavy', 'spinner', {'share': 30, **HEAVY}))
        if not started:
            bed.line('IPC ping-pong', 'did not start', '', None)
            return
        device.switch(False)
        native = device.window(WINDOW_S, 1, names)
        device.switch(True)
        turns = device.window(WINDOW_S, SETTLE_S, names)
        plan = device.view()
    for first in (0, 1):
        Path(f'/tmp/gpuslice-pingpong-{place}-{first}').unlink(missing_ok=True)
    bed.note('pingpong', {'native': native, 'turns': turns, 'plan': plan})
    gap = max(turns[name]['gap_s'] for name in names)
    rates = ', '.join(f'{name} {native[name]["rate"]:.0f} -> {turns[name]["rate"]:.0f}/s' for name in names)
    bed.line('IPC ping-pong of two containers', f'{rates}; longest gap {gap * 1000:.0f} ms', 'no hang', all(turns[name]['rate'] > 0 for name in names) and gap < 1)


def liar(bed):
    """It launches as it likes, and its page says that it has nothing to do."""
    names = ['a', 'b', 'victim']
    with Device(bed) as device:
        device.start(*[(name, 'liar' if name == 'victim' else 'spinner', {'share': 30, **HEAVY}) for name in names])
        counted = device.order(WINDOW_S + NAMED_S, SETTLE_S, names[:2])
        time.sleep(counted + WINDOW_S - time.monotonic())
        device.order(NAMED_S, 0, names[2:], victim={'lies': 1, 'us': 5000})
        named = eventually(lambda: is_suspected(device, device.workers['victim']), NAMED_S, .1)
        view = device.view()
        answers = device.answers(names)
    seconds = {name: answers[name]['by_second'] for name in names[:2]}
    bed.note('liar', {'answers': answers, 'named_s': named, 'status': view})
    rates = ', '.join(f'{sum(each[:2]) / 2:.0f} -> {sum(each[-4:-2]) / 2:.0f}/s' for each in seconds.values())
    bed.line('one that claims to be idle', f'{"not named" if named is None else f"named after {named:.1f} s"}; others {rates}', f'<= {NAMED_S} s',
             named is not None and named <= NAMED_S)


def is_suspected(device, worker):
    """It alone."""
    rows = [row for one in device.status().get('devices', []) for row in one.get('containers', [])]
    suspects = [row for row in rows if (row.get('turns') or {}).get('is_suspect')]
    return bool(suspects) and all(str(worker.process.pid) in str(row) for row in suspects)


PARTS = (ends, arbiter, pingpong, liar)
