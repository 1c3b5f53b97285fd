# SPDX-License-Identifier: Apache-2.0
"""What documents name is there."""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_tests_that_a_design_note_names_exist():
    named = {(page.name, *one) for page in (ROOT / 'doc/design').glob('*.md') for one in re.findall(r'`(test_\w+\.py)::(\w+)`', page.read_text())}
    assert named
    for page, file, name in sorted(named):
        found = [one for one in (ROOT / 'tests').glob(f'*/{file}') if f'def {name}(' in one.read_text()]
        assert found, f'{page}: {file}::{name}'
