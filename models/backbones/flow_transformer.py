"""What the diffusion transformers trained by rectified flow share: latents, noise, prompts."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from vdit.models.backbones.base import Backbone, BlockInfo, Encoded, Noise
from vdit.models.backbones.latents import Posterior, draw_latents
from vdit.models.backbones.noise_schedules import FlowSchedule, draw_noise


class FlowTransformerBackbone(Backbone):
    """A frozen transformer on the patches of VAE latents.

    A timestep is 1000 s of `FlowSchedule`, which is also what the network is told.

    Attributes:
        posterior: latents are a sample of the VAE's posterior or its mean.
        text_dim: channels of the prompt.
    """

    size_multiple = 16
    posterior: Posterior
    text_dim: int
    schedule = FlowSchedule()

    @abstractmethod
    def scale_latents(self, latents: Tensor) -> Tensor:
        """Bring latents [B, T', C, h, w] of the VAE to the unit variance of the training."""

    def sample_latents(self, encoded: Encoded, generator: torch.Generator | None = None) -> Tensor:
        """Draw scaled latents [B, T', C, h, w] in float32 from the posterior (or take its mean)."""
        latents = draw_latents(
            encoded.latent_mean,
            encoded.latent_logvar,
            self.posterior,
            encoded.posterior_noise,
            generator,
        )
        return self.scale_latents(latents)

    def noisy_latents(
        self,
        encoded: Encoded,
        timestep: float | None,
        noise: Noise | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Give what the network receives, [B, T', C, h, w] in float32; as in `extract`."""
        latents = self.sample_latents(encoded, generator)
        if timestep is None:
            return latents
        self.schedule.check(timestep)
        return self.schedule.add_noise(latents, timestep, draw_noise(latents, noise, generator))

    def prepare(
        self, video: Tensor | Encoded, image: Tensor | None, timestep: float | None
    ) -> tuple[Encoded, float]:
        """Encode a video where that is to be done, and name the time the network is told.

        Raises:
            ValueError: an image is given, which no network of this kind takes.
        """
        if image is not None:
            raise ValueError("expected image=None: this network has no image condition; use `text`")
        encoded = self.encode(video) if isinstance(video, Tensor) else video
        return encoded, 0.0 if timestep is None else self.schedule.condition(timestep)

    def joint_text(self, text: Tensor | None, null_text: Tensor, B: int) -> Tensor:
        """Bring the prompt of a joint pass to [B, L, C]; None = `null_text` [1, L, C].

        Raises:
            ValueError: the text is not [B, L, C]; one pass over all frames has one prompt.
        """
        if text is None:
            return null_text.expand(B, -1, -1)
        if text.ndim != 3 or text.shape[0] != B or text.shape[-1] != self.text_dim:
            raise ValueError(
                f"expected text [{B}, L, {self.text_dim}], the same for all frames, "
                f"got {list(text.shape)}"
            )
        return text


def block_table(depth: int, channels: int, temporal_stride: int = 1) -> dict[str, BlockInfo]:
    """Name the outputs of a transformer's blocks, counted from 1: "block1"..; stride 16."""
    info = BlockInfo(channels, 16, temporal_stride)
    return {f"block{k}": info for k in range(1, depth + 1)}
