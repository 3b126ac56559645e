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

from vdit.datasets.clip_making import RawClip, make_target, make_video, read_clip
from vdit.datasets.clip_recipe import ClipRecipe, ClipRules
from vdit.datasets.clip_sampling import choose_window, draw_frames
from vdit.datasets.photometric import ColorDraw, draw_color
from vdit.datasets.pseudo_video import make_pseudo_video
from vdit.datasets.referring import ReferringSample
from vdit.datasets.transforms import GeometryDraw, draw_geometry, swap_sides
from vdit.frame_sizes import output_size
from vdit.structures import Target, VideoBatch

__all__ = ["PADDING_COLOR", "ClipDataset", "ReferringClip", "collate_clips"]

PADDING_COLOR = (0.485, 0.456, 0.406)
"""ImageNet's mean: padding is zero once a network has normalized its input."""

_MOST_TRIES = 100


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
        mirrored: left and right changed places.
    """

    video: Tensor
    caption: str
    target: Target
    dataset: str
    video_id: str
    expression: str
    frame_indices: tuple[int, ...]
    mirrored: bool = False


class ClipDataset(Dataset[ReferringClip]):
    """Clips of one split, or of several that follow one recipe.

    An item is a sentence at an anchor frame, in the order of the samples. What is drawn depends on
    seed, epoch and index only, never on workers, processes or what was read before. As in the
    released code, an item whose clip shows none of its objects is replaced by a random other one;
    one whose sentence names nothing is kept. Of several objects, those that the clip does not show
    are left out of its target.

    Args:
        samples: sentences with truth.
        recipe: frames, sizes and random changes; None = the released training.
        seed: another seed draws otherwise.

    Raises:
        ValueError: no sample, or one without public truth.
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
        self._items = _list_items(samples, self.recipe.anchor_step or self.recipe.num_frames)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, key: tuple[int, int]) -> ReferringClip:
        """Make the clip of (epoch, index), index in 0..len-1, the same whenever it is asked for."""
        epoch, index = key
        self._check_index(index)
        return self.make_clip(index, np.random.default_rng((self.seed, epoch, index)))

    def make_clip(self, index: int, rng: np.random.Generator) -> ReferringClip:
        """Make a clip of an item.

        Args:
            index: of the item, in 0..len-1.
            rng: source of all draws.

        Raises:
            IndexError: there is no such item.
            ValueError: a file is missing or damaged, or no clip of 100 items shows an object.
        """
        self._check_index(index)
        for _ in range(_MOST_TRIES):
            number, anchor = self._items[index].tolist()
            clip = self._try_item(self.samples[number], anchor, rng)
            if clip is not None:
                return clip
            index = int(rng.integers(len(self)))
        raise ValueError(
            f"none of {_MOST_TRIES} clips of {self.samples[0].dataset} shows an object; look at "
            "its masks with `vdit data check`"
        )

    def _check_index(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} is not in a data set of {len(self)}")

    def _try_item(
        self, sample: ReferringSample, anchor: int, rng: np.random.Generator
    ) -> ReferringClip | None:
        recipe, rules = self.recipe, self.recipe.rules(sample.dataset)
        if rules.source == "video" and recipe.augment:
            if recipe.pseudo_video.is_too_thin(sample.size):
                return None
            frames = [0] * rules.num_frames
            raw = _view_picture(sample, rng, rules.num_frames, recipe)
        else:
            frames = self._choose_frames(sample, anchor, rng, rules)
            raw = read_clip(sample, frames)
        geometry, colors = self._draw(raw, rng, rules)
        target = make_target(raw, geometry, rules, is_checked=recipe.augment)
        if recipe.augment and sample.object_ids:
            seen = target.valid.any(dim=1)
            if not seen.any():
                return None
            target.boxes_cxcywh, target.valid = target.boxes_cxcywh[seen], target.valid[seen]
            target.masks = target.masks[seen]
        caption = sample.caption
        return ReferringClip(
            video=make_video(raw.pictures, geometry, colors, rules),
            caption=swap_sides(caption, rules.sides) if geometry.flip else caption,
            target=target,
            dataset=sample.dataset,
            video_id=sample.video,
            expression=sample.expression,
            frame_indices=tuple(frames),
            mirrored=geometry.flip,
        )

    def _choose_frames(
        self, sample: ReferringSample, anchor: int, rng: np.random.Generator, rules: ClipRules
    ) -> list[int]:
        length = len(sample.frame_names)
        if self.recipe.augment:
            return draw_frames(rng, length, anchor, rules.num_frames, rules.frames, rules.reverse)
        is_centered = sample.labelled is not None
        return choose_window(length, anchor, rules.num_frames, is_centered)

    def _draw(
        self, raw: RawClip, rng: np.random.Generator, rules: ClipRules
    ) -> tuple[GeometryDraw, list[ColorDraw] | None]:
        if not self.recipe.augment:
            size = output_size(raw.size, self.recipe.short_side, self.recipe.max_side)
            return GeometryDraw(size), None
        options = rules.augmentation
        geometry = draw_geometry(rng, raw.size, options, flip_first=rules.color_first)
        if options.color is None:
            return geometry, None
        count = len(raw.pictures)
        if rules.colors == "clip":
            return geometry, [draw_color(rng, options.color)] * count
        return geometry, [draw_color(rng, options.color) for _ in range(count)]


def _list_items(samples: Sequence[ReferringSample], step: int) -> np.ndarray:
    """Number of the sample and anchor of each item, [I, 2]."""
    items: list[tuple[int, int]] = []
    for number, sample in enumerate(samples):
        if not sample.has_truth:
            raise ValueError(
                f"{sample.dataset} {sample.split} has no public masks, which clips need; use a "
                "split with truth"
            )
        anchors = sample.labelled or range(0, len(sample.frame_names), step)
        items += [(number, anchor) for anchor in anchors]
    if not items:
        raise ValueError("no sample with a frame was given, expected at least one")
    return np.array(items)


def _view_picture(
    sample: ReferringSample, rng: np.random.Generator, count: int, recipe: ClipRecipe
) -> RawClip:
    picture = sample.pictures([0])[0]
    mask = sample.masks([0])[0, 0]
    pictures, masks = make_pseudo_video(rng, picture, mask, count, recipe.pseudo_video)
    return RawClip(pictures, masks[None])


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
    color = torch.tensor(PADDING_COLOR).view(3, 1, 1)
    video = torch.empty(B, T, 3, height, width)
    padding_mask = torch.ones(B, height, width, dtype=torch.bool)
    targets = []
    for b, (clip, (h, w)) in enumerate(zip(clips, sizes, strict=True)):
        video[b, ..., :h, :w] = clip.video
        video[b, ..., :h, w:] = color
        video[b, ..., h:, :] = color
        padding_mask[b, :h, :w] = False
        true = clip.target
        masks = true.masks.new_zeros((*true.masks.shape[:2], height, width))
        masks[..., :h, :w] = true.masks
        targets.append(Target(true.boxes_cxcywh, masks, true.valid, true.size, true.labelled))
    batch = VideoBatch(video, padding_mask, sizes)
    return batch, [clip.caption for clip in clips], targets
