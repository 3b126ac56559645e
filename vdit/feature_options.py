"""What to take from a backbone, and how a video is cut for it.

T frames, T' feature frames. Feature frame g of a video stands for frame g where g < `offset`, and
for `multiple` frames after that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from vdit.feature_merging import Merge
from vdit.frame_fit import Fit


@dataclass(frozen=True)
class FeatureOptions:
    """What to take from a backbone, and how a video is cut for it.

    Attributes:
        blocks: names of feature maps; none = all that the backbone has.
        timestep: noise level in the network's native unit; None = clean latents.
        text: a sentence; None = the null prompt.
        image: "first" conditions on the first frame of the video, where a network takes an image.
        clip_length: frames that are seen together; None = the backbone's own, else 16. An image
            backbone sees single frames whatever it is.
        overlap: frames that consecutive clips share, at least; rounded up so that feature frames of
            consecutive clips fall on each other.
        merge: feature frames that several clips give are averaged, or those of the later clip kept.
        ensemble: passes with noise of their own, whose features are averaged.
        seed: of the noise and of the latents' sample.
        batch_size: frames of an image backbone in one pass; changes nothing but memory and time.
        size: (H, W) that frames are resized to; None = their own.
        short_side: pixels of the short side that frames are resized to, instead of `size`.
        fit: how sides become multiples of the backbone's `size_multiple`; see `plan_fit`.
    """

    blocks: tuple[str, ...] = ()
    timestep: float | None = None
    text: str | None = None
    image: Literal["none", "first"] = "none"
    clip_length: int | None = None
    overlap: int = 0
    merge: Merge = "average"
    ensemble: int = 1
    seed: int = 0
    batch_size: int = 8
    size: tuple[int, int] | None = None
    short_side: int | None = None
    fit: Fit = "pad"

    def __post_init__(self) -> None:
        for name in ("ensemble", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} >= 1, got {getattr(self, name)}")
        if self.clip_length is not None and self.clip_length < 1:
            raise ValueError(f"expected clip_length >= 1, got {self.clip_length}")
        for name in ("overlap", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"expected {name} >= 0, got {getattr(self, name)}")
        if self.merge not in ("average", "later"):
            raise ValueError(f"expected merge among average, later; got {self.merge!r}")
        if self.image not in ("none", "first"):
            raise ValueError(f"expected image among none, first; got {self.image!r}")


@dataclass(frozen=True)
class ClipRule:
    """How a video is cut into clips.

    Clips start at multiples of `multiple`. The video is padded with its last frame until clips fit.

    Attributes:
        length: frames of a clip.
        overlap: frames that a clip shares with the one before, the last clip maybe more.
        offset: see `Backbone.frame_offset`.
        multiple: see `Backbone.frame_multiple`.
    """

    length: int
    overlap: int
    offset: int = 0
    multiple: int = 1

    @property
    def num_features(self) -> int:
        """T' of a clip."""
        return self.count_features(self.length)

    def count_features(self, num_frames: int) -> int:
        """Count the feature frames that stand for at least one of T frames."""
        late = max(num_frames - self.offset, 0)
        return min(num_frames, self.offset) + -(-late // self.multiple)

    def padded(self, num_frames: int) -> int:
        """Give the frames of a video after padding."""
        late = max(num_frames - self.offset, 0)
        return max(self.offset + -(-late // self.multiple) * self.multiple, self.length)

    def span(self, feature: int, num_frames: int) -> tuple[int, int]:
        """Give the half-open range of frames that a feature frame stands for."""
        if feature < self.offset:
            return feature, feature + 1
        first = self.offset + (feature - self.offset) * self.multiple
        return first, min(first + self.multiple, num_frames)


def parse_size(text: str) -> tuple[int, int]:
    """Read a size such as 240x432: height, then width.

    Raises:
        ValueError: it is not written so.
    """
    match = re.fullmatch(r"([0-9]+)x([0-9]+)", text)
    if match is None:
        raise ValueError(f"expected --size HxW such as 240x432, got {text!r}")
    return int(match[1]), int(match[2])
