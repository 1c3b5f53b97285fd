# SPDX-License-Identifier: Apache-2.0
"""The driver in a folder of the host: its library is found where the agent's container has that folder, by the agent and
by the command line."""
import platform
import shutil
import subprocess

import pytest

from node import BUILD, PROGRAMS, replicas

LIBRARY = BUILD / 'sim/nvml/libnvidia-ml.so.1'
TRIPLET = f'{platform.machine()}-linux-gnu'
FOLDERS = ['usr/lib64', f'usr/lib/{TRIPLET}', 'lib64', f'lib/{TRIPLET}', 'glibc/lib']


@pytest.fixture
def root(node, tmp_path):
    """The container's driver root; the loader finds no library, and a GPU is on the bus."""
    del node.environment['LD_LIBRARY_PATH']
    device = tmp_path / 'sys/bus/pci/devices/0000:00:1e.0'
    device.mkdir(parents=True)
    (device / 'vendor').write_text('0x10de\n')
    (device / 'class').write_text('0x030200\n')
    node.environment['GPUSLICE_SYSFS'] = str(tmp_path / 'sys')
    (node.folder / 'root').mkdir()
    return node.folder / 'root'


def install(root, folder='usr/lib64'):
    (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(LIBRARY, root / folder)


@pytest.mark.parametrize('folder', FOLDERS)
def test_the_library_is_found_below_the_containers_driver_root(node, root, folder):
    install(root, folder)
    node.start_kubelet()
    node.start_agent(None, '--driver-root=/run/nvidia/driver', '--container-driver-root', root)
    node.wait_allocatable(4)


@pytest.mark.parametrize('given', [['--driver-root-ctr-path={}'], ['--container-driver-root={}'], 'DRIVER_ROOT_CTR_PATH',
                                   'CONTAINER_DRIVER_ROOT', 'flags: {{plugin: {{containerDriverRoot: {}}}}}'])
def test_however_the_root_is_given(node, root, given):
    install(root)
    node.start_kubelet()
    if isinstance(given, list):
        node.start_agent(None, *[word.format(root) for word in given])
    elif given.startswith('flags'):
        node.start_agent(given.format(root))
    else:
        node.start_agent(None, **{given: str(root)})
    node.wait_allocatable(4)


def test_a_process_of_the_host_has_no_container_root(node, root):
    install(root)
    node.start_kubelet()
    node.start_agent(None, '--driver-root', root)
    node.wait_allocatable(4)


def test_an_absolute_link_leads_below_the_root(node, root):
    """As Debian's alternatives, seen from a container that has the host's root at another place."""
    install(root, 'opt/nvidia')
    (root / 'usr/lib64').mkdir(parents=True)
    (root / 'usr/lib64/libnvidia-ml.so.1').symlink_to('/opt/nvidia/libnvidia-ml.so.1')
    node.start_kubelet()
    node.start_agent(None, '--container-driver-root', root)
    node.wait_allocatable(4)


def test_says_where_it_looked(node, root):
    agent = node.start_agent(None, '--container-driver-root', root)
    assert agent.wait() == 1
    assert f"neither on the loader's path nor below {root}, in usr/lib64, usr/lib/{TRIPLET}" in agent.output()


def test_a_driver_that_is_installed_later(node, root):
    node.start_kubelet()
    agent = node.start_agent(None, '--container-driver-root', root, '--fail-on-init-error=false')
    agent.wait_line("neither on the loader's path")
    install(root)
    node.wait_allocatable(4)


def test_a_root_that_a_reload_names(node, root):
    node.start_kubelet()
    agent = node.start_agent(replicas(2, 'flags: {failOnInitError: false}'))
    agent.wait_line('driver is not available')
    install(root)
    node.configure(replicas(2, f'flags: {{failOnInitError: false, plugin: {{containerDriverRoot: {root}}}}}'))
    node.wait_allocatable(8)


def test_a_library_of_another_kind_gives_way_to_the_loaders(node, root):
    (root / 'usr/lib64').mkdir(parents=True)
    (root / 'usr/lib64/libnvidia-ml.so.1').write_text('not a library')
    node.start_kubelet()
    node.start_agent(None, '--container-driver-root', root, LD_LIBRARY_PATH=str(LIBRARY.parent))
    node.wait_allocatable(4)


@pytest.mark.parametrize('verb', ['plan', 'check'])
def test_the_command_line_looks_there_too(node, root, verb):
    install(root)
    node.config.write_text(replicas(4, f'flags: {{plugin: {{containerDriverRoot: {root}}}}}'))
    done = node.run('gpuslice', verb, node.config, '--node', check=False)
    assert 'libnvidia-ml' not in done.stderr
    if verb == 'plan':
        assert 'nvidia.com/gpu' in done.stdout


def test_a_dev_without_null_is_named(node, root):
    """The helper reads from it; the sentence named the helper's program instead."""
    install(root)
    alone = ['--mount', '--map-root-user', 'sh', '-c', 'mount -t tmpfs none /dev && exec "$@"', 'sh']
    if subprocess.run(['unshare', *alone, 'true'], capture_output=True, check=False).returncode:
        pytest.skip('no mount namespace of our own')
    node.programs['gpuslice-node'] = 'unshare'
    agent = node.start('gpuslice-node', *alone, PROGRAMS['gpuslice-node'], '--grant-dir=', '--state-dir', node.folder,
                       '--container-driver-root', root)
    assert agent.wait() == 1
    assert 'cannot open /dev/null' in agent.output()
