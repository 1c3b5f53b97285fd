# SPDX-License-Identifier: Apache-2.0
"""`gpuslice mig apply`, killed before each change that it makes to a GPU, on every model that MIG can partition: the next one
goes on from there, and what is in use stays."""
import pytest
import yaml

from node import ROOT
from test_mig_cli import APPLIED, Machine

CHANGES = ('nvmlDeviceSetMigMode', 'nvmlGpuInstanceDestroy', 'nvmlComputeInstanceDestroy', 'nvmlDeviceCreateGpuInstance',
           'nvmlDeviceCreateGpuInstanceWithPlacement', 'nvmlGpuInstanceCreateComputeInstance',
           'nvmlGpuInstanceCreateComputeInstanceWithPlacement')
FACTS = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / 'share/catalog/models').glob('*.yaml'))]
MODELS = [facts['name'].removeprefix('NVIDIA ').replace(' ', '-') for facts in FACTS if 'mig' in facts]


@pytest.fixture
def machines(tmp_path):
    """make(name): a machine of one GPU."""
    def make(name, model):
        (tmp_path / name).mkdir()
        return Machine(tmp_path / name, f'1x{model}')
    return make


def apply(machine, label):
    """The changes by which it is applied, in their order."""
    trace = machine.folder / 'trace'
    trace.unlink(missing_ok=True)
    done = machine.mig('apply', '-c', label, GPUSLICE_SIM_TRACE=str(trace))
    assert (done.returncode, done.stdout) == (0, APPLIED), done.stderr
    return [call for call in trace.read_text().split() if call in CHANGES]


def die(machine, label, changes, n):
    """Killed before change n of these. The ones until n - 2 are made."""
    machine.sim('inject', 'death', 0, changes[n], 2 if n and changes[n - 1] == changes[n] else 1)
    assert machine.mig('apply', '-c', label).returncode != 0


def uuids(machine):
    """Of its MIG devices; a GPU instance without a compute instance is none yet."""
    return {one['uuid'] for one in machine.instances(0) if 'uuid' in one}


def layouts(machine):
    """One after the other: several sizes, then the smallest of them; the smallest alone where there are but two."""
    known = machine.mig('apply', '-c', 'all-9g.9gb').stderr.split('it has ', 1)[1].split(', ')
    if 'all-balanced' not in known:
        return known[2:3]
    return ['all-balanced', 'all-SMALL']


@pytest.mark.parametrize('model', MODELS)
def test_killed_before_every_change_it_is_applied_all_the_same(machines, model):
    undisturbed, killed = machines('undisturbed', model), machines('killed', model)
    held = set()
    labels = layouts(undisturbed)
    for label in labels:
        small = min((one['profile'] for one in undisturbed.instances(0)), default='')
        label = label.replace('SMALL', small)
        changes = apply(undisturbed, label)
        assert len(changes) >= (6 if len(labels) > 1 else 5)
        for n in range(len(changes)):
            die(killed, label, changes, n)
            assert held <= uuids(killed)
        assert apply(killed, label) == changes[-1:]
        assert killed.mig('assert', '-c', label).returncode == 0
        assert uuids(killed) == uuids(undisturbed)
        one = next(one for one in killed.instances(0) if one['profile'].startswith('1g'))
        held = {one['uuid']}
        for machine in (undisturbed, killed):
            machine.sim('inject', 'process', 'add', f'0:{one["gi"]}:{one["ci"]}', 42, '1Gi')
