"""From the model's padded, resized frame back to the pixels of the video."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vdit.boxes import cxcywh_to_xyxy


def full_size_probabilities(
    mask_logits: Tensor, size: tuple[int, int], original_size: tuple[int, int]
) -> Tensor:
    """Crop the padding off, resize the logits bilinearly, then take the sigmoid.

    Args:
        mask_logits: [N, H, W] of the padded frame.
        size: (height, width) of the unpadded, resized frame in pixels.
        original_size: (height, width) of the frame in the video in pixels.

    Returns:
        [N, *original_size] in 0..1.
    """
    cropped = mask_logits[None, :, : size[0], : size[1]]
    resized = F.interpolate(cropped, size=original_size, mode="bilinear", align_corners=False)
    return resized[0].sigmoid()


def full_size_masks(
    mask_logits: Tensor, size: tuple[int, int], original_size: tuple[int, int], threshold: float
) -> Tensor:
    """Decide which pixels [N, *original_size] bool belong to the objects.

    `threshold` is the probability above which a pixel does; other arguments as
    `full_size_probabilities`.
    """
    return full_size_probabilities(mask_logits, size, original_size) > threshold


def full_size_boxes(boxes_cxcywh: Tensor, original_size: tuple[int, int]) -> Tensor:
    """Turn boxes [..., 4] in 0..1 into (x1, y1, x2, y2) in pixels of the video."""
    height, width = original_size
    scale = torch.tensor([width, height, width, height], device=boxes_cxcywh.device)
    return cxcywh_to_xyxy(boxes_cxcywh) * scale
