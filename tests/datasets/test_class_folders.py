from __future__ import annotations

import pytest

from tests.datasets.tiny_files import listed, values_of, write_avi, write_picture
from vdit.cli import main
from vdit.datasets.checking import check
from vdit.datasets.class_folders import CLASS_FOLDERS, read_class_folders
from vdit.datasets.synthetic.writers.folders import write_class_folders


@pytest.fixture
def tree(tmp_path):
    write_avi(tmp_path / "train/run/a b.avi", (40, 80, 120))
    for number in (1, 2, 10):
        write_picture(tmp_path / f"train/run/frames/{number}.png", 10 * number)
    write_picture(tmp_path / "train/walk/one.JPG", 77)
    write_avi(tmp_path / "val/walk/c.MP4", (50, 60))
    write_avi(tmp_path / "val/jump/d.avi", (90,))
    (tmp_path / "train/run/notes.txt").touch()
    (tmp_path / "train/run/.hidden.avi").touch()
    (tmp_path / "train/readme.md").touch()
    return tmp_path


def test_videos_pictures_and_folders_of_frames(tree):
    dataset = read_class_folders(tree, "train")
    assert dataset.classes == ("jump", "run", "walk")  # of all splits
    assert listed(dataset) == [
        ("run/a b.avi", "run"),
        ("run/frames", "run"),
        ("walk/one.JPG", "walk"),
    ]
    clip, frames, picture = dataset
    assert values_of(clip) == pytest.approx([40, 80, 120], abs=3)
    assert frames.frame_names == ("1", "2", "10")
    assert values_of(frames) == [10, 20, 100]
    assert picture.frame_names == ("one",)
    assert values_of(picture) == pytest.approx([77], abs=2)
    assert listed(read_class_folders(tree, "val")) == [
        ("jump/d.avi", "jump"),
        ("walk/c.MP4", "walk"),
    ]


def test_a_tree_without_splits(tree):
    dataset = read_class_folders(tree / "train", "all")
    assert listed(dataset) == [
        ("run/a b.avi", "run"),
        ("run/frames", "run"),
        ("walk/one.JPG", "walk"),
    ]
    report = check(CLASS_FOLDERS, tree / "train")
    assert (list(report.splits), report.absent) == (["all"], ["train", "val", "test"])
    assert report.is_complete
    assert report.splits["all"].frames_found == 7


def test_check_of_all_splits(tree, capsys):
    assert main(["data", "check", "class-folders", str(tree)]) == 0
    out = capsys.readouterr().out
    assert "train: 3 videos, 7 of 7 frames\n  note: 2 of 3 classes have videos\n" in out
    assert "with truth" not in out
    assert "not there, and not asked for: test, all\n" in out


def test_what_is_damaged_is_named(tree, capsys):
    (tree / "train/run/a b.avi").write_bytes(b"")
    (tree / "train/run/empty").mkdir()
    write_picture(tree / "train/run/frames/11.jpg")
    assert len(read_class_folders(tree)) == 4  # nothing is opened
    assert main(["data", "check", "class-folders", str(tree), "--split", "train"]) == 2
    captured = capsys.readouterr()
    assert "folders hold no video: 2" in captured.out
    assert r"several kinds (.jpg, .png)" in captured.out
    assert captured.err.rstrip().endswith("3 problems")  # nobody publishes it


def test_mistakes(tree):
    with pytest.raises(ValueError, match="split='dev' is unknown"):
        read_class_folders(tree, "dev")
    with pytest.raises(ValueError, match="has the splits train, val, not all; choose one of them"):
        read_class_folders(tree, "all")
    with pytest.raises(ValueError, match="holds no folder, expected one for each class"):
        read_class_folders(tree / "val" / "jump", "all")
    with pytest.raises(ValueError, match="cannot be read"):
        read_class_folders(tree / "nowhere", "all")


def test_a_rendered_tree(tmp_path, make_clip):
    write_class_folders([("a", make_clip(0, "roll left"))], tmp_path, "train")
    write_class_folders([("b", make_clip(1, "jump"))], tmp_path, "val")
    assert listed(read_class_folders(tmp_path)) == [("roll_left/a.mp4", "roll_left")]
    assert listed(read_class_folders(tmp_path, "val")) == [("jump/b.mp4", "jump")]
    assert check(CLASS_FOLDERS, tmp_path).is_complete


@pytest.mark.assets
def test_real_clips_of_jhmdb(assets):
    root = assets / "jhmdb" / "clips"
    dataset = read_class_folders(root, "all")
    assert (len(dataset), len(dataset.classes)) == (42, 21)
    assert [sum(v.label == k for v in dataset) for k in range(21)] == [2] * 21
    report = check(CLASS_FOLDERS, root)
    assert report.is_complete
    assert report.splits["all"].frames_found == 1095
    for video in dataset[:3]:
        count = len(video.frame_names)
        assert video.frames([0, count // 2, count - 1]).shape == (3, 240, 320, 3)
