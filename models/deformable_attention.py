"""Multi-scale deformable attention as a layer: queries look at a few learned points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vdit.ops import ms_deform_attn


class DeformableAttention(nn.Module):
    """Let each query sample every level of a pyramid at learned offsets from its reference.

    Args:
        dim: channels.
        num_levels: levels of the pyramid.
        num_heads: attention heads.
        num_points: points per head and level.

    Reference: Zhu et al., Deformable DETR, ICLR 2021, Eq. 3.
    """

    def __init__(
        self, dim: int = 256, num_levels: int = 4, num_heads: int = 8, num_points: int = 4
    ) -> None:
        super().__init__()
        self.num_levels, self.num_heads, self.num_points = num_levels, num_heads, num_points
        num_samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(dim, num_samples * 2)
        self.attention_weights = nn.Linear(dim, num_samples)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with head h looking along direction h, point k at distance k, uniform weights."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angle = torch.arange(self.num_heads, dtype=torch.float32) * (2 * math.pi / self.num_heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        distance = torch.arange(1, self.num_points + 1, dtype=torch.float32)
        offsets = direction[:, None, None, :] * distance[None, None, :, None]
        offsets = offsets.expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def sampling(
        self, query: Tensor, reference_points: Tensor, spatial_shapes: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """Compute where each query looks and how much each point counts.

        Returns:
            locations [N, Q, M, L, P, 2] as (x, y) in 0..1 of each level, and weights
            [N, Q, M, L, P] that sum to 1 over L and P.
        """
        shape = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*shape, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1))
        weights = weights.softmax(-1).unflatten(-1, shape[1:])
        reference = reference_points[:, :, None, :, None]
        if reference_points.shape[-1] == 2:
            sizes = offsets.new_tensor([(w, h) for h, w in spatial_shapes])
            offsets = offsets / sizes[:, None]
        else:
            offsets = offsets / self.num_points * reference[..., 2:] * 0.5
        return reference[..., :2] + offsets, weights

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        value: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        padding_mask: Tensor,
    ) -> Tensor:
        """Attend in float32, also under autocast.

        Args:
            query: [N, Q, C].
            reference_points: [N, Q, L, 2] (x, y), or [N, Q, L, 4] (cx, cy, w, h), in 0..1 of the
                padded map of each level.
            value: [N, S, C] all levels flattened and concatenated.
            spatial_shapes: (h, w) of each level.
            padding_mask: [N, S] bool, True = padded; such values count as zero.

        Returns:
            [N, Q, C].
        """
        with torch.autocast(query.device.type, enabled=False):
            query, value = query.float(), value.float()
            locations, weights = self.sampling(query, reference_points.float(), spatial_shapes)
            projected = self.value_proj(value).masked_fill(padding_mask[..., None], 0.0)
            projected = projected.unflatten(-1, (self.num_heads, -1))
            return self.output_proj(ms_deform_attn(projected, spatial_shapes, locations, weights))
