# SPDX-License-Identifier: Apache-2.0
"""Two processes of one job on one GPU, which add up their gradients over gloo."""
import tempfile

from common import images, show_model, small_model, torch_fixed


def work(rank, file):
    torch = torch_fixed()
    torch.distributed.init_process_group('gloo', init_method=f'file://{file}', rank=rank, world_size=2)
    model = torch.nn.parallel.DistributedDataParallel(small_model(torch))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    pictures, labels = (one[rank::2].cuda() for one in images(torch))
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(pictures), labels).backward()
        optimizer.step()
    if rank == 0:
        show_model(model.module)
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    import torch.multiprocessing
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (f'{folder}/meet',), 2)
