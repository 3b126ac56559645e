"""What UNets on VAE latents share: encoding, noise, prompts and the table of blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import Backbone, Encoded, Noise
from vdit.models.backbones.latents import Posterior, draw_latents
from vdit.models.backbones.noise_schedules import NoiseSchedule, draw_noise
from vdit.models.backbones.prompts import ClipPrompts, prompt_per_frame
from vdit.models.backbones.unet_walk import unet_blocks, unet_modules


class LatentUnetBackbone(Backbone):
    """A frozen UNet of diffusers on the latents of a VAE.

    Blocks: "in", "down0".., "mid", "up0".. of the UNet (see `walk_unet`).

    Args:
        unet: a UNet of diffusers.
        vae: its VAE, of diffusers.
        schedule: the noise schedule of its training.
        posterior: latents are a sample of the VAE's posterior or its mean.
        frames_per_pass: frames that the VAE takes at once; bounds memory.
    """

    def __init__(
        self,
        unet: Any,
        vae: Any,
        schedule: NoiseSchedule,
        posterior: Posterior = "sample",
        frames_per_pass: int = 4,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.vae = vae
        self.schedule = schedule
        self.posterior = posterior
        self.frames_per_pass = frames_per_pass
        self.size_multiple = 2 ** (len(vae.config.block_out_channels) - 1)
        self.blocks = unet_blocks(unet.config.block_out_channels, self.size_multiple)
        self.text_dim: int = unet.config.cross_attention_dim
        self.latent_channels: int = vae.config.latent_channels

    @property
    def device(self) -> torch.device:
        return self.unet.device

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        return unet_modules(self.unet, [self.unet.conv_in, self.unet.time_embedding])

    def is_walked(self, module: nn.Module) -> bool:
        """See `Backbone.is_walked`: blocks are run layer by layer."""
        return super().is_walked(module) or hasattr(module, "resnets")

    # ---- images --------------------------------------------------------------------------------

    def encode(self, video: Tensor) -> Encoded:
        """Compute the latent posterior of every frame.

        Args:
            video: [B, T, 3, H, W] in 0..1; H and W multiples of `size_multiple`.
        """
        self.check_video(video)
        mean, logvar = self.encode_images(video.flatten(0, 1))
        return Encoded(
            size=(video.shape[-2], video.shape[-1]),
            latent_mean=mean.unflatten(0, video.shape[:2]),
            latent_logvar=logvar.unflatten(0, video.shape[:2]),
        )

    def encode_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the mean and log-variance, each [N, C, h, w] float32, of the VAE's posterior.

        Args:
            images: [N, 3, H, W] in 0..1.
        """
        with torch.no_grad():
            chunks = (2 * images.float() - 1).to(self.vae.dtype).split(self.frames_per_pass)
            posteriors = [self.vae.encode(chunk).latent_dist for chunk in chunks]
        mean = torch.cat([posterior.mean for posterior in posteriors]).float()
        return mean, torch.cat([posterior.logvar for posterior in posteriors]).float()

    def sample_latents(self, encoded: Encoded, generator: torch.Generator | None = None) -> Tensor:
        """Draw scaled latents [B, T, C, h, w] in float32 from the posterior (or take its mean)."""
        latents = draw_latents(
            encoded.latent_mean,
            encoded.latent_logvar,
            self.posterior,
            encoded.posterior_noise,
            generator,
        )
        return latents * self.vae.config.scaling_factor

    def check_image(self, image: Tensor, encoded: Encoded) -> None:
        """Raise a ValueError unless there is one image a clip, of the clip's size."""
        expected = (encoded.latent_mean.shape[0], 3, *encoded.size)
        if image.shape != expected:
            raise ValueError(
                f"expected a conditioning image of shape {list(expected)}, one a clip and of its "
                f"size, got {list(image.shape)}; crop or resize it"
            )

    # ---- noise ---------------------------------------------------------------------------------

    def add_noise(
        self,
        latents: Tensor,
        timestep: float | None,
        noise: Noise | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Bring scaled latents to a noise level of the schedule, in float32; None adds no noise.

        Raises:
            ValueError: the timestep is outside of the schedule, or the noise has another shape.
        """
        if timestep is None:
            return latents
        self.schedule.check(timestep)
        return self.schedule.add_noise(latents, timestep, draw_noise(latents, noise, generator))

    def embed_time(self, timestep: float | None, count: int) -> Tensor:
        """Embed the noise level [count, C]; clean latents pass for the least noisy level."""
        level = self.schedule.first if timestep is None else timestep
        time = torch.full(
            (count,), self.schedule.condition(level), dtype=torch.float32, device=self.device
        )
        return self.unet.time_embedding(self.unet.time_proj(time).to(self.unet.dtype))


class PromptedUnetBackbone(ClipPrompts, LatentUnetBackbone):
    """A UNet on latents with a CLIP text tower.

    Args:
        unet, vae, schedule, posterior, frames_per_pass: see `LatentUnetBackbone`.
        text_encoder: transformers CLIPTextModel.
        tokenizer: its tokenizer.
    """

    def __init__(
        self,
        unet: Any,
        vae: Any,
        schedule: NoiseSchedule,
        text_encoder: Any,
        tokenizer: Any,
        posterior: Posterior = "sample",
        frames_per_pass: int = 4,
    ) -> None:
        super().__init__(unet, vae, schedule, posterior, frames_per_pass)
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer

    def prompt(self, text: Tensor | None, B: int, T: int) -> Tensor:
        """Give every frame its prompt, [B * T, L, C]; None is the empty sentence."""
        if text is None:
            text = self.encode_text([""]).expand(B, -1, -1)
        return prompt_per_frame(text, B, T, self.text_dim, self.unet.dtype)
