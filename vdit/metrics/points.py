"""Scores of tracked points, as TAP-Vid defines them.

Axes: N points, T frames. Distances are in pixels of a frame that was resized to 256 x 256; tracks
are (x, y), queries are (t, y, x).

Reference: Doersch et al., TAP-Vid, NeurIPS 2022 (Datasets and Benchmarks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

EVALUATION_SIZE = (256, 256)
THRESHOLDS = (1, 2, 4, 8, 16)

QueryMode = Literal["first", "strided"]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class PointScores:
    """Scores of the points of one video.

    Attributes:
        occlusion_accuracy: share of points and frames whose visibility is right (OA).
        within: [5] share of the visible points nearer than 1, 2, 4, 8, 16 pixels, whether predicted
            visible or not.
        jaccard: [5] true positives over true points and false positives at the same distances.

    Each lies in 0..1, and is NaN where nothing counts.
    """

    occlusion_accuracy: float
    within: Floats
    jaccard: Floats

    @property
    def average_within(self) -> float:
        """Mean of `within` (delta_avg)."""
        return float(self.within.mean())

    @property
    def average_jaccard(self) -> float:
        """Mean of `jaccard` (AJ)."""
        return float(self.jaccard.mean())


def to_evaluation_size(tracks: ArrayLike, size: tuple[int, int]) -> Floats:
    """Bring points from pixels of a frame to those of the 256 x 256 frame that is scored.

    Args:
        tracks: [..., 2] as (x, y), measured from the outer corner of the first pixel.
        size: (H, W) of the frame; (1, 1) where the points are shares of it.
    """
    scale = np.array([EVALUATION_SIZE[1] / size[1], EVALUATION_SIZE[0] / size[0]])
    return np.asarray(tracks, np.float64) * scale


def choose_queries(
    tracks: ArrayLike, occluded: ArrayLike, query_mode: QueryMode, stride: int = 5
) -> tuple[Floats, NDArray[np.int64]]:
    """Choose where a tracker is told each point.

    Mode "first" asks for each point once, in its first visible frame. Mode "strided" asks in the
    frames 0, stride, 2 stride, ... for every point that is visible there, so that a point is asked
    for several times.

    Args:
        tracks: [N, T, 2] true points as (x, y).
        occluded: [N, T] bool.
        query_mode: "first" or "strided".
        stride: frames between the queries of mode "strided".

    Returns:
        Queries [Q, 3] as (t, y, x), and the point [Q] that each asks for: by point in mode "first",
        by frame and then by point in mode "strided". A point that is never visible has none.

    Raises:
        ValueError: shapes do not fit, occluded is not bool, query_mode is unknown, or stride < 1.
    """
    _check_mode(query_mode)
    occluded = _flags("occluded", occluded)
    tracks = np.asarray(tracks, np.float64)
    _check_shape("tracks", tracks, (*occluded.shape, 2))
    if stride < 1:
        raise ValueError(f"expected a stride of at least 1 frame, got {stride}")
    if query_mode == "first":
        points = np.flatnonzero((~occluded).any(axis=1))
        frames = (~occluded[points]).argmax(axis=1) if len(points) else points
    else:
        frames, points = np.nonzero(~occluded[:, ::stride].T)
        frames = frames * stride
    x, y = tracks[points, frames].T
    return np.column_stack([frames, y, x]), points.astype(np.int64)


def score_points(
    queries: ArrayLike,
    target_tracks: ArrayLike,
    target_occluded: ArrayLike,
    tracks: ArrayLike,
    occluded: ArrayLike,
    query_mode: QueryMode,
    *,
    labelled: ArrayLike | None = None,
) -> PointScores:
    """Score the predicted tracks of one video.

    Mode "first" counts the frames after the query, mode "strided" all frames but that of the query.

    Args:
        queries: [N, 3] as (t, y, x); only the frame t is read, rounded to a whole number.
        target_tracks: [N, T, 2] true points as (x, y) in the 256 x 256 frame.
        target_occluded: [N, T] bool.
        tracks: [N, T, 2] predicted points, the same.
        occluded: [N, T] bool, predicted.
        query_mode: "first" or "strided".
        labelled: [N, T] bool, frames of which the truth is known; None = all, as in TAP-Vid.

    Returns:
        The scores of the video; average those of all videos with `summarize`.

    Raises:
        ValueError: shapes do not fit, a flag is not bool, query_mode is unknown, a query lies
            outside of the video, or a point that counts is not finite.
    """
    _check_mode(query_mode)
    queries = np.asarray(queries, np.float64)
    target, predicted = np.asarray(target_tracks, np.float64), np.asarray(tracks, np.float64)
    visible = ~_flags("target_occluded", target_occluded)
    predicted_visible = ~_flags("occluded", occluded)
    _check_shape("queries", queries, (len(visible), 3))
    _check_shape("target_tracks", target, (*visible.shape, 2))
    _check_shape("tracks", predicted, (*visible.shape, 2))
    _check_shape("occluded", predicted_visible, visible.shape)
    counted = _counted(queries[:, 0], visible.shape[1], query_mode)
    if labelled is not None:
        known = _flags("labelled", labelled)
        _check_shape("labelled", known, visible.shape)
        counted = counted & known
    shown = visible & counted
    for name, points in {"target_tracks": target, "tracks": predicted}.items():
        if not np.isfinite(points[shown]).all():
            raise ValueError(f"expected finite {name} where the true point is visible")
    squared = np.full(visible.shape, np.inf)  # a hidden point is within no distance
    squared[shown] = ((predicted[shown] - target[shown]) ** 2).sum(axis=-1)
    reached = [squared < threshold**2 for threshold in THRESHOLDS]
    num_shown = _count(shown)
    true_positives = [_count(near & predicted_visible) for near in reached]
    # A visible point that is predicted visible, but far off, is missed and a false positive.
    num_claimed = _count(predicted_visible & counted)
    return PointScores(
        occlusion_accuracy=_share(
            _count((visible == predicted_visible) & counted), _count(counted)
        ),
        within=np.array([_share(_count(near), num_shown) for near in reached]),
        jaccard=np.array([_share(hit, num_shown + num_claimed - hit) for hit in true_positives]),
    )


def summarize(videos: Sequence[PointScores]) -> dict[str, float]:
    """Average the scores of all videos, each video with the same weight.

    Args:
        videos: the scores of every video of a split.

    Returns:
        AJ, delta_avg, OA, then delta_<x> and Jaccard_<x> for x = 1, 2, 4, 8, 16 pixels, as
        fractions. A video in which nothing counts for a score is left out of its mean; a score
        without any video is NaN.

    Raises:
        ValueError: there is no video.
    """
    if not videos:
        raise ValueError("expected the scores of at least one video, got none")
    names = ["AJ", "delta_avg", "OA"]
    names += [f"delta_{x}" for x in THRESHOLDS] + [f"Jaccard_{x}" for x in THRESHOLDS]
    rows = np.array(
        [
            (v.average_jaccard, v.average_within, v.occlusion_accuracy, *v.within, *v.jaccard)
            for v in videos
        ]
    )
    numbers = [column[~np.isnan(column)] for column in rows.T]
    means = [float(values.mean()) if len(values) else float("nan") for values in numbers]
    return dict(zip(names, means, strict=True))


def _counted(query_frames: Floats, num_frames: int, query_mode: QueryMode) -> Bools:
    """[N, T]: which frames count for the query of each point."""
    frames = np.round(query_frames)
    inside = (frames >= 0) & (frames < num_frames)
    if not inside.all():
        raise ValueError(
            f"expected queries in the frames 0..{num_frames - 1}, got {query_frames[~inside][0]}"
        )
    times = np.arange(num_frames)
    return times > frames[:, None] if query_mode == "first" else times != frames[:, None]


def _count(flags: Bools) -> int:
    return int(np.count_nonzero(flags))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _flags(name: str, occluded: ArrayLike) -> Bools:
    flags = np.asarray(occluded)
    if flags.ndim != 2 or flags.dtype != np.bool_:
        raise ValueError(
            f"expected {name} [N, T] of dtype bool, got {list(flags.shape)} of {flags.dtype}; "
            "threshold probabilities first"
        )
    return flags


def _check_mode(query_mode: str) -> None:
    if query_mode not in ("first", "strided"):
        raise ValueError(f'expected query_mode "first" or "strided", got "{query_mode}"')


def _check_shape(name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"expected {name} {list(shape)}, got {list(array.shape)}")
