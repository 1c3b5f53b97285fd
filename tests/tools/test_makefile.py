# SPDX-License-Identifier: Apache-2.0
"""What `make` says to somebody who does not know it yet, and that it does not build before it has said it."""
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / 'Makefile').read_text()
RUN_TESTS = ROOT / 'tools/run-tests'


def make(*words):
    """Without the words of the make that may have started this test."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(('MAKE', 'MFLAGS'))}
    return subprocess.run(['make', *words], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, timeout=60)


def test_help_has_every_target():
    """A target that people type has `## what it does`; those that only the machine types have none."""
    text = make('help').stdout
    listed = set(re.findall(r'^  make ([a-z0-9-]+) ', text, re.M))
    phony = set(re.search(r'^\.PHONY: (help .*)$', MAKEFILE, re.M)[1].split()) - {'known-suites'}
    assert phony | {'lint', 'matrix'} == listed
    assert make().stdout == text, 'make alone is make help'


@pytest.mark.parametrize('name', ['MACHINE', 'CONFIG', 'KEY', 'WORKLOAD', 'STAY', 'SUITES', 'SECONDS', 'DESTDIR', 'PREFIX'])
def test_help_has_every_variable(name):
    assert f'{name}=' in make('help').stdout


@pytest.mark.parametrize('word', ['machine=x', 'SUITE=unit', 'Config=x', 'STAYS=1'])
def test_a_variable_that_no_target_knows_is_an_error(word):
    done = make('-n', 'run', word)
    assert done.returncode != 0 and not done.stdout
    assert f"there is no variable '{word.partition('=')[0]}'" in done.stderr and 'MACHINE' in done.stderr


@pytest.mark.parametrize('word', ['CONFIG=/tmp/a b=c d.yaml', 'SUITES=unit integration', 'MACHINE='])
def test_a_value_may_be_any(word):
    assert make('-n', 'run', word).returncode == 0


@pytest.mark.parametrize('target', ['test', 'e2e'])
@pytest.mark.parametrize('name, meant', [('unti', 'unit'), ('integrations', 'integration'), ('e2ecdi', 'e2e-cdi')])
def test_a_suite_that_there_is_not(target, name, meant):
    """Before anything is built: nothing else is printed."""
    done = make(target, f'SUITES=unit {name}')
    assert done.returncode != 0
    first, last = done.stdout.splitlines()
    assert first.startswith(f"there is no suite '{name}'; did you mean '{meant}'?") and 'kube' in first
    assert last == '0 passed, 0 failed'


def test_an_installation_says_where_it_is(tmp_path):
    (tmp_path / 'meson-logs').mkdir()
    files = ['bin/gpuslice', 'bin/gpuslice-node', 'lib/gpuslice/sim/libnvidia-ml.so.1', 'share/man/man1/gpuslice.1', 'share/man/man8/gpuslice-node.8',
             'share/zsh/site-functions/_gpuslice']
    (tmp_path / 'meson-logs/install-log.txt').write_text('# by Meson\n' + ''.join(f'/x y/usr/{name}\n' for name in files))

    def said(path):
        return subprocess.run([ROOT / 'tools/installed', tmp_path], env={'PATH': path}, capture_output=True, text=True, check=True, timeout=60).stdout
    lines = ['installed:', '  /x y/usr/bin: gpuslice gpuslice-node', '  /x y/usr/lib/gpuslice/sim: libnvidia-ml.so.1', '  /x y/usr/share/man: 2 files',
             '  /x y/usr/share/zsh: _gpuslice']
    assert said('/x y/usr/bin:/bin').splitlines() == lines
    assert said('/bin').splitlines() == [*lines, 'The programs:  export PATH="/x y/usr/bin:$PATH"; then gpuslice help']


def test_no_package_starts_a_service():
    """What the targets install on somebody's machine may not run there by itself."""
    groups = ['build', 'run', 'test', 'soak', 'e2e', 'emulated', 'lint', 'matrix', 'fuzz']
    packages = subprocess.run([ROOT / 'tools/deps', '--list', *groups], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert 'gcc' in packages
    listed = subprocess.run(['dpkg-query', '-L', *packages], capture_output=True, text=True, check=False, timeout=60).stdout.splitlines()
    units = [Path(name) for name in listed if re.search(r'/systemd/system/[^/]*\.(service|socket)$|^/etc/init\.d/.', name)]
    assert '/usr/bin/gcc' in listed
    assert not [str(unit) for unit in units if unit.suffix == '' or re.search(r'^\[Install\]', unit.read_text(), re.M)]


def test_containerd_is_unpacked_and_not_installed(tmp_path):
    """Its service would start; and where Docker's edition is installed, Debian's would take its place."""
    done = subprocess.run([ROOT / 'tools/containerd', tmp_path / 'here'], capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        pytest.skip(done.stderr.strip())
    root = Path(done.stdout.strip())
    assert root == tmp_path / 'here' and sorted(path.name for path in root.iterdir()) == ['lock', 'usr']
    for name in ('bin/containerd', 'bin/ctr', 'sbin/runc'):
        assert subprocess.run([root / 'usr' / name, '--version'], capture_output=True, check=False, timeout=60).returncode == 0
    assert (root / 'usr/lib/cni/bridge').exists()


def test_the_suites_that_there_are_are_those_of_the_help():
    listed = ' '.join(make('help').stdout.partition('suites: ')[2].split())
    assert listed and make('test', 'SUITES=nothing-like-it').stdout.splitlines()[0].endswith(f' There are: {listed}')


def test_every_suite_of_mesons_is_known():
    tests = json.loads((Path(os.environ['GPUSLICE_BUILD']) / 'meson-info/intro-tests.json').read_text())
    suites = {suite.rpartition(':')[2] for test in tests for suite in test['suite']}
    done = subprocess.run([RUN_TESTS, '--known', *suites], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_build_leaves_no_litter(tmp_path):
    """A new folder, one that is up to date, one whose build fails: nothing stays in TMPDIR, and the programs are in bin."""
    (tmp_path / 'tools').symlink_to(ROOT / 'tools')
    (tmp_path / 'meson.build').write_text("project('x', 'c')\nexecutable('x', 'x.c')\n")
    (tmp_path / 'x.c').write_text('int main(void) { return 0; }\n')
    (tmp_path / 'litter').mkdir()
    for text, status in (('', 0), ('', 0), ('this is not C\n', 1)):
        with open(tmp_path / 'x.c', 'a') as source:
            source.write(text)
        done = subprocess.run(['tools/build', 'out', ''], cwd=tmp_path, env={**os.environ, 'TMPDIR': str(tmp_path / 'litter')},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=100)
        assert bool(done.returncode) == bool(status), done.stdout + done.stderr
        assert not list((tmp_path / 'litter').iterdir())
    assert sorted(path.name for path in (tmp_path / 'out/bin').iterdir()) == [
        'gpuslice', 'gpuslice-kubelet', 'gpuslice-node', 'gpuslice-sim']
