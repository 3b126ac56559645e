"""Videos of a data set, read lazily, and the videos of a split.

What is true of a video comes with its kind: `labelled_videos.py`, `truth_videos.py`.

Axes: T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, overload

import numpy as np

from vdit.datasets.referring import FrameSource, frame_positions

__all__ = ["Video", "VideoDataset"]


@dataclass(frozen=True)
class Video:
    """What all videos have in common.

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
        positions = frame_positions(indices, len(self.frame_names), self.name)
        return self.frame_source.read(positions)

    def stream(self) -> Iterator[np.ndarray]:
        """Decode frame by frame, [H, W, 3] uint8 RGB each; one is in memory at a time."""
        for index in range(len(self.frame_names)):
            yield self.frames([index])[0]


V = TypeVar("V", bound=Video)


@dataclass(frozen=True)
class VideoDataset(Sequence[V], Generic[V]):
    """The videos of one split, in the order of its list.

    Attributes:
        name: of the data set.
        split: part of it.
        videos: names differ.
        note: how the videos were chosen, where that is not the choice of the owners.
        classes: names by number, where the truth is a class or labels are classes.
    """

    name: str
    split: str
    videos: tuple[V, ...] = field(repr=False)
    note: str = ""
    classes: tuple[str, ...] = field(default=(), repr=False)

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
