# SPDX-License-Identifier: Apache-2.0
"""The pages of doc/guide about platforms: their values render, and do what the page says; what was not tried is marked."""
import re

import pytest
import yaml

from conftest import CHART, ROOT, render
from test_values import asked_of_agent

GUIDES = ROOT / 'doc/guide'
PLATFORMS = ['al2023', 'bottlerocket', 'eks-auto-mode', 'gpu-operator', 'openshift', 'selinux']


def page(name):
    return (GUIDES / f'{name}.md').read_text()


def values_of(name):
    """The first block that is marked as values."""
    return yaml.safe_load(re.search(r'```yaml\n# values\n(.*?)```', page(name), re.S)[1])


@pytest.mark.parametrize('name', PLATFORMS)
def test_its_values_render_and_the_agent_takes_them(name):
    rendered = render(values_of(name))
    assert asked_of_agent({**rendered.environment, 'NODE_NAME': 'n', 'NAMESPACE': 'gpus', 'POD_NAME': 'p'}) == []


@pytest.mark.parametrize('name', PLATFORMS)
def test_what_was_not_tried_is_marked(name):
    assert re.search(r'^\*Not tried ', page(name), re.M)


def test_every_page_is_listed_and_every_link_leads_somewhere():
    pages = {path.stem for path in GUIDES.glob('*.md')} - {'README'}
    assert {one for one in re.findall(r'\(([\w-]+)\.md\)', page('README'))} == pages
    for path in GUIDES.glob('*.md'):
        for link in re.findall(r'\]\(((?!https?:)[^)#]+)', path.read_text()):
            assert (path.parent / link).exists(), f'{path.name}: {link}'


def test_values_that_the_pages_name_exist():
    schema = yaml.safe_load((CHART / 'values.schema.json').read_text())['properties']
    for name in PLATFORMS:
        for path in re.findall(r'--set ([\w.]+)=', page(name)):
            assert path.split('.')[0] in schema and schema[path.split('.')[0]] is not True, (name, path)


def test_bottlerocket():
    rendered = render(values_of('bottlerocket'))
    assert rendered.environment['DEVICE_LIST_STRATEGY'] == 'volume-mounts'
    assert rendered.agent['securityContext']['capabilities']['add'] == ['SYS_ADMIN']
    config = yaml.safe_load(rendered.only('ConfigMap')['data']['default'])
    assert config['sharing']['timeSlicing']['resources'][0]['rename'] != 'nvidia.com/gpu'


def test_gpu_operator():
    rendered = render(values_of('gpu-operator'))
    assert rendered.pod['runtimeClassName'] == 'nvidia'
    assert rendered.environment['NVIDIA_DRIVER_ROOT'] == '/run/nvidia/driver'
    assert rendered.mounts['/driver-root'] == ('/run/nvidia/driver', True)


def test_openshift():
    rendered = render(values_of('openshift'), '--api-versions', 'security.openshift.io/v1', namespace='gpuslice')
    assert all(user.startswith('system:serviceaccount:gpuslice:') for one in rendered.all('SecurityContextConstraints') for user in one['users'])
    assert len(rendered.all('SecurityContextConstraints')) == 2
    assert rendered.pod['securityContext'] == values_of('selinux')['podSecurityContext']


def test_labels_for_containers_with_limits():
    """Of SELinux and of OpenShift: the folders that limits are mounted from, on the host of the chart."""
    folders = {f'/var/lib/gpuslice/{name}' for name in re.findall(r'"%s/(\w+)/', (ROOT / 'src/plugin/limitmounts.c').read_text())}
    assert len(folders) == 2
    machine, = [one for one in map(yaml.safe_load, re.findall(r'```yaml\n(api.*?)```', page('openshift'), re.S)) if one['kind'] == 'MachineConfig']
    unit, = machine['spec']['config']['systemd']['units']
    made, labelled = (line.split()[1:] for line in re.findall('^ExecStart=(.*)', unit['contents'], re.M))
    assert set(made[1:]) == set(labelled[3:]) == folders and labelled[:3] == ['-R', '-t', 'container_file_t']
    text, = re.findall(r'```sh\n(semanage.*?)```', page('selinux'), re.S)
    pattern = re.search("'(.*)'", text)[1]
    for folder in folders:
        assert folder in text and all(re.fullmatch(pattern, path) for path in (folder, f'{folder}/0.1.0/libgpuslice.so'))
    assert not re.fullmatch(pattern, '/var/lib/gpuslice/journal')
    hosts = [one['hostPath']['path'] for one in render().pod['volumes'] if one['name'] == 'grants']
    assert hosts == ['/var/lib/gpuslice']


def test_eks_auto_mode():
    term, = render(values_of('eks-auto-mode')).pod['affinity']['nodeAffinity']['requiredDuringSchedulingIgnoredDuringExecution']['nodeSelectorTerms']
    assert term['matchExpressions'] == [{'key': 'eks.amazonaws.com/compute-type', 'operator': 'NotIn', 'values': ['auto']}]


def test_al2023_needs_nothing_special():
    assert 'runtimeClassName' not in render(values_of('al2023')).pod
