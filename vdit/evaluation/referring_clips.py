"""Score a segmenter on clips whose truth is known, beside what needs no understanding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vdit.metrics.davis import contour_accuracy, region_similarity


class Segmenter(Protocol):
    """What is scored: see `vdit.segmenter.ReferringSegmenter`."""

    def segment(self, video: np.ndarray, prompts: Sequence[str], **changes: Any) -> list[Any]: ...


@dataclass(frozen=True)
class ClipCase:
    """A clip and sentences about single objects.

    Attributes:
        name: of the clip.
        frames: [T, H, W, 3] uint8.
        masks: [N, T, H, W] bool.
        sentences: text and index of its object.
    """

    name: str
    frames: np.ndarray
    masks: np.ndarray
    sentences: tuple[tuple[str, int], ...]


def similarity(target: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """J, F and their mean over frames of masks [T, H, W] bool."""
    J = float(region_similarity(target, predicted).mean())
    F = float(contour_accuracy(target, predicted).mean())
    return {"J": J, "F": F, "J&F": (J + F) / 2}


def score_clips(segmenter: Segmenter, cases: Sequence[ClipCase], **changes: Any) -> dict[str, Any]:
    """Segment every sentence and compare with the truth and with baselines.

    Baselines: the true mask of the largest object of the clip, whatever is said; and the
    segmenter's own answer to a sentence of another clip. The swap test asks, for pairs of objects
    of one clip, whether each answer overlaps its own object more than the other's.

    Args:
        segmenter: what is scored.
        cases: at least two clips.
        **changes: options of the segmenter.

    Returns:
        "mean" (J, F, J&F), "largest_object" and "shuffled" (J&F), "swap" (share of pairs in which
        both are right; None without pairs), "num_sentences" and "clips" with one entry a sentence.

    Raises:
        ValueError: fewer than two clips, or none with a sentence.
    """
    if len(cases) < 2 or not any(case.sentences for case in cases):
        raise ValueError(
            f"expected at least two clips with sentences, got {len(cases)}; render more"
        )
    entries, largest, shuffled, swaps = [], [], [], []
    for index, case in enumerate(cases):
        if not case.sentences:
            continue
        other = cases[(index + 1) % len(cases)].sentences or case.sentences
        strange = [other[k % len(other)][0] for k in range(len(case.sentences))]
        texts = [text for text, _ in case.sentences]
        answers = segmenter.segment(case.frames, [*texts, *strange], **changes)
        masks = [answer.masks[:] for answer in answers]
        biggest = case.masks[case.masks.sum(axis=(1, 2, 3)).argmax()]
        for k, (text, target) in enumerate(case.sentences):
            truth = case.masks[target]
            entries.append({"clip": case.name, "text": text, **similarity(truth, masks[k])})
            largest.append(similarity(truth, biggest)["J&F"])
            shuffled.append(similarity(truth, masks[len(texts) + k])["J&F"])
        swaps += _swaps(case, masks)
    mean = {key: float(np.mean([entry[key] for entry in entries])) for key in ("J", "F", "J&F")}
    return {
        "mean": mean,
        "largest_object": float(np.mean(largest)),
        "shuffled": float(np.mean(shuffled)),
        "swap": float(np.mean(swaps)) if swaps else None,
        "num_sentences": len(entries),
        "clips": entries,
    }


def _swaps(case: ClipCase, masks: Sequence[np.ndarray]) -> list[bool]:
    """For every pair of sentences about different objects: both answers meet their own more."""
    results = []
    for i, (_, first) in enumerate(case.sentences):
        for j, (_, second) in enumerate(case.sentences[:i]):
            if first == second:
                continue
            own = _overlap(masks[i], case.masks[first]), _overlap(masks[j], case.masks[second])
            cross = _overlap(masks[i], case.masks[second]), _overlap(masks[j], case.masks[first])
            results.append(own[0] > cross[0] and own[1] > cross[1])
    return results


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IoU over all frames at once."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0
