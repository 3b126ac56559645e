"""The layers of Video Swin, with the parameter names of the released Kinetics checkpoints.

Axes: B clips, T x H x W cells of a map, K windows a clip, N cells a window, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int, int]
MASKED = -100.0  # added to the scores of pairs that were not neighbors; the released value
WINDOWS_PER_PASS = 64  # bounds the memory of attention scores


@dataclass(frozen=True)
class VideoSwinConfig:
    """Sizes of the network.

    Attributes:
        embed_dim: channels of the first stage; each stage doubles them.
        depths: blocks of each stage; every second one shifts its windows.
        num_heads: attention heads of each stage.
        window_size: cells of a window over time, height and width.
        patch_size: frames and pixels of a cell of the first stage.
    """

    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: Size = (8, 7, 7)
    patch_size: Size = (2, 4, 4)

    def width(self, stage: int) -> int:
        """Give the channels of a stage, counted from 0."""
        return self.embed_dim * 2**stage


SWIN_TINY = VideoSwinConfig(96, (2, 2, 6, 2), (3, 6, 12, 24))
SWIN_SMALL = VideoSwinConfig(96, (2, 2, 18, 2), (3, 6, 12, 24))
SWIN_BASE = VideoSwinConfig(128, (2, 2, 18, 2), (4, 8, 16, 32))


class VideoSwin(nn.Module):
    """All layers; `VideoSwinBackbone` runs them."""

    def __init__(self, config: VideoSwinConfig) -> None:
        super().__init__()
        self.config = config
        last = len(config.depths) - 1
        self.patch_embed = PatchEmbedding(config)
        self.layers = nn.ModuleList(
            Stage(config, index, merge=index < last) for index in range(last + 1)
        )
        self.norm = nn.LayerNorm(config.width(last))

    @property
    def stages(self) -> list[Stage]:
        return cast(list[Stage], list(self.layers))


class PatchEmbedding(nn.Module):
    """A linear map of every patch and a norm: [B, 3, T, H, W] -> [B, T', h, w, C]."""

    def __init__(self, config: VideoSwinConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.proj = nn.Conv3d(3, config.embed_dim, config.patch_size, stride=config.patch_size)
        self.norm = nn.LayerNorm(config.embed_dim)

    def forward(self, video: Tensor) -> Tensor:
        margins = [-length % p for length, p in zip(video.shape[2:], self.patch_size, strict=True)]
        video = F.pad(video, (0, margins[2], 0, margins[1], 0, margins[0]))
        return self.norm(self.proj(video).permute(0, 2, 3, 4, 1))


class Stage(nn.Module):
    """The blocks of one stage and, but for the last, the layer that merges to the next."""

    def __init__(self, config: VideoSwinConfig, index: int, merge: bool) -> None:
        super().__init__()
        width, heads = config.width(index), config.num_heads[index]
        self.blocks = nn.ModuleList(
            Block(width, heads, config.window_size, is_shifted=i % 2 == 1)
            for i in range(config.depths[index])
        )
        self.downsample = PatchMerging(width) if merge else nn.Identity()


class PatchMerging(nn.Module):
    """Four neighbors become one cell of twice the channels: [B, T, H, W, C] -> half H and W."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = F.pad(hidden, (0, 0, 0, hidden.shape[3] % 2, 0, hidden.shape[2] % 2))
        # the order of the checkpoints: down a column first
        cells = [hidden[:, :, row::2, column::2] for column, row in product((0, 1), (0, 1))]
        return self.reduction(self.norm(torch.cat(cells, dim=-1)))


class Block(nn.Module):
    """A pre-norm transformer layer whose attention stays within windows; [B, T, H, W, C]."""

    def __init__(self, width: int, num_heads: int, window_size: Size, is_shifted: bool) -> None:
        super().__init__()
        self.is_shifted = is_shifted
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, num_heads, window_size)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self._attend(self.norm1(hidden))
        return hidden + self.mlp(self.norm2(hidden))

    def _attend(self, hidden: Tensor) -> Tensor:
        """Pad to whole windows, shift, attend, and undo both.

        Padded cells are zeros that take part in the attention, as in the released network.
        """
        T, H, W = hidden.shape[1:4]
        window, shift = fit_window((T, H, W), self.attn.window_size, self.is_shifted)
        hidden = F.pad(hidden, (0, 0, 0, -W % window[2], 0, -H % window[1], 0, -T % window[0]))
        size = (hidden.shape[1], hidden.shape[2], hidden.shape[3])
        regions = None
        if any(shift):
            hidden = hidden.roll([-s for s in shift], (1, 2, 3))
            regions = shifted_regions(size, window, shift, hidden.device)
        windows = self.attn(split_windows(hidden, window), regions)
        hidden = join_windows(windows, size, window)
        if any(shift):
            hidden = hidden.roll(shift, (1, 2, 3))
        return hidden[:, :T, :H, :W]


class WindowAttention(nn.Module):
    """Self-attention among the cells of a window, with a learned bias by relative position.

    A window smaller than `window_size` uses the first N rows and columns of the index of the
    full window, as the released network does. That is exact where only its first axis, time, is
    cut; where height or width is cut, the biases are not those of the true offsets.
    """

    relative_position_index: Tensor

    def __init__(self, width: int, num_heads: int, window_size: Size) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        t, h, w = window_size
        table = torch.zeros((2 * t - 1) * (2 * h - 1) * (2 * w - 1), num_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", relative_index(window_size))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, windows: Tensor, regions: Tensor | None) -> Tensor:
        """Attend.

        Args:
            windows: [B, K, N, C].
            regions: [K, N]; cells of different regions do not see each other. None = one region.
        """
        K, N = windows.shape[1:3]
        index = self.relative_position_index[:N, :N]
        bias = self.relative_position_bias_table[index].permute(2, 0, 1)
        parts = []
        for start in range(0, K, WINDOWS_PER_PASS):
            chunk = slice(start, start + WINDOWS_PER_PASS)
            scores = bias
            if regions is not None:
                apart = regions[chunk, :, None] != regions[chunk, None, :]
                scores = bias + MASKED * apart[:, None].to(bias)
            heads = self.qkv(windows[:, chunk]).unflatten(-1, (3, self.num_heads, -1))
            query, key, value = heads.permute(3, 0, 1, 4, 2, 5)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=scores)
            parts.append(self.proj(mixed.transpose(2, 3).flatten(3)))
        return torch.cat(parts, dim=1)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(hidden)))


# ---- windows -----------------------------------------------------------------------------------


def fit_window(size: Size, window_size: Size, is_shifted: bool) -> tuple[Size, Size]:
    """Give the window and the shift of a map: an axis of at most one window is not shifted."""
    axes = [
        (length, 0) if length <= window else (window, window // 2 if is_shifted else 0)
        for length, window in zip(size, window_size, strict=True)
    ]
    (t, dt), (h, dh), (w, dw) = axes
    return (t, h, w), (dt, dh, dw)


def split_windows(hidden: Tensor, window: Size) -> Tensor:
    """Cut [B, T, H, W, C] into windows [B, K, N, C], both row-major."""
    B, T, H, W, C = hidden.shape
    t, h, w = window
    cut = hidden.reshape(B, T // t, t, H // h, h, W // w, w, C)
    return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(B, -1, t * h * w, C)


def join_windows(windows: Tensor, size: Size, window: Size) -> Tensor:
    """Undo `split_windows`; `size` is (T, H, W)."""
    (T, H, W), (t, h, w) = size, window
    cut = windows.reshape(windows.shape[0], T // t, H // h, W // w, t, h, w, -1)
    return cut.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(windows.shape[0], T, H, W, -1)


def shifted_regions(size: Size, window: Size, shift: Size, device: torch.device) -> Tensor:
    """Number the parts of a rolled map that were neighbors before: [K, N].

    Along an axis, the last window of a rolled map holds the end of the map, then what was rolled
    over from its start.
    """
    number = torch.zeros(size, dtype=torch.long, device=device)
    for axis, (length, w, s) in enumerate(zip(size, window, shift, strict=True)):
        place = torch.arange(length, device=device)
        part = (place >= length - w).long() + (place >= length - s).long()
        if s == 0:
            part = torch.zeros_like(place)
        shape = [1, 1, 1]
        shape[axis] = length
        number = 3 * number + part.view(shape)
    return split_windows(number[None, ..., None], window)[0, ..., 0]


def relative_index(window: Size) -> Tensor:
    """Number the offset between every two cells of a window, row-major over offsets: [N, N]."""
    axes = torch.meshgrid(*(torch.arange(length) for length in window), indexing="ij")
    number = torch.zeros(1, 1, dtype=torch.long)
    for axis, length in zip(axes, window, strict=True):
        place = axis.flatten()
        offset = place[:, None] - place[None, :] + length - 1
        number = (2 * length - 1) * number + offset
    return number
