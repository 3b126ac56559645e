"""UCF101: 13320 videos of 101 human actions, with three divisions into train and test.

    UCF-101/<Class>/v_<Class>_g%02d_c%02d.avi
    ucfTrainTestlist/classInd.txt                "<id> <Class>", ids from 1
    ucfTrainTestlist/trainlist0{1,2,3}.txt       "<Class>/<file> <id>"
    ucfTrainTestlist/testlist0{1,2,3}.txt        "<Class>/<file>"

The folders of the classes may also lie in videos/ or in the root itself, and the lists in
annotations/ or in the folder that their archive has.

Reference: Soomro, Zamir and Shah, UCF101: A Dataset of 101 Human Actions Classes From Videos in The
Wild, arXiv 1212.0402.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vdit.datasets.annotation_files import read_text
from vdit.datasets.checking import Benchmark
from vdit.datasets.classified_videos import Item, find_folder, gather, look_up
from vdit.datasets.frame_sources import VideoFrames
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["UCF101", "read_ucf101"]

_NAME = "ucf101"
_SPLITS = tuple(f"{part}{fold}" for fold in (1, 2, 3) for part in ("train", "test"))
_LISTS = (
    "ucfTrainTestlist",
    "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist",
    "annotations",
)
_VIDEOS = ("UCF-101", "UCF101", "videos")


def read_ucf101(root: Path, split: str = "train1") -> VideoDataset[ClassifiedVideo]:
    """Read the videos of one split, in the order of its list.

    Args:
        root: folder that holds UCF-101 and ucfTrainTestlist.
        split: "train1" or "test1", the same of the divisions 2 and 3.

    Raises:
        ValueError: an unknown split; a list is missing, damaged or contradicts another one.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    root = Path(root)
    path = _list_path(root, split)
    classes = _read_classes(path.with_name("classInd.txt"))
    items = _read_list(path, root, classes)
    return gather(_NAME, split, items, tuple(classes), part="all")


def _list_path(root: Path, split: str) -> Path:
    part, fold = split[:-1], split[-1]
    return find_folder(root, *_LISTS) / f"{part}list0{fold}.txt"


def _read_classes(path: Path) -> dict[str, int]:
    """Name -> number from 0, in the order of the numbers."""
    names: dict[int, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[0].isdecimal():
            raise ValueError(
                f"{path}: line {number} is {line.strip()[:60]!r}, expected <id> <Class>; download "
                "it again"
            )
        names[int(words[0])] = words[1]
    if sorted(names) != list(range(1, len(names) + 1)) or len(set(names.values())) < len(names):
        raise ValueError(f"{path} does not number different classes from 1; download it again")
    return {names[number]: number - 1 for number in sorted(names)}


def _read_list(path: Path, root: Path, classes: dict[str, int]) -> Iterator[Item]:
    videos = None
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        class_name, slash, file = words[0].rpartition("/")
        if not slash or len(words) > 2:
            raise ValueError(
                f"{path}: line {number} is {line.strip()[:60]!r}, expected <Class>/<file> and, for "
                "training, an id; download it again"
            )
        label = look_up(classes, class_name, path)
        if len(words) == 2 and words[1] != str(label + 1):
            raise ValueError(
                f"{path}: line {number} numbers {class_name} {words[1]}, but classInd.txt "
                f"{label + 1}; take both from one release"
            )
        if videos is None:  # where the first class lies, all do
            roots = [*(root / name for name in _VIDEOS), root]
            videos = next((each for each in roots if (each / class_name).is_dir()), roots[0])
        yield f"{class_name}/{file.rpartition('.')[0]}", VideoFrames(videos / words[0]), label


UCF101 = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_ucf101,
    published=("https://www.crcv.ucf.edu/data/UCF101.php",),
    counts={
        "train1": {"published": (9537, None)},
        "test1": {"published": (3783, None)},
        "train2": {"published": (9586, None)},
        "test2": {"published": (3734, None)},
        "train3": {"published": (9624, None)},
        "test3": {"published": (3696, None)},
    },
)
