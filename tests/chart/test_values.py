# SPDX-License-Identifier: Apache-2.0
"""Values files written for NVIDIA's chart: each word is honoured, or named and passed over; others are errors."""
import json
import os
import re
import subprocess

import pytest
import yaml

from conftest import AGENT, CHART, ROOT, helm, notes, refusal, render
from nvidia import AFFINITY, RELEASES

GUIDE = 'version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}\n'
MIXED = 'version: v1\nflags: {migStrategy: mixed}\n'
LIST = 'version: v1\nflags: {plugin: {deviceListStrategy: [volume-mounts, cdi-cri]}}\n'

# What people write, each with what it should come to: environment of the agent, words that the notes name.
FILES = {
    'empty': ({}, {}, []),
    'guide': ({'config': {'name': 'nvidia-device-plugin'}},
              {'CONFIG_FILE_SRCDIR': '/available-configs', 'FALLBACK_STRATEGIES': 'named,single'}, []),
    'inline': ({'config': {'map': {'default': GUIDE, 'mig': MIXED}, 'default': 'default'}},
               {'CONFIG_FILE_SRCDIR': '/available-configs', 'DEFAULT_CONFIG': 'default'}, []),
    'flags': ({'migStrategy': 'single', 'failOnInitError': False, 'compatWithCPUManager': True,
               'deviceListStrategy': 'volume-mounts', 'deviceIDStrategy': 'index', 'gdsEnabled': True,
               'mofedEnabled': True, 'gdrcopyEnabled': True, 'deviceDiscoveryStrategy': 'nvml'},
              {'MIG_STRATEGY': 'single', 'FAIL_ON_INIT_ERROR': 'false', 'PASS_DEVICE_SPECS': 'true',
               'DEVICE_LIST_STRATEGY': 'volume-mounts', 'DEVICE_ID_STRATEGY': 'index', 'GDS_ENABLED': 'true',
               'MOFED_ENABLED': 'true', 'GDRCOPY_ENABLED': 'true', 'DEVICE_DISCOVERY_STRATEGY': 'nvml'}, []),
    'strategies as a list': ({'deviceListStrategy': ['envvar', 'cdi-cri']},
                             {'DEVICE_LIST_STRATEGY': 'envvar,cdi-cri'}, []),
    'strategies joined': ({'deviceListStrategy': 'envvar,cdi-annotations',
                           'cdi': {'nvidiaHookPath': '/usr/bin/nvidia-cdi-hook'}},
                          {'DEVICE_LIST_STRATEGY': 'envvar,cdi-annotations',
                           'NVIDIA_CDI_HOOK_PATH': '/usr/bin/nvidia-cdi-hook'}, []),
    'nulls': ({'legacyDaemonsetAPI': None, 'migStrategy': None, 'failOnInitError': None, 'resources': None,
               'tolerations': None, 'config': None, 'image': None, 'gfd': None, 'nfd': None, 'updateStrategy': None}, {}, []),
    'old': ({'legacyDaemonsetAPI': True, 'selectorLabelsOverride': {'name': 'nvidia-device-plugin-ds'},
             'nodeSelector': {'nvidia.com/gpu.present': 'true'}}, {}, ['legacyDaemonsetAPI']),
    'driver container': ({'nvidiaDriverRoot': '/run/nvidia/driver', 'runtimeClassName': 'nvidia'},
                         {'NVIDIA_DRIVER_ROOT': '/run/nvidia/driver'}, []),
    'image': ({'image': {'repository': 'registry.example/nvidia/k8s-device-plugin', 'tag': 'v0.17.1'}}, {},
              ['image (', 'v0.17.1']),
    'tag alone': ({'image': {'tag': 'v0.14.1'}}, {}, ['image (', 'v0.14.1']),
    'labels': ({'gfd': {'enabled': True, 'noTimestamp': True, 'sleepInterval': '5m'}},
               {'GFD_NO_TIMESTAMP': 'true', 'GFD_SLEEP_INTERVAL': '5m'}, ['gfd.{enabled}']),
    'seconds': ({'gfd': {'sleepInterval': 90}}, {'GFD_SLEEP_INTERVAL': '90s'}, []),
    'discovery': ({'nfd': {'enabled': False, 'master': {'any': ['thing']}}}, {}, ['nfd:']),
    'mps': ({'mps': {'root': '/srv/mps', 'enableHostPID': True}}, {'MPS_ROOT': '/srv/mps'}, ['mps.{enableHostPID}']),
    'eks': ({'tolerations': [{'key': 'team', 'operator': 'Equal', 'value': 'ml', 'effect': 'NoSchedule'}],
             'nodeSelector': {'eks.amazonaws.com/nodegroup': 'gpu'},
             'resources': {'limits': {'memory': '512Mi'}}, 'priorityClassName': 'high'}, {}, []),
    'newest': ({'componentSelectorLabels': {'enabled': True}, 'configManager': {'resources': {'limits': {'cpu': 1}}},
                'logVerbosity': 5, 'nvidiaDevRoot': '/dev-root', 'nvidiaDriverCapabilities': 'compute,utility',
                'cdi': {'featureFlags': 'disable-nvsandbox-utils'},
                'devicePlugin': {'enableHostNetwork': True, 'containers': {'main': {'env': [
                    {'name': 'DP_DISABLE_HEALTHCHECKS', 'value': '79'}]}}}},
               {'NVIDIA_DEV_ROOT': '/dev-root', 'NVIDIA_DRIVER_CAPABILITIES': 'compute,utility',
                'DP_DISABLE_HEALTHCHECKS': '79'},
               ['componentSelectorLabels', 'configManager', 'logVerbosity', 'cdi.featureFlags']),
}
STANDARD = {'NODE_NAME': 'spec.nodeName', 'NAMESPACE': 'metadata.namespace', 'POD_NAME': 'metadata.name',
            'NVIDIA_VISIBLE_DEVICES': 'all', 'NVIDIA_DRIVER_CAPABILITIES': 'utility', 'GPUSLICE_CHANNEL_DIR': '/run/gpuslice-channel',
            'GPUSLICE_ARBITER_DIR': '/run/gpuslice/arbiter', 'GPUSLICE_DEFAULT_MEMORY': 'observe'}  # no cluster says that it is a new one


def asked_of_agent(environment):
    """What the agent's own parser finds wrong in this environment."""
    if not AGENT.exists():
        pytest.skip(f'{AGENT} is not built')
    kept = {key: value for key, value in os.environ.items() if 'SAN_OPTIONS' in key}
    done = subprocess.run([AGENT, '--version'], env={**kept, **environment}, text=True, capture_output=True)
    assert done.returncode == 0
    return [line for line in done.stderr.splitlines() if 'level=info' not in line and '"level":"info"' not in line]


def test_lint():
    status, out, err = helm('lint', CHART, '--strict', '--namespace', 'kube-system')
    assert status == 0, out + err


@pytest.mark.parametrize('release', RELEASES)
def test_default_values_of_nvidias_releases(release):
    rendered = render(RELEASES[release])
    assert rendered.agent['image'] == 'gpuslice/gpuslice:0.1.0'
    assert 'MIG_STRATEGY' not in rendered.environment
    said = notes(RELEASES[release])
    assert 'nfd:' in said and 'image (' in said and 'gfd.{' in said


@pytest.mark.parametrize('release', RELEASES)
def test_every_null_of_a_release_is_as_if_unset(release):
    """What a release leaves to null may be left out, one and all."""
    def without_nulls(value):
        return {key: without_nulls(one) for key, one in value.items() if one is not None} if isinstance(value, dict) else value
    assert render(RELEASES[release]).objects == render(without_nulls(RELEASES[release])).objects


@pytest.mark.parametrize('name', FILES)
def test_a_file_comes_to_its_environment(name):
    values, expected, _ = FILES[name]
    rendered = render(values)
    optional = {'FALLBACK_STRATEGIES', 'NVIDIA_MIG_MONITOR_DEVICES', 'GPUSLICE_CONTROLLER_LEASE'}
    found = rendered.environment
    assert {**STANDARD, **expected} == {key: value for key, value in found.items()
                                        if key not in optional or key in expected}
    assert asked_of_agent({**found, 'NODE_NAME': 'n', 'NAMESPACE': 'kube-system', 'POD_NAME': 'p'}) == []


@pytest.mark.parametrize('name', FILES)
def test_the_notes_name_what_is_passed_over_and_no_more(name):
    values, _, named = FILES[name]
    said = notes(values)
    assert ('Ignored values' in said) == bool(named)
    for word in named:
        assert word in said.split('Ignored values')[1]
    if named:
        assert said.split('Ignored values')[1].split('\n\n')[0].strip().count('\n') == len([w for w in named if w[0] != 'v'])


@pytest.mark.parametrize('word', sorted(yaml.safe_load((CHART / 'values.yaml').read_text())))
def test_null_means_not_written(word):
    assert render({word: None}).objects == render().objects


def nested(value, path=()):
    for key, one in value.items():
        yield from nested(one, (*path, key)) if isinstance(one, dict) and one else [(*path, key)]


@pytest.mark.parametrize('path', [path for path in nested(yaml.safe_load((CHART / 'values.yaml').read_text())) if len(path) > 1],
                         ids='.'.join)
def test_nested_null_means_not_written(path):
    values = None
    for key in reversed(path):
        values = {key: values}
    assert render(values).objects == render().objects


@pytest.mark.parametrize('values,where,word', [
    ({'migStrategie': 'none'}, "''", 'migStrategie'), ({'config': {'nmae': 'x'}}, '/config', 'nmae'),
    ({'image': {'repo': 'x'}}, '/image', 'repo'), ({'gfd': {'enable': True}}, '/gfd', 'enable'),
    ({'mps': {'rot': '/x'}}, '/mps', 'rot'), ({'cdi': {'hookPath': '/x'}}, '/cdi', 'hookPath'),
    ({'devicePlugin': {'enable': True}}, '/devicePlugin', 'enable'), ({'podMonitor': {'enable': True}}, '/podMonitor', 'enable'),
    ({'updateStrategy': {'kind': 'OnDelete'}}, '/updateStrategy', 'kind'),
    ({'tolerations': [{'kye': 'a'}]}, '/tolerations/0', 'kye'), ({'extraEnv': [{'name': 'A', 'val': 'b'}]}, '/extraEnv/0', 'val'),
    ({'admissionPolicy': {'off': True}}, '/admissionPolicy', 'off'), ({'uninstall': {'job': True}}, '/uninstall', 'job'),
    ({'http': {'enabled': True}}, '/http', 'enabled'), ({'nodesync': {'resource': {}}}, '/nodesync', 'resource'),
])
def test_an_unknown_word_is_named(values, where, word):
    said = refusal(values)
    assert f"additional properties '{word}' not allowed" in said and where in said


SCHEMA = json.loads((CHART / 'values.schema.json').read_text())['properties']
# Words that the schema lets pass only to be refused with what to write in their place.
FOREIGN = sorted(word for word, rule in SCHEMA.items() if rule is True)


@pytest.mark.parametrize('word', FOREIGN)
def test_what_people_write_is_refused_with_a_way_out(word):
    """Each value that the sentence names is one of the chart's, each page is there; and empty it asks for nothing."""
    said = refusal({word: ['--fail-on-init-error=false']} if word == 'args' else {word: {'a': 'b'}})
    assert f'\n{word}: ' in said and 'additional properties' not in said
    named = {one.split('.')[0] for one in re.findall(r'\b(extra[A-Z]\w+|config\.\w+|pod[A-Z]\w+|\w+Name)\b', said.split(f'\n{word}: ')[1])}
    assert named <= set(SCHEMA) - set(FOREIGN)
    assert all((ROOT / page).exists() for page in re.findall(r'doc/[\w/.-]+\.md', said))
    assert named or 'leave it out' in said or 'doc/' in said or word == 'args'
    assert render({word: {}}).objects == render({word: None}).objects == render().objects


def flags_with_a_value():
    """(flag, its variable) of the agent where a value of the chart sets that variable."""
    text = subprocess.run([AGENT, '--help'], check=True, capture_output=True, text=True).stdout
    env = (CHART / 'templates/_helpers.tpl').read_text()
    for block in re.split(r'\n(?=  -)', text):
        flag, variables = re.match(r'  --([\w-]+)', block), re.search(r'\[([A-Z_, ]+)\]', block)
        for name in re.findall(r'[A-Z_]+', variables[1]) if flag and variables else []:
            if f'(list "{name}" $' in env:
                yield flag[1], name


@pytest.mark.parametrize('flag,variable', sorted(flags_with_a_value()))
def test_arguments_name_the_value_that_stands_for_them(flag, variable):
    sample = {'MIG_STRATEGY': 'mixed', 'DEVICE_ID_STRATEGY': 'index', 'DEVICE_DISCOVERY_STRATEGY': 'nvml', 'GPUSLICE_LOG_LEVEL': 'debug',
              'GPUSLICE_LOG_FORMAT': 'json', 'GFD_SLEEP_INTERVAL': '7s', 'NVIDIA_DRIVER_ROOT': '/x', 'NVIDIA_DEV_ROOT': '/x',
              'NVIDIA_CDI_HOOK_PATH': '/x', 'MPS_ROOT': '/x'}.get(variable, 'true')
    for args in ([f'--{flag}={sample}'], f'--{flag} {sample}', [f'--{flag}', sample]):
        lines = refusal({'args': args}).split('Write:\n')[1]
        value = re.match(r'  ([\w.]+): (.*)', lines)
        assert value and value[2] == sample
        assert render({}, '--set', f'{value[1]}={sample}').environment[variable] == sample


def test_other_arguments_are_kept():
    said = refusal({'args': ['--fail-on-init-error=false', '--cdi-dir=/x']})
    assert 'failOnInitError: false' in said and 'extraArgs: ["--cdi-dir=/x"]' in said


@pytest.mark.parametrize('values,sentence', [
    ({'migStrategy': 'some'}, "one of 'none', 'single', 'mixed'"), ({'failOnInitError': 'yes'}, 'want null or boolean'),
    ({'deviceListStrategy': 'envar'}, 'does not match pattern'), ({'deviceListStrategy': ['envar']}, "one of 'envvar'"),
    ({'deviceIDStrategy': 'name'}, "'uuid', 'index'"), ({'httpAddress': '19400'}, 'does not match pattern'),
    ({'readinessPath': '/metrics'}, "'/healthz', '/readyz'"), ({'config': {'map': {'a': 3}}}, '/config/map/a'),
])
def test_a_wrong_value_is_named(values, sentence):
    assert sentence in refusal(values)


DURATIONS = ['', None, '90', 90, '5m', '1h30m', '1.5s', '+7s', '.5h', '250ms', 'infinite'], ['nonsense', '-5s', -5, '5 m', '5x', 's', 'infinitely']
PATHS = ['', None, '/', '/run/nvidia/driver', '/srv/mps/'], ['run/nvidia', './x', 'x', ' /x']
FORMATS = {
    'gfd.sleepInterval': DURATIONS, 'sleepInterval': DURATIONS,
    'nvidiaDriverRoot': PATHS, 'nvidiaDevRoot': PATHS, 'mps.root': PATHS, 'cdi.nvidiaHookPath': PATHS,
    'kubeletDir': ([None, '/var/lib/k0s/kubelet'], ['', 'var/lib/kubelet']),
    'podMonitor.interval': (['', None, '30s', '1m30s', '500ms'], ['half a minute', '30', '1.5m', '-30s']),
    'httpAddress': (['', None, ':1', ':9', ':65535', '0.0.0.0:19400', '[::]:9500', 'localhost:80'],
                    ['9500', ':', ':0', ':65536', ':99999', ':08', '::9500', '[::9500', ':95 00', 'http://x:80']),
}


@pytest.mark.parametrize('path', FORMATS)
def test_a_value_with_a_format(path):
    def written(value):
        for key in reversed(path.split('.')):
            value = {key: value}
        return value
    good, bad = FORMATS[path]
    for value in good:
        render(written(value))
    for value in bad:
        said = refusal(written(value))
        assert path.replace('.', '/') in said and re.search('does not match pattern|minimum', said), value


@pytest.mark.parametrize('values,words', [
    ({'config': {'name': 'a', 'map': {'x': GUIDE}}}, ['config.name ("a")', 'config.map']),
    ({'config': {'map': {'a': GUIDE, 'b': MIXED}}}, ['(a, b)', 'config.default']),
    ({'config': {'map': {'a': GUIDE}, 'default': 'b'}}, ['config.default is "b"', 'It has: a.']),
    ({'config': {'default': 'b'}}, ['config.default is "b"', 'config.name or config.map']),
    ({'config': {'name': 'a', 'fallbackStrategies': ['first']}}, ['"first"', 'named, single, empty']),
    ({'podMonitor': {'enabled': True}, 'httpAddress': ''}, ['podMonitor.enabled', 'httpAddress']),
])
def test_what_no_schema_can_say(values, words):
    said = refusal(values)
    for word in words:
        assert word in said


def test_the_default_namespace():
    said = refusal(namespace='default')
    assert '--namespace' in said and 'allowDefaultNamespace' in said
    assert render({'allowDefaultNamespace': True}, namespace='default').daemonset
    assert render({'namespaceOverride': 'gpus'}, namespace='default').daemonset['metadata']['namespace'] == 'gpus'


@pytest.mark.parametrize('configs', [{'map': {'only': GUIDE}}, {'map': {'default': GUIDE, 'b': MIXED}},
                                     {'map': {'a': GUIDE, 'b': MIXED}, 'fallbackStrategies': ['empty']}])
def test_a_choice_that_falls_back(configs):
    data = render({'config': configs}).only('ConfigMap')['data']
    assert {key: yaml.safe_load(value) for key, value in data.items()} == {
        key: yaml.safe_load(value) for key, value in configs['map'].items()}


def test_the_guides_command_with_the_example():
    example = ROOT / 'deploy/examples/nvdp-values.yaml'
    status, out, err = helm('install', 'nvdp', CHART, '--namespace', 'kube-system', '-f', example,
                            '--set', 'config.name=nvidia-device-plugin', '--dry-run=client')
    assert status == 0, err
    assert 'nvidia/k8s-device-plugin' in out.split('Ignored values')[1]
    rendered = render(yaml.safe_load(example.read_text()), '--set', 'config.name=nvidia-device-plugin')
    assert rendered.mounts['/available-configs'] == ('nvidia-device-plugin', True)


def test_a_copy_of_our_image_elsewhere():
    for image, expected in (({'repository': 'mirror.example/gpuslice', 'tag': 'v2.0.0'}, 'mirror.example/gpuslice:v2.0.0'),
                            ({'tag': '0.2.0'}, 'gpuslice/gpuslice:0.2.0'), ({'tag': 20260101}, 'gpuslice/gpuslice:20260101'),
                            ({'repository': 'm.example/g@sha256:00'}, 'm.example/g@sha256:00')):
        assert render({'image': image}).agent['image'] == expected
        assert 'image (' not in notes({'image': image})


def test_the_notes_say_how_to_see_slices_and_how_to_go():
    said = notes({'config': {'name': 'c'}})
    assert 'kubectl get nodes' in said and 'GPUSlicesReady' in said
    assert 'helm uninstall nvdp --namespace kube-system' in said
    assert 'ConfigMap c' in said and 'sysAdmin' in said
    assert 'each GPU is offered whole' in notes()


MPS = 'sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 10}]}}\n'
COOPERATIVE = 'gpuslice: {isolation: cooperative, slices: [{name: half, share: 50%}]}\n'


@pytest.mark.parametrize('mps', [MPS, COOPERATIVE, MPS + COOPERATIVE])
@pytest.mark.parametrize('flags,root', [('', '/run/nvidia/mps'), ('flags: {mpsRoot: /srv/mps/}\n', '/srv/mps')])
def test_mps_in_a_configuration_is_warned_of_and_its_daemon_looked_for(mps, flags, root):
    config = flags + mps
    values = {'config': {'map': {'default': config, 'other': 'version: v1\n'}}}
    said = ' '.join(notes(values).split())
    assert 'config.map.default shares GPUs by MPS' in said and 'starts no MPS control daemon' in said
    assert f'{root}/RESOURCE/pipe/control' in said
    assert {'name': 'mps-0', 'mountPath': root, 'readOnly': True} in render(values).agent['volumeMounts']
    values['mps'] = {'root': '/elsewhere'}
    assert {'name': 'mps-0', 'mountPath': '/elsewhere', 'readOnly': True} in render(values).agent['volumeMounts']


def test_mps_is_not_spoken_of_without_cause():
    assert 'MPS' not in notes({'config': {'map': {'default': 'sharing: {mps: null}\n', 'broken': 'sharing: [mps', 'none': 'gpuslice: [a]'}}})
    assert 'MPS' not in notes({'config': {'map': {'default': COOPERATIVE.replace('cooperative', 'isolated'),
                                                  'none': 'gpuslice: {isolation: cooperative, slices: []}'}}})
    assert 'starts no MPS control daemon' in notes({'config': {'name': 'any'}, 'mps': {'root': '/run/nvidia/mps'}})


def test_the_notes_warn_of_labels_that_nobody_writes():
    assert 'labels set by node-feature-discovery' in notes({'affinity': AFFINITY})
    assert 'labels set by node-feature-discovery' not in notes()


def test_the_switches_of_nvidias_two_daemonsets():
    off = {'devicePlugin': {'enabled': False}}
    assert not render(off).all('DaemonSet') and 'no agent runs' in notes(off)
    labels = {**off, 'gfd': {'enabled': True}}
    assert render(labels).environment['KUBELET_SOCKET'] == '' and 'no GPU is offered' in notes(labels)
    assert asked_of_agent({'KUBELET_SOCKET': ''}) == []
    assert asked_of_agent({'MIG_STRATEGY': 'some'}), 'the check itself finds nothing'
