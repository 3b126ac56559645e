"""Identity F1: how well one predicted object stands for one true object over the whole sequence.

Reference: Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera
Tracking, ECCV Workshops 2016.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from scipy.optimize import linear_sum_assignment

from vdit.metrics.track_overlaps import OverlapSequence

__all__ = ["IdentityScores", "identity_scores"]


@dataclass(frozen=True)
class IdentityScores:
    """Counts of one sequence or of several together; the ratios follow from them.

    Attributes:
        hits: boxes of pairs of objects that overlap enough (IDTP).
        misses: the other true boxes (IDFN).
        false_alarms: the other predicted boxes (IDFP).
    """

    hits: int = 0
    misses: int = 0
    false_alarms: int = 0

    @classmethod
    def combine(cls, scores: Iterable[IdentityScores]) -> IdentityScores:
        """Add up the counts of several sequences, or of several classes."""
        every = list(scores)
        return cls(*(sum(getattr(each, f.name) for each in every) for f in fields(cls)))

    @property
    def idf1(self) -> float:
        """Harmonic mean of identity precision and recall in 0..1; 0 without hits."""
        return self.hits / max(1.0, self.hits + (self.misses + self.false_alarms) / 2)

    @property
    def idp(self) -> float:
        """Identity precision: share of predicted boxes that are hits."""
        return self.hits / max(1, self.hits + self.false_alarms)

    @property
    def idr(self) -> float:
        """Identity recall: share of true boxes that are hits."""
        return self.hits / max(1, self.hits + self.misses)


def identity_scores(sequence: OverlapSequence, threshold: float = 0.5) -> IdentityScores:
    """Pair whole objects one to one so that the most boxes are hits.

    Leaving an object alone costs as much as pairing it with one that it never overlaps, so the best
    assignment is the one with the most common boxes.

    Args:
        sequence: the frames.
        threshold: least overlap of a hit, in 0..1.

    Returns:
        The counts.

    Raises:
        ValueError: the threshold is not in 0..1.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"expected a threshold above 0 and up to 1, got {threshold}; 0.5 is usual")
    common = np.zeros((len(sequence.target_lengths), len(sequence.predicted_lengths)), np.int64)
    for frame in sequence.frames:
        common[np.ix_(frame.target_ids, frame.predicted_ids)] += frame.overlap >= threshold
    hits = int(common[linear_sum_assignment(common, maximize=True)].sum())
    return IdentityScores(hits, sequence.num_targets - hits, sequence.num_predicted - hits)
