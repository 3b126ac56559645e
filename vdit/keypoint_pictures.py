"""Key points drawn over frames, with the lines of their skeleton.

Axes: J key points, H x W pixels. Colors are uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vdit.legend import expect_colors, expect_frame
from vdit.visualize import object_colors

_SHADOW = 0.45
"""Brightness that is left in the thin shadow around what is drawn, as around masks."""


def overlay_keypoints(
    frame: np.ndarray,
    points: np.ndarray,
    skeleton: Sequence[tuple[int, int]] = (),
    colors: np.ndarray | None = None,
    radius: float | None = None,
) -> np.ndarray:
    """Draw key points as discs of their colors, over lines between those that belong together.

    Everything has soft edges and a thin shadow. A line changes from the color of one end to that
    of the other.

    Args:
        frame: [H, W, 3] uint8 RGB; it is not changed.
        points: [J, 2] as (x, y) in pixels; one that is not finite is left out, with its lines.
        skeleton: pairs of places in `points`.
        colors: [J, 3] uint8 RGB, `object_colors(J)` by default.
        radius: of the discs in pixels; by default 3, 8 at 1920 x 1080.

    Returns:
        [H, W, 3] uint8.

    Raises:
        ValueError: shapes or dtypes do not fit.
    """
    expect_frame(frame)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points must be [J, 2] as (x, y) in pixels, got {list(points.shape)}")
    colors = object_colors(len(points)) if colors is None else colors
    expect_colors(colors, len(points))
    if radius is None:
        radius = max(3.0, (frame.shape[0] * frame.shape[1]) ** 0.5 / 180)
    seen = np.isfinite(points).all(axis=1)
    picture = frame.copy()
    for first, second in skeleton:
        if seen[first] and seen[second]:
            _draw(picture, points[[first, second]], colors[[first, second]], max(1.0, radius / 3))
    for index in np.flatnonzero(seen):
        _draw(picture, points[[index, index]], colors[[index, index]], radius)
    return picture


def _draw(picture: np.ndarray, ends: np.ndarray, colors: np.ndarray, radius: float) -> None:
    """Draw a line [2, 2] with round ends into a picture; a disc where both ends are one point."""
    reach = radius + 2
    low = np.floor(ends.min(axis=0) - reach).astype(int).clip(min=0)
    high = np.ceil(ends.max(axis=0) + reach).astype(int) + 1
    patch = picture[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
    if not patch.size:
        return
    y, x = np.mgrid[low[1] : low[1] + patch.shape[0], low[0] : low[0] + patch.shape[1]]
    offset = np.stack([x, y], axis=-1) - ends[0]
    way = ends[1] - ends[0]
    along = np.clip(offset @ way / max(float(way @ way), 1e-12), 0, 1)[..., None]
    distance = np.linalg.norm(offset - along * way, axis=-1, keepdims=True)
    shadow = np.clip(radius + 1.5 - distance, 0, 1)
    inside = np.clip(radius + 0.5 - distance, 0, 1)
    color = colors[0] + along * (colors[1].astype(np.float64) - colors[0])
    mixed = patch * (1 - (1 - _SHADOW) * shadow)
    patch[:] = np.round(mixed * (1 - inside) + color * inside)
