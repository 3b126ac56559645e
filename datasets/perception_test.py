"""Perception Test: points and boxes followed through filmed scenes.

    videos/<video>.mp4
    point_tracking_<split>.json, object_tracking_<split>.json, <split>.json or all_<split>.json

An annotation file is {video: {"metadata": {"split", "video_id", "num_frames", "resolution": [H, W],
...}, "point_tracking": [...], "object_tracking": [...], ...}}. A point track has `frame_ids` and
`points`, whose first row is y and whose second row is x; a frame that is not listed is one in which
the point is hidden. An object has `frame_ids` (about one a second), `bounding_boxes`
(x0, y0, x1, y1) and `initial_tracking_box`, which marks the box that tracking starts from. All
positions are shares of the frame. The files of one task are much smaller than those of all tasks.

The truth of the split "test" is kept by the owners.

Reference: Patraucean et al., Perception Test: A Diagnostic Benchmark for Multimodal Video Models,
NeurIPS 2023 (Datasets and Benchmarks).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vdit.datasets.annotation_files import read_json
from vdit.datasets.checking import Benchmark
from vdit.datasets.findings import Findings
from vdit.datasets.frame_sources import VideoFrames
from vdit.datasets.truth_videos import BoxTrackVideo, BoxTruth, PointTrackVideo, PointTruth
from vdit.datasets.videos import VideoDataset

__all__ = [
    "PERCEPTION_TEST_BOXES",
    "PERCEPTION_TEST_POINTS",
    "AnnotatedBoxes",
    "AnnotatedPoints",
    "ListedVideoFrames",
    "read_perception_test_boxes",
    "read_perception_test_points",
]

_POINTS, _BOXES = "perception-test-points", "perception-test-boxes"
_SPLITS = ("train", "valid")
_FIELDS = {_POINTS: "point_tracking", _BOXES: "object_tracking"}


@dataclass(frozen=True)
class ListedVideoFrames:
    """Some frames of a video file whose length and size an annotation tells.

    Attributes:
        path: of the file.
        positions: of the frames in the file, from 0.
        num_frames: of the whole file.
        resolution: (H, W) in pixels.
    """

    path: Path
    positions: tuple[int, ...] = field(repr=False)
    num_frames: int
    resolution: tuple[int, int]

    @property
    def names(self) -> tuple[str, ...]:
        """Numbers of the frames in the file, from 0 as in the annotation."""
        return tuple(f"{position:05d}" for position in self.positions)

    def size(self) -> tuple[int, int]:
        return self.resolution

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Decode the file from its start to the last wanted frame; see `Video.frames`."""
        frames = VideoFrames(self.path).read([self.positions[index] for index in indices])
        if frames.shape[1:3] != self.resolution:
            raise ValueError(
                f"{self.path} is {frames.shape[2]}x{frames.shape[1]}, but its annotation says "
                f"{self.resolution[1]}x{self.resolution[0]}; take both from one release"
            )
        return frames

    def pictures(self, indices: Sequence[int]) -> list[Image.Image]:
        """Decode frames and give them as Pillow holds them."""
        return [Image.fromarray(frame) for frame in self.read(indices)]

    def inspect(self, findings: Findings) -> int:
        """Decode the file once and compare it with its annotation."""
        source = VideoFrames(self.path)
        before = findings.total
        found = source.inspect(findings)
        if findings.total > before:
            return 0
        if (found, source.size()) != (self.num_frames, self.resolution):
            findings.add(
                "videos differ from what their annotations say",
                f"{self.path}: {found} frames of {source.size()}, expected {self.num_frames} of "
                f"{self.resolution}",
            )
        return sum(position < found for position in self.positions)


@dataclass(frozen=True, eq=False)
class AnnotatedPoints:
    """Point tracks of one video as they are annotated.

    Attributes:
        frame_ids: [n] of each track.
        points: [n, 2] (x, y) of each track in shares of the frame.
        num_frames: of the video.
    """

    frame_ids: tuple[np.ndarray, ...]
    points: tuple[np.ndarray, ...]
    num_frames: int

    def read_points(self) -> PointTruth:
        """Spread the tracks over all frames; they are hidden where they are not listed."""
        shape = (len(self.points), self.num_frames)
        points, visible = np.zeros((*shape, 2)), np.zeros(shape, bool)
        for track, (frames, places) in enumerate(zip(self.frame_ids, self.points, strict=True)):
            points[track, frames], visible[track, frames] = places, True
        return PointTruth(points, visible, np.ones(shape, bool))


@dataclass(frozen=True, eq=False)
class AnnotatedBoxes:
    """Boxes of one video as they are annotated.

    Attributes:
        frame_ids: [n] of each object.
        boxes_xyxy: [n, 4] of each object in shares of the frame.
        names: of the objects.
        positions: frames of the file that the video consists of.
    """

    frame_ids: tuple[np.ndarray, ...]
    boxes_xyxy: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    positions: tuple[int, ...] = field(repr=False)

    def read_boxes(self) -> BoxTruth:
        """Spread the boxes over the frames of the video."""
        shape = (len(self.names), len(self.positions))
        boxes, labelled = np.zeros((*shape, 4)), np.zeros(shape, bool)
        index = {position: i for i, position in enumerate(self.positions)}
        for each, (frames, places) in enumerate(zip(self.frame_ids, self.boxes_xyxy, strict=True)):
            at = [index[int(frame)] for frame in frames]
            boxes[each, at], labelled[each, at] = places, True
        return BoxTruth(boxes, labelled, self.names)


def read_perception_test_points(
    root: Path, split: str = "valid", *, annotations: str | None = None
) -> VideoDataset[PointTrackVideo]:
    """Read the videos that have point tracks; all frames, at the rate they were filmed.

    Args:
        root: folder of the annotations and of videos/.
        split: "train" or "valid".
        annotations: name of the annotation file; None = that of the split.

    Raises:
        ValueError: another split; the annotations are missing, damaged or have no such video.
    """
    videos = []
    for name, entry in _read_entries(Path(root), split, _POINTS, annotations):
        num_frames, resolution = _read_metadata(name, entry)
        tracks = [_read_point_track(name, each, num_frames) for each in entry["point_tracking"]]
        videos.append(
            PointTrackVideo(
                dataset=_POINTS,
                split=split,
                name=name,
                frame_source=ListedVideoFrames(
                    _video_path(root, name), tuple(range(num_frames)), num_frames, resolution
                ),
                point_source=AnnotatedPoints(
                    tuple(frames for frames, _ in tracks),
                    tuple(points for _, points in tracks),
                    num_frames,
                ),
            )
        )
    return VideoDataset(_POINTS, split, tuple(videos))


def read_perception_test_boxes(
    root: Path,
    split: str = "valid",
    *,
    annotations: str | None = None,
    every_frame: bool = False,
) -> VideoDataset[BoxTrackVideo]:
    """Read the videos that have boxes of objects.

    Args:
        root: folder of the annotations and of videos/.
        split: "train" or "valid".
        annotations: name of the annotation file; None = that of the split.
        every_frame: also frames in which no object has a box. They are 29 of 30, so that a clip
            needs `stride` to hold more than one box of an object.

    Raises:
        ValueError: as `read_perception_test_points`.
    """
    videos = []
    for name, entry in _read_entries(Path(root), split, _BOXES, annotations):
        num_frames, resolution = _read_metadata(name, entry)
        tracks = [_read_box_track(name, each, num_frames) for each in entry["object_tracking"]]
        annotated = np.unique(np.concatenate([frames for _, frames, _ in tracks]))
        positions = tuple(range(num_frames)) if every_frame else tuple(annotated.tolist())
        videos.append(
            BoxTrackVideo(
                dataset=_BOXES,
                split=split,
                name=name,
                frame_source=ListedVideoFrames(
                    _video_path(root, name), positions, num_frames, resolution
                ),
                box_source=AnnotatedBoxes(
                    tuple(frames for _, frames, _ in tracks),
                    tuple(boxes for _, _, boxes in tracks),
                    tuple(label for label, _, _ in tracks),
                    positions,
                ),
            )
        )
    note = "all frames" if every_frame else "frames with boxes, about one a second"
    return VideoDataset(_BOXES, split, tuple(videos), note)


def _read_entries(
    root: Path, split: str, dataset: str, annotations: str | None
) -> list[tuple[str, dict[str, Any]]]:
    """Videos of a split that have tracks of the kind."""
    if split not in _SPLITS:
        raise ValueError(
            f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}; the truth of the "
            "test split is not public"
        )
    path = _list_path(dataset, root, split) if annotations is None else root / annotations
    entries = []
    for name, entry in read_json(path, dict).items():
        if not isinstance(entry, dict) or not isinstance(entry.get("metadata"), dict):
            raise ValueError(f"{path}: video {name} has no metadata; download it again")
        tracks = entry.get(_FIELDS[dataset])
        if entry["metadata"].get("split") == split and isinstance(tracks, list) and tracks:
            entries.append((str(name), entry))
    if not entries:
        raise ValueError(
            f"{path} has no {_FIELDS[dataset]} of the split {split}; check which file it is"
        )
    return entries


def _read_metadata(name: str, entry: Mapping[str, Any]) -> tuple[int, tuple[int, int]]:
    """Number of frames and (H, W)."""
    try:
        metadata = entry["metadata"]
        height, width = metadata["resolution"]
        return int(metadata["num_frames"]), (int(height), int(width))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"video {name} has no num_frames or resolution [H, W] in its metadata"
        ) from error


def _read_point_track(name: str, track: Any, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    frames, rows = _numbers(name, track, "points", num_frames)
    if rows.shape != (2, len(frames)):
        raise ValueError(
            f"a point track of {name} has points {list(rows.shape)}, expected a row of y and a row "
            f"of x, [2, {len(frames)}]"
        )
    return frames, rows[::-1].T.copy()


def _read_box_track(name: str, track: Any, num_frames: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Label, frames and boxes from the one on that tracking starts with."""
    frames, boxes = _numbers(name, track, "bounding_boxes", num_frames)
    if boxes.shape != (len(frames), 4):
        raise ValueError(
            f"an object of {name} has boxes {list(boxes.shape)}, expected [{len(frames)}, 4]"
        )
    start = list(track.get("initial_tracking_box") or [1])
    if 1 not in start or len(start) > max(len(frames), 1):
        raise ValueError(f"an object of {name} has no single box that its tracking starts with")
    first = start.index(1)
    return str(track.get("label", "")), frames[first:], boxes[first:]


def _numbers(
    name: str, track: Any, field_name: str, num_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    try:
        frames = np.array(track["frame_ids"], np.int64)
        values = np.array(track[field_name], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"a track of {name} lacks frame_ids or {field_name}") from error
    if frames.ndim != 1 or not len(frames) or (np.diff(frames) <= 0).any():
        raise ValueError(f"a track of {name} has frame_ids that do not rise")
    if frames[0] < 0 or frames[-1] >= num_frames:
        raise ValueError(
            f"a track of {name} has frames {frames[0]} to {frames[-1]}, but the video has "
            f"{num_frames}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"a track of {name} has {field_name} that are not finite")
    return frames, values


def _video_path(root: Path, name: str) -> Path:
    if Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a video")
    return Path(root) / "videos" / f"{name}.mp4"


def _list_path(dataset: str, root: Path, split: str) -> Path:
    """The smallest file that is there, or the name of one that would do."""
    task = _FIELDS[dataset]
    names = (f"{task}_{split}", f"{task}_{split}_subset", split, f"all_{split}")
    paths = [Path(root) / f"{name}.json" for name in names]
    return next((path for path in paths if path.exists()), paths[0])


def _benchmark(
    name: str, read: Callable[[Path, str], VideoDataset[Any]]
) -> Benchmark[VideoDataset[Any]]:
    return Benchmark(
        name=name,
        splits=_SPLITS,
        list_path=partial(_list_path, name),
        read=read,
        published=("https://github.com/google-deepmind/perception_test",),
    )


PERCEPTION_TEST_POINTS = _benchmark(_POINTS, read_perception_test_points)
PERCEPTION_TEST_BOXES = _benchmark(_BOXES, read_perception_test_boxes)
