"""Wan 2.1: a text-to-video transformer that attends over all patches of a clip at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import Encoded, Noise
from vdit.models.backbones.flow_transformer import (
    FlowTransformerBackbone,
    block_table,
)
from vdit.models.backbones.latents import Posterior
from vdit.models.backbones.unet3d import collect


class WanBackbone(FlowTransformerBackbone):
    """Features of a frozen Wan 2.1 text-to-video model.

    Blocks: "block1".. = the tokens after the k-th block, before the last norm. The VAE keeps the
    first frame and joins every four that follow: 1 + 4 n frames give 1 + n feature frames.

    Args:
        transformer: diffusers WanTransformer3DModel without an image condition.
        vae: diffusers AutoencoderKLWan.
        null_text: [1, L, C] states of UMT5 for the prompt of every call without `text`, zero
            behind its last token, as in training.
        posterior: latents are a sample of the VAE's posterior or its mean.

    Reference: Wan Team, Wan: Open and Advanced Large-Scale Video Generative Models, 2025, Sec. 4.
    """

    temporal = True
    frame_offset = 1
    frame_multiple = 4
    null_text: Tensor
    latents_mean: Tensor
    latents_std: Tensor

    def __init__(
        self, transformer: Any, vae: Any, null_text: Tensor, posterior: Posterior = "sample"
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.vae = vae
        self.posterior = posterior
        self.register_buffer("null_text", null_text, persistent=False)
        for name in ("latents_mean", "latents_std"):
            values = torch.tensor(getattr(vae.config, name)).view(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.text_dim = transformer.config.text_dim
        width = transformer.config.num_attention_heads * transformer.config.attention_head_dim
        self.blocks = block_table(len(transformer.blocks), width, temporal_stride=4)
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        network = self.transformer
        found = {"in": [network.patch_embedding, network.condition_embedder]}
        return found | {
            name: [block] for name, block in zip(self.blocks, network.blocks, strict=True)
        }

    def encode(self, video: Tensor) -> Encoded:
        """Compute the latent posterior of a clip; see `Backbone.encode`."""
        self.check_video(video)
        with torch.no_grad():
            clips = (2 * video.transpose(1, 2) - 1).to(self.vae.dtype)
            found = self.vae.encode(clips).latent_dist
        return Encoded(
            size=(video.shape[-2], video.shape[-1]),
            latent_mean=found.mean.float().transpose(1, 2),
            latent_logvar=found.logvar.float().transpose(1, 2),
        )

    def scale_latents(self, latents: Tensor) -> Tensor:
        """See `FlowTransformerBackbone.scale_latents`: mean and deviation of each channel."""
        return (latents - self.latents_mean) / self.latents_std

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
        """See `Backbone.extract`; `timestep` is 1000 s in 0..1000, `text` [B, L, C] only."""
        self.check_blocks(blocks)
        encoded, time = self.prepare(video, image, timestep)
        noisy = self.noisy_latents(encoded, timestep, noise, generator)
        return collect(
            self.walk(noisy, time, self.joint_text(text, self.null_text, len(noisy))), blocks
        )

    def walk(self, noisy: Tensor, time: float, text: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield (block name, [B, T', C, h / 2, w / 2]) as soon as each block is done.

        Args:
            noisy: [B, T', C, h, w] latents.
            time: what the network is told, 0..1000.
            text: [B, L, text_dim].
        """
        network = self.transformer
        sample = noisy.transpose(1, 2).to(network.dtype)
        rotary = network.rope(sample)
        patches = network.patch_embedding(sample)
        grid = patches.shape[2:]
        hidden = patches.flatten(2).transpose(1, 2).contiguous()
        times = torch.full((len(noisy),), time, device=noisy.device)
        _, modulation, context, _ = network.condition_embedder(times, text.to(network.dtype))
        modulation = modulation.unflatten(1, (6, -1))
        for k, block in enumerate(network.blocks, start=1):
            hidden = self.run(block, hidden, context, modulation, rotary)
            yield f"block{k}", hidden.unflatten(1, grid).movedim(-1, 2)
