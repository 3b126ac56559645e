"""Random changes of color, drawn for each frame or for a whole clip.

Brightness comes first, is clipped and works on all channels alike; then contrast and saturation, in
either order; then channels may change places. The result is cut down to whole gray levels, and what
leaves 0..255 wraps around or is clipped.

The released code changes saturation by way of hue, saturation and value in float32, also where no
saturation is drawn. Hue and value stay, so that a channel c of a pixel whose largest channel is V
becomes V - factor (V - c); this form is used here. It differs by one where the rounding of the way
there and back crosses a gray level.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np

__all__ = ["ColorDraw", "ColorOptions", "apply_color", "draw_color"]

_ORDERS = tuple(permutations(range(3)))


@dataclass(frozen=True)
class ColorOptions:
    """How much colors change; the defaults are those of the released VD-IT.

    Attributes:
        brightness: largest shift in gray levels.
        contrast: largest distance of the factor from 1, so that 0.2 draws from 0.8 to 1.2.
        saturation: largest distance of the factor from 1.
        probability: of each of the three, each by itself.
        shuffle: probability that the channels change places, all six orders alike.
    """

    brightness: float = 32.0
    contrast: float = 0.2
    saturation: float = 0.2
    probability: float = 0.5
    shuffle: float = 0.2


@dataclass(frozen=True)
class ColorDraw:
    """What happens to the colors of a frame.

    Attributes:
        brightness: gray levels that are added; None = neither added nor clipped.
        contrast: factor of all channels.
        contrast_first: before the saturation instead of after it.
        saturation: factor of the distance to the largest channel of each pixel.
        order: channel of the frame that each channel of the result shows.
    """

    brightness: float | None = None
    contrast: float = 1.0
    contrast_first: bool = True
    saturation: float = 1.0
    order: tuple[int, ...] = (0, 1, 2)


def draw_color(rng: np.random.Generator, options: ColorOptions) -> ColorDraw:
    """Draw what happens to the colors of a frame."""

    def happens(probability: float) -> bool:
        return bool(rng.random() < probability)

    def factor(distance: float) -> float:
        is_changed = happens(options.probability)
        return float(rng.uniform(1 - distance, 1 + distance)) if is_changed else 1.0

    brightness = None
    if happens(options.probability):
        brightness = float(rng.uniform(-options.brightness, options.brightness))
    return ColorDraw(
        brightness=brightness,
        contrast_first=happens(0.5),
        contrast=factor(options.contrast),
        saturation=factor(options.saturation),
        order=_ORDERS[rng.integers(6)] if happens(options.shuffle) else _ORDERS[0],
    )


def apply_color(
    planes: np.ndarray, draw: ColorDraw, overflow: Literal["wrap", "clip"] = "wrap"
) -> np.ndarray:
    """Change the colors of a frame.

    Args:
        planes: [3, H, W] uint8 RGB.
        draw: what to do.
        overflow: what becomes of values outside 0..255.

    Returns:
        [3, H, W] uint8, perhaps `planes` itself.
    """
    planes = planes if draw.order == (0, 1, 2) else planes[list(draw.order)]
    if draw.saturation == 1.0:  # every gray level becomes another one
        table = _to_levels(_scale(np.arange(256, dtype=np.uint8), draw) * _late(draw), overflow)
        levels = np.frombuffer(planes.tobytes().translate(table.tobytes()), dtype=np.uint8)
        return levels.reshape(planes.shape)
    values = _scale(planes, draw)
    saturation = np.float32(draw.saturation)
    largest = np.maximum(np.maximum(values[0], values[1]), values[2])
    values *= saturation * _late(draw)
    values += largest * ((1 - saturation) * _late(draw))
    return _to_levels(values, overflow)


def _scale(levels: np.ndarray, draw: ColorDraw) -> np.ndarray:
    """What comes before saturation, in float32."""
    values = levels.astype(np.float32)
    if draw.brightness is not None:
        values += np.float32(draw.brightness)
        np.clip(values, 0, 255, out=values)
    if draw.contrast_first:
        values *= np.float32(draw.contrast)
    return values


def _late(draw: ColorDraw) -> np.float32:
    """Contrast that comes after saturation."""
    return np.float32(1.0 if draw.contrast_first else draw.contrast)


def _to_levels(values: np.ndarray, overflow: Literal["wrap", "clip"]) -> np.ndarray:
    """Cut off what is behind the point; uint8."""
    if overflow == "clip":
        values = np.clip(values, 0, 255)
    return values.astype(np.int32).astype(np.uint8)
