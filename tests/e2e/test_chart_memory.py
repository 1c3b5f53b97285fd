# SPDX-License-Identifier: Apache-2.0
"""Who enforces memory limits: an installation that is new. One that had none observes them until a value says otherwise, and what was decided
stays. By helm itself, before a real API server."""
import os
import subprocess

import pytest

import bed
import programs
from peerchart import CHART as PEER
from test_chart_api import CHART, NAMESPACE, helm

EXAMPLES = programs.ROOT / 'deploy/examples'
ENFORCED, OBSERVED = ' are enforced, ', ' are observed, not enforced, '
AS_BEFORE = 'as before this upgrade'


def git(*words):
    return subprocess.run(['git', '-C', programs.ROOT, *words], check=True, capture_output=True).stdout


@pytest.fixture(scope='module')
def earlier(tmp_path_factory):
    """The chart as it was before there was an arbiter."""
    if not (programs.ROOT / '.git').exists():
        pytest.skip('no commits here')
    added = git('log', '--diff-filter=A', '--format=%H', '--', 'deploy/helm/gpuslice/templates/arbiter.yaml').split()
    if not added:
        pytest.skip('these commits do not reach back to the chart without an arbiter')
    folder = tmp_path_factory.mktemp('earlier')
    subprocess.run(['tar', '-x', '-C', folder], input=git('archive', f'{added[-1].decode()}^', 'deploy/helm/gpuslice'), check=True)
    return folder / 'deploy/helm/gpuslice'


class Release:
    def __init__(self, plane):
        self.plane, self.kinds = plane, f'/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets'

    @staticmethod
    def go(chart, *words):
        """The guide's command; what the notes say."""
        return helm('upgrade', '-i', 'nvdp', chart, '--namespace', NAMESPACE, '-f', EXAMPLES / 'nvdp-values.yaml', '--set', 'config.name=nvidia-device-plugin', *words)

    def daemonset(self, name):
        return self.plane.api.call(f'{self.kinds}/{name}')

    def mode(self):
        """With which the agents and the arbiter of the release begin; None without limits."""
        agent, = self.daemonset('nvdp-gpuslice')['spec']['template']['spec']['containers'][:1]
        [said] = [one['value'] for one in agent['env'] if one['name'] == 'GPUSLICE_DEFAULT_MEMORY'] or [None]
        if said:
            arbiter, = self.daemonset('nvdp-gpuslice-arbiter')['spec']['template']['spec']['containers']
            assert f'--limits={said}' in arbiter['args']
        else:
            assert not self.plane.api.find(f'{self.kinds}/nvdp-gpuslice-arbiter')
        return said

    @staticmethod
    def end():
        helm('uninstall', 'nvdp', '--namespace', NAMESPACE, '--no-hooks', '--ignore-not-found')


@pytest.fixture
def release(plane):
    bed.wait('kube-system', lambda: plane.api.find(f'/api/v1/namespaces/{NAMESPACE}'))
    os.environ['KUBECONFIG'] = str(plane.kubeconfig)
    made = Release(plane)
    yield made
    made.end()
    del os.environ['KUBECONFIG']


@pytest.mark.parametrize('again', [1, 2])
def test_a_new_installation_enforces_and_goes_on_to(release, again):
    assert f'{ENFORCED}since this installation is new' in release.go(CHART)
    assert release.mode() == 'enforced'
    generation = release.daemonset('nvdp-gpuslice')['metadata']['generation']
    assert f'{ENFORCED}{AS_BEFORE}' in release.go(CHART)
    assert release.mode() == 'enforced'
    assert release.daemonset('nvdp-gpuslice')['metadata']['generation'] == generation, 'the same command again restarts nothing'
    release.plane.kubectl('-n', NAMESPACE, 'delete', 'daemonset', 'nvdp-gpuslice', 'nvdp-gpuslice-arbiter')
    release.go(CHART, '--reset-values', '--set', 'logFormat=json')
    assert release.mode() == 'enforced'
    assert f'{OBSERVED}as arbiter.memory says' in release.go(CHART, '--set', 'arbiter.memory=observe')
    assert release.mode() == 'observe'
    assert f'{OBSERVED}{AS_BEFORE}' in release.go(CHART)


@pytest.mark.parametrize('values', [(), ('--reuse-values',), ('--reset-then-reuse-values',)], ids=['given again', 'reused', 'reset, then reused'])
def test_an_upgraded_installation_observes_until_a_value_says_otherwise(release, earlier, values):
    release.go(earlier)
    assert release.mode() is None
    for why in ('since an upgrade enforces nothing that was not enforced before', AS_BEFORE):
        said = release.go(CHART, *values)
        assert f'{OBSERVED}{why}.' in said and '--set arbiter.memory=enforced' in said
        assert release.mode() == 'observe'
    assert f'{ENFORCED}as arbiter.memory says' in release.go(CHART, '--set', 'arbiter.memory=enforced')
    release.go(CHART, '--reset-values')
    assert release.mode() == 'enforced'


def test_back_to_a_chart_without_limits_and_over_again(release, earlier):
    release.go(earlier)
    release.go(CHART, '--set', 'arbiter.memory=enforced')
    helm('rollback', 'nvdp', '1', '--namespace', NAMESPACE)
    assert release.mode() is None
    release.go(CHART)
    assert release.mode() == 'observe'


def test_without_an_arbiter_there_is_nothing_to_remember(release):
    assert '(arbiter.enabled: false)' in release.go(CHART, '--set', 'arbiter.enabled=false')
    assert release.mode() is None
    release.go(CHART)
    assert release.mode() == 'observe'


PEER_VALUES = '--set', 'image=nvcr.io/nvidia/k8s-device-plugin:v0.17.1', '--set', 'command={x}', '--set', 'folders={/usr}'


def test_a_release_of_nvidias_is_taken_over_without_limits(release):
    helm('install', 'nvdp', PEER, '--namespace', NAMESPACE, *PEER_VALUES)
    assert f'{OBSERVED}since an upgrade enforces nothing' in release.go(CHART)
    assert release.mode() == 'observe'


def test_beside_nvidias_plugin_its_pods_are_thought_of(release):
    helm('install', 'peer', PEER, '--namespace', 'gpus', '--create-namespace', *PEER_VALUES)
    try:
        assert f"{OBSERVED}since the pods of NVIDIA's plugin (DaemonSet gpus/peer-nvidia-device-plugin) have no limits" in release.go(CHART)
        assert release.mode() == 'observe'
    finally:
        helm('uninstall', 'peer', '--namespace', 'gpus')
    release.go(CHART)
    assert release.mode() == 'observe'
    release.end()
    release.go(CHART)
    assert release.mode() == 'enforced'
