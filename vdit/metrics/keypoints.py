"""Percentage of correct key points (PCK) as evaluated on JHMDB.

Axes: J key points, T frames, N videos, A thresholds.

Reference: Yang and Ramanan, TPAMI 2013; the protocol is that of Li et al., NeurIPS 2019 (UVC) and
Jabri et al., NeurIPS 2020 (CRW).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)

Floats = NDArray[np.float64]


def points_from_grid(points: ArrayLike, grid: tuple[int, int], size: tuple[int, int]) -> Floats:
    """Bring key points from cells to pixels; cell 0 lies at pixel 0, missing points stay negative.

    Args:
        points: [2, J, T] as (x, y) in cells, negative where a point is missing.
        grid: (h, w), 40 x 40 in the protocol.
        size: (H, W) of the frames.
    """
    scale = np.array([size[1] / grid[1], size[0] / grid[0]])
    return np.asarray(points, np.float64) * scale[:, None, None]


def body_size(target: ArrayLike, visible: ArrayLike) -> Floats:
    """Give 0.6 times the diagonal of the tight box around the visible points of every frame.

    Args:
        target: [2, J, T] true points in pixels.
        visible: [J, T] bool.

    Returns:
        [T] pixels; NaN where no point is visible.
    """
    points = np.where(np.asarray(visible, bool), np.asarray(target, np.float64), np.nan)
    low = np.fmin.reduce(points, axis=1)
    high = np.fmax.reduce(points, axis=1)
    return 0.6 * np.hypot(*(high - low))


def keypoint_distances(target: ArrayLike, prediction: ArrayLike) -> Floats:
    """Give the distances between true and predicted points in body sizes.

    A predicted x below zero says that the point is missing; it then counts neither as right nor as
    wrong, and the body is measured without it. The first frame is given and does not count.

    Args:
        target: [2, J, T] as (x, y) in pixels from 0; `pos_img` of JHMDB minus 1.
        prediction: [2, J, T], the same.

    Returns:
        [J, T - 1]; NaN where a point is missing.

    Raises:
        ValueError: the shapes differ or are not [2, J, T].
    """
    target, prediction = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
    if target.shape != prediction.shape or target.ndim != 3 or target.shape[0] != 2:
        raise ValueError(
            f"expected two arrays [2, J, T], got {list(target.shape)} and {list(prediction.shape)}"
        )
    visible = prediction[0] >= 0
    distances = np.hypot(*(target - prediction))
    with np.errstate(divide="ignore", invalid="ignore"):  # one visible point: a body of size 0
        distances = distances / body_size(target, visible)
    return np.where(visible, distances, np.nan)[:, 1:]


def keypoint_accuracy(
    distances: Sequence[Floats], thresholds: Sequence[float] = THRESHOLDS
) -> Floats:
    """Compute the PCK over a data set.

    Args:
        distances: N arrays [J, T - 1] of `keypoint_distances`.
        thresholds: A, in body sizes.

    Returns:
        [A, J + 1] percent: of each point over all videos, then the mean over the points. A point
        that is missing everywhere is NaN and left out of the mean.
    """
    joined = np.concatenate(list(distances), axis=1)
    counted = (~np.isnan(joined)).sum(axis=1)
    correct = np.stack([(joined <= threshold).sum(axis=1) for threshold in thresholds])
    shares = np.full(correct.shape, np.nan)
    np.divide(100.0 * correct, counted, out=shares, where=counted > 0)
    seen = counted > 0
    mean = shares[:, seen].mean(axis=1) if seen.any() else np.full(len(shares), np.nan)
    return np.column_stack([shares, mean])
