"""What autoencoders of frames and of clips are trained and measured by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def reconstruction_losses(
    output: Tensor, pixels: Tensor, divergence: Tensor, edges: float, kl: float
) -> dict[str, Tensor]:
    """Compare pixels, and the differences of neighbors in a frame, by their L1 distance.

    Args:
        output: [..., H, W] what came out.
        pixels: [..., H, W] what went in.
        divergence: scalar, of the posterior from the normal distribution.
        edges: weight of the differences of neighboring pixels.
        kl: weight of the divergence.

    Returns:
        "loss", "pixels" and "kl".
    """
    distance = F.l1_loss(output, pixels)
    neighbors = sum(F.l1_loss(output.diff(dim=axis), pixels.diff(dim=axis)) for axis in (-2, -1))
    loss = distance + edges * neighbors + kl * divergence
    return {"loss": loss, "pixels": distance, "kl": divergence}


def random_crop(frames: Tensor, side: int) -> Tensor:
    """Cut squares [..., side, side] of frames [..., H, W] at one random place."""
    top, left = (int(torch.randint(0, length - side + 1, ())) for length in frames.shape[-2:])
    return frames[..., top : top + side, left : left + side]


def normal_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Divergence of diagonal posteriors from the normal distribution: sum of a row, mean of rows.

    Reference: Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014, Appendix B.
    """
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(dim=1).mean()


def peak_signal_to_noise(output: Tensor, pixels: Tensor) -> Tensor:
    """PSNR in dB of each row, [B]; pixels in -1..1."""
    error = (output.clamp(-1, 1) - pixels).float().square().flatten(1).mean(dim=1)
    return 10 * torch.log10(4 / error.clamp(min=1e-12))


def to_levels(frames: Tensor) -> Tensor:
    """Round frames in -1..1 to gray levels, uint8."""
    return ((frames.float().clamp(-1, 1) + 1) * 127.5).round().byte()


def pictures_of(frames: Tensor) -> list[np.ndarray]:
    """Turn frames [N, 3, H, W] in -1..1 into N pictures [H, W, 3] uint8."""
    return list(to_levels(frames).permute(0, 2, 3, 1).cpu().numpy())
