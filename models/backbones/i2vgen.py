"""I2VGen-XL: an image-to-video UNet on VAE latents, led by text, an image and a frame rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import Encoded, Noise
from vdit.models.backbones.clip_images import crop_to_square, normalize_for_clip
from vdit.models.backbones.latent_unet import PromptedUnetBackbone
from vdit.models.backbones.latents import Posterior, draw_latents
from vdit.models.backbones.noise_schedules import DiffusionSchedule
from vdit.models.backbones.unet3d import collect
from vdit.models.backbones.unet_walk import ImageLayers, walk_unet

NullImage = Literal["first_frame", "zeros"]
ENTRANCE = (
    "fps_embedding",
    "context_embedding",
    "image_latents_context_embedding",
    "image_latents_proj_in",
    "image_latents_temporal_encoder",
    "transformer_in",
)
TEMPORAL = (".temp_", ".image_latents_temporal_encoder.", ".transformer_in.")


class I2VGenBackbone(PromptedUnetBackbone):
    """Features of a frozen image-to-video diffusion model.

    Blocks: "in" (after `conv_in` and the first temporal transformer), "down0".., "mid", "up0".. of
    the UNet (see `walk_unet`). All frames of a clip are seen together; any number of frames works,
    the network was trained on 16. `timestep` counts the levels of the training schedule; its last
    holds no signal at all.

    Beside the noisy latents the network sees those of the conditioning image in frame 0 and, in
    frame k of F, planes of k / (F - 1): where in the clip a frame is.

    Args:
        unet: diffusers I2VGenXLUNet.
        vae: diffusers AutoencoderKL.
        alphas_cumprod: [num_train_timesteps] of the training schedule.
        text_encoder: transformers CLIPTextModel.
        tokenizer: its tokenizer.
        image_encoder: transformers CLIPVisionModelWithProjection.
        fps: frames per second that the network is told.
        null_image: what stands in for a missing conditioning image: the clip's first frame, which
            is the network's standard use, or zeros for its latents and its embedding.
        temporal_layers: False = every frame alone, as a clip of one frame with its own conditioning
            image. Skipped are all temporal convolutions and transformers: those of each layer, the
            first one behind `conv_in`, and the encoder over the image planes.
        posterior: latents are a sample of the VAE's posterior or its mean.
        frames_per_pass: frames that the VAE and the image tower take at once; bounds memory.

    Reference: Zhang et al., I2VGen-XL, arXiv 2311.04145.
    """

    def __init__(
        self,
        unet: Any,
        vae: Any,
        alphas_cumprod: Tensor,
        text_encoder: Any,
        tokenizer: Any,
        image_encoder: Any,
        fps: int = 16,
        null_image: NullImage = "first_frame",
        temporal_layers: bool = True,
        posterior: Posterior = "sample",
        frames_per_pass: int = 4,
    ) -> None:
        super().__init__(
            unet,
            vae,
            DiffusionSchedule(alphas_cumprod),
            text_encoder,
            tokenizer,
            posterior,
            frames_per_pass,
        )
        self.image_encoder = image_encoder
        self.fps = fps
        self.null_image = null_image
        self.temporal = temporal_layers
        self.idle = () if temporal_layers else TEMPORAL
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        blocks = super().block_modules()
        return blocks | {"in": [*blocks["in"], *(getattr(self.unet, name) for name in ENTRANCE)]}

    def encode(self, video: Tensor) -> Encoded:
        """Compute the latent posterior and, as its image token, the CLIP embedding of each frame.

        Args:
            video: [B, T, 3, H, W] in 0..1; H and W multiples of `size_multiple`.
        """
        encoded = super().encode(video)
        if self.null_image == "first_frame":
            chunks = video.flatten(0, 1).split(self.frames_per_pass)
            tokens = torch.cat([self.embed_image(chunk) for chunk in chunks])
            encoded.image_tokens = tokens.unflatten(0, video.shape[:2])
        return encoded

    def embed_image(self, image: Tensor) -> Tensor:
        """Compute the CLIP embedding [B, 1, C] of images [B, 3, H, W] in 0..1."""
        size = self.image_encoder.config.image_size
        pixel_values = normalize_for_clip(crop_to_square(image.float(), size))
        with torch.no_grad():
            embeds = self.image_encoder(
                pixel_values=pixel_values.to(self.image_encoder.dtype)
            ).image_embeds
        return embeds[:, None]

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
        """See `Backbone.extract`; without an `image`, `null_image` says what stands in."""
        self.check_blocks(blocks)
        encoded = self.encode(video) if isinstance(video, Tensor) else video
        latents = self.sample_latents(encoded, generator)
        B, T = latents.shape[:2]
        noisy = self.add_noise(latents, timestep, noise, generator)
        image_latents, embedding = self._image_condition(image, encoded, latents, generator)
        if not self.temporal:  # every frame is a clip
            noisy = noisy.flatten(0, 1)[:, None]
        planes = image_planes(image_latents, noisy.shape[1]).to(self.unet.dtype)
        clips, num_frames = planes.shape[:2]
        context = torch.cat(
            [
                self.prompt(text, B, T),
                self._image_tokens(planes[:, 0], embedding).repeat_interleave(num_frames, dim=0),
            ],
            dim=1,
        )
        time_embed = (self.embed_time(timestep, clips) + self._embed_fps(clips)).repeat_interleave(
            num_frames, dim=0
        )
        entry = self._enter(noisy.to(self.unet.dtype), planes)
        layers = (
            VideoLayers(time_embed, context, num_frames)
            if self.temporal
            else ImageLayers(time_embed, context)
        )
        found = collect(walk_unet(self.unet, entry, layers, self.run), blocks)
        return {name: hidden.unflatten(0, (B, T)) for name, hidden in found.items()}

    def _image_condition(
        self,
        image: Tensor | None,
        encoded: Encoded,
        latents: Tensor,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """Give scaled latents [N, C, h, w] and embedding [N, 1, C] of each clip's image.

        N is B, or B * T where every frame is a clip.
        """
        T = latents.shape[1]
        if image is not None:
            self.check_image(image, encoded)
            mean, logvar = self.encode_images(image)
            drawn = draw_latents(mean, logvar, self.posterior, generator=generator)
            first, embedding = drawn * self.vae.config.scaling_factor, self.embed_image(image)
        elif self.null_image == "zeros":
            first = torch.zeros_like(latents[:, 0])
            embedding = first.new_zeros(len(first), 1, self.text_dim)
        else:
            assert encoded.image_tokens is not None  # `encode` has made them
            if not self.temporal:
                return latents.flatten(0, 1), encoded.image_tokens.flatten(0, 1)
            return latents[:, 0], encoded.image_tokens[:, 0]
        if not self.temporal:
            return first.repeat_interleave(T, dim=0), embedding.repeat_interleave(T, dim=0)
        return first, embedding

    def _image_tokens(self, latents: Tensor, embedding: Tensor) -> Tensor:
        """Turn an image into tokens [N, 64 + 4, C] that stand beside those of the text."""
        pooled = self.unet.image_latents_context_embedding(latents).flatten(2).transpose(1, 2)
        described = self.unet.context_embedding(embedding.to(self.unet.dtype))
        return torch.cat([pooled, described.view(len(latents), -1, self.text_dim)], dim=1)

    def _embed_fps(self, count: int) -> Tensor:
        fps = torch.full((count,), self.fps, device=self.device)
        return self.unet.fps_embedding(self.unet.time_proj(fps).to(self.unet.dtype))

    def _enter(self, noisy: Tensor, planes: Tensor) -> Tensor:
        """Merge noisy latents and image planes, both [N, F, C, h, w], to [N * F, C', h, w]."""
        N, num_frames, _, h, w = planes.shape
        projected = self.unet.image_latents_proj_in(planes.flatten(0, 1))
        if self.temporal:
            cells = projected.unflatten(0, (N, num_frames)).permute(0, 3, 4, 1, 2).flatten(0, 2)
            cells = self.unet.image_latents_temporal_encoder(cells)
            projected = cells.unflatten(0, (N, h, w)).permute(0, 3, 4, 1, 2).flatten(0, 1)
        entry = self.unet.conv_in(torch.cat([noisy.flatten(0, 1), projected], dim=1))
        if self.temporal:
            entry = self.run(attend_over_time, self.unet.transformer_in, entry, num_frames)
        return entry


def image_planes(latents: Tensor, num_frames: int) -> Tensor:
    """Put image latents [N, C, h, w] in frame 0, and k / (F - 1) in frame k: [N, F, C, h, w]."""
    places = torch.arange(1, num_frames, device=latents.device) / max(num_frames - 1, 1)
    first = latents.contiguous()[:, :, None]
    planes = places.to(latents.dtype).view(-1, 1, 1).expand(*first.shape[:2], -1, *first.shape[3:])
    # frames inside channels in memory, as diffusers has them: convolutions round alike
    return torch.cat([first, planes], dim=2).transpose(1, 2)


def attend_over_time(attention: Any, hidden: Tensor, num_frames: int) -> Tensor:
    """Temporal transformer: every cell [N * F, C, h, w] attends to itself in the other frames."""
    return attention(hidden, num_frames=num_frames, return_dict=False)[0]


class VideoLayers:
    """Layers of I2VGenXLUNet: resnet, temporal convolution, spatial and temporal attention.

    Args:
        time_embed: [N * F, C] embedding of timestep and frame rate.
        context: [N * F, L, C] tokens of text and image of every frame, clip-major.
        num_frames: F.
    """

    def __init__(self, time_embed: Tensor, context: Tensor, num_frames: int) -> None:
        self.spatial = ImageLayers(time_embed, context)
        self.num_frames = num_frames

    def convolve(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        hidden = self.spatial.convolve(block, index, hidden)
        return block.temp_convs[index](hidden, num_frames=self.num_frames)

    def attend(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        hidden = self.spatial.attend(block, index, hidden)
        return attend_over_time(block.temp_attentions[index], hidden, self.num_frames)
