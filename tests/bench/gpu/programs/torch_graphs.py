# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: a step of training is captured, with its allocations, and replayed; beside it an allocation fails."""
from common import images, show_model, small_model, torch_fixed

torch = torch_fixed()
model = small_model(torch)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
pictures, labels = (one.cuda() for one in images(torch))


def step():
    optimizer.zero_grad(set_to_none=True)
    torch.nn.functional.cross_entropy(model(pictures), labels).backward()
    optimizer.step()


side = torch.cuda.Stream()
side.wait_stream(torch.cuda.current_stream())
with torch.cuda.stream(side):
    for _ in range(3):
        step()
torch.cuda.current_stream().wait_stream(side)
graph = torch.cuda.CUDAGraph()
optimizer.zero_grad(set_to_none=True)
with torch.cuda.graph(graph):
    step()
for _ in range(20):
    graph.replay()
torch.cuda.synchronize()
show_model(model)
