"""Diffusion by velocity: noisy latents, the target, the clean estimate, and sampling by DDIM.

Axes: B clips, T latent frames, C channels, h x w cells.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vdit.models.backbones.noise_schedules import DiffusionSchedule

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Noisy latents [B, T, C, h, w], levels [B, T], estimate of the clean latents -> velocity."""


class Velocity:
    """The algebra of a schedule x = a z + s n with a^2 + s^2 = 1: v = a n - s z.

    Args:
        schedule: of the noise.

    Reference: Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models,
    ICLR 2022, Appendix D.
    """

    def __init__(self, schedule: DiffusionSchedule) -> None:
        self.signal = torch.tensor(schedule.alphas_cumprod, dtype=torch.float64).sqrt()
        self.num_levels = len(self.signal)

    def scales(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Give a and s of levels [B, T] int64, each [B, T, 1, 1, 1] in float32."""
        signal = self.signal.to(levels.device)[levels][..., None, None, None]
        return signal.float(), (1 - signal.square()).sqrt().float()

    def add_noise(self, latents: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        signal, share = self.scales(levels)
        return signal * latents + share * noise

    def target(self, latents: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        signal, share = self.scales(levels)
        return signal * noise - share * latents

    def clean(self, noisy: Tensor, velocity: Tensor, levels: Tensor) -> Tensor:
        """Give the clean latents that a velocity stands for."""
        signal, share = self.scales(levels)
        return signal * noisy - share * velocity

    def noise(self, noisy: Tensor, velocity: Tensor, levels: Tensor) -> Tensor:
        """Give the noise that a velocity stands for."""
        signal, share = self.scales(levels)
        return signal * velocity + share * noisy

    def sample(self, predict: Predict, noise: Tensor, steps: int) -> Tensor:
        """Denoise from the last level, which is noise alone, to clean latents.

        Every step is conditioned on the estimate of the one before.

        Args:
            predict: the network.
            noise: [B, T, C, h, w] normal.
            steps: levels, evenly spaced from the last one down.

        Reference: Song et al., Denoising Diffusion Implicit Models, ICLR 2021, Eq. 12 with sigma 0;
        Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, WACV 2024, Sec.
        3.3, for the levels.
        """
        numbers = torch.linspace(self.num_levels, 0, steps + 1).round().long() - 1
        noisy, estimate = noise, torch.zeros_like(noise)
        for number, following in zip(numbers[:-1].tolist(), numbers[1:].tolist(), strict=True):
            levels = torch.full(noise.shape[:2], number, device=noise.device)
            velocity = predict(noisy, levels, estimate).float()
            estimate = self.clean(noisy, velocity, levels)
            if following < 0:
                return estimate
            left = self.noise(noisy, velocity, levels)
            noisy = self.add_noise(estimate, left, torch.full_like(levels, following))
        return estimate
