"""What all scores of multi-object tracking start from: who is in a frame, and who overlaps whom.

Axes: N true objects and M predicted ones in a frame, R boxes of a whole sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FrameOverlap", "OverlapSequence", "box_iou_xywh", "overlap_boxes"]

ROUNDING = np.finfo(np.float64).eps  # an overlap this little below a threshold still reaches it

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class FrameOverlap:
    """Objects of one frame, true and predicted, and their overlaps; of boxes or of masks.

    Attributes:
        target_ids: [N] whole numbers, the identity of each true object; none twice.
        predicted_ids: [M] the same of the predicted ones. The two kinds of ids are unrelated.
        overlap: [N, M] float64 in 0..1, such as the intersection over union.

    Raises:
        ValueError: the shapes do not agree, an id is there twice, or an overlap is not in 0..1.
    """

    target_ids: Integers
    predicted_ids: Integers
    overlap: Floats

    def __post_init__(self) -> None:
        expected = (len(self.target_ids), len(self.predicted_ids))
        if self.overlap.shape != expected:
            raise ValueError(
                f"expected overlaps of the shape {list(expected)}, got "
                f"{list(self.overlap.shape)}; one row a true object, one column a predicted one"
            )
        for name, ids in {"true": self.target_ids, "predicted": self.predicted_ids}.items():
            values, counts = np.unique(ids, return_counts=True)
            if (counts > 1).any():
                raise ValueError(
                    f"expected every {name} id once in a frame, got {values[counts > 1][0]} "
                    f"{counts.max()} times; keep one of the boxes"
                )
        if not ((self.overlap >= 0) & (self.overlap <= 1 + 1e-9)).all():
            raise ValueError("expected overlaps in 0..1; pass the intersection over union")


@dataclass(frozen=True)
class OverlapSequence:
    """All frames of one sequence, with ids numbered from 0.

    Attributes:
        frames: one entry a frame; a frame without any object has empty arrays.
        target_lengths: [I] number of frames with true object i.
        predicted_lengths: [J] number of frames with predicted object j.
    """

    frames: tuple[FrameOverlap, ...]
    target_lengths: Integers
    predicted_lengths: Integers

    @classmethod
    def from_frames(cls, frames: list[FrameOverlap]) -> OverlapSequence:
        """Number the ids from 0 in the order of their values, over the whole sequence."""
        targets, target_lengths = _count_ids([frame.target_ids for frame in frames])
        predictions, predicted_lengths = _count_ids([frame.predicted_ids for frame in frames])
        numbered = tuple(
            FrameOverlap(
                np.searchsorted(targets, frame.target_ids),
                np.searchsorted(predictions, frame.predicted_ids),
                np.asarray(frame.overlap, np.float64),
            )
            for frame in frames
        )
        return cls(numbered, target_lengths, predicted_lengths)

    @property
    def num_targets(self) -> int:
        """True boxes of all frames."""
        return int(self.target_lengths.sum())

    @property
    def num_predicted(self) -> int:
        """Predicted boxes of all frames."""
        return int(self.predicted_lengths.sum())


def box_iou_xywh(first: ArrayLike, second: ArrayLike) -> Floats:
    """Compute the intersection over union of all pairs of boxes.

    Args:
        first: [N, 4] as (x of the left edge, y of the top edge, width, height) in any unit.
        second: [M, 4] in the same unit.

    Returns:
        [N, M] in 0..1; 0 where one of the boxes has no area.

    Raises:
        ValueError: the last axis does not have 4 entries.

    >>> box_iou_xywh([[0, 0, 2, 2]], [[1, 0, 2, 2], [5, 5, 1, 1]]).round(3).tolist()
    [[0.333, 0.0]]
    """
    one, two = _boxes(first)[:, None], _boxes(second)[None]
    low = np.maximum(one[..., :2], two[..., :2])
    high = np.minimum(one[..., :2] + one[..., 2:], two[..., :2] + two[..., 2:])
    common = np.maximum(high - low, 0).prod(axis=-1)
    areas = [np.maximum(boxes[..., 2:], 0).prod(axis=-1) for boxes in (one, two)]
    union = areas[0] + areas[1] - common
    real = (areas[0] > ROUNDING) & (areas[1] > ROUNDING) & (union > ROUNDING)
    return np.where(real, common / np.where(real, union, 1), 0.0)


def overlap_boxes(target: ArrayLike, prediction: ArrayLike, num_frames: int) -> OverlapSequence:
    """Compare the boxes of a sequence frame by frame.

    Args:
        target: [R, 6] rows (frame, id, x, y, w, h) in any order; frames count from 1 to num_frames,
            ids are whole numbers.
        prediction: [R', 6] the same of a tracker.
        num_frames: frames of the sequence, also those without boxes.

    Returns:
        The sequence; the overlap is the intersection over union.

    Raises:
        ValueError: rows of another shape, numbers that are not finite, a frame or an id that is no
            whole number, a frame out of range, or an id twice in a frame.
    """
    rows = []
    for name, given in {"target": target, "prediction": prediction}.items():
        checked = _rows(name, given)
        if len(checked) and not (1 <= checked[:, 0].min() and checked[:, 0].max() <= num_frames):
            raise ValueError(
                f"expected frames 1..{num_frames} in {name}, got {checked[:, 0].min():.0f}.."
                f"{checked[:, 0].max():.0f}; check the number of frames of the sequence"
            )
        rows.append(_split_frames(checked, num_frames))
    frames = []
    for t, (true, found) in enumerate(zip(*rows, strict=True)):
        overlap = box_iou_xywh(true[:, 2:], found[:, 2:])
        true_ids, found_ids = true[:, 1].astype(np.int64), found[:, 1].astype(np.int64)
        try:
            frames.append(FrameOverlap(true_ids, found_ids, overlap))
        except ValueError as error:
            raise ValueError(f"frame {t + 1}: {error}") from error
    return OverlapSequence.from_frames(frames)


def _split_frames(rows: Floats, num_frames: int) -> list[Floats]:
    ordered = rows[np.argsort(rows[:, 0], kind="stable")]
    return np.split(ordered, np.searchsorted(ordered[:, 0], np.arange(2, num_frames + 1)))


def _count_ids(ids: list[Integers]) -> tuple[Integers, Integers]:
    every = np.concatenate(ids) if ids else np.empty(0, np.int64)
    values, counts = np.unique(every, return_counts=True)
    return values, counts.astype(np.int64)


def _boxes(boxes: ArrayLike) -> Floats:
    array = np.asarray(boxes, np.float64)
    array = array.reshape(0, 4) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"expected boxes [N, 4] as (x, y, w, h), got {list(array.shape)}")
    return array


def _rows(name: str, rows: ArrayLike) -> Floats:
    array = np.asarray(rows, np.float64)
    array = array.reshape(0, 6) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != 6:
        raise ValueError(
            f"expected {name} of rows (frame, id, x, y, w, h), got the shape {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"expected finite numbers in {name}; remove the rows with NaN or infinity")
    if (array[:, :2] != array[:, :2].round()).any():
        raise ValueError(f"expected frames and ids of {name} to be whole numbers; round them")
    return array
