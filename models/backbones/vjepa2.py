"""V-JEPA 2: a video transformer with rotary positions in time, height and width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdit.models.backbones.tubelet_encoder import Grid, TubeletEncoder
from vdit.models.backbones.vision_encoder import RGB
from vdit.models.image_encoder import IMAGENET_MEAN, IMAGENET_STD


class VJepa2Backbone(TubeletEncoder):
    """Tubelet features of V-JEPA 2's encoder; see `TubeletEncoder`.

    The class of transformers numbers rows and columns as if every clip had the size of its
    configuration, which gives tokens of other sizes the places of others. Here every token has
    its own place; at the size of the configuration both are the same.

    Args:
        network: transformers VJEPA2Model; its predictor is not kept.
        repeat_frames: show every frame twice, so that T' = T; otherwise T' = T / 2.
        mean: of R, G, B in 0..1, as the network was trained.
        std: likewise.

    Reference: Assran et al., V-JEPA 2, arXiv 2506.09985, 2025.
    """

    def __init__(
        self,
        network: Any,
        repeat_frames: bool = True,
        mean: RGB = IMAGENET_MEAN,
        std: RGB = IMAGENET_STD,
    ) -> None:
        config = network.config
        super().__init__(
            depth=config.num_hidden_layers,
            channels=config.hidden_size,
            patch_size=config.patch_size,
            tubelet_size=config.tubelet_size,
            clip_frames=config.frames_per_clip,
            repeat_frames=repeat_frames,
            mean=mean,
            std=std,
        )
        self.encoder = network.encoder
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        modules = [self.encoder.embeddings, *self.encoder.layer, self.encoder.layernorm]
        return {name: [each] for name, each in zip(["in", *self.blocks], modules, strict=True)}

    def is_walked(self, module: nn.Module) -> bool:
        """See `Backbone.is_walked`: layers and attentions are run by `_run_layer`."""
        walked = hasattr(module, "attention") or hasattr(module, "query")
        return super().is_walked(module) or walked

    def walk_tokens(self, frames: Tensor, grid: Grid) -> Iterator[tuple[str, Tensor]]:
        """See `TubeletEncoder.walk_tokens`."""
        places = token_places(grid, frames.device)
        tokens = self.encoder.embeddings(frames)
        for index, layer in enumerate(self.encoder.layer):
            tokens = self.run(_run_layer, layer, tokens, places)
            yield f"block{index + 1}", tokens
        yield "last", self.encoder.layernorm(tokens)


def token_places(grid: Grid, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Give time, row and column of every token of a grid, each [t * h * w]."""
    axes = [torch.arange(length, device=device) for length in grid]
    time, row, column = (axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))
    return time, row, column


def _run_layer(layer: Any, tokens: Tensor, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    tokens = tokens + _attend(layer.attention, layer.norm1(tokens), places)
    return tokens + layer.mlp(layer.norm2(tokens))


def _attend(attention: Any, tokens: Tensor, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Self-attention of tokens [B, N, C] with queries and keys rotated by their places."""
    query, key, value = (
        project(tokens).unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
        for project in (attention.query, attention.key, attention.value)
    )
    query, key = (attention.apply_rotary_embeddings(each, places) for each in (query, key))
    mixed = F.scaled_dot_product_attention(query, key, value, scale=attention.scaling)
    return attention.proj(mixed.transpose(1, 2).flatten(2))
