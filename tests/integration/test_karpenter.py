# SPDX-License-Identifier: Apache-2.0
"""gpuslice convert and gpuslice render: what Karpenter gets of a profile, and of the guides' Provisioner."""
import json

import pytest
import yaml

from test_cli import CLEAN, ERRORS, ROOT, UNREADABLE, USAGE, WARNINGS, run

# As the second guide has it, to the letter.
PROVISIONER = '''apiVersion: karpenter.sh/v1alpha5
kind: Provisioner
metadata:
  name: gpu-slicing
spec:
  ttlSecondsAfterEmpty: 300
  requirements:
    - key: "nvidia.com/gpu"
      operator: In
      values: ["a100", "a10"]
    - key: "karpenter.sh/capacity-type"
      operator: In
      values: ["spot", "on-demand"]
  provider:
    subnetSelector:
      karpenter.sh/discovery: ${CLUSTER_NAME}
'''
PAGE = f'''# A guide

Text: it isn't YAML [at all

```bash
kubectl apply -f https://example.com/plugin.yml
```

```
yaml

resources:
  limits:
    nvidia.com/mig-1g.5gb: 1
```

```
yaml

{PROVISIONER}```

With this setup: more text.
'''


def objects(text):
    return [document for document in yaml.safe_load_all(text) if document]


def convert(text, status=CLEAN):
    done = run('convert', '-', stdin=text)
    assert done.returncode == status, done.stderr
    return objects(done.stdout)


def by_kind(documents, kind):
    return {document['metadata']['name']: document['spec'] for document in documents if document['kind'] == kind}


def profile(name, **spec):
    return yaml.safe_dump({'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': name}, 'spec': spec})


def render(*profiles, subject='karpenter', arguments=(), status=CLEAN):
    done = run('render', subject, *arguments, '-', stdin='---\n'.join(profiles))
    assert done.returncode == status, done.stderr
    return objects(done.stdout), done.stderr


def requirement(pool, key):
    return [need['values'] for need in pool['template']['spec']['requirements'] if need['key'] == key]


def test_the_guides_provisioner():
    documents = convert(PROVISIONER)
    assert [(document['kind'], document['metadata']['name']) for document in documents] == [
        ('EC2NodeClass', 'gpu-slicing'), ('SliceProfile', 'gpu-slicing-a100'), ('NodePool', 'gpu-slicing-a100'),
        ('SliceProfile', 'gpu-slicing-a10'), ('NodePool', 'gpu-slicing-a10')]
    profiles, pools = by_kind(documents, 'SliceProfile'), by_kind(documents, 'NodePool')
    assert profiles['gpu-slicing-a100']['mig'] == {'strategy': 'mixed', 'layout': 'all-1g.5gb'}
    assert profiles['gpu-slicing-a10']['timeSlicing'] == {'replicas': 4, 'renameByDefault': True}
    for value, name, first in ('a100', 'a100', 'p4d.24xlarge'), ('a10', 'a10g', 'g5.xlarge'):
        pool = pools[f'gpu-slicing-{value}']
        labels, node = pool['template']['metadata']['labels'], pool['template']['spec']
        assert labels['nvidia.com/gpu'] == value and labels['gpuslice.dev/profile'] == f'gpu-slicing-{value}'
        assert node['taints'] == [{'key': 'nvidia.com/gpu-shared', 'effect': 'NoSchedule'}]
        assert node['startupTaints'] == [{'key': 'gpuslice.dev/not-ready', 'effect': 'NoSchedule'}]
        assert node['nodeClassRef'] == {'group': 'karpenter.k8s.aws', 'kind': 'EC2NodeClass', 'name': 'gpu-slicing'}
        assert requirement(pool, 'karpenter.sh/capacity-type') == [['spot', 'on-demand']]
        assert requirement(pool, 'karpenter.k8s.aws/instance-gpu-name') == [[name]]
        assert requirement(pool, 'nvidia.com/gpu') == []
        assert first in requirement(pool, 'node.kubernetes.io/instance-type')[0]
        assert pool['disruption'] == {'consolidationPolicy': 'WhenEmpty', 'consolidateAfter': '300s'}
    assert requirement(pools['gpu-slicing-a100'], 'node.kubernetes.io/instance-type') == [['p4d.24xlarge']]
    node_class = by_kind(documents, 'EC2NodeClass')['gpu-slicing']
    assert node_class['subnetSelectorTerms'] == [{'tags': {'karpenter.sh/discovery': '${CLUSTER_NAME}'}}]
    assert {'role', 'amiSelectorTerms', 'securityGroupSelectorTerms'} <= set(node_class)


# --- ConfigMaps that are slice profiles ---

def config_map(text, **annotations):
    return yaml.safe_dump({'apiVersion': 'v1', 'kind': 'ConfigMap', 'data': {'any': text}, 'metadata': {
        'name': 'nvidia-device-plugin', 'namespace': 'kube-system', 'labels': {'gpuslice.dev/slice-profile': 'true'},
        'annotations': {f'gpuslice.dev/{name.replace("_", "-")}': value for name, value in annotations.items()}}})


QUARTERS = 'version: v1\nsharing:\n  timeSlicing:\n    resources:\n    - {name: nvidia.com/gpu, replicas: 4}\n'


def test_a_labelled_config_map_becomes_what_the_controller_makes_of_it():
    """And what is rendered of that is a pool for those nodes."""
    done = run('convert', '-', stdin=config_map(QUARTERS, instance_types='p3.8xlarge', max_nodes='3'))
    [made] = objects(done.stdout)
    assert done.returncode == CLEAN and made['metadata'] == {'name': 'nvidia-device-plugin-any'}
    assert made['spec'] == {'instanceTypes': ['p3.8xlarge'], 'timeSlicing': {'replicas': 4}, 'maxNodes': 3}
    documents, _ = render(done.stdout)
    assert requirement(by_kind(documents, 'NodePool')['nvidia-device-plugin-any'], 'node.kubernetes.io/instance-type') == [['p3.8xlarge']]


def test_check_says_what_a_labelled_config_map_makes(tmp_path):
    path = tmp_path / 'map.yaml'
    path.write_text(config_map(QUARTERS, instance_types='p3.8xlarge'))
    done = run('check', path)
    assert done.returncode == CLEAN and 'note: any: gpuslice-controller makes a SliceProfile of it, nvidia-device-plugin-any' in done.stdout
    path.write_text(config_map(QUARTERS.replace('replicas: 4', 'replicas: four'), instance_types='p3.8xlarge', node_pol='x'))
    done = run('check', path)
    assert done.returncode == ERRORS and done.stdout.count('replicas') == 1
    path.write_text(config_map(QUARTERS, instance_type='p3.8xlarge'))
    done = run('check', path)
    line = 1 + path.read_text().splitlines().index('    gpuslice.dev/instance-type: p3.8xlarge')
    assert done.returncode == ERRORS and f'map.yaml:{line}:5: error: gpuslice.dev/instance-type: unknown annotation; did you mean' in done.stdout


def test_what_changed_its_meaning_is_a_comment():
    said = [line for line in run('convert', '-', stdin=PROVISIONER).stdout.splitlines() if line.startswith('#')]
    for words in ('PLACEHOLDER spec.role', 'PLACEHOLDER spec.amiSelectorTerms', 'PLACEHOLDER spec.securityGroupSelectorTerms', 'p4de.24xlarge',
                  'ttlSecondsAfterEmpty: 300', 'chose no hardware', 'a10g', 'expireAfter', 'nvidia.com/gpu-shared'):
        assert any(words in line for line in said), words


@pytest.mark.parametrize('pasted', [
    f'yaml\n\n{PROVISIONER}', f'```\nyaml\n\n{PROVISIONER}```\n', f'```yaml\n{PROVISIONER}', f'{PROVISIONER}```\n', PAGE,
    PROVISIONER.replace('\n', '\r\n'), json.dumps(yaml.safe_load(PROVISIONER)),
], ids=['stray', 'fenced', 'opened', 'closed', 'page', 'crlf', 'json'])
def test_pasted(pasted):
    assert convert(pasted) == convert(PROVISIONER)


INDENTED = ''.join(f'  {line}\n' for line in PROVISIONER.splitlines())


@pytest.mark.parametrize('pasted', [
    f'cat <<EOF | kubectl apply -f -\n{PROVISIONER}EOF\n\n## then: look\nkubectl get provisioner\n',
    f"cat << 'EOF' > ~/karpenter.yaml\n{PROVISIONER}EOF\nkubectl apply -f ~/karpenter.yaml\n",
    f'resource "kubectl_manifest" "karpenter" {{\n  yaml_body = <<-YAML\n{INDENTED}  YAML\n\n  depends_on = [helm_release.karpenter]\n}}\n',
    f'# Step 2: run it\n\n```bash\nexport CLUSTER_NAME=x\ncat <<EOF | kubectl apply -f -\n{PROVISIONER}EOF\n```\n\nDone: yes.\n',
], ids=['shell', 'file', 'terraform', 'page'])
def test_pasted_with_the_command_around_it(pasted):
    assert convert(pasted) == convert(PROVISIONER)


WILD = {  # as they circulate, less names
    'everything': ({'consolidation': {'enabled': True}, 'ttlSecondsUntilExpired': 2592000, 'weight': 10, 'labels': {'team': 'a'},
                    'taints': [{'key': 'nvidia.com/gpu', 'value': 'true', 'effect': 'NoSchedule'}], 'startupTaints': [{'key': 'x/y', 'effect': 'NoSchedule'}],
                    'requirements': [{'key': 'karpenter.k8s.aws/instance-gpu-count', 'operator': 'Gt', 'values': ['0']},
                                     {'key': 'node.kubernetes.io/instance-type', 'operator': 'NotIn', 'values': ['p4d.24xlarge']},
                                     {'key': 'kubernetes.io/arch', 'operator': 'In', 'values': ['arm64', 'amd64']},
                                     {'key': 'karpenter.k8s.aws/instance-local-nvme', 'operator': 'Exists'}],
                    'kubeletConfiguration': {'maxPods': 20, 'podsPerCore': 2, 'evictionHard': {'memory.available': '5%'}, 'clusterDNS': ['10.0.1.100']},
                    'limits': {'resources': {'cpu': '1000', 'nvidia.com/gpu': 8}}}, ['EC2NodeClass', 'NodePool']),
    'several GPUs': ({'requirements': [{'key': 'nvidia.com/gpu', 'operator': 'In', 'values': ['A10G', 'v100', 't4g']},
                                       {'key': 'karpenter.k8s.aws/instance-family', 'operator': 'NotIn', 'values': ['p3dn']},
                                       {'key': 'karpenter.sh/capacity-type', 'operator': 'NotIn', 'values': ['spot']}], 'weight': 100},
                     ['EC2NodeClass', *['SliceProfile', 'NodePool'] * 3]),
    'no limits, empty provider': ({'provider': None, 'limits': None, 'requirements': [
        {'key': 'nvidia.com/gpu', 'operator': 'In', 'values': ['a10']},
        {'key': 'node.kubernetes.io/instance-type', 'operator': 'In', 'values': ['g5.xlarge', 'g5.12xlarge']}]}, ['EC2NodeClass', 'SliceProfile', 'NodePool']),
}


@pytest.mark.parametrize('name', WILD)
def test_what_circulates(name):
    """Nothing that was asked for is lost, and no Provisioner becomes a pool that can never start a node."""
    spec, kinds = WILD[name]
    documents = convert(yaml.safe_dump({'apiVersion': 'karpenter.sh/v1alpha5', 'kind': 'Provisioner', 'metadata': {'name': 'gpu'}, 'spec': spec}))
    assert [document['kind'] for document in documents] == kinds
    catalog = [yaml.safe_load(path.read_text()) for path in (ROOT / 'share/catalog/types').glob('*.yaml')]
    arm = {name for family in catalog if family.get('arch') == 'arm64' for name in family['types']}
    for pool in by_kind(documents, 'NodePool').values():
        needs = pool['template']['spec']['requirements']
        for need in spec['requirements']:
            assert need in needs or need['key'] == 'nvidia.com/gpu'
        assert pool.get('weight') == spec.get('weight')
        [archs] = requirement(pool, 'kubernetes.io/arch')
        for types in requirement(pool, 'node.kubernetes.io/instance-type')[-1:]:
            assert {'arm64' if one in arm else 'amd64' for one in types} <= set(archs)


def test_a_mistake_has_its_place_in_the_page():
    line = PAGE.splitlines().index('  ttlSecondsAfterEmpty: 300') + 1
    done = run('convert', '-', stdin=PAGE.replace('ttlSecondsAfterEmpty', 'ttlSecondsAfterEmtpy'))
    assert done.returncode == ERRORS and done.stdout == ''
    assert f'<stdin>:{line}:3: error: spec.ttlSecondsAfterEmtpy: unknown key; did you mean' in done.stderr


def test_from_guide_to_overlays(tmp_path):
    converted = tmp_path / 'converted.yaml'
    converted.write_text(run('convert', '-', stdin=PROVISIONER).stdout)
    done = run('render', 'karpenter', str(converted))
    assert done.returncode == CLEAN, done.stderr
    overlays = by_kind(objects(done.stdout), 'NodeOverlay').values()
    assert {kind['kind'] for kind in objects(done.stdout)} == {'NodeOverlay'}
    assert [overlay['capacity'] for overlay in overlays][0] == {'nvidia.com/gpu': '0', 'nvidia.com/mig-1g.5gb': '56'}
    labels = by_kind(objects(converted.read_text()), 'NodePool')['gpu-slicing-a100']['template']['metadata']['labels']
    for need in next(iter(overlays))['requirements'][:2]:
        assert need['values'] == [labels[need['key']]]


def layout_of(mig):
    return mig.get('layout') or ', '.join(f'{count} x {name}' for name, count in mig['devices'].items())


@pytest.mark.parametrize('spec', [
    {'gpuNames': ['a10g', 't4', 'v100'], 'timeSlicing': {'replicas': 4}},
    {'gpuNames': ['l4'], 'timeSlicing': {'replicas': 3, 'renameByDefault': True}},
    {'gpuNames': ['l40s'], 'timeSlicing': {'replicas': 5, 'rename': 'nvidia.com/fifth', 'failRequestsGreaterThanOne': True}},
    {'instanceTypes': ['p4d.24xlarge'], 'mig': {'strategy': 'mixed', 'layout': 'all-balanced'}},
    {'gpuNames': ['h100'], 'mig': {'strategy': 'single', 'layout': 'all-2g.20gb'}},
    {'gpuNames': ['h200'], 'mig': {'strategy': 'mixed', 'layout': 'all-1g.18gb'}},
    {'gpuNames': ['b200'], 'mig': {'strategy': 'mixed', 'devices': {'1g.23gb': 3, '4g.90gb': 1}}},
    {'gpuNames': ['t4g'], 'timeSlicing': {'replicas': 4, 'renameByDefault': True}},
], ids=lambda spec: next(iter(spec.values()))[0])
def test_overlays_are_what_the_plan_offers(spec, tmp_path):
    """What `gpuslice plan` says of each type, on the simulator and from the configuration that was rendered."""
    documents, _ = render(profile('p', **spec))
    config = tmp_path / 'config.yaml'
    annotations = by_kind(documents, 'NodePool')['p']['template']['metadata']['annotations']
    config.write_text(annotations['gpuslice.dev/config'])
    seen = []
    for overlay in by_kind(documents, 'NodeOverlay').values():
        types = overlay['requirements'][2]['values']
        seen += types
        for name in types:
            layout = ['--mig', layout_of(spec['mig'])] if 'mig' in spec else []
            planned = json.loads(run('plan', '-m', name, '-c', str(config), '-o', 'json', *layout).stdout)['resources']
            assert overlay['capacity'] == {'nvidia.com/gpu': '0', **{key: str(count) for key, count in planned.items()}}, name
    pool = by_kind(documents, 'NodePool')['p']
    assert len(seen) == len(set(seen)) and sorted(seen) == sorted(requirement(pool, 'node.kubernetes.io/instance-type')[0])


def test_pool_and_class():
    documents, _ = render(profile('p', instanceTypes=['g5.xlarge'], timeSlicing={'replicas': 4}, maxNodes=3))
    pool = by_kind(documents, 'NodePool')['p']
    assert pool['template']['metadata']['labels']['gpuslice.dev/profile'] == 'p'
    assert pool['template']['metadata']['annotations']['gpuslice.dev/promise'] == 'nvidia.com/gpu=4 per GPU'
    assert pool['limits'] == {'nodes': '3'} and pool['template']['spec']['startupTaints']
    assert by_kind(documents, 'EC2NodeClass')['p']['amiSelectorTerms'] == [{'alias': 'al2023@latest'}]


def test_what_others_have_is_not_rendered():
    documents, _ = render(profile('p', instanceTypes=['g5.xlarge'], timeSlicing={'replicas': 4},
                                  nodeClass={'group': 'karpenter.kwok.sh', 'kind': 'KWOKNodeClass', 'name': 'default'}))
    assert {document['kind'] for document in documents} == {'NodePool', 'NodeOverlay'}
    documents, _ = render(profile('p', instanceTypes=['g5.xlarge'], timeSlicing={'replicas': 4}, nodePool='theirs'))
    assert {document['kind'] for document in documents} == {'NodeOverlay'}


def test_options():
    shared = profile('p', gpuNames=['a10g'], timeSlicing={'replicas': 4})
    documents, _ = render(shared, arguments=['--instance-types', 'g5.xlarge,g5.12xlarge', '--ami', 'bottlerocket', '--no-startup-taint'])
    assert [overlay['capacity'] for overlay in by_kind(documents, 'NodeOverlay').values()] == [{'nvidia.com/gpu': '4'}, {'nvidia.com/gpu': '16'}]
    assert 'startupTaints' not in by_kind(documents, 'NodePool')['p']['template']['spec']
    node_class = by_kind(documents, 'EC2NodeClass')['p']
    assert 'enabled = false' in node_class['userData'] and node_class['amiSelectorTerms'] == [{'alias': 'bottlerocket@latest'}]


def test_types_of_several_profiles():
    both = profile('a', gpuNames=['a10g'], timeSlicing={'replicas': 4}), profile('b', gpuNames=['t4'], timeSlicing={'replicas': 2})
    documents, _ = render(*both, arguments=['-t', 'g5.xlarge,g4dn.xlarge'])
    assert [list(overlay['capacity'].values()) for overlay in by_kind(documents, 'NodeOverlay').values()] == [['4'], ['2']]
    documents, said = render(*both, arguments=['-t', 'g5.xlarge'], status=WARNINGS)
    assert list(by_kind(documents, 'NodePool')) == ['a'] and 'none of --instance-types' in said


@pytest.mark.parametrize(('spec', 'status', 'words'), [
    ({'gpuNames': ['a100'], 'mig': {'strategy': 'mixed', 'layout': 'all-1g.5gb'}}, WARNINGS, 'p4de.24xlarge has no MIG layout'),
    ({'gpuNames': ['a10g'], 'mig': {'strategy': 'mixed', 'layout': 'all-1g.5gb'}}, ERRORS, 'cannot be partitioned by MIG'),
    ({'instanceTypes': ['p5.48xlarge'], 'timeSlicing': {'replicas': 20}}, WARNINGS, '100 pods'),
    ({'instanceTypes': ['g5.3xlarge'], 'timeSlicing': {'replicas': 2}}, ERRORS, 'g5.2xlarge'),
    ({'instanceTypes': ['p4d.24xlarge'], 'mig': {'strategy': 'single', 'layout': 'all-balanced'}}, ERRORS, 'would not offer'),
    ({'instanceTypes': ['p4d.24xlarge'], 'mig': {'strategy': 'mixed', 'devices': {'1g.5gb': 4, '4g.20gb': 1}}}, ERRORS, 'no room'),
])
def test_guards(spec, status, words):
    documents, said = render(profile('p', **spec), status=status)
    assert words in said and bool(documents) == (status != ERRORS)


def test_a_strangers_overlay_is_named():
    stranger = yaml.safe_dump({'apiVersion': 'karpenter.sh/v1alpha1', 'kind': 'NodeOverlay', 'metadata': {'name': 'theirs'},
                               'spec': {'weight': 5000, 'requirements': [], 'capacity': {'nvidia.com/gpu': '1'}}})
    documents, said = render(profile('p', instanceTypes=['g5.xlarge'], timeSlicing={'replicas': 4}), stranger, status=ERRORS)
    assert not documents and 'theirs' in said


def test_a_changed_profile_and_its_pool():
    """The NodePool that was converted has the hash of the profile as it was."""
    text = run('convert', '-', stdin=PROVISIONER).stdout
    done = run('render', 'karpenter', '-', stdin=text)
    assert done.returncode == CLEAN and 'error' not in done.stderr
    done = run('render', 'karpenter', '-', stdin=text.replace('replicas: 4', 'replicas: 5'))
    assert done.returncode == ERRORS and not done.stdout
    assert 'gpu-slicing-a10: ' in done.stderr and 'gpuslice.dev/profile-hash' in done.stderr and 'gpu-slicing-a100: the' not in done.stderr


def test_autoscaler_tags():
    documents, _ = render(profile('p', instanceTypes=['g5.12xlarge', 'g5.24xlarge'], timeSlicing={'replicas': 4, 'renameByDefault': True}),
                          subject='cluster-autoscaler')
    [group] = documents
    prefix = 'k8s.io/cluster-autoscaler/node-template/'
    assert group['instanceTypes'] == ['g5.12xlarge', 'g5.24xlarge']
    assert group['tags'][f'{prefix}resources/nvidia.com/gpu.shared'] == '16' and group['tags'][f'{prefix}resources/nvidia.com/gpu'] == '0'
    assert group['tags'][f'{prefix}taint/nvidia.com/gpu'] == ':NoSchedule'


def test_placeholders():
    """By hand: 17 slices at 4 each for 1.006 are 5 g5.xlarge, cheaper than 2 g5.12xlarge."""
    documents, said = render(profile('p', instanceTypes=['g5.xlarge', 'g5.12xlarge'], timeSlicing={'replicas': 4, 'renameByDefault': True}),
                             subject='placeholders', arguments=['--slices', 17])
    assert [document['kind'] for document in documents] == ['EC2NodeClass', 'NodePool', 'PriorityClass', 'Deployment'] and said == ''
    deployment = by_kind(documents, 'Deployment')['p-placeholder-g5-xlarge']
    pod = deployment['template']['spec']
    assert deployment['replicas'] == 5 and deployment['selector']['matchLabels'].items() <= deployment['template']['metadata']['labels'].items()
    assert pod['nodeSelector'] == {'gpuslice.dev/profile': 'p', 'node.kubernetes.io/instance-type': 'g5.xlarge'}
    labels = by_kind(documents, 'NodePool')['p']['template']['metadata']['labels']
    assert labels['gpuslice.dev/profile'] == 'p'
    assert all(name in ('cpu', 'memory') for name in pod['containers'][0]['resources']['requests'])
    assert pod['tolerations'] == [{'key': 'nvidia.com/gpu', 'operator': 'Exists', 'effect': 'NoSchedule'}]


def test_placeholders_of_slices_that_are_called_gpus():
    _, said = render(profile('p', instanceTypes=['g5.xlarge'], timeSlicing={'replicas': 4}), subject='placeholders', arguments=['--slices', 4], status=WARNINGS)
    assert 'renameByDefault' in said


def cost(spec, slices, status=CLEAN):
    done = run('plan', '--cost', slices, '-o', 'json', '-', stdin=profile('p', **spec))
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_cost():
    """By hand: g5.xlarge 1.006 for 4 slices, g5.12xlarge 5.672 for 16, of the prices in the file."""
    tree = cost({'instanceTypes': ['g5.xlarge', 'g5.12xlarge'], 'timeSlicing': {'replicas': 4, 'renameByDefault': True}}, 17)
    assert [(row['type'], row['slices'], row['hourly'], row['nodes']) for row in tree['types']] == [
        ('g5.xlarge', 4, 1.006, 5), ('g5.12xlarge', 16, 5.672, 0)]
    assert tree['types'][0]['hourly_per_slice'] == pytest.approx(0.2515) and tree['resource'] == 'nvidia.com/gpu.shared'
    assert tree['cheapest'] == {'wanted': 17, 'slices': 20, 'hourly': pytest.approx(5.03)}
    prices = yaml.safe_load((ROOT / 'share/catalog/prices.yaml').read_text())
    assert tree['prices'] == {'date': str(prices['date']), 'region': prices['region'], 'currency': prices['currency']}
    assert prices['hourly']['g5.xlarge'] == 1.006 and prices['hourly']['g5.12xlarge'] == 5.672


def test_cost_of_mig():
    tree = cost({'instanceTypes': ['p5.48xlarge', 'p5.4xlarge'], 'mig': {'strategy': 'mixed', 'layout': 'all-1g.10gb'}}, 57)
    assert {row['type']: (row['slices'], row['nodes']) for row in tree['types']} == {'p5.48xlarge': (56, 1), 'p5.4xlarge': (7, 1)}


def test_cost_counts_what_pods_can_have():
    tree = cost({'instanceTypes': ['p5.48xlarge'], 'timeSlicing': {'replicas': 20}}, 150, status=WARNINGS)
    assert [(row['slices'], row['nodes']) for row in tree['types']] == [(100, 2)]


def test_cost_of_every_type():
    """Types of AWS's list, and their prices of its date: none is left out, and the dearest is not free."""
    catalog = {}
    for path in (ROOT / 'share/catalog/types').glob('*.yaml'):
        catalog |= yaml.safe_load(path.read_text())['types']
    tree = cost({'instanceTypes': sorted(catalog), 'timeSlicing': {'replicas': 2}}, 10)
    rows = {row['type']: row for row in tree['types']}
    assert rows.keys() == catalog.keys()
    assert {name for name, row in rows.items() if row['hourly'] is None} == {'p5e.48xlarge', 'p6e-gb200.36xlarge'}
    for name, price in (('p6-b200.48xlarge', 113.9328), ('g7e.48xlarge', 33.14432), ('g7.2xlarge', 2.52), ('g5g.xlarge', 0.42)):
        assert rows[name]['hourly'] == price and rows[name]['slices'] == 2 * catalog[name]['gpus']


def test_a_type_without_a_price_comes_last():
    tree = cost({'gpuNames': ['h200'], 'timeSlicing': {'replicas': 2}}, 1)
    assert [(row['type'], row['hourly'] is None) for row in tree['types']] == [('p5en.48xlarge', False), ('p5e.48xlarge', True)]


def test_cost_for_people():
    done = run('plan', '--cost', '100', '-', stdin=profile('p', gpuNames=['t4'], timeSlicing={'replicas': 4}))
    assert done.returncode == CLEAN
    assert 'The cheapest nodes for 100 nvidia.com/gpu: 25 g4dn.xlarge, 13.1500 USD an hour for 100.' in done.stdout


def test_no_cost_of_several_kinds():
    said = cost({'instanceTypes': ['p4d.24xlarge'], 'mig': {'strategy': 'mixed', 'layout': 'all-balanced'}}, 5, status=ERRORS)
    assert 'several kinds of slice' in said


@pytest.mark.parametrize(('arguments', 'status', 'words'), [
    (['plan', '--cost', '0', '-'], USAGE, 'from 1 to'),
    (['plan', '--cost', 'x', '-'], USAGE, 'from 1 to'),
    (['plan', '--cost', '5'], USAGE, 'SliceProfile'),
    (['plan', '--cost', '5', '-m', 'p3.8xlarge', '-'], USAGE, 'no machine'),
    (['plan', '--cost', '5', '/nonexistent'], UNREADABLE, '/nonexistent'),
    (['convert'], USAGE, 'give the file'),
    (['convert', '/nonexistent'], UNREADABLE, '/nonexistent'),
    (['render'], USAGE, 'karpenter, placeholders, cluster-autoscaler'),
    (['render', 'karpentr'], USAGE, "did you mean 'gpuslice render karpenter'"),
    (['render', 'karpenter'], USAGE, 'give the file'),
    (['render', 'karpenter', '/nonexistent'], UNREADABLE, '/nonexistent'),
    (['render', 'placeholders', '-'], USAGE, '--slices'),
    (['render', 'placeholders', '--slices', '0', '-'], USAGE, '--slices'),
    (['render', 'placeholders', '--slices', '4', '/nonexistent'], UNREADABLE, '/nonexistent'),
    (['render', 'karpenter', '--ami', 'al2', '-'], USAGE, 'al2023'),
])
def test_command_line(arguments, status, words):
    done = run(*arguments)
    assert done.returncode == status and words in done.stderr
