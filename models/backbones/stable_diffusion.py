"""Stable Diffusion 1.x and 2.x: a text-to-image UNet on VAE latents, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vdit.models.backbones.base import Encoded, Noise
from vdit.models.backbones.latent_unet import PromptedUnetBackbone
from vdit.models.backbones.latents import Posterior
from vdit.models.backbones.noise_schedules import DiffusionSchedule
from vdit.models.backbones.unet3d import collect
from vdit.models.backbones.unet_walk import ImageLayers, walk_unet


class StableDiffusionBackbone(PromptedUnetBackbone):
    """Features of a frozen text-to-image diffusion model (DIFT); frames do not see each other.

    Blocks: "in", "down0".., "mid", "up0".. of the UNet (see `walk_unet`). Whether the network
    predicts noise or velocity does not matter here: its last layers are never run.

    Args:
        unet: diffusers UNet2DConditionModel.
        vae: diffusers AutoencoderKL.
        alphas_cumprod: [num_train_timesteps] of the training schedule.
        text_encoder: transformers CLIPTextModel.
        tokenizer: its tokenizer.
        posterior: latents are a sample of the VAE's posterior (DIFT) or its mean.
        frames_per_pass: frames that the VAE and the UNet take at once; bounds memory.

    Raises:
        ValueError: the UNet needs conditions beside text, as Stable Diffusion XL does.

    Reference: Rombach et al., Latent Diffusion, CVPR 2022; Tang et al., DIFT, NeurIPS 2023.
    """

    temporal = False

    def __init__(
        self,
        unet: Any,
        vae: Any,
        alphas_cumprod: Tensor,
        text_encoder: Any,
        tokenizer: Any,
        posterior: Posterior = "sample",
        frames_per_pass: int = 4,
    ) -> None:
        if unet.config.addition_embed_type or unet.config.class_embed_type:
            raise ValueError(
                "expected a UNet of Stable Diffusion 1 or 2, which takes only text, got one with "
                "further embeddings; choose another model"
            )
        super().__init__(
            unet,
            vae,
            DiffusionSchedule(alphas_cumprod),
            text_encoder,
            tokenizer,
            posterior,
            frames_per_pass,
        )
        self.freeze()

    def extract(
        self,
        video: Tensor | Encoded,
        *,
        blocks: Sequence[str],
        timestep: float | None = None,
        text: Tensor | None = None,
        image: Tensor | None = None,
        noise: Noise | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """See `Backbone.extract`; `timestep` counts the levels of the training schedule."""
        self.check_blocks(blocks)
        if image is not None:
            raise ValueError("expected image=None: this network has no image condition; use `text`")
        encoded = self.encode(video) if isinstance(video, Tensor) else video
        latents = self.sample_latents(encoded, generator)
        B, T = latents.shape[:2]
        frames = self.add_noise(latents, timestep, noise, generator).flatten(0, 1)
        context = self.prompt(text, B, T)
        parts = [
            self._extract_frames(*chunk, blocks, timestep)
            for chunk in zip(
                frames.to(self.unet.dtype).split(self.frames_per_pass),
                context.split(self.frames_per_pass),
                strict=True,
            )
        ]
        return {
            name: torch.cat([part[name] for part in parts]).unflatten(0, (B, T))
            for name in parts[0]
        }

    def _extract_frames(
        self, sample: Tensor, context: Tensor, blocks: Sequence[str], timestep: float | None
    ) -> dict[str, Tensor]:
        """Compute block name -> [N, C, h, w] of noisy latents [N, C, h, w]."""
        layers = ImageLayers(self.embed_time(timestep, len(sample)), context)
        entry = self.unet.conv_in(sample)
        return collect(walk_unet(self.unet, entry, layers, self.run), blocks)
