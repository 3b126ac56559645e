"""Waymo Open: boxes of vehicles, pedestrians and cyclists in the pictures of one camera.

The release holds pictures and labels in records of TensorFlow. What is read here is extracted from
them with the owners' tools, the two splits with labels as

    <split>/<segment>/<camera>/%04d.jpg    ten a second, from 0000; split: training or validation
    <split>/<segment>/<camera>.json        boxes of the camera: FRONT, FRONT_LEFT, ...

    {"width": 1920, "height": 1280,
     "objects": [{"id": "...", "type": "VEHICLE",
                  "frames": [0, 1, 2], "boxes": [[center x, center y, length, width], ...]}]}

`boxes` are the four numbers of a camera label in pixels, `length` along x and `width` along y,
`id` is the one that stays with an object (tracking id), `frames` are the numbers of the pictures.

Reference: Sun et al., Scalability in Perception for Autonomous Driving: Waymo Open Dataset, CVPR
2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.annotation_files import read_json
from vdit.datasets.checking import Benchmark
from vdit.datasets.frame_sources import PictureFrames, list_frame_names
from vdit.datasets.truth_videos import BoxTrackVideo, BoxTruth
from vdit.datasets.videos import VideoDataset

__all__ = ["WAYMO_BOXES", "CameraBoxes", "read_waymo_boxes"]

_NAME = "waymo-boxes"
_SPLITS = ("training", "validation")
_CAMERAS = ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "SIDE_LEFT", "SIDE_RIGHT")


@dataclass(frozen=True)
class CameraBoxes:
    """Boxes of one camera of one segment.

    Attributes:
        path: of the JSON file.
        frame_names: of the pictures; numbers.
    """

    path: Path
    frame_names: tuple[str, ...] = field(repr=False)

    @cached_property
    def _truth(self) -> BoxTruth:
        content = read_json(self.path, dict)
        try:
            size = np.array([content["width"], content["height"]], float)
            objects = [_read_object(each) for each in content["objects"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{self.path} has not the form of camera boxes ({error}); extract it again"
            ) from error
        shape = (len(objects), len(self.frame_names))
        boxes, labelled = np.zeros((*shape, 4)), np.zeros(shape, bool)
        index = {int(name): i for i, name in enumerate(self.frame_names)}
        for each, (_, frames, corners) in enumerate(objects):
            unknown = sorted(set(frames) - set(index))
            if unknown:
                raise ValueError(
                    f"{self.path} has a box in frame {unknown[0]}, of which there is no picture"
                )
            at = [index[frame] for frame in frames]
            boxes[each, at], labelled[each, at] = corners / np.tile(size, 2), True
        return BoxTruth(boxes, labelled, tuple(kind for kind, _, _ in objects))

    def read_boxes(self) -> BoxTruth:
        """Read the boxes in shares of the picture; they may reach over its edges.

        Raises:
            ValueError: the file is missing, damaged or of another form, or a box has no picture.
        """
        return self._truth


def read_waymo_boxes(
    root: Path, split: str = "validation", *, cameras: Sequence[str] = ("FRONT",)
) -> VideoDataset[BoxTrackVideo]:
    """Read the segments of one split, one video a camera, named <segment>/<camera>.

    Args:
        root: folder of training/ and validation/.
        split: one of them.
        cameras: which ones; a segment without one of them is an error of its files, not here.

    Raises:
        ValueError: an unknown split or camera, or no segment.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    unknown = [camera for camera in cameras if camera not in _CAMERAS]
    if unknown or not cameras:
        raise ValueError(f"expected cameras among {', '.join(_CAMERAS)}, got {list(cameras)}")
    folder = _list_path(Path(root), split)
    segments = sorted(
        path for path in folder.glob("*") if path.is_dir() and not path.name.startswith(".")
    )
    if not segments:
        raise ValueError(f"{folder} holds no segment; check the root of {_NAME}")
    videos = []
    for segment in segments:
        for camera in cameras:
            pictures = segment / camera
            names = _number_frames(pictures)
            is_png = bool(names) and (pictures / f"{names[-1]}.png").exists()
            videos.append(
                BoxTrackVideo(
                    dataset=_NAME,
                    split=split,
                    name=f"{segment.name}/{camera}",
                    frame_source=PictureFrames(pictures, names, ".png" if is_png else ".jpg"),
                    box_source=CameraBoxes(segment / f"{camera}.json", names),
                )
            )
    return VideoDataset(_NAME, split, tuple(videos))


def _number_frames(folder: Path) -> tuple[str, ...]:
    """Names from 0000 to the last picture that is there, so that a hole among them is noticed."""
    numbers = [int(name) for name in list_frame_names(folder) if name.isdigit()]
    return tuple(f"{number:04d}" for number in range(max(numbers, default=-1) + 1))


def _read_object(entry: Any) -> tuple[str, list[int], np.ndarray]:
    """Type, frames and corners in pixels."""
    frames = [int(frame) for frame in entry["frames"]]
    boxes = np.array(entry["boxes"], float).reshape(-1, 4)
    if len(boxes) != len(frames) or len(set(frames)) < len(frames):
        raise ValueError(f"an object has {len(frames)} frames and {len(boxes)} boxes")
    if not np.isfinite(boxes).all() or (boxes[:, 2:] < 0).any():
        raise ValueError("a box is not finite or has a negative side")
    center, sides = boxes[:, :2], boxes[:, 2:]
    return str(entry["type"]), frames, np.hstack([center - sides / 2, center + sides / 2])


def _list_path(root: Path, split: str) -> Path:
    return Path(root) / split


WAYMO_BOXES = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_waymo_boxes,
    published=("https://waymo.com/open",),
    counts={"training": {"v1, front": (798, None)}, "validation": {"v1, front": (202, None)}},
)
