"""Recipes of learned probes: what they ask cannot be told from what they do not ask about."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vdit.datasets.synthetic.cameras import camera_track
from vdit.datasets.synthetic.probing_recipes import OPPOSITES
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render

SIZE = (6, 32, 48)


@pytest.fixture(scope="module")
def pairs():
    """Clips of two seeds that share a scene."""
    return [
        [render(make_scene("motion-order", 2 * k + way, *SIZE), 8) for way in (0, 1)]
        for k in range(16)
    ]


def test_opposites_have_the_same_frames_in_reverse(pairs):
    """So a frame tells nothing of the way, and nor does any pool that ignores the order."""
    for first, second in pairs:
        assert second.scene.action == OPPOSITES[first.scene.action] != first.scene.action
        for name in ("frames", "instances", "depth"):
            np.testing.assert_array_equal(getattr(second, name), getattr(first, name)[::-1])
        np.testing.assert_array_equal(second.positions, first.positions[:, ::-1])
        assert np.abs(np.diff(first.frames.astype(int), axis=0)).max() > 20, "it moves"


def test_flicker_and_motion_blur_run_backwards_too():
    scenes = [make_scene("motion-order", seed, *SIZE) for seed in range(120)]
    assert sum(scene.light.flicker > 0 for scene in scenes[::2]) >= 3
    for first, second in zip(scenes[::2], scenes[1::2], strict=True):
        assert first.times() == second.times()[::-1]
        if first.light.flicker:
            frames = render(second, 0).frames
            np.testing.assert_array_equal(frames, render(first, 0).frames[::-1])
            return


def test_shuffled_clips_have_the_same_frames():
    for k in range(4):
        first, second = (render(make_scene("frame-order", 2 * k + way, *SIZE), 4) for way in (0, 1))
        assert (first.scene.action, second.scene.action) == ("in order", "shuffled")
        order = [first.scene.times().index(u) for u in second.scene.times()]
        assert sorted(order) == list(range(SIZE[0])) != order
        for name in ("frames", "instances", "depth"):
            np.testing.assert_array_equal(getattr(second, name), getattr(first, name)[order])
        expected = first.camera.world_to_camera[order]
        np.testing.assert_array_equal(second.camera.world_to_camera, expected)
        assert make_scene("frame-order", 2 * k + 1, *SIZE) == second.scene


def test_actions_are_what_is_seen(pairs):
    """Of each label and its opposite, forwards and backwards."""
    seen = Counter()
    for clip in (clip for pair in pairs for clip in pair):
        first, last = (
            clip.camera.world_to_camera[t, :, :3] @ clip.positions[0, t]
            + clip.camera.world_to_camera[t, :, 3]
            for t in (0, -1)
        )
        shift = last - first
        action = clip.scene.action
        seen[action] += 1
        if action in ("move left", "move right"):
            assert shift[0] * (1 if action == "move right" else -1) > 1.5
        elif action in ("approach", "recede"):
            assert shift[2] * (1 if action == "recede" else -1) > 1.5
        elif action in ("grow", "shrink"):
            heights = [clip.amodal[0, t].any(1).sum() for t in (0, -1)]
            assert (heights[1] > heights[0]) == (action == "grow")
    assert len(seen) == len(OPPOSITES)


def test_turns_are_named_as_seen_from_above():
    """A point on the side that faces the camera moves right when turning counterclockwise."""
    for seed in range(200):
        scene = make_scene("motion-order", seed, 24, 48, 48)
        if not scene.action.startswith("turn"):
            continue
        clip = render(scene, 40)
        world_to_camera, tracks = clip.camera.world_to_camera[0], clip.tracks
        middle = (world_to_camera[:, :3] @ clip.positions[0, 0] + world_to_camera[:, 3])[2]
        is_near = (tracks.objects[:, None] == 0) & (tracks.depths < middle - 0.05)
        steps = np.diff(tracks.positions[..., 0], axis=1)[is_near[:, :-1] & is_near[:, 1:]]
        if steps.size < 10:
            continue
        expected = 1 if scene.action == "turn counterclockwise" else -1
        assert np.sign(np.median(steps)) == expected, seed
        return
    raise AssertionError("expected a turn among 200 scenes")


def test_labels_are_even_and_the_seed_tells_nothing():
    actions = [make_scene("motion-order", seed).action for seed in range(400)]
    for half in (actions[::2], actions[1::2]):
        counts = Counter(half)
        assert set(counts) == set(OPPOSITES)
        assert min(counts.values()) > 10
    for action, opposite in OPPOSITES.items():
        assert actions.count(action) == actions.count(opposite)


def test_the_object_stays_in_the_picture():
    for seed in range(0, 60, 2):
        clip = render(make_scene("motion-order", seed, 4, 32, 32), 0)
        assert clip.amodal[0].any(axis=(1, 2)).all()


def test_cameras_move_by_any_amount():
    shifts = []
    for seed in range(40):
        scene = make_scene("camera", seed)
        assert scene.camera.motion in ("pan", "truck", "dolly", "orbit")
        assert all(each.motion.program == "still" for each in scene.objects)
        track = camera_track(scene.camera, scene.times(), 32, 32)
        shifts.append(np.abs(track.world_to_camera[-1] - track.world_to_camera[0]).max())
    assert len(set(np.round(shifts, 3))) > 35
    assert min(shifts) > 0.02


def test_categories_are_alone():
    scenes = [make_scene("category", seed) for seed in range(60)]
    assert {len(scene.objects) for scene in scenes} == {1}
    assert len({scene.objects[0].category for scene in scenes}) > 20
