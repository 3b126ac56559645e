"""Contours of masks and how much of one lies near another: the parts of contour accuracy F."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class Contour:
    """The contour of one mask and the disk-shaped neighborhood of that contour.

    A pixel is on the contour when it differs from the pixel to its right, below it, or diagonally
    below right. Pixels beyond the frame do not count: a mask of the full frame has no contour.

    Args:
        mask: [H, W] bool.
        radius: distance in pixels up to which a pixel is near the contour, inclusive.

    Attributes:
        pixels: [P] indices into the flattened frame, ascending.
    """

    def __init__(self, mask: NDArray[np.bool_], radius: float) -> None:
        height, width = mask.shape
        top, bottom = _extent(np.any(mask, axis=1))
        left, right = _extent(np.any(mask[top:bottom], axis=0))
        rows = slice(max(top - 1, 0), min(bottom + 1, height))
        columns = slice(max(left - 1, 0), min(right + 1, width))
        edge = np.flatnonzero(boundary_map(mask[rows, columns]))  # faster than np.nonzero in 2-D
        y, x = np.divmod(edge, max(columns.stop - columns.start, 1))
        self.pixels = (y + rows.start) * width + (x + columns.start)
        self._shape, self._radius = (height, width), radius

    @cached_property
    def near(self) -> NDArray[np.bool_]:
        """[H * W] bool, True within the radius of a contour pixel."""
        near = np.zeros(self._shape, dtype=bool)
        if len(self.pixels):
            y, x = np.divmod(self.pixels, self._shape[1])
            _draw_disks(near, y, x, self._radius)
        return near.ravel()


def match_contours(true: Contour, predicted: Contour) -> float:
    """Compute F in 0..1: the harmonic mean of the shares of each contour that is near the other.

    Two empty contours score 1, one empty contour scores 0.
    """
    if not len(true.pixels) or not len(predicted.pixels):
        return float(len(true.pixels) == len(predicted.pixels))
    precision = np.count_nonzero(true.near[predicted.pixels]) / len(predicted.pixels)
    recall = np.count_nonzero(predicted.near[true.pixels]) / len(true.pixels)
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
    """Mark the contour pixels of a mask [H, W] bool, see `Contour`."""
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def _draw_disks(
    canvas: NDArray[np.bool_], y: NDArray[np.intp], x: NDArray[np.intp], radius: float
) -> None:
    """Set all pixels within `radius` of the points, the disk taken row by row from its pole."""
    margin = math.floor(radius)
    top, left = max(int(y.min()) - margin, 0), max(int(x.min()) - margin, 0)
    window = canvas[top : y.max() + margin + 1, left : x.max() + margin + 1]
    points = np.zeros_like(window)
    points[y - top, x - left] = True
    spans, half_width = points.copy(), 0  # spans: the points widened by half_width to both sides
    for dy in range(margin, -1, -1):
        wanted = math.floor(math.sqrt(radius**2 - dy**2))
        for shift in range(half_width + 1, wanted + 1):
            spans[:, shift:] |= points[:, :-shift]
            spans[:, :-shift] |= points[:, shift:]
        half_width = wanted
        height = max(len(spans) - dy, 0)
        window[dy:] |= spans[:height]
        window[:height] |= spans[dy:]


def _extent(occupied: NDArray[np.bool_]) -> tuple[int, int]:
    """First True and one past the last True; (0, 0) where there is none."""
    indices = np.flatnonzero(occupied)
    return (int(indices[0]), int(indices[-1]) + 1) if len(indices) else (0, 0)
