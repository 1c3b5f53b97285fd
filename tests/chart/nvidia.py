# SPDX-License-Identifier: Apache-2.0
"""The words of NVIDIA's chart nvidia-device-plugin with their defaults, release by release. What a release
added is added here to those before; what it dropped stays, since files outlive releases."""
import copy

AFFINITY = {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': {'nodeSelectorTerms': [
    {'matchExpressions': [{'key': 'feature.node.kubernetes.io/pci-10de.present', 'operator': 'In', 'values': ['true']}]},
    {'matchExpressions': [{'key': 'nvidia.com/gpu.present', 'operator': 'In', 'values': ['true']}]}]}}}

NFD = {'nameOverride': 'node-feature-discovery',
       'master': {'extraLabelNs': ['nvidia.com'], 'serviceAccount': {'name': 'node-feature-discovery'}},
       'worker': {'tolerations': [{'key': 'nvidia.com/gpu', 'operator': 'Equal', 'value': 'present', 'effect': 'NoSchedule'}],
                  'config': {'sources': {'pci': {'deviceClassWhitelist': ['02', '0300'], 'deviceLabelFields': ['vendor']}}}}}

STEPS = {
    '0.14': {
        'config': {'name': '', 'map': {}, 'default': '', 'fallbackStrategies': ['named', 'single']},
        'legacyDaemonsetAPI': None, 'compatWithCPUManager': None, 'migStrategy': None, 'failOnInitError': None,
        'deviceListStrategy': None, 'deviceIDStrategy': None, 'nvidiaDriverRoot': None, 'gdsEnabled': None,
        'mofedEnabled': None, 'nameOverride': '', 'fullnameOverride': '', 'namespaceOverride': '',
        'selectorLabelsOverride': {}, 'allowDefaultNamespace': False, 'imagePullSecrets': [],
        'image': {'repository': 'registry.example/nvidia/k8s-device-plugin', 'pullPolicy': 'IfNotPresent', 'tag': ''},
        'updateStrategy': {'type': 'RollingUpdate'}, 'podAnnotations': {}, 'podSecurityContext': {},
        'securityContext': {}, 'resources': {}, 'nodeSelector': {}, 'affinity': {},
        'tolerations': [{'key': 'CriticalAddonsOnly', 'operator': 'Exists'},
                        {'key': 'nvidia.com/gpu', 'operator': 'Exists', 'effect': 'NoSchedule'}],
        'priorityClassName': 'system-node-critical', 'runtimeClassName': None, 'nfd': NFD,
        'gfd': {'enabled': False, 'nameOverride': 'gpu-feature-discovery', 'namespaceOverride': '',
                # words of its subchart of that time
                'fullnameOverride': '', 'selectorLabelsOverride': {}, 'noTimestamp': None, 'sleepInterval': None,
                'imagePullSecrets': [], 'image': {'repository': 'registry.example/nvidia/gpu-feature-discovery', 'tag': ''},
                'podAnnotations': {}, 'podSecurityContext': {}, 'resources': {}, 'affinity': AFFINITY, 'nodeSelector': {}},
    },
    '0.15': {
        'deviceDiscoveryStrategy': None, 'devicePlugin': {'enabled': True}, 'affinity': AFFINITY,
        'gfd': {'securityContext': {'privileged': True}}, 'nfd': {'enableNodeFeatureApi': False},
        'mps': {'root': '/run/nvidia/mps'}, 'cdi': {'nvidiaHookPath': None}},
    '0.17': {'mps': {'enableHostPID': True}},
    '0.18': {'gdrcopyEnabled': None, 'cdi': {'featureFlags': None}},
    '0.19': {'nvidiaDevRoot': None, 'nvidiaDriverCapabilities': None, 'logVerbosity': None,
             'configManager': {'resources': None}, 'devicePlugin': {'resources': None, 'enableHostNetwork': None},
             'gfd': {'resources': None, 'enableHostNetwork': None}, 'mps': {'resources': None, 'enableHostNetwork': None}},
    '0.20': {'componentSelectorLabels': {'enabled': False},
             'devicePlugin': {'containers': {'main': {'env': [
                 {'name': 'NVIDIA_VISIBLE_DEVICES', 'value': 'all'},
                 {'name': 'NVIDIA_DRIVER_CAPABILITIES', 'value': 'compute,utility'}]}}}},
}


def merge(into, what):
    for key, value in what.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)
    return into


def releases():
    values, every = {}, {}
    for release, step in STEPS.items():
        every[release] = copy.deepcopy(merge(values, step))
    return every


RELEASES = releases()
