"""Stage 3: the VAE whose latents the diffusion model lives on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vdit.stages.clips import (
    ClipConfig,
    ClipExample,
    TrainingClips,
    collate_examples,
    videos_of,
)
from vdit.stages.parts import fresh_networks, save_part
from vdit.stages.reconstruction import random_crop, reconstruction_losses
from vdit.stages.stored_clips import open_clips
from vdit.training.engine import RunConfig, Stage
from vdit.visualize import contact_sheet

NUM_SAMPLES = 8
START_LOGVAR = -5.0
"""Log-variance of the untrained posterior: with more noise the first steps learn nothing."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """Stage 3.

    Attributes:
        run: steps, rates.
        data: clips; all frames are used.
        crop: side of the squares that are trained on, in pixels.
        kl: weight of the divergence from the normal distribution.
        edges: weight of the L1 distance of neighboring pixels' differences.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: ClipConfig = field(default_factory=ClipConfig)
    crop: int = 64
    kl: float = 1e-6
    edges: float = 1.0


class AutoencoderStage(Stage):
    """L1 reconstruction of frames, of their edges, and a weak divergence.

    Args:
        config: of the stage.
        folder: the model folder.
    """

    def __init__(self, config: AutoencoderConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.vae: Any = fresh_networks(folder, config.run.seed)["vae"]
        nn.init.constant_(self.vae.quant_conv.bias[self.vae.config.latent_channels :], START_LOGVAR)
        self.modules = self.vae.to(memory_format=torch.channels_last)
        self.data = open_clips(config.data, folder, seed=2)
        self.collate = collate_examples

    def losses(self, batch: list[ClipExample]) -> dict[str, Tensor]:
        frames = random_crop(2 * videos_of(batch).flatten(0, 1) - 1, self.config.crop)
        posterior = self.vae.encode(frames).latent_dist
        output = self.vae.decode(posterior.sample()).sample
        divergence = posterior.kl().mean()
        return reconstruction_losses(output, frames, divergence, self.config.edges, self.config.kl)

    def draw_samples(self, folder: Path) -> None:
        frames = self._held_out()
        output = self.vae.decode(self.vae.encode(frames).latent_dist.mode()).sample
        pairs = torch.stack([frames, output], dim=1).flatten(0, 1)
        pictures = ((pairs.clamp(-1, 1) + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()
        Image.fromarray(contact_sheet(list(pictures), columns=4)).save(folder / "frames.png")

    def export(self) -> None:
        """Write the VAE; its scaling factor gives latents of unit variance."""
        means = self.vae.encode(self._held_out()).latent_dist.mode()
        self.vae.register_to_config(scaling_factor=round(float(1 / means.std()), 4))
        save_part(self.vae, self.folder, "vae")

    def _held_out(self) -> Tensor:
        """Frames [N, 3, H, W] in -1..1 that are not trained on."""
        clips = TrainingClips(self.config.data, seed=3)
        return 2 * torch.stack([clips[i].video[0] for i in range(NUM_SAMPLES)]).float() / 255 - 1
