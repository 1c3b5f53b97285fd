# SPDX-License-Identifier: Apache-2.0
"""What the rows of `make bench-gpu` have in common: our programs wherever they lie, tenants (a command under
`gpuslice run`, or without it), probers in them, the driver's own figures, a table and the raw samples.

Needs python3, libcuda.so.1 and libnvidia-ml.so.1, of a real GPU or of the simulator; no compiler and no package.
"""
import ctypes
import json
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MIB, GIB = 1 << 20, 1 << 30
GRANULE = 2 * MIB
OUT_OF_MEMORY = 2
PATIENCE_S = 60


def find_programs(folder):
    """{name: path} in a build folder, or where tests/bench/gpu/pack put them."""
    found = {}
    for name in ('gpuslice', 'gpuslice-arbiter', 'gpuslice-prober', 'gpuslice-node', 'gpuslice-kubelet'):
        places = [folder / 'src' / name, folder / 'sim/kubelet' / name, folder / 'bin' / name]
        found[name] = next((place for place in places if place.exists()), None)
        if not found[name]:
            sys.exit(f'bench-gpu: there is no {name} in {folder}')
    return found


class Bed:
    """Ours need libraries that the packed folder brings along; what they run must not get those."""

    def __init__(self, folder, out):
        self.folder, self.out = Path(folder).resolve(), Path(out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.programs = find_programs(self.folder)
        self.path = os.environ.get('LD_LIBRARY_PATH', '')
        self.environment = {**os.environ, 'PYTHONUNBUFFERED': '1'}
        if (self.folder / 'deps').exists():
            self.environment['LD_LIBRARY_PATH'] = f'{self.folder}/deps:{self.path}'
            self.environment['GPUSLICE_LIBRARY'] = f'{self.folder}/bin/libgpuslice.so'
        # What a program of a user's has of it: the driver, and the simulator's words.
        self.inside = {name: value for name, value in os.environ.items()
                       if name in ('LD_LIBRARY_PATH', 'LD_PRELOAD', 'ASAN_OPTIONS', 'HOME') or name.startswith(('GPUSLICE_MACHINE', 'GPUSLICE_SIM'))}
        self.nvml = Nvml()
        self.samples = {}
        self.lines = []

    def command(self, words, memory=None, device='0', options=()):
        """As it is started: under a limit, or as it is. options: more of `gpuslice run`."""
        back = ['env', f'LD_LIBRARY_PATH={self.path}'] if self.path else ['env', '-u', 'LD_LIBRARY_PATH']
        words = [*back, *map(str, words)]
        if memory:
            words = [str(self.programs['gpuslice']), 'run', '--memory', str(memory), '--device', device, *options, '--', *words]
        return words

    def run(self, words, memory=None, timeout=300, options=(), **more):
        """To its end: (status, output, errors)."""
        done = subprocess.run(self.command(words, memory, options=options), env=self.environment, capture_output=True, text=True, timeout=timeout, **more)
        return done.returncode, done.stdout, done.stderr

    def note(self, name, value):
        self.samples[name] = value

    def line(self, case, value, needed, good):
        """One line of the table. good None: it is only told."""
        word = {True: 'ok', False: 'NOT', None: ''}[good]
        self.lines.append({'case': case, 'value': value, 'needed': needed, 'good': good})
        print(f'{case:<44} {value:<36} {needed:<26} {word}', flush=True)

    def close(self, row):
        record = {'row': row, 'gpu': self.nvml.name(), 'driver': self.nvml.driver(), 'simulated': 'GPUSLICE_MACHINE' in os.environ,
                  'kernel': os.uname().release, 'unix_time': int(time.time()), 'lines': self.lines, 'samples': self.samples}
        (self.out / f'row-{row}.json').write_text(json.dumps(record, indent=1) + '\n')
        return 1 if any(line['good'] is False for line in self.lines) else 0


class Prober:
    """gpuslice-prober in a tenant, told by lines."""

    def __init__(self, sock, process=None):
        self.sock, self.process, self.pid = sock, process, None
        self.reader = sock.makefile('r')
        self.waiting = False

    def ask(self, *words):
        self.sock.sendall((' '.join(map(str, words)) + '\n').encode())

    def answer(self, timeout=PATIENCE_S):
        """(code, words); code None: it has ended."""
        self.sock.settimeout(timeout)
        line = self.reader.readline().split()
        return (int(line[0]), line[1:]) if line else (None, [])

    def call(self, *words, timeout=PATIENCE_S):
        self.ask(*words)
        return self.answer(timeout)

    def info(self):
        code, words = self.call('info')
        assert code == 0, f'info: {code}'
        self.pid = int(words[0])
        return {'pid': self.pid, 'total': int(words[2]), 'free': int(words[3])}

    def free(self):
        return int(self.call('mem')[1][1])

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)

    def close(self):
        self.reader.close()
        self.sock.close()


class Tenant:
    """A command with a limit in which probers are started on demand, as processes of one container are."""

    def __init__(self, bed, memory=None, device='0', options=()):
        self.bed = bed
        self.folder = tempfile.TemporaryDirectory()
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(f'{self.folder.name}/hub')
        self.server.listen(256)
        self.server.settimeout(PATIENCE_S)
        self.errors = tempfile.TemporaryFile('w+')
        hub = [sys.executable, HERE / 'hub.py', bed.programs['gpuslice-prober'], f'{self.folder.name}/hub']
        self.process = subprocess.Popen(bed.command(hub, memory, device, options), env=bed.environment, stdin=subprocess.PIPE, stderr=self.errors,
                                        text=True)
        self.probers = []

    def start(self, n=1, prepared=True):
        """Probers, which have a context then."""
        self.process.stdin.write(f'{n}\n')
        self.process.stdin.flush()
        new = [Prober(self.accept()) for _ in range(n)]
        self.probers += new
        if prepared:
            for one in new:
                one.info()
        return new

    def accept(self):
        try:
            return self.server.accept()[0]
        except TimeoutError:
            sys.exit(f'bench-gpu: no prober started; status {self.process.poll()}: {self.said()}')

    def prober(self):
        return self.start()[0]

    def settle(self):
        """A reading of the driver, once a second, has corrected what contexts cost."""
        time.sleep(2.5)

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def arbiter(self):
        """Its process, below `gpuslice run`."""
        for pid in children(self.process.pid):
            if Path(f'/proc/{pid}/comm').read_text().startswith('gpuslice-arbite'):
                return pid
        return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.probers:
            one.close()
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.server.close()
        self.folder.cleanup()


def children(pid):
    found = []
    for task in Path(f'/proc/{pid}/task').iterdir():
        found += map(int, (task / 'children').read_text().split())
    return found


class Nvml:
    """What the driver itself shows, asked without any library of ours."""

    class Process(ctypes.Structure):
        _fields_ = [('pid', ctypes.c_uint), ('used', ctypes.c_ulonglong), ('gpu', ctypes.c_uint), ('compute', ctypes.c_uint)]

    class Memory(ctypes.Structure):
        _fields_ = [('total', ctypes.c_ulonglong), ('free', ctypes.c_ulonglong), ('used', ctypes.c_ulonglong)]

    def __init__(self):
        self.library = ctypes.CDLL('libnvidia-ml.so.1')
        self.check(self.library.nvmlInit_v2())
        self.device = ctypes.c_void_p()
        self.check(self.library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self.device)))

    def check(self, code):
        if code:
            sys.exit(f'bench-gpu: NVML answers {code}')

    def name(self):
        text = ctypes.create_string_buffer(96)
        self.check(self.library.nvmlDeviceGetName(self.device, text, 96))
        return text.value.decode()

    def driver(self):
        text = ctypes.create_string_buffer(80)
        self.check(self.library.nvmlSystemGetDriverVersion(text, 80))
        return text.value.decode()

    def memory(self):
        memory = self.Memory()
        self.check(self.library.nvmlDeviceGetMemoryInfo(self.device, ctypes.byref(memory)))
        return memory

    def used(self):
        """Bytes of the whole GPU."""
        return self.memory().used

    def total(self):
        return self.memory().total

    def processes(self):
        """{pid: bytes}"""
        room = 512
        table = (self.Process * room)()
        count = ctypes.c_uint(room)
        self.check(self.library.nvmlDeviceGetComputeRunningProcesses_v3(self.device, ctypes.byref(count), table))
        return {one.pid: one.used for one in table[:count.value]}


def eventually(done, seconds=10.0, step=0.005):
    """Seconds until it is true, or None."""
    begun = time.monotonic()
    while not done():
        if time.monotonic() - begun > seconds:
            return None
        time.sleep(step)
    return time.monotonic() - begun


def readable(prober, seconds):
    return bool(select.select([prober.sock], [], [], seconds)[0])


def middle(values):
    return statistics.median(values)


def mib(number):
    return f'{number / MIB:.0f} MiB'
