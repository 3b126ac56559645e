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
    lengths = sequence.target_lengths[:, None], sequence.predicted_lengths[None]
    alignment = _alignment(sequence)
    common = np.zeros((len(ALPHAS), *alignment.shape))
    overlap_sum = _zeros()
    for frame in sequence.frames:
        where = np.ix_(frame.target_ids, frame.predicted_ids)
        rows, columns = linear_sum_assignment(alignment[where] * frame.overlap, maximize=True)
        overlaps = frame.overlap[rows, columns]
        hit = overlaps >= ALPHAS[:, None] - ROUNDING
        common[:, frame.target_ids[rows], frame.predicted_ids[columns]] += hit
        overlap_sum += (hit * overlaps).sum(axis=1)
    hits = common.sum(axis=(1, 2))
    return HotaScores(
        hits=hits,
        misses=sequence.num_targets - hits,
        false_alarms=sequence.num_predicted - hits,
        association_sum=_sum_of_shares(common, lengths[0] + lengths[1] - common),
        association_recall_sum=_sum_of_shares(common, lengths[0]),
        association_precision_sum=_sum_of_shares(common, lengths[1]),
        overlap_sum=overlap_sum,
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


def _sum_of_shares(common: Floats, lengths: NDArray[np.number]) -> Floats:
    """[A] sum over the hits of the share that belongs to their pair of objects."""
    return (common * (common / np.maximum(1.0, lengths))).sum(axis=(1, 2))
