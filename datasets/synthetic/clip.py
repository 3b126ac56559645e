"""A rendered clip: frames, and everything that is true of them.

N objects, T frames, H x W pixels. Truth is that of the ray through the center of a pixel, while
frames are anti-aliased: every array here can be checked against every other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vdit.datasets.synthetic.scene import Scene
from vdit.masks import masks_to_boxes_xyxy


@dataclass(frozen=True)
class CameraTrack:
    """Where the camera is, in OpenCV's convention (x right, y down, z forward).

    Attributes:
        intrinsics: [T, 3, 3] float64, in pixels; the center of the first pixel is (0.5, 0.5).
        world_to_camera: [T, 3, 4] float64.
    """

    intrinsics: np.ndarray
    world_to_camera: np.ndarray

    def centers(self) -> np.ndarray:
        """Position of the camera in the world, [T, 3]."""
        rotation, translation = self.world_to_camera[..., :3], self.world_to_camera[..., 3]
        return -np.einsum("tij,ti->tj", rotation, translation)


@dataclass(frozen=True)
class Caption:
    """A sentence and the objects that it names.

    Attributes:
        text: English, lower case, without a full stop.
        kind: "appearance", "category", "spatial", "relation", "ordinal", "motion", "several" or
            "no target".
        objects: indices into the scene's objects; empty = names nothing in this clip.
        meaning: by what it picks them out: "name" (noun and adjectives), "leftmost", "behind", ...
    """

    text: str
    kind: str
    objects: tuple[int, ...]
    meaning: str = "name"


@dataclass(frozen=True)
class PointTracks:
    """Points that stick to surfaces.

    Attributes:
        positions: [P, T, 2] float32 (x, y) in pixels, also where a point is hidden.
        visible: [P, T] bool: inside the frame and nothing in front of it.
        depths: [P, T] float32 distance along the optical axis in metres.
        objects: [P] index of the object, -1 = background.
        names: what key points are called; empty for other points.
    """

    positions: np.ndarray
    visible: np.ndarray
    depths: np.ndarray
    objects: np.ndarray
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Annotation:
    """What a clip shows and what can be said of it, without its pictures.

    Attributes:
        scene: what is seen.
        instances: [T, H, W] uint8; k = object k - 1 is visible there, 0 = background.
        captions: sentences about the clip.
    """

    scene: Scene
    instances: np.ndarray
    captions: tuple[Caption, ...]

    @cached_property
    def masks(self) -> np.ndarray:
        """The visible part of each object, [N, T, H, W] bool."""
        return _masks(self.instances, len(self.scene.objects))

    @cached_property
    def boxes_xyxy(self) -> np.ndarray:
        """Boxes around the visible parts, [N, T, 4] float32 in pixels; zeros where invisible."""
        return _boxes(self.masks)


@dataclass(frozen=True)
class RenderedClip:
    """Frames and the truth about them.

    Attributes:
        scene: what was rendered.
        frames: [T, H, W, 3] uint8 RGB.
        instances: [T, H, W] uint8; k = object k - 1 is visible there, 0 = background.
        amodal: [N, T, H, W] bool, the whole object, also where another hides it.
        depth: [T, H, W] float32 metres along the optical axis; infinite in the sky.
        flow: [T - 1, H, W, 2] float32 (dx, dy) in pixels to the next frame.
        camera: its poses.
        positions: [N, T, 3] float64, the middle of each object in the world, in metres.
        captions: sentences about the clip.
        keypoints: the named points of every object, in the order of the objects.
        tracks: points that started on random visible pixels.
    """

    scene: Scene
    frames: np.ndarray
    instances: np.ndarray
    amodal: np.ndarray
    depth: np.ndarray
    flow: np.ndarray
    camera: CameraTrack
    positions: np.ndarray
    captions: tuple[Caption, ...]
    keypoints: PointTracks
    tracks: PointTracks

    @property
    def num_objects(self) -> int:
        return len(self.scene.objects)

    @property
    def masks(self) -> np.ndarray:
        """The visible part of each object, [N, T, H, W] bool."""
        return _masks(self.instances, self.num_objects)

    @property
    def boxes_xyxy(self) -> np.ndarray:
        """Boxes around the visible parts, [N, T, 4] float32 in pixels; zeros where invisible."""
        return _boxes(self.masks)

    @property
    def amodal_boxes_xyxy(self) -> np.ndarray:
        """Boxes around the whole objects inside the frame, [N, T, 4] float32 in pixels."""
        return _boxes(self.amodal)

    @property
    def depth_order(self) -> np.ndarray:
        """Objects from near to far in every frame, [T, N], by the depth of their middles."""
        return np.argsort(self.center_depths(), axis=0, kind="stable").T

    def center_depths(self) -> np.ndarray:
        """Depth of each object's middle along the optical axis, [N, T] in metres."""
        rotation = self.camera.world_to_camera[:, 2, :3]
        return (
            np.einsum("tj,ntj->nt", rotation, self.positions)
            + self.camera.world_to_camera[None, :, 2, 3]
        )


def _masks(instances: np.ndarray, count: int) -> np.ndarray:
    index = np.arange(1, count + 1, dtype=instances.dtype)
    return instances[None] == index[:, None, None, None]


def _boxes(masks: np.ndarray) -> np.ndarray:
    N, T = masks.shape[:2]
    return masks_to_boxes_xyxy(masks.reshape(N * T, *masks.shape[2:])).reshape(N, T, 4)
