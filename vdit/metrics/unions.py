"""How well the segments of an unsupervised segmentation can be put together to an object."""

from __future__ import annotations

import numpy as np


def best_union(segments: np.ndarray, mask: np.ndarray) -> tuple[float, tuple[int, ...]]:
    """Find the segments whose union has the highest IoU with a mask; exact, for any number.

    A union of segments with h cells inside and o outside of a mask of M cells has the IoU
    h / (o + M). That is at least t where the sum over its segments of h - t o is at least t M, so
    the best union takes the segments with h - t o > 0 for the best t: the first ones in the order
    of h / o, and only as many unions as segments have to be tried.

    Args:
        segments: [...] whole numbers >= 0, the segment of each cell, as over a whole video.
        mask: [...] bool, where the object is.

    Returns:
        The IoU in 0..1 and the numbers of the segments, ascending. An empty mask is met by no
        segment, with IoU 1.

    Raises:
        ValueError: shapes differ, or a segment is negative.
    """
    if segments.shape != mask.shape:
        raise ValueError(
            f"expected segments and mask of one shape, got {list(segments.shape)} and "
            f"{list(mask.shape)}; resize one of them"
        )
    if segments.size and segments.min() < 0:
        raise ValueError(f"expected segments >= 0, got {segments.min()}; number them from 0")
    if not mask.any():
        return 1.0, ()
    sizes = np.bincount(segments.ravel())
    inside = np.bincount(segments.ravel()[mask.ravel()], minlength=len(sizes))
    outside = sizes - inside
    order = np.argsort(-inside / np.maximum(sizes, 1), kind="stable")
    scores = np.cumsum(inside[order]) / (np.cumsum(outside[order]) + np.count_nonzero(mask))
    count = int(scores.argmax()) + 1
    return float(scores[count - 1]), tuple(sorted(order[:count].tolist()))
