"""Stable Video Diffusion: an image-to-video UNet on VAE latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import Encoded, Noise
from vdit.models.backbones.clip_images import normalize_for_clip, squeeze_to_square
from vdit.models.backbones.latent_unet import LatentUnetBackbone
from vdit.models.backbones.latents import Posterior
from vdit.models.backbones.noise_schedules import EdmSchedule, draw_noise
from vdit.models.backbones.prompts import prompt_per_frame
from vdit.models.backbones.unet3d import collect
from vdit.models.backbones.unet_walk import walk_unet

TEMPORAL = (".temporal_", ".time_pos_embed.", ".time_mixer.")


class SvdBackbone(LatentUnetBackbone):
    """Features of a frozen image-to-video diffusion model.

    Blocks: "in", "down0".., "mid", "up0".. of the UNet (see `walk_unet`). All frames of a clip are
    seen together; any number of frames works, the network was trained on 14 or 25. `timestep`
    counts the levels of the training schedule; the network is told ln(sigma) / 4.

    Without a conditioning image, its latents and its embedding are zeros, the unconditional branch
    of the network's training.

    Args:
        unet: diffusers UNetSpatioTemporalConditionModel.
        vae: diffusers AutoencoderKLTemporalDecoder; only its encoder is used.
        alphas_cumprod: [num_train_timesteps] of the training schedule.
        image_encoder: transformers CLIPVisionModelWithProjection.
        fps: frames per second that the network is told (as fps - 1).
        motion_bucket: amount of motion that it is told.
        noise_augmentation: noise on the conditioning image, which -1..1 spans; it is told too.
        temporal_layers: False = every frame alone. Skipped are the temporal half of each resnet,
            the temporal transformers with their frame embedding, and the blending of both; what is
            left is what a blending factor of 1 gives.
        posterior: latents are a sample of the VAE's posterior or its mean.
        frames_per_pass: frames that the VAE takes at once; bounds memory.

    Reference: Blattmann et al., Stable Video Diffusion, arXiv 2311.15127.
    """

    def __init__(
        self,
        unet: Any,
        vae: Any,
        alphas_cumprod: Tensor,
        image_encoder: Any,
        fps: int = 7,
        motion_bucket: int = 127,
        noise_augmentation: float = 0.02,
        temporal_layers: bool = True,
        posterior: Posterior = "sample",
        frames_per_pass: int = 4,
    ) -> None:
        super().__init__(unet, vae, EdmSchedule(alphas_cumprod), posterior, frames_per_pass)
        self.image_encoder = image_encoder
        self.noise_augmentation = noise_augmentation
        self.time_ids = (fps - 1, motion_bucket, noise_augmentation)
        self.temporal = temporal_layers
        self.idle = () if temporal_layers else TEMPORAL
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        blocks = super().block_modules()
        return blocks | {"in": [*blocks["in"], self.unet.add_embedding]}

    def is_walked(self, module: nn.Module) -> bool:
        """See `Backbone.is_walked`: the spatial halves of layers may run alone."""
        return super().is_walked(module) or hasattr(module, "time_mixer")

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
        """See `Backbone.extract`.

        The network has no text tower: `text` takes the place of the image's embedding in the
        cross-attentions (the temporal ones see that of the first frame).
        """
        self.check_blocks(blocks)
        encoded = self.encode(video) if isinstance(video, Tensor) else video
        latents = self.sample_latents(encoded, generator)
        B, T = latents.shape[:2]
        noisy = self.add_noise(latents, timestep, noise, generator)
        if image is None:
            image_latents, embedding = torch.zeros_like(latents[:, 0]), None
        else:
            self.check_image(image, encoded)
            image_latents = self.image_latents(image, generator)
            embedding = self.embed_image(image) if text is None else None
        if text is None:
            text = latents.new_zeros(B, 1, self.text_dim) if embedding is None else embedding
        sample = torch.cat([noisy, image_latents[:, None].expand_as(noisy)], dim=2)
        entry = self.unet.conv_in(sample.flatten(0, 1).to(self.unet.dtype))
        time_embed = self._condition(timestep, B).repeat_interleave(T, dim=0)
        context = prompt_per_frame(text, B, T, self.text_dim, self.unet.dtype)
        layers: SpatioTemporalLayers | SpatialLayers
        if self.temporal:
            layers = SpatioTemporalLayers(time_embed, context, T)
        else:
            layers = SpatialLayers(time_embed, context)
        found = collect(walk_unet(self.unet, entry, layers, self.run), blocks)
        return {name: hidden.unflatten(0, (B, T)) for name, hidden in found.items()}

    def image_latents(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Compute the latents that the network sees beside the noisy ones.

        They are the mean of the posterior, not scaled as the noisy ones are.

        Args:
            image: [B, 3, H, W] in 0..1.
            generator: source of the noise augmentation.

        Returns:
            [B, C, h, w] float32.
        """
        if self.noise_augmentation:
            # half of it: the images here span 0..1, those of the VAE -1..1
            image = image + 0.5 * self.noise_augmentation * draw_noise(image, None, generator)
        return self.encode_images(image)[0]

    def embed_image(self, image: Tensor) -> Tensor:
        """Compute the CLIP embedding [B, 1, C] of images [B, 3, H, W] in 0..1."""
        size = self.image_encoder.config.image_size
        pixel_values = normalize_for_clip(squeeze_to_square(image.float(), size))
        with torch.no_grad():
            embeds = self.image_encoder(
                pixel_values=pixel_values.to(self.image_encoder.dtype)
            ).image_embeds
        return embeds[:, None]

    def _condition(self, timestep: float | None, B: int) -> Tensor:
        """Embed the noise level, frame rate, motion and augmentation: [B, C]."""
        ids = torch.tensor(self.time_ids, device=self.device).repeat(B)
        embeds = self.unet.add_time_proj(ids).view(B, -1).to(self.unet.dtype)
        return self.embed_time(timestep, B) + self.unet.add_embedding(embeds)


class SpatioTemporalLayers:
    """Layers of UNetSpatioTemporalConditionModel as they are: space, time and their blend.

    Args:
        time_embed: [B * T, C] embedding of the conditions.
        context: [B * T, L, C] prompt of every frame, clip-major.
        num_frames: T.
    """

    def __init__(self, time_embed: Tensor, context: Tensor, num_frames: int) -> None:
        self.time_embed = time_embed
        self.context = context
        self.images = time_embed.new_zeros(len(time_embed) // num_frames, num_frames)

    def convolve(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        return block.resnets[index](hidden, self.time_embed, image_only_indicator=self.images)

    def attend(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        return block.attentions[index](
            hidden,
            encoder_hidden_states=self.context,
            image_only_indicator=self.images,
            return_dict=False,
        )[0]


class SpatialLayers:
    """Their spatial halves only.

    Args:
        time_embed: [N, C] embedding of the conditions.
        context: [N, L, C] prompt of every frame.
    """

    def __init__(self, time_embed: Tensor, context: Tensor) -> None:
        self.time_embed = time_embed
        self.context = context

    def convolve(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        return block.resnets[index].spatial_res_block(hidden, self.time_embed)

    def attend(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        attention = block.attentions[index]
        tokens = attention.proj_in(attention.norm(hidden).flatten(2).transpose(1, 2).contiguous())
        for transformer in attention.transformer_blocks:
            tokens = transformer(tokens, encoder_hidden_states=self.context)
        return attention.proj_out(tokens).transpose(1, 2).reshape(hidden.shape) + hidden
