"""Kubric-Similar: two identical balls that cross and hide each other, with exact labels.

A tree of DAVIS:

    JPEGImages/480p/<video>/%05d.jpg
    Annotations/480p/<video>/%05d.png     palette, 1 and 2 are the balls
    ImageSets/2017/val.txt

The paper's 14 videos of 16 frames were never published. `vdit data render kubric-similar --layout
davis --split val --count 14` renders as many of the same kind in seconds, and
`tools/render_kubric_similar.py` photo-realistic ones with simulated physics. Appearance tells the
balls apart nowhere: what separates them is motion and place alone.

Reference: the data set is one of those of TED (emerging tracking from video diffusion), made there
with Kubric (Greff et al., CVPR 2022).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from vdit.datasets.checking import Benchmark
from vdit.datasets.davis import read_davis
from vdit.datasets.findings import Findings
from vdit.datasets.labelled_videos import LabelledVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["KUBRIC_SIMILAR", "read_kubric_similar"]

_NAME = "kubric-similar"
_SPLITS = ("val", "train")
_NUM_BALLS = 2


def read_kubric_similar(root: Path, split: str = "val") -> VideoDataset[LabelledVideo]:
    """Read the videos of a rendered tree.

    Args:
        root: of the tree.
        split: "val" or "train", whichever it was rendered as.

    Raises:
        ValueError: an unknown split; the list is missing, empty or names a video twice.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    videos = tuple(replace(video, dataset=_NAME) for video in read_davis(root, split))
    return VideoDataset(_NAME, split, videos)


def _inspect(
    root: Path, split: str, dataset: VideoDataset[LabelledVideo], findings: Findings
) -> list[str]:
    """Note videos that do not begin with both balls in sight."""
    for video in dataset:
        try:
            ids = set(np.unique(video.first_labels).tolist()) - {0}
        except ValueError:
            continue  # noted already
        if ids != set(range(1, _NUM_BALLS + 1)):
            findings.add("first labels do not show the balls 1 and 2", f"{video.name}: {ids}")
    return []


def _list_path(root: Path, split: str) -> Path:
    return Path(root) / "ImageSets" / "2017" / f"{split}.txt"


KUBRIC_SIMILAR = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_kubric_similar,
    published=("https://github.com/google-research/kubric",),
    counts={"val": {"the paper": (14, 224)}},
    inspect=_inspect,
)
