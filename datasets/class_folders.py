"""Folders of classes: any videos or pictures, sorted into one folder a class.

    <split>/<class>/<video file, picture, or folder of frames>      split "train", "val" or "test"
    <class>/<video file, picture, or folder of frames>              without splits: split "all"

Classes are numbered in the order of the names of all folders, so that a number means the same in
each split. A picture that lies in the folder of a class is a video of one frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vdit.datasets.checking import Benchmark
from vdit.datasets.classified_videos import VIDEO_SUFFIXES, Folders, Item, gather
from vdit.datasets.frame_sources import FolderFrames, VideoFrames
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset
from vdit.video import PICTURE_SUFFIXES

__all__ = ["CLASS_FOLDERS", "read_class_folders"]

_NAME = "class-folders"
_SPLITS = ("train", "val", "test")
_ALL = "all"


def read_class_folders(root: Path, split: str = "train") -> VideoDataset[ClassifiedVideo]:
    """Read the videos of one split, class by class, both in the order of their names.

    Args:
        root: folder that holds the splits, or the classes.
        split: "train", "val" or "test"; "all" where there are none.

    Raises:
        ValueError: an unknown split, one that is not there, or one without classes.
    """
    if split not in (*_SPLITS, _ALL):
        raise ValueError(
            f"split={split!r} is unknown, expected one of {', '.join((*_SPLITS, _ALL))}"
        )
    root = Path(root)
    splits = _find_splits(root)
    if split not in splits:
        raise ValueError(
            f"{root} has the splits {', '.join(splits)}, not {split}; choose one of them"
        )
    classes = sorted({name for folder in splits.values() for name in _list_folders(folder)})
    numbers = {name: number for number, name in enumerate(classes)}
    present = _list_folders(splits[split])
    if not present:
        raise ValueError(f"{splits[split]} holds no folder, expected one for each class")
    items = (item for name in present for item in _read_class(splits[split] / name, numbers[name]))
    return gather(_NAME, split, items, tuple(classes))


def _find_splits(root: Path) -> dict[str, Path]:
    found = {name: root / name for name in _SPLITS if (root / name).is_dir()}
    return found or {_ALL: root}


def _list_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error.strerror}); check the root") from error


def _read_class(folder: Path, label: int) -> Iterator[Item]:
    folders = Folders(folder)
    with os.scandir(folder) as entries:
        # the kind of an entry comes with the listing
        found = sorted((e.name, e.is_dir()) for e in entries if not e.name.startswith("."))
    for file, is_folder in found:
        name = f"{folder.name}/{file}"
        suffix = os.path.splitext(file)[1].lower()
        if is_folder:
            yield name, FolderFrames(folder / file), label
        elif suffix in VIDEO_SUFFIXES:
            yield name, VideoFrames(folder / file), label
        elif suffix in PICTURE_SUFFIXES:
            yield name, folders.picture(file), label


def _list_path(root: Path, split: str) -> Path:
    return _find_splits(Path(root)).get(split, root / split)


CLASS_FOLDERS = Benchmark(
    name=_NAME,
    splits=(*_SPLITS, _ALL),
    list_path=_list_path,
    read=read_class_folders,
    published=(),
)
