"""Videos with the truth of some frames, read lazily: labels of objects, or key points.

They serve for propagation: the truth of the first labelled frame is given, the rest is predicted.

Axes: T frames, K key points, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from vdit.datasets.findings import Findings
from vdit.datasets.videos import Video

__all__ = [
    "VOID",
    "KeypointSource",
    "KeypointVideo",
    "LabelSource",
    "LabelledVideo",
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
class LabelledVideo(Video):
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
class KeypointVideo(Video):
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


def _shorten(positions: Sequence[int]) -> str:
    shown = ", ".join(map(str, positions[:8]))
    return shown if len(positions) <= 8 else f"{shown} and {len(positions) - 8} more"
