"""The blocks of STDiT3; parameters have the names of the released checkpoint of Open-Sora 1.2.

Reference: Zheng et al., Open-Sora: Democratizing Efficient Video Production for All, 2024;
Chen et al., PixArt-alpha, ICLR 2024, for the shared modulation ("adaLN-single").
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Self-attention, attention to the caption and a feed-forward net, modulated by the time.

    Without `angles` a frame's cells attend to each other, with them a cell's frames do.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.randn(6, width) / width**0.5)
        self.attn = SelfAttention(width, heads)
        self.cross_attn = CrossAttention(width, heads)
        self.mlp = FeedForward(width, 4 * width, width)

    def forward(
        self, tokens: Tensor, context: Tensor, modulation: Tensor, angles: Tensor | None = None
    ) -> Tensor:
        """Tokens [B, T, S, C], context [B, L, C], modulation [B, 6, C], angles [T, D / 2]."""
        table = (self.scale_shift_table + modulation)[:, :, None, None]  # [B, 6, 1, 1, C]
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = table.unbind(1)
        states = normalized(tokens) * (1 + scale) + shift
        if angles is not None:
            states = states.transpose(1, 2)
        states = self.attn(states.flatten(0, 1), angles).view(states.shape)
        if angles is not None:
            states = states.transpose(1, 2)
        tokens = tokens + gate * states
        tokens = tokens + self.cross_attn(tokens.flatten(1, 2), context).view(tokens.shape)
        states = normalized(tokens) * (1 + scale_mlp) + shift_mlp
        return tokens + gate_mlp * self.mlp(states)


class SelfAttention(nn.Module):
    """Attention within [N, L, C]; queries and keys are normalized, then turned by `angles`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = RootMeanSquareNorm(width // heads)
        self.k_norm = RootMeanSquareNorm(width // heads)
        self.proj = nn.Linear(width, width)

    def forward(self, states: Tensor, angles: Tensor | None) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(states).chunk(3, dim=-1)
        )
        query, key = self.q_norm(query), self.k_norm(key)
        if angles is not None:
            query, key = rotate_pairs(query, angles), rotate_pairs(key, angles)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Attention of tokens [B, N, C] to a caption [B, L, C]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_linear = nn.Linear(width, width)
        self.kv_linear = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_linear(tokens), *self.kv_linear(context).chunk(2, dim=-1))
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers around a GELU (tanh form)."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, states: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(states), approximate="tanh"))


class RootMeanSquareNorm(nn.Module):
    """Divide by the root mean square of the last axis, in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, states: Tensor) -> Tensor:
        power = states.float().square().mean(-1, keepdim=True)
        return self.weight * (states.float() * torch.rsqrt(power + 1e-6)).to(states.dtype)


def rotate_pairs(states: Tensor, angles: Tensor) -> Tensor:
    """Turn neighboring channels [.., T, D] by angles [T, D / 2] (Su et al., RoFormer, Eq. 15)."""
    first, second = states.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.cos(), angles.sin()
    turned = torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return turned.flatten(-2).to(states.dtype)


def normalized(tokens: Tensor) -> Tensor:
    """Layer norm without weights."""
    return F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
