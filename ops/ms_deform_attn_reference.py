"""Multi-scale deformable attention by `grid_sample`: slow, memory-hungry and easy to believe.

It is the truth that the compiled kernels are tested against, and what runs where none is built.
Shapes: N batch, S pixels of all levels, M heads, D channels, Q queries, L levels, P points.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def ms_deform_attn_reference(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Compute what `vdit.ops.ms_deform_attn` computes, out of PyTorch operators only.

    Args:
        value: [N, S, M, D] features of all levels, row-major and concatenated.
        spatial_shapes: (h, w) of each level.
        sampling_locations: [N, Q, M, L, P, 2] as (x, y), 0..1 over each level.
        attention_weights: [N, Q, M, L, P].

    Returns:
        [N, Q, M * D] in the dtype of `value`; sums are made in float32, in float64 for float64.

    Reference: Zhu et al., Deformable DETR, ICLR 2021, Eq. 3.
    """
    batch, queries, heads = sampling_locations.shape[:3]
    channels = value.shape[3]
    maps = _level_maps(value, spatial_shapes)
    out = maps[0].new_zeros(batch * heads, channels, queries)
    for level, level_map in enumerate(maps):
        sampled = _sample(level_map, _grid(sampling_locations[:, :, :, level]))
        out = out + (sampled * _level_weights(attention_weights, level, out.dtype)).sum(-1)
    out = out.view(batch, heads * channels, queries).transpose(1, 2)
    return out.to(value.dtype).contiguous()


def ms_deform_attn_reference_backward(
    grad_out: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of `ms_deform_attn_reference` without recording a graph.

    Args:
        grad_out: [N, Q, M * D].
        value: [N, S, M, D].
        spatial_shapes: (h, w) of each level.
        sampling_locations: [N, Q, M, L, P, 2].
        attention_weights: [N, Q, M, L, P].

    Returns:
        Gradients of value (its dtype), of locations and of weights (float32, float64 for float64).
    """
    batch, queries, heads = sampling_locations.shape[:3]
    maps = _level_maps(value, spatial_shapes)
    grad = grad_out.to(maps[0].dtype).view(batch, queries, heads, -1)
    grad = grad.permute(0, 2, 3, 1).flatten(0, 1).unsqueeze(-1)  # [N * M, D, Q, 1]
    grad_maps, grad_locations, grad_weights = [], [], []
    for level, level_map in enumerate(maps):
        grid = _grid(sampling_locations[:, :, :, level])
        weights = _level_weights(attention_weights, level, grad.dtype)
        grad_map, grad_grid = torch.ops.aten.grid_sampler_2d_backward(
            (grad * weights).contiguous(), level_map, grid, 0, 0, False, [True, True]
        )
        grad_maps.append(grad_map.flatten(2))
        grad_locations.append(2 * grad_grid)
        grad_weights.append((grad * _sample(level_map, grid)).sum(1))
    grad_value = torch.cat(grad_maps, dim=2).view(batch, heads, -1, value.shape[1])
    return (
        grad_value.permute(0, 3, 1, 2).to(value.dtype).contiguous(),
        _queries_first(torch.stack(grad_locations, dim=2), batch),
        _queries_first(torch.stack(grad_weights, dim=2), batch),
    )


def _level_maps(value: Tensor, spatial_shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Split [N, S, M, D] into one map [N * M, D, h, w] per level."""
    wide = value if value.dtype == torch.float64 else value.float()
    levels = wide.split([height * width for height, width in spatial_shapes], dim=1)
    return [
        level.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, shape)
        for level, shape in zip(levels, spatial_shapes, strict=True)
    ]


def _grid(locations: Tensor) -> Tensor:
    """Turn [N, Q, M, P, 2] in 0..1 into a grid [N * M, Q, P, 2]; NaN and infinity go outside."""
    finite = locations.nan_to_num(nan=-1.0, posinf=2.0, neginf=-1.0).clamp(-1.0, 2.0)
    return (2 * finite - 1).transpose(1, 2).flatten(0, 1)


def _sample(level_map: Tensor, grid: Tensor) -> Tensor:
    """Sample a map at a grid: [N * M, D, Q, P]."""
    return F.grid_sample(
        level_map, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def _level_weights(weights: Tensor, level: int, dtype: torch.dtype) -> Tensor:
    """Pick the weights of one level: [N, Q, M, L, P] -> [N * M, 1, Q, P]."""
    return weights[:, :, :, level].transpose(1, 2).flatten(0, 1).unsqueeze(1).to(dtype)


def _queries_first(grad: Tensor, batch: int) -> Tensor:
    """Undo the layout of the levels: [N * M, Q, L, ...] -> [N, Q, M, L, ...]."""
    return (
        grad.unflatten(0, (batch, grad.shape[0] // batch if batch else 0))
        .transpose(1, 2)
        .contiguous()
    )
