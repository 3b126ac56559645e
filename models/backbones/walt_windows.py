"""Windows of a clip's latent cells, and the learned bias between the places of a window.

Axes: B clips, T latent frames, h x w cells, C channels, n windows of a clip, N cells of a window.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Window(NamedTuple):
    """How many latent frames, rows and columns attend to each other."""

    frames: int
    rows: int
    columns: int

    def within(self, T: int, h: int, w: int) -> Window:
        """Cut to a clip that is smaller."""
        return Window(min(self.frames, T), min(self.rows, h), min(self.columns, w))

    @property
    def cells(self) -> int:
        return self.frames * self.rows * self.columns


class Tiling:
    """Windows of one size side by side over a clip; the last ones may stick out.

    Args:
        window: size; cut to the clip.
        size: (T, h, w) of the clip.
    """

    def __init__(self, window: Window, size: tuple[int, int, int]) -> None:
        self.size = size
        self.window = window.within(*size)
        self.counts = [-(-side // step) for side, step in zip(size, self.window, strict=True)]

    def split(self, cells: Tensor) -> Tensor:
        """Cut cells [B, T, h, w, C] into windows [B * n, N, C]; what sticks out is zero."""
        (t, h, w), (a, b, c) = self.counts, self.window
        missing = [n * k - s for n, k, s in zip(self.counts, self.window, self.size, strict=True)]
        if any(missing):
            cells = F.pad(cells, (0, 0, 0, missing[2], 0, missing[1], 0, missing[0]))
        B, C = len(cells), cells.shape[-1]
        cells = cells.reshape(B, t, a, h, b, w, c, C).permute(0, 1, 3, 5, 2, 4, 6, 7)
        return cells.reshape(B * t * h * w, a * b * c, C)

    def join(self, windows: Tensor) -> Tensor:
        """Undo `split`: windows [B * n, N, C] to cells [B, T, h, w, C]."""
        (t, h, w), (a, b, c) = self.counts, self.window
        C = windows.shape[-1]
        cells = windows.reshape(-1, t, h, w, a, b, c, C).permute(0, 1, 4, 2, 5, 3, 6, 7)
        cells = cells.reshape(-1, t * a, h * b, w * c, C)
        return cells[:, : self.size[0], : self.size[1], : self.size[2]]

    def inside(self, device: torch.device) -> Tensor | None:
        """Tell which cells of each window lie in the clip, [n, N]; None = all of them."""
        if all(n * k == s for n, k, s in zip(self.counts, self.window, self.size, strict=True)):
            return None
        T, h, w = self.size
        return self.split(torch.ones(1, T, h, w, 1, device=device))[..., 0] > 0


class RelativeBias(nn.Module):
    """Learned bias of attention logits by the offset between two cells, one a head.

    The bias of an offset in time and that of an offset in rows and columns add up, so that windows
    of every shape read tables of one shape.

    Args:
        heads: of the attention.
        largest: window that the tables cover.

    Reference: Liu et al., Swin Transformer, ICCV 2021, Eq. 4, for the bias by offset.
    """

    def __init__(self, heads: int, largest: Window) -> None:
        super().__init__()
        self.largest = largest
        frames, rows, columns = (2 * side - 1 for side in largest)
        self.time = nn.Parameter(torch.zeros(heads, frames))
        self.space = nn.Parameter(torch.zeros(heads, rows, columns))

    def forward(self, window: Window) -> Tensor:
        """Give [heads, N, N] for the cells of a window, frame by frame and row by row."""
        frames, rows, columns = (
            _offsets(side, most, self.time.device)
            for side, most in zip(window, self.largest, strict=True)
        )
        space = self.space[:, rows[:, None, :, None], columns[None, :, None, :]]
        space = space.flatten(3, 4).flatten(1, 2)  # [heads, rows * columns, rows * columns]
        bias = self.time[:, frames][:, :, None, :, None] + space[:, None, :, None, :]
        return bias.reshape(len(bias), window.cells, window.cells)


def _offsets(side: int, most: int, device: torch.device) -> Tensor:
    """Index the table by the offset between places 0..side-1, [side, side]."""
    places = torch.arange(side, device=device)
    return places[:, None] - places[None] + most - 1
