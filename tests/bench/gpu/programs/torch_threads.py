# SPDX-License-Identifier: Apache-2.0
"""Backward passes of several threads at once, with allocations that fail and are given back, for SECONDS."""
import os
import threading
import time

from common import show, small_model, torch_fixed, train

THREADS = 8
SECONDS = float(os.environ.get('SECONDS', '10'))
torch = torch_fixed()
until = time.monotonic() + SECONDS
results, failures = {}, []


def model_sum():
    return torch.cat([value.flatten() for _, value in sorted(train(torch, small_model(torch), 10).state_dict().items())]).cpu()


def work(number):
    """One of them also asks for more than there is, over and over."""
    try:
        with torch.cuda.stream(torch.cuda.Stream()):
            while True:
                with seeds:
                    model = small_model(torch)
                train(torch, model, 10)
                results.setdefault(number, []).append(torch.cat([v.flatten() for _, v in sorted(model.state_dict().items())]).cpu())
                if number == 0:
                    try:
                        torch.empty(1 << 50, dtype=torch.uint8, device='cuda')
                    except torch.cuda.OutOfMemoryError:
                        torch.cuda.empty_cache()
                if time.monotonic() > until:
                    return
    except Exception as problem:  # whatever it is, the main thread tells it
        failures.append(problem)


seeds = threading.Lock()
wanted = model_sum()
threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
for one in threads:
    one.start()
for one in threads:
    one.join()
if failures:
    raise failures[0]
same = all(torch.equal(one, wanted) for of_thread in results.values() for one in of_thread)
print('rounds', sum(map(len, results.values())))
show(same, wanted)
