# SPDX-License-Identifier: Apache-2.0
"""torch.compile: kernels that Triton makes at run time."""
from common import show_model, small_model, torch_fixed, train

torch = torch_fixed()
model = small_model(torch)
show_model(train(torch, model, step=torch.compile(model)))
