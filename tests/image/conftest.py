# SPDX-License-Identifier: Apache-2.0
"""The image's archive and its unpacked root, made once from a build folder without sanitizers."""
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get('GPUSLICE_IMAGE_BUILD', ROOT / 'build')).resolve()
MULTIARCH = Path('usr/lib/x86_64-linux-gnu')
NAME = 'docker.io/gpuslice/gpuslice'

PLAN = '''
version: v1
sharing:
  timeSlicing:
    resources:
    - {name: nvidia.com/gpu, replicas: 4}
'''


def make_image(*arguments, **environment):
    return subprocess.run([ROOT / 'tools/image', '--build', BUILD, *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env={**os.environ, **environment}, check=True, timeout=100).stdout


class Archive:
    """An image archive, as an engine reads it: by digest, from the index down."""

    def __init__(self, path):
        self.path = path
        with tarfile.open(path) as tar:
            self.files = {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}
        self.index = self.json('index.json')
        [self.descriptor] = self.index['manifests']
        self.manifest = json.loads(self.blob(self.descriptor))
        self.config = json.loads(self.blob(self.manifest['config']))

    def json(self, name):
        return json.loads(self.files[name])

    def blob(self, descriptor):
        return self.files['blobs/' + descriptor['digest'].replace(':', '/')]

    @property
    def version(self):
        return self.config['config']['Labels']['org.opencontainers.image.version']


@pytest.fixture(scope='session')
def folder():
    # Not below pytest's folders: sockets live here, and a socket's path has room for 107 characters.
    with tempfile.TemporaryDirectory(prefix='image-', ignore_cleanup_errors=True) as made:
        yield Path(made)


@pytest.fixture(scope='session')
def archive(folder):
    make_image('--output', folder / 'gpuslice.tar')
    return Archive(folder / 'gpuslice.tar')


@pytest.fixture(scope='session')
def pristine(folder):
    make_image('--root', folder / 'root')
    return folder / 'root'


@pytest.fixture(scope='session')
def runnable(pristine):
    """The image's root, on a machine that lets us run programs in it."""
    done = run_inside(pristine, '/usr/bin/gpuslice', 'version')
    if re.search('^(unshare|mount|chroot): ', done.stderr, re.M):
        pytest.skip(f'this machine gives no root of its own: {done.stderr.strip()}')
    return pristine


@pytest.fixture
def root(runnable):
    """A copy of the image's root that a test may change."""
    with tempfile.TemporaryDirectory(prefix='root-', ignore_cleanup_errors=True) as made:
        shutil.copytree(runnable, made, symlinks=True, dirs_exist_ok=True)
        yield Path(made)


def inside(root, *words, **environment):
    """The command line and environment of a program that runs with the image as its root."""
    mapping = [] if os.getuid() == 0 else ['--map-root-user']
    script = 'mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
    return (['unshare', *mapping, '--mount', 'sh', '-c', script, str(root), *map(str, words)],
            {'PATH': os.environ['PATH'], **environment})


def run_inside(root, *words, **environment):
    command, environ = inside(root, *words, **environment)
    return subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=60)


def put_simulator(root, folder=MULTIARCH):
    """The driver's library as a runtime injects it, and a machine for it to act out, by the image's own catalog."""
    shutil.copy(BUILD / 'sim/nvml/libnvidia-ml.so.1', root / folder)
    shutil.copytree(ROOT / 'sim/machines', root / 'tmp/machines')
    (root / 'tmp/config.yaml').write_text(PLAN)
    return {'GPUSLICE_MACHINE': '/tmp/machines/p3.8xlarge.yaml', 'GPUSLICE_SIM_STATE': '/tmp/state',
            'GPUSLICE_CATALOG': '/usr/share/gpuslice/catalog'}
