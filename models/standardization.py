"""Channels of frozen maps on one scale, whatever network they are of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_LEAST_DEVIATION = 1e-6


class ChannelStandardizer(nn.Module):
    """Bring every channel to mean 0 and deviation 1, as measured once on some maps.

    Blocks of one network differ in scale by more than their use: joined as they are, the loudest is
    most of what a first layer sees. Before `measure` nothing is changed.

    Args:
        channels: C.

    Shape:
        [N, C, h, w] -> the same.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def measure(self, maps: Sequence[Tensor]) -> None:
        """Take mean and deviation of each channel over maps [C, h, w] of any sizes."""
        cells = torch.cat([each.flatten(1) for each in maps], dim=1)
        deviation, mean = torch.std_mean(cells.float(), dim=1)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp(min=_LEAST_DEVIATION))

    def forward(self, maps: Tensor) -> Tensor:
        """Standardize; see the class."""
        return (maps - self.mean[:, None, None]) / self.deviation[:, None, None]
