"""`vdit track`: boxes with identities through videos."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vdit.atomic import replace_folder_when_complete
from vdit.build import quiet_libraries
from vdit.commands.segment import check_device
from vdit.datasets.mot import MOT15, MOT17, MOT20, MotVideo
from vdit.datasets.mot_files import write_results
from vdit.models.backbones.base import Backbone
from vdit.models.track_queries import TrackQueryModel
from vdit.probing.feature_sources import Backbones
from vdit.tracking.box_pictures import draw_boxes
from vdit.tracking.following import follow, follow_by_overlap
from vdit.tracking.frame_features import FeatureConfig, Levels, name_weights, stream_maps
from vdit.tracking.frame_tracks import FrameTracks, join_frames, shares_of
from vdit.tracking.query_tracker import TrackerOptions
from vdit.tracking.tracker_files import load_tracker
from vdit.video import open_video
from vdit.video_reader import VideoReader
from vdit.video_writer import VideoWriter

_BENCHMARKS = {benchmark.name: benchmark for benchmark in (MOT15, MOT17, MOT20)}
_FRAMES_PER_SECOND = 25.0
OUTPUTS = ("result.json", "overlay", "*.txt")
"""Of overlays of sequences."""


@dataclass(frozen=True)
class _Tracker:
    """Everything that follows objects."""

    model: TrackQueryModel
    backbone: Backbone
    features: FeatureConfig
    options: TrackerOptions
    by_overlap: bool

    def __call__(
        self,
        video: MotVideo | VideoReader,
        size: tuple[int, int],
        name: str,
        public: Iterable[Tensor] | None,
    ) -> Iterator[FrameTracks]:
        """Yield the objects of one frame after the other."""
        levels = Levels.of(self.backbone, self.features.blocks)
        maps = stream_maps(self.backbone, self.features, video, size, name)
        tracks = follow(self.model, map(levels.join, maps), self.options, public)
        return follow_by_overlap(tracks) if self.by_overlap else tracks


def run(arguments: Namespace) -> None:
    """Write `NAME.txt`, `overlay/NAME.mp4` and `result.json`."""
    begin = time.perf_counter()
    if (arguments.video is None) == (arguments.dataset is None):
        raise ValueError("expected a video or --dataset with --root, one of them")
    check_device(arguments.device)
    tracker = _load(arguments)
    with replace_folder_when_complete(arguments.output, OUTPUTS) as folder:
        if arguments.dataset is None:
            rows = [_track_file(tracker, open_video(arguments.video), folder)]
        else:
            videos = _read_videos(arguments)
            rows = [_track_sequence(tracker, video, folder, arguments.pictures) for video in videos]
        result: dict[str, Any] = {
            "tracker": arguments.tracker,
            "by_overlap": arguments.by_overlap,
            "public": tracker.options.public,
            "inactive_patience": tracker.options.inactive_patience,
            "videos": rows,
            "seconds": round(time.perf_counter() - begin, 3),
        }
        (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(result))
    else:
        for row in rows:
            print("{video}: {frames} frames, {boxes} boxes, {tracks} tracks".format(**row))


def _load(arguments: Namespace) -> _Tracker:
    model, spec = load_tracker(arguments.tracker)
    given = {
        "public": arguments.public,
        "inactive_patience": arguments.patience,
        "detection_threshold": arguments.detection_threshold,
        "track_threshold": arguments.track_threshold,
    }
    options = replace(spec.options, **{k: v for k, v in given.items() if v is not None})
    if options.public != "none" and arguments.dataset is None:
        raise ValueError(
            f"expected --public none for a video, got {options.public}: it has no public detections"
        )
    quiet_libraries()
    backbone = Backbones(arguments.device).get(spec.features.source)
    spec.expect(name_weights(backbone))
    model.to(arguments.device)
    return _Tracker(model, backbone, spec.features, options, arguments.by_overlap)


def _read_videos(arguments: Namespace) -> list[MotVideo]:
    if arguments.dataset not in _BENCHMARKS:
        known = ", ".join(_BENCHMARKS)
        raise ValueError(f"expected a data set among {known}; got {arguments.dataset!r}")
    if arguments.root is None:
        raise ValueError(f"expected --root with the folder of {arguments.dataset}")
    read: Any = _BENCHMARKS[arguments.dataset].read
    return list(read(Path(arguments.root), arguments.split, detector=arguments.detector))


def _track_file(tracker: _Tracker, reader: VideoReader, folder: Path) -> dict[str, Any]:
    """Track a video and draw what was found."""
    size, name = (reader.height, reader.width), reader.path.stem
    found = []
    with VideoWriter(_overlay(folder, name), reader.fps) as writer:
        tracks = tracker(reader, size, reader.path.name, None)
        for frame, each in zip(reader, tracks, strict=True):
            found.append(each)
            writer.add(draw_boxes(frame, each))
    return _write(folder, name, found, size, 1)


def _track_sequence(
    tracker: _Tracker, video: MotVideo, folder: Path, pictures: bool
) -> dict[str, Any]:
    """Track a sequence; public detections are those in its folder."""
    public, first = None, video.sequence.first
    if tracker.options.public != "none":
        detections = video.sequence.detections()
        numbers = range(first, video.sequence.last + 1)
        public = [shares_of(detections, number, video.size) for number in numbers]
    found = list(tracker(video, video.size, video.name, public))
    if pictures:
        with VideoWriter(_overlay(folder, video.name), _FRAMES_PER_SECOND) as writer:
            for frame, each in zip(video.stream(), found, strict=True):
                writer.add(draw_boxes(frame, each))
    return _write(folder, video.name, found, video.size, first)


def _overlay(folder: Path, name: str) -> Path:
    (folder / "overlay").mkdir(exist_ok=True)
    return folder / "overlay" / f"{name}.mp4"


def _write(
    folder: Path, name: str, found: list[FrameTracks], size: tuple[int, int], first: int
) -> dict[str, Any]:
    """Write the rows of a video; what there is to say of it."""
    rows = join_frames(found, size, first)
    write_results(folder / f"{name}.txt", rows)
    return {
        "video": name,
        "frames": len(found),
        "boxes": len(rows.ids),
        "tracks": len(set(rows.ids.tolist())),
    }
