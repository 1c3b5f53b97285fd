# SPDX-License-Identifier: Apache-2.0
"""Row 1: each family of allocations up to its limit and one granule beyond, what the driver takes by itself, races, kills in the
middle."""
import time

from bed import GIB, GRANULE, MIB, OUT_OF_MEMORY, Tenant, eventually, mib

LIMIT = 4 * GIB
FAMILIES = ('cuMemAlloc', 'cuMemAllocPitch', 'cuMemAllocManaged', 'cuMemAllocAsync', 'cuMemAllocFromPoolAsync', 'cuMemCreate',
            'cuArrayCreate', 'cuArray3DCreate', 'cuMipmappedArrayCreate', 'cuGraphAddMemAllocNode', 'cuModuleLoadData')
NOT_SUPPORTED = 801
RACERS, KILLS = 4, 20
PIECES = {'cuModuleLoadData': 64 * MIB}
GRAPHS = (2 * MIB, 16 * MIB, 24 * MIB, 40 * MIB, 100 * MIB)  # none of whole steps
AT_ONCE_S = 2.5  # with a reading of the driver, and the load itself


def shown(bed, tenant):
    """What the driver shows for all of its processes."""
    table = bed.nvml.processes()
    return sum(table.get(one.pid, 0) for one in tenant.probers)


def fill(bed, name, settles):
    with Tenant(bed, LIMIT) as tenant:
        prober = tenant.prober()
        if settles:
            tenant.settle()
        whole = prober.info()
        code, words = prober.call('fill', name, PIECES.get(name, 512 * MIB), GRANULE, LIMIT + GIB)
        if code == NOT_SUPPORTED:
            return None
        used = shown(bed, tenant)
        prober.call('drop')
        again, _ = prober.call('take', 'cuMemAlloc', whole['free'] // 2)
        return {'taken': int(words[0]), 'code': code, 'nvml': used, 'limit': LIMIT, 'view': whole, 'half_again': again, 'settles': settles}


def family(bed, name):
    """At once after the context was made, and when the driver has told what that costs."""
    done = [fill(bed, name, False), fill(bed, name, True)]
    bed.note(f'family {name}', done)
    if None in done:
        bed.line(name, 'not supported by this driver', '', None)
        return
    used, taken, codes = max(one['nvml'] for one in done), min(one['taken'] for one in done), {one['code'] for one in done}
    good = codes == {OUT_OF_MEMORY} and used <= LIMIT + GRANULE and taken > LIMIT // 2 and all(one['half_again'] == 0 for one in done)
    bed.line(name, f'code {codes}, {mib(taken)} got, {mib(used)} in NVML', f'code 2, <= {mib(LIMIT + GRANULE)}', good)


def contexts(bed):
    with Tenant(bed, LIMIT) as tenant:
        prober = tenant.prober()
        code, words = prober.call('fill', 'cuCtxCreate', 1, 1, 64)
        used = shown(bed, tenant)
        bed.note('contexts', {'n': int(words[0]), 'code': code, 'nvml': used, 'limit': LIMIT})
        bed.line('cuCtxCreate', f'code {code}, {words[0]} more contexts, {mib(used)} in NVML', f'code 2, <= {mib(LIMIT + GRANULE)}',
                 code == OUT_OF_MEMORY and used <= LIMIT + GRANULE)


def modules(bed):
    """Charged when they are loaded, refused when they are too large, and free when they are unloaded: all by the next answer."""
    with Tenant(bed, LIMIT) as tenant:
        prober = tenant.prober()
        free = [prober.free()]
        fits, _ = prober.call('take', 'cuModuleLoadData', GIB)
        free.append(prober.free())
        began = time.monotonic()
        beyond, _ = prober.call('take', 'cuModuleLoadData', free[1] + 64 * MIB)
        took = time.monotonic() - began
        used = shown(bed, tenant)
        free.append(prober.free())
        prober.call('drop')
        free.append(prober.free())
        bed.note('modules', {'codes': [fits, beyond], 'free': free, 'seconds': took, 'nvml': used, 'limit': LIMIT})
        bed.line('a module of 1 GiB', f'code {fits}, {mib(free[0] - free[1])} charged at once', 'code 0, 1 GiB',
                 fits == 0 and abs(free[0] - free[1] - GIB) <= 16 * MIB)
        bed.line('a module beyond the limit', f'code {beyond} after {took * 1000:.0f} ms, {mib(used)} in NVML, {mib(free[2])} free',
                 f'code 2, <= {mib(LIMIT + GRANULE)}', beyond == OUT_OF_MEMORY and used <= LIMIT + GRANULE and took <= AT_ONCE_S
                 and free[2] >= free[1] - GRANULE)
        bed.line('modules unloaded', f'{mib(free[3])} of {mib(free[0])} free at once', 'all but 16 MiB', free[3] >= free[0] - 16 * MIB)


def modules_beside_a_neighbour(bed):
    """Who allocates and frees all the time: what the device has less meanwhile is no reason to refuse a module."""
    with Tenant(bed, LIMIT) as tenant, Tenant(bed, LIMIT) as others:
        prober, neighbour = tenant.prober(), others.prober()
        whole = prober.free()
        neighbour.ask('alloc', GIB, 200)
        code, words = prober.call('fill', 'cuModuleLoadData', 256 * MIB, GRANULE, LIMIT + GIB, timeout=120)
        used, taken = shown(bed, tenant), int(words[0])
        neighbour.answer(timeout=120)
        bed.note('modules beside a neighbour', {'code': code, 'taken': taken, 'free': whole, 'nvml': used, 'limit': LIMIT})
        bed.line('modules beside who allocates', f'code {code}, {mib(taken)} of {mib(whole)}, {mib(used)} in NVML',
                 f'code 2, <= {mib(LIMIT + GRANULE)}', code == OUT_OF_MEMORY and used <= LIMIT + GRANULE and taken >= whole - 64 * MIB)


def graph_steps(bed):
    """Without a limit: what graphs take of the device, beside what the driver says they have reserved. The first kernel and graph
    cost something once."""
    with Tenant(bed) as tenant:
        prober, steps = tenant.prober(), []
        prober.call('take', 'cuGraphAddMemAllocNode', GRANULE)
        prober.call('drop')
        before = shown(bed, tenant)
        for size in GRAPHS:
            code, _ = prober.call('take', 'cuGraphAddMemAllocNode', size)
            reserved = prober.call('graphmem')[1]
            steps.append({'size': size, 'code': code, 'used': int(reserved[0]), 'reserved': int(reserved[1]), 'nvml': shown(bed, tenant) - before})
        prober.call('drop')
        left = shown(bed, tenant) - before
        bed.note('graph steps', {'steps': steps, 'left': left})
        more = max(step['nvml'] - step['reserved'] for step in steps)
        bed.line('graphs, one after the other', f'{mib(sum(GRAPHS))} asked for, {mib(steps[-1]["reserved"])} reserved, '
                 f'{mib(steps[-1]["nvml"])} in NVML', 'NVML <= reserved', more <= GRANULE)


def view(bed):
    with Tenant(bed, LIMIT) as tenant:
        whole = tenant.prober().info()
        bed.note('view', whole)
        bed.line('cuMemGetInfo', f'total {mib(whole["total"])}, free {mib(whole["free"])}', f'total {mib(LIMIT)}', whole['total'] == LIMIT)


def race(bed):
    """All at once, in small pieces, so that they meet at the limit."""
    with Tenant(bed, 2 * LIMIT) as tenant:
        racers = tenant.start(RACERS)
        for one in racers:
            one.ask('fill', 'cuMemAlloc', 32 * MIB, GRANULE, 2 * LIMIT + GIB)
        answers = [one.answer() for one in racers]
        used = shown(bed, tenant)
        bed.note('race', {'answers': answers, 'nvml': used, 'limit': 2 * LIMIT})
        bed.line(f'{RACERS} processes racing', f'{mib(used)} in NVML', f'<= {mib(2 * LIMIT + GRANULE)}',
                 all(code == OUT_OF_MEMORY for code, _ in answers) and used <= 2 * LIMIT + GRANULE)


def killed(bed):
    """In the middle of allocations: what it had is another's within a second, each time, and nothing is lost of it."""
    times, seen = [], []
    with Tenant(bed, LIMIT) as tenant:
        keeper = tenant.prober()
        tenant.settle()
        before = keeper.free()
        for turn in range(KILLS):
            victim = tenant.prober()
            victim.ask('fill', 'cuMemAlloc', 16 * MIB << turn % 4, GRANULE, LIMIT)
            eventually(lambda: keeper.free() < before - GIB)  # it is at it
            victim.kill()
            tenant.probers.remove(victim)
            times.append(eventually(lambda: keeper.free() >= before - GRANULE))
            seen.append(keeper.free())
            victim.close()
    bed.note('kill -9', {'seconds': times, 'free': seen, 'before': before})
    lost = before - min(seen)
    worst = None if None in times else max(times)
    bed.line(f'kill -9 in the middle, {KILLS} times', 'not free again' if worst is None else f'free after {worst * 1000:.0f} ms at most, '
             f'{lost / MIB:.0f} MiB lost', '<= 1 s, 0 lost', worst is not None and worst <= 1 and lost <= GRANULE)


def families(bed):
    for name in FAMILIES:
        family(bed, name)


PARTS = (view, families, modules, modules_beside_a_neighbour, graph_steps, contexts, race, killed)
