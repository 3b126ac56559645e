"""Latents of a VAE as backbones use them: a draw from the posterior, or its mean."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vdit.models.backbones.noise_schedules import draw_noise

Posterior = Literal["sample", "mean"]


def draw_latents(
    mean: Tensor,
    logvar: Tensor | None,
    posterior: Posterior,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Give unscaled latents of the shape of `mean`, in float32.

    Args:
        mean: of the posterior, any shape.
        logvar: its log-variance; None where there is no posterior.
        posterior: "sample" draws from it, "mean" takes its mean.
        noise: the normal draw; None = drawn here.
        generator: source of the draw.

    Raises:
        ValueError: the noise has another shape.
    """
    if posterior == "mean" or logvar is None:
        return mean
    return mean + torch.exp(0.5 * logvar) * draw_noise(mean, noise, generator)
