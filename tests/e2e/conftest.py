# SPDX-License-Identifier: Apache-2.0
"""One cluster for all tests, and an agent for each."""
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import programs  # noqa: E402
from agents import IMAGE, BareAgent, ChartAgent  # noqa: E402
from bed import Bed, ControlPlane  # noqa: E402
from cluster import Cluster  # noqa: E402
from controllers import MAPS, PROFILES, beside  # noqa: E402
from karpenter import PARTS as karpenter_parts  # noqa: E402
from karpenter import Karpenter  # noqa: E402


KEEP = bool(os.environ.get('KEEP_BED'))  # use the bed that `tests/e2e/bed up` started, and leave it up
the_bed = Bed()


@pytest.hookimpl(tryfirst=True)  # before pytest's own, which looks at the marks that -m asks for
def pytest_collection_modifyitems(config, items):
    """What needs containerd 2 is no case of a run on the other. What needs the node is marked so. What needs Karpenter as well comes last:
    by then a suite beside this one has built it."""
    items.sort(key=lambda item: 'chain' in item.fixturenames)
    for item in items:
        if 'bed' in item.fixturenames:
            item.add_marker('node')
    if the_bed.major != '2':
        left_out = [one for one in items if (mark := one.get_closest_marker('containerd2')) and mark.kwargs.get('only')]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [one for one in items if one not in left_out]


def pytest_collection_finish(session):
    """What few tests need is built, and the turn on this machine awaited, before the first test's clock runs."""
    needed = {name for item in session.items for name in item.fixturenames}
    if session.config.option.collectonly:
        return
    parts = ['nfd'] * ('master' in needed) + (karpenter_parts if 'karpenter' in needed else [])
    parts += ['karpenter', 'karpenter-aws'] * ('karpenter_of_aws' in needed) + ['containerd2'] * ('emulated' in needed or 'bed' in needed and the_bed.major == '2')
    if parts:
        programs.build(parts)
    if not KEEP and 'bed' in needed:
        the_bed.acquire()


@pytest.fixture(scope='session')
def bed():
    made, started = the_bed, time.monotonic()
    if KEEP:
        yield made
        return
    try:
        yield made.up()
    finally:
        made.down()
        print(f'bed: {time.monotonic() - started:.0f} s from up to down')


@pytest.fixture(scope='module')
def plane():
    """An API server alone, for a module whose tests need no kubelet; beside the bed, and empty."""
    if not (programs.BIN / 'kube-apiserver').exists():
        pytest.skip('tests/e2e/bed build was not run')
    made = ControlPlane(programs.FOLDER / 'plane', 26443)
    try:
        yield made.up()
    finally:
        made.down()


@pytest.fixture(scope='session')
def karpenter():
    """Karpenter on a cluster of its own, without a real node."""
    if not (programs.BIN / 'kube-apiserver').exists():
        pytest.skip('tests/e2e/bed build was not run')
    made = Karpenter(ControlPlane(programs.FOLDER / 'karpenter', 26543))
    try:
        made.plane.up(controllers=True, scheduler=True)
        yield made.up()
    finally:
        made.down()
        made.plane.down()


@pytest.fixture(scope='module')
def controller(karpenter):
    """Two replicas of gpuslice-controller beside it. In modules without, tests write overlays and open nodes themselves."""
    with beside(karpenter) as made:
        yield made


@pytest.fixture
def kept(controller):
    """With nothing left of the test before but nodes that go."""
    controller.start()  # a test may have killed them
    yield controller
    controller.api.call(f'{MAPS}?labelSelector=gpuslice.dev/slice-profile', 'DELETE')
    controller.api.call(PROFILES, 'DELETE')
    controller.karpenter.clean()


@pytest.fixture
def cluster(bed):
    bed.check()
    made = Cluster(bed)
    yield made
    made.clean()


@pytest.fixture(scope='session')
def release(bed):
    """The chart, installed once, with no agent yet. AGENT=process: nothing, agents are processes of the node."""
    folder = bed.shared / 'agent'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if os.environ.get('AGENT') == 'process':
        return BareAgent(Cluster(bed), folder)
    made = ChartAgent(Cluster(bed), folder)
    bed.import_images(IMAGE)
    return made


@pytest.fixture
def agent(cluster, release):
    """Not started; at the end it goes, and with it its slices."""
    release.reset()
    yield release
    print('--- agent:\n' + release.said())
    cluster.discard()  # they end while the agent does
    release.remove()
    cluster.wait_nothing()
