"""Clips of referring data sets for training: a few frames, a sentence, and what it names.

Axes: B clips, T frames, N objects, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vdit.datasets.clip_recipe import ClipRecipe
from vdit.datasets.referring import ReferringSample
from vdit.structures import Target, VideoBatch

__all__ = ["PADDING_COLOR", "ClipDataset", "ReferringClip", "collate_clips"]

PADDING_COLOR = (0.485, 0.456, 0.406)
"""ImageNet's mean: padding is zero once a network has normalized its input."""


@dataclass
class ReferringClip:
    """One sentence about a few frames of a video.

    Attributes:
        video: [T, 3, H, W] float32 in 0..1.
        caption: the sentence in lower case with single spaces, sides swapped if it was mirrored.
        target: the N objects that it names and these frames show; N = 0 if it names nothing.
        dataset: name of the data set.
        video_id: id of the video.
        expression: id of the sentence within its video.
        frame_indices: T positions of the frames in the video.
    """

    video: Tensor
    caption: str
    target: Target
    dataset: str
    video_id: str
    expression: str
    frame_indices: tuple[int, ...]


class ClipDataset(Dataset[ReferringClip]):
    """Clips of one split, or of several that follow one recipe.

    An item is a sentence at an anchor frame, in the order of the samples. What is drawn depends on
    seed, epoch and index only, never on workers, processes or what was read before.

    Args:
        samples: sentences with truth.
        recipe: frames, sizes and random changes; None = the released training.
        seed: another seed draws otherwise.

    Raises:
        ValueError: no sample, one without public truth, or a recipe out of range.
    """

    def __init__(
        self,
        samples: Sequence[ReferringSample],
        recipe: ClipRecipe | None = None,
        seed: int = 0,
    ) -> None:
        self.samples = samples
        self.recipe = recipe or ClipRecipe()
        self.seed = seed
        step = self.recipe.anchor_step or self.recipe.num_frames
        self._items = np.array(
            [
                (number, anchor)
                for number, sample in enumerate(samples)
                for anchor in sample.labelled or range(0, len(sample.frame_names), step)
            ]
        )

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, key: tuple[int, int]) -> ReferringClip:
        """Make the clip of (epoch, index), index in 0..len-1, the same whenever it is asked for."""
        epoch, index = key
        return self.make_clip(index, np.random.default_rng((self.seed, epoch, index)))

    def make_clip(self, index: int, rng: np.random.Generator) -> ReferringClip:
        """Make a clip of the item `index`, with draws from `rng`."""
        raise NotImplementedError


def collate_clips(
    clips: Sequence[ReferringClip], multiple: int = 32
) -> tuple[VideoBatch, list[str], list[Target]]:
    """Pad clips at the bottom and the right to one size.

    Args:
        clips: B clips of T frames each.
        multiple: of both sides of the batch, in pixels.

    Returns:
        The batch, its B sentences, and B targets whose masks are padded like the videos.

    Raises:
        ValueError: no clip, or clips of different length.
    """
    lengths = {len(clip.video) for clip in clips}
    if len(lengths) != 1:
        raise ValueError(
            f"expected clips of one length, got {sorted(lengths)} frames; do not mix single "
            "pictures and videos"
        )
    sizes = [(int(clip.video.shape[-2]), int(clip.video.shape[-1])) for clip in clips]
    height, width = (-(-max(sides) // multiple) * multiple for sides in zip(*sizes, strict=True))
    B, T = len(clips), lengths.pop()
    color = torch.tensor(PADDING_COLOR).view(1, 1, 3, 1, 1)
    video = color.expand(B, T, 3, height, width).clone()
    padding_mask = torch.ones(B, height, width, dtype=torch.bool)
    targets = []
    for b, (clip, (h, w)) in enumerate(zip(clips, sizes, strict=True)):
        video[b, ..., :h, :w] = clip.video
        padding_mask[b, :h, :w] = False
        true = clip.target
        masks = true.masks.new_zeros((*true.masks.shape[:2], height, width))
        masks[..., :h, :w] = true.masks
        targets.append(Target(true.boxes_cxcywh, masks, true.valid, true.size, true.labelled))
    batch = VideoBatch(video, padding_mask, sizes)
    return batch, [clip.caption for clip in clips], targets
