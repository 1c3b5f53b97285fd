# SPDX-License-Identifier: Apache-2.0
"""Row 3: what happens to the others when a process, the arbiter or the agent dies, stops, forks or comes in crowds."""
import concurrent.futures
import os
import signal
import sys
import time

from bed import GIB, GRANULE, HERE, MIB, OUT_OF_MEMORY, PATIENCE_S, Tenant, eventually, mib, readable
from pods import Node

LIMIT = 8 * GIB
CROWD = 200
CONTEXTS = int(os.environ.get('CONTEXTS', '100'))
STEPS = 200
AGAIN = 40
REPLICAS = 16
BUSY_S = 0.02


def pace(prober):
    """The longest of some allocations, in seconds: how long somebody is held up."""
    worst = 0
    for _ in range(STEPS):
        begun = time.monotonic()
        assert prober.call('take', 'cuMemAlloc', 4 * MIB)[0] == 0
        assert prober.call('drop', 1)[0] == 0
        worst = max(worst, time.monotonic() - begun)
    return worst


def is_soon(during, before):
    """A machine that is busy with other things cannot tell: None."""
    return during <= 0.2 or (None if before > BUSY_S else False)


def others(bed, case, witness, act, undo=None):
    before = pace(witness)
    act()
    during = pace(witness)
    if undo:
        undo()
    bed.note(case, {'before_s': before, 'during_s': during})
    bed.line(case, f'others wait {during * 1000:.0f} ms at most (before {before * 1000:.0f})', '<= 200 ms', is_soon(during, before))


def processes(bed):
    with Tenant(bed, LIMIT) as tenant:
        witness, victim, stopped = tenant.start(3)
        for one in (victim, stopped):
            one.call('take', 'cuMemAlloc', GIB)
        others(bed, 'kill -9 of a process', witness, victim.kill)
        others(bed, 'SIGSTOP of a process', witness, lambda: stopped.kill(signal.SIGSTOP), lambda: stopped.kill(signal.SIGCONT))
        code, _ = stopped.call('take', 'cuMemAlloc', GIB)
        bed.line('it goes on after SIGCONT', f'code {code}', 'code 0', code == 0)


def arbiter(bed):
    with Tenant(bed, LIMIT) as tenant:
        witness, other = tenant.start(2)
        witness.call('take', 'cuMemAlloc', GIB)
        tenant.settle()
        free = witness.free()
        first = tenant.arbiter()
        others(bed, 'kill -9 of the arbiter', witness, lambda: os.kill(first, signal.SIGKILL))
        back = eventually(lambda: tenant.arbiter() not in (None, first), 30)
        bed.line('another one is there', 'no' if back is None else 'yes', 'yes', back is not None)
        # Both say again what they have, with their next allocations: the same is free as before, and the limit holds.
        for _ in range(AGAIN):
            for one in (witness, other):
                one.call('take', 'cuMemAlloc', 4 * MIB)
                one.call('drop', 1)
            time.sleep(0.1)
        known = eventually(lambda: abs(other.free() - free) <= GRANULE and other.call('take', 'cuMemAlloc', MIB)[0] == 0
                           and other.call('drop', 1)[0] == 0, 10)
        code, words = other.call('fill', 'cuMemAlloc', 256 * MIB, GRANULE, LIMIT + GIB)
        bed.note('arbiter', {'free_before': free, 'known_s': known, 'fill': [code, words]})
        bed.line('the account is as before', 'no' if known is None else f'after {known * 1000:.0f} ms', '<= 10 s', known is not None)
        used = sum(bed.nvml.processes().get(one.pid, 0) for one in tenant.probers)
        bed.line('the limit holds after it', f'code {code}, {used // MIB} MiB in NVML', f'<= {(LIMIT + GRANULE) // MIB} MiB',
                 code == 2 and used <= LIMIT + GRANULE)
        second = tenant.arbiter()
        other.call('drop')
        others(bed, 'SIGSTOP of the arbiter', other, lambda: os.kill(second, signal.SIGSTOP), lambda: os.kill(second, signal.SIGCONT))


def crowd(bed):
    """All connect at once; as many have a context as the GPU has room for."""
    with Tenant(bed, bed.nvml.total() * 9 // 10) as tenant:
        begun = time.monotonic()
        probers = tenant.start(CROWD, prepared=False)
        users = probers[:CONTEXTS]
        for one in users:
            one.ask('info')
        answers = [one.answer() for one in users]
        seconds = time.monotonic() - begun
        good = sum(code == 0 for code, _ in answers)
        refused = sum(code == 2 for code, _ in answers)
        bed.note('crowd', {'seconds': seconds, 'codes': [code for code, _ in answers]})
        bed.line(f'{CROWD} processes, {CONTEXTS} contexts at once', f'{good} have one, {refused} were told it is full, {seconds:.1f} s',
                 'all answered', good + refused == len(users) and good > 0)
        for one in users:
            one.pid = None
    with Tenant(bed, LIMIT) as tenant:
        prober = tenant.prober()
        code, _ = prober.call('take', 'cuMemAlloc', LIMIT // 2)
        bed.line('the next one finds the GPU free', f'code {code}', 'code 0', code == 0)


def leaks(bed):
    used = bed.nvml.used()
    with Tenant(bed, LIMIT) as tenant:
        one = tenant.prober()
        one.call('fill', 'cuMemAlloc', 256 * MIB, GRANULE, LIMIT + GIB)
        one.ask('fill', 'cuMemAlloc', 256 * MIB, GRANULE, LIMIT + GIB)
        readable(one, PATIENCE_S)
        one.kill()
    left = eventually(lambda: bed.nvml.used() <= used + GRANULE, 5)
    bed.line('nothing is left on the GPU', 'no' if left is None else f'after {left * 1000:.0f} ms', '<= 1 s', left is not None and left <= 1)


def agent(bed):
    """While two pods allocate: they go on, processes register, and once it is back so do pods."""
    used = bed.nvml.used()
    with Node(bed, REPLICAS) as node:
        node.start()
        offered = node.allocatable()
        first, second = node.add_pods('first', 'second')
        witness, worker = first.prober(), second.prober()
        for one in (witness, worker):
            one.info()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            beside = pool.submit(pace, worker)
            others(bed, 'kill -9 of the agent', witness, lambda: node.agent.end(signal.SIGKILL))
            worst = beside.result()
        bed.line('a pod that allocates meanwhile', f'waits {worst * 1000:.0f} ms at most', '<= 200 ms', is_soon(worst, bed.samples['kill -9 of the agent']['before_s']))
        begun = time.monotonic()
        late = second.prober()
        late.info()
        code, _ = late.call('take', 'cuMemAlloc', GIB)
        bed.line('a new process while it is away', f'code {code}, {time.monotonic() - begun:.1f} s', 'code 0', code == 0)
        code, _ = late.call('fill', 'cuMemAlloc', 512 * MIB, GRANULE, second.bytes() + GIB)
        bed.line('its limit', f'code {code}, {mib(second.used())} in NVML', f'<= {mib(second.bytes() + GRANULE)}',
                 code == OUT_OF_MEMORY and second.used() <= second.bytes() + GRANULE)
        node.start_agent()
        back = eventually(lambda: node.allocatable() == offered, PATIENCE_S, 0.05)
        third, = node.add_pods('third')
        code, _ = third.prober().call('take', 'cuMemAlloc', GIB)
        bed.line('a new pod once it is back', f'code {code}' + (', all slices offered' if back is not None else ', slices are missing'), 'code 0, all',
                 code == 0 and back is not None)
        view = witness.info()['total']
        bed.line('limits as before', mib(view), mib(first.bytes()), view == first.bytes())
    left = eventually(lambda: bed.nvml.used() <= used + GRANULE, 5)
    bed.line('nothing is left of the pods', 'no' if left is None else f'after {left * 1000:.0f} ms', '<= 1 s', left is not None and left <= 1)


def fork(bed):
    """After cuInit a child can use no CUDA: it gets the codes that it gets without the library."""
    command = [sys.executable, HERE / 'forked.py', GIB]
    _, plain, _ = bed.run(command, input='fork\n')
    with Node(bed, REPLICAS) as node:
        node.start()
        forker, neighbour = node.add_pods('forker', 'neighbour')
        parent, keeper, witness = forker.start(*command), forker.prober(), neighbour.prober()
        code, _ = parent.answer()
        keeper.info(), witness.info()
        time.sleep(2.5)  # a reading has corrected what contexts cost
        free = keeper.free()
        others(bed, 'a process forks', witness, lambda: parent.ask('fork'))
        code, codes = parent.answer()
        expected = plain.splitlines()[-1].split()[1:] if plain else []
        bed.note('fork', {'codes': codes, 'without': plain, 'parent': code})
        bed.line('its child gets', ' '.join(codes), f'as without: {" ".join(expected)}', codes == expected and '-2' not in codes)
        bed.line('the process goes on', f'code {code}', 'code 0', code == 0)
        free -= 2 * GRANULE  # what the parent took since
        left = eventually(lambda: keeper.free() >= free, 5)
        bed.line('no charge is left of the child', 'no' if left is None else f'after {left * 1000:.0f} ms', '<= 1 s', left is not None and left <= 1)


PARTS = (processes, arbiter, agent, crowd, fork, leaks)
