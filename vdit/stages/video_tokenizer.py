"""WALT, stage 1: the causal video tokenizer whose latents the transformer lives on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vdit.backbone_loading.walt import save_video_tokenizer
from vdit.models.backbones.walt_tokenizer import TOKENIZER_SIZES, VideoTokenizer
from vdit.stages.clips import ClipConfig, ClipExample, collate_examples, videos_of
from vdit.stages.mixed_clips import MixedClips
from vdit.stages.reconstruction import (
    normal_divergence,
    peak_signal_to_noise,
    pictures_of,
    random_crop,
    reconstruction_losses,
)
from vdit.training.distributed import Processes
from vdit.training.engine import RunConfig, Stage
from vdit.visualize import contact_sheet

PART = "video_tokenizer"
"""Where the tokenizer lies in the model folder."""
START_LOGVAR = -5.0
"""Log-variance of the untrained posterior: with more noise the first steps learn nothing."""
SHOWN = 2
TRAINING_SEED, HELD_OUT_SEED = 21, 22


@dataclass(frozen=True)
class VideoTokenizerTraining:
    """Training of the tokenizer.

    Attributes:
        run: steps, rates.
        data: clips of 1 + 4 n frames.
        recipes: of the clips, in turn; none = that of `data`.
        size: "tiny" or "L", see `vdit.models.backbones.walt_tokenizer.TOKENIZER_SIZES`.
        joins_frames: False = a VAE of single frames.
        crop: side of the squares that are trained on, in pixels.
        crops: squares of each clip; drawing a clip takes longer than learning one square of it.
        kl: weight of the divergence from the normal distribution.
        edges: weight of the L1 distance of neighboring pixels' differences.
        held_out: clips that PSNR is measured on, and that latents are normalized by.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: ClipConfig = field(default_factory=ClipConfig)
    recipes: list[str] = field(default_factory=list)
    size: Literal["tiny", "L"] = "tiny"
    joins_frames: bool = True
    crop: int = 48
    crops: int = 1
    kl: float = 1e-6
    edges: float = 1.0
    held_out: int = 16


class VideoTokenizerStage(Stage):
    """The losses of the image autoencoder on clips, and on their first frames alone by the way.

    Args:
        config: of the stage.
        folder: the model folder.
    """

    def __init__(self, config: VideoTokenizerTraining, folder: Path) -> None:
        self.config = config
        self.folder = folder
        torch.manual_seed(config.run.seed)
        sizes = replace(TOKENIZER_SIZES[config.size], joins_frames=config.joins_frames)
        if config.crop % sizes.stride or (config.data.frames - 1) % sizes.frame_multiple:
            raise ValueError(
                f"expected a crop in multiples of {sizes.stride} and 1 + {sizes.frame_multiple} n "
                f"frames, got crop {config.crop} and {config.data.frames} frames"
            )
        self.tokenizer = VideoTokenizer(sizes)
        bias = self.tokenizer.encoder.leave.conv.bias
        assert bias is not None
        nn.init.constant_(bias[sizes.latent_channels :], START_LOGVAR)
        self.modules = self.tokenizer
        self.data = MixedClips(config.data, config.recipes, TRAINING_SEED)
        self.collate = collate_examples
        self.device = torch.device("cpu")

    def move(self, device: torch.device) -> None:
        self.device = device
        self.tokenizer.to(device)

    def losses(self, batch: list[ClipExample]) -> dict[str, Tensor]:
        """Encode and decode random squares of the clips; see `reconstruction_losses`."""
        clips = self._pixels(batch)
        pixels = torch.cat([random_crop(clips, self.config.crop) for _ in range(self.config.crops)])
        mean, logvar = self.tokenizer.encode(pixels)
        mean, logvar = mean.float(), logvar.float()
        latents = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        output = self.tokenizer.decode(latents).float()
        divergence = normal_divergence(mean.flatten(0, 1), logvar.flatten(0, 1))
        return reconstruction_losses(output, pixels, divergence, self.config.edges, self.config.kl)

    def validate(self, processes: Processes) -> dict[str, float]:
        """Measure PSNR in dB of clips, and of single frames that are encoded alone."""
        chosen = range(self.config.held_out)[processes.rank :: processes.world_size]
        sums = [0.0, 0.0]
        for pixels in self._held_out(chosen):
            sums[0] += float(peak_signal_to_noise(self._round_trip(pixels), pixels))
            last = pixels[:, -1:]
            sums[1] += float(peak_signal_to_noise(self._round_trip(last), last))
        clips, frames, count = processes.sum(*sums, len(chosen))
        return {"psnr_clips": clips / count, "psnr_frames": frames / count}

    def draw_samples(self, folder: Path) -> None:
        """Draw every fourth frame of two clips above what comes out."""
        pictures: list[np.ndarray] = []
        for pixels in self._held_out(range(SHOWN)):
            for video in (pixels, self._round_trip(pixels)):
                pictures += pictures_of(video[0, ::4])
        sheet = contact_sheet(pictures, columns=len(pictures) // (2 * SHOWN))
        Image.fromarray(sheet).save(folder / "clips.png")

    def export(self) -> None:
        """Write the tokenizer; its statistics give latents of zero mean and unit variance."""
        found = [
            self.tokenizer.encode(pixels)[0].float().flatten(0, 1).transpose(0, 1).flatten(1)
            for pixels in self._held_out(range(self.config.held_out))
        ]
        values = torch.cat(found, dim=1)
        self.tokenizer.shift.copy_(values.mean(dim=1))
        self.tokenizer.scale.copy_(values.std(dim=1))
        save_video_tokenizer(self.folder / PART, self.tokenizer)

    def _round_trip(self, pixels: Tensor) -> Tensor:
        return self.tokenizer.decode(self.tokenizer.encode(pixels)[0]).float()

    def _held_out(self, chosen: range) -> list[Tensor]:
        """Clips [1, T, 3, H, W] in -1..1 that are not trained on."""
        clips = MixedClips(self.config.data, self.config.recipes, HELD_OUT_SEED)
        return [self._pixels([clips[i]]) for i in chosen]

    def _pixels(self, batch: list[ClipExample]) -> Tensor:
        return 2 * videos_of(batch).to(self.device) - 1
