# SPDX-License-Identifier: Apache-2.0
"""Memory limits on a real kubelet: pods of shared slices train on a simulated GPU, as unmodified programs of the CUDA driver.

One GPU of 16160 MiB in four slices. A pod that allocates more than its slice gets CUDA error 2 and an event, and the others notice nothing:
also while the arbiter or the agent is away or replaced, in a container that is started again, and whatever the image is like."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from agents import replicas
from bed import GRANTS, BedError, has_ended, wait
from test_install import chart  # noqa: F401
from trainers import MIB, Trainers, compiled, make_image

LIMITED = 'arbiter.enabled=true', 'arbiter.mode=limits', 'arbiter.memory=enforced'
N_SLICES, GPU_MIB, CONTEXT_MIB = 4, 16160, 306
GREEDY = '--grow', 500, '--go-on', '--step-ms', 50
OVERFLOW = r'^step \d+: cuMemAlloc of 500 MiB: CUDA_ERROR_OUT_OF_MEMORY \(2\)$'
LIBRARY = '/opt/gpuslice/lib/libgpuslice.so'


@pytest.fixture(scope='session')
def image(bed, tmp_path_factory):
    bed.import_images(make_image(tmp_path_factory.mktemp('train')))


@pytest.fixture
def trainers(cluster, image, chart):  # noqa: F811
    chart.machine.environment['GPUSLICE_MACHINE'] = 'p3.2xlarge'
    made = Trainers(cluster, chart.machine)
    yield made
    for pod in cluster.pods():
        print(f"--- {pod['metadata']['name']}:\n{made.said(pod['metadata']['name'])[:1500]}")


@pytest.fixture
def limited(cluster, chart, trainers):  # noqa: F811
    chart.start(replicas(N_SLICES), *LIMITED)
    cluster.wait_allocatable(N_SLICES)
    return trainers


def used_mib(chart, pid):
    """What the driver says that a process has."""
    state = json.loads(chart.sim('state', '-o', 'json'))
    return sum(one['memory_bytes'] for one in state['processes'] if one['pid'] == pid) // MIB


@contextlib.contextmanager
def told(chart, pid):
    """With what the driver has, where that is not what was awaited."""
    try:
        yield
    except BedError as error:
        raise AssertionError(f"{error}: {pid} in {json.loads(chart.sim('state', '-o', 'json'))['processes']}") from error


def holds_its_limit(chart, trainers, name, start=0):
    """It wants ever more, is refused, sees its slice as the GPU, and has no more than that by the driver's account. What its context
    costs is known within a second: then there may be room for one piece more."""
    trainers.wait_line(name, OVERFLOW, start=start)
    free, total = map(int, trainers.wait_line(name, r'^then: (\d+) MiB free of (\d+) MiB$', start=start).groups())
    assert total <= GPU_MIB and free < 500
    pid = trainers.pid(name)
    with told(chart, pid):
        wait('all of it is used', lambda: used_mib(chart, pid) > total - 500, 10)
    n = len(re.findall(OVERFLOW, trainers.said(name, start), re.M))
    wait('it goes on to be refused', lambda: len(re.findall(OVERFLOW, trainers.said(name, start), re.M)) > n + 3, 30)
    assert used_mib(chart, pid) <= total + 2
    return total


def test_without_limits_one_takes_all(cluster, chart, trainers):  # noqa: F811
    """What limits are for; and the bed's pods do train."""
    chart.start(replicas(N_SLICES))
    cluster.wait_allocatable(N_SLICES)
    trainers.create('neighbour', '--step-ms', 5)
    trainers.create('greedy', *GREEDY)
    trainers.wait_line('greedy', OVERFLOW)
    assert used_mib(chart, trainers.pid('greedy')) > GPU_MIB * 0.9
    trainers.goes_on('neighbour')


@pytest.mark.parametrize('program', ['cuda-train', 'cuda-train-linked'])
def test_over_its_limit(cluster, chart, limited, program):  # noqa: F811
    limited.create('neighbour', '--memory', 3000, '--step-ms', 5, program=f'/bin/{program}')
    limited.goes_on('neighbour')
    limited.create('greedy', *GREEDY, program=f'/bin/{program}')
    assert holds_its_limit(chart, limited, 'greedy') == GPU_MIB // N_SLICES
    limited.goes_on('greedy')  # an error of CUDA's is no end
    cluster.wait('the event', lambda: [one for one in cluster.events('Pod', 'greedy') if 'memory' in one['message']])
    limited.goes_on('neighbour')
    assert not [one for one in cluster.events('Pod', 'neighbour') if 'memory' in one['message']]
    assert 'CUDA_ERROR' not in limited.said('neighbour')
    limited.create('late', '--memory', 3000, '--step-ms', 5)  # its memory is still there
    limited.goes_on('late')


def test_two_slices_are_twice_as_much(cluster, chart, limited):  # noqa: F811
    limited.create('one', *GREEDY)
    limited.create('two', *GREEDY, slices=2)
    one, two = (holds_its_limit(chart, limited, name) for name in ('one', 'two'))
    assert abs(two - 2 * one) <= 4


def test_a_dead_pods_memory_is_free_within_a_second(cluster, chart, limited):  # noqa: F811
    limited.create('greedy', *GREEDY)
    holds_its_limit(chart, limited, 'greedy')
    pid = limited.pid('greedy')
    os.kill(pid, signal.SIGKILL)
    wait('its end', lambda: has_ended(pid), 5)
    wait('free memory', lambda: used_mib(chart, pid) == 0, 1)


def arbiter_pid(chart):
    """None while it does not run."""
    return next((pid for (_, name), (pid, _) in chart.cluster.containers('kube-system').items() if name == 'arbiter'), None)


def test_an_arbiter_that_dies_changes_nothing(cluster, chart, limited):  # noqa: F811
    limited.create('neighbour', '--memory', 3000, '--step-ms', 5)
    limited.create('greedy', *GREEDY)
    limited.goes_on('neighbour')
    total = holds_its_limit(chart, limited, 'greedy')
    before = arbiter_pid(chart)
    os.kill(before, signal.SIGKILL)
    for name in 'neighbour', 'greedy':
        limited.goes_on(name)
    wait('another arbiter', lambda: arbiter_pid(chart) not in (None, before), 60)
    for name in 'neighbour', 'greedy':
        limited.goes_on(name)
    assert used_mib(chart, limited.pid('greedy')) <= total + 2
    limited.create('late', *GREEDY)
    holds_its_limit(chart, limited, 'late')
    assert 'CUDA_ERROR' not in limited.said('neighbour')


def test_an_agents_upgrade_changes_nothing(cluster, chart, limited):  # noqa: F811
    limited.create('greedy', *GREEDY)
    total, pid = holds_its_limit(chart, limited, 'greedy'), limited.pid('greedy')
    before = chart.pod()['metadata']['uid']
    chart.install(*LIMITED, 'podAnnotations.revision=limits')
    chart.wait_pod(before)
    cluster.settles((N_SLICES, N_SLICES))
    limited.goes_on('greedy')
    assert limited.pid('greedy') == pid and used_mib(chart, pid) <= total + 2
    limited.create('late', *GREEDY)
    holds_its_limit(chart, limited, 'late')


def restarts(cluster, name):
    [status] = [one['status']['containerStatuses'][0] for one in cluster.pods() if one['metadata']['name'] == name]
    return status['restartCount'] if 'running' in status['state'] else 0


@pytest.mark.parametrize('loss', ['nothing', 'the directory of its grant'])
def test_a_container_that_is_started_again_has_its_limit(cluster, chart, limited, loss):  # noqa: F811
    """The kubelet reuses its cached answer, and a runtime makes an empty directory of a source that is missing."""
    limited.create('greedy', *GREEDY, pod={'restartPolicy': 'Always'})
    holds_its_limit(chart, limited, 'greedy')
    pid = limited.pid('greedy')
    if loss != 'nothing':
        for folder in (GRANTS / 'grants').iterdir():
            shutil.rmtree(folder)
    os.kill(pid, signal.SIGKILL)
    cluster.wait('another container', lambda: restarts(cluster, 'greedy') == 1, 60)
    holds_its_limit(chart, limited, 'greedy', start=1)


def test_any_user_and_a_read_only_root(cluster, chart, limited):  # noqa: F811
    limited.create('greedy', *GREEDY, securityContext={
        'runAsUser': 65534, 'runAsGroup': 65534, 'runAsNonRoot': True, 'readOnlyRootFilesystem': True,
        'allowPrivilegeEscalation': False, 'capabilities': {'drop': ['ALL']}})
    holds_its_limit(chart, limited, 'greedy')


def test_an_image_with_a_preload_of_its_own(cluster, chart, limited, bed, tmp_path):  # noqa: F811
    """Its list is hidden by ours, so its library is not loaded; one in LD_PRELOAD is."""
    (tmp_path / 'own.c').write_text('#include <stdio.h>\n__attribute__((constructor)) static void tell(void) { puts("own library"); fflush(stdout); }\n')
    subprocess.run(['gcc', '-shared', '-fPIC', '-o', tmp_path / 'own.so', tmp_path / 'own.c'], check=True)
    (tmp_path / 'list').write_text('/lib/own.so\n')
    bed.import_images(make_image(tmp_path, 'localhost/own:1', {'/lib/own.so': tmp_path / 'own.so', '/etc/ld.so.preload': tmp_path / 'list'}))
    limited.create('listed', *GREEDY, image='localhost/own:1')
    holds_its_limit(chart, limited, 'listed')
    assert 'own library' not in limited.said('listed')


def test_a_static_program_runs(cluster, chart, limited):  # noqa: F811
    """No loader, so no library: it is not limited, and what it takes is named."""
    cluster.create_pod('static')
    cluster.wait_running(1)
    pid = limited.pid('static')
    chart.sim('inject', 'process', 'add', '0', pid, '6000Mi')
    chart.wait_line(r'pod default/static \(container main-0\) uses 6000 MiB of GPU 0')
    chart.sim('inject', 'process', 'remove', '0', pid)
