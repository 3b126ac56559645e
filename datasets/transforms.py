"""Sizes, windows and mirror images of clips: what is drawn, and what it does to pixels and truth.

Parameters are drawn first and applied later, so that one draw serves all frames and tests can name
it. Functions on boxes follow the released code step by step; masks go through all steps at once.

Axes: N objects, T frames, H x W pixels. Sizes are (height, width), boxes (x1, y1, x2, y2) in
pixels.

Reference: transforms of videos in Wu et al., ReferFormer, CVPR 2022, which VD-IT trains with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from vdit.datasets.clip_recipe import AugmentationOptions
from vdit.frame_sizes import Size, output_size

__all__ = [
    "GeometryDraw",
    "Window",
    "blank_small_boxes",
    "crop_boxes",
    "draw_geometry",
    "flip_boxes",
    "nearest_indices",
    "swap_sides",
    "transform_boxes",
    "transform_masks",
    "transform_picture",
]


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class GeometryDraw:
    """What happens to all frames of a clip: resize and crop (or neither), resize, mirror.

    Attributes:
        size: (height, width) at the end.
        crop_size: (height, width) that frames are resized to before the window is cut out.
        window: what is kept of them; None = there is no such step.
        flip: whether frames are mirrored.
        flip_first: before all else instead of at the end.
    """

    size: Size
    crop_size: Size | None = None
    window: Window | None = None
    flip: bool = False
    flip_first: bool = False


# ---- drawing -------------------------------------------------------------------------------------


def draw_geometry(
    rng: np.random.Generator, size: Size, options: AugmentationOptions, flip_first: bool = False
) -> GeometryDraw:
    """Draw what happens to the frames of a clip.

    Args:
        rng: source of the draws.
        size: of the frames.
        options: what to draw from.
        flip_first: mirror before the other steps, as the released code does in some data sets.
    """
    flip = bool(rng.random() < options.flip_probability)
    if rng.random() >= options.crop_probability:
        short_side = int(rng.choice(options.short_sides))
        return GeometryDraw(
            output_size(size, short_side, options.max_side), flip=flip, flip_first=flip_first
        )
    crop_size = output_size(size, int(rng.choice(options.crop_short_sides)))
    window = _draw_window(rng, crop_size, options)
    short_side = int(rng.choice(options.cropped_short_sides or options.short_sides))
    max_side = options.cropped_max_side or options.max_side
    final = output_size((window.height, window.width), short_side, max_side)
    return GeometryDraw(final, crop_size, window, flip, flip_first)


def _draw_window(rng: np.random.Generator, size: Size, options: AugmentationOptions) -> Window:
    width, height = (
        int(rng.integers(options.crop_smallest, min(side, options.crop_largest) + 1))
        for side in (size[1], size[0])
    )
    top = int(rng.integers(0, size[0] - height + 1))
    left = int(rng.integers(0, size[1] - width + 1))
    return Window(top, left, height, width)


# ---- pixels --------------------------------------------------------------------------------------


def transform_picture(picture: Image.Image, draw: GeometryDraw) -> Image.Image:
    """Resize, cut and mirror a picture; resizing is bilinear and antialiased, that of Pillow."""
    if draw.flip and draw.flip_first:
        picture = _mirror(picture)
    if draw.window is not None and draw.crop_size is not None:
        # Pillow can resize a box alone, but rounds its corners to float32, which changes pixels.
        top, left = draw.window.top, draw.window.left
        box = (left, top, left + draw.window.width, top + draw.window.height)
        picture = _resize(picture, draw.crop_size).crop(box)
    picture = _resize(picture, draw.size)
    return _mirror(picture) if draw.flip and not draw.flip_first else picture


def _mirror(picture: Image.Image) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _resize(picture: Image.Image, size: Size) -> Image.Image:
    if (picture.height, picture.width) == size:
        return picture
    return picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def transform_masks(masks: np.ndarray, draw: GeometryDraw) -> np.ndarray:
    """Take the pixels that the nearest-neighbor steps of a draw lead to, in one step.

    Args:
        masks: [..., H, W].
        draw: steps.

    Returns:
        [..., *draw.size], a copy.
    """
    rows, columns = (_trace_axis(masks.shape[axis], draw, axis) for axis in (-2, -1))
    return np.take(np.take(masks, rows, axis=-2), columns, axis=-1)


def _trace_axis(length: int, draw: GeometryDraw, axis: int) -> np.ndarray:
    """Index in the original frame of every row (axis -2) or column (-1) of the result."""
    path = np.arange(length)
    is_mirrored = draw.flip and axis == -1
    if is_mirrored and draw.flip_first:
        path = path[::-1]
    if draw.window is not None and draw.crop_size is not None:
        window = draw.window
        path = path[nearest_indices(length, draw.crop_size[axis])]
        start = window.top if axis == -2 else window.left
        path = path[start : start + (window.height if axis == -2 else window.width)]
    path = path[nearest_indices(len(path), draw.size[axis])]
    return path[::-1] if is_mirrored and not draw.flip_first else path


def nearest_indices(length: int, new_length: int) -> np.ndarray:
    """Compute which pixel each pixel of a resized axis shows, as torch's mode "nearest" does.

    >>> nearest_indices(4, 6).tolist()
    [0, 0, 1, 2, 2, 3]
    """
    scale = np.float32(length) / np.float32(new_length)
    indices = np.floor(np.arange(new_length, dtype=np.float32) * scale).astype(np.int64)
    return np.minimum(indices, length - 1)


# ---- boxes ---------------------------------------------------------------------------------------


def transform_boxes(
    boxes_xyxy: np.ndarray, valid: np.ndarray, size: Size, draw: GeometryDraw
) -> tuple[np.ndarray, np.ndarray]:
    """Move boxes as the released code does: cropped, not taken anew from what is left of the mask.

    Boxes without area after resizing and cropping become zero and are no longer valid; all others
    are. A mirror image comes after that, unless `draw.flip_first`, and turns zeros into
    (width, 0, width, 0).

    Args:
        boxes_xyxy: [..., 4] float32.
        valid: [...] bool, of the data set, which the check above replaces.
        size: of the original frames.
        draw: steps.

    Returns:
        boxes [..., 4] float32 in pixels of the result, and valid [...] bool.
    """
    boxes = boxes_xyxy
    if draw.flip and draw.flip_first:
        boxes = flip_boxes(boxes, size[1])
    if draw.window is not None and draw.crop_size is not None:
        boxes = crop_boxes(resize_boxes(boxes, size, draw.crop_size), draw.window)
        size = (draw.window.height, draw.window.width)
    boxes, valid = blank_small_boxes(resize_boxes(boxes, size, draw.size))
    if draw.flip and not draw.flip_first:
        boxes = flip_boxes(boxes, draw.size[1])
    return boxes, valid


def resize_boxes(boxes_xyxy: np.ndarray, size: Size, new_size: Size) -> np.ndarray:
    """Scale boxes [..., 4] with their frame."""
    down, across = new_size[0] / size[0], new_size[1] / size[1]
    return boxes_xyxy * np.array([across, down, across, down], dtype=np.float32)


def crop_boxes(boxes_xyxy: np.ndarray, window: Window) -> np.ndarray:
    """Move boxes [..., 4] into a window and cut them off at its border."""
    corner = np.array([window.left, window.top] * 2, dtype=np.float32)
    largest = np.array([window.width, window.height] * 2, dtype=np.float32)
    return np.clip(boxes_xyxy - corner, 0, largest)


def blank_small_boxes(boxes_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Set boxes [..., 4] without area to zero; valid [...] bool says which ones have area."""
    valid = np.all(boxes_xyxy[..., 2:] > boxes_xyxy[..., :2], axis=-1, keepdims=True)
    return np.where(valid, boxes_xyxy, np.float32(0)), valid[..., 0]


def flip_boxes(boxes_xyxy: np.ndarray, width: int) -> np.ndarray:
    """Mirror boxes [..., 4] in a frame of `width` pixels."""
    x1, y1, x2, y2 = np.moveaxis(boxes_xyxy, -1, 0)
    return np.stack([np.float32(width) - x2, y1, np.float32(width) - x1, y2], axis=-1)


# ---- sentences -----------------------------------------------------------------------------------

_SIDE = re.compile(r"\b(left|right)(?=(?:most|hand|wards?|side|er)?\b)")
_TURN = re.compile(r"\b(anti-?clockwise|counter-?clockwise|clockwise)\b")
_OTHER = {"left": "right", "right": "left"}


def swap_sides(caption: str, rule: Literal["letters", "words"] = "letters") -> str:
    """Let "left" and "right" change places, as they do in a mirror image.

    Args:
        caption: in lower case.
        rule: "letters" swaps them wherever these letters stand, which makes "bright" "bleft" and
            "upright" "upleft", as the released code does. "words" swaps words and compounds such as
            "leftmost", "left-hand" and "rightwards" and the senses of "clockwise".

    >>> swap_sides("the left dog in bright light")
    'the right dog in bleft light'
    >>> swap_sides("the leftmost dog in bright light turns clockwise", "words")
    'the rightmost dog in bright light turns counterclockwise'
    """
    if rule == "letters":
        return caption.replace("left", "@").replace("right", "left").replace("@", "right")
    caption = _SIDE.sub(lambda found: _OTHER[found[1]], caption)
    return _TURN.sub(
        lambda found: "counterclockwise" if found[1] == "clockwise" else "clockwise", caption
    )
