"""Sine position encodings that know what is padding."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0
SCALE = 2 * math.pi


def _sine(position: Tensor, dim: int) -> Tensor:
    """Encode [...] positions as [..., dim]: sines on even, cosines on odd channels."""
    index = torch.arange(dim, dtype=torch.float32, device=position.device)
    frequency = TEMPERATURE ** (2 * (index // 2) / dim)
    angle = position[..., None] / frequency
    return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-2)


def sine_encoding_2d(padding_mask: Tensor, dim: int = 256) -> Tensor:
    """Encode the position of every cell among the unpadded cells of its row and column.

    Args:
        padding_mask: [N, h, w] bool, True = padded.
        dim: output channels, first half y, second half x.

    Returns:
        [N, dim, h, w] float32. Cell centers lie at half-integers.
    """
    inside = (~padding_mask).float()
    y, x = inside.cumsum(1), inside.cumsum(2)
    y = (y - 0.5) / (y[:, -1:] + 1e-6) * SCALE
    x = (x - 0.5) / (x[:, :, -1:] + 1e-6) * SCALE
    encoding = torch.cat([_sine(y, dim // 2), _sine(x, dim // 2)], dim=-1)
    return encoding.permute(0, 3, 1, 2)


def sine_encoding_boxes(boxes: Tensor, dim: int = 256) -> Tensor:
    """Encode the four numbers of boxes.

    Args:
        boxes: [..., 4] in 0..1.
        dim: output channels, a quarter for each number.

    Returns:
        [..., dim] float32.

    Reference: Liu et al., DAB-DETR, ICLR 2022, Eq. 3.
    """
    return _sine(boxes.float() * SCALE, dim // 4).flatten(-2)


def sine_encoding_1d(padding_mask: Tensor, dim: int = 256) -> Tensor:
    """Encode the position of every word; unlike in 2-D, without the half-cell shift.

    Args:
        padding_mask: [N, L] bool, True = padded.
        dim: output channels.

    Returns:
        [N, L, dim] float32.
    """
    x = (~padding_mask).float().cumsum(1)
    return _sine(x / (x[:, -1:] + 1e-6) * SCALE, dim)
