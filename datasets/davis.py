"""DAVIS: objects of short videos, with labels on every frame.

DAVIS 2017, for the semi-supervised and the unsupervised task:

    JPEGImages/480p/<sequence>/%05d.jpg
    Annotations/480p/<sequence>/%05d.png               of test-dev only the first frame
    Annotations_unsupervised/480p/<sequence>/%05d.png  255 is void; none of test-dev
    ImageSets/2017/{train,val,test-dev}.txt            a sequence a line

DAVIS 2016 has one foreground, whose pictures hold 0 and 255; its lists are

    ImageSets/2016/{train,val}.txt                     a sequence a line, or
    ImageSets/480p/{train,val}.txt                     "/JPEGImages/... /Annotations/..." a line

References: Perazzi et al., CVPR 2016; Pont-Tuset et al., The 2017 DAVIS Challenge on Video Object
Segmentation, arXiv 1704.00675; Caelles et al., The 2019 DAVIS Challenge on VOS, arXiv 1905.00737.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vdit.datasets.annotation_files import read_text
from vdit.datasets.checking import Benchmark
from vdit.datasets.frame_sources import PictureFrames, list_frame_names
from vdit.datasets.labelled_videos import LabelledVideo
from vdit.datasets.mask_sources import ForegroundPictures, LabelPictures
from vdit.datasets.videos import VideoDataset

__all__ = [
    "DAVIS_2016",
    "DAVIS_2017",
    "DAVIS_2017_UNSUPERVISED",
    "read_davis",
    "read_davis_2016",
]

TASKS = {"semi-supervised": "Annotations", "unsupervised": "Annotations_unsupervised"}
"""Task -> folder of its labels."""

_SPLITS = {"semi-supervised": ("train", "val", "test-dev"), "unsupervised": ("train", "val")}
_ONLY_FIRST = ("test-dev",)
_SPLITS_2016 = ("train", "val", "all")
_PAGES = "https://davischallenge.org/"


def read_davis(
    root: Path, split: str = "val", *, task: str = "semi-supervised", resolution: str = "480p"
) -> VideoDataset[LabelledVideo]:
    """Read the sequences of one split of DAVIS 2017.

    Args:
        root: folder DAVIS, or the one that holds it.
        split: "train", "val" or "test-dev".
        task: "semi-supervised" or "unsupervised", whose labels have void.
        resolution: folder of frames and labels, "480p" or "Full-Resolution".

    Raises:
        ValueError: an unknown task or split; the list is missing, empty or names a sequence twice.
    """
    if task not in TASKS:
        raise ValueError(f"task={task!r} is unknown, expected one of {', '.join(TASKS)}")
    if split not in _SPLITS[task]:
        raise ValueError(
            f"split={split!r} is unknown, expected one of {', '.join(_SPLITS[task])} for the "
            f"{task} task"
        )
    root = _tree(Path(root))
    path = _list_path(root, split)
    name = _name(task)
    videos = []
    for sequence in _read_names(path):
        frames_folder = root / "JPEGImages" / resolution / sequence
        labels_folder = root / TASKS[task] / resolution / sequence
        names = list_frame_names(frames_folder, labels_folder)
        count = min(1, len(names)) if split in _ONLY_FIRST else len(names)
        videos.append(
            LabelledVideo(
                dataset=name,
                split=split,
                name=sequence,
                frame_source=PictureFrames(frames_folder, names),
                label_source=LabelPictures(labels_folder, names),
                labelled=tuple(range(count)),
            )
        )
    return VideoDataset(name, split, tuple(videos))


def read_davis_2016(
    root: Path, split: str = "val", *, resolution: str = "480p"
) -> VideoDataset[LabelledVideo]:
    """Read the sequences of one split of DAVIS 2016, whose objects are one foreground.

    A tree of DAVIS 2017 serves too: its objects become one.

    Args:
        root: folder DAVIS, or the one that holds it.
        split: "train", "val", or "all" sequences that have a folder, which needs no list.
        resolution: folder of frames and labels, "480p" or "1080p".

    Raises:
        ValueError: an unknown split; the list is missing, empty or damaged; no sequence.
    """
    if split not in _SPLITS_2016:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS_2016)}")
    root = _tree(Path(root))
    videos = []
    for sequence, listed in _sequences_2016(root, split, resolution).items():
        frames_folder = root / "JPEGImages" / resolution / sequence
        labels_folder = root / "Annotations" / resolution / sequence
        names = listed or list_frame_names(frames_folder, labels_folder)
        videos.append(
            LabelledVideo(
                dataset="davis-2016",
                split=split,
                name=sequence,
                frame_source=PictureFrames(frames_folder, names),
                label_source=ForegroundPictures(labels_folder, names),
                labelled=tuple(range(len(names))),
            )
        )
    return VideoDataset("davis-2016", split, tuple(videos))


def _tree(root: Path) -> Path:
    folder = root / "DAVIS"
    return folder if folder.is_dir() else root


def _name(task: str) -> str:
    return "davis-2017" if task == "semi-supervised" else f"davis-2017-{task}"


def _list_path(root: Path, split: str) -> Path:
    return _tree(root) / "ImageSets" / "2017" / f"{split}.txt"


def _list_path_2016(root: Path, split: str) -> Path:
    """The list of a split; "all" has the folder of the frames for one, if no split has any."""
    root = _tree(root)
    if split == "all":
        has_lists = any(_list_path_2016(root, other).exists() for other in ("train", "val"))
        return root / ("ImageSets/2016/all.txt" if has_lists else "JPEGImages")
    names = root / "ImageSets" / "2016" / f"{split}.txt"
    pairs = root / "ImageSets" / "480p" / f"{split}.txt"
    return pairs if pairs.exists() and not names.exists() else names


def _read_names(path: Path) -> list[str]:
    names = read_text(path).split()
    if not names:
        raise ValueError(f"{path} names no sequence, expected at least one")
    if len(set(names)) < len(names):
        twice = next(name for k, name in enumerate(names) if name in names[:k])
        raise ValueError(f"{path} names {twice} twice, expected every sequence once; copy it again")
    return names


def _sequences_2016(root: Path, split: str, resolution: str) -> dict[str, tuple[str, ...]]:
    """Names of the frames of every sequence; none where the list does not say."""
    if split == "all":
        folder = root / "JPEGImages" / resolution
        found = sorted(path.name for path in folder.glob("*") if path.is_dir())
        if not found:
            raise ValueError(f"{folder} holds no sequence, expected at least one folder of frames")
        return dict.fromkeys(found, ())
    path = _list_path_2016(root, split)
    if path.parent.name == "2016":
        return dict.fromkeys(_read_names(path), ())
    frames: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        parts = Path(words[0]).parts
        if len(words) != 2 or len(parts) < 2:
            raise ValueError(
                f"{path}: line {number} is {line.strip()[:60]!r}, expected "
                "/JPEGImages/480p/<sequence>/<frame>.jpg /Annotations/...; download it again"
            )
        frames.setdefault(parts[-2], []).append(Path(parts[-1]).stem)
    if not frames:
        raise ValueError(f"{path} names no frame, expected at least one")
    return {sequence: tuple(names) for sequence, names in frames.items()}


DAVIS_2017 = Benchmark(
    name=_name("semi-supervised"),
    splits=_SPLITS["semi-supervised"],
    list_path=_list_path,
    read=read_davis,
    published=(_PAGES + "davis2017/code.html",),
    counts={
        "train": {"published": (60, None)},
        "val": {"published": (30, 1999)},
        "test-dev": {"published": (30, None)},
    },
)
DAVIS_2017_UNSUPERVISED = Benchmark(
    name=_name("unsupervised"),
    splits=_SPLITS["unsupervised"],
    list_path=_list_path,
    read=partial(read_davis, task="unsupervised"),
    published=(_PAGES + "davis2017/code.html",),
    counts={"train": {"published": (60, None)}, "val": {"published": (30, 1999)}},
)
DAVIS_2016 = Benchmark(
    name="davis-2016",
    splits=_SPLITS_2016,
    list_path=_list_path_2016,
    read=read_davis_2016,
    published=(_PAGES + "davis2016/code.html",),
    counts={"train": {"published": (30, None)}, "val": {"published": (20, None)}},
)
