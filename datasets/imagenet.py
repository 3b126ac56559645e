"""ImageNet-1k (ILSVRC 2012): pictures of 1000 categories, each a video of one frame.

    train/<wnid>/<wnid>_<number>.JPEG
    val/<wnid>/ILSVRC2012_val_%08d.JPEG          sorted into folders, or
    val/ILSVRC2012_val_%08d.JPEG                 as published, with one of
        ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt and meta.mat
        LOC_val_solution.csv                     "<picture>,<wnid> x0 y0 x1 y1 ..." of Kaggle

Pictures may also lie in ILSVRC/Data/CLS-LOC/. Classes are numbered in the order of their ids
(wnid); they are called as meta.mat or LOC_synset_mapping.txt says, else by their ids.

Reference: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from vdit.datasets.annotation_files import read_text
from vdit.datasets.checking import Benchmark
from vdit.datasets.classified_videos import Folders, Item, find_folder, gather
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["IMAGENET_1K", "read_imagenet"]

_NAME = "imagenet-1k"
_SPLITS = ("train", "val")
_DEVKITS = ("ILSVRC2012_devkit_t12/data", "devkit/data", "devkit", ".")
_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_KAGGLE = "LOC_val_solution.csv"
_SUFFIXES = (".JPEG", ".jpeg", ".jpg", ".JPG", ".png")


def read_imagenet(root: Path, split: str = "val") -> VideoDataset[ClassifiedVideo]:
    """Read the pictures of one split, class by class in folders, else in the order of numbers.

    Args:
        root: folder that holds train and val.
        split: "train" or "val".

    Raises:
        ValueError: an unknown split; no pictures; pictures without truth, or a damaged list of it.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    root = Path(root)
    truth = _read_truth(root) if _is_flat(root) else []
    folders = {each: _list_folders(_list_path(root, each)) for each in _SPLITS}
    ids = sorted({*folders["train"], *folders["val"], *(wnid for _, wnid in truth)})
    numbers = {wnid: number for number, wnid in enumerate(ids)}
    folder = _list_path(root, split)
    if split == "val" and truth:
        items = _read_flat(folder, truth, numbers)
    elif folders[split]:
        items = _read_sorted(folder, folders[split], numbers)
    else:
        raise ValueError(f"{folder} holds no folder, expected one for each category")
    names = _read_names(root)
    return gather(_NAME, split, items, tuple(names.get(wnid, wnid) for wnid in ids))


def _list_path(root: Path, split: str) -> Path:
    return find_folder(Path(root), split, f"ILSVRC/Data/CLS-LOC/{split}", f"Data/CLS-LOC/{split}")


def _list_folders(folder: Path) -> list[str]:
    """Ids of the categories that have a folder, sorted."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())


def _read_sorted(folder: Path, wnids: list[str], numbers: dict[str, int]) -> Iterator[Item]:
    pictures = Folders(folder)
    for wnid in wnids:
        for file in sorted(os.listdir(folder / wnid)):
            if file.endswith(_SUFFIXES) and not file.startswith("."):
                yield f"{wnid}/{file}", pictures.picture(f"{wnid}/{file}"), numbers[wnid]


def _read_flat(
    folder: Path, truth: list[tuple[str, str]], numbers: dict[str, int]
) -> Iterator[Item]:
    pictures = Folders(folder)
    for name, wnid in truth:
        yield name, pictures.picture(f"{name}.JPEG"), numbers[wnid]


# ---- pictures for validation that are not sorted ------------------------------------------------


def _is_flat(root: Path) -> bool:
    folder = _list_path(root, "val")
    return folder.is_dir() and not _list_folders(folder)


def _read_truth(root: Path) -> list[tuple[str, str]]:
    """Names of the pictures for validation and their ids."""
    kaggle = root / _KAGGLE
    if kaggle.is_file():
        return _read_kaggle(kaggle)
    devkit = next((f for f in _DEVKITS if (root / f / _TRUTH).is_file()), None)
    if devkit is None:
        raise ValueError(
            f"{_list_path(root, 'val')} holds pictures without folders, expected {_TRUTH} in "
            f"{root / _DEVKITS[0]} or {_KAGGLE} in {root}; add one of them"
        )
    ids = {number: wnid for number, wnid, _ in _read_meta(root / devkit / "meta.mat")}
    path = root / devkit / _TRUTH
    truth = []
    for position, line in enumerate(read_text(path).split(), start=1):
        if not line.isdecimal() or int(line) not in ids:
            raise ValueError(
                f"{path}: line {position} is {line[:60]!r}, expected the number of a category; "
                "download it again"
            )
        truth.append((f"ILSVRC2012_val_{position:08d}", ids[int(line)]))
    return truth


def _read_kaggle(path: Path) -> list[tuple[str, str]]:
    """Names of pictures and the ids of their first boxes, which are all of one category."""
    rows = [line.partition(",") for line in read_text(path).splitlines()[1:] if line.strip()]
    if not all(name and wnids.split() for name, _, wnids in rows):
        raise ValueError(f"{path} has a line without a picture or an id; download it again")
    return sorted((name, wnids.split()[0]) for name, _, wnids in rows)


# ---- names of the categories -------------------------------------------------------------------


def _read_meta(path: Path) -> list[tuple[int, str, str]]:
    """Number, id and name of the categories in a devkit's meta.mat."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; take it from the devkit of ILSVRC 2012")
    try:
        synsets = scipy.io.loadmat(path, squeeze_me=True)["synsets"]
        return [
            (int(each["ILSVRC2012_ID"]), str(each["WNID"]), str(each["words"]))
            for each in np.atleast_1d(synsets)
        ]
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, MatReadError) as error:
        raise ValueError(f"{path} cannot be read ({error}); copy it again") from error


def _read_names(root: Path) -> dict[str, str]:
    """Id -> name, from whichever file is there; nothing if none is."""
    mapping = root / "LOC_synset_mapping.txt"
    if mapping.is_file():
        pairs = (line.partition(" ") for line in read_text(mapping).splitlines())
        return {wnid: name.strip() for wnid, _, name in pairs if wnid}
    metas = (root / folder / "meta.mat" for folder in _DEVKITS)
    meta = next((path for path in metas if path.is_file()), None)
    return {wnid: name for _, wnid, name in _read_meta(meta)} if meta else {}


IMAGENET_1K = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_imagenet,
    published=("https://image-net.org/challenges/LSVRC/2012/",),
    counts={"train": {"published": (1281167, None)}, "val": {"published": (50000, None)}},
)
