"""From a sample and its frames to a clip: read, transform, and put together as tensors.

Axes: N objects, T frames, H x W pixels; boxes (x1, y1, x2, y2) in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from vdit.boxes import xyxy_to_cxcywh
from vdit.datasets.clip_recipe import ClipRules
from vdit.datasets.photometric import ColorDraw, apply_color
from vdit.datasets.referring import ReferringSample
from vdit.datasets.transforms import (
    GeometryDraw,
    resize_boxes,
    transform_boxes,
    transform_masks,
    transform_picture,
)
from vdit.masks import masks_to_boxes_xyxy
from vdit.structures import Target

__all__ = ["RawClip", "boxes_of", "make_target", "make_video", "read_clip"]

_SMALLEST_BOX_SIDE = 1e-6  # in 0..1, of the released videos of pictures


@dataclass
class RawClip:
    """Frames and truth as they are on disk.

    Attributes:
        pictures: T frames in RGB; one that appears twice may be one object.
        masks: [N, T, H, W] bool.
        labelled: [T] bool; None = all.
    """

    pictures: list[Image.Image]
    masks: np.ndarray
    labelled: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.pictures[0].height, self.pictures[0].width


def read_clip(sample: ReferringSample, frames: Sequence[int]) -> RawClip:
    """Read frames, each once, and the masks of those that have any.

    Where the data set labels one frame, its first position in the clip is the labelled one.

    Raises:
        ValueError: a picture or a mask is missing or damaged.
    """
    pictures = sample.pictures(frames)
    if sample.labelled is None:
        unique, positions = np.unique(frames, return_inverse=True)
        return RawClip(pictures, sample.masks(unique.tolist())[:, positions])
    size = (pictures[0].height, pictures[0].width)
    labelled = np.zeros(len(frames), dtype=bool)
    masks = np.zeros((len(sample.object_ids or ()), len(frames), *size), dtype=bool)
    for frame in set(sample.labelled) & set(frames):
        position = list(frames).index(frame)
        labelled[position] = True
        masks[:, position] = sample.masks([frame])[:, 0]
    return RawClip(pictures, masks, labelled)


def boxes_of(masks: np.ndarray, includes_last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Find the boxes around masks.

    Args:
        masks: [N, T, H, W] bool.
        includes_last: whether the last row and column are inside the box, one pixel before its
            edge; the released code ends videos' boxes at them, one pixel too early.

    Returns:
        boxes [N, T, 4] float32, zero where a mask is empty, and [N, T] bool, where it is not.
    """
    flat = masks.reshape(-1, *masks.shape[-2:])
    boxes = masks_to_boxes_xyxy(flat)
    valid = boxes[:, 2] > 0
    if not includes_last:
        boxes[valid, 2:] -= 1
    return boxes.reshape(*masks.shape[:2], 4), valid.reshape(masks.shape[:2])


def make_video(
    pictures: Sequence[Image.Image],
    geometry: GeometryDraw,
    colors: Sequence[ColorDraw] | None,
    rules: ClipRules,
) -> torch.Tensor:
    """Transform T frames.

    Args:
        pictures: T frames of one size.
        geometry: what happens to all of them.
        colors: what happens to the colors of each; None = nothing.
        rules: order of the steps, and overflow.

    Returns:
        [T, 3, H, W] float32 in 0..1.
    """
    if colors is not None and rules.color_first:
        pictures = [
            _merge(apply_color(_split(picture), color, rules.overflow))
            for picture, color in zip(pictures, colors, strict=True)
        ]
        colors = None
    planes: dict[int, np.ndarray] = {}
    for picture in pictures:
        if id(picture) not in planes:  # a frame that is drawn twice
            planes[id(picture)] = _split(transform_picture(picture, geometry))
    frames = [planes[id(picture)] for picture in pictures]
    if colors is not None:
        frames = [
            apply_color(frame, color, rules.overflow)
            for frame, color in zip(frames, colors, strict=True)
        ]
    return torch.from_numpy(np.stack(frames)).float().div_(255)


def _split(picture: Image.Image) -> np.ndarray:
    """[3, H, W] uint8."""
    return np.stack([np.asarray(band) for band in picture.split()])


def _merge(planes: np.ndarray) -> Image.Image:
    return Image.merge("RGB", [Image.fromarray(plane) for plane in planes])


def make_target(raw: RawClip, geometry: GeometryDraw, rules: ClipRules, is_checked: bool) -> Target:
    """Transform the truth.

    Args:
        raw: masks as they are on disk.
        geometry: what happens to all frames.
        rules: what boxes are.
        is_checked: whether objects without area are no longer valid, as while training.

    Returns:
        All N objects, with masks at `geometry.size`.
    """
    masks = transform_masks(raw.masks, geometry)
    if rules.boxes == "masks":
        boxes, valid = boxes_of(masks, includes_last=True)
    else:
        boxes, valid = boxes_of(raw.masks, includes_last=rules.source == "still")
        if is_checked:
            boxes, valid = transform_boxes(boxes, valid, raw.size, geometry)
        else:
            boxes = resize_boxes(boxes, raw.size, geometry.size)
    cxcywh = normalize_boxes(boxes, geometry.size)
    if rules.boxes == "released" and rules.source == "video":
        cxcywh[~torch.from_numpy(masks).flatten(2).any(dim=2)] = 0
        cxcywh.clamp_(min=_SMALLEST_BOX_SIDE)
    return Target(
        boxes_cxcywh=cxcywh,
        masks=torch.from_numpy(masks),
        valid=torch.from_numpy(valid),
        size=geometry.size,
        labelled=None if raw.labelled is None else torch.from_numpy(raw.labelled),
    )


def normalize_boxes(boxes_xyxy: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """Turn boxes [..., 4] into (cx, cy, w, h) in 0..1 of a frame of (height, width)."""
    height, width = size
    scale = torch.tensor([width, height, width, height], dtype=torch.float32)
    return xyxy_to_cxcywh(torch.from_numpy(boxes_xyxy)) / scale
