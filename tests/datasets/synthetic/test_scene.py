"""Motions, cameras and recipes do what their names say."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vdit.datasets.synthetic.cameras import MOTIONS, camera_track, project
from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.motions import PROGRAMS, ground_path, poses, sizes
from vdit.datasets.synthetic.recipes import RECIPES, make_scene
from vdit.datasets.synthetic.render import annotate, render, render_frames
from vdit.datasets.synthetic.scene import (
    VERSION,
    Backdrop,
    CameraPath,
    Light,
    Motion,
    ObjectSpec,
    Scene,
)
from vdit.datasets.synthetic.textures import FLOORS, WALLS, sample
from vdit.datasets.synthetic.view import View

TIMES = np.linspace(0, 1, 9).tolist()


def heights(program, **options):
    """Lowest point of a ball above the ground, and its middle, over time."""
    motion = Motion(program, (-1.0, 0.5), (1.0, 0.5), **options)
    pose = poses(ObjectSpec("ball", motion=motion), TIMES)
    return pose[:, :, :3] @ [0.0, -0.5, 0.0] + pose[:, :, 3]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(program):
    middle = heights(program, amount={"grow": 2.0, "shrink": 0.5}.get(program, 0.7))
    moved = np.linalg.norm(np.diff(middle[:, [0, 2]], axis=0), axis=1)
    if program in ("still", "spin", "grow", "shrink"):
        assert np.allclose(moved, 0)
    elif program == "start":
        assert np.allclose(moved[:4], 0)
        assert (moved[4:] > 0.1).all()
    elif program == "stop":
        assert np.allclose(moved[4:], 0)
        assert (moved[:4] > 0.1).all()
    else:
        assert (moved > 0.1).all()
    if program in ("grow", "shrink"):
        factor = {"grow": 2.0, "shrink": 0.5}[program]
        spec = ObjectSpec("ball", motion=Motion(program, amount=factor))
        assert np.isclose(sizes(spec, TIMES)[-1], factor)
        assert np.allclose(middle[:, 1], -sizes(spec, TIMES) / 2), "its foot stays on the ground"
    elif program == "bounce":
        assert middle[:, 1].min() < -0.9
        assert middle[:, 1].max() <= -0.5
    else:
        assert np.allclose(middle[:, 1], -0.5)


def test_a_ball_rolls_as_far_as_it_travels():
    spec = ObjectSpec("ball", size=1.0, motion=Motion("straight", (0, 0), (np.pi, 0)))
    pose = poses(spec, [0.0, 0.5, 1.0])
    assert np.allclose(pose[2, :, :3], pose[0, :, :3], atol=1e-9), "one turn over its circumference"
    top = pose[1, :, :3] @ [0.0, -1.0, 0.0] + pose[1, :, 3]
    assert np.isclose(top[1], 0.0), "half a turn brings the top to the ground"


def test_objects_face_where_they_go():
    for end in [(2.0, 0.0), (-2.0, 0.0), (0.0, 2.0), (1.0, -1.0)]:
        pose = poses(ObjectSpec("car", motion=Motion("straight", (0, 0), end)), [0.0])
        ahead = pose[0, :, 0][[0, 2]]
        assert np.allclose(ahead, np.array(end) / np.linalg.norm(end))


@pytest.mark.parametrize("motion", MOTIONS)
def test_cameras_keep_the_stage_in_sight(motion):
    amount = {"zoom": 1.3}.get(motion, 5.0 if motion in ("pan", "orbit") else 1.0)
    track = camera_track(CameraPath(motion, amount=amount), TIMES, 96, 128)
    rotation = track.world_to_camera[:, :, :3]
    assert np.allclose(rotation @ rotation.transpose(0, 2, 1), np.eye(3))
    assert np.allclose(np.linalg.det(rotation), 1)
    still = [np.allclose(track.world_to_camera[0], pose) for pose in track.world_to_camera]
    assert all(still) == (motion in ("static", "zoom"))
    for K, pose in zip(track.intrinsics, track.world_to_camera, strict=True):
        (xy,), depth = project(np.array([[0.0, -0.5, 0.0]]), K, pose)
        assert 0 < xy[0] < 128
        assert 0 < xy[1] < 96
        assert depth > 0
        (up,), _ = project(np.array([[0.0, -1.5, 0.0]]), K, pose)
        assert up[1] < xy[1], "y is down"
        (right,), _ = project(np.array([[1.0, -0.5, 0.0]]), K, pose)
        assert right[0] > xy[0]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name):
    scene = make_scene(name, 3)
    assert scene == make_scene(name, 3)
    assert scene != make_scene(name, 4)
    assert json.loads(json.dumps(scene.as_json()))["version"] == VERSION
    assert scene.objects


def test_what_recipes_promise():
    for seed in range(20):
        first, *others = make_scene("identical", seed).objects
        assert others
        for other in others:
            alike = ("category", "color", "pattern", "finish", "size")
            assert all(getattr(first, key) == getattr(other, key) for key in alike)
            assert first.motion.program != other.motion.program
        balls = make_scene("kubric-similar", seed)
        assert balls.num_frames == 16
        a, b = (ground_path(ball.motion, [0.0, 1.0])[:, 0] for ball in balls.objects)
        assert (a[0] - b[0]) * (a[1] - b[1]) < 0, "they cross"
        assert make_scene("movi-c", seed).camera.motion == "static"
        assert len(make_scene("movi-e", seed).objects) >= 8
        assert make_scene("motion-type", seed).action in PROGRAMS
        assert make_scene("geometry", seed).camera.motion not in ("static", "shake")
        referring = make_scene("referring", seed)
        assert len(referring.objects) >= 2


def test_what_passes_behind_is_seen_before_and_after():
    scenes = [make_scene("motion-type", seed, 16, 64, 64) for seed in range(60)]
    hidden = [scene for scene in scenes if scene.action == "occlude"]
    assert len(hidden) >= 3
    for scene in hidden:
        seen = render(scene, num_tracks=0).masks[0].sum(axis=(1, 2))
        assert seen[0] > 8
        assert seen[-1] > 8
        assert seen.min() == 0


def test_recipes_vary_light_and_shutter():
    scenes = [make_scene("tracking", seed) for seed in range(40)]
    assert 5 < sum(scene.motion_blur > 0 for scene in scenes) < 35
    assert 1 < sum(scene.light.flicker > 0 for scene in scenes) < 20


def test_motion_blur_smears_what_moves_and_leaves_the_truth():
    balls = tuple(
        ObjectSpec("ball", motion=Motion("straight", (x, 0.0), (x + way, 0.0)))
        for x, way in ((-2.0, 3.0), (1.5, 0.0))
    )
    scene = Scene(balls, num_frames=5, height=64, width=64)
    sharp, blurred = render(scene), render(replace(scene, motion_blur=1.0))
    assert np.array_equal(sharp.instances, blurred.instances)
    changed = (sharp.frames[2] != blurred.frames[2]).any(axis=-1)
    rim = sharp.masks[0, 2] ^ np.roll(sharp.masks[0, 2], 1, axis=1)
    assert changed[rim].mean() > 0.7
    assert not changed[sharp.masks[1, 2]].any()
    pan = replace(scene, camera=CameraPath("pan", amount=20.0), objects=())
    assert (render_frames(pan) != render_frames(replace(pan, motion_blur=1.0))).mean() > 0.3


@pytest.mark.parametrize(("azimuth", "side"), [(0.6, -1), (2.6, 1)])
def test_shadows_fall_away_from_the_sun(azimuth, side):
    light = Light(azimuth=azimuth, elevation=0.7)
    empty = Scene((), light=light, num_frames=1, height=64, width=64)
    clip = render(replace(empty, objects=(ObjectSpec("ball", size=1.2),)), num_tracks=0)
    darker = render_frames(empty)[0].astype(int) - clip.frames[0] > 12
    _, columns = np.nonzero(darker.all(axis=-1) & (clip.instances[0] == 0))
    assert len(columns) > 20
    assert side * (columns.mean() - 32) > 3


def test_flicker_changes_the_brightness_of_all():
    scene = Scene((ObjectSpec("cube"),), num_frames=8, height=32, width=32)
    steady = render_frames(scene).mean(axis=(1, 2, 3))
    assert np.ptp(steady) == 0
    flickering = render_frames(replace(scene, light=Light(flicker=0.25))).mean(axis=(1, 2, 3))
    assert 0.03 < np.ptp(flickering) / steady[0] < 0.3


def test_windows_hold_all_that_balls_cover(monkeypatch):
    """Far from the axis a ball's picture is wider than its radius over its depth."""
    balls = tuple(
        ObjectSpec("ball", size=size, motion=Motion(start=(x, z)))
        for x, z, size in ((3.6, 2.6, 0.6), (-3.7, 2.5, 0.4), (0.0, 2.0, 0.3))
    )
    scene = Scene(balls, num_frames=1, height=720, width=1280)
    cut = render(scene, num_tracks=0).amodal
    monkeypatch.setattr(
        View, "window_of_ball", lambda self, *_: (slice(0, self.height), slice(0, self.width))
    )
    assert np.array_equal(cut, render(scene, num_tracks=0).amodal)


def test_objects_do_not_run_into_each_other():
    for seed in range(20):
        clip = render(make_scene("referring", seed, 6, 48, 64), num_tracks=0)
        ground = clip.positions[:, :, [0, 2]]
        for n in range(clip.num_objects):
            for other in range(n):
                gap = np.linalg.norm(ground[n] - ground[other], axis=1)
                assert gap.min() > 0.3


def test_textures_repeat_without_a_seam():
    fine = np.full(64, 1 / 256, dtype=np.float32)
    y = np.linspace(0, 1, 64, dtype=np.float32)
    for name in (*FLOORS, *WALLS):
        left = sample(name, np.full(64, 0.0, dtype=np.float32), y, fine)
        right = sample(name, np.full(64, 1.0, dtype=np.float32), y, fine)
        assert np.allclose(left, right, atol=1e-5)
        coarse = sample(name, y, y, np.full(64, 4.0, dtype=np.float32))
        assert np.ptp(coarse) < 1e-5, "far away only the mean is left"


def test_every_category_is_seen_and_stands_on_the_ground():
    for name, category in CATEGORIES.items():
        scene = Scene((ObjectSpec(name, size=1.2),), num_frames=1, height=96, width=96)
        clip = render(scene, num_tracks=0)
        assert clip.masks.sum() > 100, name
        assert (clip.masks == clip.amodal).mean() > 0.999, f"{name} reaches into the ground"
        assert clip.keypoints.visible.any(), name
        assert len(category.keypoints) >= 2


def test_errors():
    with pytest.raises(ValueError, match=r"expected a category among .*; got 'unicorn'"):
        render_frames(Scene((ObjectSpec("unicorn"),), num_frames=1))
    for field, word in (("color", "teal"), ("pattern", "plaid"), ("finish", "wet")):
        with pytest.raises(ValueError, match=rf"expected a {field} among .*; got '{word}'"):
            render_frames(Scene((ObjectSpec("ball", **{field: word}),), num_frames=1))
    with pytest.raises(ValueError, match=r"expected a motion program among .*; got 'fly'"):
        render_frames(Scene((ObjectSpec("ball", motion=Motion("fly")),), num_frames=1))
    for field in ("floor", "wall"):
        with pytest.raises(ValueError, match=rf"expected a {field} among .*; got 'lava'"):
            render_frames(Scene((), backdrop=Backdrop(**{field: "lava"}), num_frames=1))
    with pytest.raises(ValueError, match="at most 255 objects, got 256"):
        render_frames(Scene((ObjectSpec("ball"),) * 256, num_frames=1))
    with pytest.raises(ValueError, match=r"expected a recipe among .*; got 'soup'"):
        make_scene("soup", 0)
    with pytest.raises(ValueError, match="expected seed >= 0"):
        make_scene("referring", -1)
    with pytest.raises(ValueError, match=r"expected a camera motion among .*; got 'fly'"):
        render_frames(Scene((), CameraPath("fly"), num_frames=1))
    with pytest.raises(ValueError, match=r"expected a texture among .*; got 'lava'"):
        sample("lava", *(np.zeros(1, dtype=np.float32),) * 3)
    assert Backdrop().floor in FLOORS


def test_chosen_pictures_and_the_annotation_are_those_of_the_whole_clip():
    scene = make_scene("referring", 4, 5, 48, 64)
    clip = render(scene, num_tracks=0, captions_per_kind=3)
    assert np.array_equal(render_frames(scene, [3, 1]), clip.frames[[3, 1]])
    found = annotate(scene, captions_per_kind=3)
    assert found.captions == clip.captions
    assert np.array_equal(found.instances, clip.instances)
    assert np.array_equal(found.masks, clip.masks)
    assert np.array_equal(found.boxes_xyxy, clip.boxes_xyxy)
