"""What the readers of data sets of classes share: items with their class, folders looked up once.

Lists of a million items are read in seconds: no item is opened or looked for while its list is
read, and pictures of one folder share its path.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from vdit.datasets.frame_sources import PictureFrames
from vdit.datasets.referring import FrameSource
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["VIDEO_SUFFIXES", "Folders", "Item", "find_folder", "gather", "look_up"]

VIDEO_SUFFIXES = frozenset(".avi .mp4 .webm .mkv .mov .gif .m4v .mpg .mpeg".split())
"""Files that are videos; letter case does not matter."""

K = TypeVar("K", bound=Hashable)

Item = tuple[str, FrameSource, int]
"""Name of a video, its frames, its class."""


def gather(
    dataset: str,
    split: str,
    items: Iterable[Item],
    classes: tuple[str, ...],
    note: str = "",
    part: str | None = None,
) -> VideoDataset[ClassifiedVideo]:
    """Make a data set of items.

    Args:
        dataset: its name.
        split: part of it.
        items: in order.
        classes: names by number.
        note: see `VideoDataset`.
        part: split that the videos name, where several splits share videos, so that a video is the
            same in each of them; None = `split`.

    Raises:
        ValueError: two items have one name, or a class has no name.
    """
    with _no_garbage_collection():
        videos = tuple(
            ClassifiedVideo(dataset, part or split, name, source, label)
            for name, source, label in items
        )
    if len({video.name for video in videos}) < len(videos):
        ((twice, _),) = Counter(video.name for video in videos).most_common(1)
        raise ValueError(
            f"{dataset} {split} lists {twice} twice, expected every video once; copy its lists "
            "again"
        )
    for video in videos:
        if not 0 <= video.label < len(classes):
            raise ValueError(
                f"{dataset} {split}: {video.name} is of class {video.label}, expected one below "
                f"{len(classes)}; take all lists from one release"
            )
    return VideoDataset(dataset, split, videos, note, classes)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect nothing meanwhile: of a million new objects that stay it would look at each often."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def find_folder(root: Path, *candidates: str) -> Path:
    """Give the first of some folders below `root` that is there; the first one if none is."""
    found = (root / name for name in candidates if (root / name).is_dir())
    return next(found, root / candidates[0])


def look_up(classes: Mapping[K, int], name: K, path: Path) -> int:
    """Give the number of a class.

    Args:
        classes: name -> number.
        name: of the class, or its number in the list.
        path: of the list that says it.

    Raises:
        ValueError: there is no such class.
    """
    try:
        return classes[name]
    except KeyError:
        raise ValueError(
            f"{path} has a video of class {name!r}, which is none of the {len(classes)} classes; "
            "take all lists from one release"
        ) from None


class Folders:
    """Folders below a root: one path object for each, their files listed at most once.

    Args:
        root: of the data set.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._paths: dict[str, Path] = {}
        self._files: dict[str, frozenset[str]] = {}

    def picture(self, path: str) -> PictureFrames:
        """Give the picture at a path below the root as a video of one frame.

        Raises:
            ValueError: the file has no extension.
        """
        folder, _, file = path.rpartition("/")
        stem, dot, suffix = file.rpartition(".")
        if not dot or not stem:
            raise ValueError(f"{self.root / path} has no extension, expected a picture")
        return PictureFrames(self.folder(folder), (stem,), f".{suffix}")

    def folder(self, path: str) -> Path:
        """Give the folder at a path below the root."""
        found = self._paths.get(path)
        if found is None:
            found = self._paths[path] = self.root / path
        return found

    def has(self, path: str) -> bool:
        """Whether there is a file at a path below the root, by one listing of its folder."""
        folder, _, file = path.rpartition("/")
        files = self._files.get(folder)
        if files is None:
            try:
                files = frozenset(os.listdir(self.folder(folder)))
            except (FileNotFoundError, NotADirectoryError):
                files = frozenset()
            self._files[folder] = files
        return file in files
