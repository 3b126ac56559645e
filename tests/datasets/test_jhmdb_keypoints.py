"""Key points of J-HMDB: pixels from 0, splits, holes, damaged files, one real clip."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io

from vdit.datasets.checking import check
from vdit.datasets.jhmdb_keypoints import JHMDB_KEYPOINTS, JOINTS, read_jhmdb_keypoints
from vdit.datasets.synthetic.writers.jhmdb import write_jhmdb
from vdit.metrics.keypoints import keypoint_accuracy, keypoint_distances


def joint_path(root, clip="b", action="roll_left"):
    return root / "joint_positions" / action / clip / "joint_positions.mat"


def problem_of(root, split="test"):
    (problem,) = check(JHMDB_KEYPOINTS, root, split).splits[split].problems
    return problem


@pytest.fixture
def tree(clip, make_clip, tmp_path):
    root = tmp_path / "jhmdb"
    clips = [("b", clip), ("a", make_clip(seed=1, action="jump")), ("c", make_clip(seed=2))]
    write_jhmdb(clips, root, test_names=["b", "a"])
    return root


def test_points_are_pixels_from_zero(tree, clip):
    video = read_jhmdb_keypoints(tree).find("b")
    assert (video.points.shape, video.action) == ((4, 15, 2), "roll_left")
    # the renderer has the middle of the first pixel at (0.5, 0.5), the file at (1, 1)
    true = clip.keypoints.positions[clip.keypoints.objects == 0]
    np.testing.assert_allclose(video.points[:, 0], true[0] - 0.5, atol=1e-5)
    stored = scipy.io.loadmat(joint_path(tree))["pos_img"]
    np.testing.assert_array_equal(video.points.transpose(2, 1, 0), stored - 1)
    np.testing.assert_array_equal(video.frames(), clip.frames)
    assert video.frame_names == ("00001", "00002", "00003", "00004")


def test_splits(tree):
    assert [(v.action, v.name) for v in read_jhmdb_keypoints(tree)] == [
        ("jump", "a"),
        ("roll_left", "b"),
    ]
    assert [v.name for v in read_jhmdb_keypoints(tree.parent, "train")] == ["c"]
    with pytest.raises(ValueError, match=r"holds no list <action>_test_split2\.txt"):
        read_jhmdb_keypoints(tree, fold=2)
    path = tree / "splits" / "roll_left_test_split1.txt"
    path.write_text("b.avi 0 \r\nc.avi 2 \r\n\r\n")
    assert [v.name for v in read_jhmdb_keypoints(tree)] == ["a", "c"]
    assert check(JHMDB_KEYPOINTS, tree, "test").is_complete


def test_reading_is_lazy(tree):
    for path in (*tree.rglob("*.mat"), *tree.rglob("*.png")):
        path.write_bytes(b"")
    assert len(read_jhmdb_keypoints(tree)) == 2


def test_points_outside_of_the_frame(tree):
    positions = np.full((2, 15, 4), 5.0)
    positions[:, 0, 0] = (32.4, 24)  # the last pixel is (32, 24)
    positions[:, 1, 0] = (32.6, 24)
    positions[:, 2, 0] = (1, 0.4)
    scipy.io.savemat(joint_path(tree), {"pos_img": positions})
    visible = read_jhmdb_keypoints(tree).find("b").visible
    assert visible.shape == (4, 15)
    np.testing.assert_array_equal(np.argwhere(~visible), [[0, 1], [0, 2]])


def test_a_clip_of_one_frame(tree):
    scipy.io.savemat(joint_path(tree), {"pos_img": np.ones((2, 15))})
    for number in (2, 3, 4):
        (tree / f"Rename_Images/roll_left/b/{number:05d}.png").unlink()
    assert read_jhmdb_keypoints(tree).find("b").points.shape == (1, 15, 2)


def save(root, **arrays):
    scipy.io.savemat(joint_path(root), arrays)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda r: joint_path(r).unlink(), "does not exist"),
        (lambda r: joint_path(r).write_bytes(b"x" * 200), "cannot be read"),
        (lambda r: joint_path(r).write_bytes(b""), "cannot be read"),
        (lambda r: save(r, pos_world=np.ones((2, 15, 4))), "has no pos_img"),
        (lambda r: save(r, pos_img=np.ones((15, 2, 4))), r"the shape \[15, 2, 4\], expected \[2"),
        (lambda r: save(r, pos_img=np.full((2, 15, 4), np.nan)), "are not finite"),
    ],
)
def test_damaged_key_points(tree, damage, sentence):
    damage(tree)
    problem = problem_of(tree)
    assert (problem.what, problem.count) == ("key points cannot be read", 1)
    with pytest.raises(ValueError, match=sentence):
        _ = read_jhmdb_keypoints(tree).find("b").points


def test_frames_and_key_points_of_different_releases(tree):
    save(tree, pos_img=np.ones((2, 15, 3)))
    assert problem_of(tree).first == ["b: 4 frames, key points of 3"]
    with pytest.raises(ValueError, match="b has key points of 3 frames, but 4 frames"):
        _ = read_jhmdb_keypoints(tree).find("b").points


def test_a_hole_among_the_frames(tree):
    folder = tree / "Rename_Images/roll_left/b"
    (folder / "00002.png").unlink()
    (folder / ".00002.png").touch()
    (folder / "00001 (1).png").touch()
    problem = problem_of(tree)
    assert (problem.what, problem.count) == ("frames are missing", 1)
    assert problem.first[0].endswith("b/00002.png")


def test_mistakes(tree):
    with pytest.raises(ValueError, match="split='val' is unknown"):
        read_jhmdb_keypoints(tree, "val")
    with pytest.raises(ValueError, match="fold=4 is unknown"):
        read_jhmdb_keypoints(tree, fold=4)
    path = tree / "splits" / "jump_test_split1.txt"
    path.write_text("a 2\n")
    with pytest.raises(ValueError, match="line 1 is 'a 2', expected <clip>"):
        read_jhmdb_keypoints(tree)
    assert problem_of(tree).what == "lists cannot be read"
    for path in (tree / "splits").iterdir():
        path.write_text("")
    assert problem_of(tree).what == "lists name no video"


@pytest.mark.assets
def test_a_real_clip(assets, tmp_path):
    source = assets / "jhmdb" / "annotated"
    (joints,) = source.rglob("joint_positions.mat")
    frames = next(path.parent for path in source.rglob("*.png"))
    joint_path(tmp_path, "real", "push").parent.mkdir(parents=True)
    joint_path(tmp_path, "real", "push").symlink_to(joints)
    (tmp_path / "Rename_Images/push").mkdir(parents=True)
    (tmp_path / "Rename_Images/push/real").symlink_to(frames)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/push_test_split1.txt").write_text("real.avi 2 \n")
    assert check(JHMDB_KEYPOINTS, tmp_path, "test").is_complete
    (video,) = read_jhmdb_keypoints(tmp_path)
    assert video.points.shape == (40, len(JOINTS), 2)
    assert (video.points[0].min(), video.points[0].max()) > (0, 50)
    true = video.points.transpose(2, 1, 0)
    np.testing.assert_array_equal(keypoint_accuracy([keypoint_distances(true, true)])[:, -1], 100)


def test_hidden_copies_of_lists_are_no_lists(tree):
    (tree / "splits" / "._jump_test_split1.txt").write_bytes(b"\x00\x05\x16\x07\xff")
    assert [video.name for video in read_jhmdb_keypoints(tree)] == ["a", "b"]
