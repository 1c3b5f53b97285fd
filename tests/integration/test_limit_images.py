# SPDX-License-Identifier: Apache-2.0
"""The preloaded library in images of every kind: what the loader of each makes of /etc/ld.so.preload, in a root of its own with the mounts
that a container gets. A program that is not limited must run as before, and what it prints on standard error is what the guide says."""
import os
import re
import shutil
import subprocess

import pytest
from test_preload import CUDA, LIBRARY

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason='needs root'),
              pytest.mark.skipif(os.uname().machine != 'x86_64', reason='the loaders of one processor')]
PRELOAD = '/opt/gpuslice/lib/libgpuslice.so'
SOURCE = r'''
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    int n_ours = 0, n_own = 0;

    while (fgets(line, sizeof(line), maps)) {
        n_ours += strstr(line, "r-xp") && strstr(line, "/libgpuslice.so");
        n_own += strstr(line, "/libown.so") != NULL;
    }
    printf("uid %d%s%s\n", (int)geteuid(), n_ours ? " limited" : "", n_own ? " own" : "");
    return 0;
}
'''
OPENS = r'''
#include <dlfcn.h>
#include <stdio.h>
int main(void)
{
    puts(dlopen("/lib/libcuda.so.1", RTLD_NOW) ? "opened" : dlerror());
    return 0;
}
'''


def compiled(folder, name, source, *words, compiler='gcc'):
    (folder / f'{name}.c').write_text(source)
    subprocess.run([compiler, '-o', folder / name, folder / f'{name}.c', *words], check=True)
    return folder / name


class Image:
    """A root file system, and the mounts of a container with a slice over it."""

    def __init__(self, folder):
        self.folder, self.root, self.version = folder, folder / 'root', folder / 'lib/1.0'
        for name in ('lib64', 'lib', 'lib32', 'bin', 'proc', 'etc', 'tmp', 'opt/gpuslice/lib'):
            (self.root / name).mkdir(parents=True)
        (self.root / 'etc/ld.so.preload').write_text('')
        self.version.mkdir(parents=True)
        shutil.copy(LIBRARY, self.version / 'libgpuslice.so')
        (self.version / 'ld.so.preload').write_text(f'{PRELOAD}\n')

    def add(self, source, target):
        (self.root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, self.root / target)

    def add_glibc(self):
        self.add('/lib64/ld-linux-x86-64.so.2', 'lib64/ld-linux-x86-64.so.2')
        for name in 'libc.so.6', 'libdl.so.2':
            self.add(f'/lib/x86_64-linux-gnu/{name}', f'lib64/{name}')
            self.add(f'/lib/x86_64-linux-gnu/{name}', f'lib/x86_64-linux-gnu/{name}')

    def program(self, source=SOURCE, *words, **named):
        self.add(compiled(self.folder, 'program', source, *words, **named), 'bin/program')

    def run(self, *command, mount='ro,bind', user=0, read_only=False):
        opt, etc = (f'mount --bind {self.version}{file} {self.root}{place} && mount -o remount,{mount} {self.root}{place} && '
                    for file, place in (('', '/opt/gpuslice/lib'), ('/ld.so.preload', '/etc/ld.so.preload')))
        script = f'mount --bind {self.root} {self.root} && cd {self.root} && mount -t proc none {self.root}/proc && {opt}{etc}'
        if read_only:
            script += f'mount -o remount,ro,bind {self.root} && '
        done = subprocess.run(['unshare', '--mount', 'sh', '-c', f'{script}exec chroot --userspec={user}:{user} {self.root} "$@"', 'sh',
                               *(command or ['/bin/program'])], env={'PATH': os.environ['PATH']}, capture_output=True, text=True,
                              timeout=60)
        return done.returncode, done.stdout.strip(), done.stderr.strip()


@pytest.fixture
def image(tmp_path):
    tmp_path.chmod(0o755)
    return Image(tmp_path)


def ignored(why):
    return f"ERROR: ld.so: object '{PRELOAD}' from /etc/ld.so.preload cannot be preloaded ({why}): ignored."


def test_a_program_of_glibc_is_limited(image):
    image.add_glibc()
    image.program()
    assert image.run() == (0, 'uid 0 limited', '')


def test_any_user_on_a_read_only_root(image):
    image.add_glibc()
    image.program()
    assert image.run(user=65534, read_only=True) == (0, 'uid 65534 limited', '')


def test_a_program_with_the_rights_of_its_file(image):
    """Set-user-ID: the loader heeds the list all the same."""
    image.add_glibc()
    image.program()
    (image.root / 'bin/program').chmod(0o4755)
    assert image.run(user=65534) == (0, 'uid 0 limited', '')


def test_an_image_with_a_preload_of_its_own(image):
    image.add_glibc()
    image.program()
    image.add(compiled(image.folder, 'libown.so', 'int own = 1;\n', '-shared', '-fPIC'), 'lib/libown.so')
    image.add(compiled(image.folder, 'starter', '''
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
    setenv("LD_PRELOAD", "/lib/libown.so", 1);
    return execl("/bin/program", "program", (char *)0);
}
''', '-static'), 'bin/starter')
    assert image.run('/bin/starter') == (0, 'uid 0 limited own', '')


def test_a_static_program_runs(image):
    image.program(SOURCE, '-static')
    assert image.run() == (0, 'uid 0', '')


def test_a_program_of_musl_runs(image):
    """Its loader has no such list."""
    image.add('/lib/ld-musl-x86_64.so.1', 'lib/ld-musl-x86_64.so.1')
    image.program(compiler='musl-gcc')
    assert image.run() == (0, 'uid 0', '')


def test_a_program_of_musl_has_no_cuda_that_could_be_limited(image):
    """A driver is made for glibc."""
    image.add('/lib/ld-musl-x86_64.so.1', 'lib/ld-musl-x86_64.so.1')
    image.add(CUDA, 'lib/libcuda.so.1')
    image.program(OPENS, compiler='musl-gcc')
    returncode, said, errors = image.run()
    assert (returncode, errors) == (0, '') and re.search(r'Error (loading shared library|relocating)', said), said


def test_a_program_of_musl_does_not_start_where_a_variable_names_the_library(tmp_path):
    """As under `gpuslice run`, and as its guide says."""
    program = compiled(tmp_path, 'program', SOURCE, compiler='musl-gcc')
    done = subprocess.run([program], env={'LD_PRELOAD': str(LIBRARY)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (127, '') and 'libgpuslice.so' in done.stderr


def test_a_32_bit_program_runs_with_a_line_of_its_loader(image):
    """Here libc itself, which is a program, too."""
    image.add('/lib32/ld-linux.so.2', 'lib/ld-linux.so.2')
    image.add('/lib32/libc.so.6', 'lib32/libc.so.6')
    (image.root / 'lib32/libc.so.6').chmod(0o755)
    returncode, said, errors = image.run('/lib32/libc.so.6')
    assert returncode == 0 and said.startswith('GNU C Library')
    assert errors == ignored('wrong ELF class: ELFCLASS64')


def test_a_library_that_may_not_be_executed(image):
    """As on a file system of the node that is mounted noexec."""
    image.add_glibc()
    image.program()
    assert image.run(mount='ro,noexec,bind') == (0, 'uid 0', ignored('failed to map segment from shared object'))


def test_a_library_that_is_gone(image):
    """A runtime makes an empty directory of a source that is missing."""
    image.add_glibc()
    image.program()
    (image.version / 'libgpuslice.so').unlink()
    assert image.run() == (0, 'uid 0', ignored('cannot open shared object file'))


def test_an_image_of_many_programs_has_one_line_for_each(image):
    """The guide says what it costs: a line for each start, and nothing else."""
    image.add('/lib32/ld-linux.so.2', 'lib/ld-linux.so.2')
    image.add('/lib32/libc.so.6', 'lib32/libc.so.6')
    image.program(SOURCE, '-static')
    image.add(compiled(image.folder, 'starter', '''
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    for (int i = 0; i < 3; i++)
        if (fork() == 0)
            return execl("/lib/ld-linux.so.2", "ld-linux.so.2", "/lib32/libc.so.6", (char *)0);
        else
            wait((int *)0);
    return execl("/bin/program", "program", (char *)0);
}
''', '-static'), 'bin/starter')
    returncode, said, errors = image.run('/bin/starter')
    assert (returncode, said.splitlines()[-1]) == (0, 'uid 0')
    assert errors.splitlines() == [ignored('wrong ELF class: ELFCLASS64')] * 3
