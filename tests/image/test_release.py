# SPDX-License-Identifier: Apache-2.0
"""What `make release` writes, made here from the one build folder that there is; tests/tools makes all of it twice, for
both architectures."""
import hashlib
import json
import os
import re
import subprocess
import tarfile

import pytest
import yaml

from conftest import BUILD, ROOT


def release(folder, *arguments, **environment):
    return subprocess.run([ROOT / 'tools/release', '--output', folder, '--build', f'{BUILD}:/', *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env={**os.environ, **environment}, check=False, timeout=200)


@pytest.fixture(scope='module')
def made(folder):
    done = release(folder / 'release')
    assert done.returncode == 0, done.stderr
    return folder / 'release'


def only(folder, pattern):
    found, = folder.glob(pattern)
    return found


def test_checksums_of_everything(made):
    sums = dict(reversed(line.split('  ')) for line in (made / 'SHA256SUMS').read_text().splitlines())
    assert set(sums) == {one.name for one in made.iterdir()} - {'SHA256SUMS'}
    for name, value in sums.items():
        assert hashlib.sha256((made / name).read_bytes()).hexdigest() == value


def test_the_manifest_names_the_image_by_the_digest_of_its_index(made):
    with tarfile.open(only(made, '*-image.tar')) as tar:
        files = {one.name: tar.extractfile(one).read() for one in tar}
    [outer] = json.loads(files['index.json'])['manifests']
    index = files['blobs/' + outer['digest'].replace(':', '/')]
    assert f'sha256:{hashlib.sha256(index).hexdigest()}' == outer['digest']
    for one in json.loads(index)['manifests']:  # each architecture is there whole
        manifest = json.loads(files['blobs/' + one['digest'].replace(':', '/')])
        assert one['platform']['architecture'] in ('amd64', 'arm64')
        assert all('blobs/' + part['digest'].replace(':', '/') in files for part in [manifest['config'], *manifest['layers']])
    images = set(re.findall(r'image: (\S+)', only(made, '*.yml').read_text()))
    assert images == {f"gpuslice/gpuslice@{outer['digest']}"}
    plain = [one for one in yaml.safe_load_all((ROOT / 'deploy/gpuslice.yml').read_text()) if one]
    assert [one['kind'] for one in yaml.safe_load_all(only(made, '*.yml').read_text()) if one] == [one['kind'] for one in plain]


def test_the_chart_renders_as_the_trees(made):
    def render(chart):
        return subprocess.check_output([ROOT / 'tools/helm', 'template', 'nvdp', chart, '--namespace', 'kube-system'], text=True)
    assert render(only(made, '*.tgz')) == render(ROOT / 'deploy/helm/gpuslice')


def test_the_bill_of_materials(made):
    """SPDX 2.3: every library of the image belongs to a package that is listed, with this Debian's version."""
    bill = json.loads(only(made, '*.spdx.json').read_text())
    assert bill['spdxVersion'] == 'SPDX-2.3' and bill['dataLicense'] == 'CC0-1.0'
    ids = [one['SPDXID'] for one in bill['packages']]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r'SPDXRef-[A-Za-z0-9.-]+', one) for one in ids)
    related = {(one['spdxElementId'], one['relationshipType']): one['relatedSpdxElement'] for one in bill['relationships']}
    assert related['SPDXRef-DOCUMENT', 'DESCRIBES'] == 'SPDXRef-gpuslice'
    assert {one['relatedSpdxElement'] for one in bill['relationships'] if one['relationshipType'] == 'CONTAINS'} == set(ids) - {'SPDXRef-gpuslice'}
    packages = {one['name']: one for one in bill['packages'] if one['name'] != 'gpuslice'}
    with tarfile.open(only(made, '*-image-amd64.tar')) as tar:
        blobs = [tar.extractfile(one).read() for one in tar if one.name.startswith('blobs/')]
    records = '\n'.join(blob.decode(errors='replace') for blob in blobs if blob[:2] != b'\x1f\x8b')
    assert records  # the configuration and the manifest; the packages are in the layer
    for name, one in packages.items():
        installed = subprocess.check_output(['dpkg-query', '-W', '-f', '${Version} ${source:Version}\n', name], text=True).split()
        assert one['versionInfo'] in installed, name
        assert f"@{one['versionInfo'].replace(':', '%3A').replace('+', '%2B')}?arch=amd64" in one['externalRefs'][0]['referenceLocator']
    assert {'libc6', 'libuv1', 'libnghttp2-14'} <= set(packages)


def test_the_same_input_gives_the_same_bytes(made, folder):
    assert release(folder / 'again').returncode == 0
    assert {one.name: one.read_bytes() for one in made.iterdir()} == {one.name: one.read_bytes() for one in (folder / 'again').iterdir()}


def test_refusals(made, folder):
    done = release(made)
    assert done.returncode == 1 and 'is not empty' in done.stderr
    done = release(folder / 'twice', '--build', f'{BUILD}:/')
    assert done.returncode == 1 and 'one architecture' in done.stderr
