"""Videos with the truth of some frames, read lazily: labels of objects, or key points.

They serve for propagation: the truth of the first labelled frame is given, the rest is predicted.

Axes: T frames, K key points, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, Protocol, TypeVar, overload

import numpy as np

from vdit.datasets.findings import Findings
from vdit.datasets.referring import FrameSource

__all__ = [
    "VOID",
    "KeypointSource",
    "KeypointVideo",
    "LabelSource",
    "LabelledVideo",
    "VideoDataset",
]

VOID = 255
"""Label of pixels that no metric looks at."""


class LabelSource(Protocol):
    """True labels of the frames of one video."""

    def read_labels(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Labels [H, W] uint8 of the frame at this position; `size` is that of the frames."""

    def inspect(
        self, indices: Sequence[int], object_ids: Sequence[int], findings: Findings
    ) -> tuple[int, int] | None:
        """Note what is missing or damaged; (height, width) of the labels if they are there."""


class KeypointSource(Protocol):
    """True key points of one video."""

    def read_points(self) -> np.ndarray:
        """Points [T, K, 2] float64 as (x, y) in pixels from 0."""


@dataclass(frozen=True)
class _Video:
    """What all videos with truth have in common.

    Attributes:
        dataset: name of the data set.
        split: part of the data set.
        name: of the video in its data set.
        frame_source: where the frames come from.
    """

    dataset: str
    split: str
    name: str
    frame_source: FrameSource = field(repr=False)

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Names of the T frames without extension, in order; submissions are named like them."""
        return self.frame_source.names

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frames in pixels."""
        return self.frame_source.size()

    def frames(self, indices: Sequence[int] | None = None) -> np.ndarray:
        """Decode frames.

        Args:
            indices: positions in `frame_names`; None = all.

        Returns:
            [T, H, W, 3] uint8 RGB.

        Raises:
            ValueError: a position is outside the video; a frame is missing, damaged or of another
                size than the first.
        """
        count = len(self.frame_names)
        positions = range(count) if indices is None else [int(index) for index in indices]
        for index in positions:
            if not 0 <= index < count:
                raise ValueError(f"frame {index} is not in {self.name} of {count} frames")
        if not positions:
            raise ValueError(f"no frame of {self.name} was asked for, expected at least one")
        return self.frame_source.read(positions)

    def stream(self) -> Iterator[np.ndarray]:
        """Decode frame by frame, [H, W, 3] uint8 RGB each; one is in memory at a time."""
        for index in range(len(self.frame_names)):
            yield self.frames([index])[0]


@dataclass(frozen=True)
class LabelledVideo(_Video):
    """A video and the labels of the objects in some of its frames.

    Attributes:
        label_source: where the labels come from.
        labelled: positions of the frames with labels, in order.
    """

    label_source: LabelSource = field(repr=False)
    labelled: tuple[int, ...]

    def labels(self, index: int) -> np.ndarray:
        """Decode the labels of one frame.

        Args:
            index: one of `labelled`.

        Returns:
            [H, W] uint8: ids of objects, 0 the background, `VOID` what no metric looks at.

        Raises:
            ValueError: the frame has no labels; they are missing, damaged or of another size than
                the frames.
        """
        if index not in self.labelled:
            raise ValueError(
                f"{self.name} has no labels of frame {index}, only of {_shorten(self.labelled)}; "
                "ask for these"
            )
        return self.label_source.read_labels(index, self.size)

    @property
    def first_labels(self) -> np.ndarray:
        """Labels [H, W] of the first labelled frame, which propagation begins with."""
        if not self.labelled:
            raise ValueError(f"{self.name} has no labelled frame, expected at least one")
        return self.labels(self.labelled[0])


@dataclass(frozen=True)
class KeypointVideo(_Video):
    """A video and the key points of one body in every frame.

    The PCK of `vdit.metrics.keypoints` measures the body by the key points themselves, so that no
    box is needed; `points.transpose(2, 1, 0)` is the form that it takes.

    Attributes:
        keypoint_source: where the key points come from.
        action: what the body does; "" where nobody says.
    """

    keypoint_source: KeypointSource = field(repr=False)
    action: str = ""

    @cached_property
    def points(self) -> np.ndarray:
        """Key points [T, K, 2] float64 as (x, y) in pixels, (0, 0) the middle of the first pixel.

        Raises:
            ValueError: they are missing or damaged, or fewer or more than there are frames.
        """
        points = self.keypoint_source.read_points()
        if len(points) != len(self.frame_names):
            raise ValueError(
                f"{self.name} has key points of {len(points)} frames, but "
                f"{len(self.frame_names)} frames; take both from one release"
            )
        return points

    @property
    def visible(self) -> np.ndarray:
        """Which key points lie inside of the frame, [T, K] bool; the PCK counts the others too."""
        height, width = self.size
        x, y = self.points[..., 0], self.points[..., 1]
        return (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)


V = TypeVar("V", bound=_Video)


@dataclass(frozen=True)
class VideoDataset(Sequence[V], Generic[V]):
    """The videos of one split, in the order of its list.

    Attributes:
        name: of the data set.
        split: part of it.
        videos: names differ.
        note: how the videos were chosen, where that is not the choice of the owners.
    """

    name: str
    split: str
    videos: tuple[V, ...] = field(repr=False)
    note: str = ""

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[V]:
        return iter(self.videos)

    @overload
    def __getitem__(self, index: int) -> V: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[V, ...]: ...
    def __getitem__(self, index: int | slice) -> V | tuple[V, ...]:
        return self.videos[index]

    def find(self, name: str) -> V:
        """Look a video up by its name.

        Raises:
            ValueError: there is none of this name.
        """
        for video in self.videos:
            if video.name == name:
                return video
        raise ValueError(f"{self.name} {self.split} has no video {name!r}")


def _shorten(positions: Sequence[int]) -> str:
    shown = ", ".join(map(str, positions[:8]))
    return shown if len(positions) <= 8 else f"{shown} and {len(positions) - 8} more"
