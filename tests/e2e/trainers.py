# SPDX-License-Identifier: Apache-2.0
"""Pods that train: the loop of sim/train in a real container, with the simulated driver where NVIDIA's toolkit puts the real one."""
import re
import subprocess
from pathlib import Path

import ociimage
from agents import BUILD
from bed import wait
from cluster import GPU

HERE = Path(__file__).resolve().parent
IMAGE = 'localhost/train:1'
LIBRARIES = '/usr/lib/x86_64-linux-gnu'
MIB = 1 << 20

# path in the image: path here
PROGRAMS = {f'/bin/{name}': BUILD / 'sim/train' / name for name in ('cuda-train', 'cuda-train-linked')}
DRIVER = {f'{LIBRARIES}/libcuda.so.1': BUILD / 'sim/cuda/libcuda.so.1', f'{LIBRARIES}/libnvidia-ml.so.1': BUILD / 'sim/nvml/libnvidia-ml.so.1'}


def libraries_of(*programs):
    """What the loader of this machine finds for them: libc, and itself."""
    found = {}
    for program in programs:
        text = subprocess.check_output(['ldd', program], text=True)
        found.update({path: Path(path).resolve() for path in re.findall(r'(?:=> |^\t)(/lib\S+) \(0x', text, re.M)})
    return found


def compiled(folder, source, *options):
    program = folder / Path(source).stem
    subprocess.run(['gcc', '-O2', '-s', *options, '-o', program, HERE / source], check=True)
    return program


def make_image(folder, name=IMAGE, more=()):
    """An archive; it has the build's programs. `more`: {path in the image: file} besides."""
    files = {**PROGRAMS, **DRIVER, **libraries_of(*PROGRAMS.values(), *DRIVER.values()),
             '/bin/with-gpus': compiled(folder, 'withgpus.c', '-static'), **dict(more)}
    archive = folder / f'{name.rpartition("/")[2].replace(":", "-")}.tar'
    ociimage.write(archive, name, ['/bin/with-gpus'], files)
    return archive


class Trainers:
    """Of one cluster, on the simulated machine that the agent has as well."""

    def __init__(self, cluster, machine):
        self.cluster, self.machine = cluster, machine
        machine.share()

    def container(self, *words, program='/bin/cuda-train', slices=1, image=IMAGE, **more):
        folder = str(self.machine.folder)
        return {'name': 'main', 'image': image, 'args': [program, *map(str, words)], 'resources': {'limits': {GPU: slices}},
                'env': [{'name': name, 'value': value} for name, value in self.machine.environment.items()],
                'volumeMounts': [{'name': 'machine', 'mountPath': folder}], **more}

    def create(self, name, *words, pod=(), **more):
        """`more` goes to the container, `pod` to the pod's specification."""
        self.cluster.create_pod(name, self.container(*words, **more), volumes=[
            {'name': 'machine', 'hostPath': {'path': str(self.machine.folder), 'type': 'Directory'}}], **{'restartPolicy': 'Never', **dict(pod)})

    def said(self, name, start='*'):
        """The whole output of a pod's container, of one start (0 is the first) or of each that the kubelet still has: it removes those of
        containers and pods that ended, after a while."""
        pod = self.cluster.api.find(f'/api/v1/namespaces/default/pods/{name}')
        text = self.cluster.read_logs(f"default_{name}_{pod and pod['metadata']['uid']}/main", start)
        return '\n'.join(line.split(' ', 3)[3] for line in text.splitlines() if line.count(' ') > 2)

    def wait_line(self, name, pattern, timeout=30, start='*'):
        try:
            return wait('', lambda: re.search(pattern, self.said(name, start), re.M), timeout)
        except Exception as error:
            raise AssertionError(f'pod {name} never said {pattern!r}:\n{self.said(name, start)}') from error

    def steps(self, name):
        """How often it said that it trains."""
        return len(re.findall('^training: ', self.said(name), re.M))

    def goes_on(self, name, timeout=30):
        before = self.steps(name)
        wait(f'{name} trains on', lambda: self.steps(name) > before, timeout)

    def pid(self, name):
        return next((pid for (pod, _), (pid, _) in self.cluster.containers().items() if pod == name), None)

    def loaded(self, name):
        """The files that its process has mapped, as the container names them."""
        return {line.split(maxsplit=5)[5].strip() for line in Path(f'/proc/{self.pid(name)}/maps').read_text().splitlines()
                if line.count('/') and len(line.split(maxsplit=5)) == 6}
