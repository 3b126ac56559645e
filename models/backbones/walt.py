"""WALT as a backbone: features of the transformer on the latents of a causal video tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import Backbone, BlockInfo, Encoded, Noise, refuse_conditions
from vdit.models.backbones.noise_schedules import DiffusionSchedule, draw_noise
from vdit.models.backbones.prompts import ClipPrompts
from vdit.models.backbones.unet3d import collect
from vdit.models.backbones.walt_tokenizer import VideoTokenizer
from vdit.models.backbones.walt_transformer import Walt


def walt_schedule() -> DiffusionSchedule:
    """Build the noise of WALT: betas in a line, 1e-4 to 0.02, brought to zero terminal SNR."""
    return DiffusionSchedule.linear().with_zero_terminal_snr()


class WaltBackbone(Backbone):
    """Features of a frozen WALT without a prompt: it is told the null class.

    Blocks: "block1".. = the cells after each layer; the paper probes the one at two thirds of the
    depth, at timestep 200. V-WALT takes up to 17 frames a pass, which give 5 feature frames (as
    many as its windows span; without temporal layers in the tokenizer, 5 frames give 5). I-WALT
    takes every frame alone, as a picture, and so does its tokenizer. Self-conditioning is off, as
    there is one pass.

    Args:
        network: V-WALT or I-WALT, as its configuration says.
        vae: the video tokenizer; latents are the mean of its posterior.
        frames_per_pass: frames that go through tokenizer and network at once where they are
            pictures; bounds memory.

    Reference: Gupta et al., Photorealistic Video Generation with Diffusion Models, ECCV 2024.
    """

    def __init__(self, network: Walt, vae: VideoTokenizer, frames_per_pass: int = 8) -> None:
        super().__init__()
        self.network = network
        self.vae = vae
        self.frames_per_pass = frames_per_pass
        self.schedule = walt_schedule()
        config, sizes = network.config, vae.config
        self.temporal = config.sees_other_frames
        self.size_multiple = sizes.stride
        if self.temporal:
            self.frame_multiple = sizes.frame_multiple
            self.frame_offset = 1 if sizes.joins_frames else 0
            steps = config.frames - self.frame_offset
            self.clip_length = self.frame_offset + steps * self.frame_multiple
        info = BlockInfo(config.width, sizes.stride, self.frame_multiple)
        self.blocks = {f"block{k}": info for k in range(1, config.depth + 1)}
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        return self.network.block_modules()

    def encode(self, video: Tensor) -> Encoded:
        """Compute the latents of a clip, or of every frame alone; see `Backbone.encode`."""
        self.check_video(video)
        length = video.shape[1]
        if self.clip_length is not None and length > self.clip_length:
            raise ValueError(
                f"expected at most {self.clip_length} frames, got {length}; split the video"
            )
        pixels = 2 * video - 1
        with torch.no_grad():
            if self.temporal:
                mean = self.vae.encode(pixels)[0]
            else:
                frames = pixels.flatten(0, 1)[:, None].split(self.frames_per_pass)
                alone = torch.cat([self.vae.encode(few)[0] for few in frames])
                mean = alone[:, 0].unflatten(0, video.shape[:2])
        return Encoded(size=(video.shape[-2], video.shape[-1]), latent_mean=mean.float())

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
        """See `Backbone.extract`; clean latents pass for the least noisy level, text is [B, L, C].

        Raises:
            ValueError: also where the network takes no prompt, or an image is given.
        """
        self.check_blocks(blocks)
        encoded = self.encode(video) if isinstance(video, Tensor) else video
        latents = self.vae.normalize(encoded.latent_mean)
        self.check_conditions(len(latents), text, image)
        level = self.schedule.first
        if timestep is not None:
            level = timestep
            given = draw_noise(latents, noise, generator)
            latents = self.schedule.add_noise(latents, timestep, given)
        if self.temporal:
            return collect(self.walk(latents, level, text), blocks)
        return self._collect_frames(latents, level, text, blocks)

    def walk(
        self, noisy: Tensor, level: float, text: Tensor | None
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield (block name, [B, T', D, h, w]) of noisy latents [B, T', C, h, w]."""
        levels = torch.full((len(noisy),), level, device=noisy.device)
        for name, cells in self.network.walk(noisy, levels, text=text, run=self.run):
            yield name, cells.movedim(-1, 2)

    def _collect_frames(
        self, noisy: Tensor, level: float, text: Tensor | None, blocks: Sequence[str]
    ) -> dict[str, Tensor]:
        """Walk the network for a few frames at a time; every frame is a picture of its own."""
        B, T = noisy.shape[:2]
        frames = noisy.flatten(0, 1)[:, None].split(self.frames_per_pass)
        texts: Sequence[Tensor | None] = [None] * len(frames)
        if text is not None:
            texts = text.repeat_interleave(T, dim=0).split(self.frames_per_pass)
        parts = [
            collect(self.walk(few, level, prompt), blocks)
            for few, prompt in zip(frames, texts, strict=True)
        ]
        return {
            name: torch.cat([part[name] for part in parts])[:, 0].unflatten(0, (B, T))
            for name in parts[0]
        }

    def check_conditions(self, B: int, text: Tensor | None, image: Tensor | None) -> None:
        """Raise a ValueError that names a condition which the network does not take."""
        refuse_conditions(text=text, image=image)


class PromptedWaltBackbone(ClipPrompts, WaltBackbone):
    """WALT that was trained with prompts of a CLIP text tower; the null prompt is learned.

    Args:
        network: takes prompts.
        vae: see `WaltBackbone`.
        text_encoder: transformers CLIPTextModel.
        tokenizer: that of the text.
        frames_per_pass: see `WaltBackbone`.
    """

    def __init__(
        self,
        network: Walt,
        vae: VideoTokenizer,
        text_encoder: Any,
        tokenizer: Any,
        frames_per_pass: int = 8,
    ) -> None:
        super().__init__(network, vae, frames_per_pass)
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer
        self.text_dim: int = network.config.text_dim or 0
        self.freeze()

    def check_conditions(self, B: int, text: Tensor | None, image: Tensor | None) -> None:
        """Raise a ValueError for an image, or unless the prompt is [B, L, text_dim]."""
        refuse_conditions(image=image)
        if text is None:
            return
        if text.ndim != 3 or text.shape[0] != B or text.shape[-1] != self.text_dim:
            raise ValueError(
                f"expected text [{B}, L, {self.text_dim}], the same for all frames, "
                f"got {list(text.shape)}"
            )
