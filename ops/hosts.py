"""The operator as other code bases call it: a function of Deformable-DETR, a layer of mmcv."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

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


class MultiScaleDeformableAttention(nn.Module):
    """Stand in for `mmcv.ops.MultiScaleDeformableAttention`: same arguments, same state-dict keys.

    The result is dropout(attention) + identity.

    Args:
        embed_dims: C, channels of the queries and of the result.
        num_heads: M.
        num_levels: L.
        num_points: P.
        im2col_step: accepted and ignored: batches of any size run in one go.
        dropout: share of the attention that is dropped in training.
        batch_first: whether tensors are [N, Q, C] instead of [Q, N, C].
        norm_cfg: accepted and ignored, as mmcv does.
        init_cfg: must be None: mmengine's initializers are not here.
        value_proj_ratio: channels of the values over `embed_dims`.

    Raises:
        ValueError: the heads do not divide the channels, or init_cfg is not None.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        im2col_step: int = 64,
        dropout: float = 0.1,
        batch_first: bool = False,
        norm_cfg: Any = None,
        init_cfg: Any = None,
        value_proj_ratio: float = 1.0,
    ) -> None:
        super().__init__()
        value_dims = int(embed_dims * value_proj_ratio)
        if embed_dims % num_heads or value_dims % num_heads:
            raise ValueError(
                f"expected embed_dims {embed_dims} and its values' {value_dims} to be multiples of "
                f"num_heads, got {num_heads}; choose another number"
            )
        if init_cfg is not None:
            raise ValueError(f"expected init_cfg to be None, got {init_cfg}; initialize by hand")
        self.embed_dims, self.num_heads = embed_dims, num_heads
        self.num_levels, self.num_points = num_levels, num_points
        self.batch_first = batch_first
        self.dropout = nn.Dropout(dropout)
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(embed_dims, samples * 2)
        self.attention_weights = nn.Linear(embed_dims, samples)
        self.value_proj = nn.Linear(embed_dims, value_dims)
        self.output_proj = nn.Linear(value_dims, embed_dims)
        self.init_weights()

    def init_weights(self) -> None:
        """Start with head h looking along direction h, point k at distance k, uniform weights."""
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        distance = torch.arange(1, self.num_points + 1)
        offsets = direction[:, None, None] * distance[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.num_levels, -1, -1).flatten())
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
        level_start_index: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Attend and add.

        Args:
            query: [Q, N, C], or [N, Q, C] if `batch_first`; so are value, identity and query_pos.
            key: ignored, as mmcv does.
            value: [S, N, C]; None = query.
            identity: what the attention is added to; None = query.
            query_pos: added to the query; None = nothing.
            key_padding_mask: [N, S], true where a pixel of value counts as zero.
            reference_points: [N, Q, L, 2] as (x, y) or [N, Q, L, 4] as (x, y, w, h), in 0..1.
            spatial_shapes: [L, 2] integers (h, w).
            level_start_index: [L] integers.
            kwargs: ignored, as mmcv does.

        Returns:
            As query.

        Raises:
            ValueError: reference points or shapes are missing, or disagree with the rest.
        """
        if reference_points is None or spatial_shapes is None or level_start_index is None:
            raise ValueError(
                "expected reference_points, spatial_shapes and level_start_index, got None; "
                "pass all three"
            )
        value = query if value is None else value
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        if not self.batch_first:
            query, value = query.transpose(0, 1), value.transpose(0, 1)
        values = self.value_proj(value)
        if key_padding_mask is not None:
            values = values.masked_fill(key_padding_mask[..., None], 0.0)
        sampled = multi_scale_deform_attn(
            values.unflatten(-1, (self.num_heads, -1)),
            spatial_shapes,
            level_start_index,
            self._locations(query, reference_points, spatial_shapes),
            self._weights(query),
        )
        out = self.output_proj(sampled)
        if not self.batch_first:
            out = out.transpose(0, 1)
        return self.dropout(out) + identity

    def _locations(self, query: Tensor, reference_points: Tensor, shapes: Tensor) -> Tensor:
        """Compute [N, Q, M, L, P, 2] as (x, y) in 0..1."""
        samples = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*samples, 2))
        if reference_points.shape[-1] not in (2, 4):
            raise ValueError(
                "reference_points: expected [N, Q, L, 2] or [N, Q, L, 4], got "
                f"{list(reference_points.shape)}"
            )
        points = reference_points[:, :, None, :, None]
        if reference_points.shape[-1] == 2:
            return points + offsets / shapes.flip(-1).to(offsets)[:, None]
        return points[..., :2] + offsets / self.num_points * points[..., 2:] * 0.5

    def _weights(self, query: Tensor) -> Tensor:
        """Compute [N, Q, M, L, P] that sum to 1 over L and P."""
        logits = self.attention_weights(query).unflatten(-1, (self.num_heads, -1))
        return logits.softmax(-1).unflatten(-1, (self.num_levels, self.num_points))
