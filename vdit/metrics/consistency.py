"""How steady masks and features are along time, and how good masks are at their best.

Axes: T frames, C channels, h x w feature cells.

References: Zhu et al., VD-IT, ECCV 2024 (overlap change at intervals 1 and 5, share of precise
masks); Bagchi et al., ReferEverything (REM), for features of regions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

GOOD_IOU, PRECISE_IOU = 0.5, 0.9

Floats = NDArray[np.float64]


def overlap_change(ious: ArrayLike, interval: int) -> float:
    """Mean absolute difference of the IoU with the truth between frames that far apart.

    0 is steady, whether good or bad: report it beside J.

    Args:
        ious: [T] in 0..1, of one answer in every frame.
        interval: frames from one to the other, at least 1.

    Returns:
        A number in 0..1; NaN where the video is too short to have such a pair.

    Raises:
        ValueError: ious is not [T], or the interval is below 1.

    >>> overlap_change([0.5, 1.0, 0.5, 0.5], 1).__round__(3)
    0.333
    """
    values = np.asarray(ious, dtype=np.float64)
    if values.ndim != 1 or interval < 1:
        raise ValueError(
            f"expected IoU of shape [T] and an interval of at least 1, got {values.shape} and "
            f"{interval}"
        )
    if len(values) <= interval:
        return math.nan
    return float(np.abs(values[interval:] - values[:-interval]).mean())


def precise_share(ious: ArrayLike) -> float:
    """Share of masks with an IoU above 0.9 among those above 0.5.

    Of the objects that were found, how many have precise borders.

    Args:
        ious: [M] in 0..1, of all masks.

    Returns:
        A number in 0..1; NaN where no IoU is above 0.5.

    >>> precise_share([0.95, 0.7, 0.2])
    0.5
    """
    values = np.asarray(ious, dtype=np.float64)
    good = np.count_nonzero(values > GOOD_IOU)
    return float(np.count_nonzero(values > PRECISE_IOU) / good) if good else math.nan


def pool_regions(features: NDArray[np.floating], weights: NDArray[np.floating]) -> Floats:
    """Average features over a region in every frame.

    Args:
        features: [T, C, h, w].
        weights: [T, h, w] >= 0, how much of each cell lies in the region.

    Returns:
        [T, C] float64; NaN where a region is empty.

    Raises:
        ValueError: shapes disagree.
    """
    if features.ndim != 4 or weights.shape != (len(features), *features.shape[2:]):
        raise ValueError(
            f"expected features [T, C, h, w] and weights [T, h, w], got {features.shape} and "
            f"{weights.shape}"
        )
    sums = np.einsum("tchw,thw->tc", features, weights, dtype=np.float64)
    areas = weights.sum(axis=(1, 2), dtype=np.float64)
    return np.divide(sums, areas[:, None], out=np.full_like(sums, np.nan), where=areas[:, None] > 0)


def similarity_to_first(vectors: ArrayLike) -> Floats:
    """Cosine similarity of the feature of each later frame with that of the first.

    Args:
        vectors: [T, C]; a row of NaN is a frame without the object.

    Returns:
        [T - 1] in -1..1; NaN where one of both frames is without the object or has no length.

    Raises:
        ValueError: vectors is not [T, C] with T >= 1.

    >>> similarity_to_first([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    array([1., 0.])
    """
    values = np.asarray(vectors, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise ValueError(f"expected features [T, C] of at least one frame, got {values.shape}")
    lengths = np.linalg.norm(values, axis=1)
    products = lengths[1:] * lengths[0]
    known = products > 0
    return np.divide(
        values[1:] @ values[0], products, out=np.full(len(products), np.nan), where=known
    )
