"""Clips of videos as a learned probe sees them: which frames, at which size, which window of them.

T frames, H x W pixels. Positions are shares of width and height, see `vdit.datasets.truth_videos`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from vdit.datasets.videos import Video
from vdit.frame_sizes import Size

Sampling = Literal["uniform", "strided", "around"]


@dataclass(frozen=True)
class ViewOptions:
    """How clips are cut out of videos.

    Attributes:
        num_frames: T of a clip. A video that is shorter repeats frames ("uniform") or its last one.
        sampling: "uniform" spreads the frames over the whole video, each in the middle of its
            share; "strided" takes every `stride`-th, `clips` such runs spread over the video;
            "around" takes every `stride`-th so that a frame with truth is at `position`.
        stride: in frames of the video.
        position: see "around"; None = in the middle, `num_frames // 2`.
        size: (H, W) that frames are resized to; None = by `short_side`, or their own.
        short_side: pixels of the short side that frames are resized to, aspect kept.
        crop: (H, W) that is cut out of the middle of the resized frames; None = nothing is cut.
        clips: runs of a video that are tested and, for tracks and cameras, trained on.
        crops: 1 tests the middle, 3 also both ends of the long side; needs `crop`.
    """

    num_frames: int = 16
    sampling: Sampling = "uniform"
    stride: int = 1
    position: int | None = None
    size: tuple[int, int] | None = None
    short_side: int | None = None
    crop: tuple[int, int] | None = None
    clips: int = 1
    crops: int = 1

    def __post_init__(self) -> None:
        if self.size is not None and self.short_side is not None:
            raise ValueError("expected size or short_side of a view, got both; pass one of them")
        if min(self.num_frames, self.stride, self.clips) < 1:
            raise ValueError(
                f"expected num_frames, stride and clips of 1 or more, got {self.num_frames}, "
                f"{self.stride} and {self.clips}"
            )
        sides = [*(self.size or ()), *(self.crop or ())]
        sides += [] if self.short_side is None else [self.short_side]
        if min(sides, default=1) < 1:
            raise ValueError(
                "expected size, short_side and crop of a view of 1 pixel or more, got "
                f"{self.size}, {self.short_side} and {self.crop}"
            )
        if self.crops not in (1, 3) or (self.crops == 3 and self.crop is None):
            raise ValueError(f"expected crops 1, or 3 with a crop, got {self.crops}")
        if self.sampling == "uniform" and self.clips > 1:
            raise ValueError('expected clips=1 with sampling "uniform"; use "strided" for several')


@dataclass(frozen=True)
class ClipView:
    """One clip: T frames, resized, of which a window is seen.

    Attributes:
        indices: positions of the frames in the video.
        resized: (H, W) of the resized frames.
        top: first row of the window in the resized frames.
        left: its first column.
        size: (H, W) of the window.
    """

    indices: tuple[int, ...]
    resized: Size
    top: int
    left: int
    size: Size

    def frames(self, video: Video) -> np.ndarray:
        """Read the clip, [T, H, W, 3] uint8; resizing is bilinear over the area of a pixel."""
        pictures = video.frames(self.indices)
        return np.stack([self._cut(_resize(each, self.resized)) for each in pictures])

    def cut_map(self, values: np.ndarray) -> np.ndarray:
        """Bring a map [H', W'] of a whole frame to the window by nearest neighbours, [H, W]."""
        rows = _nearest(values.shape[0], self.resized[0])
        columns = _nearest(values.shape[1], self.resized[1])
        return self._cut(values[rows[:, None], columns[None, :]])

    def to_view(self, points: np.ndarray) -> np.ndarray:
        """Turn points [..., 2] (x, y) from shares of the frame into shares of the window."""
        scale, shift = self._shares()
        return (points - shift) / scale

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """Turn points [..., 2] (x, y) from shares of the window into shares of the frame."""
        scale, shift = self._shares()
        return points * scale + shift

    def _shares(self) -> tuple[np.ndarray, np.ndarray]:
        """Width and height of the window, and its corner, in shares of the frame."""
        whole = np.array(self.resized[::-1], float)
        return np.array(self.size[::-1]) / whole, np.array([self.left, self.top]) / whole

    def _cut(self, picture: np.ndarray) -> np.ndarray:
        height, width = self.size
        return picture[self.top : self.top + height, self.left : self.left + width]


def choose_views(
    options: ViewOptions,
    num_frames: int,
    size: Size,
    labelled: Sequence[int] = (),
    is_training: bool = False,
) -> list[ClipView]:
    """List the views of a video; training sees the middle of each clip only.

    Args:
        options: how clips are cut.
        num_frames: of the video.
        size: (H, W) of its frames.
        labelled: positions with truth, one view each, for sampling "around".
        is_training: `crops` is for tests.

    Raises:
        ValueError: the crop is larger than the resized frames.
    """
    resized = resized_to(options, size)
    window = options.crop or resized
    if window[0] > resized[0] or window[1] > resized[1]:
        raise ValueError(
            f"expected a crop inside of frames of {resized[0]}x{resized[1]}, got "
            f"{window[0]}x{window[1]}; raise size or short_side"
        )
    corners = _corners(resized, window, 1 if is_training else options.crops)
    return [
        ClipView(indices, resized, top, left, window)
        for indices in _clips(options, num_frames, labelled)
        for top, left in corners
    ]


def resized_to(options: ViewOptions, size: Size) -> Size:
    """Give (H, W) of the resized frames of a video."""
    if options.size is not None:
        return options.size
    if options.short_side is None:
        return size
    scale = options.short_side / min(size)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _clips(options: ViewOptions, num_frames: int, labelled: Sequence[int]) -> list[tuple[int, ...]]:
    T = options.num_frames
    if options.sampling == "uniform":
        return [tuple(((2 * np.arange(T) + 1) * num_frames // (2 * T)).tolist())]
    if options.sampling == "around":
        position = T // 2 if options.position is None else options.position
        starts = [index - position * options.stride for index in labelled]
    else:
        last = max(num_frames - (T - 1) * options.stride - 1, 0)
        starts = [(2 * k + 1) * last // (2 * options.clips) for k in range(options.clips)]
        starts = list(dict.fromkeys(starts))  # a short video has fewer clips
    run = options.stride * np.arange(T)
    return [tuple(np.clip(start + run, 0, num_frames - 1).tolist()) for start in starts]


def _corners(resized: Size, window: Size, crops: int) -> list[tuple[int, int]]:
    rows, columns = resized[0] - window[0], resized[1] - window[1]
    middle = (rows // 2, columns // 2)
    if crops == 1:
        return [middle]
    if rows > columns:
        return [(0, middle[1]), middle, (rows, middle[1])]
    return [(middle[0], 0), middle, (middle[0], columns)]


def _resize(picture: np.ndarray, size: Size) -> np.ndarray:
    if picture.shape[:2] == size:
        return picture
    resized = Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _nearest(count: int, new_count: int) -> np.ndarray:
    """Positions among `count` cells below the middles of `new_count` cells."""
    return (2 * np.arange(new_count) + 1) * count // (2 * new_count)
