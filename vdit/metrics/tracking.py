"""Scores of multi-object tracking together: CLEAR MOT, identity F1 and HOTA.

References: see `clear_mot`, `identity_f1` and `hota`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vdit.metrics.clear_mot import ClearScores, Memory, clear_scores
from vdit.metrics.hota import HotaScores, hota_scores
from vdit.metrics.identity_f1 import IdentityScores, identity_scores
from vdit.metrics.track_overlaps import FrameOverlap, OverlapSequence, overlap_boxes

__all__ = [
    "FrameOverlap",
    "OverlapSequence",
    "TrackingScores",
    "clear_scores",
    "hota_scores",
    "identity_scores",
    "overlap_boxes",
    "score_tracking",
]


@dataclass(frozen=True)
class TrackingScores:
    """All scores of one sequence or of several together.

    Attributes:
        clear: MOTA, MOTP and their counts.
        identity: IDF1 and its counts.
        hota: HOTA and its parts.
    """

    clear: ClearScores
    identity: IdentityScores
    hota: HotaScores

    @classmethod
    def combine(cls, scores: Iterable[TrackingScores]) -> TrackingScores:
        """Add up several sequences; scores of a benchmark are those of the sums."""
        every = list(scores)
        return cls(
            ClearScores.combine(each.clear for each in every),
            IdentityScores.combine(each.identity for each in every),
            HotaScores.combine(each.hota for each in every),
        )

    def summary(self) -> dict[str, float]:
        """The numbers of a table by their usual names; ratios are fractions, not percent."""
        clear, identity, hota = self.clear, self.identity, self.hota
        return {
            "HOTA": hota.hota,
            "DetA": hota.deta,
            "AssA": hota.assa,
            "LocA": hota.loca,
            "MOTA": clear.mota,
            "MOTP": clear.motp,
            "FP": clear.false_alarms,
            "FN": clear.misses,
            "IDSw": clear.switches,
            "Frag": clear.fragmentations,
            "MT": clear.mostly_tracked,
            "PT": clear.partly_tracked,
            "ML": clear.mostly_lost,
            "IDF1": identity.idf1,
            "IDP": identity.idp,
            "IDR": identity.idr,
        }


def score_tracking(
    sequence: OverlapSequence, threshold: float = 0.5, memory: Memory = "frame"
) -> TrackingScores:
    """Compute all scores of one sequence.

    Args:
        sequence: from `overlap_boxes`, or `OverlapSequence.from_frames` for overlaps of masks.
        threshold: least overlap of a hit for CLEAR MOT and IDF1; HOTA takes all of `ALPHAS`.
        memory: see `clear_scores`.

    Returns:
        The scores.

    Raises:
        ValueError: see `clear_scores`.
    """
    return TrackingScores(
        clear_scores(sequence, threshold, memory),
        identity_scores(sequence, threshold),
        hota_scores(sequence),
    )
