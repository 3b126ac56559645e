"""Whether a text-to-video UNet uses its text and the order of frames: the loss without them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def denoising_losses(
    unet: Any, schedule: Any, latents: Tensor, prompt: Tensor, seed: int = 0
) -> dict[str, list[float]]:
    """Mean squared error of what a UNet predicts at every level of the schedule.

    Noise and levels are the same for all conditions.

    Args:
        unet: predicts noise or velocity, as the schedule says, from noisy latents, level, prompt.
        schedule: adds noise.
        latents: [B, C, T, h, w] of B >= 2 clips.
        prompt: [B, L, D], what each clip shows.
        seed: of the noise, and of the order of frames.

    Returns:
        Losses by level, low noise first: with the "own" prompt, with the prompt of an "other"
        clip, and with "shuffled_frames".

    Raises:
        ValueError: fewer than two clips.
    """
    if len(latents) < 2:
        raise ValueError(f"expected at least 2 clips to exchange prompts, got {len(latents)}")
    generator = torch.Generator().manual_seed(seed)
    T = latents.shape[2]
    order = torch.stack([_other_order(T, generator) for _ in latents])
    index = order[:, None, :, None, None].expand_as(latents)
    conditions = {
        "own": (latents, prompt),
        "other": (latents, prompt.roll(1, dims=0)),
        "shuffled_frames": (latents.gather(2, index), prompt),
    }
    losses: dict[str, list[float]] = {name: [] for name in conditions}
    for level in range(schedule.config.num_train_timesteps):
        noise = torch.randn(latents.shape, generator=generator)
        levels = torch.full((len(latents),), level)
        for name, (clean, text) in conditions.items():
            predicted = unet(schedule.add_noise(clean, noise, levels), levels, text).sample
            wanted = denoising_target(schedule, clean, noise, levels)
            losses[name].append(float(F.mse_loss(predicted, wanted)))
    return losses


def denoising_target(schedule: Any, latents: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
    """What a UNet of this schedule is trained to predict: noise, or velocity.

    Reference: Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models,
    ICLR 2022, Sec. 4.
    """
    if schedule.config.prediction_type == "v_prediction":
        return schedule.get_velocity(latents, noise, levels)
    return noise


def _other_order(count: int, generator: torch.Generator) -> Tensor:
    """Draw an order of frames that is neither the right one nor its reverse, if there is one."""
    right = torch.arange(count)
    for _ in range(100):
        order = torch.randperm(count, generator=generator)
        if not (order.equal(right) or order.equal(right.flip(0))):
            return order
    return right.flip(0)
