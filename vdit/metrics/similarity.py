"""How alike two masks are: region similarity J and contour accuracy F, frame by frame.

J is the intersection over union of two masks. F is the harmonic mean of precision and recall of
their contours: a contour pixel is found when the other contour passes within a disk around it.

Axes: T frames, H x W pixels.

Reference: Perazzi et al., CVPR 2016, Sec. 4.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vdit.metrics.contours import (
    Outline,
    contour_radius,
    draw_outlines,
    match_contours,
    match_regions,
)

Masks = NDArray[np.bool_]
Floats = NDArray[np.float64]


def region_similarity(target: Masks, prediction: Masks, void: Masks | None = None) -> Floats:
    """Compute the region similarity J of one object in every frame.

    Args:
        target: [T, H, W] bool, the true mask.
        prediction: [T, H, W] bool.
        void: [T, H, W] bool, True where pixels do not count; None counts all.

    Returns:
        [T] float64 in 0..1; 1 where both masks are empty.

    Raises:
        ValueError: shapes differ, are not [T, H, W], or a dtype is not bool.

    Reference: Perazzi et al., CVPR 2016, Sec. 4.

    >>> region_similarity(np.ones((1, 2, 2), dtype=bool), np.eye(2, dtype=bool)[None])
    array([0.5])
    """
    _check_masks(target, prediction, void)
    scores = np.ones(len(target))
    for t, (true, predicted) in enumerate(_counted(target, prediction, void)):
        both = np.count_nonzero(true & predicted)
        union = np.count_nonzero(true) + np.count_nonzero(predicted) - both
        if union:
            scores[t] = both / union
    return scores


def contour_accuracy(
    target: Masks, prediction: Masks, void: Masks | None = None, bound_th: float = 0.008
) -> Floats:
    """Compute the contour accuracy F of one object in every frame.

    Args:
        target: [T, H, W] bool, the true mask.
        prediction: [T, H, W] bool.
        void: [T, H, W] bool, True where both masks are emptied before their contours are drawn.
        bound_th: distance at which two contours still meet; below 1 a fraction of the frame's
            diagonal, rounded up to whole pixels, from 1 on a number of pixels.

    Returns:
        [T] float64 in 0..1; 1 where both contours are empty, 0 where exactly one is.

    Raises:
        ValueError: shapes differ, are not [T, H, W], a dtype is not bool, or bound_th is negative.

    Reference: Perazzi et al., CVPR 2016, Sec. 4.

    >>> mask = np.eye(4, dtype=bool)[None]
    >>> contour_accuracy(mask, mask)
    array([1.])
    """
    _check_masks(target, prediction, void)
    pairs = _outlines(target, prediction, void, bound_th)
    return np.fromiter((match_contours(*pair) for pair in pairs), float, len(target))


def region_and_contour(
    target: Masks, prediction: Masks, void: Masks | None = None, bound_th: float = 0.008
) -> tuple[Floats, Floats]:
    """Compute J and F together, as `region_similarity` and `contour_accuracy` do, in less time.

    Args:
        target: [T, H, W] bool, the true mask.
        prediction: [T, H, W] bool.
        void: [T, H, W] bool, True where pixels do not count; None counts all.
        bound_th: see `contour_accuracy`.

    Returns:
        J [T] and F [T], float64 in 0..1.

    Raises:
        ValueError: as `contour_accuracy`.
    """
    _check_masks(target, prediction, void)
    scores = np.empty((2, len(target)))
    for t, pair in enumerate(_outlines(target, prediction, void, bound_th)):
        scores[:, t] = match_regions(*pair), match_contours(*pair)
    return scores[0], scores[1]


def _counted(target: Masks, prediction: Masks, void: Masks | None) -> Iterator[tuple[Masks, Masks]]:
    """Both masks of each frame without their void pixels."""
    for t in range(len(target)):
        if void is None:
            yield target[t], prediction[t]
        else:
            yield target[t] & ~void[t], prediction[t] & ~void[t]


def _outlines(
    target: Masks, prediction: Masks, void: Masks | None, bound_th: float
) -> Iterator[list[Outline]]:
    radius = contour_radius(target.shape[1], target.shape[2], bound_th)
    for pair in _counted(target, prediction, void):
        yield draw_outlines(pair, radius)


def _check_masks(target: Masks, prediction: Masks, void: Masks | None) -> None:
    void = target if void is None else void
    for name, masks in {"target": target, "prediction": prediction, "void": void}.items():
        if masks.dtype != np.bool_:
            raise ValueError(f"expected {name} of dtype bool, got {masks.dtype}")
        if masks.ndim != 3 or masks.shape != target.shape:
            raise ValueError(f"expected {name} [T, H, W] as target {target.shape}: {masks.shape}")
