"""Boxes and identities drawn over frames."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vdit.legend import text_height_px
from vdit.tracking.frame_tracks import FrameTracks
from vdit.visualize import object_colors

__all__ = ["draw_boxes"]


def draw_boxes(frame: np.ndarray, tracks: FrameTracks) -> np.ndarray:
    """Draw the outline of each box in the color of its identity, with the identity above it.

    Args:
        frame: [H, W, 3] uint8 RGB; it is not changed.
        tracks: objects of the frame.

    Returns:
        [H, W, 3] uint8.
    """
    height, width = frame.shape[:2]
    picture = Image.fromarray(frame.copy())
    draw, size = ImageDraw.Draw(picture), max(text_height_px(height, width) * 2 // 3, 8)
    font, line = ImageFont.load_default(size), max(1, round((height * width) ** 0.5 / 300))
    ids = tracks.ids.tolist()
    colors = object_colors(max(ids, default=0) + 1)
    for identity, box in zip(ids, tracks.boxes_xyxy.tolist(), strict=True):
        left, top = max(box[0], 0) * width, max(box[1], 0) * height
        right = max(min(box[2], 1) * width - 1, left)
        bottom = max(min(box[3], 1) * height - 1, top)
        color = tuple(colors[identity].tolist())
        draw.rectangle((left, top, right, bottom), outline=color, width=line)
        where = (left, max(top, size))
        draw.text(
            where,
            str(identity),
            fill=color,
            font=font,
            anchor="ls",
            stroke_width=1,
            stroke_fill=(0, 0, 0),
        )
    return np.asarray(picture)
