# SPDX-License-Identifier: Apache-2.0
"""src/slice/verified.c has the rows of doc/support.md, and no others."""
import os
import re
from pathlib import Path

ROOT = Path(os.environ.get('GPUSLICE_SOURCE', Path(__file__).parents[2]))
FAMILIES = {'H100': 'hopper', 'H200': 'hopper', 'A100': 'ampere', 'A10G': 'ampere', 'L4': 'ada-lovelace', 'B200': 'blackwell',
            'T4': 'turing', 'V100': 'volta'}


def test_the_table_is_the_document():
    document = (ROOT / 'doc/support.md').read_text().split('Memory limits by `gpuslice verify`', 1)[1]
    rows = re.findall(r'^\| NVIDIA ([\w-]+)[^|]*\| (\d+)\.[\d.]+ \| (?:PASS \()?\d+ of', document, re.M)
    compiled = set(re.findall(r'^    \{"([\w-]+)", "(\d+)"\},', (ROOT / 'src/slice/verified.c').read_text(), re.M))
    assert rows and compiled == {(FAMILIES[model], branch) for model, branch in rows}
