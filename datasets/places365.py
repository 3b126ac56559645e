"""Places365-Standard: pictures of 365 kinds of places, each a video of one frame.

    categories_places365.txt             "/a/airfield 0"
    places365_train_standard.txt         "/a/airfield/00000001.jpg 0"
    places365_val.txt                    "Places365_val_00000001.jpg 165"
    data_large/a/airfield/00000001.jpg   or data_256, both also with _standard at their ends
    val_large/Places365_val_00000001.jpg or val_256

The lists may also lie in filelist_places365-standard/ or meta/.

Reference: Zhou et al., Places: A 10 Million Image Database for Scene Recognition, TPAMI 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vdit.datasets.annotation_files import read_text
from vdit.datasets.checking import Benchmark
from vdit.datasets.classified_videos import Folders, Item, find_folder, gather
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["PLACES365", "read_places365"]

_NAME = "places365"
_LISTS = {"train": "places365_train_standard.txt", "val": "places365_val.txt"}
_CATEGORIES = "categories_places365.txt"
_LIST_FOLDERS = (".", "filelist_places365-standard", "meta")
_PICTURES = {
    "train": ("data_large", "data_256", "data_large_standard", "data_256_standard"),
    "val": ("val_large", "val_256"),
}


def read_places365(root: Path, split: str = "val") -> VideoDataset[ClassifiedVideo]:
    """Read the pictures of one split, in the order of its list; large ones where both are there.

    Args:
        root: folder that holds the lists and the folders of pictures.
        split: "train", the standard one of 1.8 million pictures, or "val".

    Raises:
        ValueError: an unknown split; a list is missing or damaged.
    """
    if split not in _LISTS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_LISTS)}")
    root = Path(root)
    classes = _read_classes(_find_list(root, _CATEGORIES))
    pictures = Folders(find_folder(root, *_PICTURES[split]))
    return gather(_NAME, split, _read_list(_list_path(root, split), pictures), classes)


def _find_list(root: Path, name: str) -> Path:
    paths = [root / folder / name for folder in _LIST_FOLDERS]
    return next((path for path in paths if path.is_file()), paths[0])


def _list_path(root: Path, split: str) -> Path:
    return _find_list(Path(root), _LISTS[split])


def _read_classes(path: Path) -> tuple[str, ...]:
    names = {number: name for name, number in _read_pairs(path)}
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"{path} does not number its classes from 0; download it again")
    return tuple(names[number].lstrip("/") for number in range(len(names)))


def _read_list(path: Path, pictures: Folders) -> Iterator[Item]:
    for file, number in _read_pairs(path):
        name = file.lstrip("/")
        yield name, pictures.picture(name), number


def _read_pairs(path: Path) -> Iterator[tuple[str, int]]:
    """Words and numbers of the lines of a list."""
    for position, line in enumerate(read_text(path).splitlines(), start=1):
        word, _, number = line.rstrip().rpartition(" ")
        if not line.strip():
            continue
        if not word.strip() or not number.isdecimal():
            raise ValueError(
                f"{path}: line {position} is {line.strip()[:60]!r}, expected a path and a number; "
                "download it again"
            )
        yield word.strip(), int(number)


PLACES365 = Benchmark(
    name=_NAME,
    splits=tuple(_LISTS),
    list_path=_list_path,
    read=read_places365,
    published=("http://places2.csail.mit.edu/download.html",),
    counts={"train": {"published": (1803460, None)}, "val": {"published": (36500, None)}},
)
