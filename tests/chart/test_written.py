# SPDX-License-Identifier: Apache-2.0
"""Values as they are written for NVIDIA's chart, in the shapes that people and tools give them: data/written.yaml."""
import json
import shutil
from pathlib import Path

import pytest
import yaml

from conftest import CHART, Rendered, helm
from test_values import asked_of_agent

WRITTEN = yaml.safe_load((Path(__file__).parent / 'data/written.yaml').read_text())
PARTS = {'values', 'words', 'release', 'namespace', 'env', 'pod', 'image', 'names', 'configs', 'resources', 'update', 'notes', 'warns', 'refused'}


def run(verb, case):
    return helm(*verb, case.get('release', 'nvdp'), CHART, '--namespace', case.get('namespace', 'kube-system'),
                *case.get('words', []), values=case.get('values', {}))


def texts(value, path=()):
    """What Kubernetes takes as text alone: names, namespaces, labels, annotations, selectors."""
    if isinstance(value, list):
        for one in value:
            yield from texts(one, path)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from texts(one, (*path, key))
    elif {'metadata', 'matchLabels', 'nodeSelector', 'data', 'env', 'resourceNames', 'command'} & set(path) or \
            path[-1] in ('name', 'namespace', 'serviceAccountName', 'runtimeClassName', 'priorityClassName', 'policyName'):
        yield path, value


@pytest.mark.parametrize('name', WRITTEN)
def test_written(name):
    case = WRITTEN[name]
    assert set(case) <= PARTS
    status, out, err = run(['template'], case)
    if 'refused' in case:
        assert status != 0 and [word for word in case['refused'] if word not in err] == [], err
        return
    assert status == 0, err
    rendered = Rendered(out)
    assert [path for path, value in texts(rendered.objects) if not isinstance(value, (str, type(None)))] == []
    daemonset = rendered.daemonset
    selector, labels = daemonset['spec']['selector']['matchLabels'], daemonset['spec']['template']['metadata']['labels']
    assert selector.items() <= labels.items()
    assert case.get('env', {}).items() <= rendered.environment.items()
    for word, value in case.get('pod', {}).items():
        assert rendered.pod.get(word) == value
    found = {'image': rendered.agent['image'], 'resources': rendered.agent['resources'], 'names': daemonset['metadata']['name'],
             'update': daemonset['spec']['updateStrategy'], 'configs': next((one['data'] for one in rendered.all('ConfigMap')), None)}
    for word in set(found) & set(case):
        assert found[word] == case[word]


TAKEN = [name for name, case in WRITTEN.items() if 'refused' not in case]


@pytest.mark.parametrize('name', TAKEN)
def test_the_agent_takes_its_environment(name):
    status, out, err = run(['template'], WRITTEN[name])
    assert status == 0, err
    assert asked_of_agent({**Rendered(out).environment, 'NODE_NAME': 'n', 'NAMESPACE': 'gpus', 'POD_NAME': 'p'}) == []


@pytest.mark.parametrize('name', TAKEN)
def test_what_the_notes_say(name):
    case = WRITTEN[name]
    status, out, err = run(['install', '--dry-run=client'], case)
    assert status == 0, err
    said, _, passed_over = out.split('NOTES:\n', 1)[1].partition('Ignored values')
    passed_over = passed_over.split('\n\n')[0]
    for word in case.get('notes', []):
        assert word in passed_over
    assert bool(passed_over) == bool(case.get('notes'))
    assert ('nodeSelector requires' in said) == bool(case.get('warns')) and [word for word in case.get('warns', []) if word not in said] == []


@pytest.fixture(scope='module')
def parent(tmp_path_factory):
    """A chart that has ours where it had NVIDIA's."""
    folder = tmp_path_factory.mktemp('platform')
    shutil.copytree(CHART, folder / 'charts/gpuslice')
    (folder / 'Chart.yaml').write_text(json.dumps({
        'apiVersion': 'v2', 'name': 'platform', 'version': '1.0.0', 'dependencies': [
            {'name': 'gpuslice', 'version': '*', 'alias': 'nvidia-device-plugin', 'condition': 'nvidia-device-plugin.enabled'}]}))
    return folder


@pytest.mark.parametrize('values', [{'enabled': True, 'gfd': {'enabled': True}}, {'affinity': None, 'config': None, 'tolerations': None}])
def test_in_the_place_of_nvidias_chart_in_a_parent(parent, values):
    given = {'nvidia-device-plugin': values, 'global': {'imageRegistry': 'any', 'podLabels': {'a': 'b'}}}
    status, out, err = helm('template', 'nvdp', parent, '--namespace', 'gpus', values=given)
    assert status == 0, err
    daemonset = Rendered(out).daemonset
    assert daemonset['metadata']['name'] == 'nvdp-nvidia-device-plugin'
    assert daemonset['spec']['selector']['matchLabels'] == {'app.kubernetes.io/name': 'nvidia-device-plugin',
                                                            'app.kubernetes.io/instance': 'nvdp'}


def test_a_parent_that_leaves_it_out(parent):
    status, out, err = helm('template', 'nvdp', parent, values={'nvidia-device-plugin': {'enabled': False}})
    assert status == 0 and not Rendered(out).objects, err


def test_long_names_meet_no_other():
    """Names of the cluster's may be longer than those of labels."""
    def cluster_wide(release):
        status, out, err = helm('template', release, CHART, '--namespace', 'n' * 63)
        assert status == 0, err
        return {(one['kind'], one['metadata']['name']) for one in Rendered(out).objects if 'namespace' not in one['metadata']}
    assert not cluster_wide('first') & cluster_wide('second')
