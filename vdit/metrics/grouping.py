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
    return _index(_count(target, prediction, counted).joint.sum(axis=0))


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
    return _index(_count(target, prediction, counted).objects.sum(axis=0))


def best_overlap(target: Labels, prediction: Labels, counted: Mask | None = None) -> float:
    """Mean over true objects of the IoU with the segment that fits best (mBO).

    A segment may serve several objects. The arguments and errors are those of `foreground_ari`.

    Returns:
        0..1; NaN without objects.
    """
    return _best(_count(target, prediction, counted).overlaps())


def hungarian_overlap(target: Labels, prediction: Labels, counted: Mask | None = None) -> float:
    """Mean over true objects of the IoU with a segment of their own, chosen for the largest mean.

    An object for which no segment is left has IoU 0. The arguments and errors are those of
    `foreground_ari`.

    Returns:
        0..1; NaN without objects.
    """
    return _paired(_count(target, prediction, counted).overlaps())


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
    if target.ndim != 3 or not len(target):
        raise ValueError(f"expected labels [T, H, W] with T >= 1, got {list(target.shape)}")
    counts = _count(target, prediction, counted)
    video, frames = counts.overlaps(), [counts.overlaps(t) for t in range(len(target))]
    return GroupingScores(
        fg_ari=_index(counts.objects.sum(axis=0)),
        frame_fg_ari=float(np.mean([_index(frame) for frame in counts.objects])),
        best_overlap=_best(video),
        frame_best_overlap=_mean_of_numbers([_best(frame) for frame in frames]),
        hungarian_overlap=_paired(video),
        frame_hungarian_overlap=_mean_of_numbers([_paired(frame) for frame in frames]),
        num_objects=len(video),
        num_degenerate_frames=sum(len(frame) < 2 for frame in frames),
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


@dataclass(frozen=True)
class _Counts:
    """Pixels with each pair of labels.

    Attributes:
        joint: [T, L, K] frames, labels of the truth and segments.
        labels: [L] the labels of the truth.
    """

    joint: NDArray[np.int64]
    labels: Labels

    @property
    def objects(self) -> NDArray[np.int64]:
        """[T, N, K] without the background of the truth."""
        return self.joint[:, self.labels != 0]

    def overlaps(self, frame: int | None = None) -> NDArray[np.float64]:
        """[N, K] IoU of the objects that are seen with the segments; of all frames or of one."""
        chosen = self.joint.sum(axis=0) if frame is None else self.joint[frame]
        either = chosen.sum(axis=1, keepdims=True) + chosen.sum(axis=0) - chosen
        seen = (self.labels != 0) & chosen.any(axis=1)
        return (chosen / np.maximum(either, 1))[seen]


def _count(target: Labels, prediction: Labels, counted: Mask | None) -> _Counts:
    """Count in one pass; labels that are not [T, H, W] are one frame."""
    _check_labels(target, prediction, counted)
    num_frames = len(target) if target.ndim == 3 else 1
    kept = slice(None) if counted is None else counted.ravel()
    frames = np.repeat(np.arange(num_frames), target.size // max(num_frames, 1))[kept]
    labels, rows = np.unique(target.ravel()[kept], return_inverse=True)
    segments, columns = np.unique(prediction.ravel()[kept], return_inverse=True)
    shape = (num_frames, len(labels), len(segments))
    joint = np.bincount((frames * shape[1] + rows) * shape[2] + columns, minlength=math.prod(shape))
    return _Counts(joint.astype(np.int64).reshape(shape), labels)


def _index(counts: NDArray[np.int64]) -> float:
    """Adjusted Rand index of a table of counts."""
    common = _num_pairs(counts)
    rows, columns = _num_pairs(counts.sum(axis=1)), _num_pairs(counts.sum(axis=0))
    every = max(_num_pairs(counts.sum()), 1)
    above_chance = 2 * (common * every - rows * columns)
    most = (rows + columns) * every - 2 * rows * columns
    return above_chance / most if most else 1.0


def _best(overlaps: NDArray[np.float64]) -> float:
    return float(overlaps.max(axis=1).mean()) if len(overlaps) else math.nan


def _paired(overlaps: NDArray[np.float64]) -> float:
    if not len(overlaps):
        return math.nan
    return float(overlaps[linear_sum_assignment(overlaps, maximize=True)].sum() / len(overlaps))


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
