# SPDX-License-Identifier: Apache-2.0
"""A tenant that works when it is asked to, and tells how far it got.

    worker.py SOCKET NAME KIND [WORD=NUMBER...]

Each order is a line of JSON, {"begin", "count", "until"} in CLOCK_MONOTONIC, and words that change those of the command line; the answer has the
steps that ended between `count` and `until`, those of each second, the longest time without one, and how long each took if each is awaited.
"""
import collections
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Queue:
    """Some steps are launched before the first of them is waited for, as a training loop does."""

    def __init__(self, depth, event, record, wait):
        self.free = [event() for _ in range(depth)]
        self.busy, self.record, self.wait = collections.deque(), record, wait

    def push(self):
        if not self.free:
            self.free.append(self.busy.popleft())
            self.wait(self.free[-1])
        self.busy.append(self.free.pop())
        self.record(self.busy[-1])


class Spinner:
    """Kernels of `us`, `depth` of them queued; depth 0: each is waited for, and `think` us pass before the next."""

    def __init__(self, us=1000, depth=8, think=0, graph=0):
        from spin import Cuda
        self.cuda, self.us, self.depth, self.think, self.n = Cuda(), us, depth, think, graph
        self.graph = self.cuda.graph(us, graph) if graph else None
        self.queue = self.make_queue()

    def make_queue(self):
        cuda = self.cuda
        return Queue(self.depth, cuda.event, lambda event: cuda('cuEventRecord', event, cuda.stream),
                     lambda event: cuda('cuEventSynchronize', event)) if self.depth else None

    def begin(self, us=None, think=None, depth=None, fault=False):
        self.us = us or self.us
        self.fails = fault
        self.think = self.think if think is None else think
        if depth is not None and depth != self.depth:
            self.depth = depth
            self.queue = self.make_queue()

    def step(self):
        begun = time.monotonic()
        if self.fails:
            self.cuda.launch('fault')
        if self.graph:
            self.cuda('cuGraphLaunch', self.graph, self.cuda.stream)
        else:
            self.cuda.spin(self.us)
        if self.queue:
            self.queue.push()
            return None
        self.cuda.wait()
        took = time.monotonic() - begun
        if self.think:
            time.sleep(self.think / 1e6)
        return took

    def end(self):
        self.cuda.wait()


class Nothing(Spinner):
    """Empty kernels without end: the host's pace is what limits it."""

    def __init__(self):
        super().__init__()
        self.n_launched = 0

    def step(self):
        for _ in range(100):
            self.cuda.launch('nothing')
        self.queue.push()


class Changing(Spinner):
    """Heavy for half of each `period` ms, and light for the other half."""

    def __init__(self, us=1000, depth=8, period=1000):
        super().__init__(us, depth)
        self.period = period / 1000

    def step(self):
        if time.monotonic() % self.period < self.period / 2:
            return super().step()
        self.cuda.spin(100)
        self.cuda.wait()
        time.sleep(0.01)
        return None


class Liar(Spinner):
    """Its first kernels, when it started, are launched as everybody's; later ones by the driver's own address, so that nobody counts them."""

    def begin(self, lies=0, **words):
        import ctypes
        from escape import by_elf
        super().begin(**words)
        if lies:
            find = by_elf(self.cuda.library._handle)
            for name in ('cuLaunchKernel', 'cuEventRecord'):
                setattr(self.cuda.library, name, ctypes.CFUNCTYPE(ctypes.c_int)(find(name)))


class PingPong(Spinner):
    """Two processes that wait for each other's kernels by events of CUDA IPC. place: a file for both; first: 1 or 0."""

    def __init__(self, us=500, first=0, place=0):
        import ctypes
        super().__init__(us, 0)
        self.first, self.file = first, f'/tmp/gpuslice-pingpong-{place}'
        mine, self.handle = ctypes.c_void_p(), (ctypes.c_char * 64)()
        self.cuda('cuEventCreate', ctypes.byref(mine), 2 | 4)  # without timing, interprocess
        self.cuda('cuIpcGetEventHandle', self.handle, mine)
        self.mine, self.theirs = mine, None
        with open(f'{self.file}-{first}.new', 'wb') as file:
            file.write(bytes(self.handle))
        os.rename(f'{self.file}-{first}.new', f'{self.file}-{first}')

    def begin(self):
        import ctypes

        class Handle(ctypes.Structure):
            _fields_ = [('reserved', ctypes.c_char * 64)]
        if not self.theirs:
            with open(f'{self.file}-{1 - self.first}', 'rb') as file:
                handle = Handle.from_buffer_copy(file.read())
            self.theirs = ctypes.c_void_p()
            open_it = self.cuda.library.cuIpcOpenEventHandle
            open_it.argtypes = [ctypes.c_void_p, Handle]
            self.cuda('cuIpcOpenEventHandle', ctypes.byref(self.theirs), handle)

    def step(self):
        begun = time.monotonic()
        self.cuda('cuStreamWaitEvent', self.cuda.stream, self.theirs, 0)
        self.cuda.spin(self.us)
        self.cuda('cuEventRecord', self.mine, self.cuda.stream)
        self.cuda.wait()
        return time.monotonic() - begun


class Torch:
    """Kinds that need PyTorch; random weights, no data."""
    depth = 0

    def __init__(self, **words):
        import torch
        self.torch = torch
        torch.manual_seed(0)
        torch.backends.cudnn.benchmark = True
        self.prepare(**words)
        events = [torch.cuda.Event() for _ in range(self.depth)]
        self.queue = Queue(self.depth, lambda: events.pop(), lambda event: event.record(), lambda event: event.synchronize()) if self.depth else None
        for _ in range(20):
            self.step()
        self.end()

    def begin(self):
        pass

    def step(self):
        begun = time.monotonic()
        self.work()
        if self.queue:
            self.queue.push()
            return None
        return time.monotonic() - begun

    def end(self):
        self.torch.cuda.synchronize()


class Big(Torch):
    """Products of large matrices, each 1.5 ms on an H200."""
    depth = 4

    def prepare(self):
        self.x, self.w, self.y = (self.torch.randn(8192, 8192, device='cuda', dtype=self.torch.bfloat16) * 0.01 for _ in range(3))

    def work(self):
        for _ in range(4):
            self.torch.matmul(self.x, self.w, out=self.y)


class Cnn(Torch):
    """Training of a small network on images of CIFAR's size: the guide's workload. reads: its loss, each step; 0: never."""
    depth, reads, batch = 4, 1, 64

    def prepare(self):
        torch, layers = self.torch, self.torch.nn
        self.model = layers.Sequential(
            layers.Conv2d(3, 32, 3, padding=1), layers.ReLU(), layers.Conv2d(32, 32, 3), layers.ReLU(), layers.MaxPool2d(2), layers.Dropout(0.25),
            layers.Conv2d(32, 64, 3, padding=1), layers.ReLU(), layers.Conv2d(64, 64, 3), layers.ReLU(), layers.MaxPool2d(2), layers.Dropout(0.25),
            layers.Flatten(), layers.Linear(64 * 6 * 6, 512), layers.ReLU(), layers.Dropout(0.5), layers.Linear(512, 10)).cuda()
        self.optimizer = torch.optim.RMSprop(self.model.parameters(), lr=1e-4)
        self.images, self.labels = torch.randn(self.batch, 3, 32, 32, device='cuda'), torch.randint(0, 10, (self.batch,), device='cuda')

    def begin(self, reads=1, batch=64):
        self.reads, self.batch = reads, batch
        self.work()  # a size's first step chooses its kernels
        self.end()

    def step(self):
        if not self.reads:
            return super().step()
        begun = time.monotonic()
        self.work().item()
        return time.monotonic() - begun

    def work(self):
        self.optimizer.zero_grad()
        loss = self.torch.nn.functional.cross_entropy(self.model(self.images[:self.batch]), self.labels[:self.batch])
        loss.backward()
        self.optimizer.step()
        return loss


class Resnet(Torch):
    """Inference. reads: what each batch gives; 0: never."""
    depth, reads, batch = 4, 1, 8

    def prepare(self):
        from torchvision.models import resnet50
        self.model = resnet50().cuda().eval()
        self.images = self.torch.randn(self.batch, 3, 224, 224, device='cuda')

    def begin(self, reads=1, batch=8):
        self.reads, self.batch = reads, batch
        self.work()
        self.end()

    def step(self):
        if not self.reads:
            return super().step()
        begun = time.monotonic()
        self.work().cpu()
        return time.monotonic() - begun

    def work(self):
        with self.torch.inference_mode():
            return self.model(self.images[:self.batch]).argmax(1)


class Layer:
    """Of a decoder, with room for the keys and values of `length` tokens of `batch` sequences."""

    def __init__(self, torch, width, inner, heads, batch, length):
        def weight(rows, columns):
            return torch.randn(rows, columns, device='cuda', dtype=torch.bfloat16) * 0.02
        self.qkv, self.out, self.up, self.down = weight(width, 3 * width), weight(width, width), weight(width, 2 * inner), weight(inner, width)
        self.torch, self.heads, self.length = torch, heads, length
        self.keys, self.values = (torch.randn(batch, heads, length, width // heads, device='cuda', dtype=torch.bfloat16) * 0.1 for _ in range(2))

    def norm(self, x):
        return self.torch.nn.functional.rms_norm(x, x.shape[-1:])

    def inside(self, x):
        up, gate = (self.norm(x) @ self.up).chunk(2, -1)
        return x + (up * self.torch.nn.functional.silu(gate)) @ self.down

    def split(self, x):
        n, tokens, width = x.shape
        return (part.view(n, tokens, self.heads, -1).transpose(1, 2) for part in (self.norm(x) @ self.qkv).chunk(3, -1))

    def decode(self, x):
        """One token of each sequence."""
        n = len(x)
        q, k, v = self.split(x)
        self.keys[:n, :, -1:], self.values[:n, :, -1:] = k, v
        seen = self.torch.nn.functional.scaled_dot_product_attention(q, self.keys[:n], self.values[:n])
        return self.inside(x + seen.transpose(1, 2).reshape(x.shape) @ self.out)

    def prefill(self, x, slot):
        """All tokens of one sequence."""
        q, k, v = self.split(x)
        self.keys[slot:slot + 1], self.values[slot:slot + 1] = k, v
        seen = self.torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.inside(x + seen.transpose(1, 2).reshape(x.shape) @ self.out)


class Decoder(Torch):
    """A small one, launched kernel by kernel: the host's pace is what limits it."""

    def prepare(self):
        torch = self.torch
        self.layers = [Layer(torch, 512, 2048, 8, 1, 256) for _ in range(11)]
        self.x = torch.randn(1, 1, 512, device='cuda', dtype=torch.bfloat16)

    def work(self):
        with self.torch.inference_mode():
            x = self.x
            for layer in self.layers:
                x = layer.decode(x)
            x.argmax().item()


class Server(Torch):
    """Of a language model of 1.2 billion parameters: a token of each sequence is one CUDA graph, awaited, and 0.3 ms of the host's work. With
    `output` tokens a sequence it also takes new sequences in, of as many tokens as there is room for: a closed loop."""
    WIDTH, INNER, HEADS, LAYERS, WORDS, LENGTH, HOST_S = 2048, 8192, 16, 16, 32000, 2048, 0.0003

    def prepare(self, batch=32, output=0):
        torch = self.torch
        self.batch, self.output, self.graphs, self.left = batch, output, {}, []
        with torch.inference_mode():
            self.layers = [Layer(torch, self.WIDTH, self.INNER, self.HEADS, batch, self.LENGTH) for _ in range(self.LAYERS)]
            self.head = torch.randn(self.WIDTH, self.WORDS, device='cuda', dtype=torch.bfloat16) * 0.02
            self.x = torch.randn(batch, 1, self.WIDTH, device='cuda', dtype=torch.bfloat16)
            self.prompt = torch.randn(1, self.LENGTH, self.WIDTH, device='cuda', dtype=torch.bfloat16)

    def begin(self, batch=None, output=None):
        self.batch = batch or self.batch
        self.output = self.output if output is None else output
        self.left = [self.output * (slot + 1) // self.batch for slot in range(self.batch)]
        self.graph()

    def decode(self, n):
        x = self.x[:n]
        for layer in self.layers:
            x = layer.decode(x)
        return (x @ self.head).argmax(-1)

    def graph(self):
        torch, n = self.torch, self.batch
        if n not in self.graphs:
            with torch.inference_mode():
                aside = torch.cuda.Stream()
                with torch.cuda.stream(aside):
                    for _ in range(3):
                        self.decode(n)
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    words = self.decode(n)
            self.graphs[n] = graph, words
        return self.graphs[n]

    def take_in(self):
        with self.torch.inference_mode():
            for slot in range(self.batch):
                if self.left[slot] <= 0:
                    x = self.prompt
                    for layer in self.layers:
                        x = layer.prefill(x, slot)
                    self.left[slot] = self.output

    def work(self):
        graph, words = self.graph()
        if self.output:
            self.take_in()
            self.left = [left - 1 for left in self.left]
        graph.replay()
        words.cpu()
        until = time.perf_counter() + self.HOST_S
        while time.perf_counter() < until:
            pass


KINDS = {'spinner': Spinner, 'nothing': Nothing, 'changing': Changing, 'liar': Liar,
         'pingpong': PingPong, 'big': Big, 'cnn': Cnn, 'resnet': Resnet, 'decoder': Decoder, 'server': Server}
MOST_SAMPLES = 4000


def wait_until(when):
    while (left := when - time.monotonic()) > 0:
        time.sleep(left)


def work(kind, order):
    begin, count, until = (order.pop(word) for word in ('begin', 'count', 'until'))
    kind.begin(**order)
    wait_until(begin)
    begun = time.monotonic()  # late, where `begin` had something to make
    steps, times, last, gap, late = 0, [], None, 0, begun - begin
    by_second = [0] * (int(until - count) + 1)
    while (now := time.monotonic()) < until:
        took = kind.step()
        ended = time.monotonic()
        if now < count:
            continue
        steps += 1
        by_second[min(int(ended - count), len(by_second) - 1)] += 1
        gap, last = max(gap, ended - (last or ended)), ended
        if took is not None:
            times.append(round(took * 1e3, 4))
    seconds = time.monotonic() - max(begun, count)
    kind.end()
    return {'steps': steps, 'seconds': seconds, 'late_s': late, 'by_second': by_second, 'gap_s': gap, 'ms': times[::len(times) // MOST_SAMPLES + 1]}


def main():
    path, name, kind, *words = sys.argv[1:]
    made = KINDS[kind](**{word: int(value) for word, _, value in (one.partition('=') for one in words)})
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        lines = sock.makefile('rw')

        def tell(what):
            lines.write(json.dumps(what) + '\n')
            lines.flush()
        tell({'name': name, 'pid': os.getpid()})
        for line in lines:
            try:
                tell(work(made, json.loads(line)))
            except OSError as error:
                tell({'error': str(error)})


if __name__ == '__main__':
    main()
