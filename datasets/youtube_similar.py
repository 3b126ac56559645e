"""Youtube-Similar: videos of YouTube-VOS in which several objects are of one category.

    train/JPEGImages/<video>/%05d.jpg        every fifth frame, or of train_all_frames each
    train/Annotations/<video>/%05d.png       palette, value = object, on every fifth frame
    train/meta.json                          {"videos": {video: {"objects": {id: ...}}}}
    youtube_similar.txt                      optional: a video a line

The list of the paper's 28 videos was never published. Without a list, a video is a candidate if two
or more objects of one category are labelled in its first frame. Of the candidates those are picked
whose names have the smallest SHA-256, which is a draw that nobody can tune. The scores are
comparable between methods here, not with those of the paper.

References: Xu et al., YouTube-VOS: Sequence-to-Sequence Video Object Segmentation, ECCV 2018; the
data set is one of those of TED (emerging tracking from video diffusion).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vdit.datasets.annotation_files import read_json, read_text
from vdit.datasets.checking import Benchmark
from vdit.datasets.frame_sources import PictureFrames, list_frame_names
from vdit.datasets.labelled_videos import LabelledVideo
from vdit.datasets.mask_sources import LabelPictures
from vdit.datasets.videos import VideoDataset

__all__ = ["NUM_VIDEOS", "YOUTUBE_SIMILAR", "find_similar", "read_youtube_similar"]

NUM_VIDEOS = 28
"""As many as the paper has."""

_NAME = "youtube-similar"
_SPLIT = "train"
_LIST = "youtube_similar.txt"

Objects = Mapping[str, tuple[str, tuple[str, ...]]]
"""Category and frames of each object."""


def read_youtube_similar(
    root: Path,
    split: str = _SPLIT,
    *,
    list_file: str | Path | None = None,
    count: int | None = NUM_VIDEOS,
) -> VideoDataset[LabelledVideo]:
    """Read the videos of a list, or pick them by the rule.

    All labelled objects of a video stay in its labels, those that are alone of their category too.

    Args:
        root: folder of YouTube-VOS, which holds train/.
        split: "train"; the other parts are labelled only where an object appears first.
        list_file: names of videos, one a line; None = youtube_similar.txt in `root` if it is there,
            else the rule.
        count: most videos that the rule picks; None = all candidates.

    Raises:
        ValueError: another split; meta.json or the list is missing or damaged; the list names a
            video that meta.json lacks; no video fits the rule.
    """
    root = Path(root)
    if split != _SPLIT:
        raise ValueError(f"split={split!r} is unknown, {_NAME} has only {_SPLIT!r}")
    if count is not None and count < 1:
        raise ValueError(f"expected count >= 1, got {count}")
    meta = _read_meta(root / split / "meta.json")
    if list_file is None and (root / _LIST).exists():
        list_file = root / _LIST
    if list_file is not None:
        names = _read_list(Path(list_file), meta)
        note = f"{len(names)} videos of {Path(list_file).name}"
    else:
        candidates = find_similar(meta)
        if not candidates:
            raise ValueError(
                f"none of the {len(meta)} videos of {root} has several objects of one category in "
                "its first frame; pass a list"
            )
        names = _draw(candidates, count)
        note = (
            f"picked {len(names)} of {len(candidates)} videos with several objects of one category "
            f"in the first frame, of {len(meta)} in all; the list of the paper is not public"
        )
    videos = tuple(_read_video(root / split, name, meta[name]) for name in names)
    return VideoDataset(_NAME, split, videos, note)


def find_similar(meta: Mapping[str, Objects]) -> list[str]:
    """Find the videos in whose first frame two or more objects are of one category, in order."""
    found = []
    for name, objects in meta.items():
        first = _first_frame(objects)
        counts = Counter(category for category, frames in objects.values() if first in frames)
        if max(counts.values(), default=0) >= 2:
            found.append(name)
    return sorted(found)


def _draw(candidates: Sequence[str], count: int | None) -> list[str]:
    if count is None:
        return list(candidates)
    drawn = sorted(candidates, key=lambda name: hashlib.sha256(name.encode()).digest())
    return sorted(drawn[:count])


def _first_frame(objects: Objects) -> str:
    """The first frame in which any object is labelled; "" without objects."""
    return min((frame for _, frames in objects.values() for frame in frames), default="")


def _read_video(folder: Path, name: str, objects: Objects) -> LabelledVideo:
    frames = folder / "JPEGImages" / name
    labels = folder / "Annotations" / name
    listed = {frame for _, of_object in objects.values() for frame in of_object}
    with_labels = listed | set(list_frame_names(labels))
    names = tuple(sorted(with_labels | set(list_frame_names(frames))))
    first = _first_frame(objects)
    return LabelledVideo(
        dataset=_NAME,
        split=_SPLIT,
        name=name,
        frame_source=PictureFrames(frames, names),
        label_source=LabelPictures(labels, names),
        labelled=tuple(
            index for index, frame in enumerate(names) if frame >= first and frame in with_labels
        ),
    )


def _read_meta(path: Path) -> dict[str, Objects]:
    videos = read_json(path, dict).get("videos")
    if not isinstance(videos, dict) or not videos:
        raise ValueError(f'{path} lists no video under "videos", expected at least one')
    return {name: _read_objects(path, name, entry) for name, entry in videos.items()}


def _read_objects(path: Path, video: str, entry: Any) -> Objects:
    try:
        return {
            number: (str(each["category"]), tuple(str(frame) for frame in each["frames"]))
            for number, each in entry["objects"].items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path}: video {video} has not the form {{"objects": {{id: {{"category": ..., '
            '"frames": [...]}}; download it again'
        ) from error


def _read_list(path: Path, meta: Mapping[str, Objects]) -> list[str]:
    names = read_text(path).split()
    if not names:
        raise ValueError(f"{path} names no video, expected at least one")
    unknown = [name for name in names if name not in meta]
    if unknown:
        raise ValueError(
            f"{path} names {unknown[0]}, which meta.json does not list; take names of train"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"{path} names a video twice, expected every video once")
    return names


def _list_path(root: Path, split: str) -> Path:
    return Path(root) / split / "meta.json"


YOUTUBE_SIMILAR = Benchmark(
    name=_NAME,
    splits=(_SPLIT,),
    list_path=_list_path,
    read=read_youtube_similar,
    published=("https://youtube-vos.org/dataset/vos/",),
)
