"""Multi-scale deformable attention on two threads over one: wall time, the best of some calls.

Passes with one and with two threads take turns in one process, on an otherwise idle machine. The
gradients of a large case are fresh memory in every call, whose pages the system gives when they are
first written; `GLIBC_TUNABLES` of the second line lets the process keep its memory instead, which
leaves the kernels alone.

python benchmarks/op_threads.py -o benchmarks/op_threads.json
GLIBC_TUNABLES=glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184 \
    python benchmarks/op_threads.py -o benchmarks/op_threads_kept_memory.json
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from vdit.benchmarking.facts import run_facts
from vdit.benchmarking.op_cases import CASES, make_inputs
from vdit.ops import ms_deform_attn

THREADS = (1, 2)


def passes_of(name: str) -> dict[str, Callable[[], object]]:
    """Give the forward and the backward pass of a case."""
    x = make_inputs(CASES[name])
    with torch.enable_grad():
        out = ms_deform_attn(x.value, x.shapes, x.locations, x.weights)

    def forward() -> object:
        with torch.no_grad():
            return ms_deform_attn(x.value, x.shapes, x.locations, x.weights)

    def backward() -> object:
        return torch.autograd.grad(out, x.tensors(), x.grad_out, retain_graph=True)

    return {"forward": forward, "backward": backward}


def time_threads(function: Callable[[], object], rounds: int) -> dict[int, float]:
    """Seconds of the best call by number of threads."""
    seconds = dict.fromkeys(THREADS, float("inf"))
    for index in range(rounds + 1):  # the first warms up
        for threads in THREADS:
            torch.set_num_threads(threads)
            start = time.perf_counter()
            function()
            if index > 0:
                seconds[threads] = min(seconds[threads], time.perf_counter() - start)
    return seconds


def main() -> None:
    """Time all passes, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=sorted(CASES), default=["small", "large"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    for name in options.cases:
        for step, function in passes_of(name).items():
            seconds = time_threads(function, options.rounds)
            milliseconds = {str(n): round(1000 * value, 2) for n, value in seconds.items()}
            ratio = round(seconds[1] / seconds[2], 2)
            rows.append({"case": name, "pass": step, "ms": milliseconds, "ratio": ratio})
            print(json.dumps(rows[-1]), flush=True)
    kept = os.environ.get("GLIBC_TUNABLES", "")
    result = run_facts() | {"rounds": options.rounds, "GLIBC_TUNABLES": kept, "rows": rows}
    options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
