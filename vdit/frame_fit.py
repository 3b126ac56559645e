"""Bring frames to a size that a network takes, and feature maps back to what shows the frame.

H x W pixels, h x w feature cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

Fit = Literal["pad", "resize", "crop"]


@dataclass(frozen=True)
class FrameFit:
    """How frames become input of a network: resized, then padded or cut.

    Attributes:
        resized: (H, W) after resizing.
        shown: (H, W) of what the network sees of it; smaller than `resized` where it is cut.
        padded: (H, W) of the input; larger than `shown` where it is padded below and at the right.
    """

    resized: tuple[int, int]
    shown: tuple[int, int]
    padded: tuple[int, int]

    def apply(self, frames: Sequence[np.ndarray]) -> Tensor:
        """Turn frames [H, W, 3] uint8 into [T, 3, H', W'] float32 in 0..1.

        Resizing is bilinear over the area of a pixel (Pillow); the cut keeps the center; the
        padding repeats the last row and column.
        """
        pictures = np.stack([_resize(frame, self.resized) for frame in frames])
        video = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        rows, columns = self._center()
        video = video[..., rows, columns]
        below, right = (p - s for p, s in zip(self.padded, self.shown, strict=True))
        if below or right:
            video = F.pad(video, (0, right, 0, below), mode="replicate")
        return video.contiguous()  # another order of axes in memory would be rounded otherwise

    def frame(self, frame: np.ndarray) -> np.ndarray:
        """Give the part of a frame [H, W, 3] uint8 that the features show, [H', W', 3]."""
        rows, columns = self._center()
        return _resize(frame, self.resized)[rows, columns]

    def crop(self, features: Tensor, stride: int) -> Tensor:
        """Drop the cells of feature maps [..., h, w] that saw nothing but padding."""
        height, width = (-(-side // stride) for side in self.shown)
        return features[..., :height, :width]

    def _center(self) -> tuple[slice, slice]:
        """Rows and columns of the resized frame that are shown."""
        (height, width), (whole_height, whole_width) = self.shown, self.resized
        top, left = (whole_height - height) // 2, (whole_width - width) // 2
        return slice(top, top + height), slice(left, left + width)


def plan_fit(
    height: int,
    width: int,
    multiple: int,
    *,
    size: tuple[int, int] | None = None,
    short_side: int | None = None,
    fit: Fit = "pad",
) -> FrameFit:
    """Choose the size at which a network sees frames.

    Args:
        height: of the frames in pixels.
        width: of the frames in pixels.
        multiple: that both sides of the input must be of.
        size: (H, W) to resize to first.
        short_side: pixels of the short side to resize to first, keeping the aspect.
        fit: what makes the sides multiples: "pad" grows them, "crop" cuts the margins off, "resize"
            resizes to the nearest multiples.

    Raises:
        ValueError: size and short side are both given, or nothing would be left.

    >>> plan_fit(480, 854, 8).padded, plan_fit(480, 854, 14, fit="resize").resized
    ((480, 856), (476, 854))
    """
    if size is not None and short_side is not None:
        raise ValueError(f"expected size or short_side, got {size} and {short_side}; pass one")
    if min(size or (1,)) < 1 or (short_side is not None and short_side < 1):
        raise ValueError(f"expected a size of at least one pixel, got {size or short_side}")
    if short_side is not None:
        scale = short_side / min(height, width)
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
    resized = size or (height, width)
    if fit == "pad":
        return FrameFit(resized, resized, _to_multiples(resized, multiple, up=True))
    if fit == "crop":
        shown = _to_multiples(resized, multiple, up=False)
        if min(shown) < 1:
            raise ValueError(
                f"expected frames of at least {multiple}x{multiple} pixels to cut multiples of "
                f"{multiple}, got {resized[0]}x{resized[1]}; pass fit='pad' or a larger size"
            )
        return FrameFit(resized, shown, shown)
    if fit != "resize":
        raise ValueError(f"expected fit among pad, resize, crop; got {fit!r}")
    nearest = (_nearest(resized[0], multiple), _nearest(resized[1], multiple))
    return FrameFit(nearest, nearest, nearest)


def _to_multiples(size: tuple[int, int], multiple: int, *, up: bool) -> tuple[int, int]:
    extra = multiple - 1 if up else 0
    height, width = ((side + extra) // multiple * multiple for side in size)
    return height, width


def _nearest(side: int, multiple: int) -> int:
    """Half a multiple goes up."""
    return max((side + multiple // 2) // multiple, 1) * multiple


def _resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if frame.shape[:2] == size:
        return frame
    picture = Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture)
