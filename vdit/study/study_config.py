"""What the study compares: pairs of networks, probes, and the places where features are taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from omegaconf import MISSING

KINDS = {"video": "V-WALT", "image": "I-WALT"}
"""Kind of a network -> how tables and figures call it."""


@dataclass(frozen=True)
class NetworkSize:
    """One size of networks.

    Attributes:
        block: whose features are probed, about two thirds of the depth.
        steps: of a whole training.
        video: name of V-WALT's training, the stem of its configuration.
        image: name of I-WALT's training.
    """

    block: str = MISSING
    steps: int = MISSING
    video: str = MISSING
    image: str = MISSING


@dataclass(frozen=True)
class Pair:
    """A V-WALT and an I-WALT of one model folder, trained from the same seed.

    Attributes:
        size: name of the size.
        seed: of the trainings.
        folder: the model folder, seen from the folder of all checkpoints.
    """

    size: str = MISSING
    seed: int = MISSING
    folder: str = MISSING


@dataclass(frozen=True)
class Tree:
    """Rendered clips.

    Attributes:
        train: clips that heads learn from.
        val: clips that they are tested on.
        frames: T.
        height: in pixels.
        width: in pixels.
    """

    train: int = MISSING
    val: int = MISSING
    frames: int = 17
    height: int = 96
    width: int = 96


@dataclass(frozen=True)
class Budget:
    """Probes over the training.

    Attributes:
        steps: snapshots, beside the end of the training.
        seeds: of the pairs.
    """

    steps: list[int] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0])


@dataclass(frozen=True)
class Sweep:
    """Probes over blocks and noise levels, all combinations.

    Attributes:
        blocks: in order.
        timesteps: in order.
        seeds: of the pairs.
    """

    blocks: list[str] = field(default_factory=list)
    timesteps: list[float] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0])


@dataclass(frozen=True)
class PictureOptions:
    """Clips that principal components are shown of.

    Attributes:
        recipes: one clip each.
        quadrants: recipe of the clip of which one quarter moves.
        seed: of the clips.
        ensemble: passes with noise of their own, whose features are averaged; probes see one.
    """

    recipes: list[str] = field(default_factory=lambda: ["motion-type", "tracking"])
    quadrants: str = "motion-order"
    seed: int = 100_000
    ensemble: int = 1


@dataclass(frozen=True)
class StudyConfig:
    """The whole study.

    Attributes:
        sizes: name -> size.
        pairs: of networks; a pair that is not trained is listed as missing.
        size: of the networks in the table, over the budget and in the sweep.
        timestep: noise level that features are taken at.
        budget: probes over the training.
        sweep: probes over blocks and noise levels.
        probes: name of a file beside this one -> recipe of its clips.
        trees: recipe -> clips.
        quality: number of `metrics.jsonl` (without "validation/") that stands for generation
            quality, one that both kinds of networks have.
        changes: of all probes, KEY=VALUE.
        pictures: clips that principal components are shown of.

    Raises:
        ValueError: a name means nothing, or is there twice.
    """

    sizes: dict[str, NetworkSize] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    size: str = MISSING
    timestep: float = 200.0
    budget: Budget = field(default_factory=Budget)
    sweep: Sweep = field(default_factory=Sweep)
    probes: dict[str, str] = field(default_factory=dict)
    trees: dict[str, Tree] = field(default_factory=dict)
    quality: str = "stills"
    changes: list[str] = field(default_factory=list)
    pictures: PictureOptions = field(default_factory=PictureOptions)

    def __post_init__(self) -> None:
        _expect_among("size", [self.size], self.sizes)
        _expect_among("the sizes of pairs", [pair.size for pair in self.pairs], self.sizes)
        _expect_among("the recipes of probes", self.probes.values(), self.trees)
        named = [(pair.size, pair.seed) for pair in self.pairs]
        folders = [pair.folder for pair in self.pairs]
        if len(set(named)) < len(named) or len(set(folders)) < len(folders):
            raise ValueError(
                "expected pairs that differ in size or seed and lie in folders of their own, got "
                f"{named} in {folders}"
            )
        seeds = self.seeds(self.size)
        if not seeds or not self.probes:
            raise ValueError(
                f"expected a pair of size {self.size} and a probe, got {len(seeds)} and "
                f"{len(self.probes)}; add one to pairs and probes"
            )
        _expect_among("budget.seeds and sweep.seeds", self.budget.seeds + self.sweep.seeds, seeds)
        if self.sweep.blocks or self.sweep.timesteps:
            _expect_among("the block of the size", [self.sizes[self.size].block], self.sweep.blocks)
            _expect_among("timestep", [self.timestep], self.sweep.timesteps)

    def seeds(self, size: str) -> list[int]:
        """List the seeds of the pairs of a size."""
        return [pair.seed for pair in self.pairs if pair.size == size]

    def pair(self, size: str, seed: int) -> Pair:
        """Find a pair by its size and seed."""
        return next(pair for pair in self.pairs if (pair.size, pair.seed) == (size, seed))


def _expect_among(what: str, found: Iterable[object], known: Iterable[object]) -> None:
    """Check that names are known."""
    listed = list(known)
    for each in found:
        if each not in listed:
            raise ValueError(
                f"expected {what} among {', '.join(map(str, listed)) or 'nothing yet'}, got {each}"
            )
