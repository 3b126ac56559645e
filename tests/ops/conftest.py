"""Inputs of multi-scale deformable attention, away from the points where it is not smooth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

Inputs = tuple[Tensor, list[tuple[int, int]], Tensor, Tensor]


def sample_locations(
    shapes: Sequence[tuple[int, int]], leading: Sequence[int], points: int, dtype: torch.dtype
) -> Tensor:
    """Draw [*leading, L, P, 2], 0.1 px away from pixel centers, some half or wholly outside."""
    levels = []
    for height, width in shapes:
        size = torch.tensor([width, height])
        cells = torch.stack(
            [torch.randint(-2, int(side) + 1, (*leading, points)) for side in size], dim=-1
        )
        pixels = cells + 0.1 + 0.8 * torch.rand(*leading, points, 2, dtype=torch.float64)
        levels.append((pixels + 0.5) / size)
    return torch.stack(levels, dim=-3).to(dtype)


def make(
    shapes: Sequence[tuple[int, int]] = ((4, 5), (2, 3)),
    *,
    batch: int = 2,
    queries: int = 7,
    heads: int = 3,
    channels: int = 8,
    points: int = 4,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Inputs:
    """Draw value, spatial_shapes, sampling_locations and attention_weights that need gradients."""
    torch.manual_seed(seed)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    pixels = sum(height * width for height, width in shapes)
    value = torch.randn(batch, pixels, heads, channels, dtype=torch.float64).to(dtype)
    locations = sample_locations(shapes, (batch, queries, heads), points, wide)
    logits = torch.randn(batch, queries, heads, len(shapes) * points, dtype=torch.float64)
    weights = logits.softmax(-1).view(locations.shape[:-1]).to(wide)
    return (
        value.requires_grad_(),
        list(shapes),
        locations.requires_grad_(),
        weights.requires_grad_(),
    )


@pytest.fixture(scope="session")
def make_inputs() -> Callable[..., Inputs]:
    return make
