"""Pictures of results: masks over frames, captions in their colors, sheets of many frames.

Axes: N objects, H x W pixels. Colors are uint8 RGB.
"""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vdit.legend import draw_legend, expect_colors, expect_frame, shorten_text, text_height_px

__all__ = ["contact_sheet", "draw_legend", "object_colors", "overlay_masks"]

_FIRST_HUE = 210  # degrees; an azure that is rare in nature
_NUM_COLORS = 64
_CAPTION_COLOR = (22, 24, 29)


def object_colors(num_objects: int) -> np.ndarray:
    """Choose colors that differ as much as possible and suit video frames.

    Each color is the one farthest, to the eye, from those before it, among vivid ones that are
    neither dark nor pale. So the first colors do not depend on how many are asked for.

    Args:
        num_objects: N; from the 65th on the colors repeat.

    Returns:
        [N, 3] uint8 RGB.

    Raises:
        ValueError: `num_objects` is negative.

    Reference: Ottosson, A perceptual color space for image processing, 2020 (OKLab).

    >>> object_colors(2).shape
    (2, 3)
    """
    if num_objects < 0:
        raise ValueError(f"num_objects={num_objects} is negative; pass the number of objects")
    return _palette()[np.arange(num_objects) % _NUM_COLORS]


def overlay_masks(
    frame: np.ndarray,
    masks: np.ndarray,
    colors: np.ndarray | None = None,
    alpha: float = 0.45,
    outline: int | None = None,
) -> np.ndarray:
    """Tint each object in its color and draw its outline.

    Where objects overlap the later one lies on top. The outline runs along the inner side of the
    edge, behind a thin shadow on the outer one, and not along the border of the frame, where the
    object goes on.

    Args:
        frame: [H, W, 3] uint8 RGB; it is not changed.
        masks: [N, H, W] bool.
        colors: [N, 3] uint8 RGB, `object_colors(N)` by default.
        alpha: 0..1, share of the color inside the objects.
        outline: width of the outline in pixels, 0 for none; by default 2, 4 at 1920 x 1080.

    Returns:
        [H, W, 3] uint8.

    Raises:
        ValueError: shapes or dtypes do not fit, or `alpha` is outside 0..1.
    """
    expect_frame(frame)
    if masks.dtype != np.bool_ or masks.ndim != 3 or masks.shape[1:] != frame.shape[:2]:
        raise ValueError(
            f"masks must be [N, {frame.shape[0]}, {frame.shape[1]}] bool like the frame, got "
            f"{list(masks.shape)} {masks.dtype}; resize and threshold them"
        )
    colors = object_colors(len(masks)) if colors is None else colors
    expect_colors(colors, len(masks))
    if outline is None:
        outline = max(2, round((masks.shape[1] * masks.shape[2]) ** 0.5 / 400))
    if not 0.0 <= alpha <= 1.0 or outline < 0:
        raise ValueError(
            f"expected alpha in 0..1 and outline >= 0, got alpha={alpha}, outline={outline}; "
            "pass for example alpha=0.45, outline=2"
        )
    picture = frame.copy()
    for mask, color in zip(masks, colors, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size:
            continue
        # the box around the object and one pixel more, which holds the shadow
        box = (
            slice(max(rows[0] - 1, 0), rows[-1] + 2),
            slice(max(columns[0] - 1, 0), columns[-1] + 2),
        )
        inside, patch = mask[box], picture[box]
        tint = color.astype(np.float32) * alpha + 0.5
        patch[inside] = patch[inside] * np.float32(1.0 - alpha) + tint
        if outline:
            patch[inside & ~_shrink(inside, outline)] = color
            shadow = ~inside & ~_shrink(~inside, 1)
            patch[shadow] = patch[shadow] * np.float32(0.45)
    return picture


def contact_sheet(
    frames: Sequence[np.ndarray],
    columns: int = 4,
    *,
    captions: Sequence[str] | None = None,
    width: int | None = None,
    gap: int = 8,
) -> np.ndarray:
    """Lay frames out in rows, from left to right and from top to bottom.

    Args:
        frames: T frames [H, W, 3] uint8 RGB of one size.
        columns: frames in a row; fewer frames make a narrower sheet.
        captions: T short texts above the frames.
        width: of the sheet in pixels; the frames are resized to it. Their own size by default.
        gap: pixels between frames and around the sheet.

    Returns:
        [sheet height, sheet width, 3] uint8 on white.

    Raises:
        ValueError: there is no frame, the frames differ in size, or a number is too small.
    """
    if not frames or columns < 1 or gap < 0:
        raise ValueError(
            f"expected frames, columns >= 1 and gap >= 0, got {len(frames)} frames, "
            f"columns={columns}, gap={gap}; pass at least one frame"
        )
    if captions is not None and len(captions) != len(frames):
        raise ValueError(
            f"got {len(captions)} captions for {len(frames)} frames; pass one for each"
        )
    for frame in frames:
        expect_frame(frame)
        if frame.shape != frames[0].shape:
            raise ValueError(
                f"frames must have one size, got {list(frames[0].shape)} and {list(frame.shape)}; "
                "resize them"
            )
    columns = min(columns, len(frames))
    cell_height, cell_width = frames[0].shape[:2]
    if width is not None:
        resized = (width - gap * (columns + 1)) // columns
        if resized < 1:
            raise ValueError(f"width={width} has no room for {columns} columns; pass a larger one")
        cell_height, cell_width = max(round(cell_height * resized / cell_width), 1), resized
    text_px = text_height_px(cell_height, cell_width)
    strip = 0 if captions is None else round(1.5 * text_px)
    step_y, step_x = cell_height + strip + gap, cell_width + gap
    num_rows = -(-len(frames) // columns)
    sheet = Image.new("RGB", (columns * step_x + gap, num_rows * step_y + gap), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(text_px)
    for position, frame in enumerate(frames):
        row, column = divmod(position, columns)
        left, top = gap + column * step_x, gap + row * step_y
        if captions is not None:
            text = shorten_text(captions[position], font, cell_width)
            draw.text((left, top + strip / 2), text, fill=_CAPTION_COLOR, font=font, anchor="lm")
        picture = Image.fromarray(frame)
        if picture.size != (cell_width, cell_height):
            picture = picture.resize((cell_width, cell_height), Image.Resampling.LANCZOS)
        sheet.paste(picture, (left, top + strip))
    return np.array(sheet)


def _shrink(mask: np.ndarray, steps: int) -> np.ndarray:
    """Take pixels off the edge of a mask, by crosses and squares in turn to stay round."""
    for step in range(steps):
        padded = np.pad(mask, 1, mode="edge")
        rows = padded[:-2] & padded[1:-1] & padded[2:]
        if step % 2:
            mask = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
        else:
            mask = rows[:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


@functools.cache
def _palette() -> np.ndarray:
    """[64, 3] uint8, each the farthest from those before among vivid colors of middle lightness."""
    rgb = np.array(
        [
            colorsys.hsv_to_rgb(hue / 360, saturation, value)
            for saturation in (0.78, 0.58)
            for value in (0.98, 0.82)
            for hue in range(_FIRST_HUE, _FIRST_HUE + 360, 6)
        ]
    )
    lab = _rgb_to_oklab(rgb)
    fits = (lab[:, 0] > 0.57) & (lab[:, 0] < 0.88)
    rgb, lab = rgb[fits], lab[fits]
    chosen = [0]
    distance = np.full(len(lab), np.inf)
    while len(chosen) < _NUM_COLORS:
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return np.round(rgb[chosen] * 255).astype(np.uint8)


def _rgb_to_oklab(rgb: np.ndarray) -> np.ndarray:
    """Colors [K, 3] in 0..1 -> (lightness, green to red, blue to yellow), distances as seen."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(linear @ to_cones.T) @ to_lab.T
