"""Queries meet words: object queries of a clip from the sentence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vdit.models.position_encoding import sine_encoding_1d


class TextResizer(nn.Module):
    """Bring word features to the width of the head: [..., in_dim] -> [..., out_dim]."""

    def __init__(self, in_dim: int, out_dim: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)
        self.norm = nn.LayerNorm(out_dim, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, words: Tensor) -> Tensor:
        return self.dropout(self.norm(self.linear(words)))


class QueryFusion(nn.Module):
    """Scale learned queries by what they find among the words.

    The attention's output multiplies the queries elementwise: no residual, no norm. The same
    queries serve every frame of the clip, which is what links an object over time.

    Args:
        num_queries: objects per clip.
        dim: channels.
        num_heads: attention heads.

    Shape:
        words [B, L, dim], padding_mask [B, L] (True = pad) -> queries [B, Q, dim].

    Reference: Zhu et al., VD-IT, ECCV 2024, Sec. 3.4.
    """

    def __init__(self, num_queries: int = 5, dim: int = 256, num_heads: int = 8) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(num_queries, dim))
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)

    def forward(self, words: Tensor, padding_mask: Tensor) -> Tensor:
        queries = self.queries.expand(len(words), -1, -1)
        keys = words + sine_encoding_1d(padding_mask, words.shape[-1])
        found = self.attention(
            queries, keys, words, key_padding_mask=padding_mask, need_weights=False
        )[0]
        return queries * found
