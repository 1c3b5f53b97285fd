# SPDX-License-Identifier: Apache-2.0
"""What is rendered: privileges as doc/privileges.md tells, nothing that a feature does not need, and the manifest."""
import re
import shutil
import subprocess

import pytest
import yaml

from conftest import AGENT, CHART, ROOT, notes, refusal, render
from nvidia import AFFINITY

GUIDE = 'version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}\n'


def rows(title):
    """The cells of the table below a heading of doc/privileges.md."""
    text = (ROOT / 'doc/privileges.md').read_text().split(f'\n## {title}\n')[1].split('\n## ')[0]
    table = [[cell.strip() for cell in line.strip('|').split(' | ')] for line in text.splitlines() if line.startswith('|')]
    return table[2:]


def privileges(rendered):
    """What the agent's pod has, in the words of the page."""
    context = rendered.agent['securityContext']
    found = {word for word in context.get('capabilities', {}).get('add', [])}
    if context.get('privileged'):
        found.add('privileged')
    elif context.get('runAsUser') == 0:
        found.add('runAsUser 0')
    found |= {word for word in ('hostNetwork', 'hostPID', 'hostIPC') if rendered.pod.get(word)}
    hosts = {one['name']: one['hostPath']['path'] for one in rendered.pod['volumes'] if 'hostPath' in one}
    for mount in rendered.agent['volumeMounts']:
        if mount['name'] in hosts:
            found.add(f"hostPath {hosts[mount['name']]}" + (' read-only' if mount.get('readOnly') else ''))
    return found


@pytest.mark.parametrize('row', rows('On its node'), ids=lambda row: row[0])
def test_the_privileges_of_a_feature(row):
    values, added = yaml.safe_load(row[1].strip('`')), set(re.findall('`([^`]+)`', row[2]))
    standard = privileges(render())
    found = privileges(render(values))
    if values == {}:
        assert found == added
    elif 'privileged' in added:
        assert found - standard == added and standard - found == {'runAsUser 0'}
    else:
        assert found - standard == added and not standard - found


@pytest.mark.parametrize('row', rows('On its node'), ids=lambda row: row[0])
def test_what_no_feature_loosens(row):
    rendered = render(yaml.safe_load(row[1].strip('`')))
    context = rendered.agent['securityContext']
    assert context['readOnlyRootFilesystem'] is True
    assert not {'hostPID', 'hostIPC', 'shareProcessNamespace', 'initContainers'} & set(rendered.pod)
    if not context['privileged']:
        assert context['allowPrivilegeEscalation'] is False
        assert context['capabilities']['drop'] == ['ALL']
        assert context['seccompProfile'] == {'type': 'RuntimeDefault'}


@pytest.mark.parametrize('configs,expected', [
    ({'map': {'a': GUIDE}}, set()),
    ({'map': {'a': 'version: v1\nflags: {migStrategy: mixed}\n'}}, {'SYS_ADMIN'}),
    ({'map': {'a': 'flags: {plugin: {deviceListStrategy: volume-mounts}}'}}, {'SYS_ADMIN'}),
    ({'map': {'a': 'flags: {plugin: {deviceListStrategy: [envvar, cdi-cri]}}'}},
     {'hostPath /var/run/cdi', 'hostPath / read-only'}),
    ({'map': {'a': 'flags: {migStrategy: none}', 'default': '{'}}, set()),
])
def test_configurations_of_the_chart_are_looked_into(configs, expected):
    configs = {'fallbackStrategies': ['empty'], **configs}
    assert privileges(render({'config': configs})) - privileges(render()) == expected


def test_a_flag_of_the_values_outranks_the_map():
    values = {'config': {'map': {'a': 'flags: {migStrategy: mixed}'}}, 'migStrategy': 'none'}
    assert 'SYS_ADMIN' not in privileges(render(values))
    assert 'SYS_ADMIN' not in privileges(render({'migStrategy': 'single', 'sysAdmin': False}))


def test_the_monitor_of_mig_comes_with_its_capability():
    assert render({'migStrategy': 'single'}).environment['NVIDIA_MIG_MONITOR_DEVICES'] == 'all'
    assert 'NVIDIA_MIG_MONITOR_DEVICES' not in render().environment


def test_mig_layouts_take_their_rights_only_when_asked_for():
    off = render({'mig': {'partition': False, 'configMap': 'layouts'}})
    assert privileges(off) == privileges(render())
    assert not {name for name in off.environment if 'MIG' in name}
    assert 'mig-layouts' not in {one['name'] for one in off.pod['volumes']}
    on = render({'mig': {'partition': 'true', 'configMap': 'layouts'}, 'sysAdmin': False})
    assert privileges(on) - privileges(off) == {'SYS_ADMIN'}
    assert on.environment['GPUSLICE_MIG_PARTITION'] == 'true' and on.environment['NVIDIA_MIG_CONFIG_DEVICES'] == 'all'
    assert on.environment['GPUSLICE_MIG_CONFIG_FILE'] == '/mig-layouts/config.yaml'
    assert {'name': 'mig-layouts', 'mountPath': '/mig-layouts', 'readOnly': True} in on.agent['volumeMounts']
    assert {'name': 'mig-layouts', 'configMap': {'name': 'layouts', 'optional': True}} in on.pod['volumes']
    built_in = render({'mig': {'partition': True}})
    assert 'GPUSLICE_MIG_CONFIG_FILE' not in built_in.environment


def test_a_reboot_takes_its_rights_only_when_asked_for():
    off = render({'mig': {'partition': True, 'reboot': 'false'}})
    assert privileges(off) == privileges(render({'mig': {'partition': True}})) and 'GPUSLICE_MIG_REBOOT' not in off.environment
    on = render({'mig': {'partition': True, 'reboot': 'true'}})
    assert privileges(on) - privileges(off) == {'SYS_BOOT', 'hostPath /run/dbus read-only'}
    assert on.environment['GPUSLICE_MIG_REBOOT'] == 'true'
    for one in on.pod['containers']:
        assert one['name'] == 'agent' or 'system-bus' not in {mount['name'] for mount in one['volumeMounts']}


def test_clients_are_paused_only_when_asked_for():
    mig = {'partition': True, 'pauseClients': 'true'}
    off, on = render({'mig': {'partition': True}}), render({'mig': mig})
    assert on.environment['GPUSLICE_MIG_PAUSE_CLIENTS'] == 'true' and 'GPUSLICE_MIG_PAUSE_CLIENTS' not in off.environment
    assert privileges(on) == privileges(off)


def test_an_own_security_context_replaces_ours():
    own = {'privileged': False, 'capabilities': {'add': ['SYS_RESOURCE']}}
    assert render({'securityContext': own, 'compatWithCPUManager': True}).agent['securityContext'] == own


def test_where_it_runs():
    pod = render().pod
    keys = {one['key']: one for one in pod['tolerations']}
    for key in ('gpuslice.dev/not-ready', 'nvidia.com/gpu', 'nvidia.com/gpu-shared', 'CriticalAddonsOnly'):
        assert keys[key]['operator'] == 'Exists' and 'effect' not in keys[key]
    assert pod['nodeSelector'] == {'kubernetes.io/os': 'linux'} and pod['priorityClassName'] == 'system-node-critical'
    assert 'feature.node.kubernetes.io' not in str(pod['affinity'])
    pod = render({'affinity': AFFINITY, 'nodeSelector': {'gpu': 'a10'},
                  'tolerations': [{'key': 'team', 'operator': 'Exists'}, {'operator': 'Exists', 'effect': 'NoExecute'}]}).pod
    assert pod['affinity'] == AFFINITY and pod['nodeSelector']['gpu'] == 'a10'
    assert [one.get('key') for one in pod['tolerations']] == [
        'gpuslice.dev/not-ready', 'nvidia.com/gpu', 'nvidia.com/gpu-shared', 'team', None]


def test_a_configmap_is_mounted_whole():
    """A subPath would never see an edit of the ConfigMap."""
    rendered = render({'config': {'name': 'c'}})
    assert rendered.mounts['/available-configs'] == ('c', True)
    assert not any('subPath' in mount for mount in rendered.agent['volumeMounts'])
    assert not any('items' in volume.get('configMap', {}) for volume in rendered.pod['volumes'])


def test_an_edit_of_the_map_restarts_no_agent():
    first, second = (render({'config': {'map': {'a': text}}}).daemonset for text in (GUIDE, GUIDE + '# more\n'))
    assert first == second


CHANNEL = '/run/gpuslice-channel'
TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount'
ALIVE = ['/usr/bin/gpuslice-node', '--part=probe']
EVERYTHING = {'compatWithCPUManager': True, 'sysAdmin': True, 'hostNetwork': True, 'config': {'name': 'c'}, 'nvidiaDriverRoot': '/run/nvidia/driver',
              'deviceListStrategy': 'cdi-cri', 'securityContext': {'privileged': True}, 'extraArgs': ['--log-level=debug'],
              'extraEnv': [{'name': 'A', 'value': 'b'}], 'resources': {'limits': {'memory': '1Gi'}},
              'extraVolumes': [{'name': 'sim', 'hostPath': {'path': '/opt/sim'}}],
              'extraVolumeMounts': [{'name': 'sim', 'mountPath': '/sim'}]}


@pytest.mark.parametrize('values', [{}, {'compatWithCPUManager': True}, EVERYTHING], ids=['default', 'privileged', 'everything'])
def test_the_rights_of_what_speaks_with_the_network(values):
    """Whatever the agent may do: http and nodesync get none of it, and no value loosens that."""
    rendered = render(values)
    assert list(rendered.containers) == ['agent', 'nodesync', 'http']
    for name in ('http', 'nodesync'):
        assert rendered.containers[name]['securityContext'] == {
            'allowPrivilegeEscalation': False, 'capabilities': {'drop': ['ALL']}, 'privileged': False,
            'readOnlyRootFilesystem': True, 'runAsUser': 65534, 'runAsGroup': 65534, 'runAsNonRoot': True,
            'seccompProfile': {'type': 'RuntimeDefault'}}
        # Else NVIDIA's runtime brings every GPU, which the image asks for.
        assert rendered.containers[name]['env'] == [{'name': 'NVIDIA_VISIBLE_DEVICES', 'value': 'void'}]
    assert rendered.mounts_of('http') == {f'{CHANNEL}/http': ('channel-http', True)}
    assert rendered.mounts_of('nodesync') == {f'{CHANNEL}/nodesync': ('channel-nodesync', True), TOKEN: ('api-access', True)}


@pytest.mark.parametrize('values', [{}, EVERYTHING], ids=['default', 'everything'])
def test_the_token_is_nodesyncs_alone(values):
    rendered = render(values)
    assert rendered.pod['automountServiceAccountToken'] is False
    assert all(one['automountServiceAccountToken'] is False for one in rendered.all('ServiceAccount'))
    assert [name for name in rendered.containers if TOKEN in rendered.mounts_of(name)] == ['nodesync']
    volume, = [one for one in rendered.pod['volumes'] if 'projected' in one]
    paths = {path: mode for source in volume['projected']['sources'] for kind, one in source.items()
             for path, mode in ([(one['path'], kind)] if 'path' in one else [(item['path'], kind) for item in one['items']])}
    assert paths == {'token': 'serviceAccountToken', 'ca.crt': 'configMap', 'namespace': 'downwardAPI'}
    # For anybody to read, as the process is not the owner; the mount is seen in this container alone.
    assert volume['name'] == 'api-access' and volume['projected']['defaultMode'] == 0o444


def test_the_channel():
    rendered = render()
    for role in ('nodesync', 'http', 'probe'):
        volume, = [one for one in rendered.pod['volumes'] if one['name'] == f'channel-{role}']
        assert set(volume['emptyDir']) == {'medium', 'sizeLimit'}
        assert rendered.mounts[f'{CHANNEL}/{role}'] == (f'channel-{role}', False)
        # The hello proves nothing: a container that sees another's socket can act as the other.
        users = {name for name in rendered.containers if f'{CHANNEL}/{role}' in rendered.mounts_of(name)}
        assert users == {'agent', role} & set(rendered.containers)
    assert not [path for name in rendered.containers for path in rendered.mounts_of(name) if path == CHANNEL]
    assert rendered.environment['GPUSLICE_CHANNEL_DIR'] == CHANNEL
    for name in ('http', 'nodesync'):
        assert rendered.containers[name]['command'][:2] == [f'/usr/bin/gpuslice-{name}', f'--connect={CHANNEL}/{name}/agent.sock']


@pytest.mark.parametrize('values', [{}, {'readinessPath': '/readyz'}, {'httpAddress': ''}, {'httpAddress': '127.0.0.1:19400'}])
def test_no_http_decides_about_the_agent(values):
    """Its probes ask it itself; the container that serves HTTP has none, so no client makes the pod unready."""
    rendered = render(values)
    assert rendered.agent['livenessProbe']['exec'] == rendered.agent['startupProbe']['exec'] == {'command': ALIVE}
    assert rendered.agent.get('readinessProbe', {}).get('exec') == (
        {'command': ['/usr/bin/gpuslice-node', '--part=probe-ready']} if 'readinessPath' in values else None)
    assert 'httpGet' not in str(rendered.pod)
    assert not [name for name, one in rendered.containers.items() if name != 'agent' and 'Probe' in ''.join(one)]


@pytest.mark.parametrize('address', [':19400', '[::]:9500', '127.0.0.1:19400', '0.0.0.0:80', ''])
def test_one_container_serves_http(address):
    rendered = render({'httpAddress': address})
    assert 'ports' not in rendered.agent and 'GPUSLICE_HTTP_ADDRESS' not in rendered.environment
    assert ('http' in rendered.containers) == bool(address)
    if address:
        http = rendered.containers['http']
        assert http['command'][2:] == [address]
        assert http['ports'] == [{'name': 'http', 'containerPort': int(address.rsplit(':', 1)[1]), 'protocol': 'TCP'}]


@pytest.mark.parametrize('values,declared', [
    ({}, True), ({'hostNetwork': True}, False), ({'devicePlugin': {'enableHostNetwork': True}}, False),
    ({'hostNetwork': 'true', 'podMonitor': {'enabled': True}}, True), ({'podMonitor': {'enabled': True}}, True)])
def test_no_port_of_the_node_is_reserved(values, declared):
    """A pod that declares a port in the host's network stays Pending where another has it."""
    assert ('ports' in render(values).containers['http']) == declared


# What others serve on a node of a cluster with GPUs, beside which ours must run.
NEIGHBOURS = {9400: 'dcgm-exporter', 9100: 'node-exporter', 9394: 'HAMi', 9395: 'HAMi', 5555: 'DCGM', 8080: 'gpu-operator',
              10248: 'kubelet', 10249: 'kube-proxy', 10250: 'kubelet', 10255: 'kubelet', 10256: 'kube-proxy',
              61678: 'aws-node', 61679: 'aws-node', 9808: 'CSI drivers'}


def test_one_port_of_our_own_everywhere():
    """Chart, program and manual have one default, which is no neighbour's, no NodePort and not ephemeral."""
    port = yaml.safe_load((CHART / 'values.yaml').read_text())['httpAddress'].lstrip(':')
    assert render().containers['http']['ports'][0]['containerPort'] == int(port)
    assert 1024 < int(port) < 30000 and int(port) not in NEIGHBOURS
    said = subprocess.run([AGENT, '--help'], check=True, capture_output=True, text=True).stdout.split('--http-address')[1]
    assert f'Default: 127.0.0.1:{port}.' in ' '.join(said.split('[GPUSLICE_HTTP_ADDRESS]')[0].split())
    for page in ('doc/man/gpuslice-node.8.scd', 'deploy/gpuslice.yml', 'deploy/helm/gpuslice/templates/podmonitor.yaml'):
        found = set(re.findall(r'(?<=:)[0-9]{4,5}\b', (ROOT / page).read_text())) & {port, *map(str, NEIGHBOURS)}
        assert found == {port}, page


@pytest.mark.parametrize('switch', [False, 'false'])
def test_no_access_to_the_api_server(switch):
    """Nothing of it is left: no container, no token, no right."""
    rendered = render({'nodesync': {'enabled': switch}})
    assert list(rendered.containers) == ['agent', 'http']
    assert not [one for one in rendered.pod['volumes'] if 'projected' in one]
    assert not {'NODE_NAME', 'NAMESPACE', 'POD_NAME', 'GPUSLICE_CONTROLLER_LEASE'} & set(rendered.environment)
    assert {one['kind'] for one in rendered.objects} == {'ServiceAccount', 'DaemonSet'}
    assert 'no label' in notes({'nodesync': {'enabled': switch}})


def test_each_logs_as_the_agent_and_nodesync_takes_the_same_way():
    values = {'logLevel': 'debug', 'logFormat': 'json', 'extraEnv': [
        {'name': 'HTTPS_PROXY', 'value': 'http://proxy'}, {'name': 'no_proxy', 'value': '10.0.0.0/8'},
        {'name': 'KUBERNETES_SERVICE_HOST', 'value': 'api.example'}, {'name': 'KUBERNETES_SERVICE_PORT', 'value': '6443'},
        {'name': 'OTHER', 'value': 'x'}]}
    nodesync = render(values).containers['nodesync']
    assert nodesync['command'][2:] == ['debug', 'json']
    assert [one['name'] for one in nodesync['env']] == [
        'NVIDIA_VISIBLE_DEVICES', 'HTTPS_PROXY', 'no_proxy', 'KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT']
    assert render().containers['nodesync']['command'][2:] == ['info', 'logfmt']
    assert render(values).containers['http']['command'][3:] == ['debug', 'json']
    later = {'logLevel': 'debug', 'extraEnv': [{'name': 'GPUSLICE_LOG_LEVEL', 'value': 'error'}]}
    assert render(later).containers['http']['command'][3:] == ['error', 'logfmt']
    assert render(later).containers['nodesync']['command'][2:] == ['error', 'logfmt']


def test_resources_of_each_container():
    own = {'limits': {'memory': '100Mi'}}
    for name, values in (('agent', {'resources': own}), ('http', {'http': {'resources': own}}),
                         ('nodesync', {'nodesync': {'resources': own}})):
        found = {one: container['resources'] for one, container in render(values).containers.items()}
        assert found.pop(name) == own and own not in found.values()
    assert all(set(one['resources']['requests']) == {'cpu', 'memory'} for one in render().containers.values())


def test_what_the_values_add():
    values = {'extraArgs': ['--log-level=debug'], 'logFormat': 'json',
              'extraEnv': [{'name': 'NVIDIA_VISIBLE_DEVICES', 'value': '0'}],
              'extraVolumes': [{'name': 'sim', 'hostPath': {'path': '/opt/sim'}}],
              'extraVolumeMounts': [{'name': 'sim', 'mountPath': '/sim', 'readOnly': True}],
              'podLabels': {'team': 'ml'}, 'podAnnotations': {'a': 'b'}}
    rendered = render(values)
    assert rendered.agent['args'] == ['--log-level=debug']
    assert rendered.environment['NVIDIA_VISIBLE_DEVICES'] == '0'
    assert rendered.environment['GPUSLICE_LOG_FORMAT'] == 'json'
    assert rendered.mounts['/sim'] == ('/opt/sim', True)
    meta = rendered.daemonset['spec']['template']['metadata']
    assert meta['labels']['team'] == 'ml'
    assert meta['annotations'] == {'a': 'b', 'kubectl.kubernetes.io/default-container': 'agent'}


@pytest.mark.parametrize('written', ['/var/lib/kubelet', '/var/lib/k0s/kubelet', '/data/kubelet/', None])
def test_a_kubelet_with_another_root(written):
    """Only pod-resources moves with its --root-dir."""
    rendered = render({'kubeletDir': written})
    root = (written or '/var/lib/kubelet').rstrip('/')
    assert rendered.mounts['/var/lib/kubelet/device-plugins'] == ('/var/lib/kubelet/device-plugins', False)
    assert rendered.mounts['/var/lib/kubelet/pod-resources'] == (f'{root}/pod-resources', True)


def test_one_node_in_trouble_does_not_stop_an_upgrade():
    strategy = render().daemonset['spec']['updateStrategy']
    assert strategy == {'type': 'RollingUpdate', 'rollingUpdate': {'maxUnavailable': '10%'}}
    assert 'readinessProbe' not in render().agent  # it is Ready once it has started
    by_hand = render({'updateStrategy': {'type': 'OnDelete'}}).daemonset
    assert by_hand['spec']['updateStrategy'] == {'type': 'OnDelete'}


@pytest.mark.parametrize('values,name', [
    ({}, 'nvdp-gpuslice'), ({'nameOverride': 'x'}, 'nvdp-x'), ({'fullnameOverride': 'y'}, 'y'),
    ({'nameOverride': 'nvdp'}, 'nvdp')])
def test_names_hang_together(values, name):
    rendered = render({**values, 'config': {'map': {'a': GUIDE}}})
    daemonset = rendered.daemonset
    assert daemonset['metadata']['name'] == rendered.pod['serviceAccountName'] == name
    assert {one['metadata']['name'] for one in rendered.all('ServiceAccount')} == {name, f'{name}-arbiter'}
    assert rendered.mounts['/available-configs'][0] == rendered.only('ConfigMap')['metadata']['name']
    labels = daemonset['spec']['template']['metadata']['labels']
    assert daemonset['spec']['selector']['matchLabels'].items() <= labels.items()
    for kind in ('Role', 'ClusterRole'):
        for binding in rendered.all(f'{kind}Binding'):
            assert binding['subjects'] == [{'kind': 'ServiceAccount', 'name': name, 'namespace': 'kube-system'}]
            assert binding['roleRef']['name'] in [one['metadata']['name'] for one in rendered.all(kind)]


def test_an_own_selector():
    daemonset = render({'selectorLabelsOverride': {'name': 'nvidia-device-plugin-ds'}}).daemonset
    assert daemonset['spec']['selector']['matchLabels'] == {'name': 'nvidia-device-plugin-ds'}
    assert daemonset['spec']['template']['metadata']['labels']['name'] == 'nvidia-device-plugin-ds'


def test_two_releases_share_no_name_of_the_cluster():
    def cluster_wide(namespace):
        return {(one['kind'], one['metadata']['name']) for one in render(namespace=namespace).objects
                if 'namespace' not in one['metadata']}
    assert not cluster_wide('gpus') & cluster_wide('kube-system')


def assert_rights(rendered, name, *titles):
    """Of a service account, and the page's tables below titles."""
    found = {}
    for kind in ('ClusterRole', 'Role'):
        for role in rendered.all(kind):
            for rule in role['rules'] if role['metadata']['name'] == name else ():
                for resource in rule['resources']:
                    key = (resource, 'cluster' if kind == 'ClusterRole' else 'namespace')
                    found[key] = found.get(key, set()) | set(rule['verbs'])
    said = {}
    for verbs, resource, where, _ in (row for title in titles for row in rows(title)):
        key = (resource.split(',')[0], where.split(',')[0])
        said[key] = said.get(key, set()) | set(verbs.split(', '))
    assert found == said


def test_rbac_is_what_the_page_says():
    assert_rights(render(), 'nvdp-gpuslice', 'In the cluster')
    daemonsets, = [rule for rule in render().only('Role')['rules'] if rule['resources'] == ['daemonsets']]
    assert daemonsets['resourceNames'] == ['nvdp-gpuslice']


@pytest.mark.parametrize('values,version,there', [({}, '1.36.0', True), ({}, '1.30.1', True), ({}, '1.29.9', False),
                                                  ({'admissionPolicy': {'enabled': False}}, '1.36.0', False)])
def test_the_admission_policy(values, version, there):
    rendered = render(values, '--kube-version', version)
    assert bool(rendered.all('ValidatingAdmissionPolicy')) == bool(rendered.all('ValidatingAdmissionPolicyBinding')) == there
    if there:
        policy, binding = rendered.only('ValidatingAdmissionPolicy'), rendered.only('ValidatingAdmissionPolicyBinding')
        assert policy['spec']['failurePolicy'] == 'Fail' and binding['spec']['validationActions'] == ['Deny']
        assert binding['spec']['policyName'] == policy['metadata']['name']
        condition, = policy['spec']['matchConditions']
        assert "'system:serviceaccount:kube-system:nvdp-gpuslice'" in condition['expression']


CONTROLLER = {'controller': {'enabled': True}}


def test_the_controller_is_off():
    assert not render().all('Deployment')
    assert not render({'controller': {'enabled': 'false', 'replicas': 3}}).all('Deployment')


def test_the_controllers_rights_are_what_the_page_says():
    rendered = render(CONTROLLER)
    assert_rights(rendered, 'nvdp-gpuslice-controller', 'The controller')
    assert_rights(rendered, 'nvdp-gpuslice', 'In the cluster')  # the agent's stay as they are
    leases = [rule for role in rendered.all('Role') if role['metadata']['name'].endswith('-controller')
              for rule in role['rules'] if rule['resources'] == ['leases']]
    named, = [rule for rule in leases if rule['verbs'] != ['create']]
    container, http = rendered.only('Deployment')['spec']['template']['spec']['containers']
    assert f"--lease={named['resourceNames'][0]}" in container['args']
    # Without profiles it opens no node, and the agents do not wait for it.
    profiles = render({'controller': {'enabled': True, 'profiles': True}})
    assert [one.environment['GPUSLICE_CONTROLLER_LEASE'] for one in (render(), rendered, profiles)] == [
        named['resourceNames'][0], '-', named['resourceNames'][0]]
    asked, = [rule for role in rendered.all('Role') if role['metadata']['name'] == 'nvdp-gpuslice'
              for rule in role['rules'] if rule['resources'] == ['leases']]
    assert asked['verbs'] == ['get'] and asked['resourceNames'] == named['resourceNames']
    for one in (container, http):
        assert one['securityContext']['runAsUser'] == 65534 and one['securityContext']['capabilities'] == {'drop': ['ALL']}
        assert {'name': 'NVIDIA_VISIBLE_DEVICES', 'value': 'void'} in one['env']
    assert [mount['mountPath'] for mount in http['volumeMounts']] == [CHANNEL]  # and no token


def test_the_controllers_pods_are_no_agents():
    """No selector of the agents' finds them, nor the other way round."""
    rendered = render({**CONTROLLER, 'podMonitor': {'enabled': True}})
    daemonset, deployment = rendered.daemonset, rendered.only('Deployment')
    for one, other in ((daemonset, deployment), (deployment, daemonset)):
        selector = one['spec']['selector']['matchLabels']
        assert selector.items() <= one['spec']['template']['metadata']['labels'].items()
        assert not selector.items() <= other['spec']['template']['metadata']['labels'].items()
    monitored = [one['spec']['selector']['matchLabels'] for one in rendered.all('PodMonitor')]
    arbiters, = [one for one in rendered.all('DaemonSet') if one['metadata']['name'] == 'nvdp-gpuslice-arbiter-http']
    assert monitored == [one['spec']['selector']['matchLabels'] for one in (daemonset, arbiters, deployment)]


def test_what_the_values_say_of_the_controller():
    toleration = {'key': 'infra', 'operator': 'Exists'}
    rendered = render({'httpAddress': '', 'logLevel': 'debug', 'controller': {
        'enabled': 'true', 'replicas': 3, 'drainForMIG': 'allowed', 'nodeLimitSeconds': 600, 'replaceAtMost': 2, 'resources': {'limits': {'memory': '64Mi'}},
        'nodeSelector': {'pool': 'infra'}, 'affinity': {'nodeAffinity': {}}, 'tolerations': [toleration]}})
    deployment = rendered.only('Deployment')
    pod = deployment['spec']['template']['spec']
    container, = pod['containers']  # and no HTTP
    assert deployment['spec']['replicas'] == 3 and {'--drain-for-mig=allowed', '--log-level=debug', '--node-limit=600', '--replace-at-most=2'} <= set(container['args'])
    assert container['resources'] == {'limits': {'memory': '64Mi'}}
    assert pod['nodeSelector'] == {'kubernetes.io/os': 'linux', 'pool': 'infra'} and pod['affinity'] == {'nodeAffinity': {}}
    assert pod['tolerations'] == [toleration]
    assert '--drain-for-mig=denied' in str(render(CONTROLLER).only('Deployment'))
    assert 'drainForMIG' in refusal({'controller': {'enabled': True, 'drainForMIG': 'yes'}})


# --- the arbiter ---

def arbiter(values=None, *words):
    """(the DaemonSet, that of its metrics or None, everything)"""
    values = {**(values or {}), 'arbiter': {'enabled': True, **(values or {}).get('arbiter', {})}}
    rendered = render(values, *words)
    found = {one['metadata']['name']: one for one in rendered.all('DaemonSet')}
    return found['nvdp-gpuslice-arbiter'], found.get('nvdp-gpuslice-arbiter-http'), rendered


def arbiter_privileges(values):
    pod = arbiter(values)[0]['spec']['template']['spec']
    container, = pod['containers']
    context = container['securityContext']
    hosts = {one['name']: one['hostPath']['path'] for one in pod['volumes']}
    assert context['readOnlyRootFilesystem'] is True and (context['privileged'] or context['capabilities']['drop'] == ['ALL'])
    return {*context.get('capabilities', {}).get('add', []), *(['privileged'] if context['privileged'] else ['runAsUser 0']),
            *(word for word in ('hostNetwork', 'hostPID', 'hostIPC') if pod.get(word)),
            *(f"hostPath {hosts[one['name']]}" + ' read-only' * one.get('readOnly', False) for one in container['volumeMounts'])}


@pytest.mark.parametrize('values, mode', [
    ({}, 'limits'), ({'arbiter': {'enabled': False}}, None), ({'arbiter': {'enabled': 'false', 'onViolation': 'kill'}}, None),
    ({'arbiter': {'mode': 'audit'}}, 'audit'), ({'arbiter': {'enabled': None, 'mode': None, 'memory': None}}, 'limits'), ({'arbiter': None}, 'limits'),
    # Without slices of ours there is nothing to limit: it comes when it is asked for.
    ({'devicePlugin': {'enabled': False}, 'gfd': {'enabled': True}}, None), ({'devicePlugin': {'enabled': 'false'}}, None),
    ({'devicePlugin': {'enabled': False}, 'arbiter': {'enabled': True}}, 'audit')])
def test_what_the_arbiter_does_unless_a_value_says_otherwise(values, mode):
    args = [one['spec']['template']['spec']['containers'][0]['args'] for one in render(values).all('DaemonSet') if one['metadata']['name'] == 'nvdp-gpuslice-arbiter']
    assert [('limits' if any(word.startswith('--limits=') for word in one) else 'audit') for one in args] == ([mode] if mode else [])


def test_the_privileges_of_the_arbiter():
    rows_of = [(yaml.safe_load(row[0].strip('`')), set(re.findall('`([^`]+)`', row[1]))) for row in rows('The arbiter') if row[0].startswith('`{')]
    assert len(rows_of) == 6
    (audit, alone), *others = rows_of
    assert arbiter_privileges(audit) == alone
    for values, added in others:
        everything = arbiter_privileges({**values, 'arbiter': {**audit['arbiter'], **values.get('arbiter', {})}})
        assert everything - alone == added, values
    # By default it has what limits need.
    assert arbiter_privileges({}) == arbiter_privileges({'arbiter': {'mode': 'limits'}})


def test_who_serves_the_arbiters_metrics_sees_no_process_of_the_host():
    one, http, rendered = arbiter({'podMonitor': {'enabled': True}})
    pod = http['spec']['template']['spec']
    container, = pod['containers']
    assert not {'hostPID', 'hostNetwork', 'hostIPC'} & set(pod) and container['securityContext']['runAsUser'] == 65534
    assert container['securityContext']['capabilities'] == {'drop': ['ALL']} and 'add' not in container['securityContext']['capabilities']
    assert [(mount['mountPath'], mount['readOnly']) for mount in container['volumeMounts']] == [(CHANNEL, True)]
    assert container['command'][:2] == ['/usr/bin/gpuslice-http', f'--connect={CHANNEL}/arbiter.sock']
    assert one['spec']['updateStrategy'] == {'type': 'OnDelete'}
    monitors = {monitor['metadata']['name']: monitor for monitor in rendered.all('PodMonitor')}
    endpoint, = monitors['nvdp-gpuslice-arbiter']['spec']['podMetricsEndpoints']
    assert endpoint['honorLabels'] is True  # else `pod` would be the one that serves them
    # No selector finds another's pods.
    selectors = [two['spec']['selector']['matchLabels'] for two in rendered.all('DaemonSet')]
    labels = [two['spec']['template']['metadata']['labels'] for two in rendered.all('DaemonSet')]
    assert [[selector.items() <= label.items() for label in labels].count(True) for selector in selectors] == [1, 1, 1]
    assert monitors['nvdp-gpuslice-arbiter']['spec']['selector']['matchLabels'] == http['spec']['selector']['matchLabels']
    assert arbiter({'httpAddress': ''})[1] is None


def test_the_arbiter_has_no_rights_in_the_cluster():
    pods = [one['spec']['template']['spec'] for one in arbiter()[:2]]
    assert all(pod['automountServiceAccountToken'] is False and pod['serviceAccountName'] == 'nvdp-gpuslice-arbiter' for pod in pods)
    bound = [subject['name'] for kind in ('ClusterRoleBinding', 'RoleBinding') for one in arbiter()[2].all(kind) for subject in one['subjects']]
    assert bound and 'nvdp-gpuslice-arbiter' not in bound


def test_what_the_values_say_of_the_arbiter():
    one, http, rendered = arbiter({'logLevel': 'debug', 'nvidiaDriverRoot': '/drv', 'extraEnv': [{'name': 'NVIDIA_VISIBLE_DEVICES', 'value': '0'}],
                                   'devicePlugin': {'enabled': False},
                                   'arbiter': {'mode': 'audit', 'onViolation': 'kill', 'graceSeconds': 5, 'spareNamespaces': ['a', 'b'],
                                               'resources': {'limits': {'memory': '64Mi'}}}})
    container, = one['spec']['template']['spec']['containers']
    assert {'--mode=audit', '--on-violation=kill', '--grace=5', '--spare-namespaces=a,b', '--log-level=debug', '--driver-root=/drv',
            '--container-driver-root=/driver-root'} <= set(container['args'])
    assert container['resources'] == {'limits': {'memory': '64Mi'}}
    assert container['env'] == [{'name': 'NVIDIA_VISIBLE_DEVICES', 'value': '0'}, {'name': 'NVIDIA_DRIVER_CAPABILITIES', 'value': 'utility'}]
    assert len(rendered.all('DaemonSet')) == 2  # beside NVIDIA's plugin: no agent
    assert 'onViolation' in refusal({'arbiter': {'enabled': True, 'onViolation': 'stop'}})
    assert 'arbiter.mode: limits' in refusal({'arbiter': {'mode': 'audit', 'onViolation': 'starve'}})
    starving = arbiter({'arbiter': {'mode': 'limits', 'onViolation': 'starve'}})[0]['spec']['template']['spec']['containers'][0]
    assert '--on-violation=starve' in starving['args'] and 'KILL' not in str(starving['securityContext'])  # it ends nothing
    assert 'mode' in refusal({'arbiter': {'enabled': True, 'mode': 'enforce'}})


def test_limits_of_the_kernel_are_asked_for():
    pods = [arbiter({'arbiter': {'kernelLimits': value}})[0]['spec']['template']['spec'] for value in (False, True)]
    mounts = [{one['name']: one for one in pod['containers'][0]['volumeMounts']} for pod in pods]
    assert '--kernel-limits' not in pods[0]['containers'][0]['args'] and 'cgroups' not in mounts[0]
    assert '--kernel-limits' in pods[1]['containers'][0]['args']
    assert mounts[1]['cgroups'] == {'name': 'cgroups', 'mountPath': '/sys/fs/cgroup'}  # to be written
    assert {'name': 'cgroups', 'hostPath': {'path': '/sys/fs/cgroup', 'type': 'Directory'}} in pods[1]['volumes']
    assert 'arbiter.kernelLimits is true' in refusal({'arbiter': {'mode': 'audit', 'kernelLimits': True}})


LIMITS = {'arbiter': {'enabled': True, 'mode': 'limits'}}


def memory_of(rendered):
    """What an agent takes where a configuration has no gpuslice.memory, and with what the arbiter begins."""
    agent, one = (next(found for found in rendered.all('DaemonSet') if found['metadata']['name'] == name)['spec']['template']['spec']
                  for name in ('nvdp-gpuslice', 'nvdp-gpuslice-arbiter'))
    env = {variable['name']: variable.get('value') for variable in agent['containers'][0]['env']}
    begins, = [word for word in one['containers'][0]['args'] if word.startswith('--limits=')]
    assert env['GPUSLICE_ARBITER_DIR'] == '/run/gpuslice/arbiter'
    assert '--arbiter-dir=/run/gpuslice/arbiter' in one['containers'][0]['args']
    assert {'/run/gpuslice', '/var/lib/gpuslice'} <= {mount['mountPath'] for mount in agent['containers'][0]['volumeMounts']}
    assert f'--limits={env["GPUSLICE_DEFAULT_MEMORY"]}' == begins
    assert f'--arbiter-dir={env["GPUSLICE_ARBITER_DIR"]}' in one['containers'][0]['args']
    return env['GPUSLICE_DEFAULT_MEMORY']


def test_memory_limits():
    """Where there is no cluster to ask, nothing is enforced unless a value says so. tests/e2e/test_chart_memory.py has the rest."""
    for how in ([], ['--is-upgrade']):
        assert memory_of(render({}, *how)) == memory_of(render(LIMITS, *how)) == 'observe'
        for word in ('enforced', 'observe', 'none'):
            assert memory_of(render({'arbiter': {'memory': word}}, *how)) == word
            account, = [one for one in render({'arbiter': {'memory': word}}, *how).all('ServiceAccount') if one['metadata']['name'].endswith('-arbiter')]
            assert account['metadata']['annotations'] == {'gpuslice.dev/memory': word}
    # Without them the agent is as it was, whatever the arbiter does.
    agents = [render({'arbiter': one}).daemonset for one in ({'enabled': False}, {'mode': 'audit'})]
    assert agents[0] == agents[1] and 'GPUSLICE_ARBITER_DIR' not in str(agents)
    assert 'arbiter.mode is limits' in refusal({**LIMITS, 'devicePlugin': {'enabled': False}})
    assert 'arbiter.memory is enforced' in refusal({'arbiter': {'mode': 'audit', 'memory': 'enforced'}})
    assert 'arbiter.memory is observe' in refusal({'arbiter': {'enabled': False, 'memory': 'observe'}})
    assert 'memory' in refusal({'arbiter': {'memory': 'strict'}})


def compute_of(rendered):
    """The same of gpuslice.compute; None: nothing sets it."""
    agent, one = (next(found for found in rendered.all('DaemonSet') if found['metadata']['name'] == name)['spec']['template']['spec']['containers'][0]
                  for name in ('nvdp-gpuslice', 'nvdp-gpuslice-arbiter'))
    env = {variable['name']: variable.get('value') for variable in agent['env']}
    begins = [word.removeprefix('--compute=') for word in one['args'] if word.startswith('--compute=')]
    assert begins == [env[name] for name in ('GPUSLICE_DEFAULT_COMPUTE',) if name in env]
    return begins[0] if begins else None


def test_turns_are_there_for_who_asks():
    for how in ([], ['--is-upgrade']):
        assert compute_of(render({}, *how)) is compute_of(render({'arbiter': {'compute': None}}, *how)) is None
        assert render({'arbiter': {'compute': None}}, *how).objects == render({}, *how).objects
        for word in ('elastic', 'strict', 'observe', 'none'):
            rendered = render({'arbiter': {'compute': word}}, *how)
            # Memory is another thing.
            assert compute_of(rendered) == word and memory_of(rendered) == 'observe'
    assert compute_of(render({'arbiter': {'compute': 'elastic', 'memory': 'none'}})) == 'elastic'
    for without in ({'mode': 'audit'}, {'enabled': False}):
        assert 'arbiter.compute is strict' in refusal({'arbiter': {**without, 'compute': 'strict'}})
    assert 'compute' in refusal({'arbiter': {'compute': 'enforced'}})


@pytest.mark.parametrize('values, said', [
    ({'arbiter': {'compute': 'elastic'}}, 'take turns on it by their shares (elastic, as arbiter.compute says). This is experimental'),
    ({'arbiter': {'compute': 'strict'}}, 'take turns on it by their shares (strict, as arbiter.compute says). This is experimental'),
    ({'arbiter': {'compute': 'observe'}}, 'nobody waits for a turn, as arbiter.compute says.\nA configuration'),
    ({'arbiter': {'compute': 'none'}}, 'as the hardware does it, as arbiter.compute says.\nA configuration')])
def test_the_notes_say_what_becomes_of_time(values, said):
    assert said in notes(values) and 'arbiter.compute' not in notes({})


@pytest.mark.parametrize('values, said', [
    ({}, 'are observed, not enforced, since these templates were rendered without the cluster'),
    ({'arbiter': {'enabled': False}}, 'not enforced (arbiter.enabled: false). For slices by time slicing: --set arbiter.enabled=true,arbiter.mode=limits'),
    ({'arbiter': {'mode': 'audit'}}, 'not enforced (arbiter.mode: audit)'),
    ({'arbiter': {'memory': 'enforced'}}, 'Memory limits of slices by time slicing are enforced, as arbiter.memory says'),
    ({'arbiter': {'memory': 'observe'}}, 'are observed, not enforced, as arbiter.memory says.\nWho exceeds is reported'),
    ({'arbiter': {'memory': 'none'}}, 'Memory limits of slices are not enforced (arbiter.memory: none)')])
def test_the_notes_say_what_becomes_of_memory_limits(values, said):
    assert said in notes(values)


def test_the_arbiter_has_time_to_answer_and_is_replaced_by_hand():
    requests = {}
    for mode in ('audit', 'limits'):
        one, = [found for found in render({'arbiter': {'enabled': True, 'mode': mode}}).all('DaemonSet') if found['metadata']['name'] == 'nvdp-gpuslice-arbiter']
        requests[mode] = one['spec']['template']['spec']['containers'][0]['resources']['requests']['cpu']
    assert requests == {'audit': '10m', 'limits': '100m'}
    assert one['spec']['updateStrategy'] == {'type': 'OnDelete'}
    label = one['spec']['template']['metadata']['labels']['app.kubernetes.io/name']
    assert f'delete pod --field-selector spec.nodeName=NODE -l app.kubernetes.io/name={label}\n' in notes(LIMITS)


def test_metrics_for_prometheus():
    assert not render().all('PodMonitor')
    rendered = render({'podMonitor': {'enabled': True, 'labels': {'release': 'prometheus'}, 'interval': '7s'}})
    monitor, _ = rendered.all('PodMonitor')
    assert monitor['spec']['podMetricsEndpoints'][0]['interval'] == '7s'
    assert monitor['metadata']['labels']['release'] == 'prometheus'
    assert monitor['spec']['selector']['matchLabels'] == rendered.daemonset['spec']['selector']['matchLabels']
    assert monitor['spec']['podMetricsEndpoints'][0]['port'] in [one['name'] for one in rendered.containers['http']['ports']]


def test_slice_profiles_as_a_kind():
    assert not render().all('CustomResourceDefinition')
    kind = render({'sliceProfiles': {'enabled': True}}).only('CustomResourceDefinition')
    assert kind == yaml.safe_load((CHART / 'sliceprofiles.yaml').read_text())
    assert kind['metadata']['annotations']['helm.sh/resource-policy'] == 'keep' and not (CHART / 'crds').exists()


def test_profiles_are_kept_where_they_are_asked_for():
    rendered = render({'controller': {'enabled': True, 'profiles': True}})
    assert_rights(rendered, 'nvdp-gpuslice-controller', 'The controller', 'The controller and SliceProfiles')
    assert rendered.only('CustomResourceDefinition') == yaml.safe_load((CHART / 'sliceprofiles.yaml').read_text())
    assert '--profiles=keep' in str(rendered.only('Deployment')) and '--profiles=off' in str(render(CONTROLLER).only('Deployment'))
    policy, = [one for one in rendered.all('ValidatingAdmissionPolicy') if one['metadata']['name'].endswith('-controller')]
    account, = [one for one in rendered.all('ServiceAccount') if one['metadata']['name'].endswith('-controller')]
    assert account['metadata']['name'] in policy['spec']['matchConditions'][0]['expression']
    job, = [one for one in rendered.all('Job', hooks=True) if 'controller' in one['metadata']['name']]
    pod = job['spec']['template']['spec']
    assert pod['initContainers'][0]['command'][-1] == f"deployments/{rendered.only('Deployment')['metadata']['name']}"
    assert pod['containers'][0]['command'][1:] == ['--profiles=leave', f"--lease={account['metadata']['name']}"]
    assert pod['serviceAccountName'] == account['metadata']['name'] and job['metadata']['annotations']['helm.sh/hook'] == 'pre-delete'
    for values in CONTROLLER, {'controller': {'profiles': True}}:
        rendered = render(values)
        assert 'karpenter.sh' not in str(rendered.all('ClusterRole')) + str(rendered.all('ValidatingAdmissionPolicy'))
        assert not rendered.all('CustomResourceDefinition')


def test_the_job_before_an_uninstallation():
    rendered = render({'imagePullSecrets': [{'name': 'pull'}]})
    job, = rendered.all('Job', hooks=True)
    for one in (one for kind in ('Job', 'Role', 'RoleBinding', 'ServiceAccount') for one in rendered.all(kind, hooks=True)):
        assert one['metadata']['annotations']['helm.sh/hook'] == 'pre-delete'
        assert 'hook-succeeded' in one['metadata']['annotations']['helm.sh/hook-delete-policy']
    role, = rendered.all('Role', hooks=True)
    assert role['rules'] == [{'apiGroups': ['apps'], 'resources': ['daemonsets'], 'resourceNames': ['nvdp-gpuslice'],
                              'verbs': ['get', 'delete']}]
    pod = job['spec']['template']['spec']
    assert pod['containers'][0]['command'] == ['/usr/bin/gpuslice-nodesync', '--retire', 'nvdp-gpuslice']
    assert pod['containers'][0]['image'] == rendered.agent['image'] and pod['imagePullSecrets'] == [{'name': 'pull'}]
    assert pod['tolerations'] == rendered.pod['tolerations'] and 'volumes' not in pod
    assert not render({'uninstall': {'enabled': False}}).all('Job', hooks=True)


def normalised(text):
    objects = [one for one in yaml.safe_load_all(text) if one]
    for one in objects:
        for label in ('helm.sh/chart', 'app.kubernetes.io/managed-by'):
            one['metadata'].get('labels', {}).pop(label, None)
    return objects


def test_the_manifest_is_the_charts_default_rendering():
    rendered = subprocess.check_output([ROOT / 'tools/helm', 'template', 'gpuslice', CHART, '--namespace', 'kube-system',
                                        '--no-hooks'], text=True)
    manifest = (ROOT / 'deploy/gpuslice.yml').read_text()
    assert normalised(manifest) == normalised(rendered)
    assert subprocess.check_output([ROOT / 'tools/manifest'], text=True) == manifest, 'run `make manifest`'
    assert 'helm' not in ''.join(line for line in manifest.splitlines() if not line.startswith('#')).lower()


SCC = {'default': {}, 'mig': {'migStrategy': 'mixed'}, 'privileged': {'compatWithCPUManager': True}, 'host': {'hostNetwork': True},
       'cdi': {'deviceListStrategy': 'cdi-cri'}, 'everything': EVERYTHING,
       'volumes': {'extraVolumes': [{'name': 'a', 'secret': {'secretName': 'a'}}]}}


def pods_of(rendered):
    """[(the constraints, the pods of their accounts)]: of the agents with the Job that ends them, and of the arbiter with the pod that serves its metrics."""
    every = [one['spec']['template']['spec'] for one in [*rendered.all('DaemonSet'), *rendered.all('Job', hooks=True)]]
    found = []
    for scc in rendered.all('SecurityContextConstraints'):
        found.append((scc, [pod for pod in every if f"system:serviceaccount:kube-system:{pod['serviceAccountName']}" in scc['users']]))
    assert sum(len(pods) for _, pods in found) == len(every)
    return found


@pytest.mark.parametrize('which', ['agent', 'arbiter'])
@pytest.mark.parametrize('values', SCC.values(), ids=SCC)
def test_openshift_lets_the_pods_run(values, which):
    """The chart's constraints admit what is rendered, checked as OpenShift's admission does, and nothing beyond it."""
    scc, pods = pods_of(render(values, '--api-versions', 'security.openshift.io/v1'))[which == 'arbiter']
    contexts = [{**pod.get('securityContext', {}), **one.get('securityContext', {})} for pod in pods for one in pod['containers']]
    assert set(scc['users']) == {f"system:serviceaccount:kube-system:{pod['serviceAccountName']}" for pod in pods}
    kinds = {kind for pod in pods for one in pod.get('volumes', []) for kind in one if kind != 'name'}
    assert kinds <= set(scc['volumes'])
    added = {word for one in contexts for word in one.get('capabilities', {}).get('add', [])}
    assert added == set(scc['allowedCapabilities'])
    assert scc['allowPrivilegedContainer'] == any(one.get('privileged') for one in contexts)
    assert scc['allowPrivilegeEscalation'] or all(one.get('allowPrivilegeEscalation') is False for one in contexts)
    assert not scc['readOnlyRootFilesystem'] or all(one.get('readOnlyRootFilesystem') for one in contexts)
    assert scc['seccompProfiles'] == ['*'] or all(one['seccompProfile']['type'] == 'RuntimeDefault' for one in contexts)
    for word in ('Network', 'PID', 'IPC'):
        assert scc[f'allowHost{word}'] == any(pod.get(f'host{word}', False) for pod in pods)
    assert scc['allowHostPID'] == (which == 'arbiter')
    # Containers with limits connect to the arbiter, and may to this type.
    assert all(pod['securityContext'] == {'seLinuxOptions': {'type': 'spc_t'}} for pod in pods if 'volumes' in pod)


@pytest.mark.parametrize('values,apis,there', [
    ({}, [], False), ({'openshift': {'scc': False}}, ['security.openshift.io/v1'], False), ({'openshift': {'scc': 'true'}}, [], True),
    ({'openshift': {'scc': None}}, ['security.openshift.io/v1'], True),
    ({'devicePlugin': {'enabled': False}}, ['security.openshift.io/v1'], False)])
def test_constraints_only_where_there_is_such_an_api(values, apis, there):
    rendered = render(values, *[word for one in apis for word in ('--api-versions', one)])
    assert bool(rendered.all('SecurityContextConstraints')) == there
    if not there:
        assert not [one for one in rendered.all('DaemonSet') if 'securityContext' in one['spec']['template']['spec']]


def test_the_arbiter_alone_has_its_constraints():
    values = {'devicePlugin': {'enabled': False}, 'arbiter': {'enabled': True, 'onViolation': 'kill'}}
    scc = render(values, '--api-versions', 'security.openshift.io/v1').only('SecurityContextConstraints')
    assert scc['users'] == ['system:serviceaccount:kube-system:nvdp-gpuslice-arbiter'] and scc['allowedCapabilities'] == ['KILL']
    assert [one['metadata']['name'] for one in render({'arbiter': {'enabled': False}, 'openshift': {'scc': True}}).all('SecurityContextConstraints')] == ['nvdp-gpuslice']


def test_an_own_selinux_type():
    own = {'podSecurityContext': {'seLinuxOptions': {'type': 'container_device_plugin_t'}, 'fsGroup': 3}}
    for words in ((), ('--api-versions', 'security.openshift.io/v1')):
        pods = [one['spec']['template']['spec'] for one in render(own, *words).all('DaemonSet')]
        assert len(pods) == 3 and all(pod['securityContext'] == own['podSecurityContext'] for pod in pods)


def kustomized(folder):
    out = subprocess.check_output([ROOT / 'tools/kubectl', 'kustomize', folder], text=True)
    return [one for one in yaml.safe_load_all(out) if one]


def test_one_step_with_an_image_of_ones_own(tmp_path):
    """`kubectl apply -k deploy/`: the manifest with the configuration of the guide; one line names the image of all containers."""
    shutil.copytree(ROOT / 'deploy', tmp_path / 'deploy')
    page = tmp_path / 'deploy/kustomization.yaml'
    page.write_text(page.read_text().replace('newName: gpuslice/gpuslice', 'newName: registry.example:5000/team/gpuslice'))
    objects = kustomized(tmp_path / 'deploy')
    manifest = [one for one in yaml.safe_load_all((ROOT / 'deploy/gpuslice.yml').read_text()) if one]

    def names(some):
        return {(one['kind'], one['metadata']['name']) for one in some}
    assert names(objects) == names(manifest) | {('ConfigMap', 'nvidia-device-plugin')}
    pod, *others = [one['spec']['template']['spec'] for one in sorted(objects, key=lambda one: one['metadata']['name']) if one['kind'] == 'DaemonSet']
    version = yaml.safe_load((CHART / 'Chart.yaml').read_text())['appVersion']
    assert {one['image'] for each in (pod, *others) for one in each['containers']} == {f'registry.example:5000/team/gpuslice:{version}'}
    agent = pod['containers'][0]
    assert {'name': 'CONFIG_FILE_SRCDIR', 'value': '/available-configs'} in agent['env']
    assert {'name': 'configs', 'configMap': {'name': 'nvidia-device-plugin'}} in pod['volumes']
    # The rest is as in the manifest.
    plain, = [one['spec']['template']['spec'] for one in manifest if (one['kind'], one['metadata']['name']) == ('DaemonSet', 'gpuslice')]
    assert [one for one in agent['env'] if one in plain['containers'][0]['env']] == plain['containers'][0]['env']
    assert [one['name'] for one in pod['containers']] == [one['name'] for one in plain['containers']]


def test_the_version_is_the_projects():
    version = re.search(r"version: '([^']+)'", (ROOT / 'meson.build').read_text())[1]
    chart = yaml.safe_load((CHART / 'Chart.yaml').read_text())
    assert chart['version'] == chart['appVersion'] == version
