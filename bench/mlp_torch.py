"""Training rate of PyTorch on the CPU for the network of bench/mlp.yaml, in samples a second.

784-512-512-10, ReLU, cross entropy, Adam with its defaults, fp32. One batch is used again and again:
no data is read. Prints the median over windows of ten steps, as `motley bench step` does.

usage: mlp_torch.py [--batch N] [--steps N] [--threads N] [--version]
"""
import argparse
import statistics
import time

import torch
import torch.nn as nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--threads", type=int, default=0)
parser.add_argument("--version", action="store_true")
args = parser.parse_args()
if args.version:
    print(torch.__version__)
    raise SystemExit
if args.threads:
    torch.set_num_threads(args.threads)
torch.manual_seed(1)
net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
                    nn.Linear(512, 10))
optimizer = torch.optim.Adam(net.parameters())
loss = nn.CrossEntropyLoss()
x, y = torch.rand(args.batch, 784), torch.randint(0, 10, (args.batch,))


def window(steps):
    start = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss(net(x), y).backward()
        optimizer.step()
    return args.batch * steps / (time.perf_counter() - start)


window(10)
print(f"{statistics.median(window(10) for _ in range(max(1, args.steps // 10))):.0f}")
