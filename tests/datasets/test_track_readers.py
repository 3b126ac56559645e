"""TAP-Vid, Perception Test and Waymo boxes: what was written comes back; damage is told."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest

from tests.track_trees import (
    jpegs,
    make_squares,
    tap_vid_entry,
    write_perception_test,
    write_tap_vid_davis,
    write_tap_vid_kinetics,
    write_tap_vid_rgb_stacking,
    write_waymo,
)
from vdit.cli import main
from vdit.datasets.checking import check
from vdit.datasets.perception_test import (
    PERCEPTION_TEST_BOXES,
    PERCEPTION_TEST_POINTS,
    read_perception_test_boxes,
    read_perception_test_points,
)
from vdit.datasets.tap_vid import (
    TAP_VID_DAVIS,
    TAP_VID_KINETICS,
    read_tap_vid_davis,
    read_tap_vid_kinetics,
    read_tap_vid_rgb_stacking,
)
from vdit.datasets.waymo_boxes import WAYMO_BOXES, read_waymo_boxes


@pytest.fixture(scope="module")
def clips():
    return {name: make_squares(seed) for seed, name in enumerate(["goat", "car", "bus"])}


def assert_points(video, squares, tolerance=1e-6):
    truth = video.points()
    np.testing.assert_array_equal(truth.visible, squares.seen)
    assert truth.labelled.all()
    np.testing.assert_allclose(truth.points[truth.visible], squares.points[squares.seen],
                               atol=tolerance)  # fmt: skip


def problems(benchmark, root, split):
    return {p.what: p.first for p in check(benchmark, root, split).splits[split].problems}


# ---- TAP-Vid -----------------------------------------------------------------------------------


def test_tap_vid_davis(tmp_path, clips):
    write_tap_vid_davis(tmp_path, clips)
    for root in (tmp_path, tmp_path / "tapvid_davis"):
        dataset = read_tap_vid_davis(root)
        assert [video.name for video in dataset] == list(clips)
    for name, squares in clips.items():
        video = dataset.find(name)
        np.testing.assert_array_equal(video.frames([3, 0]), squares.frames[[3, 0]])
        assert (video.size, video.frame_names[:2]) == ((32, 48), ("00001", "00002"))
        assert_points(video, squares)


def test_tap_vid_rgb_stacking(tmp_path, clips):
    write_tap_vid_rgb_stacking(tmp_path, list(clips.values()))
    dataset = read_tap_vid_rgb_stacking(tmp_path)
    assert [video.name for video in dataset] == ["0000", "0001", "0002"]
    for video, squares in zip(dataset, clips.values(), strict=True):
        np.testing.assert_array_equal(video.frames(), squares.frames)
        assert_points(video, squares)


def test_tap_vid_kinetics(tmp_path, clips):
    write_tap_vid_kinetics(tmp_path, list(clips.values()))
    dataset = read_tap_vid_kinetics(tmp_path)
    assert [video.name for video in dataset] == ["0000/0000", "0000/0001", "0001/0000"]
    for video, squares in zip(dataset, np.array(list(clips.values()))[[0, 2, 1]], strict=True):
        error = video.frames([1, 5, 1]).astype(int) - squares.frames[[1, 5, 1]]
        assert np.abs(error).mean() < 4  # JPEG
        assert_points(video, squares)
    (tmp_path / "tapvid_kinetics/0000_of_0002.pkl").unlink()
    with pytest.raises(ValueError, match=r"lacks 0000_of_0002\.pkl, one of 2 shards"):
        read_tap_vid_kinetics(tmp_path)


def test_videos_to_learn_from_are_those_of_perception_test(tmp_path, clips):
    write_tap_vid_davis(tmp_path, clips)
    write_perception_test(tmp_path / "pt", clips, "train", "train.json")
    dataset = read_tap_vid_davis(tmp_path, "train", perception_test=tmp_path / "pt")
    assert (dataset.name, dataset.note) == ("tap-vid-davis", "perception-test-points train")
    assert_points(dataset[0], clips["goat"])
    write_perception_test(tmp_path / "b/perception_test", clips, "train", "train.json")
    assert len(read_tap_vid_davis(tmp_path / "b", "train")) == 3
    with pytest.raises(ValueError, match=r"pass data\.options\.perception_test=ROOT"):
        read_tap_vid_davis(tmp_path, "train")
    with pytest.raises(ValueError, match="split='val' is unknown"):
        read_tap_vid_davis(tmp_path, "val")


def without(entry, key):
    return {name: value for name, value in entry.items() if name != key}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda e: without(e, "occluded"), "lacks video, points or occluded"),
        (lambda e: e | {"points": [1, 2]}, "are no arrays"),
        (lambda e: e | {"video": e["video"].astype(float)}, "expected frames .* of uint8"),
        (lambda e: e | {"video": [1, 2]}, "neither an array nor encoded pictures"),
        (lambda e: e | {"video": os.mkdir}, "which is not run"),
    ],
)
def test_damaged_entries(tmp_path, clips, change, sentence):
    path = tmp_path / "tapvid_davis.pkl"
    path.write_bytes(pickle.dumps({"goat": change(tap_vid_entry(clips["goat"]))}))
    with pytest.raises(ValueError, match=sentence):
        read_tap_vid_davis(tmp_path)
    assert list(problems(TAP_VID_DAVIS, tmp_path, "test")) == ["lists cannot be read"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda e: e | {"points": e["points"][:1]}, r"points \[1, 6, 2\] and occluded \[2, 6\]"),
        (lambda e: e | {"points": e["points"] * np.nan}, "seen and not finite"),
        (lambda e: e | {"video": e["video"][:5]}, "has points of 6 frames, but 5 frames"),
    ],
)
def test_damaged_points(tmp_path, clips, change, sentence):
    path = tmp_path / "tapvid_davis.pkl"
    path.write_bytes(pickle.dumps({"goat": change(tap_vid_entry(clips["goat"]))}))
    with pytest.raises(ValueError, match=sentence):
        read_tap_vid_davis(tmp_path)[0].points()
    assert list(problems(TAP_VID_DAVIS, tmp_path, "test")) == ["points cannot be read"]


def test_damaged_pictures_of_kinetics(tmp_path, clips):
    frames = jpegs(clips["goat"].frames)
    frames[2] = b"no picture"
    frames[4] = jpegs(make_squares(0, height=40).frames)[0]
    path = tmp_path / "0000_of_0001.pkl"
    path.write_bytes(pickle.dumps([tap_vid_entry(clips["goat"], frames)]))
    video = read_tap_vid_kinetics(tmp_path)[0]
    assert video.frames([0, 1, 3, 5]).shape == (4, 32, 48, 3)
    for index, sentence in ((2, "is no picture"), (4, "is 48x40, but the first one 48x32")):
        with pytest.raises(ValueError, match=sentence):
            video.frames([index])
    found = problems(TAP_VID_KINETICS, tmp_path, "test")
    assert len(found["frames cannot be read as pictures"]) == 2


# ---- Perception Test ---------------------------------------------------------------------------


def test_perception_test_points(tmp_path, clips):
    write_perception_test(tmp_path, clips, "valid", "point_tracking_valid.json")
    dataset = read_perception_test_points(tmp_path)
    assert [video.name for video in dataset] == list(clips)
    for name, squares in clips.items():
        video = dataset.find(name)
        assert (len(video.frame_names), video.size) == (6, (32, 48))
        error = video.frames([1, 4]).astype(int) - squares.frames[[1, 4]]
        assert np.abs(error).mean() < 6  # a coded video
        assert_points(video, squares)


def test_perception_test_boxes(tmp_path, clips):
    write_perception_test(tmp_path, clips, "train", "all_train.json")
    for every_frame in (False, True):
        dataset = read_perception_test_boxes(tmp_path, "train", every_frame=every_frame)
        for name, squares in clips.items():
            video = dataset.find(name)
            kept = np.arange(0, 6, 1 if every_frame else 2)
            assert video.frame_names == tuple(f"{t:05d}" for t in kept)
            truth = video.boxes()
            assert truth.names == ("square 0", "square 1")
            np.testing.assert_array_equal(truth.labelled, squares.seen[:, kept] & (kept % 2 == 0))
            found, expected = truth.boxes_xyxy, squares.boxes[:, kept]
            np.testing.assert_allclose(found[truth.labelled], expected[truth.labelled])
            error = video.frames([1]).astype(int) - squares.frames[kept[1]]
            assert np.abs(error).mean() < 6


def test_boxes_before_tracking_starts_are_left_out(tmp_path, clips):
    write_perception_test(tmp_path, clips, "train", "train.json")
    content = json.loads((tmp_path / "train.json").read_text())
    content["goat"]["object_tracking"][0]["initial_tracking_box"] = [0, 1, 0]
    (tmp_path / "train.json").write_text(json.dumps(content))
    labelled = read_perception_test_boxes(tmp_path, "train").find("goat").boxes().labelled
    np.testing.assert_array_equal(labelled[0], [False, True, True])


def test_only_videos_of_the_split_with_tracks(tmp_path, clips):
    write_perception_test(tmp_path, clips, "valid", "sample.json")
    content = json.loads((tmp_path / "sample.json").read_text())
    content["goat"]["point_tracking"] = []
    content["car"]["metadata"]["split"] = "train"
    (tmp_path / "sample.json").write_text(json.dumps(content))
    dataset = read_perception_test_points(tmp_path, annotations="sample.json")
    assert [video.name for video in dataset] == ["bus"]
    content["bus"]["point_tracking"] = []
    (tmp_path / "sample.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="has no point_tracking of the split valid"):
        read_perception_test_points(tmp_path, annotations="sample.json")
    with pytest.raises(ValueError, match="the truth of the test split is not public"):
        read_perception_test_points(tmp_path, "test")
    with pytest.raises(ValueError, match=r"point_tracking_train\.json does not exist"):
        read_perception_test_points(tmp_path, "train")


@pytest.mark.parametrize(
    ("task", "change", "sentence"),
    [
        ("point_tracking", {"points": [[0.1, 0.2]]}, r"\[1, 2\], expected a row of y and a row"),
        ("point_tracking", {"frame_ids": [0, 99]}, "frames 0 to 99, but the video has 6"),
        ("point_tracking", {"frame_ids": [3, 2]}, "do not rise"),
        ("point_tracking", {"points": [["a"]]}, "lacks frame_ids or points"),
        ("object_tracking", {"bounding_boxes": [[0.1, 0.2]]}, r"has boxes \[1, 2\], expected"),
        ("object_tracking", {"initial_tracking_box": [0, 0]}, "no single box that its tracking"),
    ],
)
def test_damaged_annotations(tmp_path, clips, task, change, sentence):
    write_perception_test(tmp_path, {"goat": clips["goat"]}, "train", "train.json")
    content = json.loads((tmp_path / "train.json").read_text())
    content["goat"][task][1] |= change
    (tmp_path / "train.json").write_text(json.dumps(content))
    points = task == "point_tracking"
    with pytest.raises(ValueError, match=sentence):
        (read_perception_test_points if points else read_perception_test_boxes)(tmp_path, "train")
    benchmark = PERCEPTION_TEST_POINTS if points else PERCEPTION_TEST_BOXES
    assert list(problems(benchmark, tmp_path, "train")) == ["lists cannot be read"]


def test_videos_that_differ_from_their_annotations(tmp_path, clips):
    write_perception_test(tmp_path, clips, "train", "train.json")
    content = json.loads((tmp_path / "train.json").read_text())
    content["goat"]["metadata"]["num_frames"] = 7
    content["car"]["metadata"]["resolution"] = [48, 32]
    (tmp_path / "train.json").write_text(json.dumps(content))
    (tmp_path / "videos/bus.mp4").unlink()
    found = problems(PERCEPTION_TEST_POINTS, tmp_path, "train")
    assert len(found["videos differ from what their annotations say"]) == 2
    assert len(found["videos are missing"]) == 1
    with pytest.raises(ValueError, match="is 48x32, but its annotation says 32x48"):
        read_perception_test_points(tmp_path, "train").find("car").frames([0])


# ---- Waymo -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_waymo_boxes(tmp_path, clips, suffix):
    write_waymo(tmp_path, clips, "validation", suffix=suffix)
    write_waymo(tmp_path, clips, "validation", camera="SIDE_LEFT", suffix=suffix)
    dataset = read_waymo_boxes(tmp_path)
    assert [video.name for video in dataset] == ["bus/FRONT", "car/FRONT", "goat/FRONT"]
    for name, squares in clips.items():
        video = dataset.find(f"{name}/FRONT")
        error = video.frames([1]).astype(int) - squares.frames[1]
        assert np.abs(error).mean() < (6 if suffix == ".jpg" else 1e-9)
        truth = video.boxes()
        np.testing.assert_array_equal(truth.labelled, squares.seen)
        np.testing.assert_allclose(truth.boxes_xyxy[truth.labelled], squares.boxes[squares.seen])
    both = read_waymo_boxes(tmp_path, cameras=("FRONT", "SIDE_LEFT"))
    assert [video.name for video in both][:2] == ["bus/FRONT", "bus/SIDE_LEFT"]
    with pytest.raises(ValueError, match="expected cameras among FRONT"):
        read_waymo_boxes(tmp_path, cameras=("BACK",))
    with pytest.raises(ValueError, match="holds no segment"):
        read_waymo_boxes(tmp_path, "training")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"frames": [0, 17], "boxes": [[1, 1, 1, 1]] * 2}, "frame 17, of which there is no pic"),
        ({"frames": [0]}, "1 frames and"),
        ({"frames": [0], "boxes": [[1, 1, -1, 1]]}, "negative side"),
        ({"boxes": None}, "has not the form of camera boxes"),
    ],
)
def test_damaged_boxes_of_waymo(tmp_path, clips, change, sentence):
    write_waymo(tmp_path, {"goat": clips["goat"]}, "training")
    path = tmp_path / "training/goat/FRONT.json"
    content = json.loads(path.read_text())
    content["objects"][1] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=sentence):
        read_waymo_boxes(tmp_path, "training")[0].boxes()
    assert list(problems(WAYMO_BOXES, tmp_path, "training")) == ["boxes cannot be read"]


def test_a_hole_among_the_pictures(tmp_path, clips):
    write_waymo(tmp_path, {"goat": clips["goat"]}, "training")
    (tmp_path / "training/goat/FRONT/0002.png").unlink()
    assert list(problems(WAYMO_BOXES, tmp_path, "training")) == ["frames are missing"]


# ---- the command -------------------------------------------------------------------------------


def test_the_command_finds_whole_trees(tmp_path, clips, capsys):
    write_tap_vid_davis(tmp_path, clips)
    write_tap_vid_rgb_stacking(tmp_path, list(clips.values()))
    write_tap_vid_kinetics(tmp_path, list(clips.values()))
    write_perception_test(tmp_path, clips, "valid", "valid.json")
    write_waymo(tmp_path, clips, "training")
    for name, counts in {
        "tap-vid-davis": "test: 3 videos, 18 of 18 frames, 18 with truth",
        "tap-vid-rgb-stacking": "test: 3 videos, 18 of 18 frames, 18 with truth",
        "tap-vid-kinetics": "test: 3 videos, 18 of 18 frames, 18 with truth",
        "perception-test-points": "valid: 3 videos, 18 of 18 frames, 18 with truth",
        "perception-test-boxes": "valid: 3 videos, 9 of 9 frames, 9 with truth",
        "waymo-boxes": "training: 3 videos, 18 of 18 frames, 18 with truth",
    }.items():
        assert main(["data", "check", name, str(tmp_path)]) == 0
        assert counts in capsys.readouterr().out
