"""Which object a ray meets first: solids in the world, and a depth buffer over a view's samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from vdit.datasets.synthetic.catalog import CATEGORIES, Part
from vdit.datasets.synthetic.scene import ObjectSpec
from vdit.datasets.synthetic.solids import Vectors, intersect
from vdit.datasets.synthetic.sprites import Sprite
from vdit.datasets.synthetic.view import View, Window

NOTHING = -1


@dataclass(frozen=True)
class PlacedPart:
    """A solid in the world.

    Attributes:
        part: what it is.
        inverse: [3, 3] linear map from the world to the unit solid.
        center: [3] of the solid in the world.
        radius: of a ball around it, in metres.
    """

    part: Part
    inverse: np.ndarray
    center: np.ndarray
    radius: float

    def to_unit(self, points: np.ndarray) -> np.ndarray:
        """Map world points [..., 3] to the frame of the unit solid."""
        return (points - self.center) @ self.inverse.T


@dataclass(frozen=True)
class PlacedObject:
    """An object at one instant.

    Attributes:
        spec: what it is.
        pose: [3, 4] from its frame to the world.
        parts: its solids.
        sprite: its picture, if it is one.
    """

    spec: ObjectSpec
    pose: np.ndarray
    parts: tuple[PlacedPart, ...]
    sprite: Sprite | None

    def to_own(self, points: np.ndarray) -> np.ndarray:
        """Map world points [..., 3] to the object's frame."""
        return (points - self.pose[:, 3]) @ np.linalg.inv(self.pose[:, :3]).T


@dataclass(frozen=True)
class Hits:
    """What the rays of a view meet first, [S, H, W].

    Attributes:
        depth: in metres; infinite where no object is met.
        part: index into all parts of all objects, in order; -1 = none.
    """

    depth: np.ndarray
    part: np.ndarray


def parts_of(spec: ObjectSpec, sprite: Sprite | None) -> tuple[Part, ...]:
    """Solids of an object; a sprite is one upright card."""
    if sprite is None:
        return CATEGORIES[spec.category].parts
    height, width = sprite.image.shape[:2]
    return (Part("card", (0.0, -0.5, 0.0), (width / height / 2, 0.5, 0.5), "picture"),)


def place(spec: ObjectSpec, sprite: Sprite | None, pose: np.ndarray) -> PlacedObject:
    """Put an object's solids into the world by its pose [3, 4]."""
    scale = np.cbrt(np.linalg.det(pose[:, :3]))
    parts = []
    for part in parts_of(spec, sprite):
        half = np.array(part.half)
        linear = pose[:, :3] @ (_tilt(part) * half)
        center = pose[:, :3] @ np.array(part.center) + pose[:, 3]
        reach = half.max() if part.solid == "ball" else np.linalg.norm(half)
        parts.append(PlacedPart(part, np.linalg.inv(linear), center, float(scale * reach)))
    return PlacedObject(spec, pose, tuple(parts), sprite)


def trace(view: View, objects: Sequence[PlacedObject], dtype: DTypeLike = np.float32) -> Hits:
    """Find the first hit of every ray of a view."""
    shape = (len(view.offsets), view.height, view.width)
    depth = np.full(shape, np.inf, dtype=dtype)
    owner = np.full(shape, NOTHING, dtype=np.int16)
    index = 0
    for each in objects:
        for part in each.parts:
            window = view.window_of_ball(part.center, part.radius)
            if window is not None:
                t = part_depth(view, window, each, part, dtype)
                area = (slice(None), *window)
                nearer = t < depth[area]
                depth[area] = np.where(nearer, t, depth[area])
                owner[area][nearer] = index
            index += 1
    return Hits(depth, owner)


def object_depth(view: View, each: PlacedObject, dtype: DTypeLike = np.float64) -> np.ndarray:
    """Depth of one object alone, [S, H, W]; infinite beside it."""
    return trace(view, [each], dtype).depth


def part_depth(
    view: View, window: Window, each: PlacedObject, part: PlacedPart, dtype: DTypeLike
) -> np.ndarray:
    """Depth of one solid in a window, [S, h, w]."""
    return ray_depth(each, part, view.center, view.rays(window, part.inverse, dtype), dtype)


def ray_depth(
    each: PlacedObject, part: PlacedPart, center: np.ndarray, direction: Vectors, dtype: DTypeLike
) -> np.ndarray:
    """Parameter of the hits of rays from `center` [3]; directions are in the solid's frame."""
    origin = part.to_unit(center).astype(dtype)
    t = intersect(part.part.solid, origin, direction)
    if each.sprite is None:
        return t
    hit = np.isfinite(t)
    x = origin[0] + t[hit] * direction[0][hit]
    y = origin[1] + t[hit] * direction[1][hit]
    t[hit] = np.where(picture_at(each.sprite, x, y)[:, 3] > 0.5, t[hit], np.inf)
    return t


def picture_at(sprite: Sprite, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pixels [K, 4] of a sprite at card coordinates -1..1."""
    height, width = sprite.image.shape[:2]
    column = np.clip(((x + 1) / 2 * width).astype(np.int64), 0, width - 1)
    row = np.clip(((y + 1) / 2 * height).astype(np.int64), 0, height - 1)
    return sprite.image[row, column]


def first_depth(
    objects: Sequence[PlacedObject], center: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Share of the way from `center` [3] to each target [K, 3] at which an object is met."""
    best = np.full(len(targets), np.inf)
    for each in objects:
        for part in each.parts:
            direction = tuple(((targets - center) @ part.inverse.T).T)
            best = np.minimum(best, ray_depth(each, part, center, direction, np.float64))
    return best


def _tilt(part: Part) -> np.ndarray:
    """Rotation of a part in its object: around x first, then around z."""
    c, s = np.cos(part.roll), np.sin(part.roll)
    roll = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    c, s = np.cos(part.pitch), np.sin(part.pitch)
    return roll @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
