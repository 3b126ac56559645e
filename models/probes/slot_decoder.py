"""From slots back to a map: every cell asks the slots what it shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class SlotDecoderConfig:
    """Sizes of the decoder.

    Attributes:
        depth: layers in which the slots see each other.
        num_heads: of those layers; the cells ask with a single one.
        head_dim: channels of every head.
        mlp_ratio: hidden channels of the feed-forward parts, in channels of a slot.
        dropout: of the positions that the cells ask with.
    """

    depth: int = 1
    num_heads: int = 8
    head_dim: int = 64
    mlp_ratio: int = 4
    dropout: float = 0.1


class Attention(nn.Module):
    """Heads of a size that need not divide the channels.

    Args:
        dim: channels of queries, context and output.
        num_heads: number of heads.
        head_dim: channels of each.
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(dim, num_heads * head_dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * num_heads * head_dim, bias=False)
        self.out = nn.Linear(num_heads * head_dim, dim)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Let queries [B, Q, D] read context [B, K, D]: [B, Q, D]."""
        asked = (self.query(queries), *self.key_value(context).chunk(2, dim=-1))
        query, key, value = (
            each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in asked
        )
        read = F.scaled_dot_product_attention(query, key, value)
        return self.out(read.transpose(1, 2).flatten(2))


class GatedMlp(nn.Module):
    """Feed-forward part with a GELU gate: [..., D] -> [..., D].

    Args:
        dim: channels.
        hidden_dim: channels between.

    Reference: Shazeer, GLU Variants Improve Transformer, 2020, Eq. 6 (GEGLU).
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, 2 * hidden_dim)
        self.contract = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        content, gate = self.expand(x).chunk(2, dim=-1)
        return self.contract(content * F.gelu(gate))


class LatentLayer(nn.Module):
    """Slots see each other: [B, K, D] -> [B, K, D].

    Args:
        dim: channels of a slot.
        config: sizes.
    """

    def __init__(self, dim: int, config: SlotDecoderConfig) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = Attention(dim, config.num_heads, config.head_dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = GatedMlp(dim, config.mlp_ratio * dim)

    def forward(self, slots: Tensor) -> Tensor:
        normed = self.norm_attention(slots)
        slots = slots + self.attention(normed, normed)
        return slots + self.mlp(self.norm_mlp(slots))


class PerceiverDecoder(nn.Module):
    """Cells read the slots once; what a cell shows comes from the slots alone.

    Args:
        dim: channels of slots, queries and output.
        config: sizes.

    Reference: Jaegle et al., Perceiver IO, ICLR 2022, Sec. 3; the last attention has no residual.
    """

    def __init__(self, dim: int, config: SlotDecoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LatentLayer(dim, config) for _ in range(config.depth))
        self.norm_queries = nn.LayerNorm(dim)
        self.norm_slots = nn.LayerNorm(dim)
        self.read = Attention(dim, 1, config.head_dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, slots: Tensor, queries: Tensor) -> Tensor:
        """Decode slots [N, K, D] at the cells of queries [N, Q, D]: [N, Q, D]."""
        for layer in self.layers:
            slots = layer(slots)
        return self.out(self.read(self.norm_queries(queries), self.norm_slots(slots)))


class SlotDecoder(nn.Module):
    """Decode the slots of every frame into the tokens of a grid.

    Every cell of the grid has a learned vector that it asks with.

    Args:
        num_cells: h * w of the grid, row-major.
        dim: channels of slots and tokens.
        config: sizes.

    Shape:
        slots [B, T, K, dim] -> tokens [B, T, num_cells, dim].
    """

    def __init__(self, num_cells: int, dim: int, config: SlotDecoderConfig) -> None:
        super().__init__()
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(num_cells, dim)))
        self.dropout = nn.Dropout(config.dropout)
        self.perceiver = PerceiverDecoder(dim, config)

    def forward(self, slots: Tensor) -> Tensor:
        frames = slots.flatten(0, 1)
        queries = self.dropout(self.positions.expand(len(frames), -1, -1))
        return self.perceiver(frames, queries).unflatten(0, slots.shape[:2])
