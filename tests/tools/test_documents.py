# SPDX-License-Identifier: Apache-2.0
"""What documents name is there."""
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_tests_that_a_design_note_names_exist():
    named = {(page.name, *one) for page in (ROOT / 'doc/design').glob('*.md') for one in re.findall(r'`(test_\w+\.py)::(\w+)`', page.read_text())}
    assert named
    for page, file, name in sorted(named):
        found = [one for one in (ROOT / 'tests').glob(f'*/{file}') if f'def {name}(' in one.read_text()]
        assert found, f'{page}: {file}::{name}'


def test_every_installation_names_an_image():
    """No image is published: the chart's default cannot be pulled. tests/data holds the pages of others."""
    names = subprocess.check_output(['git', 'ls-files', '--cached', '--others', '--exclude-standard', '*.md'], cwd=ROOT, text=True)
    found = [(name, command) for name in names.splitlines() if not name.startswith('tests/data/')
             for command in re.findall(r'^ *(helm (?:upgrade -i|upgrade --install|install) (?:.*\\\n)*.*)', (ROOT / name).read_text(), re.M)]
    assert len(found) > 5
    assert not [one for one in found if '--set image.repository=' not in one[1]]
