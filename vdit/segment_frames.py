"""Frames on their way into a model: where they come from, and at which size they are seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vdit.video import open_video
from vdit.video_reader import VideoReader


@dataclass(frozen=True)
class Frame:
    """One frame on its way in: name, [H, W, 3] uint8 RGB, seconds since the first one if known."""

    name: str
    image: np.ndarray
    seconds: float | None = None


Video = str | Path | VideoReader | np.ndarray | Iterator[Frame]


def frames_of(video: Video) -> Iterator[Frame]:
    """Iterate over the frames; a ValueError for an unreadable video comes at once."""
    if isinstance(video, np.ndarray):
        if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8 or not len(video):
            raise ValueError(
                "expected frames [T, H, W, 3] uint8 with T >= 1, got "
                f"{list(video.shape)} {video.dtype}"
            )
        return (Frame(f"{i:05d}", image) for i, image in enumerate(video))
    if isinstance(video, Iterator):
        return video
    reader = video if isinstance(video, VideoReader) else open_video(video)
    return (
        Frame(reader.frame_name(i), image, seconds)
        for i, (seconds, image) in enumerate(reader.timed_frames())
    )


def resize_frame(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize [H, W, 3] uint8 to (height, width) with PIL, which smooths as it shrinks."""
    if image.shape[:2] == size:
        return image
    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)
