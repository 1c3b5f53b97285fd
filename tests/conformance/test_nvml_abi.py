# SPDX-License-Identifier: Apache-2.0
"""src/gpu/nvml-abi.h and nvml-calls.def against NVIDIA's own nvml.h, of an old and a new release.

Both declare the same names. So ours are renamed (ours_nvmlX, OURS_NVML_X) into a copy, and a generated
C file that includes both asserts equal values, sizes, offsets and prototypes; it is only compiled.
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
HEADER = (ROOT / 'src/gpu/nvml-abi.h').read_text()
CALLS = (ROOT / 'src/gpu/nvml-calls.def').read_text()
SINCE = (ROOT / 'sim/nvml/since.def').read_text()
PLAIN = (ROOT / 'sim/nvml/plain.def').read_text()
UNSUPPORTED = (ROOT / 'sim/nvml/unsupported.def').read_text()

VERSIONS = ['12.9.79', '13.5.37']
BRANCHES = {'12.9.79': 575, '13.5.37': 610}  # of the driver that each came with
# What a release does not have yet, or has under another type.
ABSENT = {'12.9.79': {'nvmlGpuFabricInfo_v3_t', 'nvmlPdi_v1_t', 'nvmlDeviceGetPdi', 'nvmlDeviceGetGpuInstanceProfileInfoByIdV'},
          '13.5.37': set()}
# Bounds of loops, not of memory.
CHANGED = {'12.9.79': {'NVML_NVLINK_MAX_LINKS', 'NVML_GPU_INSTANCE_PROFILE_COUNT', 'NVML_COMPUTE_INSTANCE_PROFILE_COUNT'},
           '13.5.37': {'NVML_GPM_METRIC_MAX'}}
# Its last member is as long as the header's number of metrics; ours has none of its own.
OPEN = {'nvmlGpmMetricsGet_t'}
# NVIDIA moves nvmlX_t to the newest version of a struct; our prototype stays at the version we fill.
MOVED = {'13.5.37': {'nvmlDeviceGetGpuFabricInfoV'}}


def without_comments(text):
    return re.sub(r'/\*.*?\*/|//[^\n]*', '', text, flags=re.S)


def enumerators():
    for body in re.findall(r'enum\s*\{(.*?)\}', without_comments(HEADER), re.S):
        yield from re.findall(r'^\s*(\w+)\s*=', body, re.M)


def structs():
    """Name and fields of each struct or union that is written out."""
    for body, name in re.findall(r'typedef (?:struct|union) \{(.*?)\n\} (\w+);', without_comments(HEADER), re.S):
        yield name, re.findall(r'(\w+)\s*(?:\[\w+\])?;', body)


def calls():
    for name, arguments in re.findall(r'NVML_CALL\(\s*(\w+),\s*\((.*?)\)\)', without_comments(CALLS), re.S):
        yield name, ' '.join(arguments.split())


@pytest.fixture(scope='session')
def headers():
    path = str(ROOT / 'tests/conformance/fetch-nvml-headers')
    loader = importlib.machinery.SourceFileLoader('fetch_nvml_headers', path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('fetch_nvml_headers', loader))
    loader.exec_module(module)
    return module.fetch(TOOLS / 'nvml-headers')


def renamed(text):
    return re.sub(r'\bNVML_', 'OURS_NVML_', re.sub(r'\bnvml', 'ours_nvml', text))


def compile_with(header, folder, assertions):
    """The compiler's complaints about `assertions` below both headers; '' = none."""
    (folder / 'ours.h').write_text(renamed(HEADER).replace('#pragma once', ''))
    (folder / 'check.c').write_text('#define NVML_NO_UNVERSIONED_FUNC_DEFS\n'
                                    f'#include "{header}"\n#include "ours.h"\n#include <stddef.h>\n'
                                    + '\n'.join(assertions) + '\nint main(void) { return 0; }\n')
    done = subprocess.run(['gcc', '-std=gnu17', '-fsyntax-only', '-Wno-deprecated-declarations', '-I', folder, folder / 'check.c'],
                          capture_output=True, text=True)
    return done.stderr


def known(header, names):
    text = header.read_text()
    return {name for name in names if re.search(rf'\b{name}\b', text)}


@pytest.mark.parametrize('version', VERSIONS)
def test_every_name_is_nvidias(headers, version):
    names = set(enumerators()) | {name for name, _ in structs()} | {name for name, _ in calls()}
    assert len(names) > 400
    assert names - known(headers[version], names) == ABSENT[version]


@pytest.mark.parametrize('version', VERSIONS)
def test_values(headers, version, tmp_path):
    names = sorted(known(headers[version], set(enumerators())) - CHANGED.get(version, set()))
    assert len(names) > 200
    checks = [f'_Static_assert((long long){name} == (long long){renamed(name)}, "{name}");' for name in names]
    assert compile_with(headers[version], tmp_path, checks) == ''


@pytest.mark.parametrize('version', VERSIONS)
def test_sizes_and_offsets(headers, version, tmp_path):
    checks = []
    for name, members in structs():
        if name in ABSENT[version]:
            continue
        if name not in OPEN:
            checks.append(f'_Static_assert(sizeof({name}) == sizeof(ours_{name}), "sizeof {name}");')
        for member in members:
            for what in (f'offsetof({name}, {member})', f'sizeof((({name} *)0)->{member})'):
                checks.append(f'_Static_assert({what} == {renamed(what)}, "{name}.{member}");')
    assert len(checks) > 200
    assert compile_with(headers[version], tmp_path, checks) == ''


@pytest.mark.parametrize('version', VERSIONS)
def test_prototypes(headers, version, tmp_path):
    checks = []
    for name, arguments in calls():
        if name in MOVED.get(version, set()) | ABSENT[version]:
            continue
        checks.append(f'typedef nvmlReturn_t proto_{name}({arguments});')
        checks.append(f'_Static_assert(__builtin_types_compatible_p(__typeof__({name}), proto_{name}), "{name}");')
    assert len(checks) > 280
    assert compile_with(headers[version], tmp_path, checks) == ''


@pytest.mark.parametrize('version', VERSIONS)
def test_outputs_of_plain_functions(headers, version, tmp_path):
    """What is zeroed is as large as the struct, and has its version."""
    text = without_comments(PLAIN)
    sizes = re.findall(r'\bOUT\((nvml\w+), (\d+)\)', text)
    versions = re.findall(r'\bVERSION\((nvml\w+_v(\d+)_t), (\d+), (\d+)\)', text)
    assert versions and all(of_name == number for _, of_name, number, _ in versions)
    sizes += [(name, size) for name, _, _, size in versions]
    assert len(sizes) == len(re.findall(r'\bOUT\(nvml|\bVERSION\(', text))
    present = known(headers[version], {name for name, _ in sizes})
    checks = [f'_Static_assert(sizeof({name}) == {size}, "{name}");' for name, size in sizes if name in present]
    assert compile_with(headers[version], tmp_path, checks) == ''


def test_the_check_can_fail(headers, tmp_path):
    wrong = '_Static_assert(sizeof(nvmlMemory_t) == sizeof(ours_nvmlMemory_v2_t), "told");'
    assert 'told' in compile_with(headers[VERSIONS[0]], tmp_path, [wrong])


def declared_by(header):
    text = without_comments(header.read_text())
    return set(re.findall(r'DECLDIR\s*\*?\s*(nvml\w+)\s*\(', text)) | set(re.findall(r'DECLDIR char\*\s*(nvml\w+)', text))


@pytest.mark.parametrize('version', VERSIONS)
def test_a_simulated_driver_has_its_own_functions(headers, version):
    since = {name: int(branch) for name, branch in re.findall(r'^SINCE\((\w+), (\d+)\)', SINCE, re.M)}
    declared = declared_by(headers[version])
    assert list(since) == sorted(since)
    assert {name for name in since if since[name] <= BRANCHES[version]} == declared & set(since)


@pytest.mark.parametrize('version', VERSIONS)
def test_simulator_exports_every_function(headers, version):
    """Foreign clients may bind each function of the header when they start."""
    declared = declared_by(headers[version])
    ours = {name for name, _ in calls()} | {'nvmlErrorString'} | set(re.findall(r'^UNSUPPORTED\((\w+)\)', UNSUPPORTED, re.M))
    ours |= set(re.findall(r'^PLAIN(?:_SYSTEM)?\((\w+)', PLAIN, re.M))
    assert len(declared) > 380
    assert declared - ours == set()
