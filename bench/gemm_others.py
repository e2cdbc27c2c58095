"""gemm_others.py -- GFLOP/s of fp32 products by PyTorch on a GPU (cuBLAS, TF32 off) or a CPU.

Reads lines "m n k trans_a trans_b", writes one figure a line; `--version` says whether a GPU is
there. Median of five turns of at least 20 ms.
"""
import sys
import time

import torch

gpu = torch.cuda.is_available()
device = torch.device("cuda" if gpu else "cpu")
torch.backends.cuda.matmul.allow_tf32 = False


def finish():
    if gpu:
        torch.cuda.synchronize()


def turn(a, b, calls):
    start = time.perf_counter()
    for _ in range(calls):
        torch.mm(a, b)
    finish()
    return (time.perf_counter() - start) / calls


def rate(m, n, k, ta, tb):
    a = torch.ones(k, m, device=device).t() if ta else torch.ones(m, k, device=device)
    b = torch.ones(n, k, device=device).t() if tb else torch.ones(k, n, device=device)
    turn(a, b, 3)
    calls = max(1, int(0.02 / turn(a, b, 3)))
    return 2e-9 * m * n * k / sorted(turn(a, b, calls) for _ in range(5))[2]


if sys.argv[1:] == ["--version"]:
    name = torch.cuda.get_device_name() if gpu else "CPU"
    print(torch.__version__, "on", name, "(cuBLAS)" if gpu else "")
else:
    for line in sys.stdin:
        print(f"{rate(*map(int, line.split())):.1f}", flush=True)
