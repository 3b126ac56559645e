"""Object discovery: how well segments without names follow the true objects of a video.

Segments are numbered without meaning; 0 is the background in the truth and a segment like any other
in the prediction. The pixels of all frames form one set unless a name says frame: a segment that
moves from one object to another is then wrong.

Axes: T frames, H x W pixels, N true objects, K segments.

References: Hubert and Arabie, Journal of Classification 1985 (adjusted Rand index); Kipf et al.,
arXiv:2111.12594 (SAVi; FG-ARI of videos); Zadaianchuk et al., arXiv:2306.04829 (VideoSAUR; mBO).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = [
    "GroupingScores",
    "adjusted_rand_index",
    "best_overlap",
    "foreground_ari",
    "hungarian_overlap",
    "score_grouping",
    "summarize",
]

Labels = NDArray[np.integer]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class GroupingScores:
    """Scores of one video.

    Attributes:
        fg_ari: foreground adjusted Rand index of the video.
        frame_fg_ari: mean of that of the frames.
        best_overlap: mean best overlap (mBO) of the video; NaN without objects.
        frame_best_overlap: mean of that of the frames with objects; NaN without any.
        hungarian_overlap: IoU of the video with segments paired one to one; NaN without objects.
        frame_hungarian_overlap: mean of that of the frames with objects; NaN without any.
        num_objects: true objects that are seen in the video.
        num_degenerate_frames: frames with fewer than two objects, where FG-ARI says nothing of the
            segments between objects.
    """

    fg_ari: float
    frame_fg_ari: float
    best_overlap: float
    frame_best_overlap: float
    hungarian_overlap: float
    frame_hungarian_overlap: float
    num_objects: int
    num_degenerate_frames: int

    @property
    def degenerate(self) -> bool:
        """Whether there are fewer than two objects; FG-ARI is then 0 or 1, without objects 1."""
        return self.num_objects < 2


def adjusted_rand_index(target: Labels, prediction: Labels, counted: Mask | None = None) -> float:
    """Compare two partitions of the same pixels: agreement of pairs, less that of chance.

    Counts are whole numbers up to the last division, so that 0 / 0 is recognized for certain.

    Args:
        target: [...] whole numbers >= 0.
        prediction: [...] the same shape.
        counted: [...] pixels that count; all by default.

    Returns:
        1 for equal partitions, about 0 for unrelated ones, seldom below. 1 where chance cannot do
        worse (0 / 0): both have one part, both only parts of one pixel, or no pixel counts.

    Raises:
        ValueError: shapes differ, or labels are negative or no whole numbers.

    >>> adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([7, 7, 3, 2])).__round__(3)
    0.571
    """
    counts = _joint_counts(target, prediction, counted)
    common = _num_pairs(counts)
    rows, columns = _num_pairs(counts.sum(axis=1)), _num_pairs(counts.sum(axis=0))
    every = max(_num_pairs(counts.sum()), 1)
    above_chance = 2 * (common * every - rows * columns)
    most = (rows + columns) * every - 2 * rows * columns
    return above_chance / most if most else 1.0


def foreground_ari(target: Labels, prediction: Labels, counted: Mask | None = None) -> float:
    """Adjusted Rand index of the pixels of true objects (FG-ARI); elsewhere anything may be.

    Args:
        target: [...] 0 = background, else the object.
        prediction: [...] the segment of each pixel.
        counted: [...] pixels that count; all by default.

    Returns:
        See `adjusted_rand_index`. A video without objects has 1, one with a single object 1 or 0.

    Raises:
        ValueError: see `adjusted_rand_index`.
    """
    _check_labels(target, prediction, counted)
    foreground = target != 0
    return adjusted_rand_index(
        target, prediction, foreground if counted is None else foreground & counted
    )


def best_overlap(target: Labels, prediction: Labels, counted: Mask | None = None) -> float:
    """Mean over true objects of the IoU with the segment that fits best (mBO).

    A segment may serve several objects. The arguments and errors are those of `foreground_ari`.

    Returns:
        0..1; NaN without objects.
    """
    overlaps = _overlaps(target, prediction, counted)
    return float(overlaps.max(axis=1).mean()) if len(overlaps) else math.nan


def hungarian_overlap(target: Labels, prediction: Labels, counted: Mask | None = None) -> float:
    """Mean over true objects of the IoU with a segment of their own, chosen for the largest mean.

    An object for which no segment is left has IoU 0. The arguments and errors are those of
    `foreground_ari`.

    Returns:
        0..1; NaN without objects.
    """
    overlaps = _overlaps(target, prediction, counted)
    if not len(overlaps):
        return math.nan
    return float(overlaps[linear_sum_assignment(overlaps, maximize=True)].sum() / len(overlaps))


def score_grouping(
    target: Labels, prediction: Labels, counted: Mask | None = None
) -> GroupingScores:
    """Compute all scores of one video.

    Args:
        target: [T, H, W] whole numbers, 0 = background, else the object. Reduce it to the size of
            the prediction by the nearest pixel if the prediction is smaller.
        prediction: [T, H, W] whole numbers >= 0, the segment of each pixel.
        counted: [T, H, W] pixels that count; all by default.

    Returns:
        The scores; means over frames are over those that have one.

    Raises:
        ValueError: there is no frame, shapes differ or are not [T, H, W], or labels are negative or
            no whole numbers.
    """
    _check_labels(target, prediction, counted)
    if target.ndim != 3 or not len(target):
        raise ValueError(f"expected labels [T, H, W] with T >= 1, got {list(target.shape)}")
    counted = np.ones(target.shape, dtype=bool) if counted is None else counted
    frames = list(zip(target, prediction, counted, strict=True))
    seen = [np.unique(true[counts & (true != 0)]) for true, _, counts in frames]
    return GroupingScores(
        fg_ari=foreground_ari(target, prediction, counted),
        frame_fg_ari=float(np.mean([foreground_ari(*frame) for frame in frames])),
        best_overlap=best_overlap(target, prediction, counted),
        frame_best_overlap=_mean_of_numbers([best_overlap(*frame) for frame in frames]),
        hungarian_overlap=hungarian_overlap(target, prediction, counted),
        frame_hungarian_overlap=_mean_of_numbers([hungarian_overlap(*frame) for frame in frames]),
        num_objects=len(np.unique(np.concatenate(seen))),
        num_degenerate_frames=sum(len(objects) < 2 for objects in seen),
    )


def summarize(videos: Sequence[GroupingScores]) -> dict[str, float]:
    """Average over videos, each with the same weight, and count those that say little.

    Args:
        videos: the scores of every video of a split.

    Returns:
        Fractions: FG-ARI and frame FG-ARI over all videos (one without objects has 1, as SAVi
        counts it) and "FG-ARI, two objects or more" over the others; mBO, frame mBO, Hungarian IoU
        and frame Hungarian IoU over videos with objects. Counts: videos, degenerate videos (fewer
        than two objects) and videos without objects. A mean of nothing is NaN.

    Raises:
        ValueError: there is no video.
    """
    if not videos:
        raise ValueError("expected the scores of at least one video, got none")
    return {
        "FG-ARI": _mean_of_numbers([video.fg_ari for video in videos]),
        "frame FG-ARI": _mean_of_numbers([video.frame_fg_ari for video in videos]),
        "FG-ARI, two objects or more": _mean_of_numbers(
            [video.fg_ari for video in videos if not video.degenerate]
        ),
        "mBO": _mean_of_numbers([video.best_overlap for video in videos]),
        "frame mBO": _mean_of_numbers([video.frame_best_overlap for video in videos]),
        "Hungarian IoU": _mean_of_numbers([video.hungarian_overlap for video in videos]),
        "frame Hungarian IoU": _mean_of_numbers([v.frame_hungarian_overlap for v in videos]),
        "videos": len(videos),
        "degenerate videos": sum(video.degenerate for video in videos),
        "videos without objects": sum(video.num_objects == 0 for video in videos),
    }


def _overlaps(target: Labels, prediction: Labels, counted: Mask | None) -> NDArray[np.float64]:
    """[N, K] IoU of the true objects with the segments, background of the truth left out."""
    counts = _joint_counts(target, prediction, counted)
    either = counts.sum(axis=1, keepdims=True) + counts.sum(axis=0) - counts
    kept = slice(1, None) if (_select(target, counted) == 0).any() else slice(None)
    return (counts / np.maximum(either, 1))[kept]


def _joint_counts(target: Labels, prediction: Labels, counted: Mask | None) -> NDArray[np.int64]:
    """Pixels with each pair of labels; one row a label of the truth, ascending, one column each."""
    _check_labels(target, prediction, counted)
    true, rows = np.unique(_select(target, counted), return_inverse=True)
    segments, columns = np.unique(_select(prediction, counted), return_inverse=True)
    joint = np.bincount(rows * len(segments) + columns, minlength=len(true) * len(segments))
    return joint.astype(np.int64).reshape(len(true), len(segments))


def _select(labels: Labels, counted: Mask | None) -> Labels:
    return labels.ravel() if counted is None else labels[counted]


def _num_pairs(counts: NDArray[np.int64] | np.int64) -> int:
    """Ordered pairs within the parts, as a whole number without an upper bound."""
    return sum(int(count) * (int(count) - 1) for count in np.ravel(counts))


def _mean_of_numbers(values: Sequence[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return float(np.mean(numbers)) if numbers else math.nan


def _check_labels(target: Labels, prediction: Labels, counted: Mask | None) -> None:
    if target.shape != prediction.shape:
        raise ValueError(
            f"expected labels of one shape, got {list(target.shape)} and "
            f"{list(prediction.shape)}; resize the truth by the nearest pixel"
        )
    for name, labels in {"target": target, "prediction": prediction}.items():
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"expected {name} of an integer dtype, got {labels.dtype}; round it")
        if labels.min(initial=0) < 0:
            raise ValueError(f"expected labels >= 0 in {name}, got {labels.min()}")
    if counted is not None and (counted.shape != target.shape or counted.dtype != bool):
        raise ValueError(
            f"expected counted as bool {list(target.shape)}, got {counted.dtype} "
            f"{list(counted.shape)}"
        )
