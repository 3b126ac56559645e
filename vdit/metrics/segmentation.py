"""Mean intersection over union (mIoU) of label maps, from a confusion matrix over a whole split.

Axes: C classes, any shape `...` of pixels, as [H, W] of an image or [T, H, W] of a clip.

Reference: Cordts et al., Cityscapes, CVPR 2016, Sec. 4.1; Everingham et al., IJCV 2015 (VOC).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

IGNORE_INDEX = 255

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def confusion_matrix(
    target: ArrayLike, prediction: ArrayLike, num_classes: int, ignore_index: int = IGNORE_INDEX
) -> Counts:
    """Count the pixels of every pair of a true and a predicted class.

    The matrices of several images add up to that of all of them.

    Args:
        target: [...] integer, 0..C - 1, or ignore_index where a pixel does not count.
        prediction: [...] integer, 0..C - 1; anything where a pixel does not count.
        num_classes: C.
        ignore_index: label of pixels that do not count, outside of 0..C - 1.

    Returns:
        [C, C] pixels; rows are true classes, columns predicted ones.

    Raises:
        ValueError: shapes differ, a dtype is not integer, a label that counts is no class, or
            ignore_index is one.
    """
    true, predicted = np.asarray(target), np.asarray(prediction)
    if num_classes < 1:
        raise ValueError(f"expected at least 1 class, got {num_classes}")
    if 0 <= ignore_index < num_classes:
        raise ValueError(f"expected ignore_index outside of 0..{num_classes - 1}: {ignore_index}")
    if true.shape != predicted.shape:
        raise ValueError(
            f"expected prediction {list(true.shape)} as target, got {list(predicted.shape)}; "
            "resize one of them"
        )
    for name, labels in {"target": true, "prediction": predicted}.items():
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"expected {name} of an integer dtype, got {labels.dtype}")
    counted = true != ignore_index
    true, predicted = true[counted], predicted[counted]
    for name, labels in {"target": true, "prediction": predicted}.items():
        wrong = labels[(labels < 0) | (labels >= num_classes)]
        if len(wrong):
            raise ValueError(f"expected {name} in 0..{num_classes - 1}, got {wrong[0]}")
    pairs = true.astype(np.int64) * num_classes + predicted.astype(np.int64)
    counts = np.bincount(pairs, minlength=num_classes**2)
    return counts.astype(np.int64).reshape(num_classes, num_classes)


def accumulate_confusion(
    images: Iterable[tuple[ArrayLike, ArrayLike]],
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
) -> Counts:
    """Add the confusion matrices of all images of a split; one image at a time is in memory.

    Args:
        images: (target, prediction) of each image; sizes may differ from image to image.
        num_classes: C.
        ignore_index: see `confusion_matrix`.

    Returns:
        [C, C] pixels; zeros without images.

    Raises:
        ValueError: as `confusion_matrix`.
    """
    total = np.zeros((num_classes, num_classes), np.int64)
    for target, prediction in images:
        total += confusion_matrix(target, prediction, num_classes, ignore_index)
    return total


def class_iou(confusion: ArrayLike) -> Floats:
    """Compute the IoU of each class: true positives over true, false and missed ones.

    Args:
        confusion: [C, C] pixels of `confusion_matrix`.

    Returns:
        [C] in 0..1; NaN where a class is neither true nor predicted in any pixel.

    Raises:
        ValueError: confusion is not [C, C].
    """
    counts = _square(confusion)
    hits = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    scores = np.full(len(counts), np.nan)
    np.divide(hits, union, out=scores, where=union > 0)
    return scores


def mean_iou(confusion: ArrayLike) -> float:
    """Average the IoU over the classes that are true or predicted anywhere.

    Args:
        confusion: [C, C] pixels of `confusion_matrix`.

    Returns:
        mIoU in 0..1; NaN where no pixel counts.

    Raises:
        ValueError: confusion is not [C, C].
    """
    scores = class_iou(confusion)
    present = scores[~np.isnan(scores)]
    return float(present.mean()) if len(present) else float("nan")


def pixel_accuracy(confusion: ArrayLike) -> float:
    """Give the share of pixels with the right class.

    Args:
        confusion: [C, C] pixels of `confusion_matrix`.

    Returns:
        The share in 0..1; NaN where no pixel counts.

    Raises:
        ValueError: confusion is not [C, C].
    """
    counts = _square(confusion)
    total = int(counts.sum())
    return int(np.trace(counts)) / total if total else float("nan")


def _square(confusion: ArrayLike) -> NDArray[np.generic]:
    counts = np.asarray(confusion)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"expected a confusion matrix [C, C], got {list(counts.shape)}")
    return counts
