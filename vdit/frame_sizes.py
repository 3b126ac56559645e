"""The size that frames are brought to: a short side, and a bound for the long one."""

from __future__ import annotations

Size = tuple[int, int]
"""(height, width) in pixels."""


def output_size(size: Size, short_side: int, max_side: int | None = None) -> Size:
    """Compute the size of a frame whose short side becomes `short_side`, aspect kept.

    Args:
        size: of the frame.
        short_side: in pixels; made smaller where the long side would exceed `max_side`.
        max_side: in pixels; after rounding, the long side may be a few pixels off it.

    >>> output_size((720, 1280), 360, 640)
    (360, 640)
    >>> output_size((480, 1000), 480, 640)
    (307, 639)
    """
    height, width = size
    short, long = min(size), max(size)
    if max_side is not None and long / short * short_side > max_side:
        short_side = round(max_side * short / long)
    if short == short_side:
        return height, width
    if width < height:
        return int(short_side * height / width), short_side
    return short_side, int(short_side * width / height)
