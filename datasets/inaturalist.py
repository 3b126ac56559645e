"""iNaturalist 2018: pictures of 8142 species, each a video of one frame.

    train2018.json, val2018.json         COCO's form: "images" with "id" and "file_name",
                                         "annotations" with "image_id" and "category_id"
    train_val2018/<group>/<class>/<picture>.jpg        as "file_name" says
    categories.json                      [{"id": int, "name": str, ...}]; it may be missing

The lists number the classes and call them by these numbers; categories.json has their names.

Reference: Van Horn et al., The iNaturalist Species Classification and Detection Dataset, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vdit.datasets.annotation_files import read_json
from vdit.datasets.checking import Benchmark
from vdit.datasets.classified_videos import Folders, Item, gather, look_up
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["INATURALIST_2018", "read_inaturalist"]

_NAME = "inaturalist-2018"
_SPLITS = ("train", "val")


def read_inaturalist(root: Path, split: str = "val") -> VideoDataset[ClassifiedVideo]:
    """Read the pictures of one split, in the order of its list.

    Args:
        root: folder that holds the lists and train_val2018.
        split: "train" or "val".

    Raises:
        ValueError: an unknown split; a list is missing, damaged or without classes.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    root = Path(root)
    path = _list_path(root, split)
    data = read_json(path, dict)
    try:
        names = {each["id"]: str(each["name"]) for each in data["categories"]}
        names |= _read_names(root / "categories.json", names)
        numbers = {category: number for number, category in enumerate(sorted(names))}
        classes = tuple(names[category] for category in numbers)
        return gather(_NAME, split, _read_pictures(path, data, Folders(root), numbers), classes)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is not in the form of COCO with "images", "annotations" and "categories" '
            f"({type(error).__name__}: {error}); download it again"
        ) from error


def _list_path(root: Path, split: str) -> Path:
    return Path(root) / f"{split}2018.json"


def _read_names(path: Path, known: dict[int, str]) -> dict[int, str]:
    """Names of the classes in another file, if it is there."""
    if not path.is_file():
        return {}
    return {e["id"]: str(e["name"]) for e in read_json(path, list) if e["id"] in known}


def _read_pictures(
    path: Path, data: dict[str, Any], pictures: Folders, numbers: dict[int, int]
) -> Iterator[Item]:
    classes = {each["image_id"]: each["category_id"] for each in data["annotations"]}
    for image in data["images"]:
        if image["id"] not in classes:
            raise ValueError(
                f"{path}: picture {image['file_name']} has no annotation, expected one; choose a "
                "split with truth"
            )
        file = image["file_name"]
        yield file, pictures.picture(file), look_up(numbers, classes[image["id"]], path)


INATURALIST_2018 = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_inaturalist,
    published=("https://github.com/visipedia/inat_comp/tree/master/2018",),
    counts={"train": {"published": (437513, None)}, "val": {"published": (24426, None)}},
)
