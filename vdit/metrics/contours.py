"""Contours of masks and how much of one lies near another: the parts of contour accuracy F.

Masks of one frame are kept as Python integers, one bit a pixel, so that shifting, joining and
counting whole masks are single operations. Axes: K masks, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Masks = Sequence[NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Raster:
    """The window of a frame that holds some masks, and how its pixels are numbered.

    Pixel (y, x) of the window is bit y * stride + x. Rows end in as many zeros as a disk is wide,
    so that what is shifted sideways never enters another row.

    Attributes:
        stride: bits of a row.
        radius: distance in pixels up to which a pixel is near a contour, inclusive.
        columns: bits of the pixels that have a neighbor to the right in the frame.
        inside: bits of all pixels.
        above: bits of the rows that have a row below them in the frame, padding included.
    """

    stride: int
    radius: float
    columns: int
    inside: int
    above: int

    def contour(self, mask: int) -> int:
        """Pixels that differ from the one to the right, below, or diagonally below right.

        Pixels beyond the frame do not count: a mask of the full frame has no contour.
        """
        right = (mask ^ (mask >> 1)) & self.columns
        below = (mask ^ (mask >> self.stride)) & self.inside
        diagonal = (mask ^ (mask >> (self.stride + 1))) & self.columns
        return right | ((below | diagonal) & self.above)

    def widen(self, points: int) -> int:
        """Pixels within the radius of the points, and some bits of the padding.

        The disk is laid row by row from its pole: rows only get wider towards its center.
        """
        if not points:
            return 0
        reach = math.floor(self.radius)
        lowest = ((points & -points).bit_length() - 1) // self.stride
        skipped = max(lowest - reach, 0) * self.stride  # rows that stay empty are not worked on
        # bits in front of the first row keep what leaves it: later steps may bring it back
        spans, half_width = points >> skipped << reach, 0
        near = 0
        for dy in range(reach, -1, -1):
            wanted = math.floor(math.sqrt(self.radius**2 - dy**2))
            while half_width < wanted:
                step = min(wanted - half_width, 2 * half_width + 1)
                spans |= (spans << step) | (spans >> step)
                half_width += step
            near |= spans << dy * self.stride
            near |= spans >> dy * self.stride
        return near >> reach << skipped


class Outline:
    """One mask of a frame, its contour and the neighborhood of that contour, as bits of a raster.

    Attributes:
        raster: that gives the bits their places.
        mask: bits of the mask.
        contour: bits of its contour.
        length: pixels on the contour.
    """

    def __init__(self, raster: Raster, mask: int) -> None:
        self.raster, self.mask = raster, mask
        self.contour = raster.contour(mask)
        self.length = self.contour.bit_count()

    @cached_property
    def near(self) -> int:
        """Bits of the pixels within the radius of the contour; padding may hold some too."""
        return self.raster.widen(self.contour)


def draw_outlines(masks: Masks, radius: float) -> list[Outline]:
    """Draw the contours of masks of one frame, which can then be compared with one another.

    Args:
        masks: K masks [H, W] bool of one size.
        radius: distance in pixels up to which a pixel is near a contour, inclusive.
    """
    top, bottom, left, right = _window(masks)
    height, width = masks[0].shape
    top, left = max(top - 1, 0), max(left - 1, 0)  # contours begin one pixel before their mask
    rows, columns = bottom - top, right - left
    stride = columns + max(math.floor(radius), 1)
    canvas = np.zeros((rows, stride), dtype=bool)
    bits = []
    for mask in masks:
        canvas[:, :columns] = mask[top:bottom, left:right]
        bits.append(_pack(canvas))
    canvas[:, :columns] = True
    inside = _pack(canvas)
    canvas[:, columns - (right == width) : columns] = False
    above = (1 << (rows - (bottom == height)) * stride) - 1
    raster = Raster(stride, radius, columns=_pack(canvas), inside=inside, above=above)
    return [Outline(raster, each) for each in bits]


def match_regions(true: Outline, predicted: Outline) -> float:
    """Compute J in 0..1 of two masks of one frame; two empty masks score 1."""
    union = (true.mask | predicted.mask).bit_count()
    return (true.mask & predicted.mask).bit_count() / union if union else 1.0


def match_contours(true: Outline, predicted: Outline) -> float:
    """Compute F in 0..1: the harmonic mean of the shares of each contour that is near the other.

    Two empty contours score 1, one empty contour scores 0.
    """
    if not true.length or not predicted.length:
        return float(true.length == predicted.length)
    precision = (true.near & predicted.contour).bit_count() / predicted.length
    recall = (predicted.near & true.contour).bit_count() / true.length
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour_radius(height: int, width: int, bound_th: float) -> float:
    """Turn the tolerance of `davis.contour_accuracy` into pixels.

    Raises:
        ValueError: bound_th is negative or not a number.
    """
    if not bound_th >= 0:
        raise ValueError(f"expected bound_th >= 0, got {bound_th}")
    diagonal = math.sqrt(height**2 + width**2)
    return min(bound_th, math.ceil(diagonal)) if bound_th >= 1 else math.ceil(bound_th * diagonal)


def boundary_map(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the contour pixels of a mask [H, W] bool, see `Raster.contour`."""
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def _window(masks: Masks) -> tuple[int, int, int, int]:
    """First row, one past the last, first column, one past the last of all masks together.

    A frame without any is a window of one pixel.
    """
    occupied = masks[0].copy()
    for mask in masks[1:]:
        np.logical_or(occupied, mask, out=occupied)
    rows = np.flatnonzero(occupied.any(axis=1))
    if not len(rows):
        return 0, 1, 0, 1
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(occupied[top:bottom].any(axis=0))
    return top, bottom, int(columns[0]), int(columns[-1]) + 1


def _pack(canvas: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(canvas, bitorder="little").tobytes(), "little")
