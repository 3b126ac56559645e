"""Loss terms of masks and classes, and the same numbers for every pair of a query and an object.

Axes: K masks, Q queries, N objects, P entries (pixels of all frames).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0


def sigmoid_focal_loss(
    logits: Tensor, targets: Tensor, alpha: float = FOCAL_ALPHA, gamma: float = FOCAL_GAMMA
) -> Tensor:
    """Compute the binary cross entropy that counts entries the less the better they fit.

    Args:
        logits: [...] of any shape.
        targets: [...] 0 or 1 of any dtype.
        alpha: weight of the entries of target 1; those of target 0 get 1 - alpha.
        gamma: power of the distance between probability and target.

    Returns:
        [...] >= 0 for every entry, at least in float32.

    Raises:
        ValueError: shapes differ.

    Reference: Lin et al., ICCV 2017, Eq. 5.
    """
    logits, targets = _prepare(logits, targets)
    probs = logits.sigmoid()
    distance = probs + targets - 2 * probs * targets
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return weight * distance**gamma * entropy


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute 1 - (2 * overlap + 1) / (sum of both + 1) of soft masks.

    Args:
        logits: [K, P] of any number of trailing axes, summed over.
        targets: [K, P] 0 or 1 of any dtype.

    Returns:
        [K] in 0..1, at least in float32.

    Raises:
        ValueError: shapes differ, or there is no axis to sum over.

    Reference: Milletari et al., 3DV 2016, Sec. 3, with sums in place of squares.
    """
    logits, targets = _prepare(logits, targets)
    if logits.ndim < 2:
        raise ValueError(f"expected masks [K, ...], got {list(logits.shape)}")
    probs, targets = logits.flatten(1).sigmoid(), targets.flatten(1)
    overlap = (probs * targets).sum(dim=1)
    return 1 - (2 * overlap + 1) / (probs.sum(dim=1) + targets.sum(dim=1) + 1)


def pairwise_focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean focal loss of every query with every object.

    Args:
        logits: [Q, P].
        targets: [N, P] 0 or 1 of any dtype.

    Returns:
        [Q, N] >= 0, at least in float32.
    """
    logits = _at_least_float32(logits)
    targets = targets.to(logits.dtype)
    hit = sigmoid_focal_loss(logits, torch.ones_like(logits))
    miss = sigmoid_focal_loss(logits, torch.zeros_like(logits))
    return (hit @ targets.T + miss @ (1 - targets).T) / logits.shape[1]


def pairwise_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the dice coefficient, 1 - `dice_loss`, of every query with every object.

    Args:
        logits: [Q, P].
        targets: [N, P] 0 or 1 of any dtype.

    Returns:
        [Q, N] in 0..1, at least in float32.
    """
    probs = _at_least_float32(logits).sigmoid()
    targets = targets.to(probs.dtype)
    total = probs.sum(dim=1)[:, None] + targets.sum(dim=1)
    return (2 * (probs @ targets.T) + 1) / (total + 1)


def pad_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Extend masks with zeros at the bottom and the right.

    Args:
        masks: [..., H, W].
        size: (height, width) to reach in pixels.

    Returns:
        [..., height, width] in the dtype of `masks`.

    Raises:
        ValueError: the masks are larger than `size`.
    """
    height, width = size
    bottom, right = height - masks.shape[-2], width - masks.shape[-1]
    if bottom < 0 or right < 0:
        raise ValueError(
            f"masks of {masks.shape[-2]} x {masks.shape[-1]} pixels exceed the {height} x {width} "
            "pixels of the prediction; pad the video to a multiple of 32"
        )
    return F.pad(masks, (0, right, 0, bottom)) if bottom or right else masks


def _prepare(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    if logits.shape != targets.shape:
        raise ValueError(
            f"expected logits and targets of one shape, got {list(logits.shape)} and "
            f"{list(targets.shape)}"
        )
    logits = _at_least_float32(logits)
    return logits, targets.to(logits.dtype)


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
