"""RealEstate10K: cameras as published, frames by their timestamps, clips without frames."""

from __future__ import annotations

import numpy as np
import pytest

from vdit.datasets.checking import check
from vdit.datasets.realestate10k import REALESTATE10K, read_realestate10k
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.realestate10k import write_realestate10k

SIZE = (3, 24, 40)


@pytest.fixture(scope="module")
def moving():
    return render(make_scene("camera", 2, *SIZE), num_tracks=4)


@pytest.fixture
def tree(moving, clip, tmp_path):
    root = tmp_path / "RealEstate10K"
    write_realestate10k([("b0", moving), ("a1", clip)], root, "test")
    return root


def problem_of(root):
    (problem,) = check(REALESTATE10K, root, "test").splits["test"].problems
    return problem


def test_cameras_are_those_that_were_written(tree, moving):
    dataset = read_realestate10k(tree.parent)
    assert [video.name for video in dataset] == ["a1", "b0"]
    video = dataset.find("b0")
    cameras = video.cameras()
    np.testing.assert_allclose(cameras.world_to_camera, moving.camera.world_to_camera, atol=1e-9)
    focal = moving.camera.intrinsics[:, 0, 0]
    expected = np.stack([focal / 40, focal / 24, 0 * focal + 0.5, 0 * focal + 0.5], axis=1)
    np.testing.assert_allclose(cameras.intrinsics, expected, atol=1e-9)
    assert video.frame_names == ("52000000", "52083333", "52166667")
    assert video.size == SIZE[1:]
    assert np.abs(video.frames([2])[0].astype(int) - moving.frames[2]).mean() < 4


def test_a_published_line(tree):
    """One of the published files, as far as its form goes: 9 digits, a matrix row by row."""
    numbers = "0.469 0.834 0.5 0.5 0 0 1 2 3 4 5 6 7 8 9 10 11 12"
    (tree / "test" / "a1.txt").write_text(f"https://www.youtube.com/watch?v=x\n\n77 {numbers}\n")
    cameras = read_realestate10k(tree)[0].camera_source.read_cameras()
    np.testing.assert_array_equal(cameras.intrinsics, [[0.469, 0.834, 0.5, 0.5]])
    np.testing.assert_array_equal(cameras.world_to_camera[0], np.arange(1, 13).reshape(3, 4))


def test_whole_trees_are_complete(tree):
    report = check(REALESTATE10K, tree)
    assert report.is_complete
    assert report.absent == ["train"]
    found = report.splits["test"]
    assert (found.videos, found.frames, found.frames_found, found.labelled) == (2, 7, 7, 7)


def test_reading_is_lazy(tree):
    for path in (*tree.rglob("*.jpg"), *tree.rglob("*.txt")):
        path.write_bytes(b"")
    assert len(read_realestate10k(tree)) == 2


def test_clips_without_frames_are_left_out_and_counted(tree):
    (tree / "test" / "c2.txt").write_text("https://www.youtube.com/watch?v=gone\n")
    dataset = read_realestate10k(tree)
    assert [video.name for video in dataset] == ["a1", "b0"]
    assert dataset.note == "frames of 1 of 3 clips are not there"
    report = check(REALESTATE10K, tree)
    assert report.is_complete
    assert dataset.note in report.splits["test"].notes


def test_damage_is_named(tree):
    path = tree / "test" / "b0.txt"
    whole = path.read_text()
    (tree / "test" / "b0" / "52083333.jpg").unlink()
    assert problem_of(tree).what == "frames are missing"
    (tree / "test" / "b0" / "52083333.jpg").write_bytes(
        (tree / "test" / "b0" / "52000000.jpg").read_bytes()
    )
    for damaged, message in (
        (whole[:-30], r"line 4 has \d+ words, expected a timestamp and 18 numbers"),
        (whole.replace("52166667", "52000001"), "timestamps do not grow"),
        (whole.splitlines()[0], "lists no frame"),
        (whole.replace(" 0.5", " x.5", 1), "holds a word that is no number"),
        (whole.replace(" 0.5", " nan 0.5", 1).replace(" 0.000000000", "", 1), "NaN or infinity"),
    ):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=message):
            read_realestate10k(tree).find("b0").cameras()
        assert not check(REALESTATE10K, tree).is_complete


def test_wrong_roots_are_refused(tree):
    with pytest.raises(ValueError, match="split='val' is unknown, expected one of train, test"):
        read_realestate10k(tree, "val")
    with pytest.raises(ValueError, match=r"holds no <clip>\.txt"):
        read_realestate10k(tree, "train")
    (tree / "train").mkdir()
    (tree / "train" / "a.txt").write_text("https://www.youtube.com/watch?v=x\n")
    with pytest.raises(ValueError, match=r"lists 1 clips without frames, expected a/<timestamp>"):
        read_realestate10k(tree, "train")
