"""STDiT3, the transformer of Open-Sora 1.2: spatial and temporal blocks in turn.

Parameters have the names of the released checkpoint, so that it loads as it is.

Reference: Zheng et al., Open-Sora: Democratizing Efficient Video Production for All, 2024;
Chen et al., PixArt-alpha, ICLR 2024, for the shared modulation ("adaLN-single").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vdit.models.backbones.checkpointing import Run, run_now
from vdit.models.backbones.stdit3_blocks import Block, FeedForward, normalized
from vdit.models.backbones.unet3d import collect

TIME_FREQUENCIES = 256


@dataclass(frozen=True)
class STDiT3Config:
    """Sizes of the network; the defaults are those of STDiT3-XL/2.

    Attributes:
        hidden_size: channels of a token; a multiple of 4 and of `num_heads`.
        depth: pairs of a spatial and a temporal block.
        num_heads: heads of every attention.
        in_channels: channels of the latents.
        text_dim: channels of the caption's states.
        text_length: tokens of the null caption.
        input_side: side in pixels of the square whose grid has the position unit 1.
    """

    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    in_channels: int = 4
    text_dim: int = 4096
    text_length: int = 300
    input_side: int = 512


class STDiT3(nn.Module):
    """Predict the velocity of noisy video latents, or give the tokens on the way.

    Args:
        config: sizes.
        temporal_layers: False skips the temporal blocks; frames then see each other nowhere here.
    """

    def __init__(self, config: STDiT3Config, temporal_layers: bool = True) -> None:
        super().__init__()
        self.config = config
        self.temporal_layers = temporal_layers
        width, heads = config.hidden_size, config.num_heads
        self.rope = RotaryFrequencies(width // heads)
        self.x_embedder = PatchEmbedding(config.in_channels, width)
        self.t_embedder = ScalarEmbedding(width)
        self.fps_embedder = ScalarEmbedding(width)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.y_embedder = CaptionEmbedding(config.text_dim, width, config.text_length)
        self.spatial_blocks = nn.ModuleList(Block(width, heads) for _ in range(config.depth))
        self.temporal_blocks = nn.ModuleList(Block(width, heads) for _ in range(config.depth))
        # velocity and an unused second half, which the checkpoint has
        self.final_layer = FinalLayer(width, 2 * config.in_channels)

    @property
    def dtype(self) -> torch.dtype:
        return self.x_embedder.proj.weight.dtype

    def forward(
        self, latents: Tensor, time: Tensor, caption: Tensor, fps: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Predict [B, 2 * C, T, h, w]; arguments as in `walk`."""
        B, _, T, h, w = latents.shape
        last = f"block{self.config.depth}"
        tokens = collect(self.walk(latents, time, caption, fps, size), [last])[last]
        patches = self.final_layer(tokens, self._condition(time, fps))  # [B, T, S, 2 * 2 * 2C]
        patches = patches.view(B, T, h // 2, w // 2, 2, 2, -1)
        return patches.permute(0, 6, 1, 2, 4, 3, 5).reshape(B, -1, T, h, w)

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """Give the modules of each block of `walk`, as `Backbone.block_modules`."""
        entrance = [self.x_embedder, self.t_embedder, self.fps_embedder, self.t_block]
        found: dict[str, list[nn.Module]] = {"in": [*entrance, self.y_embedder]}
        pairs = zip(self.spatial_blocks, self.temporal_blocks, strict=True)
        for k, (spatial, temporal) in enumerate(pairs, start=1):
            found[f"block{k}"] = [spatial, temporal] if self.temporal_layers else [spatial]
        return found

    def walk(
        self,
        latents: Tensor,
        time: Tensor,
        caption: Tensor,
        fps: Tensor,
        size: tuple[int, int],
        run: Run = run_now,
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield ("block1", [B, T, S, C]).. as soon as each pair of blocks is done.

        Args:
            latents: [B, C, T, h, w], h and w even; S = h / 2 * w / 2.
            time: [B] in 0..1000.
            caption: [B, L, text_dim] states of T5 without pads, or the null caption.
            fps: [B] frames a second.
            size: (H, W) of the video in pixels.
            run: calls each block.
        """
        B, _, T, h, w = latents.shape
        modulation = self.t_block(self._condition(time, fps)).view(B, 6, -1)
        context = self.y_embedder.y_proj(caption.to(self.dtype))
        tokens = self.x_embedder(latents.to(self.dtype))
        tokens = tokens + self._positions(h // 2, w // 2, size).to(tokens)
        angles = torch.arange(T, device=tokens.device)[:, None] * self.rope.freqs.float()
        pairs = zip(self.spatial_blocks, self.temporal_blocks, strict=True)
        for k, (spatial, temporal) in enumerate(pairs, start=1):
            tokens = run(spatial, tokens, context, modulation)
            if self.temporal_layers:
                tokens = run(temporal, tokens, context, modulation, angles)
            yield f"block{k}", tokens

    def _condition(self, time: Tensor, fps: Tensor) -> Tensor:
        """Embed time and frame rate together: [B, C]."""
        return self.t_embedder(time) + self.fps_embedder(fps)

    def _positions(self, rows: int, columns: int, size: tuple[int, int]) -> Tensor:
        """Sine table [rows * columns, C]: columns in the first half of the channels, then rows.

        Both axes run from 0 to about sqrt(rows * columns), whatever the shape of the frame, in
        units that grow with its size in pixels.
        """
        scale = math.sqrt(size[0] * size[1]) / self.config.input_side
        extent = round(math.sqrt(rows * columns)) / scale
        quarter = self.config.hidden_size // 4
        device = self.rope.freqs.device
        rates = 10000 ** -(torch.arange(quarter, device=device) / quarter)

        def table(count: int) -> Tensor:
            angles = torch.arange(count, device=device)[:, None] * (extent / count) * rates
            return torch.cat([angles.sin(), angles.cos()], dim=-1)

        across = table(columns)[None].expand(rows, -1, -1)
        down = table(rows)[:, None].expand(-1, columns, -1)
        return torch.cat([across, down], dim=-1).flatten(0, 1)


class RotaryFrequencies(nn.Module):
    """Angle per frame of every pair of channels of a head: [D / 2]."""

    freqs: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 10000 ** -(torch.arange(0, head_dim, 2) / head_dim))


class PatchEmbedding(nn.Module):
    """Patches of 1 x 2 x 2 latents to tokens: [B, C, T, h, w] -> [B, T, S, width]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels, width, kernel_size=(1, 2, 2), stride=(1, 2, 2))

    def forward(self, latents: Tensor) -> Tensor:
        return self.proj(latents).flatten(3).permute(0, 2, 3, 1)


class ScalarEmbedding(nn.Module):
    """Embed numbers [B] by cosines, sines and two linear layers: [B, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, values: Tensor) -> Tensor:
        half = TIME_FREQUENCIES // 2
        rates = 10000 ** -(torch.arange(half, device=values.device) / half)
        angles = values.float()[:, None] * rates
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return self.mlp(waves.to(next(self.mlp.parameters()).dtype))


class CaptionEmbedding(nn.Module):
    """Bring captions to the tokens' width; holds the learned null caption [L, text_dim]."""

    y_embedding: Tensor

    def __init__(self, text_dim: int, width: int, length: int) -> None:
        super().__init__()
        self.register_buffer("y_embedding", torch.randn(length, text_dim) / text_dim**0.5)
        self.y_proj = FeedForward(text_dim, width, width)


class FinalLayer(nn.Module):
    """Modulated norm and a linear layer to patches of 2 x 2 latents."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.randn(2, width) / width**0.5)
        self.linear = nn.Linear(width, 4 * channels)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Tokens [B, T, S, C], condition [B, C]."""
        table = (self.scale_shift_table + condition[:, None])[:, :, None, None]
        shift, scale = table.unbind(1)
        return self.linear(normalized(tokens) * (1 + scale) + shift)
