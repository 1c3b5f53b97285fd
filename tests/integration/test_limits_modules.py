# SPDX-License-Identifier: Apache-2.0
"""Modules whose size no image tells, beside a pod that frees while they are loaded: with gpuslice-arbiter, which counts what is given
back on the device and reads the driver."""
import os

import pytest
from node import eventually, in_folder
from test_limit_control import Controlled
from test_limits_skew import Program
from test_preload import CONTEXT, LIMIT, MIB, OUT_OF_MEMORY, ptx

SHOWN = 306  # of a context by the simulated driver, which CONTEXT is the figure of


@pytest.fixture
def machine():
    yield from in_folder(Controlled)


@pytest.fixture
def programs(machine):
    """Of two pods on one GPU."""
    paths = [machine.grant(pod, LIMIT * MIB, slot=slot) for slot, pod in enumerate(('train', 'serve'))]
    machine.limits()
    made = []
    for pod, path in zip(('train', 'serve'), paths):
        eventually(lambda path=path: os.path.exists(path), 'the grant has its socket')
        made.append(Program(machine, pod, path))
    yield made
    for program in made:
        program.end()


@pytest.mark.parametrize('mib, code', [(LIMIT, OUT_OF_MEMORY), (1000, '0')], ids=['does not fit', 'fits'])
def test_what_another_pod_frees_meanwhile_hides_no_module(tmp_path, programs, mib, code):
    train, serve = programs
    pipe = tmp_path / 'image'
    os.mkfifo(pipe)
    assert (train('start'), serve('start')) == ('0', '0')
    assert train(f'alloc {LIMIT - CONTEXT - 1200}') == '0'
    assert serve(f'alloc {LIMIT - CONTEXT - 200}') == '0'
    train.process.stdin.write(f'file {pipe}\n')
    with open(pipe, 'w') as image:
        assert serve('free') == '0'
        image.write(ptx(mib))
    assert train.said() == code
    left = 1200 if code == OUT_OF_MEMORY else 1200 - mib
    assert left <= train.info()[0] <= left + CONTEXT - SHOWN
