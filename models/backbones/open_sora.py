"""Open-Sora 1.2: features of STDiT3 on the latents of a causal video encoder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import Encoded, Noise
from vdit.models.backbones.flow_transformer import (
    FlowTransformerBackbone,
    block_table,
)
from vdit.models.backbones.latents import Posterior
from vdit.models.backbones.open_sora_vae import OpenSoraVideoEncoder
from vdit.models.backbones.stdit3 import STDiT3
from vdit.models.backbones.unet3d import collect

MAX_FRAMES = 17


class OpenSoraBackbone(FlowTransformerBackbone):
    """Features of a frozen Open-Sora 1.2, 1, 5, 9, 13 or 17 frames a pass.

    Blocks: "block1".. = the tokens after the k-th pair of a spatial and a temporal block. 17
    frames, what the video encoder was trained on, give 5 feature frames. The null prompt is the
    learned caption of 300 tokens. All sentences of a batch have the same number of tokens: there
    is no mask, so leave pads out.

    Args:
        network: STDiT3, with or without its temporal blocks.
        vae: the video encoder.
        fps: frames a second of the video, which the network is told.
        posterior: latents are a sample of the video encoder's posterior or its mean; that of the
            image VAE inside is always taken at its mean, for the sake of `encode`.
        frames_per_pass: frames that the image VAE takes at once; bounds memory.

    Reference: Zheng et al., Open-Sora: Democratizing Efficient Video Production for All, 2024.
    """

    temporal = True  # without temporal blocks too: the video encoder joins frames
    clip_length = MAX_FRAMES
    frame_offset = 1
    frame_multiple = 4

    def __init__(
        self,
        network: STDiT3,
        vae: OpenSoraVideoEncoder,
        fps: float = 24.0,
        posterior: Posterior = "sample",
        frames_per_pass: int = 4,
    ) -> None:
        super().__init__()
        self.network = network
        self.vae = vae
        self.fps = fps
        self.posterior = posterior
        self.frames_per_pass = frames_per_pass
        self.text_dim = network.config.text_dim
        self.blocks = block_table(
            network.config.depth, network.config.hidden_size, temporal_stride=4
        )
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        return self.network.block_modules()

    def is_walked(self, module: nn.Module) -> bool:
        """See `Backbone.is_walked`: of the caption's embedding, the projection alone is run."""
        return super().is_walked(module) or hasattr(module, "y_proj")

    def encode(self, video: Tensor) -> Encoded:
        """Compute the latent posterior of a clip; see `Backbone.encode`."""
        self.check_video(video)
        if video.shape[1] > MAX_FRAMES:
            raise ValueError(
                f"expected at most {MAX_FRAMES} frames, got {video.shape[1]}; split the video"
            )
        with torch.no_grad():
            mean, logvar = self.vae(2 * video - 1, self.frames_per_pass)
        return Encoded(
            size=(video.shape[-2], video.shape[-1]),
            latent_mean=mean.float(),
            latent_logvar=logvar.float(),
        )

    def scale_latents(self, latents: Tensor) -> Tensor:
        """See `FlowTransformerBackbone.scale_latents`: shift and scale of each channel."""
        return self.vae.scale_latents(latents)

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
        null_text = self.network.y_embedder.y_embedding[None]
        text = self.joint_text(text, null_text, len(noisy))
        return collect(self.walk(noisy, time, text, encoded.size), blocks)

    def walk(
        self, noisy: Tensor, time: float, text: Tensor, size: tuple[int, int]
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield (block name, [B, T', C, h / 2, w / 2]) as soon as each pair of blocks is done.

        Args:
            noisy: [B, T', C, h, w] latents.
            time: what the network is told, 0..1000.
            text: [B, L, text_dim].
            size: (H, W) of the video in pixels.
        """
        B, _, _, h, w = noisy.shape
        times, rates = (torch.full((B,), each, device=noisy.device) for each in (time, self.fps))
        walk = self.network.walk(noisy.transpose(1, 2), times, text, rates, size, self.run)
        for name, tokens in walk:
            yield name, tokens.unflatten(2, (h // 2, w // 2)).movedim(-1, 2)


def timestep_shift(size: tuple[int, int], num_frames: int) -> float:
    """Give the shift of the table of levels that Open-Sora 1.2 samples with.

    For `FlowSchedule.shifted`. Larger and longer videos need more noise for the same loss of
    signal: the shift is 1 for one frame of 512 x 512 and grows with the side and with the root of
    the number of latent frames. The released code counts frames in whole clips of 17, so that
    shorter clips, which it never samples, would have no noise; latent frames are counted here.

    Args:
        size: (H, W) in pixels.
        num_frames: T of the video, at most 17.
    """
    steps = 1 + (num_frames - 1) // 4
    return math.sqrt(size[0] * size[1] / 512**2 * steps)
