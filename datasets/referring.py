"""One record for every referring video data set: a sentence about a video, read lazily.

Axes: N objects, T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, overload

import numpy as np
from PIL import Image

from vdit.datasets.findings import Findings

__all__ = ["FrameSource", "MaskSource", "ReferringDataset", "ReferringSample", "frame_positions"]


class FrameSource(Protocol):
    """Frames of one video."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the frames without extension, in order."""

    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames [T, H, W, 3] uint8 RGB at positions in `names`."""

    def pictures(self, indices: Sequence[int]) -> list[Image.Image]:
        """The same frames as Pillow holds them."""

    def inspect(self, findings: Findings) -> int:
        """Note what is missing or damaged; the number of frames that are there."""


def frame_positions(indices: Sequence[int] | None, count: int, video: str) -> list[int]:
    """Check positions of frames; None = all of the `count` frames of a video of this name.

    Raises:
        ValueError: there are none, or one is outside the video.
    """
    positions = list(range(count)) if indices is None else [int(index) for index in indices]
    for index in positions:
        if not 0 <= index < count:
            raise ValueError(f"frame {index} is not in {video} of {count} frames")
    if not positions:
        raise ValueError(f"no frame of {video} was asked for, expected at least one")
    return positions


class MaskSource(Protocol):
    """True masks of the objects of one video."""

    def read(
        self, indices: Sequence[int], object_ids: Sequence[int], size: tuple[int, int]
    ) -> np.ndarray:
        """Masks [N, T, H, W] bool; `size` is that of the frames."""

    def inspect(
        self, indices: Sequence[int], object_ids: Sequence[int], findings: Findings
    ) -> tuple[int, int] | None:
        """Note what is missing or damaged; (height, width) of the masks if one is there."""


@dataclass(frozen=True)
class ReferringSample:
    """One sentence about one video, and the objects that it names.

    Attributes:
        dataset: name of the data set.
        split: part of the data set.
        video: id of the video, a path of folders in some data sets.
        expression: id of the sentence within its video; a string, not always a number.
        text: the sentence as it was written.
        object_ids: of the N objects that it names, none if it names nothing that is there; None
            where the owners of the data keep the truth.
        labelled: positions of the frames that have masks; None = all of them.
        annotator: 0..3 in Ref-DAVIS17, whose scores are averaged over annotators; else None.
        kind: what sort of sentence it is, such as "motion", where the list says so; else "".
    """

    dataset: str
    split: str
    video: str
    expression: str
    text: str
    object_ids: tuple[int, ...] | None
    frame_source: FrameSource = field(repr=False)
    mask_source: MaskSource | None = field(default=None, repr=False)
    labelled: tuple[int, ...] | None = None
    annotator: int | None = None
    kind: str = ""

    @property
    def caption(self) -> str:
        """The sentence in lower case with single spaces, as the released code trains on it."""
        return " ".join(self.text.lower().split())

    @property
    def has_truth(self) -> bool:
        """Whether `masks` can be read."""
        return self.object_ids is not None and self.mask_source is not None

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Names of the frames without extension, in order; submissions are named like them."""
        return self.frame_source.names

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frames in pixels."""
        return self.frame_source.size()

    def frames(self, indices: Sequence[int] | None = None) -> np.ndarray:
        """Decode frames.

        Args:
            indices: positions in `frame_names`, in any order and also twice; None = all.

        Returns:
            [T, H, W, 3] uint8 RGB.

        Raises:
            ValueError: a position is outside the video; a frame is missing, damaged or of another
                size than the first.
        """
        return self.frame_source.read(self._positions(indices))

    def pictures(self, indices: Sequence[int] | None = None) -> list[Image.Image]:
        """Decode frames and leave them in the form in which Pillow resizes them.

        Args:
            indices: positions in `frame_names`; None = all. A frame that is asked for twice may
                be one object.

        Returns:
            T pictures in RGB of one size.

        Raises:
            ValueError: see `frames`.
        """
        return self.frame_source.pictures(self._positions(indices))

    def masks(self, indices: Sequence[int] | None = None) -> np.ndarray:
        """Decode the masks of the named objects.

        Args:
            indices: positions in `frame_names`; None = all labelled ones.

        Returns:
            [N, T, H, W] bool in the order of `object_ids`; N = 0 if the sentence names nothing,
            all False where an object is out of sight.

        Raises:
            ValueError: the truth is not public, a position has no label or is outside the video, a
                mask is missing or damaged, or its size is not that of the frames.
        """
        if self.object_ids is None or self.mask_source is None:
            raise ValueError(
                f"{self.dataset} {self.split} has no public masks for {self.video}; use a split "
                "with truth"
            )
        if indices is None and self.labelled is not None:
            indices = self.labelled
        positions = self._positions(indices)
        labelled = positions if self.labelled is None else self.labelled
        unlabelled = set(positions) - set(labelled)
        if unlabelled:
            raise ValueError(
                f"{self.video} has no mask for frame {min(unlabelled)}, only for "
                f"{list(labelled)}; ask for these"
            )
        if not self.object_ids:
            return np.zeros((0, len(positions), *self.size), dtype=bool)
        return self.mask_source.read(positions, self.object_ids, self.size)

    def _positions(self, indices: Sequence[int] | None) -> list[int]:
        return frame_positions(indices, len(self.frame_names), self.video)


@dataclass(frozen=True)
class ReferringDataset(Sequence[ReferringSample]):
    """The samples of one split, in the order of its list.

    Attributes:
        name: of the data set.
        split: part of it.
        samples: sentences of one video follow one another.
    """

    name: str
    split: str
    samples: tuple[ReferringSample, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[ReferringSample]:
        return iter(self.samples)

    @overload
    def __getitem__(self, index: int) -> ReferringSample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ReferringSample, ...]: ...
    def __getitem__(self, index: int | slice) -> ReferringSample | tuple[ReferringSample, ...]:
        return self.samples[index]

    def by_video(self) -> dict[str, list[ReferringSample]]:
        """Group the sentences of each video, which can share what no sentence changes."""
        videos: dict[str, list[ReferringSample]] = {}
        for sample in self.samples:
            videos.setdefault(sample.video, []).append(sample)
        return videos

    def find(self, video: str, expression: str) -> ReferringSample:
        """Look a sentence up.

        Raises:
            ValueError: there is no such video or no such expression of it.
        """
        of_video = [sample for sample in self.samples if sample.video == video]
        if not of_video:
            raise ValueError(f"{self.name} {self.split} has no video {video!r}")
        for sample in of_video:
            if sample.expression == expression:
                return sample
        raise ValueError(
            f"video {video} of {self.name} {self.split} has no expression {expression!r}, only "
            f"{', '.join(sample.expression for sample in of_video[:10])}"
        )
