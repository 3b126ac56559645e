"""Encodings of training clips, read from disk instead of computed.

Stored encodings are of whole frames at one size, and of their mirror images. Recipes that draw
anything else of the pixels (sizes, windows, colors, views of a picture) are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from vdit.datasets.clip_dataset import ReferringClip, collate_clips
from vdit.datasets.clip_mix import DatasetEntry
from vdit.datasets.clip_recipe import ClipRecipe
from vdit.encoding_cache import CacheRecipe, EncodingCache, describe_encoder
from vdit.models.backbones.base import Backbone, Encoded
from vdit.structures import Target, VideoBatch

TRAINING_MULTIPLE = 32
"""Of which the padded sides of training clips are multiples."""


@dataclass
class EncodedVideoBatch(VideoBatch):
    """A batch of clips and what the backbone makes of them.

    Attributes:
        encoded: [B, T, ...].
    """

    encoded: Encoded

    def to(self, device: torch.device | str) -> EncodedVideoBatch:
        """Move everything but the pixels, which nothing needs any more."""
        return EncodedVideoBatch(
            self.video, self.padding_mask.to(device), self.sizes, self.encoded.to(device)
        )


class ClipEncodings:
    """Caches of the data sets that clips are made of.

    Args:
        folders: that `vdit cache` filled, one for each data set.
        entries: the data sets.
        recipe: how clips are made of them.
        backbone: what would encode them.

    Raises:
        ValueError: the recipe changes pixels in a way that no encoding is stored for; a data set
            has no cache, or its cache is of another encoder, size or split.
    """

    def __init__(
        self,
        folders: Sequence[str],
        entries: Sequence[DatasetEntry],
        recipe: ClipRecipe,
        backbone: Backbone,
    ) -> None:
        caches = [EncodingCache(folder) for folder in folders]
        by_name = {cache.recipe.dataset: cache for cache in caches}
        encoder = describe_encoder(backbone)
        self.caches: dict[str, EncodingCache] = {}
        for entry in entries:
            short_side, long_side, mirrored = expressible_size(recipe, entry.name)
            if entry.name not in by_name:
                raise ValueError(
                    f"expected stored encodings of {entry.name}, found only those of "
                    f"{', '.join(by_name) or 'no data set'}; write them with `vdit cache`"
                )
            cache = by_name[entry.name]
            cache.check(
                CacheRecipe(
                    dataset=entry.name,
                    split=entry.split,
                    short_side=short_side,
                    long_side=long_side,
                    multiple=TRAINING_MULTIPLE,
                    encoder=encoder,
                )
            )
            if mirrored and not cache.recipe.mirrored:
                raise ValueError(
                    f"the recipe mirrors clips, and {cache.folder} holds no mirror images; run "
                    "`vdit cache` with --mirrored, or set flip_probability=0"
                )
            self.caches[entry.name] = cache

    def read(self, clips: Sequence[ReferringClip]) -> Encoded:
        """Read what the backbone makes of B clips: [B, T, ...].

        Raises:
            ValueError: a frame is not stored, or clips differ in size or length.
        """
        parts = [
            (self.caches[clip.dataset], (clip.video_id, clip.frame_indices, clip.mirrored))
            for clip in clips
        ]
        caches = {id(cache): cache for cache, _ in parts}
        if len(caches) > 1:
            raise ValueError(
                "expected the clips of a batch to be of one data set, got "
                f"{', '.join(sorted({clip.dataset for clip in clips}))}; use one clip a batch"
            )
        return parts[0][0].read_clips([place for _, place in parts])

    def collate(
        self, clips: Sequence[ReferringClip]
    ) -> tuple[EncodedVideoBatch, list[str], list[Target]]:
        """Do as `collate_clips`, and read the encodings; DataLoader's workers can."""
        batch, captions, targets = collate_clips(clips, TRAINING_MULTIPLE)
        encoded = self.read(clips)
        if encoded.size != tuple(batch.video.shape[-2:]):
            raise ValueError(
                f"stored encodings are of {encoded.size[0]}x{encoded.size[1]} pixels, the batch is "
                f"of {batch.video.shape[-2]}x{batch.video.shape[-1]}; use one clip a batch"
            )
        return (
            EncodedVideoBatch(batch.video, batch.padding_mask, batch.sizes, encoded),
            captions,
            targets,
        )


def expressible_size(recipe: ClipRecipe, dataset: str) -> tuple[int, int, bool]:
    """Give the short side, the long side and whether clips are mirrored, if that is all.

    Raises:
        ValueError: the recipe draws more; the sentence names it.

    >>> expressible_size(ClipRecipe(augment=False), "ref-youtube-vos")
    (360, 640, False)
    """
    if not recipe.augment:
        return recipe.short_side, recipe.max_side, False
    rules = recipe.rules(dataset)
    options = rules.augmentation
    refuse = partial(_refuse, dataset)
    if rules.source == "video":
        refuse("random views of a picture", "data.recipe.pictures=still")
    is_picture = options is recipe.picture_augmentation
    where = f"data.recipe.{'picture_augmentation' if is_picture else 'augmentation'}"
    if options.crop_probability > 0:
        windows = f"windows (crop_probability={options.crop_probability})"
        refuse(windows, f"{where}.crop_probability=0")
    if len(options.short_sides) != 1:
        refuse(f"one of {len(options.short_sides)} sizes", f"{where}.short_sides=[360]")
    if options.color is not None:
        refuse("changes of color", f"{where}.color=null")
    return options.short_sides[0], options.max_side, options.flip_probability > 0


def _refuse(dataset: str, what: str, change: str) -> None:
    raise ValueError(
        f"stored encodings cannot express the clips of {dataset}: the recipe draws {what}; set "
        f"{change}, or train without a cache"
    )
