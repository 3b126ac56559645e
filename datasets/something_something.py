"""Something-Something v2: 220847 videos of 174 things that hands do to things.

    20bn-something-something-v2/<id>.webm        or all .mp4
    labels/labels.json           {"Holding something": "0", ...}, templates without brackets
    labels/train.json            [{"id": str, "template": "Holding [something]", ...}, ...]
    labels/validation.json       the same
    labels/test-answers.csv      "<id>;Holding something" a line

Older releases name the files something-something-v2-{labels,train,validation}.json and keep them
in the root; the answers of the test came later.

Reference: Goyal et al., The "something something" video database for learning and evaluating visual
common sense, ICCV 2017.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vdit.datasets.annotation_files import read_json, read_text
from vdit.datasets.checking import Benchmark
from vdit.datasets.classified_videos import find_folder, gather, look_up
from vdit.datasets.frame_sources import VideoFrames
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["SOMETHING_SOMETHING_V2", "read_something_something"]

_NAME = "something-something-v2"
_SPLITS = ("train", "validation", "test")
_VIDEOS = ("20bn-something-something-v2", "videos", "videos/20bn-something-something-v2", ".")
_LISTS = ("labels", "annotations", ".")
_TEST = "test-answers.csv"


def read_something_something(root: Path, split: str = "train") -> VideoDataset[ClassifiedVideo]:
    """Read the videos of one split, in the order of its list.

    Args:
        root: folder that holds 20bn-something-something-v2 and labels.
        split: "train", "validation" or "test".

    Raises:
        ValueError: an unknown split; a list is missing, damaged or contradicts another one.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    root = Path(root)
    path = _list_path(root, split)
    pairs = _read_answers(path) if split == "test" else _read_list(path)
    classes = _read_classes(_find_list(root, "labels.json"))
    folder = find_folder(root, *_VIDEOS)
    suffix = _find_suffix(folder)
    items = (
        (number, VideoFrames(folder / f"{number}{suffix}"), look_up(classes, template, path))
        for number, template in pairs
    )
    return gather(_NAME, split, items, tuple(classes))


def _find_list(root: Path, name: str) -> Path:
    """Where a list lies, under its new or its old name; the new one if there is none."""
    paths = [root / folder / f"{prefix}{name}" for prefix in ("", f"{_NAME}-") for folder in _LISTS]
    return next((path for path in paths if path.is_file()), paths[0])


def _find_suffix(folder: Path) -> str:
    """Extension of the videos: that of the first one, as many copies hold .mp4."""
    if folder.is_dir():
        with os.scandir(folder) as entries:
            suffixes = (os.path.splitext(entry.name)[1] for entry in entries)
            return next((suffix for suffix in suffixes if suffix in (".webm", ".mp4")), ".webm")
    return ".webm"


def _list_path(root: Path, split: str) -> Path:
    return _find_list(Path(root), _TEST if split == "test" else f"{split}.json")


def _read_classes(path: Path) -> dict[str, int]:
    """Name -> number, in the order of the numbers."""
    numbers = read_json(path, dict)
    try:
        classes = {name: int(number) for name, number in numbers.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has a class without a number; download it again") from error
    if sorted(classes.values()) != list(range(len(classes))):
        raise ValueError(f"{path} does not number its classes from 0; download it again")
    return dict(sorted(classes.items(), key=lambda item: item[1]))


def _read_list(path: Path) -> Iterator[tuple[str, str]]:
    """Ids of videos and names of their classes."""
    for position, entry in enumerate(read_json(path, list)):
        try:
            number, template = str(entry["id"]), entry["template"]
            yield number, template.replace("[", "").replace("]", "")
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path}: entry {position} has no "id" or no "template"; download it again'
            ) from error


def _read_answers(path: Path) -> Iterator[tuple[str, str]]:
    for position, line in enumerate(read_text(path).splitlines(), start=1):
        number, separator, template = line.partition(";")
        if not line.strip():
            continue
        if not separator:
            raise ValueError(
                f"{path}: line {position} is {line.strip()[:60]!r}, expected <id>;<class>"
            )
        yield number.strip(), template.strip()


SOMETHING_SOMETHING_V2 = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_something_something,
    published=("https://www.qualcomm.com/developer/software/something-something-v-2-dataset",),
    counts={
        "train": {"published": (168913, None)},
        "validation": {"published": (24777, None)},
        "test": {"published": (27157, None)},
    },
)
