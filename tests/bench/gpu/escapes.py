# SPDX-License-Identifier: Apache-2.0
"""Row 4: ways round the preloaded library, each in a pod of its own, and what root in a pod can do to its limit and to its
neighbours. What the library does not refuse, the audit names and the policy ends."""
import concurrent.futures
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

from bed import GIB, GRANULE, HERE, MIB, OUT_OF_MEMORY, eventually, mib
from faults import is_soon, pace
from pods import GRANTS, Node, pod_cgroup

REPLICAS = 32
MORE = GIB
NO_ROUTE = -1
NAMED_S = 2.0
PRELOAD = b'/etc/ld.so.preload'
KILLS = ('--on-violation=kill', '--grace=0')
SIMULATED = 'GPUSLICE_MACHINE' in os.environ

# What each does: the route of escape.py, and how it is started.
REFUSED = {
    'dlsym': ('dlsym', {}),
    'dlvsym': ('dlvsym', {}),
    'RTLD_DEEPBIND': ('deepbind', {}),
    'changed environment': ('dlsym', {'GPUSLICE_GRANT': '/nowhere', 'LD_LIBRARY_PATH': f'/nowhere:{os.environ.get("LD_LIBRARY_PATH", "")}',
                                      'CUDA_DISABLE_CONTROL': 'true', 'NVIDIA_VISIBLE_DEVICES': 'all'}),
}
NAMED = {
    'preload unset': ('dlsym', {'is_bare': True}),
    'a loader of its own': ('dlsym', {'loader': True}),
    "libc's own dlsym": ('own-dlsym', {}),
    'a private copy of libcuda': ('copy', {}),
    'dlmopen, another namespace': ('namespace', {}),
    'addresses read from the ELF file': ('elf', {}),
    'ioctls without any library': ('ioctl', {}),
    'ioctls, without a subdevice': ('ioctl-bare', {}),
    'another pid namespace': ('dlsym', {'is_bare': True, 'is_privileged': True, 'under': ('unshare', '--pid', '--fork')}),
}


def names(prefix, rows):
    return {case: f'{prefix}{i}' for i, case in enumerate(rows)}


def make_loader(folder):
    """A copy of the system's that looks for another file, as a static loader has none to look for."""
    path = next(word for word in Path('/proc/self/maps').read_text().split() if '/ld-linux' in word or '/ld-2' in word)
    copy = Path(folder, 'loader')
    copy.write_bytes(Path(path).read_bytes().replace(PRELOAD, b'/etc/ld.so.nothing'))
    copy.chmod(0o755)
    return copy


def escape(pod, route, is_bare=False, is_privileged=False, cgroup=None, loader=False, under=(), more=MORE, **variables):
    words = [*under, *([make_loader(pod.node.folder)] if loader else []), sys.executable, HERE / 'escape.py', route, pod.bytes() + more]
    return pod.start(*words, is_bare=is_bare, is_privileged=is_privileged, cgroup=cgroup, **variables)


def named(node, pod, since, seconds=6):
    """(seconds since then, the finding) of the arbiter's line about that pod."""
    found = node.arbiter.wait(rf'finding=(over|asked-nothing|other-device|no-limit) .*pod={pod.name} ', since=0, seconds=seconds)
    return (max(found[0] - since, 0.0), found[1]) if found else (None, '')


def ended(node, pod, program, since):
    """Seconds until the policy has ended it."""
    if not node.arbiter.wait(rf'a process was killed.*pod={pod.name} ', seconds=6):
        return None
    return time.monotonic() - since if eventually(lambda: not program.is_alive(), 5) is not None else None


def judge_refused(bed, pod, case, program):
    code, words = program.answer()
    used = pod.used()
    good = code in (OUT_OF_MEMORY, NO_ROUTE) and used <= pod.bytes() + GRANULE and program.is_alive()
    return case, f'code {code}, {mib(used)} of {mib(pod.bytes())}', f'code 2, <= {mib(pod.bytes() + GRANULE)}', good, [code, words, used, program.said()]


CRASHES = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE}


def judge_death(pod, case, program):
    """It ended without an answer. Who crashes on such a way has got round nothing by it, unless it had more than its limit before and
    nobody named it. Any other end is a fault of the case."""
    status, said = program.status(), program.said().strip().splitlines()
    got = max((int(line.split()[1]) for line in said if re.fullmatch(r'got \d+', line)), default=0)
    found = pod.node.arbiter.wait(rf'finding=(over|asked-nothing|other-device|no-limit) .*pod={pod.name} ', seconds=0)
    others = [line for line in said if not re.fullmatch(r'got \d+', line)]
    how = 'nobody knows how' if status is None else f'by signal {-status}' if status < 0 else f'with status {status}'
    value = f'ended {how}: {mib(got) if got else "no memory"} got' + (', named' if found else '') + (f' ({others[-1][:120]})' if others else '')
    return case, value, 'no memory past the limit unnamed', status in CRASHES and (got <= pod.bytes() or found is not None), [status, got, said]


def judge_named(bed, pod, case, program):
    code, words = program.answer()
    since = time.monotonic()
    got, used = int(words[0]) if words else 0, pod.used()
    if code is None:
        return judge_death(pod, case, program)
    if code == NO_ROUTE or got <= pod.bytes():
        # A route that is none here, or that is refused, is no escape.
        value = 'no such way here' if code == NO_ROUTE else f'refused with {code} at {mib(got)}'
        program.close()  # it would keep the GPU open beside those that got round
        return case, value, '', None if code == NO_ROUTE or case.startswith('ioctls') else True, [code, words, program.said()]
    seconds, line = named(pod.node, pod, since)
    killed = ended(pod.node, pod, program, since) if seconds is not None else None
    value = f'{mib(got)} got; ' + ('not named' if seconds is None else f'named after {seconds:.1f} s, ' +
                                   ('not ended' if killed is None else f'ended after {killed:.1f} s'))
    return case, value, f'named <= {NAMED_S:.0f} s, ended', seconds is not None and seconds <= NAMED_S and killed is not None, \
        [code, got, used, seconds, killed, line]


def routes(bed):
    """All at once, beside a witness that keeps to its limit."""
    refused, by_audit = names('refused-', REFUSED), names('named-', NAMED)
    with Node(bed, REPLICAS, KILLS) as node:
        node.start()
        pods = {pod.name: pod for pod in node.add_pods('witness', *refused.values(), *by_audit.values())}
        bed.note('imitation', {'cgroups': node.hierarchy, 'namespaces': pods['witness'].namespaces,
                               'cgroup': Path(f'/proc/{pods["witness"].pid}/cgroup').read_text().splitlines()})
        bed.line('pods are imitated', f'cgroups in {node.hierarchy}, namespaces {", ".join(pods["witness"].namespaces)}', '', None)
        witness = pods['witness'].prober()
        witness.info()
        before = pace(witness)
        with concurrent.futures.ThreadPoolExecutor(len(pods)) as pool:
            jobs = [pool.submit(judge, bed, pods[name[case]], case, escape(pods[name[case]], route, **how))
                    for judge, rows, name in ((judge_refused, REFUSED, refused), (judge_named, NAMED, by_audit))
                    for case, (route, how) in rows.items()]
            during = pace(witness)
            for job in jobs:
                case, value, needed, good, sample = job.result()
                bed.note(case, sample)
                bed.line(case, value, needed, good)
        code, _ = witness.call('take', 'cuMemAlloc', GIB)
        bed.note('witness', {'before_s': before, 'during_s': during})
        bed.line('a neighbour meanwhile', f'waits {during * 1000:.0f} ms at most (before {before * 1000:.0f}), then code {code}', '<= 200 ms, goes on',
                 code == 0 and witness.is_alive() and is_soon(during, before))


def attack(pod, neighbour, **how):
    """What of it succeeded, and why the rest did not."""
    program = pod.start(sys.executable, HERE / 'attack.py', f'{GRANTS}/nvidia.com.gpu', neighbour.grant, **how)
    line = program.reader.readline()
    tried = json.loads(line) if line else {'it ran': None}
    program.close()
    return tried, [name for name, why in tried.items() if why is None], program.said()


def wait_for_room(pod, prober):
    """What was claimed too much is charged to the pod itself, until a reading tells."""
    return eventually(lambda: prober.call('info')[0] == 0 and prober.free() > pod.bytes() // 2)


FREE = {'make_its_directory_writable', 'write_its_limits', 'replace_its_socket', 'unmount_the_preload', 'trace_its_neighbour'}


def root(bed):
    """With the capabilities of a container; and as a privileged one, which may do to itself what it likes."""
    with Node(bed, REPLICAS, KILLS) as node:
        node.start()
        attacker, privileged, neighbour = node.add_pods('attacker', 'privileged', 'neighbour')
        theirs, limit = neighbour.prober(), neighbour.bytes()
        seen = theirs.info()
        before = pace(theirs)
        tried, succeeded, errors = attack(attacker, neighbour)
        bed.note('root', {'tried': tried, 'errors': errors})
        bed.line(f'root in a pod, {len(tried)} attempts', ', '.join(succeeded) or 'none succeeds', 'none succeeds', not succeeded and len(tried) > 9)
        tried, more, errors = attack(privileged, neighbour, is_privileged=True)
        bed.note('privileged', {'tried': tried, 'errors': errors})
        bed.line('the same, privileged', ', '.join(more) or 'none succeeds', 'only what is its own', not set(more) - FREE)
        prober = attacker.prober()
        wait_for_room(attacker, prober)
        code, words = prober.call('fill', 'cuMemAlloc', 512 * MIB, GRANULE, attacker.bytes() + MORE)
        used = attacker.used()
        bed.line("root's limit after it", f'code {code}, {mib(used)} of {mib(attacker.bytes())}', f'<= {mib(attacker.bytes() + GRANULE)}',
                 code == OUT_OF_MEMORY and used <= attacker.bytes() + GRANULE)
        during, view = pace(theirs), theirs.info()
        bed.note('neighbour', {'before_s': before, 'during_s': during, 'view': view, 'limit': limit})
        bed.line('its neighbour', f'limit {mib(view["total"])}, waits {during * 1000:.0f} ms (before {before * 1000:.0f})', 'as before, <= 200 ms',
                 view['total'] == seen['total'] == limit and theirs.is_alive() and is_soon(during, before))


def cgroups(bed):
    """Below its own cgroup, in one that is named like the neighbour's."""
    with Node(bed, REPLICAS, KILLS) as node:
        node.start()
        forger, neighbour = node.add_pods('forger', 'neighbour')
        witness = neighbour.prober()
        witness.info()
        forged = Path(f'{forger.cgroup}{pod_cgroup(neighbour.uid, neighbour.container)}')
        forged.mkdir(parents=True)
        tried = forger.start(sys.executable, HERE / 'attack.py', f'{GRANTS}/nvidia.com.gpu', neighbour.grant, cgroup=forged)
        why = json.loads(tried.reader.readline())['register_as_its_neighbour']
        bed.line('a cgroup named like the neighbour\'s', f'registered there: {"YES" if why is None else why}', 'refused', why is not None)
        case, value, needed, good, sample = judge_named(bed, forger, 'what it takes is its own', escape(forger, 'dlsym', is_bare=True,
                                                                                                         cgroup=forged))
        bed.note('cgroups', {'why': why, 'escape': sample})
        bed.line(case, value, needed, good and witness.is_alive())


PARTS = (routes, root, cgroups)
