"""Configuration of label propagation as a probe: data, features, what propagation looks at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from omegaconf import MISSING

from vdit.probing.feature_sources import FeatureSource
from vdit.propagation import PropagationSettings

VIDEO, IMAGE = "video", "image"
"""Names of the two sources that `alpha` weighs."""

_VARIANTS = {"dino": PropagationSettings.dino, "crw": PropagationSettings.crw}


@dataclass(frozen=True)
class DataOptions:
    """What is propagated.

    Attributes:
        dataset: name in `vdit.datasets.video_datasets.VIDEO_DATASETS`.
        root: its folder.
        split: part of it.
        videos: names of the only videos to take; none = all.
        max_frames: frames of each video, from its first labelled one on; None = all.
        options: further arguments of the reader.
    """

    dataset: str = MISSING
    root: str = MISSING
    split: str = MISSING
    videos: tuple[str, ...] = ()
    max_frames: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_frames is not None and self.max_frames < 3:
            raise ValueError(
                f"expected max_frames >= 3, as the first and the last do not count, got "
                f"{self.max_frames}"
            )


@dataclass(frozen=True)
class PropagationOptions:
    """What propagation looks at, and how labels are read from it.

    Attributes:
        variant: "dino" (also that of DIFT and TED) or "crw"; see `PropagationSettings`. With
            "dino" the map of each label of a mask is stretched to 0..1 before the choice.
        num_context: see `PropagationSettings`, as for the next three.
        radius: cells.
        topk: cells.
        temperature: of the softmax.
        keep_vanished: keep objects that the grid of the first labels loses; False reproduces DINO
            and DIFT, see `labels_from_mask`.
        enlarge: factor by which labels grow before the choice, as DINO and DIFT do; None = to the
            size of the frame, see `mask_from_labels`.
        keypoint_cells: cells that a key point is read from.
        dtype: of the features in the context: "float32", "float16" or "bfloat16".
    """

    variant: Literal["dino", "crw"] = "dino"
    num_context: int = MISSING
    radius: float = MISSING
    topk: int = MISSING
    temperature: float = MISSING
    keep_vanished: bool = True
    enlarge: int | None = None
    keypoint_cells: int = 3
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"

    def settings(self) -> PropagationSettings:
        """Give the settings of the propagator."""
        choose = _VARIANTS[self.variant]
        return choose(self.num_context, self.radius, self.topk, self.temperature)


@dataclass(frozen=True)
class PaperReference:
    """Row of a paper that a run is printed beside.

    Attributes:
        table: as in `vdit/probing/paper_tables.json`, such as "TED, Table 2"; "" = none.
        method: as there.
    """

    table: str = ""
    method: str = ""


@dataclass(frozen=True)
class LabelPropagationConfig:
    """Training-free propagation of the labels of the first frame.

    Attributes:
        data: what is propagated.
        sources: name -> features; they are fused by their weights.
        alpha: weight of the source "video"; "image" takes 1 - alpha. None = their own weights.
        propagation: what propagation looks at.
        motion_groups: parts of equal size that scores are told by, ordered by motion.
        paper: what it is printed beside.
    """

    data: DataOptions = field(default_factory=DataOptions)
    sources: dict[str, FeatureSource] = field(default_factory=dict)
    alpha: float | None = None
    propagation: PropagationOptions = field(default_factory=PropagationOptions)
    motion_groups: int = 4
    paper: PaperReference = field(default_factory=PaperReference)

    def __post_init__(self) -> None:
        if self.motion_groups < 1:
            raise ValueError(f"expected motion_groups >= 1, got {self.motion_groups}")
        if self.alpha is None:
            return
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"expected alpha in 0..1, got {self.alpha}")
        if not {VIDEO, IMAGE} <= self.sources.keys():
            raise ValueError(
                f"alpha weighs the sources {VIDEO} and {IMAGE}, expected both, got "
                f"{', '.join(self.sources) or 'none'}; leave alpha out and set their weights"
            )

    def weighted_sources(self) -> list[FeatureSource]:
        """Give the sources with a weight above 0, as `alpha` has them."""
        weights = {} if self.alpha is None else {VIDEO: self.alpha, IMAGE: 1 - self.alpha}
        weighted = [
            replace(source, weight=weights.get(name, source.weight))
            for name, source in self.sources.items()
        ]
        return [source for source in weighted if source.weight > 0]

    @property
    def run_key(self) -> str:
        """Name of what the configuration computes: equal for equal results."""
        facts = asdict(self)
        del facts["paper"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def full_key(key: str, sources: Sequence[str]) -> str:
    """Give the dotted key that a short one stands for.

    A bare name of a field of `FeatureSource`, such as "timestep", is that of the source "video", or
    of the first source where none is called so.

    Args:
        key: of an override or a sweep.
        sources: names in the configuration.

    >>> full_key("timestep", ["image", "video"]), full_key("alpha", ["video", "image"])
    ('sources.video.timestep', 'alpha')
    """
    if sources and key in {each.name for each in fields(FeatureSource)}:
        return f"sources.{VIDEO if VIDEO in sources else sources[0]}.{key}"
    return key


def describe(source: FeatureSource) -> str:
    """Say in a few words where features come from.

    >>> describe(FeatureSource("adm-256", "out7", timestep=51, ensemble=4))
    'adm-256:out7 t=51 x4'
    """
    parts = [f"{source.backbone}:{source.block}"]
    if source.random_weights is not None:
        parts.append("random weights")
    if source.clip_length is not None:
        parts.append(f"clips of {source.clip_length}")
    if source.timestep is not None:
        parts.append(f"t={source.timestep:g}")
    if source.ensemble > 1:
        parts.append(f"x{source.ensemble}")
    if source.weight != 1:
        parts.append(f"w={source.weight:g}")
    return " ".join(parts)
