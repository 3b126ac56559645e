"""ModelScopeT2V (and ZeroScope, the same classes): a text-to-video UNet on VAE latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import (
    BlockInfo,
    Encoded,
    Noise,
    StartedPass,
    TextToVideoBackbone,
)
from vdit.models.backbones.latents import Posterior, draw_latents
from vdit.models.backbones.prompts import ClipPrompts, prompt_per_frame
from vdit.models.backbones.unet3d import collect, run_stem, walk_unet3d
from vdit.models.backbones.unet_walk import unet_blocks, unet_modules
from vdit.models.image_encoder import ClipImageEncoder, imagenet_round_trip, to_uint8

VAE_BLOCK = "vae4"
VAE_STRIDE = 4


class ModelScopeBackbone(ClipPrompts, TextToVideoBackbone):
    """Features of a frozen text-to-video diffusion model.

    Blocks: "vae4" (the VAE encoder at stride 4), "in", "down0".., "mid", "up0".. of the UNet (see
    `walk_unet3d`). All frames of a clip are seen together; any number of frames works.

    Args:
        unet: diffusers UNet3DConditionModel.
        vae: diffusers AutoencoderKL.
        alphas_cumprod: [num_train_timesteps] float32 of the training schedule.
        text_encoder: transformers CLIPTextModel.
        tokenizer: its tokenizer.
        image_encoder: CLIP image tower whose tokens `encode` adds; None = no image tokens.
        rounding: how frames become uint8 for the image tower ("truncate" is the released rule).
        posterior: latents are a sample of the VAE's posterior (released) or its mean.
        frames_per_pass: frames that the VAE and the image tower take at once; bounds memory.
    """

    temporal = True
    size_multiple = 8
    alphas_cumprod: Tensor

    def __init__(
        self,
        unet: Any,
        vae: Any,
        alphas_cumprod: Tensor,
        text_encoder: Any,
        tokenizer: Any,
        image_encoder: ClipImageEncoder | None = None,
        rounding: Literal["truncate", "nearest"] = "truncate",
        posterior: Posterior = "sample",
        frames_per_pass: int = 4,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.vae = vae
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer
        self.image_encoder = image_encoder
        self.rounding = rounding
        self.posterior = posterior
        self.frames_per_pass = frames_per_pass
        self.register_buffer("alphas_cumprod", alphas_cumprod.float(), persistent=False)
        self.blocks = _block_table(unet.config, vae.config)
        self.text_dim: int = unet.config.cross_attention_dim
        self.latent_channels: int = vae.config.latent_channels
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        unet = self.unet
        return unet_modules(unet, [unet.conv_in, unet.time_embedding, unet.transformer_in])

    def is_walked(self, module: nn.Module) -> bool:
        """See `Backbone.is_walked`: passes halt inside of transformers; norms are too small."""
        walked = any(hasattr(module, name) for name in ("resnets", "transformer_blocks", "attn1"))
        is_norm = isinstance(module, nn.LayerNorm | nn.GroupNorm)
        return super().is_walked(module) or walked or is_norm

    # ---- what does not depend on the sentence --------------------------------------------------

    def encode(self, video: Tensor) -> Encoded:
        """Compute the latent posterior, the VAE's stride-4 features and the image tokens.

        Args:
            video: [B, T, 3, H, W] in 0..1; H and W multiples of 8.
        """
        return self._encode(video, keep_skips=True)

    def _encode(self, video: Tensor, keep_skips: bool) -> Encoded:
        """Without skips, a clip's stride-4 features are let go as soon as they were used."""
        self.check_video(video)
        with torch.no_grad():
            frames = imagenet_round_trip(video.flatten(0, 1).float())
            parts = []
            for chunk in frames.split(self.frames_per_pass):
                part = self._encode_frames(chunk)
                parts.append(part if keep_skips else part._replace(skip=part.skip.new_empty(0)))
        skips = {VAE_STRIDE: _join([part.skip for part in parts], video)} if keep_skips else {}
        return Encoded(
            size=(video.shape[-2], video.shape[-1]),
            latent_mean=_join([part.mean for part in parts], video),
            latent_logvar=_join([part.logvar for part in parts], video),
            skips=skips,
            image_tokens=None
            if self.image_encoder is None
            else _join([part.tokens for part in parts], video),
        )

    def encoding_weights(self) -> dict[str, Tensor]:
        """See `Backbone.encoding_weights`: the VAE's encoder and the image tower."""
        parts = {"encoder": self.vae.encoder, "quant_conv": self.vae.quant_conv}
        if self.image_encoder is not None:
            parts["image_encoder"] = self.image_encoder
        return {
            f"{part}.{name}": value
            for part, module in parts.items()
            for name, value in module.state_dict().items()
        }

    def encoding_settings(self) -> str:
        """See `Backbone.encoding_settings`."""
        return f"rounding={self.rounding}"

    def _encode_frames(self, frames: Tensor) -> _EncodedFrames:
        skip, moments = self.encode_vae((2 * frames - 1).to(self.vae.dtype))
        mean, logvar = moments.float().chunk(2, dim=1)
        tokens = skip.new_empty(0)
        if self.image_encoder is not None:
            tokens = self.image_encoder(to_uint8(frames, self.rounding))
        return _EncodedFrames(mean, logvar.clamp(-30, 20), skip, tokens)

    def encode_vae(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Run the VAE encoder on frames [N, 3, H, W] in -1..1.

        Returns:
            features [N, C, H/4, W/4] before the third downsampler, and the posterior's mean and
            log-variance, stacked [N, 2 * 4, H/8, W/8].
        """
        encoder = self.vae.encoder
        hidden = encoder.conv_in(frames)
        for i, block in enumerate(encoder.down_blocks):
            for resnet in block.resnets:
                hidden = resnet(hidden, None)
            if i == 2:
                skip = hidden
            if block.downsamplers is not None:
                hidden = block.downsamplers[0](hidden)
        hidden = encoder.mid_block(hidden)
        hidden = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(hidden)))
        return skip, self.vae.quant_conv(hidden)

    @property
    def device(self) -> torch.device:
        return self.alphas_cumprod.device

    # ---- features ------------------------------------------------------------------------------

    def start(
        self,
        encoded: Encoded,
        *,
        timestep: float | None = None,
        noise: Noise | None = None,
        generator: torch.Generator | None = None,
    ) -> StartedPass:
        """See `TextToVideoBackbone.start`.

        `timestep` counts the levels of the training schedule (1000 in ModelScopeT2V), 0 the least
        noisy; None adds no noise.
        """
        latents = self.sample_latents(encoded, generator)
        noisy = self.add_noise(latents, timestep, noise, generator).to(self.unet.dtype)
        stem = run_stem(self.unet, noisy, int(timestep or 0), self.run)
        return StartedPass(encoded, timestep, stem)

    def extract(
        self,
        video: Tensor | Encoded | StartedPass,
        *,
        blocks: Sequence[str],
        timestep: float | None = None,
        text: Tensor | None = None,
        image: Tensor | None = None,
        noise: Noise | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """See `TextToVideoBackbone.extract`; `timestep` as in `start`."""
        self.check_blocks(blocks)
        if image is not None:
            raise ValueError("expected image=None: this network has no image condition; use `text`")
        if isinstance(video, Tensor):
            video = self._encode(video, keep_skips=VAE_BLOCK in blocks)
        encoded = video.encoded if isinstance(video, StartedPass) else video
        found = {}
        if VAE_BLOCK in blocks:
            found[VAE_BLOCK] = encoded.skips[VAE_STRIDE]
        wanted = [block for block in blocks if block != VAE_BLOCK]
        if wanted:
            if isinstance(video, Encoded):
                video = self.start(video, timestep=timestep, noise=noise, generator=generator)
            elif timestep not in (None, video.timestep) or noise is not None:
                raise ValueError(
                    f"expected neither timestep nor noise: the pass was started at timestep "
                    f"{video.timestep}; pass what `encode` returned to choose others"
                )
            size = encoded.latent_mean.shape[:2]
            context = self._context(text, *size)
            for name, hidden in collect(
                walk_unet3d(self.unet, video.stem, context, self.run), wanted
            ).items():
                found[name] = hidden.unflatten(0, size)
        return found

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

    def add_noise(
        self,
        latents: Tensor,
        timestep: float | None,
        noise: Noise | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Diffuse scaled latents to a timestep: sqrt(abar) z + sqrt(1 - abar) n, in float32."""
        if timestep is None:
            return latents
        if not 0 <= timestep < len(self.alphas_cumprod) or timestep != int(timestep):
            raise ValueError(
                f"expected a timestep in 0..{len(self.alphas_cumprod) - 1}, the levels of the "
                f"noise schedule, got {timestep}"
            )
        if noise is None:
            noise = torch.randn(latents.shape, generator=generator, device=latents.device)
        elif not isinstance(noise, Tensor):
            noise = noise(latents)
        if noise.shape != latents.shape:
            raise ValueError(
                f"expected noise of the latents' shape {list(latents.shape)}, "
                f"got {list(noise.shape)}"
            )
        alpha = self.alphas_cumprod[int(timestep)]
        return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise

    def _context(self, text: Tensor | None, B: int, T: int) -> Tensor:
        """Bring the prompt to [B * T, L, C], clip-major."""
        if text is None:
            text = self.encode_text([""]).expand(B, -1, -1)
        return prompt_per_frame(text, B, T, self.text_dim, self.unet.dtype)


class _EncodedFrames(NamedTuple):
    """What `encode` computes of N frames, each [N, ...]."""

    mean: Tensor
    logvar: Tensor
    skip: Tensor
    tokens: Tensor


def _join(chunks: list[Tensor], video: Tensor) -> Tensor:
    """Put chunks of frames together as [B, T, ...]."""
    return torch.cat(chunks).unflatten(0, (video.shape[0], video.shape[1]))


def _block_table(unet: Any, vae: Any) -> dict[str, BlockInfo]:
    """Channels and strides of every block, from the configurations."""
    skip = BlockInfo(vae.block_out_channels[2], VAE_STRIDE)
    return {VAE_BLOCK: skip, **unet_blocks(unet.block_out_channels, 8)}
