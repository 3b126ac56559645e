"""Feature maps whose worth is known: made from the truth, or from bare color.

They check a harness before any network does: labels must follow the first kind through every
occlusion, and cannot tell equal objects apart by the second.

Axes: T frames, H x W pixels, h x w cells of `stride` pixels, the last ones cut off where they
overhang.
"""

from __future__ import annotations

import numpy as np

__all__ = ["mean_colors", "object_codes"]


def object_codes(labels: np.ndarray, stride: int, num_objects: int) -> np.ndarray:
    """Give each cell the shares of its pixels that belong to each object.

    Every object has a direction of its own, which follows it wherever it goes.

    Args:
        labels: [T, H, W] integers, 0 the background, 1..`num_objects` the objects.
        stride: pixels.
        num_objects: N.

    Returns:
        [T, 1 + N, h, w] float32, the background first; sums to 1.
    """
    shares = [_cell_means(labels == number, stride) for number in range(num_objects + 1)]
    return np.stack(shares, axis=1)


def mean_colors(frames: np.ndarray, stride: int) -> np.ndarray:
    """Give each cell its mean color, as far from the mean color of the first frame.

    Args:
        frames: [T, H, W, 3] uint8.
        stride: pixels.

    Returns:
        [T, 3, h, w] float32.
    """
    colors = np.stack([_cell_means(frames[..., c], stride) for c in range(3)], axis=1) / 255
    return (colors - colors[0].mean(axis=(1, 2))[:, None, None]).astype(np.float32)


def _cell_means(values: np.ndarray, stride: int) -> np.ndarray:
    """[T, H, W] -> [T, h, w] float32."""
    count, height, width = values.shape
    rows, columns = height // stride, width // stride
    if not rows or not columns:
        raise ValueError(
            f"expected a stride of at most {min(height, width)} for frames of {height}x{width}, "
            f"got {stride}"
        )
    cut = values[:, : rows * stride, : columns * stride].astype(np.float32)
    return cut.reshape(count, rows, stride, columns, stride).mean(axis=(2, 4), dtype=np.float32)
