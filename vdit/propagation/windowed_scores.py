"""Similarities of the cells of a frame with the windows around them in its context.

The grid is cut into tiles. All cells of a tile see part of one region of a context frame, so that
their similarities are one matrix product, and cells outside of a cell's own window get -inf.

Axes: F context frames, Q cells of a tile, R cells of its region, C channels, h x w cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vdit.propagation.settings import PropagationSettings

_EDGES = {"cpu": 8}
"""Cells along the edge of a tile: small tiles compute less in vain, large ones use the device."""
_EDGE = 16


@dataclass(frozen=True)
class Rectangle:
    """Cells top..bottom - 1, left..right - 1 of a grid."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def num_cells(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def grown(self, reach: int, height: int, width: int) -> Rectangle:
        """Give the rectangle with what lies within `reach` of it on an h x w grid."""
        return Rectangle(
            max(0, self.top - reach),
            min(height, self.bottom + reach),
            max(0, self.left - reach),
            min(width, self.right + reach),
        )

    def coordinates(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """(y, x), each [num_cells], row by row."""
        rows = torch.arange(self.top, self.bottom, device=device)
        columns = torch.arange(self.left, self.right, device=device)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return y.flatten(), x.flatten()


@dataclass(frozen=True)
class TileScores:
    """Similarities of one tile.

    Attributes:
        tile: the cells that ask.
        region: the cells that they see.
        first_frame: number of the first of the F context frames.
        scores: [F, Q, R], -inf outside of the window.
    """

    tile: Rectangle
    region: Rectangle
    first_frame: int
    scores: Tensor

    def sources(self, height: int, width: int) -> Tensor:
        """[F, R]: frame * h * w + y * w + x of the context cells."""
        y, x = self.region.coordinates(self.scores.device)
        frames = torch.arange(len(self.scores), device=self.scores.device) + self.first_frame
        return frames[:, None] * (height * width) + y * width + x


class WindowedScores:
    """Similarities of a frame with windows in context frames, tile by tile.

    Args:
        settings: the window.
        height: h.
        width: w.
        device: where the maps are.
        workspace_bytes: what the scores in memory at once may take; a single cell may take more.
    """

    def __init__(
        self,
        settings: PropagationSettings,
        height: int,
        width: int,
        device: torch.device,
        workspace_bytes: int,
    ) -> None:
        self.height, self.width = height, width
        self.settings, self.device = settings, device
        self.workspace_bytes = workspace_bytes
        self.reach = settings.reach if settings.radius > 0 else max(height, width)

    def bands(self, num_scores: int, num_extra: int, itemsize: int) -> Iterator[list[Rectangle]]:
        """Yield lists of tiles that share their columns and are scored together.

        Args:
            num_scores: scores of each cell with each cell of its region: context frames.
            num_extra: scores of each cell beside those.
            itemsize: bytes of a score.
        """
        edge = _EDGES.get(self.device.type, _EDGE)
        budget = self.workspace_bytes // itemsize
        while edge > 1 and self._tile_scores(edge, num_scores, num_extra) > budget:
            edge //= 2
        together = max(1, budget // self._tile_scores(edge, num_scores, num_extra))
        for left in range(0, self.width, edge):
            right = min(left + edge, self.width)
            tiles = [
                Rectangle(top, min(top + edge, self.height), left, right)
                for top in range(0, self.height, edge)
            ]
            for start in range(0, len(tiles), together):
                yield tiles[start : start + together]

    def score(
        self, query: Tensor, context: Sequence[Tensor], first_frame: int, tiles: list[Rectangle]
    ) -> list[TileScores]:
        """Compare the tiles of a band with every context frame.

        Args:
            query: [h, w, C], normalized.
            context: F maps [h, w, C], normalized.
            first_frame: number of the first of them.
            tiles: one of `bands`.
        """
        dtype = score_dtype(query.dtype)
        compute = query.dtype if self.device.type == "cuda" else dtype
        regions = [tile.grown(self.reach, self.height, self.width) for tile in tiles]
        queries = [_cut(query, tile).to(compute) for tile in tiles]
        biases = [self._bias(*pair, dtype) for pair in zip(tiles, regions, strict=True)]
        results = [
            query.new_empty((len(context), tile.num_cells, region.num_cells), dtype=dtype)
            for tile, region in zip(tiles, regions, strict=True)
        ]
        band = Rectangle(regions[0].top, regions[-1].bottom, regions[0].left, regions[0].right)
        for f, frame in enumerate(context):
            # One copy of the band's columns: every region is then a contiguous block of its rows.
            cells = _cut(frame, band).to(compute)
            for region, asked, bias, result in zip(regions, queries, biases, results, strict=True):
                start = (region.top - band.top) * (region.right - region.left)
                _multiply(asked, cells[start : start + region.num_cells], bias, result[f])
        return [
            TileScores(tile, region, first_frame, scores)
            for tile, region, scores in zip(tiles, regions, results, strict=True)
        ]

    def _bias(self, tile: Rectangle, region: Rectangle, dtype: torch.dtype) -> Tensor:
        """[Q, R] or [1, 1]: 0 inside of the window and -inf outside."""
        if self.settings.radius == 0:
            return torch.zeros((1, 1), dtype=dtype, device=self.device)
        (y, x), (v, u) = (each.coordinates(self.device) for each in (tile, region))
        inside = self.settings.inside(v - y[:, None], u - x[:, None])
        bias = torch.zeros(inside.shape, dtype=dtype, device=self.device)
        return bias.masked_fill_(~inside, -torch.inf)

    def _tile_scores(self, edge: int, num_scores: int, num_extra: int) -> int:
        rows, columns = min(edge, self.height), min(edge, self.width)
        region_rows = min(self.height, rows + 2 * self.reach)
        region_columns = min(self.width, columns + 2 * self.reach)
        return rows * columns * (num_scores * region_rows * region_columns + num_extra)


def _multiply(asked: Tensor, seen: Tensor, bias: Tensor, target: Tensor) -> None:
    if asked.dtype == target.dtype:
        torch.addmm(bias, asked, seen.T, out=target)
    else:
        torch.add(torch.mm(asked, seen.T, out_dtype=target.dtype), bias, out=target)


def score_dtype(dtype: torch.dtype) -> torch.dtype:
    """Half-precision maps still give float32 similarities: rounded ones would tie."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _cut(frame: Tensor, cells: Rectangle) -> Tensor:
    """[cells, C] of a map [h, w, C], row by row."""
    return frame[cells.top : cells.bottom, cells.left : cells.right].flatten(0, 1)
