# SPDX-License-Identifier: Apache-2.0
"""Training of a ResNet-50 on random images: steps a second of each window, in one line."""
import time

import torch
from torchvision.models import resnet50

WARM, WINDOWS, STEPS, BATCH = 8, 4, 8, 512  # the GPU is what is waited for


def main():
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    model = resnet50().cuda().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(BATCH, 3, 224, 224, device='cuda').to(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (BATCH,), device='cuda')

    def steps(n):
        for _ in range(n):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast('cuda', dtype=torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
        torch.cuda.synchronize()

    steps(WARM)
    rates = []
    for _ in range(WINDOWS):
        begun = time.perf_counter()
        steps(STEPS)
        rates.append(STEPS / (time.perf_counter() - begun))
    print(' '.join(f'{rate:.4f}' for rate in rates))


if __name__ == '__main__':
    main()
