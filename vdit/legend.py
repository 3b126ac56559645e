"""A band of captions in the colors of their objects, readable in small and in large frames.

Axes: N objects, H x W pixels. Colors are uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_legend", "expect_colors", "expect_frame", "shorten_text", "text_height_px"]

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

_BAND_COLOR = (22, 24, 29)
_TEXT_COLOR = (240, 241, 244)
_NOTE_COLOR = (160, 165, 175)
_SMALLEST_TEXT_PX = 13
_MOST_ROWS = 6
# in heights of the text
_MARGIN = 0.7
_SWATCH = 1.3
_GAP = 1.4


def draw_legend(
    frame: np.ndarray,
    labels: Sequence[str],
    colors: np.ndarray,
    note: str = "",
) -> np.ndarray:
    """Add a band below a frame that names the objects in their colors.

    The size of the text follows the size of the frame. A label that is wider than the frame goes on
    in the next row; a legend of more than 6 rows is cut. The height of the band depends on the size
    of the frame, the labels and whether there is a note, not on what the note says.

    Args:
        frame: [H, W, 3] uint8 RGB.
        labels: N captions; Latin letters only, others show as boxes.
        colors: [N, 3] uint8 RGB.
        note: a short text in gray at the right, for example the score or the number of the frame;
            cut where it does not fit into one row.

    Returns:
        [H + band, W, 3] uint8; the frame itself if there is neither a label nor a note.

    Raises:
        ValueError: `frame` or `colors` have the wrong shape or dtype.
    """
    expect_frame(frame)
    expect_colors(colors, len(labels))
    if not labels and not note:
        return frame.copy()
    height, width = frame.shape[:2]
    text_px = text_height_px(height, width)
    font = ImageFont.load_default(text_px)
    captions = [" ".join(label.split()) for label in labels]
    pieces = _lay_out(captions, colors, font, text_px, width)
    note = " ".join(note.split())
    if note:
        pieces.append(_place_note(note, pieces, font, text_px, width))
    row_px, pad = round(1.6 * text_px), round(0.4 * text_px)
    num_rows = 1 + max(piece.row for piece in pieces)
    band = Image.new("RGB", (width, num_rows * row_px + 2 * pad), _BAND_COLOR)
    draw = ImageDraw.Draw(band)
    for piece in pieces:
        middle = pad + piece.row * row_px + row_px / 2
        if piece.swatch is not None:
            left, half = piece.left - _SWATCH * text_px, 0.42 * text_px
            corners = (left, middle - half, left + 2 * half, middle + half)
            draw.rounded_rectangle(corners, radius=0.2 * text_px, fill=piece.swatch)
        draw.text((piece.left, middle), piece.text, fill=piece.fill, font=font, anchor="lm")
    return np.concatenate([frame, np.asarray(band)])


@dataclass(frozen=True)
class _Piece:
    """A run of text in one row of the band, behind its swatch if it begins a label."""

    row: int
    left: float
    right: float
    text: str
    fill: tuple[int, int, int]
    swatch: tuple[int, int, int] | None


def _lay_out(
    labels: Sequence[str], colors: np.ndarray, font: Font, text_px: int, width: int
) -> list[_Piece]:
    """Put labels one after another; one that does not fit goes to the next row, or over several."""
    margin, indent = _MARGIN * text_px, _SWATCH * text_px
    room = width - 2 * margin - indent
    pieces: list[_Piece] = []
    row, left = 0, margin
    for label, color in zip(labels, colors.tolist(), strict=True):
        if left > margin and left + indent + font.getlength(label) > width - margin:
            row, left = row + 1, margin
        lines = _wrap(label, font, room)
        for number, line in enumerate(lines):
            row += number > 0
            start = left + indent
            right = start + font.getlength(line)
            swatch = None if number else tuple(color)
            pieces.append(_Piece(row, start, right, line, _TEXT_COLOR, swatch))
        left = right + _GAP * text_px
    kept = [piece for piece in pieces if piece.row < _MOST_ROWS]
    if len(kept) < len(pieces):
        last = kept[-1]
        text = shorten_text(last.text + " ...", font, width - margin - last.left)
        kept[-1] = replace(last, text=text)
    return kept


def _place_note(note: str, pieces: list[_Piece], font: Font, text_px: int, width: int) -> _Piece:
    """Put the note at the right end of the last row if a third of it is free, else below.

    The place depends on the labels alone, so that the band keeps its height while notes change.
    """
    margin = _MARGIN * text_px
    row = max((piece.row for piece in pieces), default=0)
    used = max(
        (piece.right + _GAP * text_px for piece in pieces if piece.row == row), default=margin
    )
    if width - margin - used < width / 3:
        row, used = row + 1, margin
    text = shorten_text(note, font, width - margin - used)
    left = width - margin - font.getlength(text)
    return _Piece(row, left, width - margin, text, _NOTE_COLOR, None)


def _wrap(text: str, font: Font, room: float) -> list[str]:
    """Break a text into lines at spaces, and inside a word that fills more than a line."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and font.getlength(lines[-1] + character) > room:
                lines.append("")
            lines[-1] += character
    return lines


def shorten_text(text: str, font: Font, room: float) -> str:
    """Cut a text to a width in pixels and put three dots where it was cut."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text.rstrip() + "..."


def text_height_px(height: int, width: int) -> int:
    """Size of captions for a frame: 13 pixels in small frames, 32 at 1920 x 1080."""
    return max(_SMALLEST_TEXT_PX, round((height * width) ** 0.5 / 45))


def expect_frame(frame: np.ndarray) -> None:
    """Raise ValueError unless `frame` is [H, W, 3] uint8."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(
            f"frame must be [H, W, 3] uint8, got {list(frame.shape)} {frame.dtype}; "
            "convert it to RGB bytes"
        )


def expect_colors(colors: np.ndarray, num_objects: int) -> None:
    """Raise ValueError unless `colors` is [num_objects, 3] uint8."""
    if colors.shape != (num_objects, 3) or colors.dtype != np.uint8:
        raise ValueError(
            f"colors must be [{num_objects}, 3] uint8, got {list(colors.shape)} {colors.dtype}; "
            f"pass object_colors({num_objects})"
        )
