"""Motion programs: the pose of an object at every time of a clip.

Programs: "still", "straight", "bounce", "circle", "spin", "grow", "shrink", "start", "stop",
"enter", "leave", "occlude" (passes behind another object) and "follow". The last four travel as
"straight" does; the recipe chooses their ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.scene import Motion, ObjectSpec

PROGRAMS = (
    "still",
    "straight",
    "bounce",
    "circle",
    "spin",
    "grow",
    "shrink",
    "start",
    "stop",
    "enter",
    "leave",
    "occlude",
    "follow",
)
IN_PLACE = ("still", "spin", "grow", "shrink")
HOPS = 3
"""Bounces of a clip."""
CIRCLE_DEPTH = 0.55
"""A circle's extent in depth over that in width, so that it stays in the picture."""


def ground_path(motion: Motion, times: Sequence[float]) -> np.ndarray:
    """Place (x, z) of an object's foot on the ground at every time: [T, 2] metres."""
    u = np.asarray(times)
    start, end = np.array(motion.start), np.array(motion.end)
    if motion.program == "circle":
        angle = 2 * np.pi * (u + motion.phase)
        offset = np.stack([np.cos(angle), CIRCLE_DEPTH * np.sin(angle)], axis=1)
        return start + motion.amount * offset
    if motion.program in IN_PLACE:
        share = np.zeros_like(u)
    elif motion.program == "start":
        share = np.clip((u - motion.moment) / (1 - motion.moment), 0, 1)
    elif motion.program == "stop":
        share = np.clip(u / motion.moment, 0, 1)
    else:
        share = u
    return start + share[:, None] * (end - start)


def sizes(spec: ObjectSpec, times: Sequence[float]) -> np.ndarray:
    """Height in metres at every time, [T]."""
    u = np.asarray(times)
    factor = spec.motion.amount if spec.motion.program in ("grow", "shrink") else 1.0
    return spec.size * factor**u


def poses(spec: ObjectSpec, times: Sequence[float]) -> np.ndarray:
    """Affine maps from the object's frame to the world.

    Args:
        spec: the object.
        times: T times in 0..1.

    Returns:
        [T, 3, 4] float64; the linear part is a rotation times the object's size.
    """
    motion, u = spec.motion, np.asarray(times)
    path, size = ground_path(motion, times), sizes(spec, times)
    height = np.zeros_like(u)
    if motion.program == "bounce":
        height = motion.amount * np.abs(np.sin(np.pi * (HOPS * u + motion.phase)))
    turn = _rotation(1, _headings(spec, u))
    if not spec.sprite and CATEGORIES[spec.category].rolls:
        turn = turn @ _rotation(2, 2 * _distances(motion, path, u) / size)
    foot = np.stack([path[:, 0], -height, path[:, 1]], axis=1)
    middle = np.array([0.0, -0.5, 0.0])
    center = foot + size[:, None] * middle
    linear = turn * size[:, None, None]
    return np.concatenate([linear, (center - linear @ middle)[:, :, None]], axis=2)


def _distances(motion: Motion, path: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Way travelled since u = 0, [T] metres; a circle's is that of a round one."""
    if motion.program == "circle":
        return 2 * np.pi * motion.amount * u
    return np.linalg.norm(path - np.array(motion.start), axis=1)


def _headings(spec: ObjectSpec, u: np.ndarray) -> np.ndarray:
    """Angle around the vertical at every time, [T]: along the path, or as the scene says."""
    motion = spec.motion
    if motion.program == "spin":
        return spec.yaw + 2 * np.pi * motion.amount * u
    if spec.sprite:
        return np.full_like(u, spec.yaw)
    if motion.program == "circle":
        angle = 2 * np.pi * (u + motion.phase)
        return np.arctan2(CIRCLE_DEPTH * np.cos(angle), -np.sin(angle))
    dx, dz = np.array(motion.end) - np.array(motion.start)
    if motion.program in IN_PLACE or np.hypot(dx, dz) < 1e-6:
        return np.full_like(u, spec.yaw)
    return np.full_like(u, np.arctan2(dz, dx))


def _rotation(axis: int, angles: np.ndarray) -> np.ndarray:
    """Rotations [T, 3, 3]: around y (axis 1) turning x towards z, around z (2) turning x to y."""
    first, second = {1: (0, 2), 2: (0, 1)}[axis]
    result = np.zeros((len(angles), 3, 3))
    result[:, axis, axis] = 1
    cos, sin = np.cos(angles), np.sin(angles)
    result[:, first, first], result[:, first, second] = cos, -sin
    result[:, second, first], result[:, second, second] = sin, cos
    return result
