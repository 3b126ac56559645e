"""Scores of referring segmentation: overlaps of samples, average precision, no-target answers.

Axes: S samples (a sentence and a picture or video), H x W pixels.

References: Gavrilyuk et al., CVPR 2018 (A2D-Sentences); Lin et al., ECCV 2014 (average precision);
Liu et al., GRES, CVPR 2023 (N-acc, T-acc); Ding et al., MeViS, TPAMI 2025.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vdit.metrics.davis import VOID_LABEL, SequenceScores
from vdit.metrics.similarity import region_and_contour

PRECISION_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
AVERAGE_PRECISION_THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))

_EPSILON = 1e-6
_RECALLS = np.linspace(0, 1, 101)
_MAX_DETECTIONS = 100

Floats = NDArray[np.float64]


def intersection_and_union(
    target: NDArray[np.bool_], prediction: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels that both masks hold, and those that at least one holds.

    Args:
        target: [..., H, W] bool.
        prediction: [..., H, W] bool.

    Returns:
        Two counts [...].

    Raises:
        ValueError: shapes differ or a dtype is not bool.
    """
    for name, masks in {"target": target, "prediction": prediction}.items():
        if masks.dtype != np.bool_:
            raise ValueError(f"expected {name} of dtype bool, got {masks.dtype}; threshold it")
    if target.shape != prediction.shape or target.ndim < 2:
        raise ValueError(
            f"expected two arrays [..., H, W] of one shape, got {target.shape} and "
            f"{prediction.shape}"
        )
    axes = (-2, -1)
    return (
        np.asarray(np.count_nonzero(target & prediction, axis=axes)),
        np.asarray(np.count_nonzero(target | prediction, axis=axes)),
    )


def sample_iou(intersection: ArrayLike, union: ArrayLike) -> Floats:
    """Divide both counts with 1e-6 added to each, as the released code does.

    Returns:
        [...] float64 in 0..1; 1 where both masks are empty.

    >>> sample_iou([0, 3], [0, 6]).round(3)
    array([1. , 0.5])
    """
    return (np.asarray(intersection) + _EPSILON) / (np.asarray(union) + _EPSILON)


def summarize_overlaps(intersection: ArrayLike, union: ArrayLike) -> dict[str, float]:
    """Summarize one mask a sample as A2D-Sentences, JHMDB-Sentences and RefCOCO do.

    Args:
        intersection: [S] pixels.
        union: [S] pixels.

    Returns:
        "overall IoU" (sum over sum: large objects weigh more), "mean IoU", and "P@0.5" to "P@0.9",
        the share of samples whose IoU is above.

    Raises:
        ValueError: there is no sample, or the counts are not two lists of one length.
    """
    both, either = np.asarray(intersection), np.asarray(union)
    if both.ndim != 1 or both.shape != either.shape or not len(both):
        raise ValueError(
            f"expected two counts of at least one sample, got {both.shape} and {either.shape}"
        )
    ious = sample_iou(both, either)
    return {
        "overall IoU": float(sample_iou(both.sum(), either.sum())),
        "mean IoU": float(ious.mean()),
        **{f"P@{k}": float(np.mean(ious > k)) for k in PRECISION_THRESHOLDS},
    }


def average_precision(
    scores: Sequence[ArrayLike],
    ious: Sequence[ArrayLike],
    thresholds: Sequence[float] = AVERAGE_PRECISION_THRESHOLDS,
) -> Floats:
    """Compute COCO's average precision where each sample has exactly one true mask.

    The masks of a sample are tried from the highest score on; the first whose IoU reaches the
    threshold is right, all others are wrong. The masks of all samples are then ranked together, and
    precision, made to fall with recall, is averaged over recalls 0, 0.01, ..., 1. Only the 100
    best masks of a sample count, ties keep their order.

    Args:
        scores: a list [M] of confidences of each sample; it may be empty.
        ious: a list [M] of overlaps with the truth of each sample, 0..1.
        thresholds: IoU from which on a mask is right.

    Returns:
        One average precision a threshold, 0..1.

    Raises:
        ValueError: there is no sample, or a sample has not one IoU a score.

    Reference: Lin et al., Microsoft COCO, ECCV 2014; the evaluation of pycocotools 2.
    """
    if not len(scores) or len(scores) != len(ious):
        raise ValueError(f"expected scores and IoU of samples, got {len(scores)} and {len(ious)}")
    ranked_scores, ranked_right = [], []
    # the hair below 1 lets a perfect mask pass the threshold 1
    limits = np.minimum(np.asarray(thresholds, dtype=float), 1 - 1e-10)
    for k, (score, iou) in enumerate(zip(scores, ious, strict=True)):
        score, iou = np.asarray(score, dtype=float), np.asarray(iou, dtype=float)
        if score.ndim != 1 or score.shape != iou.shape:
            raise ValueError(
                f"expected one IoU a score, got {iou.shape} and {score.shape} in sample {k}"
            )
        order = np.argsort(-score, kind="stable")[:_MAX_DETECTIONS]
        reached = iou[order] >= limits[:, None]
        ranked_right.append(reached & (np.cumsum(reached, axis=1) == 1))
        ranked_scores.append(score[order])
    order = np.argsort(-np.concatenate(ranked_scores), kind="stable")
    right = np.concatenate(ranked_right, axis=1)[:, order]
    return np.array([_area_under_curve(each, len(scores)) for each in right])


def _area_under_curve(is_right: NDArray[np.bool_], num_true: int) -> float:
    """Mean precision at 101 recalls of masks [M] in the order of their scores."""
    found = np.cumsum(is_right)
    precision = found / np.arange(1, len(found) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(found / num_true, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[np.minimum(places, len(precision))].mean())


def answer_accuracies(has_target: ArrayLike, has_answer: ArrayLike) -> dict[str, float]:
    """Compute how often no target is answered with nothing, and a target with something.

    Args:
        has_target: [S] bool, the sentence names an object of the video.
        has_answer: [S] bool, the prediction holds a pixel in some frame.

    Returns:
        "N-acc" over sentences without a target and "T-acc" over the others; one that has no
        sentences is left out.

    Raises:
        ValueError: the lists are of different lengths.

    >>> answer_accuracies([True, True, False], [True, False, False])
    {'N-acc': 1.0, 'T-acc': 0.5}
    """
    target, answer = np.asarray(has_target, dtype=bool), np.asarray(has_answer, dtype=bool)
    if target.ndim != 1 or target.shape != answer.shape:
        raise ValueError(f"expected two lists of one length, got {target.shape} and {answer.shape}")
    accuracies = {}
    if not target.all():
        accuracies["N-acc"] = float(np.mean(~answer[~target]))
    if target.any():
        accuracies["T-acc"] = float(np.mean(answer[target]))
    return accuracies


def score_by_identity(
    target: NDArray[np.integer],
    prediction: NDArray[np.integer],
    object_ids: Sequence[int],
    bound_th: float = 0.008,
) -> SequenceScores:
    """Score label maps whose ids are those of the truth: who is meant counts, not only its shape.

    All frames count, void pixels (255) of the truth do not. An object without prediction is empty.

    Args:
        target: [T, H, W] integer, 0 = background, 255 = void.
        prediction: [T, H, W] integer, 0 = background.
        object_ids: of the N objects to score.
        bound_th: see `davis.contour_accuracy`.

    Returns:
        J and F [N, T] in the order of `object_ids`.

    Raises:
        ValueError: shapes differ or are not [T, H, W].
    """
    void = target == VOID_LABEL
    region, contour = np.empty((2, len(object_ids), len(target)))
    for n, object_id in enumerate(object_ids):
        region[n], contour[n] = region_and_contour(
            target == object_id, prediction == object_id, void, bound_th
        )
    return SequenceScores(region, contour, np.array(object_ids, dtype=np.int64))
