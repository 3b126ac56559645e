"""RealEstate10K: tours through houses with the camera of every frame.

The owners publish cameras, and frames by their YouTube addresses alone:

    <split>/<clip>.txt                  as published: the address of the video, then a line a frame
    <split>/<clip>/<timestamp>.jpg      the frames, extracted by you; the clip's file names them

A line of a frame is `timestamp fx fy cx cy k1 k2` and the 3 x 4 matrix from the world to the
camera, row by row. Timestamps are microseconds; fx, fy, cx and cy shares of the width and height;
k1 and k2 are 0. Translations are in a unit of each clip's own.

Many videos are gone. Clips without a folder of frames are left out and counted in the data set's
note.

Reference: Zhou et al., Stereo Magnification: Learning View Synthesis using Multiplane Images,
SIGGRAPH 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from vdit.datasets.annotation_files import read_text
from vdit.datasets.checking import Benchmark
from vdit.datasets.findings import Findings
from vdit.datasets.frame_sources import PictureFrames
from vdit.datasets.truth_videos import CameraTruth, PosedVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["REALESTATE10K", "read_realestate10k"]

_NAME = "realestate10k"
_FOLDER = "RealEstate10K"
_SPLITS = ("train", "test")
_NUM_COLUMNS = 19


def read_realestate10k(root: Path, split: str = "test") -> VideoDataset[PosedVideo]:
    """Read the clips of a split whose frames are there, in the order of their names.

    Args:
        root: of the tree, or the folder that holds RealEstate10K.
        split: "train" or "test".

    Raises:
        ValueError: an unknown split; it lists no clip, or the frames of none are there.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    folder = _find_root(Path(root)) / split
    listed = sorted(folder.glob("*.txt"))
    if not listed:
        raise ValueError(f"{folder} holds no <clip>.txt, expected the files of {_NAME}")
    present = {path.name for path in folder.iterdir() if path.is_dir()}
    paths = [path for path in listed if path.stem in present]
    if not paths:
        raise ValueError(
            f"{folder} lists {len(listed)} clips without frames, expected "
            f"{listed[0].stem}/<timestamp>.jpg; extract them from the videos"
        )
    videos = tuple(
        PosedVideo(
            dataset=_NAME,
            split=split,
            name=path.stem,
            frame_source=_ListedFrames(path),
            camera_source=_ListedCameras(path),
        )
        for path in paths
    )
    absent = len(listed) - len(paths)
    note = f"frames of {absent} of {len(listed)} clips are not there" if absent else ""
    return VideoDataset(_NAME, split, videos, note)


@dataclass(frozen=True)
class _ListedFrames:
    """Frames named by the file of a clip, which is read when they are first asked for.

    Attributes:
        path: <clip>.txt.
    """

    path: Path

    @cached_property
    def _pictures(self) -> PictureFrames:
        names = tuple(row[0] for row in _read_rows(self.path))
        return PictureFrames(self.path.with_suffix(""), names)

    @property
    def names(self) -> tuple[str, ...]:
        return self._pictures.names

    def size(self) -> tuple[int, int]:
        return self._pictures.size()

    def read(self, indices: Sequence[int]) -> np.ndarray:
        return self._pictures.read(indices)

    def pictures(self, indices: Sequence[int]) -> list[Image.Image]:
        """Decode frames; see `ReferringSample.pictures`."""
        return self._pictures.pictures(indices)

    def inspect(self, findings: Findings) -> int:
        """Read the headers of all frames."""
        try:
            return self._pictures.inspect(findings)
        except ValueError as error:
            findings.add("lists of frames cannot be read", error)
            return 0


@dataclass(frozen=True)
class _ListedCameras:
    """Cameras from the file of a clip.

    Attributes:
        path: <clip>.txt.
    """

    path: Path

    def read_cameras(self) -> CameraTruth:
        """Cameras of all T frames.

        Raises:
            ValueError: the file is missing or damaged.
        """
        rows = _read_rows(self.path)
        try:
            numbers = np.array([[float(word) for word in row[1:]] for row in rows])
        except ValueError as error:
            raise ValueError(f"{self.path} holds a word that is no number ({error})") from error
        if not np.isfinite(numbers).all():
            raise ValueError(f"{self.path} holds NaN or infinity, expected numbers; copy it again")
        return CameraTruth(numbers[:, 6:].reshape(-1, 3, 4), numbers[:, :4])


def _read_rows(path: Path) -> list[list[str]]:
    """Read the words of the lines after the first, one line a frame, in the order of time."""
    rows = [line.split() for line in read_text(path).splitlines()[1:] if line.strip()]
    for number, row in enumerate(rows, start=2):
        if len(row) != _NUM_COLUMNS or not row[0].isdigit():
            raise ValueError(
                f"{path}: line {number} has {len(row)} words, expected a timestamp and "
                f"{_NUM_COLUMNS - 1} numbers; copy it again"
            )
    if not rows:
        raise ValueError(f"{path} lists no frame, expected at least one; copy it again")
    times = [int(row[0]) for row in rows]
    if any(later <= time for time, later in pairwise(times)):
        raise ValueError(f"{path}: timestamps do not grow from line to line; copy it again")
    return rows


def _find_root(root: Path) -> Path:
    return root / _FOLDER if (root / _FOLDER).is_dir() else root


def _list_path(root: Path, split: str) -> Path:
    return _find_root(Path(root)) / split


REALESTATE10K = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_realestate10k,
    published=("https://google.github.io/realestate10k/",),
)
