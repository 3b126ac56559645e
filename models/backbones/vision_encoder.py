"""Backbones that see pixels alone: no text, no conditioning image, no noise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vdit.models.backbones.base import Backbone, BlockInfo, Encoded, Noise, refuse_conditions
from vdit.models.image_encoder import IMAGENET_MEAN, IMAGENET_STD

RGB = tuple[float, float, float]


class VisionEncoder(Backbone):
    """A network that takes normalized frames and nothing else: no text, image, timestep or noise.

    `encode` resizes and normalizes the frames; `extract` runs the network on them. Any height and
    width works. Nothing is drawn, so that `generator` changes nothing.

    Args:
        mean: what is subtracted from R, G, B in 0..1.
        std: what they are divided by afterwards.
    """

    def __init__(self, mean: RGB = IMAGENET_MEAN, std: RGB = IMAGENET_STD) -> None:
        super().__init__()
        self.mean = mean
        self.std = std

    @abstractmethod
    def compute(self, frames: Tensor, blocks: Sequence[str]) -> dict[str, Tensor]:
        """Run the network on normalized frames [B, T, 3, H, W] up to the last wanted block.

        Returns:
            block name -> [B, T', C, h, w].
        """

    def resize(self, frames: Tensor) -> Tensor:
        """Bring frames [N, 3, H, W] in 0..1 to a size that the network takes."""
        return frames

    def encode(self, video: Tensor) -> Encoded:
        """Resize and normalize; the frames stand in `Encoded.latent_mean` in float32.

        Args:
            video: [B, T, 3, H, W] in 0..1.
        """
        self.check_video(video)
        device = next(self.parameters()).device
        frames = self.resize(video.flatten(0, 1).to(device, torch.float32))
        mean, std = (frames.new_tensor(color).view(3, 1, 1) for color in (self.mean, self.std))
        normalized = ((frames - mean) / std).unflatten(0, video.shape[:2])
        return Encoded(size=(video.shape[-2], video.shape[-1]), latent_mean=normalized)

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
        """See `Backbone.extract`; timestep, text, image and noise must be None.

        Raises:
            ValueError: also where one of these is given.
        """
        self.check_blocks(blocks)
        refuse_conditions(timestep=timestep, text=text, image=image, noise=noise)
        if isinstance(video, Tensor):
            video = self.encode(video)
        self.check_video(video.latent_mean)
        weight = next(self.parameters())
        return self.compute(video.latent_mean.to(weight), blocks)


def transformer_blocks(
    depth: int, channels: int, stride: int, temporal_stride: int = 1
) -> dict[str, BlockInfo]:
    """Name the maps of a plain transformer: "block1".."blockN", and "last" after its norm."""
    names = [*(f"block{i + 1}" for i in range(depth)), "last"]
    return dict.fromkeys(names, BlockInfo(channels, stride, temporal_stride))


def nearest_multiple(length: int, multiple: int) -> int:
    """Give the positive multiple nearest to a length; a tie goes up."""
    return max(1, (2 * length + multiple) // (2 * multiple)) * multiple


def resize_to_multiple(frames: Tensor, multiple: int) -> Tensor:
    """Resize frames [N, 3, H, W] bilinearly to the nearest multiples of a patch size."""
    height, width = frames.shape[-2:]
    size = (nearest_multiple(height, multiple), nearest_multiple(width, multiple))
    if size == (height, width):
        return frames
    return F.interpolate(frames, size=size, mode="bilinear", align_corners=False)
