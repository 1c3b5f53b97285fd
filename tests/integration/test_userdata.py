# SPDX-License-Identifier: Apache-2.0
"""`gpuslice render userdata`: what it prints, and its script run with NVIDIA's own nvidia-smi on simulated machines."""
import email
import re
import shutil
import subprocess
import tomllib

import foreign
import pytest
import yaml
from test_cli import run
from test_nvidia_smi import DRIVER

FILE = '''version: v1
mig-configs:
  mine:
  - {devices: all, mig-enabled: false}
  - {devices: [0, 1], mig-enabled: true, mig-devices: {1g.5gb: 2, 3g.20gb: 1, 2g.10gb: 1}}
  - {devices: [2], mig-enabled: true, mig-devices: {1c.3g.20gb: 2, 3g.20gb: 1}}
  - {devices: [3], mig-enabled: true, mig-devices: {}}
  media: [{devices: all, mig-enabled: true, mig-devices: {1g.5gb+me: 1, 1g.10gb: 1}}]
  any:
  - {device-filter: ["0x20B010DE", "0x20B210DE:0x134F10DE"], devices: all, mig-enabled: true, mig-devices: {1g.5gb: 1, 4g.20gb: 1, 2g.10gb: 1}}
  - {device-filter: "0x233010DE", devices: all, mig-enabled: true, mig-devices: {7g.80gb: 1}}
'''


def render(*arguments, text=FILE, **how):
    return run('render', 'userdata', *arguments, stdin=text, **how)


def parts(*arguments, text=FILE):
    done = render(*arguments, text=text)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) < 16384
    message = email.message_from_string(done.stdout)
    assert message.is_multipart() and not message.defects
    return {part.get_content_type(): part.get_payload() for part in message.get_payload()}


def between(text, start, end):
    return re.search(f"{re.escape(start)}\n(.*?)^{end}$", text, re.S | re.M).group(1)


def script_of(*arguments, text=FILE):
    installer = next(body for kind, body in parts(*arguments, text=text).items() if kind != 'application/node.eks.aws')
    return between(installer, "<<'END_OF_SCRIPT'", 'END_OF_SCRIPT')


# --- what it prints ---

@pytest.mark.parametrize('image,kinds', [('al2023', ['application/node.eks.aws', 'text/x-shellscript']), ('ubuntu', ['text/cloud-boothook'])])
def test_the_parts_are_those_of_the_image(tmp_path, image, kinds):
    found = parts('-f', '-', '-c', 'mine', '--machine', 'p4d.24xlarge', '--os', image)
    assert list(found) == kinds
    installer = found[kinds[-1]]
    assert installer.startswith('#!/bin/bash\n')
    unit = between(installer, "<<'END_OF_UNIT'", 'END_OF_UNIT')
    assert re.search('^Before=.*kubelet.service', unit, re.M) and 'Type=oneshot' in unit and 'WantedBy=' in unit
    for name, text in (('installer', installer), ('script', between(installer, "<<'END_OF_SCRIPT'", 'END_OF_SCRIPT'))):
        path = tmp_path / name
        path.write_text(text)
        subprocess.run(['bash', '-n', path], check=True)
        if shutil.which('shellcheck'):
            subprocess.run(['shellcheck', path], check=True)
    if image == 'al2023':
        config = yaml.safe_load(found[kinds[0]])
        assert (config['apiVersion'], config['kind']) == ('node.eks.aws/v1alpha1', 'NodeConfig')


def layout(*arguments, text=FILE):
    return re.findall(r"^    '(.*)'$", between(script_of(*arguments, text=text), 'layout=(', r'\)'), re.M)


def test_a_machine_gives_each_instance_its_place():
    assert layout('-f', '-', '-c', 'mine', '--machine', 'p4d.24xlarge') == [
        '0 1||on| 3g.20gb:4 2g.10gb:0 1g.5gb:2 1g.5gb:3', '2||on| 3g.20gb:0 3g.20gb:4=1c.3g.20gb,1c.3g.20gb', '3||on|', '4 5 6 7||off|']
    assert layout('-c', 'all-1g.5gb', '--machine', 'p4d.24xlarge') == ['all||on| ' + ' '.join(f'1g.5gb:{n}' for n in range(7))]
    assert layout('-c', 'all-disabled', '--machine', 'g5.12xlarge') == ['all||off|']


def test_without_a_machine_the_entries_are_for_what_comes():
    assert layout('-f', '-', '-c', 'any') == ['all|0x20B010DE 0x20B210DE:0x134F10DE|on| 4g.20gb 2g.10gb 1g.5gb', 'all|0x233010DE|on| 7g.80gb']
    assert layout('-c', 'all-disabled') == ['all||off|']


@pytest.mark.parametrize('arguments,said', [
    (['-c', 'all-1g.5gb'], 'depends on the GPU; give --machine'),
    (['-f', '-', '-c', 'mine'], '1c.3g.20gb shares its GPU instance; give --machine'),
    (['-c', 'all-1g.5gb', '--machine', 'g5.12xlarge'], 'cannot be partitioned by MIG; sharing.timeSlicing'),
    (['-c', 'all-1g.5gb', '--machine', 'p5.48xlarge'], 'it has all-disabled'),
    (['-c', 'all-1g.5gb', '--machine', 'p9.48xlarge'], 'p9.48xlarge'),
    (['-c', 'mine'], 'is no built-in layout'),
    (['-f', '-', '-c', 'min'], "did you mean 'mine'?"),
    ([], 'give the file with -f FILE'),
    (['-f', '-', '-c', 'any', '--os', 'bottlerocket'], 'give --machine NAME'),
    (['-f', '-', '-c', 'mine', '--os', 'bottlerocket', '--machine', 'p4d.24xlarge'], 'as many instances of one profile as fit'),
    (['-c', 'all-balanced', '--os', 'bottlerocket', '--machine', 'p4d.24xlarge'], 'as many instances of one profile as fit'),
    (['-c', 'all-1g.5gb', '--os', 'windows'], 'use one of al2023|ubuntu|bottlerocket'),
])
def test_what_it_refuses(arguments, said):
    done = render(*arguments)
    assert done.returncode in (2, 64) and done.stdout == '' and said in done.stderr, done.stderr


def test_what_a_gpu_cannot_have_is_said_gpu_by_gpu():
    text = FILE.replace('3g.20gb: 1, 2g.10gb: 1', '3g.20gb: 3')
    done = render('-f', '-', '-c', 'mine', '--machine', 'p4d.24xlarge', text=text)
    assert done.returncode == 2 and done.stdout == ''
    assert 'GPU 0 (NVIDIA A100-SXM4-40GB) has no room' in done.stderr and '2 of 8 GPUs cannot have this layout' in done.stderr


@pytest.mark.parametrize('machine,name,key,profile', [('p4d.24xlarge', 'all-1g.5gb', 'a100.40gb', '1g.5gb'),
                                                      ('p5.48xlarge', 'all-3g.40gb', 'h100.80gb', '3g.40gb')])
def test_bottlerocket_gets_settings(machine, name, key, profile):
    done = render('-c', name, '--machine', machine, '--os', 'bottlerocket')
    settings = tomllib.loads(done.stdout)['settings']['kubelet-device-plugins']['nvidia']
    assert settings == {'device-partitioning-strategy': 'mig', 'mig': {'profile': {key: profile}}}
    off = tomllib.loads(render('-c', 'all-disabled', '--machine', machine, '--os', 'bottlerocket').stdout)
    assert off['settings']['kubelet-device-plugins']['nvidia'] == {'device-partitioning-strategy': 'none'}


# --- the script, on simulated machines ---

class Node(foreign.Machine):
    """One boot after the other. nvidia-smi is NVIDIA's, but for the reset, which the simulator makes."""

    def __init__(self, folder, program):
        super().__init__(foreign.ROOT / 'sim/machines/p4d.24xlarge.yaml', folder, f'{{version: {DRIVER}, cuda: 12.2}}')
        self.folder, self.bin = folder, folder / 'bin'
        self.bin.mkdir()
        self.program('nvidia-smi', f'echo "$*" >> {folder}/smi.log\n'
                     f'[ "$1 $2" != "--gpu-reset -i" ] || exec env -u LD_PRELOAD {foreign.SIM} mig reset "$3"\nexec {program} "$@"\n')
        self.program('systemctl', f'echo "$*" >> {folder}/systemctl.log\n[ "$1" != is-active ]\n')

    def program(self, name, text):
        (self.bin / name).write_text(f'#!/bin/sh\n{text}')
        (self.bin / name).chmod(0o755)

    def boot(self, script, patience=120):
        path = self.folder / 'gpuslice-mig'
        path.write_text(script.replace('/var/lib/', f'{self.folder}/').replace('patience=120', f'patience={patience}'))
        (self.folder / 'smi.log').write_text('')
        done = self.run('bash', path, PATH=f'{self.bin}:/usr/bin:/bin')
        self.calls = (self.folder / 'smi.log').read_text().splitlines()
        return done

    def devices(self):
        """GPU -> its MIG devices as nvidia-smi lists them."""
        found, gpu = {}, None
        for line in self.output(self.bin / 'nvidia-smi', '-L').splitlines():
            if match := re.match(r'GPU (\d+):', line):
                gpu = int(match.group(1))
            else:
                found.setdefault(gpu, []).append(line.split()[1])
        return {gpu: sorted(names) for gpu, names in found.items()}


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path, foreign.debian('nvidia-smi', 'nvidia-smi') / 'usr/lib/nvidia/current/nvidia-smi')


def changes(node):
    return [call for call in node.calls if re.search(r'-cgi|-cci|-dci|-dgi|-mig |--gpu-reset', call)]


def test_a_node_has_its_layout_before_the_kubelet(node):
    script = script_of('-f', '-', '-c', 'mine', '--machine', 'p4d.24xlarge')
    done = node.boot(script)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = {0: ['1g.5gb', '1g.5gb', '2g.10gb', '3g.20gb'], 1: ['1g.5gb', '1g.5gb', '2g.10gb', '3g.20gb'],
              2: ['1c.3g.20gb', '1c.3g.20gb', '3g.20gb']}
    assert node.devices() == wanted
    listed = node.sim('mig', 'list')
    assert re.search(r'GPU 0: GPU instance \d+ at 4:4, compute instance 0, 3g.20gb', listed)
    assert re.search(r'GPU 0: GPU instance \d+ at 2:1, compute instance 0, 1g.5gb', listed)
    assert len(re.findall('GPU 3: .*on', listed)) == 1
    # A second boot finds it there.
    assert node.boot(script).returncode == 0 and changes(node) == [] and node.devices() == wanted
    # One that lost the instances, which do not outlive a reboot, has them again.
    node.sim('mig', 'destroy', '0')
    assert node.boot(script).returncode == 0 and node.devices() == wanted
    assert all(' -i 0 ' in f'{call} ' for call in changes(node))
    # Another user data takes a GPU out again, and another one changes everything.
    assert node.boot(script_of('-c', 'all-1g.5gb', '--machine', 'p4d.24xlarge')).returncode == 0
    assert node.devices() == {gpu: ['1g.5gb'] * 7 for gpu in range(8)}
    assert node.boot(script_of('-c', 'all-disabled')).returncode == 0
    assert node.devices() == {} and 'on' not in re.findall(r'MIG mode is (\w+)', node.sim('mig', 'list'))


@pytest.mark.parametrize('machine', [[], ['--machine', 'p4d.24xlarge']])
def test_profiles_with_attributes(node, machine):
    script = script_of('-f', '-', '-c', 'media', *machine)
    assert node.boot(script).returncode == 0
    assert node.devices() == {gpu: ['1g.10gb', '1g.5gb+me'] for gpu in range(8)}
    assert node.boot(script).returncode == 0 and changes(node) == []


def test_entries_for_other_gpus_are_passed_over(node):
    assert node.boot(script_of('-f', '-', '-c', 'any')).returncode == 0
    assert node.devices() == {gpu: ['1g.5gb', '2g.10gb', '4g.20gb'] for gpu in range(8)}
    assert node.boot(script_of('-f', '-', '-c', 'any')).returncode == 0 and changes(node) == []


def test_a_gpu_that_cannot_be_reset_reboots_the_node_once(node):
    node.sim('inject', 'reset-refused', 'all', 'on')
    script = script_of('-c', 'all-7g.40gb', '--machine', 'p4d.24xlarge')
    done = node.boot(script)
    assert done.returncode == 1 and 'the node is rebooted for the MIG mode of GPU 0 1 2 3 4 5 6 7' in done.stderr
    calls = node.folder / 'systemctl.log'
    assert calls.read_text().splitlines().count('reboot') == 1
    assert node.boot(script).returncode == 1  # it did not help: the kubelet starts with what there is
    assert calls.read_text().splitlines().count('reboot') == 1
    node.sim('inject', 'reset-refused', 'all', 'off')
    node.sim('mig', 'reset', 'all')
    assert node.boot(script).returncode == 0 and node.devices() == {gpu: ['7g.40gb'] for gpu in range(8)}
    assert not (node.folder / 'gpuslice-mig.rebooted').exists()


def test_a_service_that_has_the_gpus_open_is_stopped_for_the_reset(node):
    node.program('systemctl', f'echo "$*" >> {node.folder}/systemctl.log\ncase "$*" in\n'
                 f'"is-active --quiet nvidia-persistenced") exit 0;;\nis-active*) exit 3;;\n'
                 f'stop*) exec env -u LD_PRELOAD {foreign.SIM} inject reset-refused all off;;\nesac\n')
    node.sim('inject', 'reset-refused', 'all', 'on')
    assert node.boot(script_of('-c', 'all-enabled')).returncode == 0
    calls = (node.folder / 'systemctl.log').read_text()
    assert 'stop nvidia-persistenced\n' in calls and 'start --no-block nvidia-persistenced\n' in calls and 'reboot' not in calls


def test_a_layout_that_the_driver_refuses_leaves_no_half(node):
    done = node.boot(script_of('-f', '-', '-c', 'x', text='version: v1\nmig-configs: {x: [{devices: [0], mig-enabled: true, '
                                                          'mig-devices: {3g.20gb: 3}}]}\n'))
    assert done.returncode == 1 and 'GPU 0 does not have its layout' in done.stderr and node.devices() == {}


def test_a_driver_that_never_comes(node):
    node.program('nvidia-smi', 'exit 9\n')
    done = node.boot(script_of('-c', 'all-enabled'), patience=2)
    assert done.returncode == 1 and 'the driver does not answer; no GPU is partitioned' in done.stderr
