# SPDX-License-Identifier: Apache-2.0
"""What the programs share: the same arithmetic each time, and a checksum of the result."""
import hashlib
import os
import sys

# cuBLAS gives the same sums each time with a fixed workspace only.
os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')


def torch_fixed():
    import torch
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    return torch


def small_model(torch):
    layers = torch.nn
    torch.manual_seed(0)
    return layers.Sequential(layers.Conv2d(3, 16, 3, padding=1), layers.ReLU(), layers.Conv2d(16, 32, 3, stride=2, padding=1), layers.ReLU(),
                             layers.Flatten(), layers.Linear(32 * 16 * 16, 10)).cuda()


def images(torch, n=64):
    made = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, 32, 32, generator=made), torch.randint(0, 10, (n,), generator=made)


def train(torch, model, steps=20, batch=None, step=None):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    pictures, labels = (one.cuda() for one in batch or images(torch))
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy((step or model)(pictures), labels).backward()
        optimizer.step()
    return model


def show(*arrays):
    """Prints what names the values, bit by bit. Tensors, numpy arrays, text and numbers."""
    digest = hashlib.sha256()
    for one in arrays:
        if hasattr(one, 'detach'):
            one = one.detach().float().cpu().numpy()
        digest.update(one.tobytes() if hasattr(one, 'tobytes') else str(one).encode())
    print('checksum', digest.hexdigest()[:16])


def show_model(model):
    show(*[value for _, value in sorted(model.state_dict().items())])


def skip(why):
    """This machine lacks what the program is about."""
    print('skip', why)
    sys.exit(0)
