"""DAVIS region similarity J, contour accuracy F and the two protocols of the 2017 benchmark.

J is the intersection over union of two masks. F is the harmonic mean of precision and recall of
their contours: a contour pixel is found when the other contour passes within a disk around it.

Axes: T frames, N true objects, M predicted objects, H x W pixels.

Reference: Perazzi et al., CVPR 2016, Sec. 4; Pont-Tuset et al., arXiv:1704.00675;
Caelles et al., arXiv:1905.00737 (proposals without identity).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vdit.metrics.contours import (
    contour_radius,
    draw_outlines,
    match_contours,
)
from vdit.metrics.similarity import contour_accuracy, region_and_contour, region_similarity

__all__ = [
    "VOID_LABEL",
    "SequenceScores",
    "contour_accuracy",
    "region_and_contour",
    "region_similarity",
    "score_semi_supervised",
    "score_unsupervised",
    "statistics",
    "summarize",
]

VOID_LABEL = 255

Labels = NDArray[np.integer]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SequenceScores:
    """Scores of every true object of one sequence.

    Attributes:
        region: [N, T'] J in 0..1 of the frames that the protocol counts.
        contour: [N, T'] F in 0..1 of the same frames.
        predicted_ids: [N] id of the predicted object that stands for each true one; an id that the
            prediction does not hold stands for an empty mask.
    """

    region: Floats
    contour: Floats
    predicted_ids: NDArray[np.int64]

    def object_statistics(self) -> Floats:
        """[N, 6]: J mean, recall, decay, then F mean, recall, decay, of each true object."""
        pairs = zip(self.region, self.contour, strict=True)
        return np.array([(*statistics(j), *statistics(f)) for j, f in pairs]).reshape(-1, 6)


def statistics(values: Floats, eight_bit_bins: bool = False) -> tuple[float, float, float]:
    """Summarize the scores of one object over the frames of a sequence.

    Args:
        values: [T] scores in 0..1; NaN marks a frame without a score.
        eight_bit_bins: keep the borders of the quarters in 8 bits, as the benchmark's own code
            does: the same decay up to 255 frames, a meaningless one or NaN beyond.

    Returns:
        (mean, recall, decay): the mean, the share of frames above 0.5, and the mean of the first
        quarter minus that of the last. Neighboring quarters share a frame.

    Raises:
        ValueError: values is not one-dimensional or is empty.

    >>> statistics(np.array([1.0, 1.0, 0.5, 0.0, 0.0]))
    (0.5, 0.4, 1.0)
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected scores of shape [T] with T >= 1, got {values.shape}")
    borders = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(np.int64) - 1
    ends = borders + 1
    if eight_bit_bins:
        borders, ends = borders.astype(np.uint8), ends.astype(np.uint8)
    first = _mean_of_numbers(values[borders[0] : ends[1]])
    last = _mean_of_numbers(values[borders[3] : ends[4]])
    return _mean_of_numbers(values), float(np.mean(values > 0.5)), first - last


def score_semi_supervised(
    target: Labels, prediction: Labels, bound_th: float = 0.008
) -> SequenceScores:
    """Score a prediction whose ids are those of the truth (masks given in the first frame).

    The first and the last frame do not count. The objects are 1..the largest id of the first true
    frame; void pixels (255) of the truth are background. An object without prediction is empty.

    Args:
        target: [T, H, W] integer, 0 = background, 255 = void.
        prediction: [T, H, W] integer, 0 = background.
        bound_th: see `contour_accuracy`.

    Returns:
        J and F [N, T - 2] in the order of the ids.

    Raises:
        ValueError: shapes differ, a dtype is not integer, T < 3, or a predicted id is larger than
            the largest of the first true frame.

    Reference: Pont-Tuset et al., arXiv:1704.00675, Sec. 4.
    """
    _check_labels(target, prediction)
    if len(target) < 3:
        raise ValueError(f"the first and the last frame do not count, got {len(target)} frames")
    num_objects = _num_objects(target)
    target, prediction = target[1:-1], prediction[1:-1]
    num_predicted = int(prediction.max(initial=0))
    if num_predicted > num_objects:
        raise ValueError(f"expected predicted ids up to {num_objects}, got {num_predicted}")
    ids = np.arange(1, num_objects + 1)
    region, contour = np.empty((2, num_objects, len(target)))
    for k in ids:
        region[k - 1], contour[k - 1] = region_and_contour(
            target == k, prediction == k, bound_th=bound_th
        )
    return SequenceScores(region, contour, ids)


def score_unsupervised(
    target: Labels, prediction: Labels, max_proposals: int = 20, bound_th: float = 0.008
) -> SequenceScores:
    """Score a prediction whose ids mean nothing: each true object takes the proposal that fits.

    One proposal goes to one object so that the sum of mean (J + F) / 2 is largest. All frames
    count, void pixels (255) of the truth do not. Missing proposals are empty masks.

    Args:
        target: [T, H, W] integer, 0 = background, 255 = void.
        prediction: [T, H, W] integer, 0 = background.
        max_proposals: largest id that a prediction may have.
        bound_th: see `contour_accuracy`.

    Returns:
        J and F [N, T] in the order of the true ids, with the id of the proposal of each.

    Raises:
        ValueError: shapes differ, a dtype is not integer, T = 0, or an id exceeds max_proposals.

    Reference: Caelles et al., arXiv:1905.00737, Sec. 3.
    """
    _check_labels(target, prediction)
    if not len(target):
        raise ValueError("expected at least one frame, got 0")
    num_objects, num_predicted = _num_objects(target), int(prediction.max(initial=0))
    if num_predicted > max_proposals:
        raise ValueError(f"expected at most {max_proposals} proposals, got the id {num_predicted}")
    num_proposals = max(num_predicted, num_objects)
    region = _pairwise_region(target, prediction, num_objects, num_proposals)
    contour = _pairwise_contour(target, prediction, num_objects, num_proposals, bound_th)
    proposals, objects = linear_sum_assignment(
        (region.mean(axis=2) + contour.mean(axis=2)) / 2, maximize=True
    )
    chosen = np.zeros(num_objects, dtype=np.int64)
    chosen[objects] = proposals
    every = np.arange(num_objects)
    return SequenceScores(region[chosen, every], contour[chosen, every], chosen + 1)


def summarize(sequences: Sequence[SequenceScores]) -> dict[str, float]:
    """Average the statistics of all objects of all sequences, each object with the same weight.

    Args:
        sequences: the scores of every sequence of a split.

    Returns:
        J&F-Mean, J-Mean, J-Recall, J-Decay, F-Mean, F-Recall and F-Decay as fractions.

    Raises:
        ValueError: there is no object at all.
    """
    rows = [scores.object_statistics() for scores in sequences]
    if not sum(map(len, rows)):
        raise ValueError("expected at least one object in the sequences, got none")
    means = np.concatenate(rows).mean(axis=0)
    names = ("J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")
    values = {name: float(mean) for name, mean in zip(names, means, strict=True)}
    return {"J&F-Mean": (values["J-Mean"] + values["F-Mean"]) / 2, **values}


def _pairwise_region(
    target: Labels, prediction: Labels, num_objects: int, num_proposals: int
) -> Floats:
    """[M, N, T] J of every proposal with every object, from one joint histogram per frame."""
    scores = np.empty((num_proposals, num_objects, len(target)))
    for t in range(len(target)):
        counted = target[t] != VOID_LABEL
        true = target[t][counted].astype(np.int64)
        true[true > num_objects] = 0  # not in the first frame: background
        joint = true * (num_proposals + 1) + prediction[t][counted].astype(np.int64)
        counts = np.bincount(joint, minlength=(num_objects + 1) * (num_proposals + 1))
        counts = counts.reshape(num_objects + 1, num_proposals + 1).T
        union = counts.sum(axis=1, keepdims=True) + counts.sum(axis=0) - counts
        scores[:, :, t] = np.where(union > 0, counts / np.maximum(union, 1), 1.0)[1:, 1:]
    return scores


def _pairwise_contour(
    target: Labels, prediction: Labels, num_objects: int, num_proposals: int, bound_th: float
) -> Floats:
    """[M, N, T] F of every proposal with every object; each contour is drawn once."""
    radius = contour_radius(target.shape[1], target.shape[2], bound_th)
    scores = np.empty((num_proposals, num_objects, len(target)))
    for t in range(len(target)):
        predicted = np.where(target[t] == VOID_LABEL, 0, prediction[t])
        masks = [target[t] == k + 1 for k in range(num_objects)]
        masks += [predicted == m + 1 for m in range(num_proposals)]
        outlines = draw_outlines(masks, radius) if masks else []
        truth, proposals = outlines[:num_objects], outlines[num_objects:]
        for m, proposal in enumerate(proposals):
            scores[m, :, t] = [match_contours(true, proposal) for true in truth]
    return scores


def _mean_of_numbers(values: Floats) -> float:
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if len(numbers) else math.nan


def _num_objects(target: Labels) -> int:
    return int(target[0].max(initial=0, where=target[0] != VOID_LABEL))


def _check_labels(target: Labels, prediction: Labels) -> None:
    if target.ndim != 3 or target.shape != prediction.shape:
        raise ValueError(f"expected two maps [T, H, W], got {target.shape}, {prediction.shape}")
    for name, labels in {"target": target, "prediction": prediction}.items():
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"expected {name} of an integer dtype, got {labels.dtype}")
        if labels.min(initial=0) < 0:
            raise ValueError(f"expected ids >= 0 in {name}, got {labels.min()}")
