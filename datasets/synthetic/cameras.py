"""Camera paths: intrinsics and poses of every frame, and projection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vdit.datasets.synthetic.clip import CameraTrack
from vdit.datasets.synthetic.scene import CameraPath

MOTIONS = ("static", "pan", "truck", "zoom", "dolly", "orbit", "shake")
AIM = np.array([0.0, -0.6, 0.0])
"""Point that the camera looks at, in metres: a little above the ground."""


def camera_track(path: CameraPath, times: Sequence[float], height: int, width: int) -> CameraTrack:
    """Compute the camera of every frame.

    Args:
        path: how it moves.
        times: T times in 0..1.
        height: H in pixels.
        width: W in pixels.

    Raises:
        ValueError: the motion is unknown.
    """
    if path.motion not in MOTIONS:
        raise ValueError(
            f"expected a camera motion among {', '.join(MOTIONS)}; got {path.motion!r}"
        )
    u = np.asarray(times)
    swing = path.amount * (u - 0.5)
    rng = np.random.default_rng(path.seed)
    intrinsics = np.zeros((len(u), 3, 3))
    poses = np.zeros((len(u), 3, 4))
    zoom = path.amount**u if path.motion == "zoom" else np.ones_like(u)
    tremor = np.deg2rad(path.amount) * _tremor(rng, u) if path.motion == "shake" else None
    for t in range(len(u)):
        eye = np.array([0.0, -path.height, -path.distance])
        aim = AIM.copy()
        if path.motion == "truck":
            eye[0] += swing[t]
            aim[0] += swing[t]
        elif path.motion == "dolly":
            eye[2] += path.amount * u[t]
        elif path.motion == "orbit":
            angle = np.deg2rad(swing[t])
            eye[[0, 2]] = path.distance * np.sin(angle), -path.distance * np.cos(angle)
        elif path.motion == "pan":
            aim[0] += path.distance * np.tan(np.deg2rad(swing[t]))
        elif tremor is not None:
            aim[:2] += path.distance * tremor[t]
        poses[t] = look_at(eye, aim)
        focal = width / 2 / np.tan(np.deg2rad(path.fov) / 2) * zoom[t]
        intrinsics[t] = [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]
    return CameraTrack(intrinsics, poses)


def look_at(eye: np.ndarray, aim: np.ndarray) -> np.ndarray:
    """World-to-camera map [3, 4] of an upright camera at `eye` [3] that looks at `aim` [3]."""
    forward = (aim - eye) / np.linalg.norm(aim - eye)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return np.concatenate([rotation, -(rotation @ eye)[:, None]], axis=1)


def project(
    points: np.ndarray, intrinsics: np.ndarray, world_to_camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Project world points.

    Args:
        points: [..., 3] in metres.
        intrinsics: [3, 3].
        world_to_camera: [3, 4].

    Returns:
        (x, y) in pixels [..., 2], and the depth along the optical axis [...].
    """
    seen = points @ world_to_camera[:, :3].T + world_to_camera[:, 3]
    depth = seen[..., 2]
    focal, center = intrinsics[0, 0], intrinsics[:2, 2]
    return focal * seen[..., :2] / depth[..., None] + center, depth


def _tremor(rng: np.random.Generator, u: np.ndarray) -> np.ndarray:
    """Smooth noise of unit size around zero, [T, 2]."""
    waves = 2 * np.pi * rng.uniform(2, 6, size=(3, 2))
    phases = 2 * np.pi * rng.random((3, 2))
    return np.sin(u[:, None, None] * waves + phases).mean(axis=1)
