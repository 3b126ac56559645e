"""Noise schedules: how much noise a timestep stands for, in each family's own unit.

Every family mixes clean latents z and normal noise n as signal * z + noise * n; sigma = noise /
signal is the scale that they have in common.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from vdit.models.backbones.base import Noise


class NoiseSchedule(ABC):
    """How a family of networks mixes signal and noise, and what it tells the network about it.

    Attributes:
        first: the least noisy timestep.
        last: the noisiest.
    """

    first: float
    last: float

    @abstractmethod
    def scales(self, timestep: float) -> tuple[float, float]:
        """Give the factors of the clean latents and of the noise in what the network receives."""

    @abstractmethod
    def condition(self, timestep: float) -> float:
        """Give the number that the network's time embedding receives."""

    def sigma(self, timestep: float) -> float:
        """Give the noise over the signal; infinite where no signal is left."""
        signal, noise = self.scales(timestep)
        return noise / signal if signal > 0 else math.inf

    def timestep_at(self, sigma: float) -> float:
        """Find the timestep whose sigma is nearest, so that networks can be compared at one noise.

        Raises:
            ValueError: sigma is negative.
        """
        if not sigma >= 0:
            raise ValueError(f"expected sigma >= 0, got {sigma}")
        low, high = self.first, self.last
        for _ in range(60):  # sigma grows with the timestep
            middle = (low + high) / 2
            if self.sigma(self._valid(middle)) < sigma:
                low = middle
            else:
                high = middle
        candidates = {self._valid(low), self._valid(high)}
        return min(candidates, key=lambda timestep: abs(self.sigma(timestep) - sigma))

    def check(self, timestep: float) -> None:
        """Raise a ValueError if a timestep is outside of the schedule."""
        if not self.first <= timestep <= self.last or self._valid(timestep) != timestep:
            raise ValueError(
                f"expected a timestep in {self.first:g}..{self.last:g}, the levels of the noise "
                f"schedule, got {timestep}"
            )

    def add_noise(self, latents: Tensor, timestep: float | None, noise: Tensor) -> Tensor:
        """Mix, in the dtype of the latents; timestep None adds no noise.

        Raises:
            ValueError: the timestep is outside of the schedule.
        """
        if timestep is None:
            return latents
        self.check(timestep)
        signal, share = self.scales(timestep)
        return signal * latents + share * noise

    def _valid(self, timestep: float) -> float:
        """Bring a number between `first` and `last` to a timestep that exists."""
        return timestep


class DiffusionSchedule(NoiseSchedule):
    """Variance-preserving diffusion in whole timesteps, 0 the least noisy.

    Args:
        alphas_cumprod: [num_train_timesteps].

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, Eq. 4.
    """

    def __init__(self, alphas_cumprod: Tensor) -> None:
        self.alphas_cumprod = alphas_cumprod.detach().double().tolist()
        self.first, self.last = 0, len(self.alphas_cumprod) - 1

    @classmethod
    def linear(cls, start: float = 1e-4, end: float = 0.02, steps: int = 1000) -> DiffusionSchedule:
        """Build the schedule of ADM (Dhariwal and Nichol, NeurIPS 2021): betas in a line."""
        betas = torch.linspace(start, end, steps, dtype=torch.float64)
        return cls((1 - betas).cumprod(0))

    def with_zero_terminal_snr(self) -> DiffusionSchedule:
        """Shift and stretch the signal's factor so that the last timestep holds noise alone.

        Reference: Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, WACV
        2024, Algorithm 1.
        """
        signal = torch.tensor(self.alphas_cumprod, dtype=torch.float64).sqrt()
        stretched = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
        return DiffusionSchedule(stretched.square())

    def scales(self, timestep: float) -> tuple[float, float]:
        alpha = self.alphas_cumprod[round(timestep)]
        return math.sqrt(alpha), math.sqrt(1 - alpha)

    def condition(self, timestep: float) -> float:
        return timestep

    def _valid(self, timestep: float) -> float:
        return round(timestep)


class EdmSchedule(DiffusionSchedule):
    """The same levels for a network with EDM's preconditioning: it is told ln(sigma) / 4.

    Its input c_in * (z + sigma * n), c_in = 1 / sqrt(sigma^2 + 1), is what `DiffusionSchedule`
    mixes.

    Reference: Karras et al., Elucidating the Design Space, NeurIPS 2022, Table 1.
    """

    def condition(self, timestep: float) -> float:
        return 0.25 * math.log(self.sigma(timestep))


class FlowSchedule(NoiseSchedule):
    """Rectified flow: (1 - s) z + s n; a timestep is 1000 s, which the network is told.

    Reference: Esser et al., Scaling Rectified Flow Transformers, ICML 2024, Sec. 2.
    """

    first, last = 0.0, 1000.0

    def scales(self, timestep: float) -> tuple[float, float]:
        share = timestep / 1000
        return 1 - share, share

    def condition(self, timestep: float) -> float:
        return timestep

    @staticmethod
    def shifted(index: int, shift: float, steps: int = 1000) -> float:
        """Give the timestep at an index of a shifted table of levels, 0 the least noisy.

        With u = (index + 1) / steps, s = shift * u / (1 + (shift - 1) * u) (Esser et al., Eq. 23).

        Raises:
            ValueError: the index is outside of the table.
        """
        if not 0 <= index < steps:
            raise ValueError(f"expected an index in 0..{steps - 1}, got {index}")
        u = (index + 1) / steps
        return 1000 * shift * u / (1 + (shift - 1) * u)


def draw_noise(
    latents: Tensor,
    noise: Noise | None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Take the given noise, or what a function makes of the latents, or draw it in float32.

    Raises:
        ValueError: its shape is not that of the latents.
    """
    if noise is None:
        return torch.randn(latents.shape, generator=generator, device=latents.device)
    if not isinstance(noise, Tensor):
        noise = noise(latents)
    if noise.shape != latents.shape:
        raise ValueError(
            f"expected noise of the latents' shape {list(latents.shape)}, got {list(noise.shape)}"
        )
    return noise
