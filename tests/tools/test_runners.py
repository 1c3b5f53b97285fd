# SPDX-License-Identifier: Apache-2.0
"""What counts the cases: a case that failed, a stage or suite that died and one that ran nothing are never lost."""
import importlib.machinery
import importlib.util
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 180


def load(name):
    loader = importlib.machinery.SourceFileLoader(name.replace('-', '_'), str(ROOT / 'tools' / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


# --- tools/stages ---

def stages(table, cwd):
    done = subprocess.run([ROOT / 'tools/stages'], input=textwrap.dedent(table), text=True, capture_output=True, cwd=cwd,
                          timeout=PATIENCE_S)
    assert not done.stderr
    return done.returncode, done.stdout


def closing(text):
    """The one plain closing line, which is the last."""
    lines = text.splitlines()
    [line] = [line for line in lines if re.fullmatch(r'\d+ passed, \d+ failed(, \d+ skipped)?', line)]
    assert line == lines[-1]
    return line


def script(folder, name, text):
    path = folder / name
    path.write_text('#!/bin/sh\n' + text)
    path.chmod(0o755)
    return path


def test_cases_of_all_stages_are_added(tmp_path):
    status, text = stages('''
        # a remark
        first 0 build true
        one   0 check echo '3 passed, 0 failed'
        one   0 check echo '4 passed, 0 failed, 2 skipped'
        two  10 check echo '5 passed, 0 failed'
        ''', tmp_path)
    assert (status, closing(text)) == (0, '12 passed, 0 failed, 2 skipped')
    assert 'this stage: 3 passed, 0 failed' in text


@pytest.mark.parametrize('row, expected', [
    ("check sh -c 'echo 3 passed, 1 failed; exit 1'", '10 passed, 1 failed'),  # it names what failed
    ("check sh -c 'echo 3 passed, 0 failed; exit 1'", '10 passed, 1 failed'),  # it does not
    ("check sh -c 'echo 3 passed, 0 failed; kill -9 $$'", '10 passed, 1 failed'),
    ("check sh -c 'exit 1'", '7 passed, 1 failed'),
    ('check true', '7 passed, 1 failed'),                                      # nothing ran
    ("check echo '0 passed, 0 failed'", '7 passed, 1 failed'),
    ("check echo '0 passed, 0 failed, 3 skipped'", '7 passed, 1 failed, 3 skipped'),
    ('check ./no-such-program', '7 passed, 1 failed'),
    ('build false', '7 passed, 1 failed'),
    ("build sh -c 'echo 3 passed, 0 failed; exit 1'", '7 passed, 1 failed'),   # those are not its cases
])
def test_a_stage_that_ends_badly_is_a_failed_case(tmp_path, row, expected):
    for lane in ('a', 'b 0 '):
        status, text = stages(f"a 0 {row}\n{lane if lane != 'a' else 'a 0 '} check echo '7 passed, 0 failed'\n", tmp_path)
        assert (status, closing(text)) == (1, expected)


def test_nothing_at_all_is_no_success(tmp_path):
    status, text = stages('first 0 build true', tmp_path)
    assert (status, closing(text)) == (1, '0 passed, 0 failed')


def test_lanes_go_side_by_side_and_stages_of_a_lane_in_order(tmp_path):
    """Each lane waits for what the other writes: one after the other they would never end."""
    os.mkfifo(tmp_path / 'pipe')
    script(tmp_path, 'reads', 'test -e first && cat pipe && echo 1 passed, 0 failed')
    script(tmp_path, 'writes', 'test -e first && echo it came >pipe && touch second && echo 1 passed, 0 failed')
    script(tmp_path, 'after', 'test -e second && echo 1 passed, 0 failed')
    status, text = stages('''
        one   0 check ./reads
        two  10 check ./writes
        two  10 check ./after
        first 0 build touch first
        ''', tmp_path)
    assert (status, closing(text)) == (0, '3 passed, 0 failed'), text


def test_what_a_stage_says_stays_together(tmp_path):
    script(tmp_path, 'talk', 'for i in 1 2 3 4 5; do echo "$1 $i"; sleep 0.05; done; echo 1 passed, 0 failed')
    _, text = stages('one 0 check ./talk a\ntwo 0 check ./talk b\n', tmp_path)
    for name in 'ab':
        assert ''.join(f'{name} {n}\n' for n in range(1, 6)) in text


def test_how_far_it_was_is_not_told_again(tmp_path):
    said = ['  steps of it: 2 of 7, 10 s', '  suite: 25 % of 4 cases, 10 s', '  ...    lint-tidy         tidy: 3 of 8 sources (20 s)']
    kept = ['  unit          3 passed, 0 failed  (3.0 s)', '      | a: b, 10 s', '  ok     lint-tidy         (20 s)', 'a: b, 3 s']
    (tmp_path / 'said').write_text('\n'.join(said + kept) + '\n1 passed, 0 failed\n')
    _, text = stages('one 0 check cat said', tmp_path)
    assert not set(said) & set(text.splitlines()) and set(kept) <= set(text.splitlines())


def test_whoever_is_nice_lets_the_others_go_first(tmp_path):
    _, text = stages("one 10 check sh -c 'echo niceness $(nice); echo 1 passed, 0 failed'\n", tmp_path)
    assert f'niceness {min(os.nice(0) + 10, 19)}' in text


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_leaves_no_process(tmp_path, number):
    script(tmp_path, 'hang', 'echo begun; sleep 1000 & echo $! >"$1"; wait')
    process = subprocess.Popen([ROOT / 'tools/stages'], text=True, cwd=tmp_path, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    process.stdin.write('one 0 check ./hang a\ntwo 10 check ./hang b\none 0 check echo "5 passed, 0 failed"\n')
    process.stdin.close()
    process.stdin = None
    pids = [int(await_text(tmp_path / name)) for name in 'ab']
    process.send_signal(number)
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0 and 'interrupted' in text and 'passed' not in text, text
    deadline = time.monotonic() + PATIENCE_S
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def await_text(path):
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists() or not path.read_text().endswith('\n'):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return path.read_text()


def is_alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


# --- tools/run-tests ---

@pytest.fixture
def runner(tmp_path, monkeypatch):
    """tools/run-tests with suites of this test's own: runner(lane, workers, kind, files) -> (status, text)."""
    (tmp_path / 'build/meson-info').mkdir(parents=True)
    (tmp_path / 'build/meson-info/intro-buildoptions.json').write_text('[]')
    module = load('run-tests')
    (tmp_path / 'build-tools').symlink_to(module.TOOLS)
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    monkeypatch.setattr(module, 'RUNNERS', {})

    def add(name, lane='here', workers=0, kind=module.PYTEST, marker='not soak', **files):
        folder = tmp_path / name
        folder.mkdir()
        for file, text in files.items():
            (folder / f'test_{file}.py').write_text(textwrap.dedent(text))
            (folder / f'test_{file}.py').chmod(0o755)
        (tmp_path / 'pytest.ini').write_text('[pytest]\nmarkers =\n    soak: long\n')
        what = [name] if kind == module.PYTEST else [str(folder / f'test_{next(iter(files))}.py')]
        module.RUNNERS[name] = (lane, workers, kind, what, marker)

    def run(*suites):
        monkeypatch.setattr(sys, 'argv', ['run-tests', str(tmp_path / 'build'), *suites])
        with pytest.raises(SystemExit) as ended:
            module.main()
        return bool(ended.value.code)
    run.add, run.module = add, module
    return run


MIXED = '''
    import os, pytest
    def test_good(): pass
    def test_bad(): assert False, 'so it is'
    @pytest.mark.skip(reason='not here')
    def test_left_out(): pass
    @pytest.fixture
    def broken(): raise OSError('no fixture')
    def test_without(broken): pass
'''


@pytest.mark.parametrize('workers', [0, 1])
def test_pytests_cases(runner, capsys, workers):
    runner.add('mixed', workers=workers, a=MIXED)
    assert runner('mixed')
    text = capsys.readouterr().out
    assert closing(text) == '1 passed, 2 failed, 1 skipped'
    assert 'so it is' in text and 'no fixture' in text and 'skipped mixed.test_a: test_left_out' in text


UNSTEADY = '''
    import pathlib, pytest
    @pytest.mark.parametrize('case', ['a b', 'c::d'])
    def test_first(case):
        place = pathlib.Path(__file__).parent / case
        assert place.exists() or place.touch(), 'not yet'
'''


@pytest.mark.parametrize('workers', [0, 1])
def test_a_failed_case_is_run_once_more(runner, capsys, workers):
    runner.add('unsteady', workers=workers, a=UNSTEADY)
    assert not runner('unsteady')
    text = capsys.readouterr().out
    assert closing(text) == '2 passed, 0 failed'
    assert text.count('passed at the second attempt only: unsteady.test_a: test_first') == 2 and text.count('AssertionError: not yet') == 2


def test_many_failed_cases_are_not_run_again(runner, capsys):
    runner.add('unsteady', a=UNSTEADY.replace("'a b'", "'a', 'b', 'e'"))
    assert runner('unsteady')
    assert closing(capsys.readouterr().out) == '0 passed, 4 failed'


@pytest.mark.parametrize('workers', [0, 1])
def test_a_test_that_takes_its_process_along(runner, capsys, workers):
    runner.add('dying', workers=workers, a='import os\ndef test_dies(): os._exit(0)\n')
    assert runner('dying')
    assert re.search('0 passed, [12] failed', closing(capsys.readouterr().out))


def test_a_file_that_cannot_be_read(runner, capsys):
    runner.add('half', a='def test_good(): pass', b='import no_such_module')
    assert runner('half')
    assert closing(capsys.readouterr().out).endswith('1 failed')


def test_a_suite_without_a_case(runner, capsys):
    runner.add('empty', a='')
    runner.add('good', a='def test_good(): pass')
    assert runner('empty', 'good')
    assert closing(capsys.readouterr().out) == '1 passed, 1 failed'


def test_a_suite_that_is_not_there(runner, capsys):
    runner.module.RUNNERS['lost'] = ('here', 0, runner.module.PYTEST, ['tests/lost'], 'not soak')
    assert runner('lost')
    assert closing(capsys.readouterr().out) == '0 passed, 1 failed'


def test_lanes_of_suites_go_side_by_side(runner, capsys):
    """Two that wait for each other, and one that must come after the first."""
    meeting = '''
        import socket, time, os
        def test_meeting():
            open({own!r}, 'w').close()
            deadline = time.monotonic() + 60
            while not os.path.exists({other!r}):
                assert time.monotonic() < deadline
                time.sleep(0.02)
    '''
    runner.add('a', lane='one', a=meeting.format(own='is-a', other='is-b'))
    runner.add('b', lane='two', a=meeting.format(own='is-b', other='is-a'))
    runner.add('c', lane='one', a='import os\ndef test_after(): assert os.path.exists("is-a")')
    assert not runner('a', 'c', 'b')
    assert closing(capsys.readouterr().out) == '3 passed, 0 failed'


def test_a_fault_of_the_runner_is_a_failed_case(runner, capsys, monkeypatch):
    runner.add('a', a='def test_good(): pass')
    runner.add('b', a='def test_good(): pass')
    real = runner.module.run_other
    monkeypatch.setattr(runner.module, 'run_other', lambda build, suite, env: 1 / 0 if suite == 'a' else real(build, suite, env))
    assert runner('a', 'b')
    text = capsys.readouterr().out
    assert closing(text) == '1 passed, 1 failed' and 'ZeroDivisionError' in text


@pytest.mark.parametrize('text, expected', [
    ('echo ok - a; echo 1..1', '1 passed, 0 failed'),
    ('echo 1..2; echo ok - a; echo not ok - b; exit 1', '1 passed, 1 failed'),
    ('echo 1..3; echo ok - a', '1 passed, 1 failed'),                  # two never ran
    ('echo ok - a; echo 1..1; exit 3', '1 passed, 1 failed'),
    ('echo ok - a; echo "ok - b # SKIP no GPU"; echo 1..2', '1 passed, 0 failed, 1 skipped'),
    ('true', '0 passed, 1 failed'),
])
def test_tap(runner, capsys, text, expected):
    runner.add('tap', kind=runner.module.TAP, marker=None, a=f'#!/bin/sh\n{text}\n')
    assert runner('tap') == (' 0 failed' not in expected)
    assert closing(capsys.readouterr().out) == expected


def test_a_suite_that_is_too_slow(runner, capsys, monkeypatch):
    monkeypatch.setattr(runner.module, 'LIMIT_S', 0.5)
    monkeypatch.setattr(runner.module, 'REPORT_S', 0.2)
    runner.add('slow', a='import time\ndef test_slow(): time.sleep(1000)')
    assert runner('slow')
    text = capsys.readouterr().out
    assert closing(text).endswith('1 failed') and 'did not end within' in text


# --- tools/cases and tools/progress ---

def test_each_target_is_a_case(tmp_path):
    (tmp_path / 'Makefile').write_text('good:\n\t@echo well\nbad:\n\t@echo the reason; exit 1\n')
    done = subprocess.run([ROOT / 'tools/cases', 'bad', 'good', 'none'], cwd=tmp_path, text=True, capture_output=True,
                          env={**os.environ, 'MAKE': 'make', 'MAKEFLAGS': ''}, timeout=PATIENCE_S)
    assert (done.returncode, closing(done.stdout)) == (1, '1 passed, 2 failed')
    assert '| the reason' in done.stdout and 'well' not in done.stdout
    done = subprocess.run([ROOT / 'tools/cases', 'good'], cwd=tmp_path, text=True, capture_output=True,
                          env={**os.environ, 'MAKE': 'make', 'MAKEFLAGS': ''}, timeout=PATIENCE_S)
    assert (done.returncode, closing(done.stdout)) == (0, '1 passed, 0 failed')


@pytest.mark.parametrize('status', [0, 3])
def test_progress_counts_steps_and_keeps_the_status(tmp_path, status):
    """The command runs until a line about it was printed."""
    text = f'echo step 1; echo other; echo step 2; while [ ! -s said ]; do sleep 0.05; done; exit {status}'
    with open(tmp_path / 'said', 'w') as said:
        code = subprocess.run([ROOT / 'tools/progress', 'log', 'steps of it', '^step', '7', 'sh', '-c', text],
                              cwd=tmp_path, stdout=said, env={**os.environ, 'PROGRESS_S': '0.1'}, timeout=PATIENCE_S)
    assert code.returncode == status
    assert (tmp_path / 'log').read_text() == 'step 1\nother\nstep 2\n'
    lines = (tmp_path / 'said').read_text().splitlines()
    assert lines and re.fullmatch(r'  steps of it: \d+ of 7, \d+ s', lines[-1])
