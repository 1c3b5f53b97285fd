# SPDX-License-Identifier: Apache-2.0
"""Every option, flag, variable and chart value is honoured somewhere, and some test uses it."""
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def check(root):
    return subprocess.run([sys.executable, root / 'tools/options', '--check'], capture_output=True, text=True, check=False,
                          timeout=300)


def test_none_is_without_effect_or_test():
    done = check(ROOT)
    assert done.returncode == 0, done.stdout


def test_a_new_one_without_either_is_named(tmp_path):
    for folder in ('src', 'deploy', 'tools'):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    options, values = tmp_path / 'src/config/options.c', tmp_path / 'deploy/helm/gpuslice/values.yaml'
    (tmp_path / 'tests').mkdir()
    text = options.read_text()
    row = '''    {.path = "flags.plugin.unheardOf",
     .kind = &kind_bool,
     CONFIG(plugin.unheard_of),
     .flags = "unheard-of",
     .help = "nothing"},
'''
    begin = text.index('    {.path = "flags.migStrategy"')
    options.write_text(text[:begin] + row + text[begin:])
    values.write_text(values.read_text() + 'unheardOfValue: true\n')
    done = check(tmp_path)
    assert done.returncode == 1
    for name in ('flags.plugin.unheardOf, --unheard-of', 'values: unheardOfValue'):
        assert f'{name}: honoured nowhere' in done.stdout and f'{name}: used by no test' in done.stdout
