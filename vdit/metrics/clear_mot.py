"""CLEAR MOT: misses, false alarms and identity switches of a tracker, MOTA and MOTP.

References: Bernardin and Stiefelhagen, EURASIP JIVP 2008; Milan et al., arXiv:1603.00831.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vdit.metrics.track_overlaps import ROUNDING, FrameOverlap, OverlapSequence

__all__ = ["ClearScores", "Memory", "clear_scores"]

Memory = Literal["frame", "track"]

_KEEP = 1000.0  # worth of going on with a predicted object: more than any sum of overlaps
_NOBODY = -1

Integers = NDArray[np.integer]


@dataclass(frozen=True)
class ClearScores:
    """Counts of one sequence or of several together; the ratios follow from them.

    Attributes:
        hits: true boxes with a predicted box (TP).
        misses: true boxes without one (FN).
        false_alarms: predicted boxes without a true one (FP).
        switches: hits by another predicted object than the last hit of this true object (IDSw).
        fragmentations: times that a true object is hit again after it was not.
        mostly_tracked: true objects hit in more than 80 % of their frames (MT).
        partly_tracked: true objects hit in 20 % to 80 % of them (PT).
        mostly_lost: true objects hit in less than 20 % (ML).
        overlap_sum: overlap of all hits.
        num_frames: frames of the sequences that have both true and predicted boxes.
    """

    hits: int = 0
    misses: int = 0
    false_alarms: int = 0
    switches: int = 0
    fragmentations: int = 0
    mostly_tracked: int = 0
    partly_tracked: int = 0
    mostly_lost: int = 0
    overlap_sum: float = 0.0
    num_frames: int = 0

    @classmethod
    def combine(cls, scores: Iterable[ClearScores]) -> ClearScores:
        """Add up the counts of several sequences, or of several classes."""
        every = list(scores)
        return cls(*(sum(getattr(each, f.name) for each in every) for f in fields(cls)))

    @property
    def mota(self) -> float:
        """1 - (misses + false alarms + switches) / true boxes, in -inf..1; 0 without true boxes."""
        return self._per_target(self.hits - self.false_alarms - self.switches)

    @property
    def moda(self) -> float:
        """MOTA that forgives switches."""
        return self._per_target(self.hits - self.false_alarms)

    @property
    def smota(self) -> float:
        """MOTA in which a hit counts its overlap."""
        return self._per_target(self.overlap_sum - self.false_alarms - self.switches)

    @property
    def motal(self) -> float:
        """MOTA with the decimal logarithm of the switches."""
        switches = math.log10(self.switches) if self.switches else 0.0
        return self._per_target(self.hits - self.false_alarms - switches)

    @property
    def motp(self) -> float:
        """Mean overlap of the hits in 0..1; 0 without hits. Some codes print 1 - MOTP."""
        return self.overlap_sum / max(1, self.hits)

    @property
    def recall(self) -> float:
        """Share of true boxes that are hit."""
        return self._per_target(self.hits)

    @property
    def precision(self) -> float:
        """Share of predicted boxes that hit; 0 without predicted boxes."""
        return self.hits / max(1, self.hits + self.false_alarms)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return self._if_targets(
            self.hits / max(1.0, self.hits + (self.misses + self.false_alarms) / 2)
        )

    @property
    def false_alarms_per_frame(self) -> float:
        """False alarms over `num_frames`; 0 where no sequence counts."""
        return self.false_alarms / self.num_frames if self.num_frames else 0.0

    @property
    def mostly_tracked_ratio(self) -> float:
        """Share of true objects that are mostly tracked; 0 without any."""
        return self.mostly_tracked / max(1, self.num_objects)

    @property
    def partly_tracked_ratio(self) -> float:
        """Share of true objects that are partly tracked; 0 without any."""
        return self.partly_tracked / max(1, self.num_objects)

    @property
    def mostly_lost_ratio(self) -> float:
        """Share of true objects that are mostly lost; 1 without any, as the benchmark says."""
        return self.mostly_lost / self.num_objects if self.num_objects else 1.0

    @property
    def num_objects(self) -> int:
        """True objects."""
        return self.mostly_tracked + self.partly_tracked + self.mostly_lost

    def _per_target(self, count: float) -> float:
        return self._if_targets(count / max(1, self.hits + self.misses))

    def _if_targets(self, value: float) -> float:
        return value if self.hits + self.misses else 0.0


def clear_scores(
    sequence: OverlapSequence, threshold: float = 0.5, memory: Memory = "frame"
) -> ClearScores:
    """Pair true and predicted boxes frame by frame and count what goes wrong.

    A true object stays with the predicted object that it had as long as they overlap enough; the
    other pairs are those with the largest sum of overlaps.

    Args:
        sequence: the frames.
        threshold: least overlap of a pair, in 0..1.
        memory: how long a pair is remembered. "frame": only from the frame before, as MOTChallenge
            scores, whose code passes over frames without any true or without any predicted box.
            "track": until the true object has another one, as CLEAR MOT was first defined and as
            py-motmetrics and BDD100K score. There a frame without predicted boxes does interrupt,
            one without the true object does not; the first of two true objects that had the same
            partner keeps it; and as many pairs as possible come before the largest sum.

    Returns:
        The counts.

    Raises:
        ValueError: the threshold is not in 0..1, or the memory is unknown.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"expected a threshold above 0 and up to 1, got {threshold}; 0.5 is usual")
    if memory not in ("frame", "track"):
        raise ValueError(f'expected memory "frame" or "track", got {memory!r}')
    num_objects = len(sequence.target_lengths)
    if not sequence.num_targets or not sequence.num_predicted:
        return ClearScores(
            misses=sequence.num_targets,
            false_alarms=sequence.num_predicted,
            mostly_lost=num_objects,
        )
    history = _History(num_objects, memory)
    for frame in sequence.frames:
        if memory == "track" or (len(frame.target_ids) and len(frame.predicted_ids)):
            history.add(frame, *_pair(frame, history.partners(), threshold, memory))
    share = history.num_hits / sequence.target_lengths
    mostly_tracked, not_lost = int((share > 0.8).sum()), int((share >= 0.2).sum())
    hits = int(history.num_hits.sum())
    return ClearScores(
        hits=hits,
        misses=sequence.num_targets - hits,
        false_alarms=sequence.num_predicted - hits,
        switches=history.switches,
        fragmentations=int(np.maximum(history.num_starts - 1, 0).sum()),
        mostly_tracked=mostly_tracked,
        partly_tracked=not_lost - mostly_tracked,
        mostly_lost=num_objects - not_lost,
        overlap_sum=history.overlap_sum,
        num_frames=len(sequence.frames),
    )


class _History:
    """Whom each true object had as a partner, and counts, up to a frame."""

    def __init__(self, num_objects: int, memory: Memory) -> None:
        self.memory = memory
        self.last = np.full(num_objects, _NOBODY)  # the latest partner
        self.running = np.zeros(num_objects, dtype=bool)  # has it still
        self.num_hits = np.zeros(num_objects, dtype=np.int64)
        self.num_starts = np.zeros(num_objects, dtype=np.int64)
        self.switches = 0
        self.overlap_sum = 0.0

    def partners(self) -> Integers:
        """The predicted object that each true one would go on with, or _NOBODY."""
        return self.last if self.memory == "track" else np.where(self.running, self.last, _NOBODY)

    def add(self, frame: FrameOverlap, rows: Integers, columns: Integers) -> None:
        """Enter the pairs of a frame, given by their rows and columns."""
        targets, partners = frame.target_ids[rows], frame.predicted_ids[columns]
        known = self.last[targets] != _NOBODY
        self.switches += int((known & (self.last[targets] != partners)).sum())
        self.overlap_sum += float(frame.overlap[rows, columns].sum())
        self.num_hits[targets] += 1
        self.num_starts[targets] += ~self.running[targets]
        self.last[targets] = partners
        interrupted = frame.target_ids if self.memory == "track" else slice(None)
        self.running[interrupted] = False
        self.running[targets] = True


def _pair(
    frame: FrameOverlap, partners: Integers, threshold: float, memory: Memory
) -> tuple[Integers, Integers]:
    """Rows and columns of the pairs of a frame; objects keep their partner where they can."""
    enough = frame.overlap >= threshold - ROUNDING
    keeps = enough & (frame.predicted_ids == partners[frame.target_ids][:, None])
    most = 0
    if memory == "track":
        keeps &= np.cumsum(keeps, axis=0) == 1
        most = min(frame.overlap.shape)
    worth = frame.overlap + most + (_KEEP + most * (most + 1)) * keeps
    score = np.where(enough, worth, 0.0)
    rows, columns = linear_sum_assignment(score, maximize=True)
    paired = score[rows, columns] > ROUNDING
    return rows[paired], columns[paired]
