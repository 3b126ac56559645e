"""Conditioning images as the CLIP towers of image-to-video networks see them, on tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vdit.models.image_encoder import CLIP_MEAN, CLIP_STD


def normalize_for_clip(images: Tensor) -> Tensor:
    """Standardize [N, 3, H, W] in 0..1 with CLIP's statistics."""
    mean = images.new_tensor(CLIP_MEAN).view(3, 1, 1)
    return (images - mean) / images.new_tensor(CLIP_STD).view(3, 1, 1)


def squeeze_to_square(images: Tensor, size: int) -> Tensor:
    """Resize whole images [N, 3, H, W] to [N, 3, size, size], aspect ratio or not, as SVD does.

    A Gaussian of sigma (scale - 1) / 2 input pixels, cut at two sigma, goes before bicubic
    interpolation with aligned corners.
    """
    for axis in (-1, -2):
        images = _blur(images, axis, scale=images.shape[axis] / size)
    return F.interpolate(images, size=(size, size), mode="bicubic", align_corners=True)


def _blur(images: Tensor, axis: int, scale: float) -> Tensor:
    sigma = max((scale - 1) / 2, 1e-3)
    width = int(max(4 * sigma, 3)) | 1
    offsets = torch.arange(width, dtype=images.dtype, device=images.device) - width // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (weights / weights.sum()).view((1, 1, 1, -1) if axis == -1 else (1, 1, -1, 1))
    margin = width // 2
    padding = (margin, margin, 0, 0) if axis == -1 else (0, 0, margin, margin)
    padded = F.pad(images, padding, mode="reflect").flatten(0, 1).unsqueeze(1)
    return F.conv2d(padded, kernel).squeeze(1).unflatten(0, images.shape[:2])


def crop_to_square(images: Tensor, size: int) -> Tensor:
    """Crop the center of [N, 3, H, W] and resize it to [N, 3, size, size], as I2VGen-XL does.

    Bilinear with antialiasing, as PIL resizes, without its rounding to whole grey levels.
    """
    height, width = images.shape[-2:]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = images[..., top : top + short, left : left + short]
    return F.interpolate(square, size=(size, size), mode="bilinear", antialias=True)
