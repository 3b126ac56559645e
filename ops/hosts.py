"""The operator under the call signature of other code bases."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor

from vdit.ops.ms_deform_attn import ms_deform_attn


def multi_scale_deform_attn(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int = 64,
) -> Tensor:
    """Call `ms_deform_attn` with the arguments of Deformable-DETR and mmcv.

    Both integer tensors are read on the host: keep them on the CPU, or call `ms_deform_attn` with
    numbers, where the copy from the device would cost time.

    Args:
        value: [N, S, M, D].
        value_spatial_shapes: [L, 2] integers (h, w).
        value_level_start_index: [L] integers; the levels must follow each other without gaps.
        sampling_locations: [N, Q, M, L, P, 2] as (x, y) in 0..1, of any floating dtype.
        attention_weights: [N, Q, M, L, P], of any floating dtype.
        im2col_step: accepted and ignored: batches of any size run in one go.

    Returns:
        [N, Q, M * D] in the dtype of `value`.

    Raises:
        ValueError: as `ms_deform_attn`, or the start indices do not follow from the shapes.
    """
    shapes = [(int(height), int(width)) for height, width in value_spatial_shapes.tolist()]
    starts = list(accumulate((height * width for height, width in shapes[:-1]), initial=0))
    if value_level_start_index.tolist() != starts:
        raise ValueError(
            f"value_level_start_index: expected {starts} to match value_spatial_shapes {shapes}, "
            f"got {value_level_start_index.tolist()}"
        )
    wide = torch.float64 if value.dtype == torch.float64 else torch.float32
    return ms_deform_attn(value, shapes, sampling_locations.to(wide), attention_weights.to(wide))
