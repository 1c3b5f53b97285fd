# SPDX-License-Identifier: Apache-2.0
"""PyTorch, eager: training of a small CNN."""
from common import show_model, small_model, torch_fixed, train

torch = torch_fixed()
show_model(train(torch, small_model(torch)))
