"""One frame of each clip as RefCOCO, in the form of COCO that the released code reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.writers.coco_truth import box_xywh
from vdit.datasets.synthetic.writers.expressions import list_single
from vdit.datasets.synthetic.writers.pictures import write_jpegs
from vdit.datasets.synthetic.writers.records import NamedClips, record_clips, write_json

_SPLITS = ("train", "val", "testA", "testB", "test")
_IMAGES_PER_SPLIT = 1_000_000  # numbers of images that a split has for itself


class _Sample(NamedTuple):
    category: str
    image: dict[str, Any]
    annotation: dict[str, Any]


def write_refcoco(
    clips: NamedClips,
    root: Path,
    split: str = "train",
    dataset: str = "refcoco",
    frame: int | None = None,
) -> None:
    """Write one split of a tree like RefCOCO after its conversion to COCO's form.

        train2014/COCO_train2014_%012d.jpg
        <dataset>/instances_<dataset>_<split>.json

    Each sentence is an image (with "caption", "dataset_name" and the "original_id" of the picture)
    and an annotation; both count from 1 and belong together by "image_id". Masks are polygons, as
    in COCO, made of rectangles so that they are exact. Captions about motion, of several objects,
    or of an object that the frame does not show are left out. Categories count from 1 in the
    order of their names within the split.

    Args:
        clips: names, which only rendered.json keeps, and clips.
        root: folder of the tree.
        split: "train", "val", "testA", "testB" or "test".
        dataset: "refcoco", "refcoco+" or "refcocog".
        frame: index of the frame to take; None = the middle one.

    Raises:
        ValueError: no clip, an unknown split, or `frame` is past the end of a clip.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    root = Path(root)
    samples: list[_Sample] = []
    picture_id = 1 + _IMAGES_PER_SPLIT * _SPLITS.index(split)
    object_id = picture_id
    for name, clip in record_clips(clips, root, f"{dataset}_{split}"):
        t = len(clip.frames) // 2 if frame is None else frame
        if not 0 <= t < len(clip.frames):
            raise ValueError(
                f"frame={t} is not in clip {name} of {len(clip.frames)} frames; pass a smaller one"
            )
        stem = f"COCO_train2014_{picture_id:012d}"
        write_jpegs(root / "train2014", [stem], clip.frames[t : t + 1])
        picture = {
            "file_name": f"{stem}.jpg",
            "height": clip.scene.height,
            "width": clip.scene.width,
            "original_id": picture_id,
            "dataset_name": dataset,
        }
        samples += _list_samples(clip, t, picture, object_id)
        picture_id += 1
        object_id += clip.num_objects
    data = _number(samples) | {
        "info": {"description": f"rendered clips in the form of {dataset}"},
        "licenses": [],
    }
    write_json(root / dataset / f"instances_{dataset}_{split}.json", data)


def _list_samples(
    clip: RenderedClip, t: int, picture: dict[str, Any], object_id: int
) -> list[_Sample]:
    """One sample for each sentence; `object_id` is that of the first object."""
    masks = clip.masks[:, t]
    return [
        _Sample(
            clip.scene.objects[k].category,
            picture | {"caption": caption.text},
            {
                "segmentation": trace_rectangles(masks[k]),
                "area": float(masks[k].sum()),
                "iscrowd": 0,
                "bbox": box_xywh(masks[k]),
                "original_id": object_id + k,
            },
        )
        for k, caption in list_single(clip)
        if caption.kind != "motion" and masks[k].any()
    ]


def _number(samples: list[_Sample]) -> dict[str, Any]:
    """Give images, annotations and categories their numbers."""
    names = sorted({sample.category for sample in samples})
    return {
        "images": [{**sample.image, "id": n} for n, sample in enumerate(samples, start=1)],
        "annotations": [
            {
                **sample.annotation,
                "image_id": n,
                "category_id": names.index(sample.category) + 1,
                "id": n,
            }
            for n, sample in enumerate(samples, start=1)
        ],
        "categories": [
            {"supercategory": "object", "id": n, "name": name}
            for n, name in enumerate(names, start=1)
        ],
    }


def trace_rectangles(mask: np.ndarray) -> list[list[float]]:
    """Cover a mask exactly with rectangles, as polygons of COCO.

    Runs of pixels grow downwards as long as the rows below have the same run.

    Args:
        mask: [H, W] bool.

    Returns:
        Polygons (x, y, x, y, ...) in pixels, whose union COCO's tools rasterize to `mask`.
    """
    polygons = []
    open_runs: dict[tuple[int, int], int] = {}
    rows = np.pad(mask.astype(np.int8), ((0, 1), (1, 1)))
    for y, row in enumerate(rows):
        steps = np.diff(row)
        starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
        runs = {(int(x1), int(x2)) for x1, x2 in zip(starts, ends, strict=True)}
        for x1, x2 in sorted(open_runs.keys() - runs):
            top = open_runs.pop((x1, x2))
            polygons.append([float(v) for v in (x1, top, x1, y, x2, y, x2, top)])
        for run in runs - open_runs.keys():
            open_runs[run] = y
    return polygons
