# SPDX-License-Identifier: Apache-2.0
"""gpuslice-controller and real Karpenter: one SliceProfile is enough for exactly the nodes that its pods need; somebody else's NodePool
is written with consent only; what goes leaves nothing behind. What happens without the controller: test_karpenter.py."""
import contextlib
import re
import time

import pytest
import yaml

import programs
from cluster import GPU
from controllers import MAPS, PROFILE, RENAMED, SHARED, SLICED, STARTUP, WHOLE
from karpenter import OVERLAYS, POOLS

pytestmark = pytest.mark.timeout(600)
MIG, CONSENT = 'nvidia.com/mig-1g.5gb', 'gpuslice.dev/consent'
GUIDE = programs.ROOT / 'tests/data/guides/time-slicing.md'


def test_one_profile_is_enough(kept):
    """Of each kind at the same time: 16 pods one node, 17 two, 56 MIG slices one p4d."""
    karpenter = kept.karpenter
    cases = {'shares': ({'p3.8xlarge': {GPU: 16}}, {'timeSlicing': {'replicas': 4}}, 16, {GPU: 1}, 1),
             'renamed': (WHOLE, RENAMED, 17, {SHARED: 1}, 2),
             'mixed': ({'p4d.24xlarge': {GPU: 0, MIG: 56}}, {'mig': {'strategy': 'mixed', 'layout': 'all-1g.5gb'}}, 56, {MIG: 1}, 1)}
    paths = {name: kept.create(name, nodes, how) for name, (nodes, how, *_) in cases.items()}
    for name, path in paths.items():
        kept.await_ready(path)
        kept.register(name, cases[name][0])
    for name, (_, _, pods, resource, _) in cases.items():
        karpenter.deploy(name, pods, [resource])
    for name, (_, _, pods, _, _) in cases.items():
        karpenter.await_running(name, pods)
    karpenter.settle()
    assert {name: karpenter.launched(name) for name in cases} == {
        name: {next(iter(nodes)): count} for name, (nodes, _, _, _, count) in cases.items()}
    for name, (*_, count) in cases.items():
        karpenter.await_('its nodes are counted', lambda: kept.api.call(paths[name])['status']['nodes'] == count)
        kept.await_ready(paths[name])
    # The profile goes, and its nodes stay as long as somebody needs them.
    kept.api.call(paths['mixed'], 'DELETE')
    karpenter.await_('no overlay', lambda: not kept.overlays('mixed'))
    karpenter.await_('a limit', lambda: kept.api.call(f'{POOLS}/mixed')['spec'].get('limits') == {'cpu': '0'})
    said, = karpenter.await_('an event', lambda: kept.events('mixed', 'SliceProfileLeft'))
    assert 'with the last of its 1' in said and karpenter.n_running('mixed') == 56
    node, = kept.nodes('mixed')
    kept.api.call('/apis/apps/v1/namespaces/default/deployments/mixed', 'DELETE')
    kept.api.call(f"/api/v1/nodes/{node['metadata']['name']}", 'DELETE')
    karpenter.await_('no pool', lambda: not kept.api.find(f'{POOLS}/mixed'))


def test_what_others_say_is_said(kept):
    """A stranger's heavier overlay, and a pool that has the name already. Of what goes without a node nothing is left."""
    path = kept.create('told', WHOLE, RENAMED)
    kept.await_ready(path)
    stranger = kept.karpenter.create_overlay('told', 'p3.8xlarge', {SHARED: 4}, 5000, 'stranger')
    assert 'stranger' in kept.await_reason(path, 'Outweighed')
    kept.karpenter.await_('an event', lambda: kept.events('told', 'Outweighed'))
    kept.api.call(stranger, 'DELETE')
    kept.await_ready(path)
    kept.api.call(path, 'PATCH', {'spec': {'timeSlicing': None, 'mps': {'replicas': 4}}})
    kept.await_reason(path, 'NotServed')
    kept.api.call(path, 'PATCH', {'spec': {'mps': None, 'mig': {'strategy': 'mixed', 'layout': 'all-1g.5gb'}}})
    assert 'p3.8xlarge' in kept.await_reason(path, 'Impossible')
    assert kept.overlays('told'), 'what was there stays while the profile cannot be honoured'
    taken = kept.karpenter.create_pool(WHOLE)
    other = kept.create(taken, WHOLE, RENAMED)
    kept.await_reason(other, 'PoolTaken')
    for one in path, other:
        kept.api.call(one, 'DELETE')
    kept.karpenter.await_('nothing is left', lambda: not kept.overlays('told') and not kept.api.find(f'{POOLS}/told'))
    assert kept.api.find(f'{POOLS}/{taken}')


def test_a_pool_of_somebody_else(kept):
    """Nothing is written while it has nodes, before consent; what is undone three times stays undone; and all of it can be taken back."""
    karpenter = kept.karpenter
    pool = karpenter.create_pool({'p3.8xlarge': {GPU: 4}})
    at = f'{POOLS}/{pool}'
    karpenter.deploy(pool, 1, [{GPU: 1}])
    karpenter.await_running(pool, 1)
    before = kept.api.call(at)['spec']['template']
    path = kept.create('named', WHOLE, RENAMED, nodePool=pool, taints=[{'key': 'a', 'effect': 'NoSchedule'}])
    said = kept.await_reason(path, 'ConsentMissing')
    status = kept.api.call(path)['status']
    assert 'replace its 1 nodes' in said and status['nodesToReplace'] == 1 and f"{CONSENT}={status['consent']}" in said
    time.sleep(2)
    assert kept.api.call(at)['spec']['template'] == before and kept.api.call(path)['status']['poolWrites'] == 0
    # The pod of a whole GPU would start node after node of a pool that has none any more.
    kept.api.call(f'/apis/apps/v1/namespaces/default/deployments/{pool}', 'DELETE')
    kept.api.call(at, 'PATCH', {'metadata': {'annotations': {CONSENT: status['consent']}}})

    def is_written():
        template = kept.api.call(at)['spec']['template']
        return template['metadata']['labels'].get(PROFILE) == 'named' if template['metadata'].get('labels') else False
    for _ in range(3):
        karpenter.await_('the template', is_written)
        kept.await_ready(path)
        written = kept.api.call(at)['spec']['template']
        assert STARTUP in [one['key'] for one in written['spec']['startupTaints']] and written['spec']['taints'][0]['key'] == 'a'
        assert written['spec']['requirements'] == before['spec']['requirements']
        kept.api.call(at, 'PATCH', {'spec': {'template': {'metadata': {'labels': {PROFILE: None}}}}})
    assert '3 times' in kept.await_reason(path, 'Reverted')
    karpenter.await_('an event', lambda: kept.events('named', 'Reverted'))
    time.sleep(2)
    assert not is_written()
    kept.api.call(path, 'DELETE')
    with contextlib.suppress(Exception):  # without nodes nobody needs to consent
        kept.api.call(at, 'PATCH', {'metadata': {'annotations': {CONSENT: 'withdraw-named'}}})
    karpenter.await_('the old template', lambda: not kept.api.call(at)['metadata'].get('annotations', {}).get('gpuslice.dev/applied'))
    left = kept.api.call(at)['spec']['template']
    assert left['spec'] == before['spec'] and not left['metadata'].get('labels') and left['metadata']['annotations'] == \
        before['metadata']['annotations']
    karpenter.await_('no overlay', lambda: not kept.overlays('named'))


def test_a_config_map_is_enough(kept):
    """The first guide's, with a label and annotations: its 16 pods start one node. Without the label nothing of it is left."""
    karpenter, name = kept.karpenter, 'nvidia-device-plugin'
    shown = yaml.safe_load(re.search(r'<<EOF\n(.*?)EOF', GUIDE.read_text(), re.S)[1])
    assert shown['metadata']['name'] == name
    path, = kept.create_map(name, shown['data'], 'p3.8xlarge')
    profile, at = path.rpartition('/')[2], f'{MAPS}/{name}'
    karpenter.await_('the profile', lambda: kept.api.find(path))
    kept.await_ready(path)
    kept.register(profile, {'p3.8xlarge': {GPU: 16}})
    karpenter.deploy(profile, 16, [{GPU: 1}], tolerations=[{'key': GPU, 'operator': 'Exists'}])  # as EKS adds to pods
    karpenter.await_running(profile, 16)
    karpenter.settle()
    assert karpenter.launched(profile) == {'p3.8xlarge': 1}
    assert f'{name}/any is the SliceProfile {profile}' in karpenter.await_('an event', lambda: kept.events(name, 'SliceProfileMade'))[0]

    # A mistake takes nothing away, and says where it is; what is right again is heeded.
    before = kept.api.call(path)['spec']
    kept.api.call(at, 'PATCH', {'data': {'any': shown['data']['any'].replace('replicas: 4', 'replicas: four')}})
    said, = karpenter.await_('an event', lambda: kept.events(name, 'NoSliceProfile'))
    assert f'{name}/any:8:17: sharing.timeSlicing.resources[0].replicas' in said
    assert kept.overlays(profile) and kept.api.call(path)['spec'] == before
    kept.api.call(at, 'PATCH', {'data': shown['data'], 'metadata': {'annotations': {'gpuslice.dev/max-nodes': '3'}}})
    karpenter.await_('the edit', lambda: kept.api.call(f'{POOLS}/{profile}')['spec'].get('limits', {}).get('nodes') == '3')
    kept.api.call(at, 'PATCH', {'metadata': {'annotations': {'gpuslice.dev/max-nodes': None}}})
    karpenter.await_('its end', lambda: not kept.api.call(f'{POOLS}/{profile}')['spec'].get('limits'))

    kept.api.call(at, 'PATCH', {'metadata': {'labels': {key: None for key in SLICED}}})
    karpenter.await_('no profile', lambda: not kept.api.find(path))
    karpenter.await_('no overlay', lambda: not kept.overlays(profile))
    karpenter.await_('a limit', lambda: kept.api.call(f'{POOLS}/{profile}')['spec'].get('limits') == {'cpu': '0'})
    assert karpenter.n_running(profile) == 16
    kept.api.call(at, 'DELETE')


def test_a_config_map_that_is_replaced_keeps_its_profile(kept):
    """By deleting and creating it: what a person added to the profile stays, and the node. That it was made is reported once, also by the next leader."""
    karpenter, shares = kept.karpenter, 'sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}'
    path, = kept.create_map('replaced', {'any': shares}, 'p3.8xlarge')
    profile, at, file = path.rpartition('/')[2], f'{MAPS}/replaced', kept.folder / 'replaced.yaml'
    karpenter.await_('the profile', lambda: kept.api.find(path))
    kept.await_ready(path)
    kept.register(profile, {'p3.8xlarge': {GPU: 16}})
    karpenter.deploy(profile, 16, [{GPU: 1}], tolerations=[{'key': GPU, 'operator': 'Exists'}])
    karpenter.await_running(profile, 16)
    kept.api.call(path, 'PATCH', {'spec': {'repair': 'replace'}})
    before = kept.api.call(path)

    def await_limit(count):
        karpenter.await_('the edit', lambda: kept.api.call(f'{POOLS}/{profile}')['spec'].get('limits', {}).get('nodes') == str(count))
    shown = kept.api.call(at)
    file.write_text(yaml.safe_dump({'apiVersion': 'v1', 'kind': 'ConfigMap', 'data': shown['data'], 'metadata': {
        'name': 'replaced', 'namespace': 'default', 'labels': SLICED, 'annotations': {**shown['metadata']['annotations'], 'gpuslice.dev/max-nodes': '3'}}}))
    karpenter.plane.kubectl('replace', '--force', '-f', file)
    await_limit(3)
    kept.await_ready(path)
    now = kept.api.call(path)
    assert now['metadata']['uid'] == before['metadata']['uid'] and now['spec'] == {**before['spec'], 'maxNodes': 3}
    assert kept.api.call(at)['metadata']['uid'] != shown['metadata']['uid']
    kept.kill()
    kept.start()
    kept.api.call(at, 'PATCH', {'metadata': {'annotations': {'gpuslice.dev/max-nodes': '4'}}})
    await_limit(4)
    karpenter.await_('an event', lambda: kept.events('replaced', 'SliceProfileChanged'))
    made = kept.api.call('/api/v1/events?fieldSelector=involvedObject.name=replaced,reason=SliceProfileMade')['items']
    assert [one['count'] for one in made] == [1]
    karpenter.settle()
    assert karpenter.launched(profile) == {'p3.8xlarge': 1} and karpenter.n_running(profile) == 16


def test_a_controller_that_goes_takes_everything_back(kept):
    """As the chart's uninstall hook has it done; the profiles stay, but for those that it made of ConfigMaps."""
    shares = 'sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 3}]}}'
    made, = kept.create_map('leaving', {'any': shares}, 'p3.8xlarge')
    kept.karpenter.await_('the profile', lambda: kept.api.find(made))
    kept.await_ready(made)
    paths = [kept.create('leave', WHOLE, RENAMED), kept.create('leave-too', WHOLE, {'timeSlicing': {'replicas': 2}})]
    for path in paths:
        kept.await_ready(path)
    kept.end()
    try:
        assert kept.run('leaving', 'leave').wait(60) == 0
        assert not kept.api.call(OVERLAYS)['items']
        assert not any(kept.api.find(f'{POOLS}/{name}') for name in ('leave', 'leave-too', 'leaving-any'))
        assert all(map(kept.api.find, paths)) and not kept.api.find(made)
    finally:
        kept.start()
    for path in paths:
        kept.await_ready(path)
