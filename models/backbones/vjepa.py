"""V-JEPA: a video transformer trained to predict the features of what is masked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdit.models.backbones.tubelet_encoder import Grid, TubeletEncoder


@dataclass(frozen=True)
class VJepaConfig:
    """Sizes of the network; the clip it was trained on gives the table of positions.

    Attributes:
        width: channels of a token.
        depth: layers.
        num_heads: attention heads.
        image_size: height and width of the clip, in pixels.
        num_frames: its length.
        patch_size: pixels of a token.
        tubelet_size: frames of a token.
    """

    width: int
    depth: int
    num_heads: int = 16
    image_size: int = 224
    num_frames: int = 16
    patch_size: int = 16
    tubelet_size: int = 2

    @property
    def grid(self) -> Grid:
        """Tokens of the training clip over time, height and width."""
        side = self.image_size // self.patch_size
        return self.num_frames // self.tubelet_size, side, side


VIT_LARGE = VJepaConfig(width=1024, depth=24)
VIT_HUGE = VJepaConfig(width=1280, depth=32)
VIT_HUGE_384 = VJepaConfig(width=1280, depth=32, image_size=384)


class VJepaBackbone(TubeletEncoder):
    """Tubelet features of V-JEPA's target encoder; see `TubeletEncoder`.

    Args:
        network: the encoder.
        repeat_frames: show every frame twice, so that T' = T; otherwise T' = T / 2.

    Reference: Bardes et al., Revisiting Feature Prediction for Learning Visual Representations
    from Video, TMLR 2024.
    """

    def __init__(self, network: VJepaVit, repeat_frames: bool = True) -> None:
        config = network.config
        super().__init__(
            depth=config.depth,
            channels=config.width,
            patch_size=config.patch_size,
            tubelet_size=config.tubelet_size,
            clip_frames=config.num_frames,
            repeat_frames=repeat_frames,
        )
        self.network = network
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`; the table of positions is no weight."""
        network = self.network
        modules = [network.patch_embed, *network.blocks, network.norm]
        return {name: [each] for name, each in zip(["in", *self.blocks], modules, strict=True)}

    def walk_tokens(self, frames: Tensor, grid: Grid) -> Iterator[tuple[str, Tensor]]:
        """See `TubeletEncoder.walk_tokens`."""
        tokens = self.network.patch_embed(frames.transpose(1, 2)) + self.network.positions(grid)
        for index, block in enumerate(self.network.blocks):
            tokens = self.run(block, tokens)
            yield f"block{index + 1}", tokens
        yield "last", self.network.norm(tokens)


class VJepaVit(nn.Module):
    """The encoder, with the parameter names of the released checkpoints."""

    def __init__(self, config: VJepaConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = TubeletEmbedding(config)
        table = sincos_positions(config.grid, config.width)
        self.pos_embed = nn.Parameter(table[None], requires_grad=False)
        self.blocks = nn.ModuleList(
            Block(config.width, config.num_heads) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=1e-6)

    def positions(self, grid: Grid) -> Tensor:
        """Interpolate the table trilinearly to a grid (t, h, w): [1, t * h * w, C]."""
        if grid == self.config.grid:
            return self.pos_embed
        table = self.pos_embed.float().unflatten(1, self.config.grid).permute(0, 4, 1, 2, 3)
        table = F.interpolate(table, size=grid, mode="trilinear", align_corners=False)
        return table.flatten(2).transpose(1, 2).to(self.pos_embed)


class TubeletEmbedding(nn.Module):
    """A linear map of every tubelet: [B, 3, T, H, W] -> [B, t * h * w, C]."""

    def __init__(self, config: VJepaConfig) -> None:
        super().__init__()
        size = (config.tubelet_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(3, config.width, size, stride=size)

    def forward(self, video: Tensor) -> Tensor:
        return self.proj(video).flatten(2).transpose(1, 2)


class Block(nn.Module):
    """A pre-norm transformer layer on tokens [B, N, C]."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = SelfAttention(width, num_heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class SelfAttention(nn.Module):
    """Every token attends to all others, in all frames."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        heads = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


def sincos_positions(grid: Grid, width: int) -> Tensor:
    """Code the place of every token with sines and cosines of its three coordinates.

    Time, row and column have equally many channels, an even number; what is too many is cut from
    the end. A coordinate x with c channels has sin(x / 10000^(2i / c)), i < c / 2, then cosines.

    Returns:
        [t * h * w, width] float32.
    """
    channels = 2 * -(-width // 6)
    rates = 10000 ** (-torch.arange(channels // 2, dtype=torch.float64) / (channels / 2))
    codes = []
    for axis, length in enumerate(grid):
        angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
        code = torch.cat([angles.sin(), angles.cos()], dim=1)
        shape = [1, 1, 1, channels]
        shape[axis] = length
        codes.append(code.view(shape).expand(*grid, channels))
    return torch.cat(codes, dim=-1)[..., :width].flatten(0, 2).float()
