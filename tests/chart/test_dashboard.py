# SPDX-License-Identifier: Apache-2.0
"""deploy/grafana: what Grafana imports, and whether each query asks for series that there are."""
import json
import re

import pytest

from conftest import ROOT, render
from test_alerts import metrics, sources

DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / 'deploy/grafana').glob('*.json'))}
PANELS = {f'{name}: {panel["title"]}': panel for name, one in DASHBOARDS.items() for panel in one['panels']}
VARIABLES = {one['name']: one for dashboard in DASHBOARDS.values() for one in dashboard['templating']['list']}
KINDS = {'stat', 'timeseries', 'table'}  # of Grafana itself: no plugin is needed
GLOBALS = {'__rate_interval'}
FUNCTIONS = {'sum', 'count', 'rate', 'vector', 'by', 'or', 'label_values'}


def queries():
    found = {f'{title} {target["refId"]}': target['expr'] for title, panel in PANELS.items() for target in panel['targets']}
    return {**found, **{f'${name}': one['query']['query'] for name, one in VARIABLES.items() if one['type'] == 'query'}}


def labels():
    """Every label of a series of ours, and what both PodMonitors add."""
    found = {label for text in sources('src/node', 'src/arbiter').values() for label in re.findall(r'"([a-z_]+)",', text)}
    added = [{one['targetLabel'] for one in endpoint['relabelings']}
             for monitor in render({'podMonitor': {'enabled': True}}).all('PodMonitor') for endpoint in monitor['spec']['podMetricsEndpoints']]
    assert len(added) == 2
    return found | set.intersection(*added)


@pytest.mark.parametrize('name', DASHBOARDS)
def test_it_is_a_dashboard(name):
    """What Grafana's schema requires of one (kinds/dashboard), for import as a file."""
    dashboard = DASHBOARDS[name]
    assert dashboard['schemaVersion'] >= 36 and re.fullmatch(r'[\w-]{1,40}', dashboard['uid']) and dashboard['title']
    assert dashboard['uid'] == name and 'id' not in dashboard  # of one installation
    assert set(dashboard['time']) == {'from', 'to'} and dashboard['graphTooltip'] in (0, 1, 2)
    # Queries of all of them are compared with the variables of any.
    assert dashboard['templating'] == DASHBOARDS['gpuslice-memory']['templating']
    assert len({panel['title'] for panel in dashboard['panels']}) == len(dashboard['panels'])
    ids = [panel['id'] for panel in dashboard['panels']]
    assert len(set(ids)) == len(ids) and all(isinstance(one, int) and one > 0 for one in ids)


@pytest.mark.parametrize('title', PANELS)
def test_a_panel(title):
    panel = PANELS[title]
    assert panel['type'] in KINDS and len(panel['description']) > 20
    references = [target['refId'] for target in panel['targets']]
    assert references == [chr(ord('A') + at) for at in range(len(references))] and references
    for one in (panel, *panel['targets']):
        assert one['datasource'] == {'type': 'prometheus', 'uid': '${datasource}'}
    assert panel['fieldConfig']['defaults']['unit'] and isinstance(panel['fieldConfig']['overrides'], list)
    for step in panel['fieldConfig']['defaults'].get('thresholds', {'steps': []})['steps']:
        assert set(step) == {'color', 'value'}
    for change in panel.get('transformations', []):
        assert change['id'] in ('merge', 'organize') and isinstance(change['options'], dict)


@pytest.mark.parametrize('name', DASHBOARDS)
def test_panels_lie_beside_each_other(name):
    cells = set()
    for panel in DASHBOARDS[name]['panels']:
        x, y, w, h = (panel['gridPos'][key] for key in 'xywh')
        assert 0 <= x and x + w <= 24 and h >= 3
        mine = {(i, j) for i in range(x, x + w) for j in range(y, y + h)}
        assert not mine & cells, panel['title']
        cells |= mine


@pytest.mark.parametrize('where', queries())
def test_a_query_asks_for_what_there_is(where):
    query = queries()[where]
    names = set(re.findall(r'\bgpuslice_\w+', query))
    assert names and names <= metrics()
    assert set(re.findall(r'\$\{?(\w+)', query)) <= set(VARIABLES) | GLOBALS
    selected = {label for braces in re.findall(r'\{([^}]*)\}', query) for label in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)', braces)}
    grouped = {label.strip() for by in re.findall(r'\bby\s*\(([^)]*)\)', query) for label in by.split(',')}
    assert selected | grouped <= labels(), selected | grouped
    bare = re.sub(r'"[^"]*"|\[[^]]*\]', '', query)
    for opening, closing in ('()', '{}'):
        assert bare.count(opening) == bare.count(closing)
    outside = re.sub(r'\{[^}]*\}|\bby\s*\([^)]*\)', '', bare)
    assert set(re.findall(r'[a-zA-Z]\w*', outside)) <= names | FUNCTIONS | ({'node', 'namespace'} if where.startswith('$') else set())


def test_the_legend_names_labels_that_the_query_keeps():
    for title, panel in PANELS.items():
        for target in panel['targets']:
            grouped = re.search(r'\bby\s*\(([^)]*)\)', target['expr'])
            kept = {label.strip() for label in grouped[1].split(',')} if grouped else labels()
            assert set(re.findall(r'\{\{(\w+)\}\}', target['legendFormat'])) <= kept, title


def test_every_metric_of_limits_and_turns_is_shown():
    """All there is of each container is on a dashboard."""
    shown = {name for query in queries().values() for name in re.findall(r'\bgpuslice_\w+', query)}
    assert {'gpuslice_compute_received_seconds_total', 'gpuslice_compute_plan'} < {name for name in metrics() if name.startswith('gpuslice_compute_')} <= shown
    assert {name for name in metrics() if name.startswith('gpuslice_memory_') and name.endswith(('_bytes', '_denials_total'))} <= shown
