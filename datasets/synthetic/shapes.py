"""A few shaded shapes that move over a textured floor, with the truth about them.

Small on purpose: enough for the demo and for tests of motion. N objects, T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]

COLORS = {
    "red": (214, 62, 54),
    "blue": (52, 104, 206),
    "green": (58, 160, 84),
    "yellow": (232, 186, 52),
    "purple": (142, 82, 182),
}


def _ball(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) - 1


def _box(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    dx, dy = np.abs(x) - 0.66, np.abs(y) - 0.66
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0) - 0.14


def _diamond(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.abs(x) + np.abs(y)) * np.sqrt(0.5) - 0.72


SHAPES: dict[str, Distance] = {"ball": _ball, "box": _box, "diamond": _diamond}
"""Signed distance to the outline in units of the object's radius."""


@dataclass(frozen=True)
class RenderedClip:
    """Frames and everything that is true of them.

    Attributes:
        frames: [T, H, W, 3] uint8 RGB.
        masks: [N, T, H, W] bool, the visible part of each object.
        captions: [N] a sentence that names each object and no other.
    """

    frames: np.ndarray
    masks: np.ndarray
    captions: list[str]


@dataclass(frozen=True)
class _Object:
    color: str
    shape: str
    radius: float
    start: np.ndarray
    velocity: np.ndarray
    phase: float

    def center(self, t: float) -> np.ndarray:
        bounce = 0.12 * np.abs(np.sin(0.35 * t + self.phase)) if self.shape == "ball" else 0.0
        return self.start + self.velocity * t - np.array([0.0, bounce * 1.5])

    @property
    def caption(self) -> str:
        direction = "right" if self.velocity[0] > 0 else "left"
        return f"the {self.color} {self.shape} moving to the {direction}"


def render_shapes(
    seed: int, num_frames: int = 24, height: int = 240, width: int = 320, num_objects: int = 3
) -> RenderedClip:
    """Render a clip of shapes that cross the picture, nearer ones in front.

    Args:
        seed: same seed, same clip.
        num_frames: T.
        height: H.
        width: W.
        num_objects: N, at most 5 since colors are not repeated.

    Raises:
        ValueError: more objects than colors.
    """
    if num_objects > len(COLORS):
        raise ValueError(f"expected at most {len(COLORS)} objects, got {num_objects}")
    rng = np.random.default_rng(seed)
    objects = _place(rng, num_objects, num_frames)
    background = _background(rng, height, width)
    frames, masks = [], []
    for t in range(num_frames):
        picture, visible = _draw(objects, background, t)
        frames.append(np.clip(picture, 0, 255).astype(np.uint8))
        masks.append(visible)
    captions = [each.caption for each in objects]
    return RenderedClip(np.stack(frames), np.stack(masks, axis=1), captions)


def _place(rng: np.random.Generator, num_objects: int, num_frames: int) -> list[_Object]:
    """Put objects on a row of depths, the farthest first; x and y in units of the height."""
    colors = rng.permutation(list(COLORS))
    shapes = rng.permutation([*SHAPES] * num_objects)[:num_objects]
    objects = []
    for i in range(num_objects):
        depth = (i + 0.5) / num_objects
        direction = 1.0 if i % 2 else -1.0
        speed = rng.uniform(0.5, 0.8) / max(num_frames - 1, 1)
        start = np.array([0.67 - direction * rng.uniform(0.25, 0.4), 0.45 + 0.35 * depth])
        objects.append(
            _Object(
                color=str(colors[i]),
                shape=str(shapes[i]),
                radius=0.09 + 0.06 * depth,
                start=start,
                velocity=np.array([direction * speed, 0.0]),
                phase=float(rng.uniform(0, 3)),
            )
        )
    return objects


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Wall and floor with soft texture and light from the upper left: [H, W, 3] float."""
    y, x = np.mgrid[:height, :width] / height
    wall, floor = np.array([176, 186, 196.0]), np.array([150, 132, 112.0])
    is_floor = 1 / (1 + np.exp(-(y - 0.38) * height / 2))[..., None]
    base = wall * (1 - is_floor) + floor * is_floor
    grain = sum(
        gaussian_filter(rng.standard_normal((height, width)), scale) * scale * 3
        for scale in (1.0, 4.0, 12.0)
    )
    light = 1.12 - 0.22 * (0.5 * x + np.abs(y - 0.4))
    return base * light[..., None] + grain[..., None]


def _draw(objects: list[_Object], background: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = background.shape[:2]
    picture = background.copy()
    y, x = (np.mgrid[:height, :width] + 0.5) / height
    visible = np.zeros((len(objects), height, width), dtype=bool)
    for i, each in enumerate(objects):
        u, v = x - each.center(t)[0], y - each.center(t)[1]
        ground = y - each.start[1] - each.radius
        shadow = np.exp(-((u - 0.02) ** 2 / each.radius**2 + (ground * 4 / each.radius) ** 2))
        picture *= 1 - 0.45 * shadow[..., None]
        u, v = u / each.radius, v / each.radius
        distance = SHAPES[each.shape](u, v) * each.radius * height
        coverage = np.clip(0.5 - distance, 0, 1)[..., None]
        color = np.array(COLORS[each.color]) * _shade(each.shape, u, v)[..., None]
        picture = picture * (1 - coverage) + color * coverage
        visible[:i] &= coverage[..., 0] < 0.5
        visible[i] = coverage[..., 0] >= 0.5
    return picture, visible


def _shade(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Light from the upper left; a ball is round, the others are flat with a bright upper edge."""
    if shape == "ball":
        depth = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
        light = np.clip(-0.45 * u - 0.6 * v + 0.66 * depth, 0, 1)
        return 0.4 + 0.65 * light + 0.5 * light**24
    return np.clip(0.95 - 0.22 * v - 0.12 * u, 0.6, 1.3)
