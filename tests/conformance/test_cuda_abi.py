# SPDX-License-Identifier: Apache-2.0
"""src/shim/cuda-abi.h and cuda-calls.def against NVIDIA's own cuda.h of CUDA 12 and 13.

Both declare the same names. So ours are renamed (ours_CUx, OURS_CU_X) into a copy, and a generated C file that includes
both asserts equal values, sizes, offsets and prototypes; it is only compiled.
"""
import importlib.machinery
import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get('GPUSLICE_TOOLS', ROOT / 'build-tools'))
HEADER = (ROOT / 'src/shim/cuda-abi.h').read_text()
CALLS = (ROOT / 'src/shim/cuda-calls.def').read_text()
ABSENT = (ROOT / 'sim/cuda/absent.def').read_text()
VERSIONS = ['12.9.79', '13.0.96']
# Structs that NVIDIA's header has under a versioned name alone, when it is asked for no version.
ALIAS = {'CUDA_MEMCPY2D': 'CUDA_MEMCPY2D_v2', 'CUDA_ARRAY_DESCRIPTOR': 'CUDA_ARRAY_DESCRIPTOR_v2',
         'CUDA_ARRAY3D_DESCRIPTOR': 'CUDA_ARRAY3D_DESCRIPTOR_v2'}


def without_comments(text):
    return re.sub(r'/\*.*?\*/|//[^\n]*', '', text, flags=re.S)


def enumerators():
    for body in re.findall(r'enum\s*\{(.*?)\}', without_comments(HEADER), re.S):
        yield from re.findall(r'^\s*(\w+)\s*=', body, re.M)


def structs():
    """Name and fields of each struct that is written out; what is in a struct inside is not looked at."""
    for body, name in re.findall(r'typedef struct \{(.*?)\n\} (\w+);', without_comments(HEADER), re.S):
        yield name, re.findall(r'(\w+)\s*(?:\[\w+\])?;', re.sub(r'struct \{.*?\}', '', body, flags=re.S))


def rows():
    """(exported, asked, since, variant, arguments)."""
    text = re.sub(r'^#.*', '', without_comments(CALLS), flags=re.M)
    for kind, name, rest in re.findall(r'CUDA_(CALL|SAME|REST)\(\s*(\w+),(.*?)\)\)', text, re.S):
        words = ' '.join(rest.split())
        head, _, tail = words.partition('(')
        columns = [word.strip() for word in head.split(',') if word.strip()]
        asked, since, variant = columns[-3:]
        yield name, asked, int(since), variant, tail[:tail.index(')')]


def suffixed(name, variant):
    return {f'{name}_{kind.lower()}' for kind in ('PTSZ', 'PTDS') if variant.endswith(kind)}


def rows_of(version):
    """Those that the header's release can know."""
    major, minor = (int(word) for word in version.split('.')[:2])
    return [row for row in rows() if row[2] <= 1000 * major + 10 * minor]


@pytest.fixture(scope='session')
def headers():
    path = str(ROOT / 'tests/conformance/fetch-cuda-headers')
    loader = importlib.machinery.SourceFileLoader('fetch_cuda_headers', path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('fetch_cuda_headers', loader))
    loader.exec_module(module)
    return module.fetch(TOOLS / 'cuda-headers')


def renamed(text):
    return re.sub(r'\b(CU)(?=[a-z_A-Z])', r'OURS_\1', re.sub(r'\b(CU[a-z]\w*)\b', r'ours_\1', text)).replace('ours_OURS_', 'ours_')


def compile_with(folder, header, assertions):
    """The compiler's complaints about `assertions` below both headers; '' = none."""
    (folder / 'ours.h').write_text(renamed(HEADER).replace('#pragma once', ''))
    (folder / 'check.c').write_text('#define __CUDA_API_VERSION_INTERNAL\n'
                                    f'#include "{header / "cuda.h"}"\n#include "{header / "cudaTypedefs.h"}"\n#include "ours.h"\n'
                                    + '\n'.join(assertions) + '\nint main(void) { return 0; }\n')
    done = subprocess.run(['gcc', '-std=gnu17', '-fsyntax-only', '-Wno-deprecated-declarations', '-I', folder, '-I', header, folder / 'check.c'],
                          capture_output=True, text=True)
    return done.stderr


@pytest.mark.parametrize('version', VERSIONS)
def test_values(headers, version, tmp_path):
    names = sorted(enumerators())
    assert len(names) > 120
    checks = [f'_Static_assert((long long){name} == (long long){renamed(name)}, "{name}");' for name in names]
    assert compile_with(tmp_path, headers[version], checks) == ''


@pytest.mark.parametrize('version', VERSIONS)
def test_sizes_and_offsets(headers, version, tmp_path):
    checks = []
    for name, members in structs():
        theirs = ALIAS.get(name, name)
        checks.append(f'_Static_assert(sizeof({theirs}) == sizeof({renamed(name)}), "sizeof {name}");')
        for member in members:
            for what in ('offsetof({}, {})', 'sizeof((({} *)0)->{})'):
                checks.append(f'_Static_assert({what.format(theirs, member)} == {what.format(renamed(name), member)}, "{name}.{member}");')
    assert len(checks) > 90
    assert compile_with(tmp_path, headers[version], checks) == ''


def typedefs(header):
    """asked name -> the versions that cudaTypedefs.h knows, with their variant."""
    found = {}
    for name, since, variant in re.findall(r'PFN_(cu\w+?)_v(\d+)(_ptsz|_ptds)?\)', (header / 'cudaTypedefs.h').read_text()):
        found.setdefault(name, set()).add((int(since), variant))
    return found


@pytest.mark.parametrize('version', VERSIONS)
def test_prototypes(headers, version, tmp_path):
    """Each row has the prototype that NVIDIA gives that name in that version, and its variants."""
    known, checks = typedefs(headers[version]), []
    for name, asked, since, variant, arguments in rows_of(version):
        checks.append(f'typedef CUresult proto_{name}({arguments});')
        checks.append(f'_Static_assert(__builtin_types_compatible_p(PFN_{asked}_v{since}, proto_{name} *), "{name}");')
        suffixes = {suffix for _, suffix in known[asked] if suffix}
        # cuGetProcAddress has a second name, and no second type. What was replaced by CUDA 3.2 is older than default streams per thread.
        is_old = since < 3020 and len({since for since, suffix in known[asked] if not suffix}) > 1
        assert variant == 'EARLY_PTSZ' or is_old or {asked + suffix for suffix in suffixes} == suffixed(asked, variant), name
    assert len(checks) > 170
    assert compile_with(tmp_path, headers[version], checks) == ''


@pytest.mark.parametrize('version', VERSIONS)
def test_names_and_versions(headers, version):
    """cuGetProcAddress tells versions apart by these numbers: each is one of NVIDIA's."""
    known = typedefs(headers[version])
    assert [(name, since) for name, asked, since, _, _ in rows_of(version) if (since, '') not in known[asked]] == []


def declared(header):
    """Every function that cuda.h declares or redirects to."""
    text = without_comments((header / 'cuda.h').read_text())
    names = set(re.findall(r'CUDAAPI\s+(cu\w+)\s*\(', text))
    for name, suffix in re.findall(r'#\s*define\s+cu\w+\s+__CUDA_API_(PTSZ|PTDS)\((cu\w+)\)', text):
        names |= {suffix, f'{suffix}_{name.lower()}'}
    return names | set(re.findall(r'#\s*define\s+cu[A-Z]\w*\s+(cu[A-Z]\w*)', text))


@pytest.mark.parametrize('version', VERSIONS)
def test_simulator_has_every_function(headers, version):
    """A program may bind each function of the header when it starts."""
    ours = set()
    for name, _, _, variant, _ in rows():
        ours |= {name} | suffixed(name, variant)
    for name, variant in re.findall(r'ABSENT\((\w+), \w+, \d+, (\w+)\)', ABSENT):
        ours |= {name} | suffixed(name, variant)
    names = declared(headers[version])
    assert len(names) > 500
    assert names - ours == set()


TAKES_MEMORY = re.compile(r'Alloc|Create|Import|Instantiate|Retain|Load|Open|HostRegister|Upload|GraphLaunch|Prefetch|SetLimit|Restore|'
                          r'MapArray|MapResources|MulticastBind|GraphAddNode|LinkAdd|LinkComplete')
GIVES_NONE = re.compile(r'Get|Unload|IsLoaded|Import.*Semaphore')


def base_name(name):
    return re.sub(r'(_v\d+)?(_ptsz|_ptds)?$', '', name)


TABLE = (ROOT / 'src/shim/hooks.def').read_text()
HOOKS = set(re.findall(r'^HOOK\((\w+)\)', TABLE, re.M))
EXCUSED = set(re.findall(r'^NOT_HOOKED\((\w+), ".+"\)', TABLE, re.M))


def assert_intercepted(names, more_than):
    """Every version and variant of them, or the row says why not."""
    assert len(names) > more_than
    assert sorted(name for name in names - HOOKS if base_name(name) not in EXCUSED) == []


@pytest.mark.parametrize('version', VERSIONS)
def test_what_takes_memory_is_intercepted(headers, version):
    names = {name for name in declared(headers[version]) if TAKES_MEMORY.search(name) and not GIVES_NONE.search(name)}
    assert_intercepted(names, 80)
    assert not {base_name(name) for name in HOOKS} & EXCUSED


WAITS = re.compile(r'^cuMemcpy|^cuMemset|Synchronize|Query')


@pytest.mark.parametrize('version', VERSIONS)
def test_what_may_wait_for_the_device_is_intercepted(headers, version):
    """Every call by which a program may find out that its work is done, or the row says why not."""
    assert_intercepted({name for name in declared(headers[version]) if WAITS.search(name)}, 80)


ENDS = re.compile(r'Free|Destroy|Unregister|Unmap|Unload|Release|Reset|Detach|Close|Trim|Unbind')


@pytest.mark.parametrize('version', VERSIONS)
def test_what_may_wait_before_it_ends_something_is_intercepted(headers, version):
    """The driver may wait for what still uses it, or the row says why not."""
    assert_intercepted({name for name in declared(headers[version]) if ENDS.search(name)}, 30)


@pytest.mark.parametrize('version', VERSIONS)
def test_all_of_a_function_is_intercepted(headers, version):
    """What frees, shows or looks up: if one version or variant is, all are."""
    bases = {base_name(name) for name in HOOKS}
    assert sorted(name for name in declared(headers[version]) - HOOKS if base_name(name) in bases) == []


def test_the_check_can_fail(headers, tmp_path):
    wrong = '_Static_assert(sizeof(CUmemPoolProps) == sizeof(ours_CUmemLocation), "told");'
    assert 'told' in compile_with(tmp_path, headers[VERSIONS[0]], [wrong])
