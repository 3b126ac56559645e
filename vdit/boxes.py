"""Boxes as tensors: their two layouts, areas and overlaps.

Axes: N and M boxes, any leading axes `...`. A box is (center x, center y, width, height) or
(x of the left edge, y of the top edge, x of the right edge, y of the bottom edge).
"""

from __future__ import annotations

import torch
from torch import Tensor

OVERLAP_EPSILON = 1e-6  # in numerator and denominator: two empty boxes overlap fully


def cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """Turn centers and sizes into edges.

    Args:
        boxes_cxcywh: [..., 4] in any unit.

    Returns:
        [..., 4] in the same unit.

    Raises:
        ValueError: the last axis does not have 4 entries.

    >>> cxcywh_to_xyxy(torch.tensor([0.5, 0.5, 1.0, 0.5]))
    tensor([0.0000, 0.2500, 1.0000, 0.7500])
    """
    _check_boxes("boxes_cxcywh", boxes_cxcywh)
    center, half = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return torch.cat([center - half, center + half], dim=-1)


def xyxy_to_cxcywh(boxes_xyxy: Tensor) -> Tensor:
    """Turn edges into centers and sizes.

    Args:
        boxes_xyxy: [..., 4] in any unit.

    Returns:
        [..., 4] in the same unit.

    Raises:
        ValueError: the last axis does not have 4 entries.

    >>> xyxy_to_cxcywh(torch.tensor([0.0, 0.25, 1.0, 0.75]))
    tensor([0.5000, 0.5000, 1.0000, 0.5000])
    """
    _check_boxes("boxes_xyxy", boxes_xyxy)
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def box_area(boxes_xyxy: Tensor) -> Tensor:
    """Compute width times height.

    Args:
        boxes_xyxy: [..., 4] in any unit.

    Returns:
        [...] in the square of that unit; negative where exactly one pair of edges is swapped.

    Raises:
        ValueError: the last axis does not have 4 entries.
    """
    _check_boxes("boxes_xyxy", boxes_xyxy)
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).prod(dim=-1)


def box_iou(boxes1_xyxy: Tensor, boxes2_xyxy: Tensor) -> Tensor:
    """Compute the intersection over union of every pair of boxes.

    Args:
        boxes1_xyxy: [..., N, 4] in any unit.
        boxes2_xyxy: [..., M, 4] in the same unit; leading axes are broadcast.

    Returns:
        [..., N, M] in 0..1. Both areas carry 1e-6: two boxes without area score 1.

    Raises:
        ValueError: an input is not [..., N, 4].

    >>> box_iou(torch.tensor([[0.0, 0.0, 2.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    tensor([[0.5000]])
    """
    inter, union = _intersection_and_union(boxes1_xyxy, boxes2_xyxy)
    return (inter + OVERLAP_EPSILON) / (union + OVERLAP_EPSILON)


def generalized_box_iou(boxes1_xyxy: Tensor, boxes2_xyxy: Tensor) -> Tensor:
    """Compute the IoU minus the share of the enclosing box that neither box covers.

    Args:
        boxes1_xyxy: [..., N, 4] in any unit.
        boxes2_xyxy: [..., M, 4] in the same unit; leading axes are broadcast.

    Returns:
        [..., N, M] in -1..1. All areas carry 1e-6 in numerator and denominator, as in the released
        VD-IT: a box scores a little below 1 with itself, and 0 when it has no area.

    Raises:
        ValueError: an input is not [..., N, 4].

    Reference: Rezatofighi et al., CVPR 2019, Alg. 1.
    """
    inter, union = _intersection_and_union(boxes1_xyxy, boxes2_xyxy)
    first, second = boxes1_xyxy[..., :, None, :], boxes2_xyxy[..., None, :, :]
    low = torch.minimum(first[..., :2], second[..., :2])
    high = torch.maximum(first[..., 2:], second[..., 2:])
    enclosing = (high - low).clamp(min=0).prod(dim=-1)
    iou = (inter + OVERLAP_EPSILON) / (union + OVERLAP_EPSILON)
    return iou - (enclosing - union + OVERLAP_EPSILON) / (enclosing + OVERLAP_EPSILON)


def _intersection_and_union(boxes1_xyxy: Tensor, boxes2_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """Areas [..., N, M]."""
    areas1, areas2 = box_area(boxes1_xyxy), box_area(boxes2_xyxy)
    if boxes1_xyxy.ndim < 2 or boxes2_xyxy.ndim < 2:
        raise ValueError(
            f"expected boxes [..., N, 4] and [..., M, 4], got {list(boxes1_xyxy.shape)} and "
            f"{list(boxes2_xyxy.shape)}; add an axis to a single box"
        )
    first, second = boxes1_xyxy[..., :, None, :], boxes2_xyxy[..., None, :, :]
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    inter = (high - low).clamp(min=0).prod(dim=-1)
    return inter, areas1[..., :, None] + areas2[..., None, :] - inter


def _check_boxes(name: str, boxes: Tensor) -> None:
    if not boxes.ndim or boxes.shape[-1] != 4:
        raise ValueError(f"expected {name} [..., 4], got {list(boxes.shape)}")
