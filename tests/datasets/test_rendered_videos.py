"""Rendered clips as data sets: the truth is that of the clip, to the last bit."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from vdit.cli import main
from vdit.datasets.checking import check
from vdit.datasets.probe_datasets import PROBE_DATASETS
from vdit.datasets.rendered_videos import (
    RENDERED_BENCHMARKS,
    read_rendered_boxes,
    read_rendered_category,
    read_rendered_depth,
    read_rendered_motion,
    read_rendered_points,
    read_rendered_pose,
    read_rendered_segments,
)
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.native import write_native

SIZE = (3, 24, 40)
SEEDS = {"train": (0, 1, 3), "val": (7,)}


@pytest.fixture(scope="module")
def rendered():
    """Clips by split and name."""
    return {
        split: {f"clip{seed}": render(make_scene("tracking", seed, *SIZE), 12) for seed in seeds}
        for split, seeds in SEEDS.items()
    }


@pytest.fixture(scope="module")
def tree(rendered, tmp_path_factory):
    root = tmp_path_factory.mktemp("rendered")
    for split, clips in rendered.items():
        write_native(clips.items(), root, split)
    return root


def with_scene(clip, **changes):
    return dataclasses.replace(clip, scene=dataclasses.replace(clip.scene, **changes))


def pairs(read, tree, rendered):
    """Videos beside the clips that they were."""
    for split, clips in rendered.items():
        videos = read(tree, split)
        assert [video.name for video in videos] == list(clips)
        assert (videos.name, videos.split) == (videos[0].dataset, videos[0].split)
        yield from zip(videos, clips.values(), strict=True)


def test_frames_are_those_that_were_written(tree, rendered):
    for video, clip in pairs(read_rendered_depth, tree, rendered):
        assert (video.size, len(video.frame_names)) == (SIZE[1:], SIZE[0])
        assert np.abs(video.frames().astype(int) - clip.frames).mean() < 4


def test_depth(tree, rendered):
    unknown = 0
    for video, clip in pairs(read_rendered_depth, tree, rendered):
        assert video.labelled == tuple(range(SIZE[0]))
        for t in video.labelled:
            depth = video.depth(t)
            is_sky = ~np.isfinite(clip.depth[t])
            unknown += is_sky.sum()
            assert depth.dtype == np.float32
            np.testing.assert_array_equal(depth[~is_sky], clip.depth[t][~is_sky])
            assert not depth[is_sky].any()
    assert unknown, "one of the clips shows the sky"


def test_depth_of_some_frames(tree):
    for video in read_rendered_depth(tree, "val", labelled=[2, 0]):
        assert video.labelled == (2, 0)
    for wrong in ([], [3], [-1]):
        with pytest.raises(ValueError, match=r"expected labelled frames in 0\.\.2 of val/clip7"):
            read_rendered_depth(tree, "val", labelled=wrong)


def test_cameras_move_standing_points_to_where_they_are_seen(tree, rendered):
    """Two truths of a clip agree: points of the background are lifted from the first frame."""
    followed = 0
    for video, clip in pairs(read_rendered_pose, tree, rendered):
        cameras = video.cameras()
        np.testing.assert_array_equal(cameras.world_to_camera, clip.camera.world_to_camera)
        stands = clip.tracks.objects == -1
        followed += stands.sum()
        pixels, depths = clip.tracks.positions[stands], clip.tracks.depths[stands]
        for t, (pose, numbers) in enumerate(
            zip(cameras.world_to_camera, cameras.intrinsics, strict=True)
        ):
            first, center = cameras.intrinsics[0, :2], cameras.intrinsics[0, 2:]
            slopes = (pixels[:, 0] / SIZE[:0:-1] - center) / first
            seen = np.concatenate([slopes, np.ones((len(slopes), 1))], 1) * depths[:, :1]
            start = cameras.world_to_camera[0]
            world = (seen - start[:, 3]) @ start[:, :3]
            moved = world @ pose[:, :3].T + pose[:, 3]
            shares = numbers[:2] * moved[:, :2] / moved[:, 2:] + numbers[2:]
            np.testing.assert_allclose(shares * SIZE[:0:-1], pixels[:, t], atol=1e-3)
    assert followed > 5


def test_points(tree, rendered):
    for video, clip in pairs(read_rendered_points, tree, rendered):
        truth = video.points()
        assert truth.points.shape == (12, SIZE[0], 2)
        assert truth.labelled.all()
        np.testing.assert_array_equal(truth.visible, clip.tracks.visible)
        pixels = truth.points * SIZE[:0:-1]
        np.testing.assert_allclose(pixels, clip.tracks.positions, atol=1e-4)
        # a point starts in the middle of a pixel: (x + 0.5) / W
        started = np.abs(pixels % 1 - 0.5).max(-1).min(1)
        assert started.max() < 1e-3


def test_boxes(tree, rendered):
    for video, clip in pairs(read_rendered_boxes, tree, rendered):
        truth = video.boxes()
        assert truth.names == tuple(spec.category for spec in clip.scene.objects)
        masks = clip.masks
        np.testing.assert_array_equal(truth.labelled, masks.any(axis=(2, 3)))
        for n, t in np.argwhere(truth.labelled):
            rows, columns = np.nonzero(masks[n, t])
            x0, y0, x1, y1 = truth.boxes_xyxy[n, t] * (*SIZE[:0:-1], *SIZE[:0:-1])
            assert (round(x0), round(x1)) == (columns.min(), columns.max() + 1)
            assert (round(y0), round(y1)) == (rows.min(), rows.max() + 1)


def test_segments(tree, rendered):
    splits = {split: read_rendered_segments(tree, split) for split in SEEDS}
    classes = splits["train"].classes
    assert classes == splits["val"].classes
    assert classes[0] == "background"
    for video, clip in pairs(read_rendered_segments, tree, rendered):
        labels = video.labels(1)
        for k, spec in enumerate(clip.scene.objects):
            shown = set(labels[clip.instances[1] == k + 1].tolist())
            assert shown <= {classes.index(spec.category)}
        assert not labels[clip.instances[1] == 0].any()


def test_actions_are_classes_of_all_splits(rendered, tmp_path):
    clip = rendered["val"]["clip7"]
    write_native([("b", with_scene(clip, action="spin"))], tmp_path, "train")
    write_native(
        [(name, with_scene(clip, action=name)) for name in ("stop", "grow")], tmp_path, "val"
    )
    train, val = (read_rendered_motion(tmp_path, split) for split in ("train", "val"))
    assert train.classes == val.classes == ("grow", "spin", "stop")
    assert [video.label for video in (*train, *val)] == [1, 2, 0]


def test_categories_are_those_of_single_objects(rendered, tmp_path):
    clip = rendered["val"]["clip7"]
    one, two = (clip.scene.objects[k : k + 1] for k in (0, 1))
    clips = [("one", one), ("both", one + two), ("two", two), ("none", ())]
    write_native([(name, with_scene(clip, objects=objects)) for name, objects in clips], tmp_path)
    dataset = read_rendered_category(tmp_path)
    assert [video.name for video in dataset] == ["one", "two"]
    assert [dataset.classes[video.label] for video in dataset] == [
        one[0].category,
        two[0].category,
    ]
    assert dataset.note == "left out 2 clips without exactly one object"


@pytest.mark.parametrize("benchmark", RENDERED_BENCHMARKS, ids=lambda each: each.name)
def test_rendered_trees_are_complete(tmp_path, capsys, benchmark):
    assert PROBE_DATASETS[benchmark.name] is benchmark
    recipe = {"rendered-motion": "motion-type", "rendered-category": "category"}
    words = ["data", "render", recipe.get(benchmark.name, "tracking"), "--layout", "native"]
    small = ["--frames", "2", "--height", "24", "--width", "32", "--count", "2"]
    for split, seed in (("train", "4"), ("val", "8")):
        assert main([*words, *small, "--split", split, "--seed", seed, "-o", str(tmp_path)]) == 0
    assert main(["data", "check", benchmark.name, str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["absent"] == ["test"]
    for split in ("train", "val"):
        found = report["splits"][split]
        assert found["videos"] >= 1
        assert found["frames_found"] == found["frames"] == 2 * found["videos"]


def test_reading_is_lazy_and_damage_is_named(tree, tmp_path, rendered):
    write_native(rendered["val"].items(), tmp_path)
    for path in (*tmp_path.rglob("*.jpg"), *tmp_path.rglob("*.npz")):
        path.write_bytes(b"")
    for benchmark in RENDERED_BENCHMARKS[2:]:
        (video,) = benchmark.read(tmp_path, "train")
        assert len(video.frame_names) == SIZE[0]
        (split,) = check(benchmark, tmp_path).splits.values()
        assert any("cannot be read" in each.what for each in split.problems)
    with pytest.raises(ValueError, match=r"truth.npz is damaged .*; render the clip again"):
        read_rendered_pose(tmp_path)[0].cameras()
    next(tmp_path.rglob("*.npz")).unlink()
    with pytest.raises(ValueError, match=r"truth.npz does not exist; render the clip again"):
        read_rendered_boxes(tmp_path)[0].boxes()


def test_lists_that_do_not_fit_are_refused(tree, tmp_path):
    with pytest.raises(ValueError, match="lists no clip of split 'test', but of train, val; "):
        read_rendered_pose(tree, "test")
    with pytest.raises(ValueError, match="train/clip0 has no action, expected one; render the"):
        read_rendered_motion(tree)
    with pytest.raises(ValueError, match="has one object alone; render the recipe category"):
        read_rendered_category(tree)
    (tmp_path / "rendered.json").write_text('{"clips": {"train/a": {"height": 3}}}')
    with pytest.raises(ValueError, match=r"train/a is no scene \(KeyError"):
        read_rendered_points(tmp_path)
    (tmp_path / "rendered.json").write_text("{}")
    with pytest.raises(ValueError, match=r'lists no clip under "clips", expected'):
        read_rendered_points(tmp_path)
