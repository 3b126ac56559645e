"""The attentive probe of V-JEPA and V-JEPA 2: one learned query looks at all tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vdit.models.probes.attention import CrossAttentionBlock, SelfAttentionBlock

INIT_STD = 0.02
UNUSED = "xattn.proj."  # released probes hold this layer, and nothing reads it


@dataclass(frozen=True)
class AttentiveConfig:
    """Sizes of the attentive probe.

    Attributes:
        channels: C of the features, and the width of the probe.
        num_classes: how many.
        num_heads: attention heads; 16 for C = 1024.
        depth: transformer blocks, the one with the cross-attention included.
        blocks: where those beyond the first stand. "after" the cross-attention they see the one
            query (V-JEPA), "before" it all tokens (V-JEPA 2).
        mlp_ratio: hidden channels of an MLP over `channels`.
    """

    channels: int
    num_classes: int
    num_heads: int = 16
    depth: int = 1
    blocks: Literal["after", "before"] = "after"
    mlp_ratio: int = 4


def vjepa2_config(channels: int, num_classes: int, num_heads: int = 16) -> AttentiveConfig:
    """Give the probe of V-JEPA 2: three blocks over all tokens, then the cross-attention."""
    return AttentiveConfig(channels, num_classes, num_heads, depth=4, blocks="before")


class AttentivePooler(nn.Module):
    """Pool tokens with one learned query; see `AttentiveConfig`.

    Raises:
        ValueError: the depth is below 1, the heads do not divide the channels, or the place of
            the blocks is unknown.
    """

    def __init__(self, config: AttentiveConfig) -> None:
        super().__init__()
        if config.depth < 1:
            raise ValueError(f"expected a depth of at least 1, got {config.depth}")
        if config.blocks not in ("after", "before"):
            raise ValueError(f'expected blocks "after" or "before", got {config.blocks!r}')
        self.config = config
        sizes = (config.channels, config.num_heads, config.mlp_ratio)
        self.query_tokens = nn.Parameter(torch.empty(1, 1, config.channels))
        self.cross_attention_block = CrossAttentionBlock(*sizes)
        self.blocks = nn.Sequential(*(SelfAttentionBlock(*sizes) for _ in range(config.depth - 1)))
        self.register_load_state_dict_pre_hook(_drop_unused)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights; layers that write to the residual are smaller the later they stand."""
        nn.init.trunc_normal_(self.query_tokens, std=INIT_STD)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=INIT_STD)
                nn.init.zeros_(module.bias)
        self.cross_attention_block.mlp.fc2.weight.div_(math.sqrt(2))
        blocks = [each for each in self.blocks if isinstance(each, SelfAttentionBlock)]
        for number, block in enumerate(blocks, start=2):
            block.attn.proj.weight.div_(math.sqrt(2 * number))
            block.mlp.fc2.weight.div_(math.sqrt(2 * number))

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool tokens [B, N, C] to [B, C]."""
        if self.config.blocks == "before":
            tokens = self.blocks(tokens)
        query = self.query_tokens.expand(len(tokens), -1, -1)
        query = self.cross_attention_block(query, tokens)
        if self.config.blocks == "after":
            query = self.blocks(query)
        return query[:, 0]


class AttentiveProbe(nn.Module):
    """Classify a clip from what one learned query gathers from all its features.

    Names of parameters are those of the released probes of V-JEPA, whose `state_dict` loads; its
    layer `xattn.proj` takes no part in any result and is dropped.

    With blocks "after" and a depth above 1 the extra blocks attend over a single token, so their
    query and key weights have zero gradients, as in the original.

    Reference: Bardes et al., Revisiting Feature Prediction for Learning Visual Representations
    from Video, TMLR 2024, Sec. 5; Assran et al., V-JEPA 2, 2025, for `vjepa2_config`.
    """

    def __init__(self, config: AttentiveConfig) -> None:
        super().__init__()
        self.config = config
        self.pooler = AttentivePooler(config)
        self.linear = nn.Linear(config.channels, config.num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Classify clips.

        Args:
            features: [B, T', C, h, w].

        Returns:
            [B, num_classes] logits.
        """
        tokens = features.permute(0, 1, 3, 4, 2).flatten(1, 3)
        return self.linear(self.pooler(tokens))


def _drop_unused(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Take the layer that nothing reads out of a released state dict, in place."""
    unused = f"{prefix}cross_attention_block.{UNUSED}"
    for name in [name for name in state_dict if name.startswith(unused)]:
        del state_dict[name]
