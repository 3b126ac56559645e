"""Where rays meet unit solids, and which way their surfaces look.

Solids are convex and lie in [-1, 1]^3: "ball", "box", "cylinder" and "cone" (axis y, the cone's tip
at y = -1) and "card" (the square z = 0). Rays are o + t d; d need not have unit length, so t keeps
its meaning under affine maps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Vectors = tuple[np.ndarray, np.ndarray, np.ndarray]
"""x, y and z of many vectors: three arrays of one shape."""


def intersect(solid: str, origin: np.ndarray, direction: Vectors) -> np.ndarray:
    """Find the nearest hit in front of the origin.

    Args:
        solid: name of the solid.
        origin: [3], outside the solid.
        direction: three arrays of any one shape.

    Returns:
        t of that shape; infinite where a ray misses.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        t = _INTERSECT[solid](origin, direction)
        return np.where(t > 0, t, np.inf).astype(direction[0].dtype, copy=False)


def normals(solid: str, points: np.ndarray) -> np.ndarray:
    """Outward normals, not of unit length, at points [K, 3] of the surface."""
    x, y, z = points.T
    if solid == "ball":
        return points
    if solid == "box":
        largest = np.abs(points).argmax(axis=1)
        result = np.zeros_like(points)
        rows = np.arange(len(points))
        result[rows, largest] = np.sign(points[rows, largest])
        return result
    if solid == "card":
        return np.broadcast_to(np.array([0, 0, -1], dtype=points.dtype), points.shape)
    is_cap = np.abs(y) > 0.9999 if solid == "cylinder" else y > 0.9999
    slope = np.zeros_like(y) if solid == "cylinder" else -(y + 1) / 4
    cap = np.stack([np.zeros_like(x), np.sign(y), np.zeros_like(x)], axis=1)
    return np.where(is_cap[:, None], cap, np.stack([x, slope, z], axis=1))


def _ball(o: np.ndarray, d: Vectors) -> np.ndarray:
    near, _ = _roots(
        d[0] * d[0] + d[1] * d[1] + d[2] * d[2],
        o[0] * d[0] + o[1] * d[1] + o[2] * d[2],
        o @ o - 1,
    )
    return near


def _box(o: np.ndarray, d: Vectors) -> np.ndarray:
    near, far = _slab(o[0], d[0])
    for axis in (1, 2):
        enter, leave = _slab(o[axis], d[axis])
        near, far = np.maximum(near, enter), np.minimum(far, leave)
    return np.where(near <= far, near, np.inf)


def _cylinder(o: np.ndarray, d: Vectors) -> np.ndarray:
    near, far = _roots(
        d[0] * d[0] + d[2] * d[2], o[0] * d[0] + o[2] * d[2], o[0] * o[0] + o[2] * o[2] - 1
    )
    enter, leave = _slab(o[1], d[1])
    near, far = np.maximum(near, enter), np.minimum(far, leave)
    return np.where(near <= far, near, np.inf)


def _cone(o: np.ndarray, d: Vectors) -> np.ndarray:
    """Surface x^2 + z^2 = ((y + 1) / 2)^2 between tip and base, and the disc of the base."""
    side = (o[1] + 1) / 2
    a = d[0] * d[0] + d[2] * d[2] - d[1] * d[1] / 4
    b = o[0] * d[0] + o[2] * d[2] - side * d[1] / 2
    near, far = _roots(a, b, o[0] * o[0] + o[2] * o[2] - side * side)
    best = np.full_like(near, np.inf)
    for t in (near, far):
        y = o[1] + t * d[1]
        best = np.where((y >= -1) & (y <= 1) & (t > 0) & (t < best), t, best)
    t = (1 - o[1]) / d[1]
    x, z = o[0] + t * d[0], o[2] + t * d[2]
    return np.where((x * x + z * z <= 1) & (t > 0) & (t < best), t, best)


def _card(o: np.ndarray, d: Vectors) -> np.ndarray:
    t = -o[2] / d[2]
    x, y = o[0] + t * d[0], o[1] + t * d[1]
    return np.where((np.abs(x) <= 1) & (np.abs(y) <= 1), t, np.inf)


def _slab(o: float, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interval of t in which -1 <= o + t d <= 1."""
    a, b = (-1 - o) / d, (1 - o) / d
    return np.minimum(a, b), np.maximum(a, b)


def _roots(a: np.ndarray, b: np.ndarray, c: float) -> tuple[np.ndarray, np.ndarray]:
    """Roots of a t^2 + 2 b t + c, smaller first; nan where there is none."""
    root = np.sqrt(b * b - a * c)
    first, second = (-b - root) / a, (-b + root) / a
    return np.minimum(first, second), np.maximum(first, second)


_INTERSECT: dict[str, Callable[[np.ndarray, Vectors], np.ndarray]] = {
    "ball": _ball,
    "box": _box,
    "cylinder": _cylinder,
    "cone": _cone,
    "card": _card,
}
