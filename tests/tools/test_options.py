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
    for folder in ('src', 'deploy', 'tools', 'sim'):
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
    for name, row, where in (
            ('src/cli/request.c', '    [OPTION_X] = {"unknown-word", \'w\', NULL, false, STRING(unknown_word), "nothing"},\n', '    [OPTION_HELP] ='),
            ('sim/kubelet/main.c', '    {"never-heard", no_argument, NULL, 0},\n', '    {"help", no_argument'),
            ('sim/nvml/state.c', '/* getenv("GPUSLICE_NOWHERE") */\n', 'int state_path(')):
        text = (tmp_path / name).read_text()
        assert where in text
        (tmp_path / name).write_text(text.replace(where, row + where, 1))
    done = check(tmp_path)
    assert done.returncode == 1
    for name in ('gpuslice-kubelet --never-heard', 'GPUSLICE_NOWHERE'):
        assert f'{name}: used by no test' in done.stdout
    assert 'gpuslice --unknown-word, -w: honoured nowhere' in done.stdout and 'gpuslice --unknown-word, -w: used by no test' in done.stdout
    for name in ('flags.plugin.unheardOf, --unheard-of', 'values: unheardOfValue'):
        assert f'{name}: honoured nowhere' in done.stdout and f'{name}: used by no test' in done.stdout
