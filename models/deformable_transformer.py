"""Deformable transformer: an encoder over a feature pyramid, a decoder over object queries.

Frames are folded into the batch: N = B * T. The layers do not mix frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vdit.models.deformable_attention import DeformableAttention

BoxHead = Callable[[Tensor], Tensor]


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Invert the sigmoid; both odds are kept >= eps."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


@dataclass
class Pyramid:
    """Feature maps of all levels, flattened row by row and concatenated.

    Attributes:
        tokens: [N, S, C].
        position: [N, S, C] position and level encoding.
        padding_mask: [N, S] bool, True = padded.
        spatial_shapes: (h, w) of each level.
        valid_ratios: [N, L, 2] unpadded fraction of width and height of each level.
    """

    tokens: Tensor
    position: Tensor
    padding_mask: Tensor
    spatial_shapes: list[tuple[int, int]]
    valid_ratios: Tensor

    def reference_points(self) -> Tensor:
        """Cell centers of every level: [N, S, L, 2] in 0..1 of each padded level."""
        points = []
        for (h, w), ratio in zip(self.spatial_shapes, self.valid_ratios.unbind(1), strict=True):
            y, x = torch.meshgrid(
                torch.arange(h, device=ratio.device) + 0.5,
                torch.arange(w, device=ratio.device) + 0.5,
                indexing="ij",
            )
            x = x.flatten() / (ratio[:, None, 0] * w)
            y = y.flatten() / (ratio[:, None, 1] * h)
            points.append(torch.stack([x, y], dim=-1))
        return torch.cat(points, dim=1)[:, :, None] * self.valid_ratios[:, None]

    def maps(self, tokens: Tensor) -> list[Tensor]:
        """Split [N, S, C] into one [N, C, h, w] a level."""
        parts = tokens.split([h * w for h, w in self.spatial_shapes], dim=1)
        return [
            part.transpose(1, 2).unflatten(-1, shape)
            for part, shape in zip(parts, self.spatial_shapes, strict=True)
        ]


def _valid_ratio(padding_mask: Tensor) -> Tensor:
    """Unpadded fraction of width and height: [N, h, w] bool -> [N, 2]."""
    inside = ~padding_mask
    return torch.stack([inside[:, 0].float().mean(1), inside[:, :, 0].float().mean(1)], dim=-1)


class FeedForward(nn.Module):
    """Post-norm residual feed-forward part of a layer: [..., C] -> [..., C]."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden_dim)
        self.linear2 = nn.Linear(hidden_dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        update = self.linear2(self.dropout(torch.relu(self.linear1(x))))
        return self.norm(x + self.dropout(update))


class EncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then a feed-forward."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attn = _attention(config, config.num_encoder_points)
        self.norm1 = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.feed_forward = FeedForward(config.dim, config.feed_forward_dim, config.dropout)

    def forward(self, tokens: Tensor, pyramid: Pyramid, reference_points: Tensor) -> Tensor:
        attended = self.self_attn(
            tokens + pyramid.position,
            reference_points,
            tokens,
            pyramid.spatial_shapes,
            pyramid.padding_mask,
        )
        return self.feed_forward(self.norm1(tokens + self.dropout(attended)))


class DecoderLayer(nn.Module):
    """Self-attention among queries, deformable attention to the pyramid, a feed-forward."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim, dropout = config.dim, config.dropout
        self.self_attn = nn.MultiheadAttention(dim, config.num_heads, dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.cross_attn = _attention(config, config.num_decoder_points)
        self.norm1 = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.feed_forward = FeedForward(dim, config.feed_forward_dim, dropout)

    def forward(
        self,
        queries: Tensor,
        position: Tensor,
        reference_points: Tensor,
        pyramid: Pyramid,
        query_padding: Tensor | None = None,
    ) -> Tensor:
        query = queries + position
        attended = self.self_attn(
            query, query, queries, key_padding_mask=query_padding, need_weights=False
        )[0]
        queries = self.norm2(queries + self.dropout(attended))
        attended = self.cross_attn(
            queries + position,
            reference_points,
            pyramid.tokens,
            pyramid.spatial_shapes,
            pyramid.padding_mask,
        )
        return self.feed_forward(self.norm1(queries + self.dropout(attended)))


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the deformable transformer; the defaults are VD-IT's."""

    dim: int = 256
    num_heads: int = 8
    num_levels: int = 4
    num_encoder_layers: int = 4
    num_decoder_layers: int = 4
    num_encoder_points: int = 4
    num_decoder_points: int = 4
    feed_forward_dim: int = 2048
    dropout: float = 0.1


def _attention(config: TransformerConfig, num_points: int) -> DeformableAttention:
    return DeformableAttention(config.dim, config.num_levels, config.num_heads, num_points)


@dataclass
class DecoderStates:
    """What the transformer computed; D decoder layers.

    Attributes:
        states: [D, N, Q, C] queries after each layer.
        references: reference each layer started from: [N, Q, 2] unless boxes were given, then
            D - 1 times [N, Q, 4].
        boxes: [D, N, Q, 4] cxcywh that each layer predicted, in 0..1 of the unpadded frame; these
            are also the references that the next layer starts from, then detached.
        memory: [N, C, h, w] encoded map of each level.
    """

    states: Tensor
    references: list[Tensor]
    boxes: Tensor
    memory: list[Tensor]


class DeformableTransformer(nn.Module):
    """Encode a pyramid and decode object queries with iterative box refinement.

    Args:
        config: sizes.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.level_embed = nn.Parameter(torch.empty(config.num_levels, config.dim))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_decoder_layers))
        self.reference_points = nn.Linear(config.dim, 2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier for matrices, the attention's own rule for offsets, N(0, 1) for levels."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.reset_parameters()
        nn.init.zeros_(self.reference_points.bias)
        nn.init.normal_(self.level_embed)

    def flatten(
        self, maps: Sequence[Tensor], padding_masks: Sequence[Tensor], positions: Sequence[Tensor]
    ) -> Pyramid:
        """Concatenate levels [N, C, h, w] with masks [N, h, w] and position encodings."""
        position = [
            encoding.flatten(2).transpose(1, 2) + level
            for encoding, level in zip(positions, self.level_embed, strict=True)
        ]
        return Pyramid(
            tokens=torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1),
            position=torch.cat(position, dim=1),
            padding_mask=torch.cat([mask.flatten(1) for mask in padding_masks], dim=1),
            spatial_shapes=[(x.shape[-2], x.shape[-1]) for x in maps],
            valid_ratios=torch.stack([_valid_ratio(mask) for mask in padding_masks], dim=1),
        )

    def forward(
        self,
        pyramid: Pyramid,
        queries: Tensor,
        query_position: Tensor,
        box_heads: Sequence[BoxHead],
        *,
        references: Tensor | None = None,
        query_padding: Tensor | None = None,
    ) -> DecoderStates:
        """Encode, then decode.

        Args:
            pyramid: from `flatten`.
            queries: [N, Q, C] content of the queries.
            query_position: [Q, C] or [N, Q, C].
            box_heads: one for each decoder layer, [N, Q, C] -> [N, Q, 4] update in logit space.
            references: [N, Q, 4] cxcywh in 0..1 that the first layer refines; it looks around their
                centers as far as it likes, later layers look in and around the boxes. None =
                points that `query_position` decides.
            query_padding: [N, Q] bool, True = no query; no other query looks at it.
        """
        reference_points = pyramid.reference_points()
        tokens = pyramid.tokens
        for layer in self.encoder:
            tokens = layer(tokens, pyramid, reference_points)
        pyramid.tokens = tokens

        N = len(queries)
        position = query_position.expand(N, -1, -1)
        if references is None:
            references = self.reference_points(position).sigmoid()
        reference = references
        ratios = pyramid.valid_ratios[:, None]
        states: list[Tensor] = []
        starts: list[Tensor] = []
        boxes: list[Tensor] = []
        for layer, box_head in zip(self.decoder, box_heads, strict=True):
            scale = ratios if reference.shape[-1] == 2 else torch.cat([ratios, ratios], dim=-1)
            where = reference[:, :, None] * scale
            if not states:  # an object may have left its old box: offsets are in cells
                where = where[..., :2]
            queries = layer(queries, position, where, pyramid, query_padding)
            box = _refine(box_head(queries), reference)
            states.append(queries)
            starts.append(reference)
            boxes.append(box)
            reference = box.detach()
        return DecoderStates(torch.stack(states), starts, torch.stack(boxes), pyramid.maps(tokens))


def _refine(update: Tensor, reference: Tensor) -> Tensor:
    """Move a box from its reference; a point reference gives only the center."""
    start = inverse_sigmoid(reference)
    if reference.shape[-1] == 2:
        start = torch.cat([start, torch.zeros_like(start)], dim=-1)
    return (update + start).sigmoid()
