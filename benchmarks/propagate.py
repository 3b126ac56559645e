"""Label propagation by windows beside the dense formulation: processor time and peak memory.

One frame with a full context is labelled, on random features, by each method in a process of its
own with one thread. Memory is what labelling takes beyond the context. The labels of both methods
are compared.

python benchmarks/propagate.py --channels 64 640 --grid 30x54 60x107 --context 20
"""

from __future__ import annotations

import argparse
import itertools
import time

import torch
from torch import Tensor
from torch.nn import functional

from vdit.benchmarking.processes import run_in_new_process
from vdit.measure import peak_memory, reset_peak_memory, resident_memory
from vdit.propagation import LabelPropagator, PropagationSettings

NUM_LABELS = 4


class DensePropagator:
    """The formulation of DINO: all similarities with the context at once, masked after exp."""

    def __init__(self, first: Tensor, labels: Tensor, settings: PropagationSettings) -> None:
        self.shape, self.settings = first.shape, settings
        self.context = [(functional.normalize(first, dim=0).flatten(1), labels.flatten(1))]
        y, x = torch.meshgrid(*(torch.arange(side) for side in first.shape[1:]), indexing="ij")
        y, x = y.flatten(), x.flatten()
        self.window = settings.inside(y[:, None] - y, x[:, None] - x).float()

    def step(self, features: Tensor) -> Tensor:
        """Label one frame from its features [C, h, w]; give [K, h, w] and take it as context."""
        query = functional.normalize(features, dim=0).flatten(1)
        maps = torch.stack([each for each, _ in self.context])
        labels = torch.cat([each for _, each in self.context], dim=1)
        weights = torch.matmul(maps.transpose(1, 2), query)
        weights.div_(self.settings.temperature).exp_().mul_(self.window)
        weights = weights.flatten(0, 1)
        last = weights.topk(min(self.settings.topk, len(weights)), dim=0).values[-1]
        weights.masked_fill_(weights < last, 0)
        weights.div_(weights.sum(dim=0))
        found = labels @ weights
        del self.context[1 : max(1, len(self.context) - self.settings.num_context + 1)]
        self.context.append((query, found))
        return found.unflatten(1, self.shape[1:])


METHODS = {"dense": DensePropagator, "windows": LabelPropagator}


def filled(method: str, channels: int, grid: tuple[int, int], settings: PropagationSettings):
    """Build a propagator whose context is full, without propagating."""
    generator = torch.Generator().manual_seed(0)

    def labels() -> Tensor:
        numbers = torch.randint(NUM_LABELS, grid, generator=generator)
        return functional.one_hot(numbers, NUM_LABELS).permute(2, 0, 1).float()

    def make() -> LabelPropagator | DensePropagator:
        first = torch.randn(channels, *grid, generator=generator)
        return METHODS[method](first, labels(), settings)

    propagator = make()
    for _ in range(settings.num_context):
        other = make()
        if method == "dense":
            propagator.context += other.context
        else:
            propagator._recent.append(other._first)
            propagator._num_frames += 1
    return propagator, torch.randn(2, channels, *grid, generator=generator)


def measure(
    method: str, channels: int, grid: tuple[int, int], settings: PropagationSettings
) -> tuple[float, int, Tensor]:
    """Give seconds of processor time, bytes beyond the context, and the labels of one frame."""
    torch.set_num_threads(1)
    tiny = PropagationSettings.dino(2, 2, 3, 0.1)
    warm, frames = filled(method, channels, (6, 7), tiny)
    warm.step(frames[0])
    propagator, frames = filled(method, channels, grid, settings)
    reset_peak_memory()
    before = resident_memory()
    start = time.process_time()
    labels = propagator.step(frames[0])
    return time.process_time() - start, peak_memory() - before, labels.numpy()


def main() -> None:
    """Measure every method at every size; print a table with the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 640])
    parser.add_argument("--grid", nargs="+", default=["30x54", "60x107"], help="rows x columns")
    parser.add_argument("--context", type=int, default=20)
    parser.add_argument("--radius", type=float, default=15)
    parser.add_argument("--topk", type=int, default=15)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = parser.parse_args()
    settings = PropagationSettings.dino(options.context, options.radius, options.topk, 0.1)
    print(f"{options.context} + 1 context frames, radius {options.radius:g}, top {options.topk}")
    print("channels grid     method    s/frame      MiB   differ")
    for channels, name in itertools.product(options.channels, options.grid):
        height, width = (int(side) for side in name.split("x"))
        rows = []
        for method in options.methods:
            rows.append(run_in_new_process(measure, method, channels, (height, width), settings))
            seconds, size, labels = rows[-1]
            differ = abs(labels - rows[0][2]).max()
            print(
                f"{channels:8} {name:8} {method:8} {seconds:8.3f} {size / 2**20:8.0f} "
                f"{differ:8.1e}",
                flush=True,
            )
        if len(rows) == 2:
            (slow, large, _), (fast, small, _) = rows
            print(f"{'':18}ratio    {slow / fast:8.1f} {large / small:8.1f}")


if __name__ == "__main__":
    main()
