"""HMDB51: 6766 clips of 51 human actions, with three divisions into train and test.

    <class>/<clip>.avi
    testTrainMulti_7030_splits/<class>_test_split{1,2,3}.txt
                        "<clip>.avi 1 " = train, 2 = test, 0 = neither

The folders of the classes may also lie in hmdb51_org/ or videos/, and the lists in splits/,
annotations/ or in the folder that their archive has. Names hold blanks, brackets and other signs.

Reference: Kuehne et al., HMDB: A Large Video Database for Human Motion Recognition, ICCV 2011.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vdit.datasets.annotation_files import read_text
from vdit.datasets.checking import Benchmark
from vdit.datasets.classified_videos import Item, find_folder, gather
from vdit.datasets.frame_sources import VideoFrames
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["HMDB51", "read_hmdb51"]

_NAME = "hmdb51"
_SPLITS = tuple(f"{part}{fold}" for fold in (1, 2, 3) for part in ("train", "test"))
_FLAGS = {"train": "1", "test": "2"}
_LISTS = (
    "testTrainMulti_7030_splits",
    "test_train_splits/testTrainMulti_7030_splits",
    "splits",
    "annotations",
)
_VIDEOS = ("hmdb51_org", "hmdb51", "videos")


def read_hmdb51(root: Path, split: str = "train1") -> VideoDataset[ClassifiedVideo]:
    """Read the clips of one split, class by class in the order of their names.

    Args:
        root: folder that holds the classes and testTrainMulti_7030_splits.
        split: "train1" or "test1", the same of the divisions 2 and 3.

    Raises:
        ValueError: an unknown split; no list, or a damaged one.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    root = Path(root)
    lists = _find_lists(root, split)
    if not lists:
        raise ValueError(
            f"{find_folder(root, *_LISTS)} holds no list <class>{_suffix(split)}; check the root "
            "of the data set"
        )
    items = _read_lists(lists, root, split)
    return gather(_NAME, split, items, tuple(lists), part="all")


def _suffix(split: str) -> str:
    return f"_test_split{split[-1]}.txt"


def _find_lists(root: Path, split: str) -> dict[str, Path]:
    """Class -> its list, in the order of the names."""
    suffix = _suffix(split)
    paths = find_folder(root, *_LISTS).glob(f"[!.]*{suffix}")  # without copies that systems hide
    return {path.name.removesuffix(suffix): path for path in sorted(paths)}


def _read_lists(lists: dict[str, Path], root: Path, split: str) -> Iterator[Item]:
    first = next(iter(lists))
    roots = [*(root / name for name in _VIDEOS), root]
    videos = next((each for each in roots if (each / first).is_dir()), root)
    for label, (class_name, path) in enumerate(lists.items()):
        folder = videos / class_name
        for clip in _read_list(path, _FLAGS[split[:-1]]):
            yield f"{class_name}/{clip.rpartition('.')[0]}", VideoFrames(folder / clip), label


def _read_list(path: Path, flag: str) -> Iterator[str]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        clip, _, found = line.rstrip().rpartition(" ")  # names may hold blanks
        clip = clip.rstrip()
        if "." not in clip or found not in ("0", "1", "2"):
            raise ValueError(
                f"{path}: line {number} is {line.strip()[:60]!r}, expected <clip>.avi and 0, 1 or "
                "2; download it again"
            )
        if found == flag:
            yield clip


def _list_path(root: Path, split: str) -> Path:
    lists = _find_lists(Path(root), split)
    return next(iter(lists.values()), find_folder(root, *_LISTS) / f"<class>{_suffix(split)}")


HMDB51 = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_hmdb51,
    published=("https://serre.lab.brown.edu/hmdb51.html",),
    counts={
        split: {"published": (3570 if split.startswith("train") else 1530, None)}
        for split in _SPLITS
    },
)
