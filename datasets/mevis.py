"""MeViS, both releases: sentences about motion that name any number of objects, or none.

    <split>/JPEGImages/<video>/<frame>.jpg
    <split>/meta_expressions.json                 obj_id and anno_id are lists, empty = no target
    <split>/mask_dict.json                        {anno_id: [run lengths or null, one a frame]}

"valid" and "test" have no masks and no ids. Files of sound, tracks and captions of the second
release are left aside.

Reference: Ding et al., MeViS, ICCV 2023 and TPAMI 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vdit.datasets.annotation_files import read_meta_expressions
from vdit.datasets.checking import Benchmark
from vdit.datasets.findings import Findings
from vdit.datasets.frame_sources import PictureFrames
from vdit.datasets.mask_sources import RunLengthFile, RunLengthMasks
from vdit.datasets.referring import ReferringDataset, ReferringSample

__all__ = ["MEVIS", "read_mevis"]

_NAME = "mevis"
_SPLITS = ("train", "valid_u", "valid", "test")
_HIDDEN = ("valid", "test")


def read_mevis(root: Path, split: str = "train") -> ReferringDataset:
    """Read the sentences of one split; mask_dict.json is read when the first mask is.

    `object_ids` of the samples are the anno_id, which are the same object in every sentence of a
    video. In the first release every sentence names an object, in the second some name none.

    Args:
        root: folder that holds the splits.
        split: "train", "valid_u", "valid" or "test".

    Raises:
        ValueError: an unknown split; the list is missing, damaged or empty; an expression of a
            split with truth lacks anno_id, or has not as many as obj_id.
    """
    root = Path(root)
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    has_truth = split not in _HIDDEN
    file = RunLengthFile(root / split / "mask_dict.json")
    samples: list[ReferringSample] = []
    for video, entry in read_meta_expressions(_list_path(root, split)).items():
        frames = PictureFrames(root / split / "JPEGImages" / video, entry.frames)
        masks = RunLengthMasks(file, video, len(entry.frames)) if has_truth else None
        for number, expression in entry.expressions.items():
            samples.append(
                ReferringSample(
                    dataset=_NAME,
                    split=split,
                    video=video,
                    expression=number,
                    text=expression["exp"],
                    object_ids=_read_ids(video, number, expression) if has_truth else None,
                    frame_source=frames,
                    mask_source=masks,
                    kind=str(expression.get("kind", "")),
                )
            )
    return ReferringDataset(_NAME, split, tuple(samples))


def _list_path(root: Path, split: str) -> Path:
    return root / split / "meta_expressions.json"


def _read_ids(video: str, number: str, expression: Mapping[str, Any]) -> tuple[int, ...]:
    annotations, objects = expression.get("anno_id"), expression.get("obj_id")
    if not isinstance(annotations, list) or not isinstance(objects, list):
        raise ValueError(
            f"expression {number} of video {video} has no lists obj_id and anno_id; take the list "
            "of a split with truth"
        )
    if len(annotations) != len(objects) or len(set(annotations)) != len(annotations):
        raise ValueError(
            f"expression {number} of video {video} names objects {objects} by annotations "
            f"{annotations}, expected one each; download the list again"
        )
    return tuple(int(annotation) for annotation in annotations)


def _inspect(root: Path, split: str, dataset: ReferringDataset, findings: Findings) -> list[str]:
    """Count what tells the releases apart."""
    if split in _HIDDEN:
        return []
    named = [len(sample.object_ids or ()) for sample in dataset]
    return [
        f"{named.count(0)} expressions name no object, "
        f"{sum(count > 1 for count in named)} name several"
    ]


MEVIS = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_mevis,
    published=("https://henghuiding.com/MeViS/",),
    counts={
        "train": {"MeViS v1": (1662, 23051), "MeViS v2": (1662, 27502)},
        "valid_u": {"MeViS v1": (50, 793), "MeViS v2": (50, 907)},
        "valid": {"MeViS v1": (140, 2236), "MeViS v2": (140, 2523)},
        "test": {"MeViS v1": (154, 2490)},
    },
    inspect=_inspect,
)
