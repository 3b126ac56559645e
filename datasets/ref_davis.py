"""Ref-DAVIS17: as it is downloaded, and converted to the layout of Ref-YouTube-VOS.

Downloaded:

    DAVIS/JPEGImages/480p/<sequence>/%05d.jpg
    DAVIS/Annotations_unsupervised/480p/<sequence>/%05d.png     or Annotations/ where it is absent
    DAVIS/ImageSets/2017/{train,val}.txt
    davis_text_annotations/Davis17_annot{1,2}{,_full_video}.txt

Converted, which moves the pictures out of the first:

    {train,valid}/{JPEGImages,Annotations}/<sequence>/<frame>
    meta_expressions/{train,valid}/meta_expressions.json

Both give the same samples. Object k of a sequence has the expressions 4k to 4k + 3, one of each
annotator: the first one after seeing the first frame and after the full video, then the second.

Reference: Khoreva, Rohrbach and Schiele, Video Object Segmentation with Language Referring
Expressions, ACCV 2018.
"""

from __future__ import annotations

import re
from pathlib import Path

from vdit.datasets.annotation_files import (
    read_json,
    read_meta_expressions,
    read_meta_objects,
    read_text,
)
from vdit.datasets.checking import Benchmark, note_unlisted_objects
from vdit.datasets.findings import Findings
from vdit.datasets.frame_sources import PictureFrames, list_frame_names
from vdit.datasets.mask_sources import LabelPictures
from vdit.datasets.ref_youtube_vos import read_object_id
from vdit.datasets.referring import ReferringDataset, ReferringSample

__all__ = ["NUM_ANNOTATORS", "REF_DAVIS", "read_ref_davis"]

NUM_ANNOTATORS = 4

_NAME = "ref-davis"
_SPLITS = ("train", "valid")
_IMAGE_SETS = {"train": "train.txt", "valid": "val.txt"}
# In the order of annotators. The sentences of the second person are encoded in Latin 1.
_TEXT_FILES = (
    ("Davis17_annot1.txt", "utf-8"),
    ("Davis17_annot1_full_video.txt", "utf-8"),
    ("Davis17_annot2.txt", "latin-1"),
    ("Davis17_annot2_full_video.txt", "latin-1"),
)
_TEXT_LINE = re.compile(r'(\S+)\s+(\d+)\s+"?(.*?[^"\s])\s*"?')
_MISSPELLED = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}


def read_ref_davis(root: Path, split: str = "valid") -> ReferringDataset:
    """Read the sentences of one split in either layout.

    Args:
        root: folder that holds DAVIS/ and davis_text_annotations/, or meta_expressions/ and the
            splits; the converted layout is taken where its list is there.
        split: "train" or "valid" (val.txt of DAVIS).

    Raises:
        ValueError: an unknown split; a list or text file is missing, damaged or empty; a sequence
            has not four sentences for each object.
    """
    root = Path(root)
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    if _converted_list(root, split).exists():
        return _read_converted(root, split)
    return _read_original(root, split)


def _converted_list(root: Path, split: str) -> Path:
    return root / "meta_expressions" / split / "meta_expressions.json"


def _list_path(root: Path, split: str) -> Path:
    converted = _converted_list(root, split)
    image_set = root / "DAVIS" / "ImageSets" / "2017" / _IMAGE_SETS[split]
    return converted if converted.exists() else image_set


def _read_converted(root: Path, split: str) -> ReferringDataset:
    samples: list[ReferringSample] = []
    for video, entry in read_meta_expressions(_converted_list(root, split)).items():
        frames = PictureFrames(root / split / "JPEGImages" / video, entry.frames)
        masks = LabelPictures(root / split / "Annotations" / video, entry.frames)
        entries = [
            (number, read_object_id(video, number, expression), expression["exp"])
            for number, expression in entry.expressions.items()
        ]
        samples += _make_samples(split, video, entries, frames, masks)
    return ReferringDataset(_NAME, split, tuple(samples))


def _read_original(root: Path, split: str) -> ReferringDataset:
    davis = root / "DAVIS"
    path = _list_path(root, split)
    sequences = read_text(path).split()
    if not sequences:
        raise ValueError(f"{path} names no sequence, expected at least one")
    texts = [
        _read_sentences(root / "davis_text_annotations" / name, encoding)
        for name, encoding in _TEXT_FILES
    ]
    masks_folder = davis / "Annotations_unsupervised" / "480p"
    if not masks_folder.is_dir():
        masks_folder = davis / "Annotations" / "480p"
    samples: list[ReferringSample] = []
    for video in sequences:
        folder = davis / "JPEGImages" / "480p" / video
        names = list_frame_names(folder, masks_folder / video)
        frames = PictureFrames(folder, names)
        masks = LabelPictures(masks_folder / video, names)
        samples += _make_samples(split, video, _interleave(video, texts), frames, masks)
    return ReferringDataset(_NAME, split, tuple(samples))


def _read_sentences(path: Path, encoding: str) -> dict[str, dict[str, str]]:
    """Sentences by sequence and obj_id; a line is `<sequence> <obj_id> "<sentence>"`."""
    sentences: dict[str, dict[str, str]] = {}
    for number, line in enumerate(read_text(path, encoding).split("\n"), start=1):
        if not line.strip():
            continue
        match = _TEXT_LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(
                f"{path}: line {number} is {line.strip()[:60]!r}, expected <sequence> <obj_id> "
                '"<sentence>"; download it again'
            )
        video, object_id, text = match.groups()
        of_video = sentences.setdefault(_MISSPELLED.get(video, video), {})
        of_video[object_id] = " ".join(text.split())
    return sentences


def _interleave(video: str, texts: list[dict[str, dict[str, str]]]) -> list[tuple[str, int, str]]:
    """(expression, obj_id, sentence) of all annotators, object by object.

    Objects follow one another in the order of their ids as strings, "10" before "2": the numbers
    of the expressions depend on it.
    """
    ids = [sorted(of_annotator.get(video, {})) for of_annotator in texts]
    if not ids[0] or any(other != ids[0] for other in ids[1:]):
        raise ValueError(
            f"the annotators of {video} name the objects {ids}, expected the same ones; download "
            "the four text files again"
        )
    return [
        (str(NUM_ANNOTATORS * k + a), int(object_id), texts[a][video][object_id])
        for k, object_id in enumerate(ids[0])
        for a in range(NUM_ANNOTATORS)
    ]


def _make_samples(
    split: str,
    video: str,
    entries: list[tuple[str, int, str]],
    frames: PictureFrames,
    masks: LabelPictures,
) -> list[ReferringSample]:
    ids = [object_id for _, object_id, _ in entries]
    if [number for number, _, _ in entries] != [str(n) for n in range(len(entries))] or any(
        len(set(ids[n : n + NUM_ANNOTATORS])) != 1 or len(ids[n : n + NUM_ANNOTATORS]) != 4
        for n in range(0, len(ids), NUM_ANNOTATORS)
    ):
        raise ValueError(
            f"the {len(entries)} expressions of {video} are not four for each object in turn, "
            "numbered from 0; convert the data set again"
        )
    return [
        ReferringSample(
            dataset=_NAME,
            split=split,
            video=video,
            expression=number,
            text=text,
            object_ids=(object_id,),
            frame_source=frames,
            mask_source=masks,
            annotator=int(number) % NUM_ANNOTATORS,
        )
        for number, object_id, text in entries
    ]


def _inspect(root: Path, split: str, dataset: ReferringDataset, findings: Findings) -> list[str]:
    """Compare obj_ids with those of meta.json, or davis_semantics.json where nothing was moved."""
    if _converted_list(root, split).exists():
        path = root / split / "meta.json"
        listed = read_meta_objects(path) if path.exists() else None
    else:
        path = root / "DAVIS" / "davis_semantics.json"
        listed = None
        if path.exists():
            listed = {video: set(objects) for video, objects in read_json(path, dict).items()}
    if listed is None:
        return [f"{path} is not there; nothing needs it"]
    note_unlisted_objects(listed, path.name, dataset, findings)
    return []


REF_DAVIS = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_ref_davis,
    published=(
        "https://davischallenge.org/davis2017/code.html",
        "https://www.mpi-inf.mpg.de/departments/computer-vision-and-machine-learning/research/"
        "video-segmentation/video-object-segmentation-with-language-referring-expressions",
    ),
    counts={"train": {"published": (60, None)}, "valid": {"published": (30, 244)}},
    inspect=_inspect,
)
