"""Clips as RealEstate10K: a text file of cameras for each, and its frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.scene import FRAMES_PER_SECOND
from vdit.datasets.synthetic.writers.pictures import write_jpegs
from vdit.datasets.synthetic.writers.records import NamedClips, record_clips, write_lines

_START = 52_000_000  # microseconds; tours are cut out of longer videos


def write_realestate10k(clips: NamedClips, root: Path, split: str = "train") -> None:
    """Write one split of a tree like RealEstate10K, with its frames extracted.

        <split>/<clip>.txt                an address, then a line a frame
        <split>/<clip>/<timestamp>.jpg

    Lines are `timestamp fx fy cx cy k1 k2` and the rows of the world-to-camera matrix, with 9
    digits after the point. Timestamps are microseconds from 52 s; translations are metres.

    Args:
        clips: names and clips.
        root: folder of the tree.
        split: "train" or "test".

    Raises:
        ValueError: no clip.
    """
    root = Path(root)
    for name, clip in record_clips(clips, root, split):
        times = [_START + round(1e6 * t / FRAMES_PER_SECOND) for t in range(len(clip.frames))]
        write_jpegs(root / split / name, map(str, times), clip.frames)
        lines = [f"https://www.youtube.com/watch?v={name}"]
        lines += [f"{time} {_describe(clip, t)}" for t, time in enumerate(times)]
        write_lines(root / split / f"{name}.txt", lines)


def _describe(clip: RenderedClip, t: int) -> str:
    height, width = clip.frames.shape[1:3]
    (fx, _, cx), (_, fy, cy) = clip.camera.intrinsics[t, :2]
    numbers = [fx / width, fy / height, cx / width, cy / height, 0.0, 0.0]
    return " ".join(f"{each:.9f}" for each in np.append(numbers, clip.camera.world_to_camera[t]))
