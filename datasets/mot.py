"""MOTChallenge: videos of pedestrians with boxes and identities, and public detections.

    <split>/<sequence>/img1/%06d.jpg      frames from 000001
    <split>/<sequence>/gt/gt.txt          boxes with identities; none of test
    <split>/<sequence>/det/det.txt        boxes of a detector, the public detections
    <split>/<sequence>/seqinfo.ini        name and length

Splits are "train" and "test" as published, and "train-half" and "val-half": the first and the
second half of every training sequence, which share no frame. MOT17 has every video three times,
with the detections of DPM, FRCNN and SDP; its files of true boxes are equal.

References: Leal-Taixe et al., arXiv:1504.01942 (MOT15); Milan et al., arXiv:1603.00831 (MOT17);
Dendorfer et al., arXiv:2003.09003 (MOT20).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from vdit.datasets.checking import Benchmark
from vdit.datasets.findings import Findings
from vdit.datasets.frame_sources import PictureFrames, picture_header
from vdit.datasets.mot_files import (
    BoxTracks,
    TrueBoxTracks,
    read_detections,
    read_sequence_info,
    read_truth,
)
from vdit.datasets.truth_videos import BoxTrackVideo, BoxTruth
from vdit.datasets.videos import VideoDataset

__all__ = ["MOT15", "MOT17", "MOT20", "MotSequence", "MotVideo", "read_mot"]

MotName = Literal["MOT15", "MOT17", "MOT20"]

SPLITS = ("train", "test", "train-half", "val-half")
DETECTORS = ("DPM", "FRCNN", "SDP")
"""Of MOT17, each with a copy of every video."""

_PEDESTRIAN = 1
_COPY = re.compile(rf"-({'|'.join(DETECTORS)})$")


@dataclass(frozen=True)
class MotSequence:
    """Files of a sequence, of which a video takes some frames.

    Attributes:
        folder: of the sequence.
        benchmark: "MOT15", "MOT17" or "MOT20"; says what the columns of gt.txt are.
        first: number of the video's first frame in the files, from 1.
        last: number of its last frame.
        least_visibility: pedestrians that are less in sight have no box in `BoxTruth`.
    """

    folder: Path
    benchmark: MotName
    first: int
    last: int
    least_visibility: float = 0.0

    def truth(self) -> TrueBoxTracks:
        """Read the rows of gt.txt in the frames of the video, also those that do not count.

        Raises:
            ValueError: the file is missing or damaged.
        """
        path = self.folder / "gt" / "gt.txt"
        every = read_truth(path, self.benchmark)
        rows = self._rows(path, every.frames)
        return TrueBoxTracks(
            every.frames[rows],
            every.ids[rows],
            every.boxes_xywh[rows],
            every.counted[rows],
            every.classes[rows],
            every.visibility[rows],
        )

    def detections(self) -> BoxTracks:
        """Read the public detections in the frames of the video.

        Raises:
            ValueError: the file is missing or damaged.
        """
        path = self.folder / "det" / "det.txt"
        every = read_detections(path)
        rows = self._rows(path, every.frames)
        return BoxTracks(
            every.frames[rows], every.ids[rows], every.boxes_xywh[rows], every.confidences[rows]
        )

    def read_boxes(self) -> BoxTruth:
        """Give the pedestrians that count, in shares of the frame; boxes may reach out of it."""
        height, width = picture_header(self.folder / "img1" / f"{1:06d}.jpg")[0]
        truth = self.truth()
        in_sight = ~(truth.visibility < self.least_visibility)  # MOT15 does not tell: NaN
        kept = truth.counted & (truth.classes == _PEDESTRIAN) & in_sight
        ids, objects = np.unique(truth.ids[kept], return_inverse=True)
        frames = truth.frames[kept] - self.first
        corner = truth.boxes_xywh[kept, :2] - 1  # the files count pixels from 1
        edges = np.hstack([corner, corner + truth.boxes_xywh[kept, 2:]])
        boxes = np.zeros((len(ids), self.last - self.first + 1, 4))
        boxes[objects, frames] = edges / [width, height, width, height]
        labelled = np.zeros(boxes.shape[:2], dtype=bool)
        labelled[objects, frames] = True
        return BoxTruth(boxes, labelled, tuple(str(each) for each in ids))

    def _rows(self, path: Path, frames: np.ndarray) -> np.ndarray:
        """Rows of the file that belong to the video."""
        length = read_sequence_info(self.folder / "seqinfo.ini").num_frames
        if len(frames) and frames.max() > length:
            raise ValueError(
                f"{path} has the frame {frames.max()}, but seqinfo.ini counts {length}; take both "
                "from one release"
            )
        return (frames >= self.first) & (frames <= self.last)


@dataclass(frozen=True)
class MotVideo(BoxTrackVideo):
    """A sequence of MOTChallenge, or a half of one.

    Attributes:
        sequence: its files.
    """

    sequence: MotSequence = field(repr=False)

    @property
    def has_truth(self) -> bool:
        """Whether boxes are public; those of test are not."""
        return self.split != "test"

    def inspect_truth(self, findings: Findings) -> int:
        try:
            self.sequence.detections()
        except ValueError as error:
            findings.add("detections cannot be read", error)
        return super().inspect_truth(findings) if self.has_truth else 0


def read_mot(
    root: Path,
    split: str = "train",
    *,
    benchmark: MotName = "MOT17",
    detector: str | None = None,
    each_video_once: bool = False,
    least_visibility: float = 0.0,
) -> VideoDataset[MotVideo]:
    """Read the sequences of a split, in the order of their names.

    Args:
        root: folder that holds train/ and test/.
        split: "train", "test", "train-half" or "val-half".
        benchmark: "MOT15", "MOT17" or "MOT20".
        detector: "DPM", "FRCNN" or "SDP", of MOT17: only the copies with its detections.
        each_video_once: of several copies of a video take the first, for training.
        least_visibility: 0..1, pedestrians that are less in sight are no boxes to learn.

    Raises:
        ValueError: an unknown split, benchmark or detector; the folder holds no sequence; seqinfo
            of one is missing or damaged.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(SPLITS)}")
    if benchmark not in ("MOT15", "MOT17", "MOT20"):
        raise ValueError(f"expected MOT15, MOT17 or MOT20, got {benchmark!r}")
    if detector is not None and detector not in DETECTORS:
        raise ValueError(f"expected a detector among {', '.join(DETECTORS)}, got {detector!r}")
    folder = Path(root) / _folder(split)
    names = _sequence_names(folder)
    if detector is not None:
        names = [name for name in names if name.endswith(f"-{detector}")]
        if not names:
            raise ValueError(f"{folder} has no sequence with the detections of {detector}")
    if each_video_once:
        first: dict[str, str] = {}
        for name in names:
            first.setdefault(_COPY.sub("", name), name)
        names = list(first.values())
    videos = [_read_video(folder / name, benchmark, split, least_visibility) for name in names]
    return VideoDataset(benchmark.lower(), split, tuple(videos))


def _read_video(folder: Path, benchmark: MotName, split: str, least_visibility: float) -> MotVideo:
    length = read_sequence_info(folder / "seqinfo.ini").num_frames
    middle = length // 2
    first, last = {"train-half": (1, middle), "val-half": (middle + 1, length)}.get(
        split, (1, length)
    )
    names = tuple(f"{number:06d}" for number in range(first, last + 1))
    sequence = MotSequence(folder, benchmark, first, last, least_visibility)
    return MotVideo(
        dataset=benchmark.lower(),
        split=split,
        name=folder.name,
        frame_source=PictureFrames(folder / "img1", names),
        box_source=sequence,
        sequence=sequence,
    )


def _sequence_names(folder: Path) -> list[str]:
    names = []
    if folder.is_dir():
        names = [each.name for each in folder.iterdir() if (each / "img1").is_dir()]
    if not names:
        raise ValueError(
            f"{folder} holds no sequence, expected folders with img1/; unpack the data set there"
        )
    return sorted(names)


def _folder(split: str) -> str:
    return "test" if split == "test" else "train"


def _list_path(root: Path, split: str) -> Path:
    return Path(root) / _folder(split)


MOT15 = Benchmark(
    name="mot15",
    splits=SPLITS,
    list_path=_list_path,
    read=partial(read_mot, benchmark="MOT15"),
    published=("https://motchallenge.net/data/MOT15/",),
    counts={"train": {"MOT15": (11, 5500)}, "test": {"MOT15": (11, 5783)}},
)
MOT17 = Benchmark(
    name="mot17",
    splits=SPLITS,
    list_path=_list_path,
    read=partial(read_mot, benchmark="MOT17"),
    published=("https://motchallenge.net/data/MOT17/",),
    counts={"train": {"MOT17": (21, 15948)}, "test": {"MOT17": (21, 17757)}},
)
MOT20 = Benchmark(
    name="mot20",
    splits=SPLITS,
    list_path=_list_path,
    read=partial(read_mot, benchmark="MOT20"),
    published=("https://motchallenge.net/data/MOT20/",),
    counts={"train": {"MOT20": (4, 8931)}, "test": {"MOT20": (4, 4479)}},
)
