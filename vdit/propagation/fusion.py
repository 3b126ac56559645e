"""Features of several networks as one: what a video model knows beside what an image model knows.

Axes: C channels, h x w cells; any axes before them are equal in all maps.

Reference: TED, which fuses I2VGen-XL with weight alpha and ADM with weight 1 - alpha.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def fuse_features(
    features: Sequence[Tensor], weights: Sequence[float], *, size: tuple[int, int] | None = None
) -> Tensor:
    """Scale every map to unit length in each cell, weight and concatenate them.

    The cosine similarity of two fused cells is the mean of the cosine similarities of their parts,
    weighted by the squares of `weights`.

    Args:
        features: maps [..., C_i, h_i, w_i]; those of another grid are resized bilinearly first.
        weights: one a map, >= 0, not all 0. A map of weight 0 is left out.
        size: (h, w) of the result, by default the grid of the most cells among the maps that are
            not left out.

    Returns:
        [..., sum of C_i, h, w] in the widest dtype of the maps.

    Raises:
        ValueError: the numbers of maps and weights differ, or a weight is out of range.
    """
    if len(features) != len(weights):
        raise ValueError(
            f"expected one weight a map, got {len(features)} maps and {len(weights)} weights"
        )
    if not all(weight >= 0 and math.isfinite(weight) for weight in weights) or not any(weights):
        raise ValueError(f"expected weights >= 0, one of them > 0, got {list(weights)}")
    kept = [(each, weight) for each, weight in zip(features, weights, strict=True) if weight > 0]
    finest = max((each.shape[-2:] for each, _ in kept), key=math.prod)
    height, width = finest if size is None else size
    parts = [
        weight * functional.normalize(_resized(each, (height, width)), dim=-3)
        for each, weight in kept
    ]
    return torch.cat(parts, dim=-3)


def _resized(features: Tensor, size: tuple[int, int]) -> Tensor:
    if features.shape[-2:] == size:
        return features
    leading = features.shape[:-3]
    frames = features.reshape(-1, *features.shape[-3:])
    frames = functional.interpolate(frames, size=size, mode="bilinear", align_corners=False)
    return frames.reshape(*leading, *frames.shape[-3:])
