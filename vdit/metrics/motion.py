"""How far true objects move from frame to frame, and scores by that: where following fails.

Axes: T frames, N objects, K key points, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vdit.metrics.keypoints import body_size

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MotionGroup:
    """Scores of one part of all objects and frames, ordered by motion.

    Attributes:
        low: least motion in the group.
        high: largest motion in the group.
        score: mean score.
        count: members.
    """

    low: float
    high: float
    score: float
    count: int


def object_motion(target: NDArray[np.integer], positions: Sequence[int]) -> Floats:
    """Measure how far each object moved since the frame before, in sizes of the object.

    It is the distance of the two centers of mass over the square root of the mean of the two areas,
    divided by the number of frames between.

    Args:
        target: [T, H, W] ids of objects, 0 = background, 255 = void.
        positions: [T] of these frames in the video.

    Returns:
        [N, T] for the objects 1..N of the first frame; NaN in the first frame, and where an object
        is out of sight in one of the two frames.
    """
    num_objects = int(target[0].max(initial=0, where=target[0] != 255))
    centers = np.full((num_objects, len(target), 2), np.nan)
    areas = np.full((num_objects, len(target)), np.nan)
    for t in range(len(target)):
        for k in range(num_objects):
            y, x = np.nonzero(target[t] == k + 1)
            if len(y):
                centers[k, t] = y.mean(), x.mean()
                areas[k, t] = len(y)
    motion = np.full(areas.shape, np.nan)
    moved = np.linalg.norm(np.diff(centers, axis=1), axis=2)
    size = np.sqrt((areas[:, 1:] + areas[:, :-1]) / 2)
    motion[:, 1:] = moved / size / np.diff(np.asarray(positions))
    return motion


def keypoint_motion(target: ArrayLike) -> Floats:
    """Measure how far each key point moved since the frame before, in sizes of the body.

    Args:
        target: [2, K, T] true points in pixels.

    Returns:
        [K, T - 1] from the second frame on; NaN where the body has no size.
    """
    points = np.asarray(target, np.float64)
    size = body_size(points, np.ones(points.shape[1:], bool))[1:]
    return np.hypot(*np.diff(points, axis=2)) / np.where(size > 0, size, np.nan)


def scores_by_motion(motion: ArrayLike, scores: ArrayLike, num_groups: int) -> list[MotionGroup]:
    """Average scores in groups of equal size, from the least motion to the largest.

    Args:
        motion: [M]; where it is NaN, or the score is, the pair is left out.
        scores: [M].
        num_groups: groups; fewer where there are fewer pairs.

    Raises:
        ValueError: the lengths differ, or num_groups < 1.
    """
    moved, found = np.asarray(motion, np.float64), np.asarray(scores, np.float64)
    if moved.ndim != 1 or moved.shape != found.shape or num_groups < 1:
        raise ValueError(
            f"expected motion and scores [M] and num_groups >= 1, got {list(moved.shape)}, "
            f"{list(found.shape)} and {num_groups}"
        )
    counted = ~(np.isnan(moved) | np.isnan(found))
    moved, found = moved[counted], found[counted]
    order = np.argsort(moved, kind="stable")
    return [
        MotionGroup(
            float(moved[part[0]]), float(moved[part[-1]]), float(found[part].mean()), len(part)
        )
        for part in np.array_split(order, num_groups)
        if len(part)
    ]
