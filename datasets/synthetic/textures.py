"""Tiles that cover floors and walls: procedural ones, and photographs beside the sprites.

A texture is a square tile of brightness around 1 that repeats without a seam; its color comes from
the scene. Look-ups choose a level of detail, so that far ground does not flicker.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from vdit.datasets.synthetic.sprites import ATLAS

SIDE = 256
PHOTOGRAPHS = ("brick", "grass", "gravel")

FLOORS: dict[str, float] = {
    "wood": 3.0,
    "tiles": 3.2,
    "sand": 4.0,
    "carpet": 2.0,
    "concrete": 5.0,
    "grass": 2.5,
    "gravel": 2.5,
}
"""Metres that one tile covers, by name."""
WALLS: dict[str, float] = {"plaster": 4.0, "panels": 3.0, "brick": 2.4, "sky": 1.0}


@lru_cache(maxsize=16)
def tile_levels(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Make a tile and its halved versions.

    Returns:
        all levels in one row, [P] float32, and where each begins, from 256 x 256 to 1 x 1.
    """
    tile = _photograph(name) if name in PHOTOGRAPHS else _procedural(name)
    levels: list[np.ndarray] = [tile.astype(np.float32)]
    while len(levels[-1]) > 1:
        half = levels[-1]
        levels.append((half[::2, ::2] + half[1::2, ::2] + half[::2, 1::2] + half[1::2, 1::2]) / 4)
    starts = np.cumsum([0, *(level.size for level in levels)])[:-1]
    return np.concatenate([level.ravel() for level in levels]), starts


def sample(name: str, x: np.ndarray, y: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Look up brightness, bilinearly, on the level that fits the footprint.

    Args:
        name: a texture.
        x: where across, in tiles; any shape.
        y: where down, in tiles, of that shape.
        footprint: tiles that a pixel spans there, of that shape.

    Returns:
        brightness of that shape, float32.
    """
    values, starts = tile_levels(name)
    last = len(starts) - 1
    level = np.clip(np.log2(np.maximum(footprint, 1e-6) * SIDE), 0, last).astype(np.int64)
    side = SIDE >> level
    x, y = (x % 1) * side - 0.5, (y % 1) * side - 0.5
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, below = (x - column).astype(np.float32), (y - row).astype(np.float32)
    start, mask = starts[level], side - 1

    def at(r: np.ndarray, c: np.ndarray) -> np.ndarray:
        return values[start + (r & mask) * side + (c & mask)]

    upper = at(row, column) * (1 - right) + at(row, column + 1) * right
    lower = at(row + 1, column) * (1 - right) + at(row + 1, column + 1) * right
    return upper * (1 - below) + lower * below


def _photograph(name: str) -> np.ndarray:
    with Image.open(ATLAS / "textures" / f"{name}.jpg") as picture:
        gray = np.asarray(picture.convert("L").resize((SIDE, SIDE)), dtype=np.float32)
    bright = (gray / 255) ** 2
    return np.clip(bright / bright.mean(), 0.2, 2.2)


def _procedural(name: str) -> np.ndarray:
    rng = np.random.default_rng(sum(name.encode()))
    fine = _noise(rng, 0.7)
    if name == "wood":
        plank = np.arange(SIDE) * 6 // SIDE
        grain = _noise(rng, (0.8, 14)) + 0.6 * _noise(rng, (2.5, 30))
        tone = 1 + 0.16 * rng.standard_normal(6)[plank][:, None]
        edge = np.abs(np.arange(SIDE) * 6 / SIDE % 1 - 0.5) > 0.48
        return np.clip(tone + 0.09 * grain - 0.4 * edge[:, None], 0.2, 2)
    if name == "tiles":
        place = np.arange(SIDE) * 4 / SIDE % 1
        joint = (place < 0.03)[:, None] | (place < 0.03)[None]
        index = np.arange(SIDE) * 4 // SIDE
        checker = 0.22 * ((index[:, None] + index[None]) % 2 - 0.5)
        return np.where(joint, 0.55, 1 + checker + 0.03 * _noise(rng, 3) + 0.02 * fine)
    if name == "sand":
        return 1 + 0.08 * _noise(rng, (2, 16)) + 0.07 * _noise(rng, 12) + 0.09 * fine
    if name == "carpet":
        weave = np.sin(np.arange(SIDE) * 2 * np.pi / 8)
        return 1 + 0.06 * weave[:, None] * weave[None] + 0.1 * fine + 0.05 * _noise(rng, 10)
    if name == "concrete":
        return 1 + 0.08 * _noise(rng, 20) + 0.05 * _noise(rng, 5) + 0.03 * fine
    if name == "panels":
        place = np.arange(SIDE) * 5 / SIDE % 1
        edge = np.exp(-(((place - 0.02) / 0.02) ** 2))
        return 1 - 0.3 * edge[None] + 0.05 * _noise(rng, (20, 0.8)) + 0.01 * fine
    if name == "plaster":
        return 1 + 0.04 * _noise(rng, 14) + 0.02 * _noise(rng, 4) + 0.015 * fine
    if name == "sky":
        cloud = sum(_noise(rng, (scale, 2 * scale)) / 2**i for i, scale in enumerate((18, 9, 4)))
        return 1 / (1 + np.exp(-1.6 * (cloud - 0.5)))
    known = ", ".join(sorted({*FLOORS, *WALLS}))
    raise ValueError(f"expected a texture among {known}; got {name!r}")


def _noise(rng: np.random.Generator, scale: float | tuple[float, float]) -> np.ndarray:
    """Seamless noise of unit variance, smooth over `scale` pixels (down, across)."""
    smooth = gaussian_filter(rng.standard_normal((SIDE, SIDE)), scale, mode="wrap")
    return smooth / smooth.std()
