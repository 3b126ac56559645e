"""A tiny clip made by hand, so that what reads clips is tested without the renderer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vdit.datasets.synthetic.clip import CameraTrack, Caption, PointTracks, RenderedClip
from vdit.datasets.synthetic.scene import Motion, ObjectSpec, Scene

T, H, W = 4, 24, 32
_CENTER = np.array([0.0, -2.0, -7.0])  # of the camera, which looks along z
_FOCAL = 40.0
_DEPTHS = (6.0, 5.0, 4.0)  # of the objects, far to near


def _place_whole_objects():
    """Object 1 passes in front of object 0, object 2 leaves the frame after two frames."""
    amodal = np.zeros((3, T, H, W), dtype=bool)
    amodal[0, :, 6:14, 10:18] = True
    for t in range(T):
        amodal[1, t, 5:15, 2 + 4 * t : 12 + 4 * t] = True
    amodal[2, 0, 16:22, 26:31] = True
    amodal[2, 1, 16:22, 29:32] = True
    return amodal


def _measure_background():
    """Depth where there is no object: the ground, a wall, and sky in the two rows at the top."""
    y = (np.arange(H) + 0.5 - H / 2) / _FOCAL
    depth = np.full((H, W), 14.0)
    is_below = y > 2.0 / 14.0
    depth[is_below] = (2.0 / y[is_below])[:, None]
    depth[:2] = np.inf
    return depth


def _follow_keypoints():
    """Two points of object 0, four of object 1, one of object 2."""
    objects = np.array([0, 0, 1, 1, 1, 1, 2])
    rng = np.random.default_rng(3)
    positions = rng.uniform(2, 20, (len(objects), T, 2)).astype(np.float32)
    shape = positions.shape[:2]
    names = ("top", "bottom", "top", "bottom", "left", "right", "top")
    return PointTracks(positions, np.ones(shape, bool), np.ones(shape, "f4"), objects, names)


def build_clip(seed=0, action="roll left", captions=None):
    rng = np.random.default_rng(seed)
    amodal = _place_whole_objects()
    instances = np.zeros((T, H, W), dtype=np.uint8)
    depth = np.broadcast_to(_measure_background(), (T, H, W)).astype(np.float32)
    for k, distance in enumerate(_DEPTHS):
        instances[amodal[k]] = k + 1
        depth[amodal[k]] = distance
    ramp = np.linspace(0, 200, W)[None, None, :, None] + 8 * instances[..., None]
    frames = (ramp + rng.integers(0, 30, 3)).astype(np.uint8)
    flow = np.zeros((T - 1, H, W, 2), dtype=np.float32)
    flow[instances[:-1] == 2] = (4.0, -0.5)
    intrinsics = np.array([[_FOCAL, 0, W / 2], [0, _FOCAL, H / 2], [0, 0, 1.0]])
    pose = np.concatenate([np.eye(3), -_CENTER[:, None]], axis=1)
    positions = np.array([[[0.5 * k + 0.1 * t, -0.5, z - 7] for t in range(T)] for k, z in
                          enumerate(_DEPTHS)])  # fmt: skip
    scene = Scene(
        objects=(
            ObjectSpec("cube", "red", size=1.0, motion=Motion("bounce")),
            ObjectSpec("ball", "blue", pattern="striped", size=0.5, motion=Motion("roll")),
            ObjectSpec("cube", "green", motion=Motion("still")),
        ),
        num_frames=T,
        height=H,
        width=W,
        seed=seed,
        action=action,
    )
    if captions is None:
        captions = (
            Caption("the red cube", "appearance", (0,)),
            Caption("the cube, that bounces", "motion", (0,)),
            Caption("The ball", "category", (1,)),
            Caption("the green cube on the right", "spatial", (2,)),
            Caption("two cubes", "several", (0, 2)),
            Caption("a yellow cone", "no target", ()),
        )
    return RenderedClip(
        scene=scene,
        frames=frames,
        instances=instances,
        amodal=amodal,
        depth=depth,
        flow=flow,
        camera=CameraTrack(np.tile(intrinsics, (T, 1, 1)), np.tile(pose, (T, 1, 1))),
        positions=positions,
        captions=captions,
        keypoints=_follow_keypoints(),
        tracks=PointTracks(
            np.zeros((0, T, 2), "f4"),
            np.zeros((0, T), bool),
            np.zeros((0, T), "f4"),
            np.zeros(0, int),
        ),
    )


@pytest.fixture
def clip():
    return build_clip()


@pytest.fixture
def make_clip():
    """Function of seed, action and captions; captions=None gives those of the fixture clip."""
    return build_clip


@pytest.fixture
def empty_clip():
    """A clip whose objects are all out of sight."""
    clip = build_clip()
    return dataclasses.replace(
        clip, instances=np.zeros_like(clip.instances), amodal=np.zeros_like(clip.amodal)
    )
