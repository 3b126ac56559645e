"""Configuration of a learned probe: data, clips, features, training; the head is the task's."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from omegaconf import MISSING

from vdit.finetuning import FineTuning
from vdit.probing.clip_views import ViewOptions
from vdit.probing.feature_sources import FeatureSource
from vdit.probing.propagation_config import PaperReference
from vdit.training.run_config import RunConfig

COSTS = ("sharding", "workers", "log", "log_every", "save_every", "sample_every", "validate_every")
"""Of a run: what changes its cost and what is seen of it, not its result."""


@dataclass(frozen=True)
class Fold:
    """A part of the data that is trained on, and one that is tested.

    Attributes:
        train: split.
        test: split.
    """

    train: str = MISSING
    test: str = MISSING


@dataclass(frozen=True)
class LearnedData:
    """What is learned and tested.

    Attributes:
        dataset: name in `vdit.datasets.probe_datasets.PROBE_DATASETS`.
        root: its folder.
        folds: pairs of splits; scores are averaged over them.
        leave_one_out: test each video of the only fold's `test` with a head that was trained on all
            others of it; `train` is not read.
        max_videos: of each split, spread evenly over it; None = all.
        options: further arguments of the reader.
    """

    dataset: str = MISSING
    root: str = MISSING
    folds: list[Fold] = field(default_factory=list)
    leave_one_out: bool = False
    max_videos: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.leave_one_out and len(self.folds) != 1:
            raise ValueError(f"expected one fold with leave_one_out, got {len(self.folds)}")
        if self.max_videos is not None and self.max_videos < 1:
            raise ValueError(f"expected max_videos of 1 or more, got {self.max_videos}")

    @property
    def split(self) -> str:
        """Name of what is tested, in rows and tables."""
        return "+".join(fold.test for fold in self.folds)

    @property
    def place(self) -> str:
        """The root as an absolute path: what a relative one means depends on where it is said."""
        return str(Path(self.root).resolve())

    @property
    def key(self) -> str:
        """Name of what the frames of a video follow from: two trees may give videos one name."""
        facts = [self.dataset, self.place, self.options]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class FeatureStorage:
    """Whether features are computed once and kept, or anew in every step.

    Attributes:
        cached: computed once for each clip; its noise is then the same in every epoch.
        dtype: of kept features: "float32", "float16" or "bfloat16".
        keep: leave them in the output folder at the end; other probes find them there.
    """

    cached: bool = True
    dtype: Literal["float32", "float16", "bfloat16"] = "float16"
    keep: bool = False


@dataclass(frozen=True)
class LearnedProbeConfig:
    """A head trained on the features of a backbone.

    Attributes:
        data: what is learned and tested.
        view: how clips are cut out of videos.
        source: where features come from; its `size` and `short_side` act on the clips of `view`.
        features: whether they are kept.
        place_bases: frequencies of sines and cosines that tell every feature where in the frame its
            cell lies, 4 channels each; for networks that do not know it, as convolutional ones.
        finetuning: weights of the backbone that learn too; then features are not kept.
        run: how the head is trained.
        seeds: of heads and their batches, one training each; the spread over them is told.
        share: what the processes of torchrun share: "probes" trains whole heads side by side,
            "batches" all of them one head.
        control_steps: steps of training the head on random numbers in place of features, which has
            to end at chance; 0 = that is left out.
        pictures: videos of the test whose answers are drawn when a head is scored, by tasks that
            can.
        paper: what it is printed beside.
    """

    data: LearnedData = field(default_factory=LearnedData)
    view: ViewOptions = field(default_factory=ViewOptions)
    source: FeatureSource = field(default_factory=FeatureSource)
    features: FeatureStorage = field(default_factory=FeatureStorage)
    place_bases: int = 0
    finetuning: FineTuning = field(default_factory=FineTuning)
    run: RunConfig = field(default_factory=RunConfig)
    seeds: list[int] = field(default_factory=lambda: [0])
    share: Literal["probes", "batches"] = "probes"
    control_steps: int = 0
    pictures: int = 0
    paper: PaperReference = field(default_factory=PaperReference)

    def __post_init__(self) -> None:
        if self.finetuning.mode != "frozen" and self.features.cached:
            raise ValueError(
                "expected features.cached=false where the backbone learns, got cached features"
            )
        if self.place_bases < 0:
            raise ValueError(f"expected place_bases of 0 or more, got {self.place_bases}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(
                f"expected different seeds of 0 or more, at least one, got {self.seeds}"
            )
        if self.control_steps < 0 or self.pictures < 0:
            raise ValueError(
                f"expected control_steps and pictures of 0 or more, got {self.control_steps} and "
                f"{self.pictures}"
            )

    @property
    def run_key(self) -> str:
        """Name of what the configuration computes: equal for equal results."""
        facts = result_facts(asdict(self))
        facts["data"]["root"] = self.data.place
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def result_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what the result of a configuration follows from.

    Args:
        config: resolved, as `dataclasses.asdict` or the "config" of a row has it; stays as it is.

    Returns:
        A copy without costs, what is kept or drawn, and the paper it is printed beside.
    """
    facts = copy.deepcopy(dict(config))
    for name in ("paper", "share", "pictures"):
        facts.pop(name, None)
    facts["features"].pop("keep", None)
    for name in COSTS:
        facts["run"].pop(name, None)
    return facts


def learned_key(key: str) -> str:
    """Give the dotted key that a short one stands for: a bare field of `FeatureSource` is its own.

    >>> learned_key("timestep"), learned_key("run.rate")
    ('source.timestep', 'run.rate')
    """
    return f"source.{key}" if key in {each.name for each in fields(FeatureSource)} else key
