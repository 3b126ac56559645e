"""Learning rates and moving averages; both depend on the step only, so that runs can resume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def cosine_rate(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate: a linear rise over `warmup` steps, then a cosine to zero.

    >>> cosine_rate(0, 100, 10), cosine_rate(9, 100, 10), round(cosine_rate(100, 100, 10), 6)
    (0.1, 1.0, 0.0)
    """
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(steps - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def multistep_rate(step: int, drops: Sequence[int], factor: float, warmup: int = 0) -> float:
    """Share of the peak learning rate: a linear rise, then a fall by `factor` from each drop on.

    >>> [round(multistep_rate(step, [2, 4], 0.1), 6) for step in range(5)]
    [1.0, 1.0, 0.1, 0.1, 0.01]
    """
    if step < warmup:
        return (step + 1) / warmup
    return factor ** sum(step >= drop for drop in drops)


class MovingAverage:
    """Exponential moving average of parameters.

    Args:
        parameters: what to average, in a fixed order.
        decay: weight of the past, after a start in which fewer steps count less.
    """

    def __init__(self, parameters: Iterable[Tensor], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.values = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for value, parameter in zip(self.values, self.parameters, strict=True):
            value.lerp_(parameter.to(value.dtype), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange parameters and averages; twice changes nothing."""
        for value, parameter in zip(self.values, self.parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)
