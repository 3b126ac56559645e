"""What is true of rendered clips, read from the truth.npz that the renderer left beside them.

Pixels become shares of the frame: x / W and y / H, as the renderer's own positions have their zero
at the outer edge of the first pixel, whose middle is 0.5.

Axes: T frames, P points, N objects, H x W pixels.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vdit.datasets.findings import Findings
from vdit.datasets.truth_videos import BoxTruth, CameraTruth, PointTruth
from vdit.frame_sizes import Size
from vdit.masks import masks_to_boxes_xyxy

__all__ = [
    "RenderedBoxes",
    "RenderedCameras",
    "RenderedDepth",
    "RenderedLabels",
    "RenderedPoints",
]

_NUM_KEPT = 8


def _read_maps(path: Path, name: str) -> np.ndarray:
    """Read maps of all frames; those of a few clips stay in memory, as frames are asked for singly.

    A file that has changed is read again.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        changed = 0  # the next line says what is wrong
    return _read_kept(path, name, changed)


@lru_cache(maxsize=_NUM_KEPT)
def _read_kept(path: Path, name: str, changed: int) -> np.ndarray:
    (found,) = _read_arrays(path, name)
    found.setflags(write=False)
    return found


def _read_arrays(path: Path, *names: str) -> list[np.ndarray]:
    """Read some arrays of a file; the others stay packed."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist; render the clip again") from error
    except KeyError as error:
        raise ValueError(f"{path} has no {error}; render the clip again") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); render the clip again") from error


@dataclass(frozen=True)
class RenderedDepth:
    """Depth along the optical axis of every frame.

    Attributes:
        path: truth.npz of a clip.
    """

    path: Path

    def read_depth(self, index: int, size: Size) -> np.ndarray:
        """Depth [H, W] float32 in metres of one frame; 0 in the sky.

        Raises:
            ValueError: the file is missing or damaged, or its maps have another size.
        """
        found = _expect_frame(self.path, _read_maps(self.path, "depth"), index, size)
        return np.where(np.isfinite(found), found, np.float32(0))


@dataclass(frozen=True)
class RenderedCameras:
    """Cameras of all frames.

    Attributes:
        path: truth.npz of a clip.
        size: (H, W) of its frames.
    """

    path: Path
    size: Size

    def read_cameras(self) -> CameraTruth:
        """Cameras of all T frames; translations are in metres.

        Raises:
            ValueError: the file is missing or damaged.
        """
        poses, intrinsics = _read_arrays(self.path, "world_to_camera", "intrinsics")
        height, width = self.size
        rows = (intrinsics[:, 0, 0], intrinsics[:, 1, 1], intrinsics[:, 0, 2], intrinsics[:, 1, 2])
        return CameraTruth(poses, np.stack(rows, axis=1) / (width, height, width, height))


@dataclass(frozen=True)
class RenderedPoints:
    """Points that started on random visible pixels; known in all frames.

    Attributes:
        path: truth.npz of a clip.
        size: (H, W) of its frames.
    """

    path: Path
    size: Size

    def read_points(self) -> PointTruth:
        """All points in all T frames.

        Raises:
            ValueError: the file is missing or damaged.
        """
        positions, visible = _read_arrays(self.path, "tracks_positions", "tracks_visible")
        shares = positions.astype(np.float64) / self.size[::-1]
        return PointTruth(shares, visible, np.ones_like(visible))


@dataclass(frozen=True)
class RenderedBoxes:
    """Boxes around the visible parts of objects.

    Attributes:
        path: truth.npz of a clip.
        names: categories of its N objects.
    """

    path: Path
    names: tuple[str, ...]

    def read_boxes(self) -> BoxTruth:
        """All boxes in all T frames; labelled where any part is visible.

        Raises:
            ValueError: the file is missing or damaged.
        """
        (instances,) = _read_arrays(self.path, "instances")
        T, height, width = instances.shape
        found = [masks_to_boxes_xyxy(instances == k + 1) for k in range(len(self.names))]
        boxes = np.array(found, np.float64).reshape(len(self.names), T, 4)
        labelled = boxes[..., 2] > boxes[..., 0]
        return BoxTruth(boxes / (width, height, width, height), labelled, self.names)


@dataclass(frozen=True)
class RenderedLabels:
    """Categories of what every pixel shows.

    Attributes:
        path: truth.npz of a clip.
        classes: of the background, and of each object in turn.
    """

    path: Path
    classes: tuple[int, ...]

    def read_labels(self, index: int, size: Size) -> np.ndarray:
        """Classes [H, W] uint8 of the pixels of one frame.

        Raises:
            ValueError: the file is missing or damaged, or its maps have another size.
        """
        instances = _read_maps(self.path, "instances")
        return np.array(self.classes, np.uint8)[_expect_frame(self.path, instances, index, size)]

    def inspect(
        self, indices: Sequence[int], object_ids: Sequence[int], findings: Findings
    ) -> Size | None:
        """Note a file that is missing or damaged; else (H, W) of its maps."""
        try:
            (instances,) = _read_arrays(self.path, "instances")
        except ValueError as error:
            findings.add("labels cannot be read", error)
            return None
        if max(indices, default=0) >= len(instances):
            findings.add("labels end before the video", self.path)
        return instances.shape[1], instances.shape[2]


def _expect_frame(path: Path, maps: np.ndarray, index: int, size: Size) -> np.ndarray:
    """Pick one of maps [T, H, W] of a known size."""
    if index >= len(maps) or maps.shape[1:] != tuple(size):
        raise ValueError(
            f"{path} has {len(maps)} maps of {maps.shape[1]}x{maps.shape[2]}, expected frame "
            f"{index} at {size[0]}x{size[1]}; render the clip again"
        )
    return maps[index]
