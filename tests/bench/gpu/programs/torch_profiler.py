# SPDX-License-Identifier: Apache-2.0
"""torch.profiler, which is CUPTI: it sees kernels beside ours."""
from common import show, small_model, torch_fixed, train

torch = torch_fixed()
model = small_model(torch)
activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
with torch.profiler.profile(activities=activities) as profile:
    train(torch, model, 5)
    torch.cuda.synchronize()
on_gpu = [one for one in profile.events() if one.device_type == torch.autograd.DeviceType.CUDA]
assert on_gpu, 'the profiler saw no kernel'
show(len([one for one in on_gpu if 'mem' not in one.name.lower()]) > 0, *[value for _, value in sorted(model.state_dict().items())])
