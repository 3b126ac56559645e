"""From frames to what all sentences share: resized and padded pixels, and their encoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vdit.frame_sizes import output_size
from vdit.measure import Stopwatch
from vdit.models.backbones.base import Encoded
from vdit.models.image_encoder import IMAGENET_MEAN
from vdit.models.vdit import VDIT
from vdit.segment_frames import resize_frame
from vdit.segment_options import PAD_MULTIPLE
from vdit.structures import VideoBatch


class EncodingSource(Protocol):
    """Encodings of one video that were computed before."""

    def read(self, indices: Sequence[int]) -> Encoded:
        """Encodings of frames by number, [1, T, ...], as `Backbone.encode` returns them."""


@dataclass(frozen=True)
class ClipEncoder:
    """Bring frames to the model's size and encode them.

    Attributes:
        model: VD-IT in eval mode.
        short_side: pixels of the short side that the model sees.
        long_side: pixels that the long side may have; None = any number.
        seed: of the latents' noise.
        stopwatch: told what the time went into.
        source: where encodings are read instead of computed.
    """

    model: VDIT
    short_side: int
    long_side: int | None
    seed: int
    stopwatch: Stopwatch
    source: EncodingSource | None = None

    @property
    def device(self) -> torch.device:
        return next(self.model.head.parameters()).device

    def batch(self, images: Sequence[np.ndarray]) -> VideoBatch:
        """Make one clip of frames [H, W, 3] uint8; without pixels where they are not needed."""
        height, width = images[0].shape[:2]
        size = output_size((height, width), self.short_side, self.long_side)
        with self.stopwatch.measure("resize"):
            if self.source is None:
                frames = np.stack([resize_frame(image, size) for image in images])
                video = pad_frames(torch.from_numpy(frames).to(self.device))
            else:
                H, W = padded_size(size)
                video = torch.empty(len(images), 0, H, W, device=self.device)
            padding_mask = torch.ones(1, *video.shape[-2:], dtype=torch.bool, device=self.device)
            padding_mask[:, : size[0], : size[1]] = False
        return VideoBatch(video[None], padding_mask, [size])

    def encode(self, batch: VideoBatch, numbers: Sequence[int], first: int = 0) -> Encoded:
        """Encode frames of a clip, and draw their latents' noise.

        The noise depends on the seed and a frame's number only, not on the clip around it.

        Args:
            batch: one clip.
            numbers: of the wanted frames in their video.
            first: position of the first of them in the clip; the others follow.

        Raises:
            ValueError: stored encodings are of another size.
        """
        if self.source is None:
            encoded = self.model.encode(batch.video[:, first : first + len(numbers)])
        else:
            encoded = self.source.read(numbers).to(self.device)
            size = (batch.video.shape[-2], batch.video.shape[-1])
            if encoded.size != size:
                raise ValueError(
                    f"stored encodings are of {encoded.size[0]}x{encoded.size[1]} pixels, expected "
                    f"{size[0]}x{size[1]}; run `vdit cache` for this size"
                )
        shape = encoded.latent_mean.shape[2:]
        noise = [
            torch.randn(shape, generator=seeded_generator(self.seed, number, "cpu"))
            for number in numbers
        ]
        encoded.posterior_noise = torch.stack(noise)[None].to(self.device)
        return encoded


def padded_size(size: tuple[int, int], multiple: int = PAD_MULTIPLE) -> tuple[int, int]:
    """Round (height, width) up to a multiple."""
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def pad_frames(frames: Tensor, multiple: int = PAD_MULTIPLE) -> Tensor:
    """Pad frames at the bottom and the right with ImageNet's mean color.

    Args:
        frames: [T, H, W, 3] uint8.
        multiple: of which height and width become multiples.

    Returns:
        [T, 3, H', W'] float32 in 0..1.
    """
    video = frames.permute(0, 3, 1, 2).float() / 255
    height, width = video.shape[-2:]
    mean = video.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    padded = mean.expand(len(video), 3, *padded_size((height, width), multiple)).clone()
    padded[..., :height, :width] = video
    return padded


def seeded_generator(seed: int, index: int, device: torch.device | str) -> torch.Generator:
    """Seed a generator by the run and a frame, so that results do not depend on the windows."""
    mixed = np.random.SeedSequence((seed, index)).generate_state(1, np.uint32)[0]
    return torch.Generator(device).manual_seed(int(mixed))
