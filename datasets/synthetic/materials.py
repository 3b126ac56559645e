"""Colors and patterns of surfaces.

Colors are sRGB bytes by the name that a sentence uses; light is computed in linear color.
"""

from __future__ import annotations

import numpy as np

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (208, 36, 40),
    "orange": (240, 128, 20),
    "yellow": (245, 206, 40),
    "green": (44, 150, 60),
    "blue": (36, 86, 204),
    "purple": (128, 52, 176),
    "pink": (246, 140, 180),
    "brown": (122, 74, 40),
    "white": (240, 240, 236),
    "black": (34, 34, 38),
    "gray": (138, 140, 144),
    "cyan": (40, 190, 204),
}
"""Colors of objects, far enough apart that a sentence can rely on them."""

FIXED: dict[str, tuple[int, int, int]] = {
    "rubber": (28, 28, 30),
    "steel": (170, 174, 180),
    "glass": (60, 84, 106),
    "lamp": (255, 238, 170),
    "roof": (120, 62, 48),
    "wood": (124, 84, 52),
    "cream": (238, 226, 200),
    "carrot": (236, 110, 30),
    "scarf": (150, 40, 60),
}
"""Colors of parts that keep their own."""

_SECOND = {"black": (40, 40, 48), "white": (242, 240, 232)}

PATTERNS = ("plain", "striped", "checkered", "dotted")
FINISHES = ("matte", "shiny", "metal")


def linear(color: tuple[float, float, float]) -> np.ndarray:
    """Turn sRGB bytes into linear color [3] float32, with gamma 2."""
    return (np.asarray(color, dtype=np.float32) / 255) ** 2


def second_color(color: str) -> str:
    """Name the color of the stripes, checks and dots on a color: "black" or "white"."""
    return "black" if linear(COLORS[color]).mean() > 0.3 else "white"


def albedo(color: str, pattern: str, points: np.ndarray) -> np.ndarray:
    """Color of a surface in linear RGB.

    Args:
        color: name from `COLORS` or `FIXED`.
        pattern: name from `PATTERNS`.
        points: [K, 3] in the object's frame.

    Returns:
        [K, 3] float32, or [3] for a plain surface.
    """
    main = linear(COLORS[color] if color in COLORS else FIXED[color])
    if pattern == "plain":
        return main
    second = linear(_SECOND[second_color(color)])
    x, y, z = points.T
    if pattern == "striped":
        is_second = np.mod(6 * y, 2) < 1
    elif pattern == "checkered":
        is_second = np.mod(sum(np.floor(4 * axis + 0.25) for axis in (x, y, z)), 2) < 1
    else:
        cell = [np.mod(3.5 * axis + 0.25, 1) - 0.5 for axis in (x, y, z)]
        is_second = cell[0] ** 2 + cell[1] ** 2 + cell[2] ** 2 < 0.13
    return np.where(is_second[:, None], second, main)
