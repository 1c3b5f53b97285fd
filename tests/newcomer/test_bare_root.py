# SPDX-License-Identifier: Apache-2.0
"""README's two words on a bare Debian 12 with git and make, and then all that a newcomer types."""
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get('GPUSLICE_TOOLS', ROOT / 'build-tools'))
HOUR_S = 3600
# Names are looked up and packages are found as on this machine.
OF_THE_HOST = ['etc/resolv.conf', 'etc/hosts', 'etc/apt/sources.list', 'etc/apt/sources.list.d', 'etc/apt/apt.conf.d', 'etc/apt/auth.conf.d',
               'etc/apt/keyrings', 'etc/ssl/certs', 'usr/share/keyrings', 'usr/local/share/ca-certificates']
KEPT = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': '/root', 'TERM': 'dumb',
        **{name: value for name, value in os.environ.items() if name.lower().endswith('_proxy')}}


def mirror():
    """Where this machine has its Debian 12 from."""
    done = subprocess.run(['apt-get', 'indextargets', '--format', '$(SITE) $(CODENAME) $(COMPONENT)', 'Created-By: Packages'],
                          capture_output=True, text=True, check=False)
    sites = [line.split()[0] for line in done.stdout.splitlines() if line.split()[1:] == ['bookworm', 'main']]
    return sites[0] if sites else 'http://deb.debian.org/debian'


def pour(source, target, names):
    """Copies by tar, which replaces what is there and keeps links."""
    with subprocess.Popen(['tar', '-c', '--null', '-T', '-'], cwd=source, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tar:
        with subprocess.Popen(['tar', '-x', '-C', target], stdin=tar.stdout) as unpack:
            tar.stdin.write(os.fsencode('\0'.join(names)))
            tar.stdin.close()
    assert tar.returncode == unpack.returncode == 0


class Bare:
    def __init__(self, folder):
        self.folder = folder

    def make(self):
        done = subprocess.run(['debootstrap', '--variant=minbase', '--include=ca-certificates,git,make', 'bookworm', self.folder, mirror()],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f'no Debian to be had: {(done.stdout + done.stderr).splitlines()[-1]}')
        pour('/', self.folder, [name for name in OF_THE_HOST if Path('/', name).exists()])
        (self.folder / 'root/gpuslice').mkdir()
        files = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], cwd=ROOT, check=True,
                               capture_output=True, text=True).stdout
        pour(ROOT, self.folder / 'root/gpuslice', [name for name in files.split('\0') if (ROOT / name).is_file()])

    def type_(self, command):
        """In namespaces of its own: what it mounts and starts ends with it."""
        script = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" bash -c "cd /root/gpuslice && $1"'
        return subprocess.run(['unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', script, self.folder, command], env=KEPT,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                              timeout=HOUR_S)

    def outside(self):
        """What lies where no command of ours has to leave anything."""
        return {str(path) for name in ('tmp', 'root', 'var/tmp', 'run', 'var/lib/kubelet') for path in (self.folder / name).rglob('*')
                if self.folder / 'root/gpuslice' not in (path, *path.parents)}


@pytest.mark.soak
@pytest.mark.timeout(HOUR_S)
def test_the_first_ten_minutes():
    if os.getuid():
        pytest.skip('a bare root needs root')
    folder = Path(tempfile.mkdtemp(prefix='bare-', dir=TOOLS))
    try:
        bare = Bare(folder)
        bare.make()
        before = bare.outside()
        done = bare.type_('make run 2>&1 | cat')
        assert '8 of 8 pods are running' in done.stdout, done.stdout[-3000:]
        for word in ('installing ', 'configuring build', 'building build, '):
            assert word in done.stdout, done.stdout[-3000:]
        done = bare.type_('tests/newcomer/run --bare')
        print(done.stdout)
        lines = done.stdout.splitlines()
        assert not [line for line in lines if line.startswith('not ok')], done.stdout
        assert done.returncode == 0 and lines[-1] == f'1..{sum(line.startswith("ok ") for line in lines)}'
        assert bare.outside() - before == set()
    finally:
        subprocess.run(['rm', '-rf', '--one-file-system', folder], check=False)
