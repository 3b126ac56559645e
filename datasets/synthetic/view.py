"""One camera at one instant: rays through pixels, and the part of the picture a ball may cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from vdit.datasets.synthetic.solids import Vectors

Window = tuple[slice, slice]


@dataclass(frozen=True)
class View:
    """A camera at one instant.

    Rays have unit depth, so that their parameter is the depth along the optical axis.

    Attributes:
        focal: in pixels.
        rotation: [3, 3] from world to camera.
        center: [3] of the camera in the world.
        height: H in pixels.
        width: W in pixels.
        offsets: [S, 2] where in a pixel (x, y) its S rays go through, 0..1.
    """

    focal: float
    rotation: np.ndarray
    center: np.ndarray
    height: int
    width: int
    offsets: np.ndarray

    @classmethod
    def of(
        cls, intrinsics: np.ndarray, pose: np.ndarray, size: tuple[int, int], offsets: np.ndarray
    ) -> View:
        """Build from intrinsics [3, 3], world-to-camera pose [3, 4] and (H, W)."""
        rotation = pose[:, :3]
        return cls(
            float(intrinsics[0, 0]), rotation, -(rotation.T @ pose[:, 3]), size[0], size[1], offsets
        )

    def slopes(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Rays (x, y, 1) in the camera's frame: x [S, 1, w] and y [S, h, 1]."""
        rows, columns = window
        x = np.arange(columns.start, columns.stop) + self.offsets[:, :1] - self.width / 2
        y = np.arange(rows.start, rows.stop) + self.offsets[:, 1:] - self.height / 2
        return (x / self.focal)[:, None, :], (y / self.focal)[:, :, None]

    def rays(self, window: Window, linear: np.ndarray, dtype: DTypeLike) -> Vectors:
        """Directions of a window's rays, [S, h, w] each, mapped by `linear` [3, 3] of the world."""
        turn = (linear @ self.rotation.T).astype(dtype)
        x, y = (slope.astype(dtype) for slope in self.slopes(window))
        return tuple(turn[i, 0] * x + (turn[i, 1] * y + turn[i, 2]) for i in range(3))

    def window_of_ball(self, center: np.ndarray, radius: float) -> Window | None:
        """Pixels that a ball in the world may cover; None = it is out of the picture."""
        x, y, z = self.rotation @ (center - self.center)
        if z <= -radius:
            return None
        if z < radius + 0.05:
            return slice(0, self.height), slice(0, self.width)
        # (x + a) / (z + b) - x / z = (a - b x / z) / (z + b), where a^2 + b^2 <= radius^2
        across = self.focal * radius * np.hypot(1, x / z) / (z - radius) + 1
        down = self.focal * radius * np.hypot(1, y / z) / (z - radius) + 1
        column = self.focal * x / z + self.width / 2
        row = self.focal * y / z + self.height / 2
        return self.clip(column - across, row - down, column + across, row + down)

    def clip(self, x0: float, y0: float, x1: float, y1: float) -> Window | None:
        """Cut a box in pixels to the picture."""
        columns = slice(max(int(np.floor(x0)), 0), min(int(np.ceil(x1)), self.width))
        rows = slice(max(int(np.floor(y0)), 0), min(int(np.ceil(y1)), self.height))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return rows, columns
