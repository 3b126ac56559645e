"""The UNet of ADM, on pixels; parameters are named as in the published checkpoints.

Reference: Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, NeurIPS 2021, Sec. 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdit.models.backbones.base import BlockInfo
from vdit.models.backbones.checkpointing import Run, run_now

MAX_PERIOD = 10_000
NORM_GROUPS = 32


@dataclass(frozen=True)
class AdmConfig:
    """Sizes of an ADM network.

    Attributes:
        channels: channels that the multipliers multiply; multiples of 32 after it.
        multipliers: one a level, fine to coarse; level i has stride 2^i.
        attention_strides: strides whose blocks have self-attention.
        head_channels: channels of one attention head.
        num_blocks: residual blocks a level of the encoder; the decoder has one more.
        num_classes: labels that a class-conditional network knows; None = unconditional.
    """

    channels: int = 256
    multipliers: tuple[float, ...] = (1, 1, 2, 2, 4, 4)
    attention_strides: tuple[int, ...] = (8, 16, 32)
    head_channels: int = 64
    num_blocks: int = 2
    num_classes: int | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, fine to coarse."""
        return tuple(int(self.channels * multiplier) for multiplier in self.multipliers)


ADM_256 = AdmConfig()
ADM_512 = AdmConfig(
    multipliers=(0.5, 1, 1, 2, 2, 4, 4), attention_strides=(16, 32, 64), num_classes=1000
)


class AdmUNet(nn.Module):
    """Encoder, middle and decoder of residual blocks; strides change inside of residual blocks.

    Attributes:
        blocks: "out0".. -> channels and stride of what that block of the decoder puts out.
    """

    def __init__(self, config: AdmConfig) -> None:
        super().__init__()
        self.config = config
        widths, embed_dim = config.widths, 4 * config.channels
        first = nn.Linear(config.channels, embed_dim)
        self.time_embed = nn.Sequential(first, nn.SiLU(), nn.Linear(embed_dim, embed_dim))
        if config.num_classes is not None:
            self.label_emb = nn.Embedding(config.num_classes, embed_dim)
        self.input_blocks, skips = _build_encoder(config)
        self.middle_block = _Stage(
            [
                ResidualBlock(widths[-1], widths[-1], embed_dim),
                SelfAttention(widths[-1], config.head_channels),
                ResidualBlock(widths[-1], widths[-1], embed_dim),
            ]
        )
        self.output_blocks, self.blocks = _build_decoder(config, skips)
        # what predicts noise and variance: in the checkpoints, never run for features
        self.out = nn.Sequential(_norm(widths[0]), nn.SiLU(), nn.Conv2d(widths[0], 6, 3, padding=1))

    def embed(self, timestep: float, label: int | None) -> Tensor:
        """Compute the [1, 4 * channels] embedding of a timestep and, where it knows labels, one.

        These networks were trained with a label for every picture. Label None adds the mean
        embedding of all labels.
        """
        waves = sinusoid(timestep, self.config.channels)
        embed = self.time_embed(waves[None].to(next(self.parameters())))
        if self.config.num_classes is None:
            return embed
        labels = self.label_emb.weight
        return embed + (labels.mean(0) if label is None else labels[label])

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """Give the modules of each block, as `Backbone.block_modules`."""
        entrance, *encoder = self.input_blocks
        found: dict[str, list[nn.Module]] = {"in": [entrance, self.time_embed]}
        if self.config.num_classes is not None:
            found["in"].append(self.label_emb)
        found |= {f"in{i}": [block] for i, block in enumerate(encoder, start=1)}
        found["mid"] = [self.middle_block]
        return found | {f"out{i}": [block] for i, block in enumerate(self.output_blocks)}

    def walk(
        self, frames: Tensor, embed: Tensor, run: Run = run_now
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield (block name, [N, C, h, w]) as soon as each block of the decoder is done.

        A caller that stops iterating stops the network.

        Args:
            frames: [N, 3, H, W] noisy pixels; H and W multiples of the coarsest stride.
            embed: [1, 4 * channels] of `embed`.
            run: calls each block.
        """
        hidden, skips = frames, []
        for block in self.input_blocks:
            hidden = run(block, hidden, embed)
            skips.append(hidden)
        hidden = run(self.middle_block, hidden, embed)
        for i, block in enumerate(self.output_blocks):
            hidden = run(block, torch.cat([hidden, skips.pop()], dim=1), embed)
            yield f"out{i}", hidden


class ResidualBlock(nn.Module):
    """Two convolutions; the embedding scales and shifts what the second receives.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        embed_dim: channels of the embedding.
        resize: "down" halves, "up" doubles height and width before the first convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, embed_dim: int, resize: str | None = None
    ) -> None:
        super().__init__()
        self.resize = resize
        self.in_layers = nn.Sequential(
            _norm(in_channels), nn.SiLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embed_dim, 2 * out_channels))
        # the third stands where the training has dropout, so that names agree
        self.out_layers = nn.Sequential(
            _norm(out_channels),
            nn.SiLU(),
            nn.Identity(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip_connection: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.skip_connection = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, inputs: Tensor, embed: Tensor) -> Tensor:
        norm, activation, conv = self.in_layers
        hidden = conv(self._resized(activation(norm(inputs))))
        scale, shift = self.emb_layers(embed)[..., None, None].chunk(2, dim=1)
        norm, *rest = self.out_layers
        hidden = norm(hidden) * (1 + scale) + shift
        for layer in rest:
            hidden = layer(hidden)
        return self.skip_connection(self._resized(inputs)) + hidden

    def _resized(self, hidden: Tensor) -> Tensor:
        if self.resize == "down":
            return F.avg_pool2d(hidden, 2)
        if self.resize == "up":
            return F.interpolate(hidden, scale_factor=2, mode="nearest")
        return hidden


class SelfAttention(nn.Module):
    """Every cell of a feature map attends to every other.

    `qkv` puts out, head after head, the queries, keys and values of that head.
    """

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.norm = _norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        cells = inputs.flatten(2)
        heads = self.qkv(self.norm(cells)).unflatten(1, (-1, 3, self.head_channels))
        query, key, value = heads.transpose(-1, -2).unbind(2)  # each [N, heads, h * w, C]
        attended = F.scaled_dot_product_attention(query, key, value)
        attended = attended.transpose(-1, -2).flatten(1, 2)
        return inputs + self.proj_out(attended).view_as(inputs)


class _Stage(nn.ModuleList):
    """Layers in a row; those with an embedding receive it."""

    def forward(self, hidden: Tensor, embed: Tensor) -> Tensor:
        for layer in self:
            hidden = layer(hidden, embed) if isinstance(layer, ResidualBlock) else layer(hidden)
        return hidden


def sinusoid(timestep: float, channels: int) -> Tensor:
    """Give the float32 [channels] cosines, then sines, of a timestep at falling frequencies."""
    half = channels // 2
    frequencies = torch.exp(-math.log(MAX_PERIOD) / half * torch.arange(half, dtype=torch.float32))
    angles = timestep * frequencies
    return torch.cat([angles.cos(), angles.sin()])


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(NORM_GROUPS, channels)


def _layers(config: AdmConfig, in_channels: int, width: int, stride: int) -> list[nn.Module]:
    layers: list[nn.Module] = [ResidualBlock(in_channels, width, 4 * config.channels)]
    if stride in config.attention_strides:
        layers.append(SelfAttention(width, config.head_channels))
    return layers


def _build_encoder(config: AdmConfig) -> tuple[nn.ModuleList, list[int]]:
    """Build the encoder and list the channels of its outputs."""
    width = config.widths[0]
    stages = [_Stage([nn.Conv2d(3, width, 3, padding=1)])]
    outputs = [width]
    for level, width in enumerate(config.widths):
        for _ in range(config.num_blocks):
            stages.append(_Stage(_layers(config, outputs[-1], width, 2**level)))
            outputs.append(width)
        if level < len(config.widths) - 1:
            stages.append(_Stage([ResidualBlock(width, width, 4 * config.channels, "down")]))
            outputs.append(width)
    return nn.ModuleList(stages), outputs


def _build_decoder(
    config: AdmConfig, skips: list[int]
) -> tuple[nn.ModuleList, dict[str, BlockInfo]]:
    """Build the decoder for an encoder with these channels and tell what its blocks put out."""
    stages: list[nn.Module] = []
    table = {}
    before, remaining = config.widths[-1], list(skips)
    for level in reversed(range(len(config.widths))):
        width, stride = config.widths[level], 2**level
        for i in range(config.num_blocks + 1):
            layers = _layers(config, before + remaining.pop(), width, stride)
            if level and i == config.num_blocks:  # the last of a level already leaves it
                layers.append(ResidualBlock(width, width, 4 * config.channels, "up"))
                stride //= 2
            table[f"out{len(stages)}"] = BlockInfo(width, stride)
            stages.append(_Stage(layers))
            before = width
    return nn.ModuleList(stages), table
