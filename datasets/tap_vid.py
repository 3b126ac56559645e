"""TAP-Vid: points that people, or a simulator, followed through videos.

    tapvid_davis/tapvid_davis.pkl                  {name: entry}
    tapvid_rgb_stacking/tapvid_rgb_stacking.pkl    [entry]
    tapvid_kinetics/%04d_of_0010.pkl               [entry] or {name: entry}

An entry holds `video` [T, H, W, 3] uint8 or T encoded pictures, `points` [P, T, 2] as (x, y) in
shares of the frame, and `occluded` [P, T]. The files hold gigabytes and name code to run; they are
read by `array_pickles.py`, frame by frame.

All of TAP-Vid is for tests. Split "train" of TAP-Vid-DAVIS stands for videos of another data set
that a probe learns from, the point tracks of Perception Test; they may lie in perception_test/.

Reference: Doersch et al., TAP-Vid: A Benchmark for Tracking Any Point in a Video, NeurIPS 2022
(Datasets and Benchmarks).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.array_frames import ArrayFrames, EncodedFrames
from vdit.datasets.array_pickles import StoredArray, StoredBytes, read_array_pickle
from vdit.datasets.checking import Benchmark
from vdit.datasets.perception_test import read_perception_test_points
from vdit.datasets.truth_videos import PointTrackVideo, PointTruth
from vdit.datasets.videos import VideoDataset

__all__ = [
    "TAP_VID_DAVIS",
    "TAP_VID_KINETICS",
    "TAP_VID_RGB_STACKING",
    "StoredPoints",
    "read_tap_vid_davis",
    "read_tap_vid_kinetics",
    "read_tap_vid_rgb_stacking",
]

_DAVIS, _KINETICS, _STACKING = "tap-vid-davis", "tap-vid-kinetics", "tap-vid-rgb-stacking"
_TEST = "test"
_SHARDS = "[0-9][0-9][0-9][0-9]_of_[0-9][0-9][0-9][0-9].pkl"


@dataclass(frozen=True)
class StoredPoints:
    """Points of one video in a pickle.

    Attributes:
        points: [P, T, 2] (x, y) in shares of the frame.
        occluded: [P, T] truth values, or numbers that are 0 where a point is seen.
        where: names them in errors.
    """

    points: StoredArray = field(repr=False)
    occluded: StoredArray = field(repr=False)
    where: str

    def read_points(self) -> PointTruth:
        """Read all points; every frame of every one was looked at.

        Raises:
            ValueError: the arrays do not fit, or a point that is seen is not finite.
        """
        points = self.points.load().astype(np.float64)
        occluded = self.occluded.load() != 0
        if occluded.ndim != 2 or points.shape != (*occluded.shape, 2):
            raise ValueError(
                f"{self.where} has points {list(points.shape)} and occluded "
                f"{list(occluded.shape)}, expected [P, T, 2] and [P, T]"
            )
        if not np.isfinite(points[~occluded]).all():
            raise ValueError(f"{self.where} has points that are seen and not finite")
        return PointTruth(points, ~occluded, np.ones_like(occluded))


def read_tap_vid_davis(
    root: Path, split: str = _TEST, *, perception_test: str | Path | None = None
) -> VideoDataset[PointTrackVideo]:
    """Read the 30 videos of the validation set of DAVIS 2017, or videos to learn from.

    Args:
        root: folder of tapvid_davis.pkl, or the one above it.
        split: "test"; "train" gives the training videos of Perception Test instead.
        perception_test: root of Perception Test, for "train"; None = perception_test/ in `root`.

    Raises:
        ValueError: another split; "train" without Perception Test; the file is missing or
            damaged, holds no video, or names more than arrays.
    """
    if split == "train":
        folder = Path(perception_test or _davis_path(Path(root), split))
        if not folder.is_dir():
            raise ValueError(
                f"{_DAVIS} has no videos for training, and {folder} is no folder; pass "
                "data.options.perception_test=ROOT to learn from Perception Test"
            )
        other = read_perception_test_points(folder, split)
        return dataclasses.replace(other, name=_DAVIS, note=f"{other.name} {split}")
    _check_split(_DAVIS, split)
    path = _davis_path(Path(root), split)
    entries = read_array_pickle(path)
    if not isinstance(entries, dict):
        raise ValueError(f"{path} holds a {type(entries).__name__}, expected a dict of videos")
    return _dataset(_DAVIS, [(str(name), path, entry) for name, entry in entries.items()])


def read_tap_vid_rgb_stacking(root: Path, split: str = _TEST) -> VideoDataset[PointTrackVideo]:
    """Read the 50 videos of a simulated robot; they are named by their number from 0.

    Raises:
        ValueError: as `read_tap_vid_davis`.
    """
    _check_split(_STACKING, split)
    path = _stacking_path(Path(root), split)
    entries = read_array_pickle(path)
    if not isinstance(entries, list):
        raise ValueError(f"{path} holds a {type(entries).__name__}, expected a list of videos")
    return _dataset(_STACKING, [(f"{i:04d}", path, each) for i, each in enumerate(entries)])


def read_tap_vid_kinetics(root: Path, split: str = _TEST) -> VideoDataset[PointTrackVideo]:
    """Read the videos of all shards, named by shard and number, such as 0003/0017.

    Raises:
        ValueError: as `read_tap_vid_davis`, or a shard is missing.
    """
    _check_split(_KINETICS, split)
    folder = _kinetics_path(Path(root), split)
    paths = sorted(folder.glob(_SHARDS))
    if not paths:
        raise ValueError(f"{folder} holds no %04d_of_0010.pkl; check the root of {_KINETICS}")
    total = int(paths[0].stem[-4:])
    expected = [f"{number:04d}_of_{total:04d}" for number in range(total)]
    missing = sorted(set(expected) - {path.stem for path in paths})
    if missing:
        raise ValueError(f"{folder} lacks {missing[0]}.pkl, one of {total} shards; download it")
    entries = []
    for path in paths:
        shard = read_array_pickle(path)
        if not isinstance(shard, list | dict):
            raise ValueError(f"{path} holds a {type(shard).__name__}, expected a list of videos")
        values = list(shard.values()) if isinstance(shard, dict) else shard
        entries += [(f"{path.stem[:4]}/{i:04d}", path, each) for i, each in enumerate(values)]
    return _dataset(_KINETICS, entries)


def _dataset(dataset: str, entries: list[tuple[str, Path, Any]]) -> VideoDataset[PointTrackVideo]:
    return VideoDataset(dataset, _TEST, tuple(_read_videos(dataset, entries)))


def _read_videos(dataset: str, entries: list[tuple[str, Path, Any]]) -> Iterator[PointTrackVideo]:
    for name, path, entry in entries:
        where = f"video {name} of {path}"
        if not isinstance(entry, dict) or not {"video", "points", "occluded"} <= set(entry):
            raise ValueError(f"{where} lacks video, points or occluded; download it again")
        points, occluded = entry["points"], entry["occluded"]
        if not isinstance(points, StoredArray) or not isinstance(occluded, StoredArray):
            raise ValueError(f"{where} has points or occluded that are no arrays")
        yield PointTrackVideo(
            dataset=dataset,
            split=_TEST,
            name=name,
            frame_source=_frames(entry["video"], where),
            point_source=StoredPoints(points, occluded, where),
        )


def _frames(video: Any, where: str) -> ArrayFrames | EncodedFrames:
    if isinstance(video, StoredArray) and video.dtype.kind == "S":
        video = video.load().tolist()
    if isinstance(video, StoredArray):
        try:
            return ArrayFrames(video)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    if (
        isinstance(video, list)
        and video
        and all(isinstance(frame, bytes | StoredBytes) for frame in video)
    ):
        return EncodedFrames(tuple(video), where)
    raise ValueError(f"{where} has frames that are neither an array nor encoded pictures")


def _check_split(dataset: str, split: str) -> None:
    if split != _TEST:
        raise ValueError(f"split={split!r} is unknown, {dataset} has only {_TEST!r}")


def _find(root: Path, folder: str, name: str) -> Path:
    inner = root / folder / name
    return inner if inner.exists() else root / name


def _davis_path(root: Path, split: str) -> Path:
    if split == "train":
        return Path(root) / "perception_test"
    return _find(Path(root), "tapvid_davis", "tapvid_davis.pkl")


def _stacking_path(root: Path, split: str) -> Path:
    return _find(Path(root), "tapvid_rgb_stacking", "tapvid_rgb_stacking.pkl")


def _kinetics_path(root: Path, split: str) -> Path:
    inner = Path(root) / "tapvid_kinetics"
    return inner if inner.is_dir() else Path(root)


_PUBLISHED = ("https://github.com/google-deepmind/tapnet",)

TAP_VID_DAVIS = Benchmark(
    name=_DAVIS,
    splits=("train", _TEST),
    list_path=_davis_path,
    read=read_tap_vid_davis,
    published=_PUBLISHED,
    counts={_TEST: {"TAP-Vid-DAVIS": (30, None)}},
)
TAP_VID_RGB_STACKING = Benchmark(
    name=_STACKING,
    splits=(_TEST,),
    list_path=_stacking_path,
    read=read_tap_vid_rgb_stacking,
    published=_PUBLISHED,
    counts={_TEST: {"TAP-Vid-RGB-Stacking": (50, None)}},
)
TAP_VID_KINETICS = Benchmark(
    name=_KINETICS,
    splits=(_TEST,),
    list_path=_kinetics_path,
    read=read_tap_vid_kinetics,
    published=_PUBLISHED,
    counts={_TEST: {"all ids of the list; videos vanish": (1189, None)}},
)
