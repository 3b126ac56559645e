"""Several data sets trained on together, at stated ratios."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from vdit.datasets.clip_dataset import ClipDataset, ReferringClip
from vdit.datasets.clip_recipe import ClipRecipe
from vdit.datasets.referring_datasets import REFERRING_DATASETS

__all__ = ["DataConfig", "DatasetEntry", "DatasetMix", "load_clips"]


@dataclass(frozen=True)
class DatasetEntry:
    """One data set of a mix.

    Attributes:
        name: of `vdit.datasets.referring_datasets`, such as "ref-youtube-vos".
        root: its folder.
        split: part of it.
        repeat: times that an epoch goes through it, where `epoch_size` of the mix is None.
        weight: share of an epoch relative to the other entries, where `epoch_size` is stated.
    """

    name: str
    root: str
    split: str = "train"
    repeat: int = 1
    weight: float = 1.0


@dataclass(frozen=True)
class DataConfig:
    """What is trained on.

    Attributes:
        datasets: those of the mix.
        recipe: how clips are made of them.
        epoch_size: clips of an epoch, shared out by the weights; None = every item of every data
            set, as often as its `repeat` says.
    """

    datasets: list[DatasetEntry] = field(default_factory=list)
    recipe: ClipRecipe = field(default_factory=ClipRecipe)
    epoch_size: int | None = None


class DatasetMix(Dataset[ReferringClip]):
    """Clips of several data sets; an epoch holds each at its stated share.

    Args:
        parts: the data sets.
        entries: their ratios, as many as `parts`.
        epoch_size: see `DataConfig`.
        seed: another seed draws otherwise.
    """

    def __init__(
        self,
        parts: list[ClipDataset],
        entries: list[DatasetEntry],
        epoch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        self.parts = parts
        self.entries = entries
        self.seed = seed
        self.counts = [len(p) * entry.repeat for p, entry in zip(parts, entries, strict=True)]

    def __len__(self) -> int:
        return sum(self.counts)

    def __getitem__(self, key: tuple[int, int]) -> ReferringClip:
        """Make the clip of (epoch, index), index in 0..len-1, the same whenever it is asked for."""
        epoch, index = key
        part, item = self.locate(epoch, index)
        return self.parts[part].make_clip(item, np.random.default_rng((self.seed, epoch, index)))

    def locate(self, epoch: int, index: int) -> tuple[int, int]:
        """Find the part, and the item in it, that `index` stands for in an epoch."""
        raise NotImplementedError


def load_clips(config: DataConfig, seed: int = 0) -> DatasetMix:
    """Read the lists of all data sets of a mix; pictures are opened later.

    Raises:
        ValueError: no data set, an unknown name or split, a missing list, or a ratio out of range.
    """
    parts = []
    for entry in config.datasets:
        dataset = REFERRING_DATASETS[entry.name].read(Path(entry.root), entry.split)
        parts.append(ClipDataset(dataset, config.recipe, seed))
    return DatasetMix(parts, list(config.datasets), config.epoch_size, seed)
