# SPDX-License-Identifier: Apache-2.0
"""`make release` in two checkouts: the same bytes."""
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def copy_of_the_tree(folder):
    names = subprocess.check_output(['git', '-C', ROOT, 'ls-files', '-z'], text=True).split('\0')
    for name in filter(None, names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)  # with its date, or build-tools would be fetched again
    (folder / 'build-tools').symlink_to((ROOT / 'build-tools').resolve())
    return folder


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_of_it_built_twice(tmp_path):
    """Two checkouts in folders of other names, both architectures: the same bytes."""
    outputs = []
    for name in ('a', 'a-folder-of-another-length'):
        tree = copy_of_the_tree(tmp_path / name)
        done = subprocess.run(['make', '-C', tree, 'release'], env={**os.environ, 'SOURCE_DATE_EPOCH': '1800000000', 'CCACHE_DISABLE': '1'},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.append({one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in Path(tree, 'build-release/out').iterdir()})
    assert outputs[0] == outputs[1]
    assert {one.rsplit('-', 1)[-1] for one in outputs[0] if 'image' in one} == {'image.tar', 'amd64.tar', 'arm64.tar'}
