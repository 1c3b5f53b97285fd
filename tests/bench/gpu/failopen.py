# SPDX-License-Identifier: Apache-2.0
"""Row 5: where NVIDIA documents that its limits (MPS v3, driver 615) are silently gone, translated to ours: each is refused,
or named within two seconds. doc/bench/fail-open.md has the original sentences by number."""
import concurrent.futures
import os
import signal
import subprocess
import sys
import tempfile
import time

from bed import GIB, GRANULE, HERE, MIB, OUT_OF_MEMORY, eventually, mib
from escapes import KILLS, MORE, NAMED_S, REPLICAS, attack, ended, escape, named, wait_for_room
from pods import GRANTS, Node

UNKNOWN = 'GPU-00000000-1111-2222-3333-444444444444'
USAGE, UNKEPT = 64, 3
PODS = ('misspelt', 'misplaced', 'entry', 'above', 'leaf', 'bareleaf', 'view', 'managed', 'root', 'neighbour')


class Outcome(Exception):
    """How a case failed."""


def refused(pod, program):
    """At its limit, by CUDA's out of memory."""
    code, words = program.answer()
    used = pod.used()
    if code != OUT_OF_MEMORY or used > pod.bytes() + GRANULE:
        raise Outcome(f'code {code}, {mib(used)} of {mib(pod.bytes())}: {program.said()[-200:]}')
    return f'limit holds at {mib(used)}'


def seen(pod, program):
    """By the audit, and ended."""
    code, words = program.answer()
    since = time.monotonic()
    seconds, line = named(pod.node, pod, since)
    if code or seconds is None or seconds > NAMED_S or ended(pod.node, pod, program, since) is None:
        raise Outcome(f'code {code}, named after {seconds} s: {line} {program.said()[-200:]}')
    return f'named after {seconds:.1f} s, ended'


def gpuslice(bed, *words, text=None):
    """(status, what it says)"""
    with tempfile.NamedTemporaryFile('w', suffix='.yaml') as config:
        if text is not None:
            config.write(text)
            config.flush()
            words = [*words, '--config', config.name]
        done = subprocess.run([str(bed.programs['gpuslice']), *map(str, words)], env=bed.environment, capture_output=True, text=True, timeout=60)
    return done.returncode, (done.stdout + done.stderr).strip()


def expect(answer, status, phrase):
    if answer[0] != status or phrase not in answer[1]:
        raise Outcome(f'status {answer[0]}: {answer[1]}')


def shared(*entries):
    return 'version: v1\nsharing:\n  timeSlicing:\n    resources:\n' + ''.join(f'    - {entry}\n' for entry in entries)


# --- the cases ---

def misspelt(bed, node):
    """The directory of the socket, in a pod's environment; and missing in the container."""
    first = refused(node.pods['misspelt'], escape(node.pods['misspelt'], 'dlsym', GPUSLICE_GRANT=f'{GRANTS}/nvidia.com.gpuu'))
    return first + '; missing: ' + seen(node.pods['misplaced'], escape(node.pods['misplaced'], 'dlsym'))


def unknown(bed, node):
    """A GPU that is not there: in the configuration, and in a command."""
    expect(gpuslice(bed, 'check', '--node', text=shared(f'{{name: nvidia.com/gpu, replicas: 4, devices: [{UNKNOWN}]}}')), 1,
           f'{UNKNOWN} in devices is not on this node')
    expect(gpuslice(bed, 'run', '--memory', '1Gi', '--device', UNKNOWN, '--', 'true'), UNKEPT, f"no usable GPU or MIG device '{UNKNOWN}'")
    return 'named with line and column; the command is refused'


def entry(bed, node):
    """One bad entry among good ones: of a configuration that a running node gets, and of a pod's list of devices."""
    since = node.agent.mark()
    good = node.config.read_text()
    fresh = node.config.with_suffix('.new')
    fresh.write_text(shared(f'{{name: nvidia.com/gpu, replicas: {REPLICAS}}}', '{name: nvidia.com/gpu.other, replicas: many}'))
    fresh.rename(node.config)
    said = node.agent.wait(r"replicas: expected a whole number, got 'many'", since, 10)
    fresh.write_text(good)
    fresh.rename(node.config)
    if not said:
        raise Outcome('the agent says nothing')
    pod = node.pods['entry']
    program = escape(pod, 'dlsym', CUDA_VISIBLE_DEVICES=f'{next(iter(pod.limit()))},{UNKNOWN}')
    return 'the whole file is refused, the earlier one stays; in a pod: ' + refused(pod, program)


def nothing(bed, node):
    """A client of a place without limits: a pod that asked for no slice, and a command without a limit."""
    expect(gpuslice(bed, 'run', '--', 'true'), USAGE, 'write how much memory')
    pod, = node.add_pods('nothing', slices=0)
    return seen(pod, pod.start(sys.executable, HERE / 'escape.py', 'dlsym', GIB))


def above(bed, node):
    """More than what it is a part of: slices of a GPU, a command, and a limit within a limit."""
    expect(gpuslice(bed, 'check', text='version: v1\ngpuslice:\n  slices:\n  - {name: half, share: 50%}\n  - {name: more, share: 75%}\n'), 2,
           'add up to 125.0%')
    expect(gpuslice(bed, 'run', '--memory', '100Ti', '--', 'true'), UNKEPT, 'has only')
    pod = node.pods['above']
    more = f'{(pod.bytes() + 4 * GIB) // MIB}Mi'
    program = pod.start(bed.programs['gpuslice'], 'run', '--memory', more, '--', 'true', is_privileged=True,
                        **{name: bed.environment[name] for name in ('GPUSLICE_LIBRARY', 'LD_LIBRARY_PATH') if name in bed.environment})
    program.answer()
    if f'has only {pod.bytes() // MIB} MiB' not in program.said():
        raise Outcome(f'inside of a pod: {program.said()}')
    return 'slices, a command, and a command inside of a pod are refused'


def leaf(bed, node):
    """A cgroup below the container's, with the library and without."""
    said = []
    for name, judge, is_bare in (('leaf', refused, False), ('bareleaf', seen, True)):
        pod = node.pods[name]
        (pod.cgroup / 'leaf').mkdir()
        said.append(judge(pod, escape(pod, 'dlsym', is_bare=is_bare, cgroup=pod.cgroup / 'leaf')))
    return '; without the library: '.join(said)


VIEW = '''
import ctypes
cuda, nvml = ctypes.CDLL('libcuda.so.1'), ctypes.CDLL('libnvidia-ml.so.1')
device, context, free, total, whole = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_size_t()
codes = [cuda.cuInit(0), cuda.cuDeviceGet(ctypes.byref(device), 0), cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device),
         cuda.cuCtxSetCurrent(context), cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)),
         cuda.cuDeviceTotalMem_v2(ctypes.byref(whole), device)]
handle, memory = ctypes.c_void_p(), (ctypes.c_ulonglong * 3)()
codes += [nvml.nvmlInit_v2(), nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)), nvml.nvmlDeviceGetMemoryInfo(handle, memory)]
print(max(codes), total.value, whole.value, memory[0], flush=True)
input()
'''


def view(bed, node):
    """What the driver reports to the program."""
    pod = node.pods['view']
    program = pod.start(sys.executable, '-c', VIEW)
    code, words = program.answer()
    if code or {int(word) for word in words} != {pod.bytes()}:
        raise Outcome(f'code {code}: {words}, not {pod.bytes()}: {program.said()}')
    return f'cuMemGetInfo, cuDeviceTotalMem, NVML: {mib(pod.bytes())}'


def managed(bed, node):
    pod = node.pods['managed']
    prober = pod.prober()
    prober.info()
    code, words = prober.call('fill', 'cuMemAllocManaged', 512 * MIB, GRANULE, pod.bytes() + MORE)
    if code != OUT_OF_MEMORY or int(words[0]) > pod.bytes():
        raise Outcome(f'code {code} after {words}')
    return f'error 2 after {mib(int(words[0]))} of {mib(pod.bytes())}'


def root(bed, node):
    """Who is root in a container raises its own limit, or another's."""
    pod = node.pods['root']
    tried, succeeded, errors = attack(pod, node.pods['neighbour'])
    if succeeded:
        raise Outcome(f'{succeeded} {errors}')
    if wait_for_room(pod, pod.prober()) is None:
        raise Outcome('its own memory does not come back')
    return f'none of {len(tried)} attempts; ' + refused(pod, escape(pod, 'dlsym'))


def crash(bed, node):
    """Pod, cgroup and arbiter end at one moment: nothing of it is left for the next pod."""
    before = bed.nvml.used()
    pod, = node.add_pods('crash')
    prober = pod.prober()
    prober.info()
    prober.call('fill', 'cuMemAlloc', 512 * MIB, GRANULE, pod.bytes())
    for pid in (pod.cgroup / 'cgroup.procs').read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    node.arbiter.end(signal.SIGKILL)
    pod.end()
    node.start_arbiter()
    after, = node.add_pods('after')
    left = eventually(lambda: bed.nvml.used() <= before + GRANULE, 5)
    prober = after.prober()
    free = prober.info()['free']
    code, words = prober.call('fill', 'cuMemAlloc', 512 * MIB, GRANULE, after.bytes() + GIB)
    used = after.used()
    if left is None or code != OUT_OF_MEMORY or int(words[0]) < free - 32 * MIB or used > after.bytes() + GRANULE:
        raise Outcome(f'left {left}, code {code}, {words} of {free} free, {mib(used)} used')
    return f'free after {left * 1000:.0f} ms, the next pod has {mib(used)} of {mib(after.bytes())}'


# In NVIDIA's words and order in doc/bench/fail-open.md.
CASES = (('1 misspelt socket directory', misspelt), ('2 unknown UUID', unknown), ('3 one bad entry', entry), ('4 a place without limits', nothing),
         ('5 more than the whole', above), ('6 a limit of the parent', leaf), ('7 the view of memory', view), ('8 crash that leaks', crash),
         ('9 managed memory', managed), ('10 root', root))
ALONE = (crash,)  # it ends the arbiter of the others


def run(bed, node, case, act):
    begun = time.monotonic()
    try:
        value, good = act(bed, node), True
    except Outcome as outcome:
        value, good = f'FAIL OPEN: {outcome}', False
    bed.note(case, {'value': value, 'seconds': time.monotonic() - begun})
    return case, value, good


def cases(bed):
    with Node(bed, REPLICAS, KILLS) as node:
        node.start()
        node.add_pods(*PODS, without={'misplaced': f'{GRANTS}/nvidia.com.gpu'})
        with concurrent.futures.ThreadPoolExecutor(len(CASES)) as pool:
            jobs = {case: pool.submit(run, bed, node, case, act) for case, act in CASES if act not in ALONE}
            done = {case: job.result() for case, job in jobs.items()}
        for case, act in CASES:
            if act in ALONE:
                done[case] = run(bed, node, case, act)
        for case, _ in CASES:
            bed.line(case, done[case][1], 'refused, or named <= 2 s', done[case][2])
    failed = [case for case in done if not done[case][2]]
    bed.line('fail open', f'{len(failed)} of {len(done)}', '0 of 10', not failed and len(done) == 10)


PARTS = (cases,)
