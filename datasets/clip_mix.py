"""Several data sets trained on together, at stated ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from vdit.datasets.clip_dataset import ClipDataset, ReferringClip
from vdit.datasets.clip_recipe import ClipRecipe
from vdit.datasets.referring_datasets import REFERRING_DATASETS

__all__ = ["DataConfig", "DatasetEntry", "DatasetMix", "load_clips", "share_out"]


@dataclass(frozen=True)
class DatasetEntry:
    """One data set of a mix.

    Attributes:
        name: of `vdit.datasets.referring_datasets`, such as "ref-youtube-vos".
        root: its folder.
        split: part of it.
        repeat: times that an epoch goes through it, where the mix has no `epoch_size`.
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
    """Clips of several data sets; every epoch holds each at its stated share.

    Without `epoch_size`, an epoch is one data set after the other, each as often as it is repeated.
    With it, the shares are as near to the weights as whole clips allow; each data set is gone
    through in random order, and an epoch goes on where the one before it stopped, so that no item
    comes up again before all others have.

    Args:
        parts: the data sets.
        entries: their ratios, as many as `parts`.
        epoch_size: see `DataConfig`.
        seed: another seed draws otherwise.

    Raises:
        ValueError: no part, a ratio or size out of range, or an epoch without clips.
    """

    def __init__(
        self,
        parts: Sequence[ClipDataset],
        entries: Sequence[DatasetEntry],
        epoch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        if not parts:
            raise ValueError("datasets is empty, expected at least one entry with name and root")
        _check_ratios(entries, epoch_size)
        self.parts = tuple(parts)
        self.entries = tuple(entries)
        self.epoch_size = epoch_size
        self.seed = seed
        self.counts = self._count_clips()
        """Clips of each part in an epoch."""
        self._starts = np.cumsum([0, *self.counts])
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def _count_clips(self) -> tuple[int, ...]:
        if self.epoch_size is None:
            pairs = zip(self.parts, self.entries, strict=True)
            return tuple(len(part) * entry.repeat for part, entry in pairs)
        return share_out(self.epoch_size, [entry.weight for entry in self.entries])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, key: tuple[int, int]) -> ReferringClip:
        """Make the clip of (epoch, index), index in 0..len-1, the same whenever it is asked for."""
        epoch, index = key
        part, item = self.locate(epoch, index)
        return self.parts[part].make_clip(item, np.random.default_rng((self.seed, epoch, index)))

    def locate(self, epoch: int, index: int) -> tuple[int, int]:
        """Find the part, and the item in it, that `index` stands for in an epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} is not in an epoch of {len(self)}")
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        place, length = index - int(self._starts[part]), len(self.parts[part])
        if self.epoch_size is None:
            return part, place % length
        passes, place = divmod(epoch * self.counts[part] + place, length)
        return part, int(self._order(part, passes)[place])

    def _order(self, part: int, passes: int) -> np.ndarray:
        """Random order of a part's items, another in each pass; that of two passes is kept."""
        key = (part, passes)
        if key not in self._orders:
            for old in [k for k in self._orders if k[0] == part and abs(k[1] - passes) > 1]:
                del self._orders[old]
            rng = np.random.default_rng((self.seed, part, passes, len(self.parts)))
            self._orders[key] = rng.permutation(len(self.parts[part]))
        return self._orders[key]


def share_out(total: int, weights: Sequence[float]) -> tuple[int, ...]:
    """Divide whole clips by weights; what is left over goes to the largest remainders.

    >>> share_out(10, [1.0, 1.0, 2.0])
    (3, 2, 5)
    """
    exact = total * np.asarray(weights, dtype=float) / np.sum(weights)
    counts = np.floor(exact).astype(int)
    left = total - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1
    return tuple(counts.tolist())


def _check_ratios(entries: Sequence[DatasetEntry], epoch_size: int | None) -> None:
    for entry in entries:
        if entry.repeat < 1 or entry.weight <= 0:
            raise ValueError(
                f"{entry.name} has repeat={entry.repeat} and weight={entry.weight}, expected both "
                "above 0; leave the data set out instead"
            )
    if epoch_size is not None and epoch_size < len(entries):
        raise ValueError(
            f"epoch_size={epoch_size} is less than the {len(entries)} data sets of the mix"
        )


def load_clips(config: DataConfig, seed: int = 0) -> DatasetMix:
    """Read the lists of all data sets of a mix; pictures are opened later.

    Raises:
        ValueError: no data set, an unknown name or split, a missing list, a split without truth, or
            a ratio out of range.
    """
    parts = []
    for entry in config.datasets:
        benchmark = REFERRING_DATASETS.get(entry.name)
        if benchmark is None:
            raise ValueError(
                f"data set {entry.name!r} is unknown, expected one of "
                f"{', '.join(REFERRING_DATASETS)}"
            )
        samples = benchmark.read(Path(entry.root), entry.split)
        parts.append(ClipDataset(samples, config.recipe, seed))
    return DatasetMix(parts, config.datasets, config.epoch_size, seed)
