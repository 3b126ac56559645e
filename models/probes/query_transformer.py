"""A transformer without self-attention: queries look at tokens, each for itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from vdit.models.probes.attention import Mlp, attend, check_heads

EPS = 1e-6


@dataclass(frozen=True)
class QueryTransformerConfig:
    """Sizes of the transformer.

    Attributes:
        channels: C of the tokens.
        width: channels of queries, keys, values and results.
        num_layers: how many.
        num_heads: attention heads; they divide the width.
        mlp_width: hidden channels of an MLP.
    """

    channels: int
    width: int = 512
    num_layers: int = 3
    num_heads: int = 8
    mlp_width: int = 2048


class NormedCrossAttention(nn.Module):
    """Cross-attention with a root-mean-square norm of the queries and keys of every head."""

    def __init__(self, config: QueryTransformerConfig) -> None:
        super().__init__()
        check_heads(config.width, config.num_heads)
        self.num_heads = config.num_heads
        width, head_width = config.width, config.width // config.num_heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(config.channels, 2 * width, bias=False)
        self.q_norm = nn.RMSNorm(head_width, eps=EPS)
        self.k_norm = nn.RMSNorm(head_width, eps=EPS)
        self.proj = nn.Linear(width, width)

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Queries [B, Q, width], tokens [B, N, C] -> [B, Q, width]."""
        key, value = self.kv(tokens).chunk(2, dim=-1)
        heads = (self.num_heads, -1)
        query = _normalize(self.q_norm, self.q(query).unflatten(-1, heads)).flatten(2)
        key = _normalize(self.k_norm, key.unflatten(-1, heads)).flatten(2)
        return self.proj(attend(query, key, value, self.num_heads))


class QueryLayer(nn.Module):
    """Cross-attention and MLP, norm before and residual after; norms have no bias."""

    def __init__(self, config: QueryTransformerConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=EPS, bias=False)
        self.attention = NormedCrossAttention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=EPS, bias=False)
        self.mlp = Mlp(config.width, config.mlp_width)

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Queries [B, Q, width], tokens [B, N, C] -> [B, Q, width]."""
        query = query + self.attention(self.norm1(query), tokens)
        return query + self.mlp(self.norm2(query))


class QueryTransformer(nn.Module):
    """Layers of cross-attention between two linear layers.

    Queries do not see each other, and tokens do not change.

    Args:
        config: sizes.
        query_width: channels of the queries that come in; the width itself if None.

    Raises:
        ValueError: the heads do not divide the width.

    Reference: van Steenkiste et al., Moving Off-the-Grid (MooG), NeurIPS 2024; the layers are
    those of its published code, after Dehghani et al., ViT-22B, ICML 2023.
    """

    def __init__(self, config: QueryTransformerConfig, query_width: int | None = None) -> None:
        super().__init__()
        width = config.width
        self.input = nn.Linear(query_width or width, width)
        self.layers = nn.ModuleList(QueryLayer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width, eps=EPS, bias=False)
        self.output = nn.Linear(width, width)

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Queries [B, Q, query_width], tokens [B, N, C] -> [B, Q, width]."""
        query = self.input(query)
        for layer in self.layers:
            query = layer(query, tokens)
        return self.output(self.norm(query))


def _normalize(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    """Normalize in the precision of the weight: autocast leaves this norm out, unlike others."""
    return norm(x.to(norm.weight.dtype))
