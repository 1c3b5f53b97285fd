# SPDX-License-Identifier: Apache-2.0
"""doc/guide/runbook.md and the chart's alerts, compared with each other and with what the code reports."""
import re

import pytest
import yaml

from conftest import CHART, ROOT, refusal, render

PAGE = (ROOT / 'doc/guide/runbook.md').read_text()
RULES = [rule for group in yaml.safe_load((CHART / 'alerts.yaml').read_text())['groups'] for rule in group['rules']]
ALERTS = {rule['alert']: rule for rule in RULES}


def section(title):
    return PAGE.split(f'\n## {title}\n')[1].split('\n## ')[0]


def first_cells(title):
    return set(re.findall(r'^\| `([^`]+)` \|', section(title), re.M))


def sources(*folders):
    files = [path for folder in folders for path in (ROOT / folder).glob('*.[ch]') if not path.name.startswith('test-')]
    assert files
    return {path: path.read_text() for path in files}


# CamelCase texts that are no reason.
# The condition itself; a verdict without a condition; a method of systemd's; a condition of Karpenter's; kinds; words of the scheduler; a
# class of pods.
NO_REASON = {'GPUSlicesReady', 'NoGPU', 'StartUnit', 'ValidationSucceeded', 'DaemonSet', 'NodePool', 'NodePools', 'NodeOverlays', 'NodeClaims',
             'NodeClaim', 'NodeFeature', 'SliceProfiles', 'ResourceSlices', 'DeleteOptions', 'PodScheduled', 'NoSchedule', 'PreferNoSchedule', 'NotIn',
             'DoesNotExist', 'ConfigMap',
             'BestEffort'}


def reasons():
    """Every CamelCase text of the rooms that publish conditions and events."""
    found = {word for text in sources('src/node', 'src/nodesync', 'src/controller', 'src/arbiter').values() for word in re.findall(r'"([A-Z][A-Za-z]+)"', text)
             if len(re.findall('[A-Z]', word)) > 1 and re.search('[a-z]', word)}
    return found - NO_REASON


def metrics():
    return {name for text in sources('src/node', 'src/http', 'src/controller', 'src/arbiter').values() for name in re.findall(r'"(gpuslice_[a-z0-9_]+)"', text)}


def test_every_reason_has_its_row():
    assert {'GPUUnhealthy', 'ConfigurationRefused', 'DriverNotAvailable'} <= reasons()
    assert reasons() == first_cells('Reasons')


def test_every_metric_has_its_row():
    assert {'gpuslice_gpu_healthy', 'gpuslice_grants_writable', 'gpuslice_allocations_total'} <= metrics()
    assert metrics() == first_cells('Metrics')


def test_a_row_names_alerts_that_look_at_the_metric():
    """And a metric without one says why."""
    for line in section('Metrics').splitlines():
        row = re.match(r'\| `(gpuslice_\w+)` \| (.*) \|', line)
        if not row:
            continue
        metric, told = row.groups()
        watching = {alert for alert, rule in ALERTS.items() if re.search(rf'\b{metric}\b', rule['expr'])}
        if told.startswith('no alert'):
            assert not watching, metric
        else:
            assert set(re.findall(r'\bGPUSlice\w+', told)) <= watching and watching, metric


def test_every_alert_is_about_metrics_that_exist():
    for alert, rule in ALERTS.items():
        named = set(re.findall(r'\bgpuslice_\w+', rule['expr']))
        assert named and named <= metrics(), alert


@pytest.mark.parametrize('alert', ALERTS)
def test_an_alert_has_cause_command_and_remedy(alert):
    rule, text = ALERTS[alert], section('Alerts').split(f'\n### {alert}\n')[1].split('\n### ')[0]
    cause, command, remedy = (re.search(rf'^\*{word}\*: (.+)', text, re.M)[1] for word in ('Cause', 'Command', 'Remedy'))
    assert len(cause) > 20 and '`' in command and remedy
    assert rule['labels']['severity'] in ('critical', 'warning', 'info') and rule['annotations']['summary']
    assert all(label in ('node', 'resource', 'gpu', 'model', 'reason') for label in re.findall(r'\$labels\.(\w+)', rule['annotations']['summary']))


def test_no_section_without_its_alert():
    assert re.findall(r'^### (\S+)', section('Alerts'), re.M) == list(ALERTS) and len(RULES) == len(ALERTS)


def test_links_within_the_page():
    anchors = {re.sub(r'[^\w-]', '', title.lower().replace(' ', '-')) for title in re.findall(r'^#+ (.+)$', PAGE, re.M)}
    assert set(re.findall(r'\]\(#([\w-]+)\)', PAGE)) <= anchors


def test_the_rule_of_the_chart():
    assert not render().all('PrometheusRule')
    values = {'podMonitor': {'enabled': True}, 'prometheusRule': {'enabled': 'true', 'labels': {'release': 'p'}, 'runbook': 'https://example.com/r'}}
    rule = render(values).only('PrometheusRule')
    assert rule['metadata']['labels']['release'] == 'p'
    rendered = [one for group in rule['spec']['groups'] for one in group['rules']]
    assert [(one['alert'], one['expr'], one.get('for')) for one in rendered] == [(one['alert'], one['expr'], one.get('for')) for one in RULES]
    for one in rendered:
        assert one['annotations']['runbook_url'] == f"https://example.com/r#{one['alert'].lower()}"
    # Every series, of agents and arbiters, has the label that each summary names.
    monitors = render(values).all('PodMonitor')
    assert len(monitors) == 2
    for endpoint, in (one['spec']['podMetricsEndpoints'] for one in monitors):
        assert {'sourceLabels': ['__meta_kubernetes_pod_node_name'], 'targetLabel': 'node'} in endpoint['relabelings']


@pytest.mark.parametrize('written', [{}, {'runbook': None}, {'runbook': ''}])
def test_no_link_to_a_runbook_without_its_url(written):
    rule = render({'podMonitor': {'enabled': True}, 'prometheusRule': {'enabled': True, **written}}).only('PrometheusRule')
    assert not any('runbook_url' in one['annotations'] for group in rule['spec']['groups'] for one in group['rules'])


@pytest.mark.parametrize('values', [{}, {'podMonitor': {'enabled': True}, 'httpAddress': ''}])
def test_alerts_without_metrics_are_refused(values):
    assert 'podMonitor.enabled' in refusal({'prometheusRule': {'enabled': True}, **values})
