# SPDX-License-Identifier: Apache-2.0
"""`gpuslice plan --workload`: how many GPUs pods need, by how those are sliced. On pods that are made up by the facts of a public
trace (gputrace.py), beside a second way to count; tests/bench/money.py takes the trace itself."""
import json

import gputrace
import pytest
import yaml
from test_cli import CLEAN, ERRORS, UNREADABLE, USAGE, WARNINGS, run
from test_karpenter import by_kind, profile, render


@pytest.fixture(scope='module')
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp('workload') / 'pods.csv'
    gputrace.generate(path)
    return path


def plan(*arguments, stdin='', status=CLEAN):
    done = run('plan', '--workload', *arguments, '-o', 'json', stdin=stdin)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_the_generator_has_the_facts(trace):
    pods = gputrace.read(trace)
    shares, lifetimes = [pod.milli for pod in pods], [pod.lasts for pod in pods]
    assert 0.41 < len(pods) / (8152 - 1088) < 0.46
    assert [gputrace.percentile(shares, p) for p in (50, 75, 90)] == [470, 810, 810] and 230 <= gputrace.percentile(shares, 10) <= 320
    assert sum(shares) / len(shares) == pytest.approx(562.6, rel=0.02)
    assert gputrace.percentile(lifetimes, 50) == pytest.approx(540, rel=0.2)


def test_gpus_by_ways(trace):
    """Eight names need at most 1.02 of what first-fit-decreasing needs of shares as they are."""
    pods, tree = gputrace.read(trace), plan(trace)
    gpus = {row['slices']: row['gpus'] for row in tree['ways']}
    least = gputrace.first_fit_decreasing(pod.milli for pod in pods)
    assert tree['pods'] == len(pods) and tree['gpus_in_sum'] == pytest.approx(gputrace.demand(pods)[0])
    assert gpus['whole GPUs'] == len(pods) and gpus['unequal, a name for each share'] == least
    for n in (2, 3, 4, 6, 7, 8):
        assert gpus[f'{n} equal slices'] == gputrace.equal_slices(pods, n)
    assert least <= gpus['unequal, 8 names'] <= 1.02 * least
    assert gpus['unequal, 8 names'] <= gpus['unequal, 5 names'] <= gpus['unequal, 3 names'] < gpus['whole GPUs']
    assert len(tree['names']) == 8 and sum(name['pods'] for name in tree['names']) == len(pods)


def test_the_layouts_hold_every_pod(trace):
    pods, tree = gputrace.read(trace), plan(trace)
    assert sum(layout['gpus'] for layout in tree['layouts']) == {row['slices']: row['gpus'] for row in tree['ways']}['unequal, 8 names']
    free = {}
    for layout in tree['layouts']:
        for one in layout['slices']:
            milli = round(10 * float(one['share'].rstrip('%')))
            free[milli] = free.get(milli, 0) + one['count'] * layout['gpus']
    for pod in sorted(pods, key=lambda pod: -pod.milli):
        size = min(milli for milli, left in free.items() if left and milli >= pod.milli)
        free[size] -= 1


@pytest.mark.parametrize('n_layout', range(3))
def test_a_layout_is_a_configuration(trace, n_layout):
    """What is printed can be pasted; each GPU then has these slices."""
    slices = plan(trace)['layouts'][n_layout]['slices']
    done = run('plan', '-', '--machine', 'g5.12xlarge', '-o', 'json', stdin=yaml.safe_dump({'version': 'v1', 'gpuslice': {'slices': slices}}))
    assert done.returncode in (CLEAN, WARNINGS), done.stderr
    assert json.loads(done.stdout)['resources'] == {f"nvidia.com/gpu-{one['name']}": 4 * one['count'] for one in slices}


def test_a_layout_is_a_profile(trace):
    """The overlays have the same counts, and no whole GPUs."""
    slices = plan(trace)['layouts'][0]['slices']
    made, _ = render(profile('p', instanceTypes=['g5.12xlarge'], slices=slices))
    overlay, = by_kind(made, 'NodeOverlay').values()
    assert overlay['capacity'] == {'nvidia.com/gpu': '0', **{f"nvidia.com/gpu-{one['name']}": str(4 * one['count']) for one in slices}}


def test_our_columns():
    """Memory counts where it is the larger part; other kinds of GPU are other GPUs; two names for 40 % and 60 %."""
    tree = plan('-', stdin='share,count,model,memory\n10%,2,a10g,8Gi\n60%,2,a10g,\n60%,1,,\n100%,3,,\n,4,,\n')
    names = {one['share']: one['pods'] for one in tree['names']}
    assert names.pop('60%') == 3 and list(names.values()) == [2] and 35 < float(next(iter(names))[:-1]) < 40
    assert [(row['model'], row['gpus']) for row in tree['layouts']] == [('any', 1), ('a10g', 2)]
    assert (tree['pods_of_whole_gpus'], tree['whole_gpus'], tree['pods_without_gpu']) == (3, 3, 4)


def test_memory_by_the_machine():
    done = run('plan', '--workload', '-', '--machine', 'g5.xlarge', stdin='memory\n5Gi\n')
    assert done.returncode == CLEAN and '1 pods want parts of GPUs, 0.2 GPUs' in done.stdout


def test_for_people(trace):
    done = run('plan', '--workload', trace, '--names', 2)
    lines = done.stdout.splitlines()
    assert done.returncode == CLEAN and lines[2].split() == ['SLICES', 'NAMES', 'GPUS', 'ROUNDED', 'UP']
    assert 'unequal, 2 names' in done.stdout and 'unequal, 3 names' not in done.stdout and 'nvidia.com/gpu-810m' in done.stdout


@pytest.mark.parametrize(('arguments', 'stdin', 'status', 'words'), [
    (['-'], 'share\nhalf\n', ERRORS, "<stdin>:2:1: error: share: 'half'"),
    (['-'], 'gpu,pods\n1,2\n', ERRORS, 'names the columns'),
    (['-'], 'share,memory\n,40Gi\n', ERRORS, 'or give --machine'),
    (['-'], 'share,memory,model\n,40Gi,a10g\n', ERRORS, 'A10G has'),
    (['-'], 'share,memory,model\n,18446744073709551615,a10g\n', ERRORS, 'A10G has'),
    (['-'], 'share,memory,model\n,4Gi,z9\n', ERRORS, 'the catalog has'),
    (['/nonexistent'], '', UNREADABLE, '/nonexistent'),
    (['-', '--machine', 'p9'], 'share\n50%\n', UNREADABLE, 'p9'),
    (['-', '--names', '17'], '', USAGE, 'from 1 to 16'),
    (['-', '--cost', '5'], '', USAGE, '--workload plans for pods alone'),
    (['-', 'x.yaml'], '', USAGE, '--workload plans for pods alone'),
])
def test_mistakes(arguments, stdin, status, words):
    done = run('plan', '--workload', *arguments, stdin=stdin)
    assert done.returncode == status and words in done.stderr


def test_no_more_mistakes_than_people_read():
    done = run('plan', '--workload', '-', stdin='memory\n' + '4Gi\n' * 1000)
    assert done.returncode == ERRORS and done.stderr.count('error:') == 20


def test_names_alone():
    done = run('plan', '--names', '5')
    assert done.returncode == USAGE and '--workload' in done.stderr
