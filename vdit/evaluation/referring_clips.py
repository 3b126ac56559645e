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
        kinds: of the sentences, in their order, where they are known.
        absent: sentences that name nothing in the clip.
    """

    name: str
    frames: np.ndarray
    masks: np.ndarray
    sentences: tuple[tuple[str, int], ...]
    kinds: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def similarity(target: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """J, F and their mean over frames of masks [T, H, W] bool."""
    J = float(region_similarity(target, predicted).mean())
    F = float(contour_accuracy(target, predicted).mean())
    return {"J": J, "F": F, "J&F": (J + F) / 2}


def score_clips(
    segmenter: Segmenter, cases: Sequence[ClipCase], threshold: float = 0.5, **changes: Any
) -> dict[str, Any]:
    """Segment every sentence and compare with the truth and with baselines.

    Baselines: the true mask of the largest object of the clip, whatever is said; and the
    segmenter's own answer to a sentence of another clip. The swap test asks, for pairs of objects
    of one clip, whether each answer overlaps its own object more than the other's.

    Args:
        segmenter: what is scored.
        cases: at least two clips.
        threshold: of the mean score of an answer, below which nothing was found; masks are scored
            whatever it is.
        **changes: options of the segmenter.

    Returns:
        "mean" (J, F, J&F), "chosen" (share of sentences whose answer overlaps no other object
        more), "kinds" (the last two and the count, by kind of sentence), "largest_object" and
        "shuffled" (J&F), "swap" (share of pairs in which both are right; None without pairs),
        "no_target" (see `no_target_report`; None without absent objects), "num_sentences" and
        "clips" with one entry a sentence.

    Raises:
        ValueError: fewer than two clips, or none with a sentence.
    """
    if len(cases) < 2 or not any(case.sentences for case in cases):
        raise ValueError(
            f"expected at least two clips with sentences, got {len(cases)}; render more"
        )
    entries, largest, shuffled, swaps = [], [], [], []
    present: list[float] = []
    absent: list[float] = []
    for index, case in enumerate(cases):
        if not case.sentences:
            continue
        other = cases[(index + 1) % len(cases)].sentences or case.sentences
        strange = [other[k % len(other)][0] for k in range(len(case.sentences))]
        texts = [text for text, _ in case.sentences]
        answers = segmenter.segment(case.frames, [*texts, *strange, *case.absent], **changes)
        masks = [answer.masks[:] for answer in answers]
        biggest = case.masks[case.masks.sum(axis=(1, 2, 3)).argmax()]
        for k, (text, target) in enumerate(case.sentences):
            truth = case.masks[target]
            overlaps = [_overlap(masks[k], mask) for mask in case.masks]
            present.append(float(np.mean(answers[k].scores)))
            entries.append(
                {
                    "clip": case.name,
                    "text": text,
                    "kind": case.kinds[k] if case.kinds else "",
                    "chosen": overlaps[target] == max(overlaps) > 0,
                    "score": present[-1],
                    **similarity(truth, masks[k]),
                }
            )
            largest.append(similarity(truth, biggest)["J&F"])
            shuffled.append(similarity(truth, masks[len(texts) + k])["J&F"])
        swaps += _swaps(case, masks)
        absent += [float(np.mean(each.scores)) for each in answers[2 * len(texts) :]]
    return {
        "mean": _mean(entries, ("J", "F", "J&F")),
        "chosen": _mean(entries, ("chosen",))["chosen"],
        "kinds": _by_kind(entries),
        "largest_object": float(np.mean(largest)),
        "shuffled": float(np.mean(shuffled)),
        "swap": float(np.mean(swaps)) if swaps else None,
        "no_target": no_target_report(present, absent, threshold) if absent else None,
        "num_sentences": len(entries),
        "clips": entries,
    }


def no_target_report(
    present: Sequence[float], absent: Sequence[float], threshold: float
) -> dict[str, float]:
    """Ask whether scores tell sentences about something from sentences about nothing.

    Args:
        present: scores of answers to the first, at least one.
        absent: scores of answers to the second, at least one.
        threshold: below it, an answer is "nothing".

    Returns:
        "sentences" about nothing, "threshold", "refused" (share of them below it), "kept" (share of
        the others that are not) and "auroc" (share of pairs that are in order, ties half).
    """
    found, missing = np.asarray(present)[:, None], np.asarray(absent)[None]
    return {
        "sentences": missing.size,
        "threshold": threshold,
        "refused": float((missing < threshold).mean()),
        "kept": float((found >= threshold).mean()),
        "auroc": float(((found > missing) + 0.5 * (found == missing)).mean()),
    }


def _mean(entries: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, float]:
    return {key: float(np.mean([entry[key] for entry in entries])) for key in keys}


def _by_kind(entries: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        kinds.setdefault(entry["kind"], []).append(entry)
    return {
        kind: {"sentences": len(found), **_mean(found, ("J&F", "chosen"))}
        for kind, found in sorted(kinds.items())
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
