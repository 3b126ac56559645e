"""Files of Cityscapes: which frames of a split have truth, and the frames around them.

    leftImg8bit_sequence/<split>/<city>/<city>_%06d_%06d_leftImg8bit.png    snippets of 30 frames
    leftImg8bit/<split>/<city>/<city>_%06d_%06d_leftImg8bit.png             frames with truth alone

The last number of a name counts frames. A snippet begins 19 frames before the one with truth and
ends 10 frames after it.

Reference: Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vdit.datasets.frame_sources import PictureFrames

__all__ = ["AFTER", "BEFORE", "PAGES", "Snippet", "list_snippets", "published_counts"]

BEFORE, AFTER = 19, 10
"""Frames of a snippet before and after the one with truth."""

PAGES = ("https://www.cityscapes-dataset.com/downloads/",)

_FRAME = "_leftImg8bit.png"
_SINGLE = "leftImg8bit"
_SEQUENCE = "leftImg8bit_sequence"


@dataclass(frozen=True)
class Snippet:
    """A frame with truth and the frames around it.

    Attributes:
        city: folder of its files.
        name: of the frame with truth, without ending.
        frames: of the snippet.
        labelled: position of the frame with truth in them.
    """

    city: str
    name: str
    frames: PictureFrames
    labelled: int


def list_snippets(
    root: Path, split: str, folder: str, endings: Sequence[str], before: int, after: int
) -> tuple[list[Snippet], str]:
    """List the snippets of a split in the order of their names.

    A frame belongs to the split if it has truth or, so that missing truth is noticed, a picture in
    leftImg8bit.

    Args:
        root: folder that holds leftImg8bit and its like.
        split: part of the data set.
        folder: of the truth, as "gtFine".
        endings: of files of truth, as "_gtFine_labelIds.png".
        before: frames of a snippet before the one with truth.
        after: frames after it.

    Returns:
        Snippets, and a note that is "" where the frames around are there.

    Raises:
        ValueError: there is no truth of this split, a name has not the form above, `before` or
            `after` is negative, or a snippet would begin before frame 0.
    """
    if min(before, after) < 0:
        raise ValueError(f"expected before and after of 0 or more, got {before} and {after}")
    names = _list_names(root / folder / split, endings)
    if not names:
        raise ValueError(
            f"{root / folder / split} holds no <city>/*{endings[0]}, expected truth of Cityscapes; "
            f"unpack {folder} there"
        )
    names |= _list_names(root / _SINGLE / split, [_FRAME])
    has_sequences = (root / _SEQUENCE / split).is_dir()
    frames = root / (_SEQUENCE if has_sequences else _SINGLE) / split
    snippets = []
    for city, name in sorted(names):
        if has_sequences:
            around = _name_frames(name, before, after)
            snippets.append(
                Snippet(city, name, PictureFrames(frames / city, around, _FRAME), before)
            )
        else:
            snippets.append(Snippet(city, name, PictureFrames(frames / city, (name,), _FRAME), 0))
    note = f"single frames: there is no {_SEQUENCE}/{split}, so clips repeat the frame with truth"
    return snippets, "" if has_sequences else note


def published_counts(count: int) -> dict[str, tuple[int, int]]:
    """Give (videos, frames) of a split of so many frames with truth, with and without sequences."""
    return {
        "published sequences": (count, count * (BEFORE + 1 + AFTER)),
        "published frames": (count, count),
    }


def _list_names(folder: Path, endings: Sequence[str]) -> set[tuple[str, str]]:
    """Cities and names of the files with one of the endings, which are cut off."""
    return {
        (path.parent.name, path.name.removesuffix(ending))
        for ending in endings
        for path in folder.glob(f"*/*{ending}")
        if not path.name.startswith(".")
    }


def _name_frames(name: str, before: int, after: int) -> tuple[str, ...]:
    parts = name.rsplit("_", 1)
    if len(parts) != 2 or not parts[1].isdigit():
        raise ValueError(
            f"{name} is no name of a frame, expected <city>_<sequence>_<frame>; restore the names "
            "as published"
        )
    number, digits = int(parts[1]), len(parts[1])
    if number < before:
        raise ValueError(
            f"{name} has truth, but only {number} frames before it, expected {before}; pass "
            "`before` and `after` of shorter snippets"
        )
    numbers = range(number - before, number + after + 1)
    return tuple(f"{parts[0]}_{each:0{digits}d}" for each in numbers)
