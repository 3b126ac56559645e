"""Ref-YouTube-VOS: every fifth frame listed, one object a sentence, truth of "train" only.

    <split>/JPEGImages/<video>/<frame>.jpg
    train/Annotations/<video>/<frame>.png         palette, value = obj_id
    train/meta.json                               not needed; missing from some copies
    meta_expressions/<split>/meta_expressions.json

Reference: Seo, Lee and Han, URVOS, ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vdit.datasets.annotation_files import (
    ListedVideo,
    read_meta_expressions,
    read_meta_objects,
)
from vdit.datasets.checking import Benchmark, note_unlisted_objects
from vdit.datasets.findings import Findings
from vdit.datasets.frame_sources import PictureFrames
from vdit.datasets.mask_sources import LabelPictures
from vdit.datasets.referring import ReferringDataset, ReferringSample

__all__ = ["REF_YOUTUBE_VOS", "read_object_id", "read_ref_youtube_vos"]

_NAME = "ref-youtube-vos"
_SPLITS = ("train", "valid", "test")
_NUM_VALID_VIDEOS = 202


def read_ref_youtube_vos(root: Path, split: str = "train") -> ReferringDataset:
    """Read the lists of one split; pictures are opened later.

    The published list of "valid" also holds the videos of "test", which the server does not score:
    they are left out, in the order that remains.

    Args:
        root: folder that holds meta_expressions/ and the splits.
        split: "train", "valid" or "test".

    Raises:
        ValueError: an unknown split; a list is missing, damaged or empty, or an expression of
            "train" has no obj_id; "valid" lists more than 202 videos and the list of "test", which
            says which of them to leave out, is missing.
    """
    root = Path(root)
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    listed = read_meta_expressions(_list_path(root, split))
    if split == "valid":
        listed = _drop_test(root, listed)
    samples: list[ReferringSample] = []
    for video, entry in listed.items():
        frames = PictureFrames(root / split / "JPEGImages" / video, entry.frames)
        masks = None
        if split == "train":
            masks = LabelPictures(root / split / "Annotations" / video, entry.frames)
        for number, expression in entry.expressions.items():
            object_id = read_object_id(video, number, expression) if masks else None
            samples.append(
                ReferringSample(
                    dataset=_NAME,
                    split=split,
                    video=video,
                    expression=number,
                    text=expression["exp"],
                    object_ids=None if object_id is None else (object_id,),
                    frame_source=frames,
                    mask_source=masks,
                    kind=str(expression.get("kind", "")),
                )
            )
    return ReferringDataset(_NAME, split, tuple(samples))


def read_object_id(video: str, number: str, expression: Mapping[str, Any]) -> int:
    """Read the obj_id of an expression, a string that holds a number from 1.

    Raises:
        ValueError: there is none, or it is no number from 1 to 254.
    """
    text = str(expression.get("obj_id", ""))
    if not text.isdecimal() or not 1 <= int(text) <= 254:
        raise ValueError(
            f"expression {number} of video {video} has obj_id {text!r}, expected a number from 1 "
            "to 254; take the list of a split with truth"
        )
    return int(text)


def _list_path(root: Path, split: str) -> Path:
    return root / "meta_expressions" / split / "meta_expressions.json"


def _drop_test(root: Path, listed: dict[str, ListedVideo]) -> dict[str, ListedVideo]:
    path = _list_path(root, "test")
    if path.exists():
        kept = listed.keys() - read_meta_expressions(path).keys()
        listed = {video: entry for video, entry in listed.items() if video in kept}
        if not listed:
            raise ValueError(f"{path} names every video of valid; it is another split's list")
    elif len(listed) > _NUM_VALID_VIDEOS:
        raise ValueError(
            f"the list of valid holds {len(listed)} videos, of which {_NUM_VALID_VIDEOS} are "
            f"scored, and {path}, which names the others, does not exist; add it"
        )
    return listed


def _inspect(root: Path, split: str, dataset: ReferringDataset, findings: Findings) -> list[str]:
    """Compare obj_ids with those of meta.json."""
    path = root / split / "meta.json"
    if split != "train":
        return []
    if not path.exists():
        return [f"{path} is not there; nothing needs it"]
    note_unlisted_objects(read_meta_objects(path), path.name, dataset, findings)
    return []


REF_YOUTUBE_VOS = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_ref_youtube_vos,
    published=("https://youtube-vos.org/dataset/rvos/",),
    counts={"train": {"published": (3471, None)}, "valid": {"published": (202, None)}},
    inspect=_inspect,
)
