# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's mig-parted, unmodified, partitions a simulated machine: the calls that it makes are those it makes on a real one, and
what it relies on (a second compute instance in a full GPU instance is refused) holds. Our own partitioner is measured beside it."""
import pytest

import foreign
import migparted
from migparted import Machine, created

pytestmark = pytest.mark.timeout(1200)  # of the first, which builds it


@pytest.fixture(scope='session')
def program():
    return migparted.program()


@pytest.fixture
def p4d(program, tmp_path):
    return Machine(foreign.ROOT / 'sim/machines/p4d.24xlarge.yaml', tmp_path, program)


def test_a_new_layout_takes_as_many_calls_as_on_a_real_machine(p4d):
    calls = p4d.apply('all-balanced')
    assert p4d.profiles() == [['1g.5gb', '1g.5gb', '2g.10gb', '3g.20gb']] * 8
    assert calls['nvmlDeviceSetMigMode'] == 8
    assert calls['nvmlDeviceCreateGpuInstance'] == 32
    assert calls['nvmlGpuInstanceCreateComputeInstance'] == 40  # 8 of them tried in a GPU instance that is full
    assert calls['nvmlDeviceGetGpuInstances'] == 168


def test_one_layout_follows_another(p4d):
    p4d.apply('all-1g.5gb')
    assert p4d.profiles() == [['1g.5gb'] * 7] * 8
    calls = p4d.apply('all-balanced')
    assert calls['nvmlComputeInstanceDestroy'] == calls['nvmlGpuInstanceDestroy'] == 56  # it clears all
    p4d.apply('some')
    assert p4d.profiles() == [['3g.20gb'] * 2] * 2 + [[]] * 6
    p4d.apply('parts')
    assert p4d.profiles() == [['1c.3g.20gb'] * 3] * 8
    p4d.apply('all-disabled')
    assert p4d.profiles() == [[]] * 8


def test_an_instance_in_use_makes_it_fail(p4d):
    p4d.apply('all-1g.5gb')
    p4d.sim('inject', 'process', 'add', '3:9:0', '42', '1Gi', 'trainer')
    status, output, _ = p4d.parted('apply', '-f', str(p4d.folder / 'config.yaml'), '-c', 'all-balanced')
    assert status == 1 and 'ERROR_IN_USE' in output, output
    assert '1g.5gb' in p4d.profiles()[3]


def test_ours_destroys_only_what_has_to_go(p4d, tmp_path, program):
    """The same layouts one after the other, by either program."""
    (tmp_path / 'second').mkdir()
    second = Machine(foreign.ROOT / 'sim/machines/p4d.24xlarge.yaml', tmp_path / 'second', program)
    destroyed = []
    for label in ('all-1g.5gb', 'all-balanced', 'other', 'parts', 'some', 'some'):
        theirs, ours = p4d.apply(label), second.ours(label)
        assert second.profiles() == p4d.profiles(), label
        assert created(ours) <= created(theirs), label
        assert ours['nvmlDeviceSetMigMode'] <= theirs['nvmlDeviceSetMigMode'], label
        assert ours['nvmlGpuInstanceDestroy'] <= theirs['nvmlGpuInstanceDestroy'], label
        destroyed.append((ours['nvmlGpuInstanceDestroy'], theirs['nvmlGpuInstanceDestroy']))
    assert destroyed[1] == (5 * 8, 7 * 8)  # two of seven are kept on each GPU
    assert destroyed[2] == (1 * 8, 4 * 8)
