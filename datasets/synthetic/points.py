"""Points on surfaces through time: key points, random tracks and optical flow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vdit.datasets.synthetic.cameras import project
from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.clip import CameraTrack, PointTracks
from vdit.datasets.synthetic.scene import Scene
from vdit.datasets.synthetic.tracing import PlacedObject, first_depth

KEYPOINT_SLACK = 0.04
"""Key points may lie this share of the object's height below its surface and still be seen."""
TRACK_SLACK = 1e-3
"""Metres by which rounding may put a track's point under its surface."""
SPRITE_POINTS = {"top": (0.0, -0.97, 0.0), "foot": (0.0, -0.03, 0.0)}
BACKGROUND = -1


def follow_points(
    scene: Scene,
    placed: Sequence[Sequence[PlacedObject]],
    camera: CameraTrack,
    own: np.ndarray,
    objects: np.ndarray,
    slack: np.ndarray,
    names: tuple[str, ...] = (),
) -> PointTracks:
    """Project points that stick to objects, or to the world.

    Args:
        scene: its size matters.
        placed: [T] objects of every frame.
        camera: T poses.
        own: [P, 3] in the frame of its object, or in the world.
        objects: [P] index of the object, -1 = the world.
        slack: [P] metres that may lie between a point and the first surface before it is hidden.
        names: of the points.
    """
    P, T = len(own), len(placed)
    positions = np.zeros((P, T, 2), dtype=np.float32)
    visible = np.zeros((P, T), dtype=bool)
    depths = np.zeros((P, T), dtype=np.float32)
    for t, (eye, everything) in enumerate(zip(camera.centers(), placed, strict=True)):
        world = to_world(everything, own, objects)
        xy, depth = project(world, camera.intrinsics[t], camera.world_to_camera[t])
        distance = np.linalg.norm(world - eye, axis=1)
        free = first_depth(everything, eye, world) * distance >= distance - slack
        inside = (xy >= 0).all(axis=1) & (xy[:, 0] < scene.width) & (xy[:, 1] < scene.height)
        positions[:, t], depths[:, t] = xy, depth
        visible[:, t] = free & inside & (depth > 0)
    return PointTracks(positions, visible, depths, objects, names)


def to_world(
    everything: Sequence[PlacedObject], own: np.ndarray, objects: np.ndarray
) -> np.ndarray:
    """Map points [P, 3] of the objects [P] to the world."""
    world = own.copy()
    for index, each in enumerate(everything):
        mine = objects == index
        world[mine] = own[mine] @ each.pose[:, :3].T + each.pose[:, 3]
    return world


def key_points(
    scene: Scene, placed: Sequence[Sequence[PlacedObject]], camera: CameraTrack
) -> PointTracks:
    """Follow the named points of every object."""
    own, objects, names, slack = [], [], [], []
    for index, spec in enumerate(scene.objects):
        named = SPRITE_POINTS if spec.sprite else CATEGORIES[spec.category].keypoints
        for name, point in named.items():
            own.append(point)
            objects.append(index)
            names.append(name)
            slack.append(KEYPOINT_SLACK * spec.size)
    return follow_points(
        scene,
        placed,
        camera,
        np.array(own, dtype=np.float64).reshape(-1, 3),
        np.array(objects, dtype=np.int64),
        np.array(slack),
        tuple(names),
    )


def random_tracks(
    scene: Scene,
    placed: Sequence[Sequence[PlacedObject]],
    camera: CameraTrack,
    instances: np.ndarray,
    depth: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> PointTracks:
    """Follow points that start at centers of random pixels, half of them on objects."""
    own, objects = [], []
    on_object = np.argwhere(instances > 0)
    anywhere = np.argwhere(np.isfinite(depth))
    for k in range(count):
        pool = on_object if k % 2 and len(on_object) else anywhere
        if not len(pool):
            break
        t, row, column = pool[rng.integers(len(pool))]
        point = lift(camera, t, np.array([[column + 0.5, row + 0.5]]), depth[t, row, column])
        owner = int(instances[t, row, column]) - 1
        own.append(placed[t][owner].to_own(point)[0] if owner >= 0 else point[0])
        objects.append(owner)
    owners = np.array(objects, dtype=np.int64)
    points = np.array(own, dtype=np.float64).reshape(-1, 3)
    slack = np.full(len(points), TRACK_SLACK)
    return follow_points(scene, placed, camera, points, owners, slack)


def lift(camera: CameraTrack, t: int, xy: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """World points [..., 3] of pixels [..., 2] at given depths [...] in frame t."""
    K, pose = camera.intrinsics[t], camera.world_to_camera[t]
    slopes = (xy - K[:2, 2]) / K[0, 0]
    seen = np.concatenate([slopes, np.ones_like(slopes[..., :1])], axis=-1) * np.expand_dims(
        depth, -1
    )
    return (seen - pose[:, 3]) @ pose[:, :3]


def optical_flow(
    placed: Sequence[Sequence[PlacedObject]],
    camera: CameraTrack,
    instances: np.ndarray,
    depth: np.ndarray,
) -> np.ndarray:
    """Motion of what is seen at every pixel's center to the next frame, [T - 1, H, W, 2]."""
    T, H, W = instances.shape
    grid = np.stack(np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5), axis=-1)
    flow = np.zeros((T - 1, H, W, 2), dtype=np.float32)
    for t in range(T - 1):
        is_sky = ~np.isfinite(depth[t])
        world = lift(camera, t, grid, np.where(is_sky, 1e9, depth[t].astype(np.float64)))
        for index, (now, then) in enumerate(zip(placed[t], placed[t + 1], strict=True)):
            mine = instances[t] == index + 1
            own = now.to_own(world[mine])
            world[mine] = own @ then.pose[:, :3].T + then.pose[:, 3]
        xy, _ = project(world, camera.intrinsics[t + 1], camera.world_to_camera[t + 1])
        flow[t] = xy - grid
    return flow
