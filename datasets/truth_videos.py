"""Videos and pictures with what a learned probe has to tell: class, instances, depth, and so on.

A picture is a video of one frame. Positions in a frame are shares of its width and height, (0, 0)
its upper left corner and (1, 1) its lower right one, so that they survive a change of size.

Axes: T frames, P points, N objects, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vdit.datasets.findings import Findings
from vdit.datasets.videos import Video

__all__ = [
    "BoxSource",
    "BoxTrackVideo",
    "BoxTruth",
    "CameraSource",
    "CameraTruth",
    "ClassifiedVideo",
    "DepthSource",
    "DepthVideo",
    "InstanceSource",
    "InstanceVideo",
    "PointSource",
    "PointTrackVideo",
    "PointTruth",
    "PosedVideo",
    "TruthVideo",
]


class TruthVideo(Protocol):
    """A video that can look after its own truth."""

    def inspect_truth(self, findings: Findings) -> int:
        """Note what is missing or damaged of the truth; the number of frames that have it."""


@dataclass(frozen=True)
class ClassifiedVideo(Video):
    """A video of one class.

    Attributes:
        label: position in the `classes` of its data set.
    """

    label: int

    def inspect_truth(self, findings: Findings) -> int:
        return 0  # the class is that of the list, which was read


# ---- instances ---------------------------------------------------------------------------------


class InstanceSource(Protocol):
    """True instances in the frames of one video."""

    def read_instances(self, indices: Sequence[int]) -> np.ndarray:
        """Instances [T, H, W] uint8 of the frames at these positions, 0 the background."""


@dataclass(frozen=True)
class InstanceVideo(Video):
    """A video and the instances in every frame; there may be none in some or all.

    Attributes:
        instance_source: where the instances come from.
    """

    instance_source: InstanceSource = field(repr=False)

    def instances(self, indices: Sequence[int] | None = None) -> np.ndarray:
        """Read which instance each pixel belongs to.

        Args:
            indices: positions in `frame_names`; None = all.

        Returns:
            [T, H, W] uint8, 0 the background, one number for one instance in all frames.

        Raises:
            ValueError: they are missing or damaged, or of another size than the frames.
        """
        positions = range(len(self.frame_names)) if indices is None else indices
        found = self.instance_source.read_instances(positions)
        if found.shape[1:] != self.size:
            raise ValueError(
                f"{self.name} has instances of {found.shape[2]}x{found.shape[1]}, but frames of "
                f"{self.size[1]}x{self.size[0]}; take both from one release"
            )
        return found

    def inspect_truth(self, findings: Findings) -> int:
        try:
            return len(self.instances())
        except ValueError as error:
            findings.add("instances cannot be read", error)
            return 0


# ---- depth -------------------------------------------------------------------------------------


class DepthSource(Protocol):
    """True depth of frames of one video."""

    def read_depth(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Depth [H, W] float32 in metres, 0 where unknown, of the frame at this position."""


@dataclass(frozen=True)
class DepthVideo(Video):
    """A video and the depth of some of its frames.

    Attributes:
        depth_source: where the depth comes from.
        labelled: positions of the frames with depth, in order.
    """

    depth_source: DepthSource = field(repr=False)
    labelled: tuple[int, ...]

    def depth(self, index: int) -> np.ndarray:
        """Read the depth [H, W] float32 of one frame, in metres; 0 where it is unknown.

        Raises:
            ValueError: the frame has none, or it is missing, damaged or of another size.
        """
        if index not in self.labelled:
            raise ValueError(f"{self.name} has no depth of frame {index}; ask for `labelled` ones")
        return self.depth_source.read_depth(index, self.size)

    def inspect_truth(self, findings: Findings) -> int:
        for index in self.labelled:
            try:
                if not (self.depth(index) > 0).any():
                    findings.add("depth is unknown in the whole frame", f"{self.name}: {index}")
            except ValueError as error:
                findings.add("depth cannot be read", error)
        return len(self.labelled)


# ---- camera ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CameraTruth:
    """Where the camera is in every frame, in OpenCV's convention (x right, y down, z forward).

    Attributes:
        world_to_camera: [T, 3, 4] float64.
        intrinsics: [T, 4] float64 (fx, fy, cx, cy) as shares of width and height.
    """

    world_to_camera: np.ndarray
    intrinsics: np.ndarray


class CameraSource(Protocol):
    """True cameras of one video."""

    def read_cameras(self) -> CameraTruth:
        """Cameras of all T frames."""


@dataclass(frozen=True)
class PosedVideo(Video):
    """A video and its cameras.

    Attributes:
        camera_source: where they come from.
    """

    camera_source: CameraSource = field(repr=False)

    def cameras(self) -> CameraTruth:
        """Read the cameras of all T frames.

        Raises:
            ValueError: they are missing or damaged, or fewer or more than there are frames.
        """
        cameras = self.camera_source.read_cameras()
        _expect_frames(self, "cameras", len(cameras.world_to_camera))
        return cameras

    def inspect_truth(self, findings: Findings) -> int:
        try:
            return len(self.cameras().world_to_camera)
        except ValueError as error:
            findings.add("cameras cannot be read", error)
            return 0


# ---- tracks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PointTruth:
    """Points followed through a video.

    Attributes:
        points: [P, T, 2] float64 (x, y) in shares of the frame; anything where not `visible`.
        visible: [P, T] bool.
        labelled: [P, T] bool, frames that somebody looked at; others are not scored.
    """

    points: np.ndarray
    visible: np.ndarray
    labelled: np.ndarray


class PointSource(Protocol):
    """True point tracks of one video."""

    def read_points(self) -> PointTruth:
        """All points in all T frames."""


@dataclass(frozen=True)
class PointTrackVideo(Video):
    """A video and points followed through it.

    Attributes:
        point_source: where they come from.
    """

    point_source: PointSource = field(repr=False)

    def points(self) -> PointTruth:
        """Read the points.

        Raises:
            ValueError: they are missing or damaged, or of fewer or more frames than the video.
        """
        truth = self.point_source.read_points()
        _expect_frames(self, "points", truth.points.shape[1])
        return truth

    def inspect_truth(self, findings: Findings) -> int:
        try:
            return int(self.points().labelled.any(axis=0).sum())
        except ValueError as error:
            findings.add("points cannot be read", error)
            return 0


@dataclass(frozen=True)
class BoxTruth:
    """Boxes followed through a video.

    Attributes:
        boxes_xyxy: [N, T, 4] float64 (x0, y0, x1, y1) in shares of the frame; anything where not
            `labelled`.
        labelled: [N, T] bool, frames in which the object has a box.
        names: of the N objects; "" where nobody says.
    """

    boxes_xyxy: np.ndarray
    labelled: np.ndarray
    names: tuple[str, ...] = ()


class BoxSource(Protocol):
    """True box tracks of one video."""

    def read_boxes(self) -> BoxTruth:
        """All boxes in all T frames."""


@dataclass(frozen=True)
class BoxTrackVideo(Video):
    """A video and boxes followed through it.

    Attributes:
        box_source: where they come from.
    """

    box_source: BoxSource = field(repr=False)

    def boxes(self) -> BoxTruth:
        """Read the boxes.

        Raises:
            ValueError: they are missing or damaged, or of fewer or more frames than the video.
        """
        truth = self.box_source.read_boxes()
        _expect_frames(self, "boxes", truth.boxes_xyxy.shape[1])
        return truth

    def inspect_truth(self, findings: Findings) -> int:
        try:
            return int(self.boxes().labelled.any(axis=0).sum())
        except ValueError as error:
            findings.add("boxes cannot be read", error)
            return 0


def _expect_frames(video: Video, what: str, count: int) -> None:
    expected = len(video.frame_names)
    if count != expected:
        raise ValueError(
            f"{video.name} has {what} of {count} frames, but {expected} frames; take both from one "
            "release"
        )
