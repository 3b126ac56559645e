"""Floor, wall and sky: their depth, and their color in the light."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from vdit.datasets.synthetic.scene import Backdrop, Light
from vdit.datasets.synthetic.textures import FLOORS, WALLS, sample
from vdit.datasets.synthetic.view import View, Window

ZENITH = np.array([0.14, 0.32, 0.68], dtype=np.float32)
HORIZON = np.array([0.62, 0.74, 0.86], dtype=np.float32)
"""Colors of the sky, linear."""
HAZE_METRES = 60.0


def backdrop_depth(view: View, backdrop: Backdrop, window: Window, dtype: DTypeLike) -> np.ndarray:
    """Depth of what is behind all objects, [S, h, w] metres; infinite in the sky."""
    floor, wall = _plane_depths(view, backdrop, window, dtype)
    return np.minimum(floor, wall)


def _plane_depths(
    view: View, backdrop: Backdrop, window: Window, dtype: DTypeLike
) -> tuple[np.ndarray, np.ndarray]:
    _, y, z = view.rays(window, np.eye(3), dtype)
    with np.errstate(divide="ignore"):
        floor = np.where(y > 0, np.asarray(-view.center[1], dtype) / y, np.inf)
        wall = np.full_like(floor, np.inf)
        if backdrop.wall != "sky":
            wall = np.where(
                z > 0, np.asarray(backdrop.wall_distance - view.center[2], dtype) / z, np.inf
            )
    return floor, wall


def backdrop_color(
    view: View, backdrop: Backdrop, light: Light, shade: np.ndarray | None = None
) -> np.ndarray:
    """Linear color [S, H, W, 3] float32 of floor, wall and sky.

    Args:
        view: the camera.
        backdrop: what is there.
        light: the sun and the sky.
        shade: [S, H, W] share of sunlight that reaches the floor; None = all.
    """
    whole = (slice(0, view.height), slice(0, view.width))
    x, y, z = view.rays(whole, np.eye(3), np.float32)
    floor, wall = _plane_depths(view, backdrop, whole, np.float32)
    is_floor = (floor <= wall) & np.isfinite(floor)
    depth = np.minimum(floor, wall)
    depth = np.where(np.isfinite(depth), depth, 1)
    X, Y, Z = (view.center[i].astype(np.float32) + depth * d for i, d in enumerate((x, y, z)))

    sun = np.float32((1 - light.ambient) * np.sin(light.elevation) * 1.25)
    lit = sun if shade is None else sun * shade
    steep = np.maximum(np.abs(y), 0.05)
    tile = FLOORS[backdrop.floor]
    detail = sample(backdrop.floor, X / tile, Z / tile, depth / (view.focal * tile) / steep**0.5)
    ground = (detail * (light.ambient + lit))[..., None] * _linear(backdrop.tint)
    if backdrop.wall == "sky":
        far = _sky(x, y, z)
        haze = np.exp(-depth / HAZE_METRES)[..., None]
        ground = ground * haze + (1 - haze) * HORIZON
    else:
        far = _wall(view, backdrop, light, X, Y, wall)
        gap = np.clip((backdrop.wall_distance - Z) / 1.5, 0, 1)
        ground = ground * (0.65 + 0.35 * gap)[..., None]
    return np.where(is_floor[..., None], ground, far)


def _linear(tint: tuple[float, float, float]) -> np.ndarray:
    return np.asarray(tint, dtype=np.float32) ** 2


def _wall(
    view: View,
    backdrop: Backdrop,
    light: Light,
    X: np.ndarray,
    Y: np.ndarray,
    depth: np.ndarray,
) -> np.ndarray:
    tile = WALLS[backdrop.wall]
    depth = np.where(np.isfinite(depth), depth, 1.0)
    detail = sample(backdrop.wall, X / tile, Y / tile, depth / (view.focal * tile))
    side = 0.9 + 0.1 * np.tanh(0.25 * X * np.cos(light.azimuth))
    corner = 0.72 + 0.28 * np.clip(-Y / 1.2, 0, 1)
    bright = detail * side * corner * (light.ambient + 0.75 * (1 - light.ambient))
    return bright[..., None].astype(np.float32) * _linear(backdrop.wall_tint)


def _sky(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    up = np.clip(-y / np.sqrt(x * x + y * y + z * z), 0, 1)
    blue = np.sqrt(up)[..., None]
    color = HORIZON * (1 - blue) + ZENITH * blue
    across = np.arctan2(x, z) * np.float32(0.35)
    cloud = sample("sky", across, up * np.float32(1.2), np.full_like(x, 1 / 256))
    weight = (0.75 * cloud * np.clip(up * 8, 0, 1))[..., None]
    return color * (1 - weight) + weight * np.float32(0.92)
