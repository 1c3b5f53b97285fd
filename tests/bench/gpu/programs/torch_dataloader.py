# SPDX-License-Identifier: Apache-2.0
"""DataLoader with workers, forked and spawned, and pinned memory."""
from common import images, show_model, small_model, torch_fixed


def main():
    torch = torch_fixed()
    model = small_model(torch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for how in ('fork', 'spawn'):
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*images(torch, 256)), batch_size=32, num_workers=4,
                                             pin_memory=True, multiprocessing_context=how)
        for pictures, labels in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(pictures.cuda(non_blocking=True)), labels.cuda(non_blocking=True))
            loss.backward()
            optimizer.step()
    show_model(model)


if __name__ == '__main__':
    main()
