"""Clips as MeViS: expressions of any number of objects, masks as run lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.writers.pictures import name_frames, write_jpegs
from vdit.datasets.synthetic.writers.records import NamedClips, record_clips, write_json
from vdit.masks import encode_rle

_HIDDEN = ("valid", "test")


def write_mevis(clips: NamedClips, root: Path, split: str = "train") -> None:
    """Write one split of a tree like MeViS.

        <split>/JPEGImages/<vid>/%05d.jpg     00000, 00001, 00002, ...
        <split>/meta_expressions.json
        <split>/mask_dict.json                {anno_id: [run lengths or null, one per frame]}

    All captions are written; those that name nothing have empty lists of obj_id and anno_id, as in
    MeViS v2. An obj_id is the index into the scene's objects, an anno_id counts the objects of the
    split; both are numbers in the expressions, and mask_dict.json has the anno_id as a string.
    Beside them stands the kind of the caption, which MeViS does not have. The truth of "valid" and
    "test" is hidden: no mask_dict.json, and expressions of text alone.

    Args:
        clips: names of the videos and clips.
        root: folder of the tree.
        split: "train", "valid_u", "valid" or "test".

    Raises:
        ValueError: no clip, or one without captions.
    """
    root = Path(root)
    has_truth = split not in _HIDDEN
    videos: dict[str, Any] = {}
    mask_dict: dict[str, list[dict[str, Any] | None]] = {}
    for name, clip in record_clips(clips, root, split):
        frames = name_frames(len(clip.frames))
        write_jpegs(root / split / "JPEGImages" / name, frames, clip.frames)
        first = len(mask_dict)
        videos[name] = {
            "expressions": _list_expressions(name, clip, first if has_truth else None),
            "vid_id": len(videos),
            "frames": frames,
        }
        if has_truth:
            for index, masks in enumerate(clip.masks):
                mask_dict[str(first + index)] = [
                    encode_rle(mask) if mask.any() else None for mask in masks
                ]
    write_json(root / split / "meta_expressions.json", {"videos": videos})
    if has_truth:
        write_json(root / split / "mask_dict.json", mask_dict)


def _list_expressions(name: str, clip: RenderedClip, first: int | None) -> dict[str, Any]:
    """Expressions by id; `first` = anno_id of the first object, None = without the truth."""
    if not clip.captions:
        raise ValueError(f"clip {name} has no captions, expected at least one; leave the clip out")
    expressions: dict[str, Any] = {}
    for number, caption in enumerate(clip.captions):
        expression: dict[str, Any] = {"exp": caption.text}
        if first is not None:
            expression["kind"] = caption.kind
            expression["obj_id"] = [int(k) for k in caption.objects]
            expression["anno_id"] = [first + int(k) for k in caption.objects]
        expressions[str(number)] = expression
    return expressions
