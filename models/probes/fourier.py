"""Coordinates as queries: sines and cosines of rising frequency, then a small MLP."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_BASES = 16


def fourier_features(coordinates: Tensor, num_bases: int = NUM_BASES) -> Tensor:
    """Encode coordinates by sin and cos of pi * 2^i * c, i = 0..num_bases - 1.

    Args:
        coordinates: [..., D] in -1..1, float32: the highest frequency resolves 2^-15, which half
            precision cannot hold.
        num_bases: frequencies.

    Returns:
        [..., 2 * num_bases * D]: the sines of all coordinates, then the cosines.
    """
    frequencies = math.pi * 2.0 ** torch.arange(num_bases, device=coordinates.device)
    angles = (coordinates.float()[..., None] * frequencies).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def append_places(features: Tensor, num_bases: int) -> Tensor:
    """Tell every feature where in the frame its cell lies.

    Args:
        features: [..., C, h, w].
        num_bases: frequencies.

    Returns:
        [..., C + 4 * num_bases, h, w]: Fourier features of the middles of cells, in -1..1, behind
        the features.
    """
    height, width = features.shape[-2:]
    y, x = (
        (2 * torch.arange(count, device=features.device) + 1) / count - 1
        for count in (height, width)
    )
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # [h, w, 2]
    places = fourier_features(grid, num_bases).permute(2, 0, 1).to(features.dtype)
    return torch.cat([features, places.expand(*features.shape[:-3], -1, -1, -1)], dim=-3)


class CoordinateEmbedding(nn.Module):
    """Fourier features of coordinates and an MLP with one hidden layer, as wide as its output.

    Args:
        num_coordinates: 2 for a point (x, y), 4 for a box (x0, y0, x1, y1).
        width: channels of the result.
        num_bases: frequencies of the Fourier features.

    Reference: van Steenkiste et al., Moving Off-the-Grid (MooG), NeurIPS 2024.
    """

    def __init__(self, num_coordinates: int, width: int = 512, num_bases: int = NUM_BASES) -> None:
        super().__init__()
        self.num_coordinates, self.num_bases = num_coordinates, num_bases
        self.hidden = nn.Linear(2 * num_bases * num_coordinates, width)
        self.output = nn.Linear(width, width)

    def forward(self, coordinates: Tensor) -> Tensor:
        """Embed coordinates.

        Args:
            coordinates: [..., num_coordinates], shares of the width and height of the frame, 0..1.

        Returns:
            [..., width].

        Raises:
            ValueError: a query has another number of coordinates.
        """
        if coordinates.shape[-1] != self.num_coordinates:
            raise ValueError(
                f"expected {self.num_coordinates} coordinates a query, got queries of shape "
                f"{tuple(coordinates.shape)}"
            )
        features = fourier_features(2 * coordinates.float() - 1, self.num_bases)
        return self.output(F.gelu(self.hidden(features.to(self.hidden.weight.dtype))))
