"""Clips as YouTube-VOS, and as Ref-YouTube-VOS with expressions of one object each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.writers.expressions import list_single
from vdit.datasets.synthetic.writers.pictures import name_frames, write_jpegs, write_palettes
from vdit.datasets.synthetic.writers.records import NamedClips, record_clips, write_json

_STEP = 5  # every fifth frame of the source videos is listed


def write_youtube_vos(clips: NamedClips, root: Path, split: str = "train") -> None:
    """Write one split of a tree like YouTube-VOS.

        <split>/JPEGImages/<vid>/%05d.jpg        00000, 00005, 00010, ...
        <split>/Annotations/<vid>/%05d.png       palette, value = object
        <split>/meta.json                        {"videos": {vid: {"objects": {id: ...}}}}

    Object k of a scene has the id k + 1. Unlike in the real data, other splits than "train" have
    all labels too. A split is written as a whole: a second call replaces its meta.json.

    Args:
        clips: names of the videos and clips.
        root: folder of the tree.
        split: "train", "valid" or "test".

    Raises:
        ValueError: no clip.
    """
    root = Path(root)
    objects: dict[str, Any] = {}
    for name, clip in record_clips(clips, root, split):
        frames = name_frames(len(clip.frames), _STEP)
        write_jpegs(root / split / "JPEGImages" / name, frames, clip.frames)
        write_palettes(root / split / "Annotations" / name, frames, clip.instances)
        objects[name] = {"objects": _list_objects(clip, frames)}
    write_json(root / split / "meta.json", {"videos": objects})


def write_ref_youtube_vos(clips: NamedClips, root: Path, split: str = "train") -> None:
    """Write one split of a tree like Ref-YouTube-VOS.

        <split>/JPEGImages/<vid>/%05d.jpg        00000, 00005, 00010, ...
        train/Annotations/<vid>/%05d.png         palette, value = obj_id
        train/meta.json                          {"videos": {vid: {"objects": {obj_id: ...}}}}
        meta_expressions/<split>/meta_expressions.json

    Ids are strings; object k of a scene has the obj_id k + 1. Beside it stands the kind of the
    caption, which the real data do not have. Captions that name no object or several are left out.
    As in the real data, any other split than "train" has neither masks nor meta.json, and its
    expressions are text alone. A split is written as a whole: a second call replaces its JSON
    files.

    Args:
        clips: names of the videos and clips.
        root: folder of the tree.
        split: "train", "valid" or "test".

    Raises:
        ValueError: no clip, or one without a caption that names exactly one object.
    """
    root = Path(root)
    has_truth = split == "train"
    expressions: dict[str, Any] = {}
    objects: dict[str, Any] = {}
    for name, clip in record_clips(clips, root, split):
        frames = name_frames(len(clip.frames), _STEP)
        write_jpegs(root / split / "JPEGImages" / name, frames, clip.frames)
        expressions[name] = {
            "expressions": _list_expressions(name, clip, has_truth),
            "frames": frames,
        }
        if has_truth:
            write_palettes(root / split / "Annotations" / name, frames, clip.instances)
            objects[name] = {"objects": _list_objects(clip, frames)}
    if has_truth:
        write_json(root / split / "meta.json", {"videos": objects})
    write_json(root / "meta_expressions" / split / "meta_expressions.json", {"videos": expressions})


def _list_expressions(name: str, clip: RenderedClip, has_truth: bool) -> dict[str, dict[str, str]]:
    pairs = list_single(clip)
    if not pairs:
        raise ValueError(
            f"clip {name} has no caption that names exactly one object, expected at least one; "
            "leave the clip out"
        )
    return {
        str(number): {"exp": caption.text}
        | ({"obj_id": str(k + 1), "kind": caption.kind} if has_truth else {})
        for number, (k, caption) in enumerate(pairs)
    }


def _list_objects(clip: RenderedClip, frames: list[str]) -> dict[str, Any]:
    """Category of each object that is ever visible, and the frames that show it."""
    visible: np.ndarray = np.any(clip.masks, axis=(2, 3))
    return {
        str(k + 1): {
            "category": spec.category,
            "frames": [frame for frame, is_seen in zip(frames, visible[k], strict=True) if is_seen],
        }
        for k, spec in enumerate(clip.scene.objects)
        if visible[k].any()
    }
