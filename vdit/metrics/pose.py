"""Errors of the predicted motion of a camera between the first and the last frame of a clip.

A pose is a 3 x 4 matrix [R | t]: the point p of one camera is R p + t for the other. Both poses of
a pair go in the same direction and have the same unit of length; monocular reconstructions, as
those of RealEstate10k, have a unit of their own in each scene. Cameras look along +z.

Axes: `...` any leading axes, P points.

Reference: Zhou et al., Stereo Magnification, SIGGRAPH 2018 (RealEstate10k); for the angle, Huynh,
Journal of Mathematical Imaging and Vision 2009.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FRUSTUM_DEPTHS = (1.0, 10.0)
ROTATION_TOLERANCE = 1e-4  # of an entry of R^T R, and of the determinant

Floats = NDArray[np.float64]


def pose_from_numbers(numbers: ArrayLike) -> Floats:
    """Arrange the 12 numbers that a head predicts.

    Args:
        numbers: [..., 12]: R row by row, then t.

    Returns:
        [..., 3, 4] poses; R is as predicted, in general no rotation (see `nearest_rotation`).

    Raises:
        ValueError: the last axis does not have 12 entries.
    """
    values = np.asarray(numbers, np.float64)
    if values.shape[-1:] != (12,):
        raise ValueError(f"expected 12 numbers for each pose, got {list(values.shape)}")
    rotations = values[..., :9].reshape(*values.shape[:-1], 3, 3)
    return np.concatenate([rotations, values[..., 9:, None]], axis=-1)


def nearest_rotation(matrices: ArrayLike) -> Floats:
    """Find the rotation with the least sum of squared differences (orthogonal Procrustes).

    Args:
        matrices: [..., 3, 3], finite.

    Returns:
        [..., 3, 3] rotations, with determinant 1. Not unique for a matrix of rank 0 or 1.

    Raises:
        ValueError: shape, or an entry is not finite.

    Reference: Umeyama, PAMI 1991.
    """
    values = np.asarray(matrices, np.float64)
    if values.shape[-2:] != (3, 3):
        raise ValueError(f"expected matrices [..., 3, 3], got {list(values.shape)}")
    if not np.isfinite(values).all():
        raise ValueError("expected finite matrices, got NaN or infinity in one of them")
    left, _, right = np.linalg.svd(values)
    signs = np.ones(values.shape[:-1])
    signs[..., 2] = np.sign(np.linalg.det(left @ right))  # turn over what the matrix tells least
    return (left * signs[..., None, :]) @ right


def relative_pose(first: ArrayLike, last: ArrayLike) -> Floats:
    """Compute the pose of the last camera relative to the first from their poses in the world.

    Args:
        first: [..., 3, 4] world to first camera, R a rotation, as RealEstate10k stores it.
        last: [..., 3, 4] world to last camera.

    Returns:
        [..., 3, 4] first camera to last camera.

    Raises:
        ValueError: shapes differ or are not [..., 3, 4], or the first R is no rotation.
    """
    start, end = _pair(first, last)
    _check_rotations("first", start)
    rotation = end[..., :3] @ np.swapaxes(start[..., :3], -1, -2)
    translation = end[..., 3:] - rotation @ start[..., 3:]
    return np.concatenate([rotation, translation], axis=-1)


def translation_error(target: ArrayLike, prediction: ArrayLike) -> Floats:
    """Give the Euclidean distance of the two translations.

    Args:
        target: [..., 3, 4] true poses.
        prediction: [..., 3, 4].

    Returns:
        [...] in the unit of t.

    Raises:
        ValueError: shapes differ or are not [..., 3, 4].
    """
    true, predicted = _pair(target, prediction)
    return np.linalg.norm(predicted[..., 3] - true[..., 3], axis=-1)


def rotation_error(target: ArrayLike, prediction: ArrayLike) -> Floats:
    """Give the angle of the rotation that leads from the predicted rotation to the true one.

    It is arccos((tr(R^T R*) - 1) / 2), taken from sine and cosine so that small angles are exact.

    Args:
        target: [..., 3, 4] true poses.
        prediction: [..., 3, 4] with rotations; make them with `nearest_rotation`.

    Returns:
        [...] degrees in 0..180.

    Raises:
        ValueError: shapes differ or are not [..., 3, 4], or an R is no rotation.
    """
    true, predicted = _pair(target, prediction)
    _check_rotations("target", true)
    _check_rotations("prediction", predicted)
    between = np.swapaxes(predicted[..., :3], -1, -2) @ true[..., :3]
    cosine = (np.trace(between, axis1=-2, axis2=-1) - 1) / 2
    twist = between - np.swapaxes(between, -1, -2)
    sine = np.linalg.norm(twist, axis=(-2, -1)) / np.sqrt(8)
    return np.degrees(np.arctan2(sine, cosine))


def frustum_corners(
    depths: ArrayLike = FRUSTUM_DEPTHS, half_size: tuple[float, float] = (1.0, 1.0)
) -> Floats:
    """Give the corners of the view of a camera at some depths.

    Args:
        depths: [D], in the unit of t.
        half_size: half height and half width of the view at depth 1; the default is a square view
            of 90 degrees, `(cy / fy, cx / fx)` that of a camera with its principal point centered.

    Returns:
        [4 D, 3] as (x, y, z).
    """
    height, width = half_size
    corners = np.array([(x, y, 1.0) for y in (-height, height) for x in (-width, width)])
    return np.concatenate([depth * corners for depth in np.asarray(depths, np.float64).ravel()])


def end_point_error(
    target: ArrayLike, prediction: ArrayLike, points: ArrayLike | None = None
) -> Floats:
    """Give the mean distance of points that are moved by the true and by the predicted pose (EPE).

    The papers leave the points open. Here they are by default the 8 corners of `frustum_corners`:
    of a square view of 90 degrees at the depths 1 and 10.

    Args:
        target: [..., 3, 4] true poses.
        prediction: [..., 3, 4] any affine maps; predicted numbers need no projection.
        points: [P, 3] as (x, y, z) in the unit of t; None takes the corners.

    Returns:
        [...] in the unit of t.

    Raises:
        ValueError: shapes differ or are not [..., 3, 4], or points are not [P, 3] with P >= 1.
    """
    true, predicted = _pair(target, prediction)
    moved = frustum_corners() if points is None else np.asarray(points, np.float64)
    if moved.ndim != 2 or moved.shape[1] != 3 or not len(moved):
        raise ValueError(f"expected points [P, 3] with P >= 1, got {list(moved.shape)}")
    difference = predicted - true
    offsets = difference[..., :3] @ moved.T + difference[..., 3:]
    return np.linalg.norm(offsets, axis=-2).mean(axis=-1)


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape or one.shape[-2:] != (3, 4):
        raise ValueError(
            f"expected two arrays [..., 3, 4], got {list(one.shape)} and {list(other.shape)}"
        )
    return one, other


def _check_rotations(name: str, poses: Floats) -> None:
    rotations = poses[..., :3]
    if not np.isfinite(rotations).all():
        raise ValueError(f"expected rotations in {name}, got NaN or infinity in a matrix")
    error = np.abs(np.swapaxes(rotations, -1, -2) @ rotations - np.eye(3)).max(initial=0.0)
    mirrored = np.abs(np.linalg.det(rotations) - 1).max(initial=0.0)
    off = max(error, mirrored)
    if off > ROTATION_TOLERANCE:
        raise ValueError(
            f"expected rotations in {name}, got a matrix that is off by {off:.2g}; "
            "project it with nearest_rotation"
        )
