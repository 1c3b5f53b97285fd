# SPDX-License-Identifier: Apache-2.0
"""Programs as they are, with the library and without: the same result, bit by bit, in a slice of 24 GiB."""
import concurrent.futures
import os
import sys
import time

from bed import GIB, HERE

LIMIT = 24 * GIB
AT_ONCE = int(os.environ.get('AT_ONCE', '4'))
TIMEOUT_S = 240
PROGRAMS = ('torch_eager', 'torch_compiled', 'torch_graphs', 'torch_dataloader', 'torch_gloo', 'torch_profiler', 'torch_threads', 'torch_full',
            'triton_kernel', 'jax_default', 'cupy_arrays', 'onnxruntime_session', 'transformers_generate')


def one(bed, name, memory):
    begun = time.monotonic()
    try:
        status, out, errors = bed.run([sys.executable, HERE / f'programs/{name}.py'], memory, TIMEOUT_S)
    except Exception as problem:  # a program that hangs is a result
        status, out, errors = -1, '', str(problem)
    said = dict(line.split(' ', 1) for line in out.splitlines() if ' ' in line)
    return {'status': status, 'said': said, 'errors': errors[-4000:], 'seconds': time.monotonic() - begun}


def judge(bed, name, without, limited):
    bed.note(name, {'without': without, 'with': limited})
    notes = ' '.join(limited['said'].get(word, '') for word in ('note', 'rounds') if word in limited['said'])
    if 'skip' in without['said']:
        bed.line(name, f'not run: {without["said"]["skip"]}'[:80], '', None)
    elif without['status']:
        bed.line(name, 'does not run without the library: ' + last(without['errors']), '', None)
    elif limited['status']:
        bed.line(name, f'status {limited["status"]}: ' + last(limited['errors']), 'as without', False)
    else:
        same = 'checksum' in limited['said'] and limited['said']['checksum'] == without['said'].get('checksum')
        seconds = f'{without["seconds"]:.0f} -> {limited["seconds"]:.0f} s'
        bed.line(name, f'{"same" if same else "OTHER"} result, {seconds} {notes}', 'as without', same)


def last(errors):
    lines = [line for line in errors.splitlines() if line.strip() and not line.startswith('gpuslice:')]
    return lines[-1][:90] if lines else '?'


def programs(bed):
    chosen = os.environ.get('PROGRAMS', '').split() or PROGRAMS
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {name: (pool.submit(one, bed, name, None), pool.submit(one, bed, name, LIMIT)) for name in chosen}
        for name, (without, limited) in runs.items():
            judge(bed, name, without.result(), limited.result())


PARTS = (programs,)
