# SPDX-License-Identifier: Apache-2.0
"""PyTorch over its limit: its own OutOfMemoryError, and it goes on after it."""
from common import show, torch_fixed

torch = torch_fixed()
free, total = torch.cuda.mem_get_info()
kept, fails = [], 0
for _ in range(10_000):
    try:
        kept.append(torch.empty(min(free // 8, 4 << 30), dtype=torch.uint8, device='cuda'))
    except torch.cuda.OutOfMemoryError:
        fails += 1
        break
assert fails, 'it was never full'
got = sum(one.numel() for one in kept)
assert got <= free, (got, free)
del kept
torch.cuda.empty_cache()
again = torch.ones(1 << 20, device='cuda').sum()
assert torch.cuda.get_device_properties(0).total_memory == total, 'two views of one GPU'
print('note', f'total {total >> 20} MiB, free {free >> 20} MiB, {got >> 20} MiB got')
show(again)
