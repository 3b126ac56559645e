"""Time, memory and agreement of implementations of multi-scale deformable attention."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from vdit.benchmarking.op_cases import CASES, Case, Inputs, make_inputs
from vdit.benchmarking.op_peers import Peer, find_peers, reference
from vdit.benchmarking.processes import run_in_new_process
from vdit.measure import (
    can_reset_peak_memory,
    peak_memory,
    reset_peak_memory,
    resident_memory,
)

PASSES = ("forward", "forward+backward")
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}
"""Of the largest number, by the dtype of a result."""
EDGE = 0.01
"""Pixels: samples nearer to a pixel's center line are left out when gradients are compared, as the
function has kinks there."""
TINY = Case(((2, 2),), batch=1)
WARM_UPS, FLUSHED_BYTES = 10, 256 * 2**20


def run_pass(peer: Peer, inputs: Inputs, name: str) -> tuple[Tensor, ...]:
    """Compute the result, or the three gradients."""
    if name == "forward":
        with torch.no_grad():
            return (peer(inputs),)
    return torch.autograd.grad(peer(inputs), inputs.tensors(), inputs.grad_out)


def disagreement(peer: Peer, inputs: Inputs) -> str | None:
    """Compare a peer with the reference; None if both agree, else what differs and by how much."""
    names = ("result", "gradient of value", "gradient of locations", "gradient of weights")
    actual, expected = (
        [tensor for pass_name in PASSES for tensor in run_pass(function, inputs, pass_name)]
        for function in (peer, reference)
    )
    smooth = _is_smooth(inputs)
    for name, got, want in zip(names, actual, expected, strict=True):
        difference = (got.detach().double() - want.detach().double()).abs()
        if name in ("gradient of locations", "gradient of weights"):
            difference = difference * (smooth[..., None] if difference.dim() == 6 else smooth)
        share = float(difference.max() / want.detach().abs().max().clamp(min=1e-12))
        if not share <= TOLERANCES[inputs.value.dtype]:
            return f"{name} differs by {share:.1e} of its largest number"
    return None


def _is_smooth(inputs: Inputs) -> Tensor:
    """Tell which samples are away from the kinks, [N, Q, M, L, P]."""
    sides = inputs.locations.new_tensor([(width, height) for height, width in inputs.shapes])
    pixels = inputs.locations.detach() * sides[:, None] - 0.5
    share = pixels - pixels.floor()
    return ((share > EDGE) & (share < 1 - EDGE)).all(dim=-1)


def time_on_cpu(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Call every function in turn, `rounds` times after one warm-up.

    Returns:
        Milliseconds: of processor time with one thread, else of wall time.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in functions}
    for index in range(rounds + 1):
        for name, function in functions.items():
            start = clock()
            function()
            if index > 0:
                times[name].append(1e3 * (clock() - start))
    return times


def time_on_cuda(
    functions: dict[str, Callable[[], object]], rounds: int, flush: bool
) -> dict[str, list[float]]:
    """Time every function by events, in turn, after warm-ups; `flush` empties the L2 cache first.

    Returns:
        Milliseconds.
    """
    spare = torch.empty(FLUSHED_BYTES // 4, device="cuda")
    times: dict[str, list[float]] = {name: [] for name in functions}
    for index in range(rounds + WARM_UPS):
        for name, function in functions.items():
            if flush:
                spare.zero_()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            function()
            end.record()
            torch.cuda.synchronize()
            if index >= WARM_UPS:
                times[name].append(start.elapsed_time(end))
    return times


def summary(times: list[float]) -> dict[str, float]:
    """Give the best time, the median and the quartiles, in milliseconds."""
    quartiles = statistics.quantiles(times, n=4) if len(times) > 1 else [times[0]] * 3
    return {
        "best": round(min(times), 4),
        "median": round(statistics.median(times), 4),
        "lower_quartile": round(quartiles[0], 4),
        "upper_quartile": round(quartiles[2], 4),
    }


def peak_bytes(
    case: str, peer: str, pass_name: str, dtype: torch.dtype, threads: int
) -> int | None:
    """Measure a pass in a process of its own: the peak beyond the inputs and what it returns.

    A gradient of value of which some pages are never touched can make it negative.

    Returns:
        Bytes; None where /proc does not tell them.
    """
    if not can_reset_peak_memory():
        return None
    return run_in_new_process(_peak_bytes, case, peer, pass_name, dtype, threads)


def _peak_bytes(case: str, peer: str, pass_name: str, dtype: torch.dtype, threads: int) -> int:
    torch.set_num_threads(threads)
    function = find_peers("cpu")[peer]
    run_pass(function, make_inputs(TINY, dtype), pass_name)
    inputs = make_inputs(CASES[case], dtype)
    reset_peak_memory()
    before = resident_memory()
    results = run_pass(function, inputs, pass_name)
    returned = sum(result.numel() * result.element_size() for result in results)
    if pass_name == PASSES[1]:  # the result, which is computed on the way
        returned += inputs.grad_out.numel() * inputs.grad_out.element_size()
    return peak_memory() - before - returned
