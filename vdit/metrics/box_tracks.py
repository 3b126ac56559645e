"""Mean intersection over union of box tracks.

Axes: N tracks, T frames. A box is (left x, top y, right x, bottom y), or all of it in the order
y, x, in any unit: the overlap is the same.

Reference: Patraucean et al., Perception Test, NeurIPS 2023 (single object tracking); Carreira et
al., Scaling 4D Representations, arXiv:2412.15212 (boxes of Waymo Open).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def box_iou(first: ArrayLike, second: ArrayLike) -> Floats:
    """Compute the IoU of each box with its counterpart.

    Args:
        first: [..., 4].
        second: [..., 4].

    Returns:
        [...] in 0..1. A box without area, or whose right or bottom edge comes before the other,
        overlaps with nothing, not even with itself.

    Raises:
        ValueError: shapes differ, or the last axis does not have 4 entries.

    >>> box_iou([0, 0, 2, 2], [1, 0, 3, 2])
    array(0.33333333)
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape or one.shape[-1:] != (4,):
        raise ValueError(
            f"expected two arrays [..., 4], got {list(one.shape)} and {list(other.shape)}"
        )
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., 2:], other[..., 2:])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    union = _area(one) + _area(other) - shared
    valid = (_area(one) > 0) & (_area(other) > 0)
    return np.divide(shared, union, out=np.zeros(shared.shape), where=valid)


def frames_after_first(annotated: ArrayLike) -> Bools:
    """Mark the annotated frames of each track after its first one, which a tracker is given.

    Args:
        annotated: [N, T] bool, where a track has a true box.

    Returns:
        [N, T] bool.

    Raises:
        ValueError: annotated is not [N, T] of dtype bool.
    """
    flags = _flags("annotated", annotated)
    return flags & (np.cumsum(flags, axis=1) > 1)


def track_iou(target: ArrayLike, prediction: ArrayLike, counted: ArrayLike) -> Floats:
    """Average the IoU of each track over the frames that count.

    Args:
        target: [N, T, 4] true boxes; anything where a frame does not count.
        prediction: [N, T, 4] predicted boxes, the same.
        counted: [N, T] bool, which frames of each track count, as from `frames_after_first`.

    Returns:
        [N] in 0..1; NaN for a track of which no frame counts.

    Raises:
        ValueError: shapes do not fit, counted is not bool, or a box that counts is not finite.
    """
    scores, flags = _counted_iou(target, prediction, counted)
    number = flags.sum(axis=1)
    means = np.full(len(number), np.nan)
    np.divide(scores.sum(axis=1), number, out=means, where=number > 0)
    return means


def frame_iou(target: ArrayLike, prediction: ArrayLike, counted: ArrayLike) -> float:
    """Average the IoU over all tracks and frames that count, each pair with the same weight.

    This is how boxes of Waymo Open are scored, with the tracks that have a box in the first frame.
    The papers do not say whether that frame counts; `frames_after_first` leaves it out.

    Args:
        target: [N, T, 4]; see `track_iou`.
        prediction: [N, T, 4].
        counted: [N, T] bool.

    Returns:
        The mean in 0..1; NaN where no frame counts.

    Raises:
        ValueError: as `track_iou`.
    """
    scores, flags = _counted_iou(target, prediction, counted)
    number = int(flags.sum())
    return float(scores.sum()) / number if number else float("nan")


def mean_over_videos(videos: Sequence[ArrayLike]) -> float:
    """Average over the tracks of each video, then over the videos (Perception Test).

    Args:
        videos: [N] scores of the tracks of each video, from `track_iou`; N may differ. A list of
            single scores, as from `frame_iou`, gives their mean.

    Returns:
        The mean in 0..1. Tracks that are NaN, and videos without another track, are left out; NaN
        where that leaves nothing.

    Raises:
        ValueError: there is no video.
    """
    if not videos:
        raise ValueError("expected the scores of at least one video, got none")
    scores = [np.atleast_1d(np.asarray(video, np.float64)) for video in videos]
    numbers = [video[~np.isnan(video)] for video in scores]
    means = [video.mean() for video in numbers if len(video)]
    return float(np.mean(means)) if means else float("nan")


def _counted_iou(
    target: ArrayLike, prediction: ArrayLike, counted: ArrayLike
) -> tuple[Floats, Bools]:
    """[N, T] IoU, 0 where a frame does not count, and [N, T] which frames do."""
    flags = _flags("counted", counted)
    boxes = []
    for name, array in {"target": target, "prediction": prediction}.items():
        values = np.asarray(array, np.float64)
        if values.shape != (*flags.shape, 4):
            raise ValueError(f"expected {name} {[*flags.shape, 4]}, got {list(values.shape)}")
        if not np.isfinite(values[flags]).all():
            raise ValueError(f"expected finite boxes in {name} where a frame counts")
        boxes.append(values[flags])
    scores = np.zeros(flags.shape)
    scores[flags] = box_iou(*boxes)
    return scores, flags


def _area(boxes: Floats) -> Floats:
    return np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(axis=-1)


def _flags(name: str, values: ArrayLike) -> Bools:
    flags = np.asarray(values)
    if flags.ndim != 2 or flags.dtype != np.bool_:
        raise ValueError(
            f"expected {name} [N, T] of dtype bool, got {list(flags.shape)} of {flags.dtype}"
        )
    return flags
