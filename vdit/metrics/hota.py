"""HOTA: detection and association of a tracker in one score, at every strictness of the overlap.

Reference: Luiten et al., HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking, IJCV
2021.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vdit.metrics.track_overlaps import ROUNDING, OverlapSequence

__all__ = ["ALPHAS", "HotaScores", "hota_scores"]

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""[19] least overlaps of a hit: 0.05, 0.1, ..., 0.95."""

_TINY = 1e-10

Floats = NDArray[np.float64]


def _zeros() -> Floats:
    return np.zeros(len(ALPHAS))


@dataclass(frozen=True)
class HotaScores:
    """Sums of one sequence or of several together; each [A] has one entry an alpha of `ALPHAS`.

    Attributes:
        hits: [A] boxes that are hits (TP).
        misses: [A] true boxes that are not (FN).
        false_alarms: [A] predicted boxes that are not (FP).
        association_sum: [A] sum over the hits of the share that their two objects have in common.
        association_recall_sum: [A] the same in relation to the true object.
        association_precision_sum: [A] the same in relation to the predicted object.
        overlap_sum: [A] overlap of the hits.
    """

    hits: Floats = field(default_factory=_zeros)
    misses: Floats = field(default_factory=_zeros)
    false_alarms: Floats = field(default_factory=_zeros)
    association_sum: Floats = field(default_factory=_zeros)
    association_recall_sum: Floats = field(default_factory=_zeros)
    association_precision_sum: Floats = field(default_factory=_zeros)
    overlap_sum: Floats = field(default_factory=_zeros)

    @classmethod
    def combine(cls, scores: Iterable[HotaScores]) -> HotaScores:
        """Add up several sequences: association is averaged over all hits."""
        every = [cls(), *scores]
        return cls(*(sum(getattr(each, f.name) for each in every) for f in fields(cls)))

    @property
    def hota(self) -> float:
        """Mean over the alphas of the geometric mean of DetA and AssA, in 0..1."""
        return float(self.hota_by_alpha.mean())

    @property
    def deta(self) -> float:
        """Mean detection accuracy DetA."""
        return float(self.deta_by_alpha.mean())

    @property
    def assa(self) -> float:
        """Mean association accuracy AssA."""
        return float(self.assa_by_alpha.mean())

    @property
    def loca(self) -> float:
        """Mean localization accuracy LocA."""
        return float(self.loca_by_alpha.mean())

    @property
    def hota_by_alpha(self) -> Floats:
        """[A] HOTA at each alpha."""
        return np.sqrt(self.deta_by_alpha * self.assa_by_alpha)

    @property
    def owta_by_alpha(self) -> Floats:
        """[A] open world tracking accuracy, HOTA that forgives false alarms."""
        return np.sqrt(self.detection_recall_by_alpha * self.assa_by_alpha)

    @property
    def deta_by_alpha(self) -> Floats:
        """[A] hits over hits, misses and false alarms."""
        return self.hits / np.maximum(1, self.hits + self.misses + self.false_alarms)

    @property
    def detection_recall_by_alpha(self) -> Floats:
        """[A] share of true boxes that are hits."""
        return self.hits / np.maximum(1, self.hits + self.misses)

    @property
    def detection_precision_by_alpha(self) -> Floats:
        """[A] share of predicted boxes that are hits."""
        return self.hits / np.maximum(1, self.hits + self.false_alarms)

    @property
    def assa_by_alpha(self) -> Floats:
        """[A] mean over the hits of the share that their two objects have in common."""
        return self.association_sum / np.maximum(1, self.hits)

    @property
    def association_recall_by_alpha(self) -> Floats:
        """[A] mean over the hits of the common share of the true object."""
        return self.association_recall_sum / np.maximum(1, self.hits)

    @property
    def association_precision_by_alpha(self) -> Floats:
        """[A] mean over the hits of the common share of the predicted object."""
        return self.association_precision_sum / np.maximum(1, self.hits)

    @property
    def loca_by_alpha(self) -> Floats:
        """[A] mean overlap of the hits; 1 without hits, by convention."""
        return np.maximum(_TINY, self.overlap_sum) / np.maximum(_TINY, self.hits)


def hota_scores(sequence: OverlapSequence) -> HotaScores:
    """Pair boxes frame by frame, with regard to how well their objects fit over the sequence.

    The pairs of a frame have the largest sum of overlap times the alignment of the two objects; at
    each alpha, those are hits that overlap at least by alpha.

    Args:
        sequence: the frames.

    Returns:
        The sums.
    """
    alignment = _alignment(sequence)
    pairs, overlaps = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for frame in sequence.frames:
        where = np.ix_(frame.target_ids, frame.predicted_ids)
        rows, columns = linear_sum_assignment(alignment[where] * frame.overlap, maximize=True)
        pairs.append(np.column_stack([frame.target_ids[rows], frame.predicted_ids[columns]]))
        overlaps.append(frame.overlap[rows, columns])
    every, overlap = np.concatenate(pairs), np.concatenate(overlaps)
    sums = [_sums(sequence, every, overlap, alpha) for alpha in ALPHAS]
    hits, *others = np.array(sums).T
    return HotaScores(hits, sequence.num_targets - hits, sequence.num_predicted - hits, *others)


def _sums(
    sequence: OverlapSequence, pairs: NDArray[np.int64], overlaps: Floats, alpha: float
) -> tuple[float, float, float, float, float]:
    """Hits, sums of association, its recall and its precision, and sum of overlaps at one alpha.

    Args:
        sequence: the frames.
        pairs: [P, 2] true and predicted object of all pairs of boxes.
        overlaps: [P] their overlaps.
        alpha: least overlap of a hit.
    """
    hit = overlaps >= alpha - ROUNDING
    objects, common = np.unique(pairs[hit], axis=0, return_counts=True)
    true = sequence.target_lengths[objects[:, 0]]
    predicted = sequence.predicted_lengths[objects[:, 1]]
    squares = common.astype(np.float64) ** 2  # each hit adds the share common / ...
    return (
        float(common.sum()),
        float((squares / (true + predicted - common)).sum()),
        float((squares / true).sum()),
        float((squares / predicted).sum()),
        float(overlaps[hit].sum()),
    )


def _alignment(sequence: OverlapSequence) -> Floats:
    """[I, J] what each pair of objects has in common over the sequence, from soft counts."""
    common = np.zeros((len(sequence.target_lengths), len(sequence.predicted_lengths)))
    for frame in sequence.frames:
        overlap = frame.overlap
        either = overlap.sum(axis=1, keepdims=True) + overlap.sum(axis=0) - overlap
        soft = np.where(either > ROUNDING, overlap / np.maximum(either, ROUNDING), 0.0)
        common[np.ix_(frame.target_ids, frame.predicted_ids)] += soft
    lengths = sequence.target_lengths[:, None] + sequence.predicted_lengths
    return common / (lengths - common)
