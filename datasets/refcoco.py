"""RefCOCO, RefCOCO+ and RefCOCOg in COCO's form: pictures, read as videos of one frame.

    train2014/COCO_train2014_%012d.jpg
    <name>/instances_<name>_<split>.json          an image and an annotation for each sentence

Reference: Yu et al., Modeling Context in Referring Expressions, ECCV 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from vdit.datasets.annotation_files import read_json
from vdit.datasets.checking import Benchmark
from vdit.datasets.findings import Findings
from vdit.datasets.frame_sources import PictureFrames
from vdit.datasets.mask_sources import expect_size
from vdit.datasets.referring import ReferringDataset, ReferringSample
from vdit.masks import decode_rle

__all__ = ["REFCOCO", "REFCOCOG", "REFCOCO_PLUS", "PolygonMask", "read_refcoco"]


@dataclass(frozen=True, eq=False)
class PolygonMask:
    """Mask of one object in one picture.

    Attributes:
        where: file and annotation, for messages.
        segmentation: polygons (x, y, x, y, ...) in pixels, or run lengths.
        height: of the picture in pixels, as the list says.
        width: of the picture in pixels, as the list says.
    """

    where: str
    segmentation: Any = field(repr=False)
    height: int
    width: int

    def read(
        self, indices: Sequence[int], object_ids: Sequence[int], size: tuple[int, int]
    ) -> np.ndarray:
        """Draw the mask; see `ReferringSample.masks`."""
        expect_size(self.where, (self.height, self.width), size)
        mask = self._draw()
        return np.broadcast_to(mask, (len(object_ids), len(indices), *size)).copy()

    def _draw(self) -> np.ndarray:
        """[H, W] bool."""
        if isinstance(self.segmentation, dict):
            return decode_rle(self.segmentation)
        polygons = self.segmentation
        if (
            not isinstance(polygons, list)
            or not polygons
            or not all(isinstance(each, list) and len(each) >= 6 for each in polygons)
        ):
            raise ValueError(
                f"{self.where} has no polygon of three points or more and no run lengths; make the "
                "list again"
            )
        parts = coco_mask.frPyObjects(polygons, self.height, self.width)
        return decode_rle(coco_mask.merge(parts))

    def inspect(
        self, indices: Sequence[int], object_ids: Sequence[int], findings: Findings
    ) -> tuple[int, int] | None:
        """Draw the mask once."""
        try:
            self._draw()
        except ValueError:
            findings.add("masks are neither polygons nor run lengths", self.where)
        return self.height, self.width


def read_refcoco(root: Path, split: str = "train", name: str = "refcoco") -> ReferringDataset:
    """Read the list of one split.

    The video of a sample is its picture, the expression the number of the sentence in the list,
    and `object_ids` the number of the object in COCO where the list has it ("original_id").

    Args:
        root: folder that holds train2014/ and <name>/.
        split: "train", "val", "testA" or "testB"; RefCOCOg has "test" for the last two.
        name: "refcoco", "refcoco+" or "refcocog".

    Raises:
        ValueError: another name or split; the list is missing, damaged or empty, or an image has
            not exactly one annotation.
    """
    splits = _SPLITS.get(name)
    if splits is None:
        raise ValueError(f"name={name!r} is unknown, expected one of {', '.join(_SPLITS)}")
    if split not in splits:
        raise ValueError(f"split={split!r} is unknown, {name} has {', '.join(splits)}")
    root = Path(root)
    path = _list_path(name, root, split)
    data = read_json(path, dict)
    images = data.get("images")
    if not isinstance(images, list) or not images:
        raise ValueError(f'{path} names no picture under "images", expected at least one')
    annotations = {row.get("image_id"): row for row in data.get("annotations", [])}
    if len(annotations) != len(images) or len(data["annotations"]) != len(images):
        raise ValueError(
            f"{path} has {len(data.get('annotations', []))} annotations for {len(images)} images, "
            "expected one for each sentence; convert the list again"
        )
    samples = [_read_image(path, root, name, split, image, annotations) for image in images]
    return ReferringDataset(name, split, tuple(samples))


def _read_image(
    path: Path,
    root: Path,
    name: str,
    split: str,
    image: dict[str, Any],
    annotations: dict[Any, Any],
) -> ReferringSample:
    missing = {"id", "file_name", "caption", "height", "width"} - image.keys()
    if missing or image["id"] not in annotations:
        raise ValueError(
            f"{path}: image {image.get('id')} has no {', '.join(sorted(missing)) or 'annotation'}; "
            "convert the list again"
        )
    annotation = annotations[image["id"]]
    file = root / "train2014" / image["file_name"]
    return ReferringSample(
        dataset=name,
        split=split,
        video=file.stem,
        expression=str(image["id"]),
        text=image["caption"],
        object_ids=(int(annotation.get("original_id", annotation.get("id", image["id"]))),),
        frame_source=PictureFrames(file.parent, (file.stem,), file.suffix),
        mask_source=PolygonMask(
            f"{path}: annotation of image {image['id']}",
            annotation.get("segmentation"),
            image["height"],
            image["width"],
        ),
    )


def _list_path(name: str, root: Path, split: str) -> Path:
    return root / name / f"instances_{name}_{split}.json"


_SPLITS = {
    "refcoco": ("train", "val", "testA", "testB"),
    "refcoco+": ("train", "val", "testA", "testB"),
    "refcocog": ("train", "val", "test"),
}


def _benchmark(name: str) -> Benchmark:
    return Benchmark(
        name=name,
        splits=_SPLITS[name],
        list_path=partial(_list_path, name),
        read=partial(read_refcoco, name=name),
        published=("https://github.com/lichengunc/refer", "https://cocodataset.org"),
    )


REFCOCO = _benchmark("refcoco")
REFCOCO_PLUS = _benchmark("refcoco+")
REFCOCOG = _benchmark("refcocog")
