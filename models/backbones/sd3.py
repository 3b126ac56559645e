"""Stable Diffusion 3: a joint text and image transformer, run on every frame by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import Encoded, Noise
from vdit.models.backbones.flow_transformer import (
    FlowTransformerBackbone,
    block_table,
)
from vdit.models.backbones.latents import Posterior
from vdit.models.backbones.prompts import prompt_per_frame
from vdit.models.backbones.unet3d import collect


@dataclass(frozen=True)
class SD3Prompt:
    """What the three text encoders make of one prompt.

    Attributes:
        tokens: [1, L, C] states of CLIP-L beside CLIP-G, padded to C, then those of T5; with T5
            left out, zeros stand in its place.
        pooled: [1, P] pooled states of CLIP-L beside CLIP-G.
    """

    tokens: Tensor
    pooled: Tensor


class SD3Backbone(FlowTransformerBackbone):
    """Image features of a frozen Stable Diffusion 3, frame by frame.

    Blocks: "block1".. = the image tokens after the k-th joint block, before the last norm.

    Args:
        transformer: diffusers SD3Transformer2DModel.
        vae: diffusers AutoencoderKL with a scaling and a shift factor.
        null_prompt: the prompt of every call without `text`: the encoding of "" or of another one.
        posterior: latents are a sample of the VAE's posterior or its mean.
        frames_per_pass: frames that the VAE takes at once; bounds memory.

    Reference: Esser et al., Scaling Rectified Flow Transformers, ICML 2024, Sec. 4.
    """

    temporal = False
    null_tokens: Tensor
    null_pooled: Tensor

    def __init__(
        self,
        transformer: Any,
        vae: Any,
        null_prompt: SD3Prompt,
        posterior: Posterior = "sample",
        frames_per_pass: int = 4,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.vae = vae
        self.posterior = posterior
        self.frames_per_pass = frames_per_pass
        self.register_buffer("null_tokens", null_prompt.tokens, persistent=False)
        self.register_buffer("null_pooled", null_prompt.pooled, persistent=False)
        self.text_dim = transformer.config.joint_attention_dim
        self.pooled_dim: int = transformer.config.pooled_projection_dim
        self.blocks = block_table(len(transformer.transformer_blocks), transformer.inner_dim)
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        network = self.transformer
        entrance = [network.pos_embed, network.time_text_embed, network.context_embedder]
        return {
            "in": entrance,
            **{
                name: [block]
                for name, block in zip(self.blocks, network.transformer_blocks, strict=True)
            },
        }

    def encode(self, video: Tensor) -> Encoded:
        """Compute the latent posterior of every frame; see `Backbone.encode`."""
        self.check_video(video)
        with torch.no_grad():
            frames = (2 * video.flatten(0, 1) - 1).to(self.vae.dtype)
            found = [
                self.vae.encode(chunk).latent_dist for chunk in frames.split(self.frames_per_pass)
            ]
        mean = torch.cat([each.mean for each in found]).float()
        logvar = torch.cat([each.logvar for each in found]).float()
        return Encoded(
            size=(video.shape[-2], video.shape[-1]),
            latent_mean=mean.unflatten(0, video.shape[:2]),
            latent_logvar=logvar.unflatten(0, video.shape[:2]),
        )

    def scale_latents(self, latents: Tensor) -> Tensor:
        """See `FlowTransformerBackbone.scale_latents`: the shift is taken off first."""
        return (latents - self.vae.config.shift_factor) * self.vae.config.scaling_factor

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
        pooled: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """See `Backbone.extract`; `timestep` is 1000 s in 0..1000.

        A prompt of this network has two parts: `text` holds the token states, `pooled` [B, P]
        their summary, which joins the time. A part that is not given is the null prompt's.
        """
        self.check_blocks(blocks)
        encoded, time = self.prepare(video, image, timestep)
        noisy = self.noisy_latents(encoded, timestep, noise, generator)
        B, T = noisy.shape[:2]
        walk = self.walk(noisy, time, self._tokens(text, B, T), self._pooled(pooled, B, T))
        return collect(walk, blocks)

    def walk(
        self, noisy: Tensor, time: float, tokens: Tensor, pooled: Tensor
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield (block name, [B, T, C, h / 2, w / 2]) as soon as each block is done.

        Args:
            noisy: [B, T, C, h, w] latents.
            time: what the network is told, 0..1000.
            tokens: [B * T, L, text_dim], clip-major.
            pooled: [B * T, pooled_dim].
        """
        network = self.transformer
        B, T, _, h, w = noisy.shape
        patch = network.config.patch_size
        hidden = network.pos_embed(noisy.flatten(0, 1).to(network.dtype)).contiguous()
        times = torch.full((B * T,), time, device=noisy.device)
        condition = network.time_text_embed(times, pooled.to(network.dtype))
        context = network.context_embedder(tokens.to(network.dtype))
        for k, block in enumerate(network.transformer_blocks, start=1):
            context, hidden = self.run(block, hidden, context, condition)
            grid = hidden.transpose(1, 2).unflatten(2, (h // patch, w // patch))
            yield f"block{k}", grid.unflatten(0, (B, T))

    def _tokens(self, text: Tensor | None, B: int, T: int) -> Tensor:
        """Bring the token states to [B * T, L, C], clip-major."""
        if text is None:
            return self.null_tokens.expand(B * T, -1, -1)
        return prompt_per_frame(text, B, T, self.text_dim, text.dtype)

    def _pooled(self, pooled: Tensor | None, B: int, T: int) -> Tensor:
        """Bring the pooled states to [B * T, P]."""
        if pooled is None:
            return self.null_pooled.expand(B * T, -1)
        if pooled.shape != (B, self.pooled_dim):
            raise ValueError(f"expected pooled [{B}, {self.pooled_dim}], got {list(pooled.shape)}")
        return pooled.repeat_interleave(T, dim=0)
