"""Inputs on which multi-scale deformable attention is timed: shapes of VD-IT and of DETR."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Shapes = tuple[tuple[int, int], ...]

SMALL: Shapes = ((45, 80), (23, 40), (12, 20), (6, 10))
"""Strides 8 to 64 of a video of 640x360."""
LARGE: Shapes = ((90, 160), (45, 80), (23, 40), (12, 20))
"""Strides 4 to 32 of the same."""
DETR: Shapes = ((100, 167), (50, 84), (25, 42), (13, 21))
"""Strides 8 to 64 of an image of 1333x800."""
OFFSET = 2.0
"""Standard deviation of the samples around their query, in pixels of the level."""


@dataclass(frozen=True)
class Case:
    """Sizes of one call.

    Attributes:
        shapes: (h, w) of each level.
        batch: N.
        queries: Q, at random places; None = one at every pixel of every level, as in an encoder.
        heads: M.
        channels: D.
        points: P.
        uniform: whether samples lie anywhere instead of around their query.
    """

    shapes: Shapes
    batch: int = 5
    queries: int | None = None
    heads: int = 8
    channels: int = 32
    points: int = 4
    uniform: bool = False


CASES: dict[str, Case] = {
    "small": Case(SMALL),
    "large": Case(LARGE),
    "small-uniform": Case(SMALL, uniform=True),
    "large-uniform": Case(LARGE, uniform=True),
    "decoder-small": Case(SMALL, queries=5),
    "decoder-large": Case(LARGE, queries=5),
    "decoder-300": Case(DETR, batch=1, queries=300),
    "detr": Case(DETR, batch=1),
    "probe": Case(((32, 32),), batch=16),
}
"""By name; `decoder-` cases have few queries."""


@dataclass
class Inputs:
    """Tensors of one call; those of floating dtype want gradients.

    Attributes:
        value: [N, S, M, D].
        shapes: (h, w) of each level.
        locations: [N, Q, M, L, P, 2].
        weights: [N, Q, M, L, P].
        grad_out: [N, Q, M * D], of the result.
    """

    value: Tensor
    shapes: list[tuple[int, int]]
    locations: Tensor
    weights: Tensor
    grad_out: Tensor

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give what gradients are taken of."""
        return self.value, self.locations, self.weights


def make_inputs(
    case: Case, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 0
) -> Inputs:
    """Draw the tensors of a case.

    Args:
        case: sizes.
        dtype: of value; locations and weights are float32, or float64 for float64.
        device: where they are.
        seed: same seed, same numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    sides = torch.tensor([(width, height) for height, width in case.shapes], dtype=wide)
    centers = _pixel_centers(case.shapes).to(wide)
    if case.queries is not None:
        centers = centers[torch.randint(len(centers), (case.queries,), generator=generator)]
    queries, levels = len(centers), len(case.shapes)
    samples = (case.batch, queries, case.heads, levels, case.points)
    if case.uniform:
        locations = torch.rand(*samples, 2, generator=generator, dtype=wide)
    else:
        offsets = OFFSET * torch.randn(*samples, 2, generator=generator, dtype=wide)
        locations = centers[:, None, None, None] + offsets / sides[:, None]
    weights = torch.randn(*samples, generator=generator, dtype=wide).flatten(-2).softmax(-1)
    pixels = sum(height * width for height, width in case.shapes)
    value = torch.randn(case.batch, pixels, case.heads, case.channels, generator=generator)
    grad_out = torch.randn(case.batch, queries, case.heads * case.channels, generator=generator)
    return Inputs(
        value=value.to(device, dtype).requires_grad_(),
        shapes=list(case.shapes),
        locations=locations.to(device).requires_grad_(),
        weights=weights.view(samples).to(device).requires_grad_(),
        grad_out=grad_out.to(device, dtype),
    )


def _pixel_centers(shapes: Shapes) -> Tensor:
    """List the centers of all pixels of all levels, [S, 2] as (x, y) in 0..1."""
    levels = []
    for height, width in shapes:
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        levels.append(torch.stack([(x + 0.5) / width, (y + 0.5) / height], dim=-1).flatten(0, 1))
    return torch.cat(levels)
