"""Multi-head attention and the transformer blocks that the attentive probe is made of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def attend(query: Tensor, key: Tensor, value: Tensor, num_heads: int) -> Tensor:
    """Softmax attention of several heads, each on its share of the channels.

    Args:
        query: [B, Q, P].
        key: [B, N, P].
        value: [B, N, P].
        num_heads: must divide P.

    Returns:
        [B, Q, P]: softmax(q k^T / sqrt(P / heads)) v, heads side by side.
    """
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def check_heads(width: int, num_heads: int) -> None:
    """Raise ValueError unless heads share the channels evenly, one or more each."""
    if min(width, num_heads) < 1 or width % num_heads:
        raise ValueError(
            f"expected a width that the heads divide, got {width} and {num_heads} heads; "
            "change one of them"
        )


class CrossAttention(nn.Module):
    """Attention of queries over tokens, without an output projection."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        check_heads(width, num_heads)
        self.num_heads = num_heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Queries [B, Q, P], tokens [B, N, P] -> [B, Q, P]."""
        key, value = self.kv(tokens).chunk(2, dim=-1)
        return attend(self.q(query), key, value, self.num_heads)


class SelfAttention(nn.Module):
    """Attention of tokens over themselves, with an output projection."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        check_heads(width, num_heads)
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, P] -> [B, N, P]."""
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        return self.proj(attend(query, key, value, self.num_heads))


class Mlp(nn.Module):
    """Two linear layers with a GELU between them: [..., width] -> [..., width]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class CrossAttentionBlock(nn.Module):
    """Cross-attention and MLP, each with a residual; the queries themselves are not normalized."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.xattn = CrossAttention(width, num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, mlp_ratio * width)

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Queries [B, Q, P], tokens [B, N, P] -> [B, Q, P]."""
        query = query + self.xattn(query, self.norm1(tokens))
        return query + self.mlp(self.norm2(query))


class SelfAttentionBlock(nn.Module):
    """The block of a vision transformer: norm before, residual after."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, mlp_ratio * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, P] -> [B, N, P]."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))
