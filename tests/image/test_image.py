# SPDX-License-Identifier: Apache-2.0
"""The image as an engine and a scanner read it, and its programs with the image as their root."""
import gzip
import hashlib
import json
import re
import shlex
import shutil
import signal
import subprocess

import pytest

from conftest import BUILD, MULTIARCH, NAME, ROOT, Archive, inside, make_image, put_simulator, run_inside


def sha256(data):
    return f'sha256:{hashlib.sha256(data).hexdigest()}'


# --- the archive ---

def test_every_descriptor_tells_the_truth(archive):
    assert archive.json('oci-layout') == {'imageLayoutVersion': '1.0.0'}
    layers = archive.manifest['layers']
    for descriptor in [archive.descriptor, archive.manifest['config'], *layers]:
        data = archive.blob(descriptor)
        assert (sha256(data), len(data)) == (descriptor['digest'], descriptor['size'])
    assert archive.config['rootfs']['diff_ids'] == [sha256(gzip.decompress(archive.blob(d))) for d in layers]
    assert len(archive.config['history']) == len(layers)
    [docker] = archive.json('manifest.json')
    assert sha256(archive.files[docker['Config']]) == archive.manifest['config']['digest']
    assert [sha256(archive.files[name]) for name in docker['Layers']] == [d['digest'] for d in layers]


def test_it_has_the_name_that_the_chart_asks_for(archive):
    name = f'{NAME}:{archive.version}'
    assert archive.descriptor['annotations']['io.containerd.image.name'] == name
    assert archive.json('manifest.json')[0]['RepoTags'] == [name]
    assert archive.descriptor['platform'] == {'architecture': 'amd64', 'os': 'linux'}


def test_name_and_tag_can_be_chosen(folder):
    make_image('--output', folder / 'other.tar', '--name', 'registry.example/team/gpuslice', '--tag', 'v7')
    other = Archive(folder / 'other.tar')
    assert other.descriptor['annotations'] == {'io.containerd.image.name': 'registry.example/team/gpuslice:v7',
                                               'org.opencontainers.image.ref.name': 'v7'}


def test_the_same_input_gives_the_same_bytes(archive, folder):
    make_image('--output', folder / 'again.tar')
    assert (folder / 'again.tar').read_bytes() == archive.path.read_bytes()
    make_image('--output', folder / 'later.tar', SOURCE_DATE_EPOCH='1800000000')
    assert Archive(folder / 'later.tar').config['created'] == '2027-01-15T08:00:00Z'


def test_what_it_starts_and_with_what(archive):
    config = archive.config['config']
    assert config['Entrypoint'] == ['/usr/bin/gpuslice-node']
    assert {'NVIDIA_VISIBLE_DEVICES=all', 'NVIDIA_DRIVER_CAPABILITIES=utility'} <= set(config['Env'])
    assert 'User' not in config  # the kubelet's folders belong to root


def test_the_dockerfile_says_the_same(archive):
    """All but the commit and the date, which a build without .git does not know."""
    build, image = (ROOT / 'Dockerfile').read_text().replace('\\\n', ' ').split('FROM scratch\n')
    said = dict(line.split(maxsplit=1) for line in image.splitlines())
    folder = re.search(r'^RUN make build && tools/image --build build --root (\S+)$', build, re.M)[1]
    assert said.pop('COPY') == f'--from=build {folder}/ /'
    config = {'Entrypoint': json.loads(said.pop('ENTRYPOINT')), 'Env': shlex.split(said.pop('ENV')),
              'Labels': dict(word.split('=', 1) for word in shlex.split(said.pop('LABEL'))),
              'WorkingDir': said.pop('WORKDIR')}
    assert not said, 'the archive has nothing of this'
    labels = {key: text for key, text in archive.config['config']['Labels'].items()
              if not key.endswith(('.created', '.revision'))}
    assert config == {**archive.config['config'], 'Labels': labels}


def test_the_dockerfile_copies_what_names_its_packages(tmp_path):
    text = (ROOT / 'Dockerfile').read_text()
    files, folder = re.search(r'^COPY (.+) (\S+/)\nRUN tools/deps build$', text, re.M).groups()
    (tmp_path / folder).mkdir()
    for file in files.split():
        shutil.copy(ROOT / file, tmp_path / folder)
    listed = subprocess.check_output([tmp_path / 'tools/deps', '--list', 'build'], text=True).split()
    assert {'gcc', 'make', 'python3'} <= set(listed)


def test_it_is_small(archive):
    assert sum(layer['size'] for layer in archive.manifest['layers']) < 15e6


def test_a_build_with_sanitizers_is_refused(tmp_path):
    info = tmp_path / 'meson-info'
    info.mkdir()
    options = (BUILD / 'meson-info/intro-buildoptions.json').read_text()
    changed = re.sub(r'("name": "b_sanitize", "value": )"none"', r'\1"address,undefined"', options)
    assert changed != options
    (info / 'intro-buildoptions.json').write_text(changed)
    shutil.copy(BUILD / 'meson-info/intro-projectinfo.json', info)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        make_image('--build', tmp_path)
    assert 'is built with sanitizers' in refused.value.stderr
    with pytest.raises(subprocess.CalledProcessError) as refused:
        make_image('--build', tmp_path / 'nothing')
    assert 'is no build folder' in refused.value.stderr


# --- what lies in it ---

def test_only_our_programs(pristine):
    assert {file.name for file in (pristine / 'usr/bin').iterdir()} >= {
        'gpuslice', 'gpuslice-node', 'gpuslice-http', 'gpuslice-nodesync', 'gpuslice-arbiter', 'gpuslice-controller'}
    assert all(re.fullmatch(r'gpuslice(-[a-z]+)?', file.name) for file in (pristine / 'usr/bin').iterdir())
    assert not {'gpuslice-sim', 'gpuslice-kubelet'} & {file.name for file in (pristine / 'usr/bin').iterdir()}
    executable = [file for file in pristine.rglob('*') if file.is_file() and not file.is_symlink()
                  and file.stat().st_mode & 0o111 and file.parent != pristine / 'usr/bin']
    assert all(re.search(r'\.so(\.|$)', file.name) for file in executable), 'only libraries besides'
    assert not list(pristine.rglob('libnvidia-ml*')), 'the driver comes from the host'


def test_programs_are_stripped(pristine):
    for file in (pristine / 'usr/bin').iterdir():
        sections = subprocess.check_output(['readelf', '-SW', file], text=True)
        assert '.debug_info' not in sections and '.symtab' not in sections, file.name


def test_every_library_has_its_licence_and_its_record(pristine):
    packages = {file.parent.name for file in (pristine / 'usr/share/doc').glob('*/copyright')}
    records = {file.name for file in (pristine / 'var/lib/dpkg/status.d').iterdir()}
    assert packages == records | {'gpuslice'}
    assert {'libc6', 'libuv1', 'libnghttp2-14', 'libmicrohttpd12', 'libcurl4'} <= packages
    for record in (pristine / 'var/lib/dpkg/status.d').iterdir():
        assert re.search(r'^Version: \S+$', record.read_text(), re.M)
    for file in (pristine / 'usr/share/doc').glob('*/copyright'):
        for name in re.findall(r'/usr/share/common-licenses/((?:L?GPL|Apache|GFDL)-[0-9.]*[0-9])', file.read_text()):
            assert (pristine / 'usr/share/common-licenses' / name).is_file(), f'{file} refers to {name}'


def test_folders_that_the_driver_is_put_into(pristine):
    """libnvidia-container looks for debian_version; its ldconfig writes below /etc."""
    assert (pristine / 'etc/debian_version').read_text().startswith('12')
    assert (pristine / 'usr/lib64').resolve() == (pristine / MULTIARCH).resolve()
    assert str(MULTIARCH) in (pristine / 'etc/ld.so.conf.d/gpuslice.conf').read_text()
    assert (pristine / 'tmp').stat().st_mode & 0o7777 == 0o1777
    assert not (pristine / 'etc/ld.so.cache').exists()


# --- its programs at work ---

def test_every_program_finds_its_libraries(runnable):
    for file in sorted((runnable / 'usr/bin').iterdir()):
        done = run_inside(runnable, '/lib64/ld-linux-x86-64.so.2', '--list', f'/usr/bin/{file.name}')
        assert done.returncode == 0 and 'not found' not in done.stdout + done.stderr, done.stdout + done.stderr


def test_the_driver_finds_its_libraries(runnable):
    """A library that asks for what NVIDIA's libnvidia-ml.so.580.159.04 asks for."""
    needed = ['libpthread.so.0', 'libm.so.6', 'libdl.so.2', 'libc.so.6', 'librt.so.1']
    subprocess.run(['gcc', '-shared', '-nostdlib', '-Wl,--no-as-needed', '-x', 'c', '/dev/null',
                    *(f'-l:{name}' for name in needed), '-o', runnable / MULTIARCH / 'driver.so'], check=True)
    done = run_inside(runnable, '/lib64/ld-linux-x86-64.so.2', '--list', f'/{MULTIARCH}/driver.so')
    assert done.returncode == 0 and 'not found' not in done.stdout + done.stderr, done.stdout + done.stderr
    assert all(f'{name} => ' in done.stdout for name in needed), done.stdout


def test_versions(runnable, archive):
    assert run_inside(runnable, '/usr/bin/gpuslice-node', '--version').stdout == f'gpuslice-node {archive.version}\n'
    assert archive.version in run_inside(runnable, '/usr/bin/gpuslice', 'version').stdout


def test_it_has_the_catalog_and_finds_it(pristine, root):
    """Beside the programs, wherever these were meant to be installed."""
    ours = {path.relative_to(ROOT / 'share/catalog'): path.read_bytes()
            for path in (ROOT / 'share/catalog').rglob('*.yaml')}
    catalog = pristine / 'usr/share/gpuslice/catalog'
    assert {path.relative_to(catalog): path.read_bytes() for path in catalog.rglob('*') if path.is_file()} == ours
    done = run_inside(root, '/usr/bin/gpuslice', 'completion', 'machines')
    assert {'g5.2xlarge', 'p5en.48xlarge'} <= set(done.stdout.split())
    done = run_inside(root, '/usr/bin/gpuslice', 'plan', '--machine', '8xH100')
    assert "there is no model 'H100'; did you mean one of H100-80GB-HBM3, " in done.stderr


@pytest.mark.parametrize('place', [MULTIARCH, 'usr/lib64'], ids=['as on Debian', 'as on Red Hat'])
def test_plan_with_the_driver_put_in(root, place):
    """The library is found without a cache that names it."""
    done = run_inside(root, '/usr/bin/gpuslice', 'plan', '--node', '/tmp/config.yaml', **put_simulator(root, place))
    assert done.returncode == 0, done.stderr
    assert re.search(r'nvidia\.com/gpu\s.*\b16\b', done.stdout), done.stdout


def test_plan_without_a_driver_says_so(root):
    put_simulator(root)
    (root / MULTIARCH / 'libnvidia-ml.so.1').unlink()
    done = run_inside(root, '/usr/bin/gpuslice', 'plan', '--node', '/tmp/config.yaml')
    assert done.returncode != 0 and 'libnvidia-ml.so.1' in done.stderr


def test_agent_serves_a_kubelet(root):
    """The agent in the image, with its helper; the kubelet stand-in outside looks at the same folder."""
    simulator = put_simulator(root)
    (root / 'var/lib/kubelet').mkdir(parents=True)
    stand_in = [BUILD / 'sim/kubelet/gpuslice-kubelet', '--root-dir', root / 'var/lib/kubelet']
    command, environment = inside(root, '/usr/bin/gpuslice-node', '--config-file=/tmp/config.yaml', '--http-address=',
                                  **simulator)
    with subprocess.Popen([*stand_in, 'run'], stderr=subprocess.PIPE, text=True) as kubelet:
        try:
            while 'ready' not in (line := kubelet.stderr.readline()):
                assert line, 'the kubelet stand-in ended'
            with open(root / 'tmp/agent.log', 'wb') as log, \
                    subprocess.Popen(command, env=environment, stderr=log, stdout=log) as agent:
                try:
                    done = subprocess.run([*stand_in, 'wait', '--for', 'nvidia.com/gpu=16', '--timeout', '20s'],
                                          capture_output=True, text=True, check=False, timeout=60)
                    assert done.returncode == 0, done.stderr + (root / 'tmp/agent.log').read_text()
                finally:
                    agent.send_signal(signal.SIGTERM)
                assert agent.wait(20) == 0
        finally:
            kubelet.send_signal(signal.SIGTERM)
