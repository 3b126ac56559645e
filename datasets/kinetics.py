"""Kinetics-400 and Kinetics-700: clips of 10 seconds from YouTube, one human action each.

As the CVDF distributes them:

    annotations/<split>.csv                label,youtube_id,time_start,time_end,split[,is_cc]
    <split>/<youtube_id>_<start, 6 digits>_<end, 6 digits>.mp4
    replacement/replacement_for_corrupted_k400/<the same name>     in place of damaged ones

The clips may also lie in [videos/]<split>/<label>/, with _ in place of blanks or without. Another
common form has no annotations but

    <split>.csv                            "<path> <number of the class>" or "<path>,<number>"
    label_map_k400.txt                     names of the classes, one a line; they may be missing

Videos vanish from YouTube, so every copy of Kinetics lacks some. They are left out, and the note of
the data set says how many.

References: Kay et al., The Kinetics Human Action Video Dataset, arXiv 1705.06950; Smaira et al., A
Short Note on the Kinetics-700-2020 Human Action Dataset, arXiv 2010.10864.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from vdit.datasets.annotation_files import read_text
from vdit.datasets.checking import Benchmark
from vdit.datasets.classified_videos import Folders, Item, gather
from vdit.datasets.frame_sources import VideoFrames
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["KINETICS_400", "KINETICS_700", "read_kinetics"]

_SPLITS = ("train", "val", "test")
_COLUMNS = ("label", "youtube_id", "time_start", "time_end")
_REPLACEMENT = "replacement/replacement_for_corrupted_k400"
_PATH_AND_NUMBER = re.compile(r"(.+?)[,\s]+([0-9]+)")  # paths may hold blanks and commas
_LISTS = ("annotations/{}.csv", "{}.csv", "annotations/{}.txt", "{}.txt")


def read_kinetics(
    root: Path, split: str = "train", *, version: str = "400"
) -> VideoDataset[ClassifiedVideo]:
    """Read the clips of one split that are there, in the order of its list.

    Args:
        root: folder that holds the splits and annotations, or the list of paths.
        split: "train", "val" or "test".
        version: "400" or "700".

    Returns:
        The clips; `note` says how many of the list are absent.

    Raises:
        ValueError: an unknown split; the list is missing or damaged; no clip of it is there.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    root = Path(root)
    path = _list_path(root, split)
    lines = read_text(path).splitlines()
    header = next(csv.reader(lines[:1]), [])
    if set(_COLUMNS) <= set(header):
        items, classes, num_listed = _read_annotations(lines, path, root, split)
    else:
        items, classes, num_listed = _read_paths(lines, path, root, version)
    if num_listed and not items:
        raise ValueError(
            f"{root} holds none of the {num_listed} clips that {path} lists; check where the "
            f"videos of {split} lie"
        )
    note = f"{num_listed - len(items)} of {num_listed} listed videos are absent and left out"
    return gather(
        f"kinetics-{version}", split, items, classes, note if len(items) < num_listed else ""
    )


def _list_path(root: Path, split: str) -> Path:
    paths = [Path(root) / form.format(split) for form in _LISTS]
    return next((path for path in paths if path.is_file()), paths[0])


# ---- annotations by YouTube id -----------------------------------------------------------------


def _read_annotations(
    lines: list[str], path: Path, root: Path, split: str
) -> tuple[list[Item], tuple[str, ...], int]:
    """The clips that are there, all classes, and the number of listed clips."""
    rows = list(_rows(lines, path))
    classes = _all_classes(root, {label for label, _ in rows})
    numbers = {name: number for number, name in enumerate(classes)}
    folders = Folders(root)
    items: list[Item] = []
    for label, name in rows:
        found = next((p for p in _places(split, label, name) if folders.has(p)), None)
        if found is not None:
            items.append((f"{label}/{name}", VideoFrames(root / found), numbers[label]))
    return items, classes, len(rows)


def _all_classes(root: Path, labels: set[str]) -> tuple[str, ...]:
    """Labels of all splits, so that a number means the same in each of them."""
    for split in _SPLITS:
        path = _list_path(root, split)
        if path.is_file():
            rows = csv.DictReader(read_text(path).splitlines())
            labels = labels | {_clean(row.get("label")) for row in rows}
    return tuple(sorted(labels - {""}))


def _clean(label: str | None) -> str:
    return (label or "").strip().strip('"')


def _rows(lines: list[str], path: Path) -> Iterator[tuple[str, str]]:
    """Labels and names of clips."""
    for number, row in enumerate(csv.DictReader(lines), start=2):
        try:
            label = _clean(row["label"])
            start, end = int(float(row["time_start"])), int(float(row["time_end"]))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: line {number} has no times in seconds; download it again"
            ) from error
        if not label:
            raise ValueError(
                f"{path}: line {number} has no label, expected one; choose a split with labels"
            )
        yield label, f"{row['youtube_id']}_{start:06d}_{end:06d}"


def _places(split: str, label: str, name: str) -> tuple[str, ...]:
    """Where a clip may lie below the root, the best place first."""
    file = f"{name}.mp4"
    joined = label.replace(" ", "_")
    return (
        f"{_REPLACEMENT}/{file}",
        f"{split}/{file}",
        f"{split}/{label}/{file}",
        f"{split}/{joined}/{file}",
        f"videos/{split}/{label}/{file}",
        f"videos/{split}/{joined}/{file}",
        f"videos/{split}/{file}",
    )


# ---- lists of paths ----------------------------------------------------------------------------


def _read_paths(
    lines: list[str], path: Path, root: Path, version: str
) -> tuple[list[Item], tuple[str, ...], int]:
    """As `_read_annotations`, of paths below the root, or absolute ones, with numbers."""
    folders = Folders(root)
    items: list[Item] = []
    num_listed = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _PATH_AND_NUMBER.fullmatch(line.strip())
        if match is None:
            raise ValueError(
                f"{path}: line {number} is {line.strip()[:60]!r}, expected a path and the number "
                f"of a class, or columns {', '.join(_COLUMNS)} in the first line"
            )
        file, label = match[1].strip('"'), int(match[2])
        num_listed += 1
        if folders.has(file):
            items.append((file.rpartition(".")[0], VideoFrames(root / file), label))
    return items, _class_names(path, root, version), num_listed


def _class_names(path: Path, root: Path, version: str) -> tuple[str, ...]:
    """Names of a file beside the list or in the root, else the numbers themselves."""
    name = f"label_map_k{version}.txt"
    for file in (path.with_name(name), root / name):
        if file.is_file():
            return tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    return tuple(str(number) for number in range(int(version)))


def _benchmark(version: str, counts: dict[str, tuple[int, None]], page: str) -> Benchmark:
    read: Callable[..., VideoDataset[ClassifiedVideo]] = partial(read_kinetics, version=version)
    return Benchmark(
        name=f"kinetics-{version}",
        splits=_SPLITS,
        list_path=_list_path,
        read=read,
        published=(page, "https://github.com/cvdfoundation/kinetics-dataset"),
        counts={split: {"the CVDF": count} for split, count in counts.items()},
    )


KINETICS_400 = _benchmark(
    "400",
    {"train": (240258, None), "val": (19881, None), "test": (38685, None)},
    "https://s3.amazonaws.com/kinetics/400",
)
KINETICS_700 = _benchmark("700", {}, "https://s3.amazonaws.com/kinetics/700_2020")
