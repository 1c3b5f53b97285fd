# SPDX-License-Identifier: Apache-2.0
"""`make release` in two checkouts: the same bytes."""
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def copy_of_the_tree(folder):
    names = subprocess.check_output(['git', '-C', ROOT, 'ls-files', '-z'], text=True).split('\0')
    for name in filter(None, names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    (folder / 'build-tools').symlink_to((ROOT / 'build-tools').resolve())
    # They share the sysroot of this checkout, and must not take it for older than its recipe.
    for recipe in ('tools/cross-arm64', 'tools/packages'):
        os.utime(folder / recipe, (0, 0))
    return folder


def released(tree):
    """Name -> checksum of what `make release` writes there."""
    done = subprocess.run(['make', '-C', tree, 'release'], env={**os.environ, 'SOURCE_DATE_EPOCH': '1800000000', 'CCACHE_DISABLE': '1'},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in (tree / 'build-release/out').iterdir()}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_of_it_built_twice():
    """Two checkouts in folders of other names, both architectures: the same bytes."""
    subprocess.run(['make', '-C', ROOT, 'build-tools/arm64/cross.ini'], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    # Not below pytest's folders, which sessions that come meanwhile clear away.
    with tempfile.TemporaryDirectory(prefix='release-') as folder:
        trees = [copy_of_the_tree(Path(folder, name)) for name in ('a', 'a-folder-of-another-length')]
        outputs = [released(tree) for tree in trees]
    assert outputs[0] == outputs[1]
    assert {one.rsplit('-', 1)[-1] for one in outputs[0] if 'image' in one} == {'image.tar', 'amd64.tar', 'arm64.tar'}
