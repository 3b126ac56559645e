"""Where the features of a probe come from: a backbone, one of its blocks, how frames reach it.

H x W pixels.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from omegaconf import MISSING

from vdit.backbone_loading.random_weights import random_backbone
from vdit.build import build_backbone
from vdit.feature_options import FeatureOptions
from vdit.models.backbones.base import Backbone


@dataclass(frozen=True)
class FeatureSource:
    """One backbone as a probe sees it.

    Attributes:
        backbone: name in `vdit.backbone_loading.families.BACKBONES`.
        block: name of the feature map.
        timestep: noise level in the network's native unit; None = no noise.
        weight: of these features among those of other sources; 0 leaves them out.
        ensemble: draws of noise whose features are averaged.
        clip_length: frames that a video backbone sees together; None = its own, else 16.
        overlap: frames that consecutive clips share.
        merge: features of shared frames are averaged, or those of the later clip kept.
        repeat_features: give features that stand for several frames to each of them; False refuses
            backbones with such features.
        text: a sentence; None = the null prompt.
        image: "first" conditions every clip on the first frame of the video; "none" leaves it to
            the backbone (I2VGen-XL then takes the first frame of each clip, SVD zeros).
        size: (H, W) that frames are resized to; None = their own, or by `short_side`.
        short_side: pixels of the short side that frames are resized to, instead of `size`.
        long_multiple: the long side becomes a multiple of it (64 in DINO, 32 in DIFT), and both
            sides multiples of what the backbone asks for.
        fit: frames are resized to the "nearest" multiples, or to those "below" as DINO and DIFT do.
            They are never padded or cut, so that grids of several sources cover the same.
        seed: of the noise.
        batch_size: frames of an image backbone in one pass.
        path: file, folder or hub id of the weights; None = the usual one.
        random_weights: seed of random weights in place of trained ones; None = trained.
        dtype: of the weights: "float32", "float16" or "bfloat16".
        options: further arguments of the family's `load`.
    """

    backbone: str = MISSING
    block: str = MISSING
    timestep: float | None = None
    weight: float = 1.0
    ensemble: int = 1
    clip_length: int | None = None
    overlap: int = 0
    merge: Literal["average", "later"] = "average"
    repeat_features: bool = False
    text: str | None = None
    image: Literal["none", "first"] = "none"
    size: tuple[int, int] | None = None
    short_side: int | None = None
    long_multiple: int = 1
    fit: Literal["nearest", "below"] = "nearest"
    seed: int = 0
    batch_size: int = 8
    path: str | None = None
    random_weights: int | None = None
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.weight >= 0 and math.isfinite(self.weight)):
            raise ValueError(f"expected a weight >= 0 of {self.backbone}, got {self.weight}")
        if self.long_multiple < 1:
            raise ValueError(f"expected long_multiple >= 1, got {self.long_multiple}")
        if self.size is not None and self.short_side is not None:
            raise ValueError(
                f"expected size or short_side of {self.backbone}, got both; pass one of them"
            )

    def input_size(self, height: int, width: int, multiple: int = 1) -> tuple[int, int]:
        """Choose the size at which the backbone sees frames of (height, width).

        Args:
            height: of the frames in pixels.
            width: of the frames in pixels.
            multiple: that the backbone asks for.

        >>> FeatureSource("dino-b8", "last", long_multiple=64, fit="below").input_size(480, 854, 8)
        (480, 832)
        """
        size: tuple[int, int] = (height, width)
        if self.size is not None:
            size = self.size
        elif self.short_side is not None:
            scale = self.short_side / min(height, width)
            size = (max(round(height * scale), 1), max(round(width * scale), 1))
        long = math.lcm(self.long_multiple, multiple)
        steps = (multiple, long) if size[1] >= size[0] else (long, multiple)
        rows, columns = (
            max((side + (step // 2 if self.fit == "nearest" else 0)) // step, 1) * step
            for side, step in zip(size, steps, strict=True)  # half a multiple goes up
        )
        return rows, columns

    def feature_options(
        self, blocks: tuple[str, ...], frame_size: tuple[int, int], multiple: int
    ) -> FeatureOptions:
        """Give the options of one pass over frames of this size.

        Args:
            blocks: what the pass gives, `block` among them.
            frame_size: (H, W).
            multiple: that the backbone asks for.
        """
        return FeatureOptions(
            blocks=blocks,
            timestep=self.timestep,
            text=self.text,
            image=self.image,
            clip_length=self.clip_length,
            overlap=self.overlap,
            merge=self.merge,
            ensemble=self.ensemble,
            seed=self.seed,
            batch_size=self.batch_size,
            size=self.input_size(*frame_size, multiple),
            fit="resize",
        )

    @property
    def pass_key(self) -> str:
        """Name of the pass that gives these features; sources that differ in blocks share it."""
        facts = asdict(self)
        for name in (
            "block",
            "weight",
            "batch_size",
            "repeat_features",
        ):  # the pass does not depend on them
            del facts[name]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return f"{self.backbone}-{digest[:16]}"


class Backbones:
    """Builds every network once, when its first features are asked for.

    Args:
        device: where networks go.
        build: function like `vdit.build.build_backbone`.
    """

    def __init__(
        self, device: str = "cpu", build: Callable[..., Backbone] = build_backbone
    ) -> None:
        self.device = device
        self._build = build
        self._built: dict[str, Backbone] = {}

    def get(self, source: FeatureSource) -> Backbone:
        """Give the network of a source, which has a feature map for every frame or repeats them.

        Raises:
            ValueError: as `network`, or one of its feature frames stands for several frames and the
                source does not repeat it.
        """
        backbone = self.network(source)
        if backbone.frame_multiple != 1 and not source.repeat_features:
            raise ValueError(
                f"expected a backbone with a feature map for every frame, got {source.backbone}; "
                "choose another, one that repeats frames, or repeat_features=true"
            )
        return backbone

    def network(self, source: FeatureSource, is_new: bool = False) -> Backbone:
        """Give the network of a source.

        Args:
            source: names it.
            is_new: build one that nobody else has, whose weights may change.

        Raises:
            ValueError: it is unknown, its weights cannot be loaded, or it has no such block.
        """
        facts = [source.backbone, source.path, source.dtype, source.options, source.random_weights]
        key = json.dumps(facts)
        if not is_new and key not in self._built:
            self._built[key] = self._make(source).to(self.device)
        backbone = self._make(source) if is_new else self._built[key]
        backbone.check_blocks([source.block])
        return backbone

    def _make(self, source: FeatureSource) -> Backbone:
        dtype = getattr(torch, source.dtype)
        if source.random_weights is None:
            return self._build(source.backbone, path=source.path, dtype=dtype, **source.options)
        if source.path is not None or source.options:
            raise ValueError("expected no path and no options with random_weights, got some")
        return random_backbone(source.backbone, dtype=dtype, seed=source.random_weights)
