"""Clips as DAVIS 2017 and 2016, and as Ref-DAVIS17 before and after its conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.writers.expressions import annotate_four
from vdit.datasets.synthetic.writers.pictures import (
    name_frames,
    write_jpegs,
    write_palettes,
    write_png,
)
from vdit.datasets.synthetic.writers.records import (
    NamedClips,
    read_json,
    record_clips,
    write_json,
    write_lines,
)

_VOID = 255
# In the order of annotate_four. The sentences of annotator 2 are encoded in Latin 1.
_TEXT_FILES = (
    ("Davis17_annot1.txt", "utf-8"),
    ("Davis17_annot1_full_video.txt", "utf-8"),
    ("Davis17_annot2.txt", "latin-1"),
    ("Davis17_annot2_full_video.txt", "latin-1"),
)


def write_davis(clips: NamedClips, root: Path, split: str = "val") -> None:
    """Write one split of a tree like DAVIS 2017 at 480p; `root` is the folder called DAVIS.

        JPEGImages/480p/<seq>/%05d.jpg
        Annotations/480p/<seq>/%05d.png       palette, value = object, 0 = background
        ImageSets/2017/<split>.txt

    Clips keep their size. There is no void label 255, which only the unsupervised masks have.

    Args:
        clips: names of the sequences and clips.
        root: folder of the tree.
        split: "train", "val", or "test-dev", of which only the first frame has labels.

    Raises:
        ValueError: no clip.
    """
    _write_split(clips, root, split, "Annotations")


def write_davis_unsupervised(clips: NamedClips, root: Path, split: str = "val") -> None:
    """Write one split as `write_davis` does, with the labels of the unsupervised task.

    They lie in Annotations_unsupervised/. A strip of one pixel around the picture is void, 255.

    Args:
        clips: names of the sequences and clips.
        root: folder of the tree.
        split: "train" or "val".

    Raises:
        ValueError: no clip.
    """
    _write_split(clips, root, split, "Annotations_unsupervised")


def write_davis_2016(clips: NamedClips, root: Path, split: str = "val") -> None:
    """Write one split of a tree like DAVIS 2016 at 480p, whose objects are one foreground.

        JPEGImages/480p/<seq>/%05d.jpg
        Annotations/480p/<seq>/%05d.png       gray, 0 and 255
        ImageSets/480p/<split>.txt            "/JPEGImages/... /Annotations/..." for every frame

    Args:
        clips: names of the sequences and clips.
        root: folder of the tree.
        split: "train" or "val".

    Raises:
        ValueError: no clip.
    """
    root = Path(root)
    pairs = []
    for name, clip in record_clips(clips, root, split):
        frames = name_frames(len(clip.frames))
        write_jpegs(root / "JPEGImages" / "480p" / name, frames, clip.frames)
        for frame, labels in zip(frames, clip.instances, strict=True):
            path = f"/Annotations/480p/{name}/{frame}.png"
            write_png(root / path[1:], (labels > 0).astype(np.uint8) * np.uint8(255))
            pairs.append(f"/JPEGImages/480p/{name}/{frame}.jpg {path}")
    write_lines(root / "ImageSets" / "480p" / f"{split}.txt", pairs)


def _write_split(clips: NamedClips, root: Path, split: str, folder: str) -> None:
    root = Path(root)
    sequences = []
    for name, clip in record_clips(clips, root, split):
        labels = clip.instances[: 1 if split == "test-dev" else None]
        if folder == "Annotations_unsupervised":
            labels = np.pad(labels[:, 1:-1, 1:-1], ((0, 0), (1, 1), (1, 1)), constant_values=_VOID)
        frames = name_frames(len(clip.frames))
        write_jpegs(root / "JPEGImages" / "480p" / name, frames, clip.frames)
        write_palettes(root / folder / "480p" / name, frames[: len(labels)], labels)
        sequences.append(name)
    write_lines(root / "ImageSets" / "2017" / f"{split}.txt", sequences)


def write_ref_davis(clips: NamedClips, root: Path, split: str = "val") -> None:
    """Write one split of Ref-DAVIS17 as it is downloaded: DAVIS 2017 and four files of text.

        DAVIS/                                as by `write_davis`, and
        DAVIS/Annotations_unsupervised/480p/<seq>/%05d.png
        DAVIS/davis_semantics.json            {seq: {obj_id: category}}
        davis_text_annotations/Davis17_annot{1,2}{,_full_video}.txt

    A line of text is `<seq> <obj_id> "<expression>"`. These files and davis_semantics.json hold all
    splits: those of earlier calls stay.

    Args:
        clips: names of the sequences and clips.
        root: folder of the tree.
        split: "train" or "val".

    Raises:
        ValueError: no clip, or an object without a caption for it alone.
    """
    root = Path(root)
    davis = root / "DAVIS"
    texts: dict[str, list[tuple[str, str, str, str]]] = {}
    semantics: dict[str, dict[str, str]] = {}
    for name, clip in record_clips(clips, root, split):
        texts[name] = [annotate_four(name, clip, k) for k in range(clip.num_objects)]
        semantics[name] = _name_categories(clip)
        _write_sequence(davis, name, clip, "Annotations", "Annotations_unsupervised")
    write_lines(davis / "ImageSets" / "2017" / f"{split}.txt", texts)
    path = davis / "davis_semantics.json"
    write_json(path, read_json(path) | semantics)
    for column, (file_name, encoding) in enumerate(_TEXT_FILES):
        lines = [
            f'{name} {k + 1} "{four[column]}"'
            for name, objects in texts.items()
            for k, four in enumerate(objects)
        ]
        _add_lines(root / "davis_text_annotations" / file_name, lines, encoding)


def write_ref_davis_converted(clips: NamedClips, root: Path, split: str = "valid") -> None:
    """Write one split of Ref-DAVIS17 after its conversion to the layout of Ref-YouTube-VOS.

        <split>/JPEGImages/<seq>/%05d.jpg
        <split>/Annotations/<seq>/%05d.png    palette, value = obj_id
        <split>/meta.json                     {"videos": {seq: {"objects": {obj_id: category}}}}
        meta_expressions/<split>/meta_expressions.json

    Object k has the expressions 4k to 4k + 3: annotator 1 for the first frame and for the full
    video, then annotator 2. Both splits have masks and obj_ids.

    Args:
        clips: names of the sequences and clips.
        root: folder of the tree.
        split: "train" or "valid".

    Raises:
        ValueError: no clip, or an object without a caption for it alone.
    """
    root = Path(root)
    expressions: dict[str, Any] = {}
    objects: dict[str, Any] = {}
    for name, clip in record_clips(clips, root, split):
        frames = name_frames(len(clip.frames))
        entries = [
            {"exp": text, "obj_id": str(k + 1)}
            for k in range(clip.num_objects)
            for text in annotate_four(name, clip, k)
        ]
        expressions[name] = {
            "expressions": {str(number): entry for number, entry in enumerate(entries)},
            "frames": frames,
        }
        categories = _name_categories(clip)
        objects[name] = {"objects": {k: {"category": categories[k]} for k in categories}}
        write_jpegs(root / split / "JPEGImages" / name, frames, clip.frames)
        write_palettes(root / split / "Annotations" / name, frames, clip.instances)
    write_json(root / split / "meta.json", {"videos": objects})
    write_json(root / "meta_expressions" / split / "meta_expressions.json", {"videos": expressions})


def _write_sequence(root: Path, name: str, clip: RenderedClip, *mask_folders: str) -> None:
    frames = name_frames(len(clip.frames))
    write_jpegs(root / "JPEGImages" / "480p" / name, frames, clip.frames)
    for folder in mask_folders:
        write_palettes(root / folder / "480p" / name, frames, clip.instances)


def _name_categories(clip: RenderedClip) -> dict[str, str]:
    return {str(k + 1): spec.category for k, spec in enumerate(clip.scene.objects)}


def _add_lines(path: Path, lines: list[str], encoding: str) -> None:
    """Put lines behind those of other sequences that the file holds."""
    sequences = {line.split()[0] for line in lines}
    older = path.read_text(encoding=encoding).splitlines() if path.exists() else []
    kept = [line for line in older if line.split()[0] not in sequences]
    write_lines(path, kept + lines, encoding)
