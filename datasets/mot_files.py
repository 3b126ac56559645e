"""Text files of MOTChallenge: true boxes, detections and results of trackers.

One line a box, comma-separated. Frames and pixels count from 1 and stay as they are in the file:
(1, 1) is the upper left pixel.

    gt/gt.txt     frame, id, x, y, w, h, flag, class, visibility     MOT16, MOT17, MOT20
    gt/gt.txt     frame, id, x, y, w, h, flag, X, Y, Z               MOT15, all pedestrians
    det/det.txt   frame, -1, x, y, w, h, confidence, ...
    <name>.txt    frame, id, x, y, w, h, confidence, -1, -1, -1      results
    seqinfo.ini   [Sequence] name, seqLength

A frame without objects has no line.

References: Leal-Taixe et al., arXiv:1504.01942 (MOT15); Milan et al., arXiv:1603.00831
(MOT16 and 17); Dendorfer et al., arXiv:2003.09003 (MOT20).
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vdit.atomic import replace_when_complete
from vdit.datasets.annotation_files import read_text

__all__ = [
    "BoxTracks",
    "SequenceInfo",
    "TrueBoxTracks",
    "parse_results",
    "read_detections",
    "read_results",
    "read_sequence_info",
    "read_truth",
    "write_results",
]

MotBenchmark = Literal["MOT15", "MOT16", "MOT17", "MOT20"]

_BOX = ("frame", "id", "x", "y", "w", "h")
_RESULT = (*_BOX, "confidence")
_TRUTH = (*_BOX, "flag", "class", "visibility")
_TRUTH_3D = (*_BOX, "flag", "X", "Y", "Z")
_DECIMALS = 6
_PEDESTRIAN = 1
_NUM_CLASSES = 13

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class BoxTracks:
    """Boxes of a sequence, R in all.

    Attributes:
        frames: [R] from 1.
        ids: [R] of the objects; -1 for all boxes of a detector.
        boxes_xywh: [R, 4] (x of the left edge, y of the top edge, width, height) in pixels from 1.
        confidences: [R] in the unit of the tracker or detector.
    """

    frames: Integers
    ids: Integers
    boxes_xywh: Floats
    confidences: Floats

    @property
    def rows(self) -> Floats:
        """[R, 6] rows (frame, id, x, y, w, h), as the metrics of tracking take them."""
        return np.column_stack([self.frames, self.ids, self.boxes_xywh])


@dataclass(frozen=True)
class TrueBoxTracks:
    """True boxes of a sequence, R in all.

    Attributes:
        frames: [R] from 1.
        ids: [R] of the objects.
        boxes_xywh: [R, 4] (x of the left edge, y of the top edge, width, height) in pixels from 1.
        counted: [R] bool, whether the benchmark counts the box.
        classes: [R] 1 = pedestrian to 13.
        visibility: [R] share in 0..1 that is in sight; NaN in MOT15, which does not tell.
    """

    frames: Integers
    ids: Integers
    boxes_xywh: Floats
    counted: NDArray[np.bool_]
    classes: Integers
    visibility: Floats

    @property
    def rows(self) -> Floats:
        """[R, 6] rows (frame, id, x, y, w, h), as the metrics of tracking take them."""
        return np.column_stack([self.frames, self.ids, self.boxes_xywh])


@dataclass(frozen=True)
class SequenceInfo:
    """What seqinfo.ini says.

    Attributes:
        name: of the sequence.
        num_frames: frames of the video, also those without objects.
    """

    name: str
    num_frames: int


def read_truth(path: Path, benchmark: MotBenchmark = "MOT17") -> TrueBoxTracks:
    """Read gt.txt; a file without lines holds no object.

    Args:
        path: the file.
        benchmark: MOT15 has no classes and no visibility.

    Raises:
        ValueError: the file cannot be read, a line has not the columns of the benchmark or no
            numbers, a frame or an id is no whole number, a class is not in 1..13, or an id is twice
            in a frame.
    """
    if benchmark not in ("MOT15", "MOT16", "MOT17", "MOT20"):
        raise ValueError(f"expected MOT15, MOT16, MOT17 or MOT20, got {benchmark!r}")
    columns = _TRUTH_3D if benchmark == "MOT15" else _TRUTH
    table = _read_table(path, columns, at_most=len(columns), what=f"true boxes of {benchmark}")
    _check_identities(path, table)
    if benchmark == "MOT15":
        classes, visibility = np.full(len(table), _PEDESTRIAN), np.full(len(table), np.nan)
    else:
        classes, visibility = _whole(path, table, 7, "class"), table[:, 8]
        wrong = np.flatnonzero((classes < 1) | (classes > _NUM_CLASSES))
        if len(wrong):
            raise ValueError(
                f"{path}: a box has the class {classes[wrong[0]]}, expected 1..{_NUM_CLASSES}; "
                "check which benchmark the file is of"
            )
    frames, ids = _whole(path, table, 0, "frame"), _whole(path, table, 1, "id")
    return TrueBoxTracks(frames, ids, table[:, 2:6], table[:, 6] != 0, classes, visibility)


def read_results(path: Path) -> BoxTracks:
    """Read what a tracker found; a file without lines holds no object.

    Columns after the confidence are not read.

    Raises:
        ValueError: the file cannot be read, a line has fewer than 7 columns or no numbers, a frame
            or an id is no whole number, an id is negative, or it is twice in a frame.
    """
    return parse_results(read_text(path), path)


def parse_results(text: str, place: Path) -> BoxTracks:
    """Read the content of a file of results, such as one in an archive; see `read_results`.

    Args:
        text: content.
        place: name of the file, for messages.
    """
    table = _parse_table(text, place, _RESULT, at_most=None, what="results")
    tracks = _box_tracks(place, table)
    if (tracks.ids < 0).any():
        raise ValueError(
            f"{place} has the id {tracks.ids.min()}, expected ids >= 0; it is rather a file of "
            "detections"
        )
    _check_identities(place, table)
    return tracks


def read_detections(path: Path) -> BoxTracks:
    """Read what a detector found; the ids are those of the file, -1.

    Raises:
        ValueError: the file cannot be read, a line has fewer than 7 columns or no numbers, or a
            frame or an id is no whole number.
    """
    return _box_tracks(path, _read_table(path, _RESULT, at_most=None, what="detections"))


def write_results(path: str | os.PathLike[str], tracks: BoxTracks) -> None:
    """Write a file that the benchmark's server takes, in the order of frames and ids.

    Numbers are rounded to 6 decimals. A file is written even where there is no box.

    Args:
        path: of the file; it appears once it is complete.
        tracks: boxes with ids >= 0.

    Raises:
        ValueError: an id is negative or twice in a frame, a frame is below 1, a number is not
            finite, or the file cannot be written.
    """
    table = np.column_stack([tracks.rows, tracks.confidences])
    if not np.isfinite(table).all():
        raise ValueError("expected finite boxes and confidences, got NaN or infinity; drop the box")
    if len(table) and (tracks.frames.min() < 1 or tracks.ids.min() < 0):
        raise ValueError(
            f"expected frames from 1 and ids from 0, got {tracks.frames.min()} and "
            f"{tracks.ids.min()}; frames of these files count from 1"
        )
    _check_identities(Path(path), table)
    lines = []
    for row in table[np.lexsort((tracks.ids, tracks.frames))]:
        numbers = [f"{row[0]:.0f}", f"{row[1]:.0f}", *map(_format, row[2:])]
        lines.append(",".join([*numbers, "-1,-1,-1\n"]))
    with replace_when_complete(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def read_sequence_info(path: Path) -> SequenceInfo:
    """Read seqinfo.ini.

    Raises:
        ValueError: the file cannot be read, or has no name or no number of frames.
    """
    parser, text = configparser.ConfigParser(interpolation=None), read_text(path)
    try:
        parser.read_string(text)
        name, num_frames = parser.get("Sequence", "name"), parser.getint("Sequence", "seqLength")
    except (configparser.Error, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} gives no name and seqLength of a sequence ({reason}); download it again"
        ) from error
    if num_frames < 1:
        raise ValueError(f"{path}: seqLength is {num_frames}, expected at least 1")
    return SequenceInfo(name, num_frames)


def _read_table(path: Path, columns: tuple[str, ...], at_most: int | None, what: str) -> Floats:
    return _parse_table(read_text(path), path, columns, at_most, what)


def _parse_table(
    text: str, path: Path, columns: tuple[str, ...], at_most: int | None, what: str
) -> Floats:
    """[R, C] numbers of the named columns, which come first in each line."""
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.split(",")
        if not line.strip():
            continue
        if len(cells) < len(columns) or (at_most is not None and len(cells) > at_most):
            raise ValueError(
                f"{path}, line {number} has {len(cells)} columns, expected {len(columns)} for "
                f"{what} ({', '.join(columns)}); check which benchmark the file is of"
            )
        try:
            rows.append([float(cell) for cell in cells[: len(columns)]])
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number} holds something else than numbers ({error}); copy the "
                "file again"
            ) from error
        if not np.isfinite(rows[-1]).all():
            raise ValueError(f"{path}, line {number} holds a number that is not finite")
    table = np.array(rows, np.float64).reshape(-1, len(columns))
    if len(table) and _whole(path, table, 0, "frame").min() < 1:
        raise ValueError(f"{path} has the frame {table[:, 0].min():.0f}, expected frames from 1")
    return table


def _box_tracks(path: Path, table: Floats) -> BoxTracks:
    frames, ids = _whole(path, table, 0, "frame"), _whole(path, table, 1, "id")
    return BoxTracks(frames, ids, table[:, 2:6], table[:, 6])


def _whole(path: Path, table: Floats, column: int, name: str) -> Integers:
    values = table[:, column]
    wrong = values[values != values.round()]
    if len(wrong):
        raise ValueError(f"{path} has the {name} {wrong[0]}, expected whole numbers")
    return values.astype(np.int64)


def _check_identities(path: Path, table: Floats) -> None:
    pairs, counts = np.unique(table[:, :2], axis=0, return_counts=True)
    if (counts > 1).any():
        frame, identity = pairs[counts > 1][0]
        raise ValueError(
            f"{path} has the id {identity:.0f} {counts[counts > 1][0]} times in frame {frame:.0f}, "
            "expected each once; keep one of the boxes"
        )


def _format(value: float) -> str:
    return np.format_float_positional(round(value, _DECIMALS), trim="-")
