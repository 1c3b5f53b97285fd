# SPDX-License-Identifier: Apache-2.0
"""From the last version to this one and back, image and chart, with pods running. EARLIER names its commit; else it is the last
tag's, and without one the commit before this."""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from agents import CONTAINERS, EXAMPLES, ROOT, SYSTEM, replicas
from bed import wait
from test_install import chart, ours  # noqa: F401
from test_switching import condition_is, eight_on, go_over

LABEL = 'gpuslice-bed'


def git(*words):
    return subprocess.check_output(['git', '-C', ROOT, *words], text=True, stderr=subprocess.DEVNULL).strip()


def earlier_commit():
    if os.environ.get('EARLIER'):
        return git('rev-parse', os.environ['EARLIER'])
    try:
        return git('rev-list', '-n', '1', git('describe', '--tags', '--abbrev=0'))
    except subprocess.CalledProcessError:
        return git('rev-parse', 'HEAD^')


@pytest.fixture(scope='module')
def earlier(bed):
    """Its tree; its image is on the node, by the tag `earlier`."""
    if not (ROOT / '.git').exists():
        pytest.skip('no commits here')
    with tempfile.TemporaryDirectory(prefix='earlier-') as folder:
        archive = subprocess.run(['git', '-C', ROOT, 'archive', earlier_commit()], check=True, capture_output=True).stdout
        subprocess.run(['tar', '-x', '-C', folder], input=archive, check=True)
        Path(folder, 'build-tools').symlink_to((ROOT / 'build-tools').resolve())
        subprocess.run(['make', '-C', folder, 'image', 'IMAGE=docker.io/gpuslice/gpuslice', 'TAG=earlier'], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        bed.import_images(Path(folder, 'build/image/gpuslice.tar'))
        yield Path(folder)


def install_earlier(cluster, chart, tree):  # noqa: F811
    values = json.loads(chart.write_values({LABEL: 'agent'}).read_text())
    values['image']['tag'] = 'earlier'
    # Some look for the driver's library on the loader's path alone.
    values['extraEnv'].append({'name': 'LD_LIBRARY_PATH', 'value': '/driver-root/usr/lib64'})
    (tree / 'values.json').write_text(json.dumps(values))
    cluster.helm('install', 'nvdp', tree / 'deploy/helm/gpuslice', '--namespace', SYSTEM, '-f', EXAMPLES / 'nvdp-values.yaml',
                 '-f', tree / 'values.json', '--set', 'config.name=nvidia-device-plugin')


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_over_and_back(cluster, chart, earlier):  # noqa: F811
    chart.retire()
    chart.configure(replicas(4))
    # Its own simulated driver: another may have what it does not know.
    shutil.copy(earlier / 'build/sim/nvml/libnvidia-ml.so.1', chart.machine.root / 'usr/lib64')
    for folder, source in (('machines', 'sim/machines'), ('catalog', 'share/catalog')):
        shutil.rmtree(chart.machine.folder / folder)
        shutil.copytree(earlier / source, chart.machine.folder / folder)
    install_earlier(cluster, chart, earlier)
    chart.come()
    before = eight_on(cluster)
    condition_is(cluster, 'True', 'AllResourcesRegistered')
    shown = set(ours(cluster.api.call(cluster.node_path)))
    for count, over, tag in ((9, chart.install, None), (10, lambda: cluster.helm('rollback', 'nvdp', '1', '--namespace', SYSTEM), 'earlier'),
                             (11, chart.install, None)):
        before = go_over(cluster, chart, over, before, count)
        containers = {one['name']: one['image'] for one in chart.pod()['spec']['containers']}
        assert list(containers) == CONTAINERS and all((':earlier' in image) == (tag == 'earlier') for image in containers.values())
        # What an earlier version showed on the Node is there after it, too; a later one may show more, until it goes.
        wait('the same on the Node', lambda: shown <= set(ours(cluster.api.call(cluster.node_path))), 30)
