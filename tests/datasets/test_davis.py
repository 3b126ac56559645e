"""DAVIS 2017 and 2016: labels of both tasks, void, lists of frames, damaged trees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from vdit.datasets.checking import check
from vdit.datasets.davis import (
    DAVIS_2016,
    DAVIS_2017,
    DAVIS_2017_UNSUPERVISED,
    read_davis,
    read_davis_2016,
)
from vdit.datasets.synthetic.writers.davis import (
    write_davis,
    write_davis_2016,
    write_davis_unsupervised,
)


def mask_path(root, t=0, sequence="s1"):
    return root / "Annotations/480p" / sequence / f"{t:05d}.png"


def problem_of(root, split="val", benchmark=DAVIS_2017):
    (problem,) = check(benchmark, root, split).splits[split].problems
    return problem


@pytest.fixture
def tree(clip, make_clip, tmp_path):
    root = tmp_path / "DAVIS"
    write_davis([("s2", clip), ("s1", make_clip(seed=1))], root)
    return root


def test_labels_are_those_that_were_written(clip, tree):
    dataset = read_davis(tree)
    assert [video.name for video in dataset] == ["s2", "s1"]
    video = dataset.find("s2")
    assert (video.size, video.labelled, video.frame_names[2]) == ((24, 32), (0, 1, 2, 3), "00002")
    for t in video.labelled:
        labels = video.labels(t)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, clip.instances[t])
    np.testing.assert_array_equal(video.first_labels, clip.instances[0])
    assert np.abs(video.frames([1])[0].astype(int) - clip.frames[1]).mean() < 4
    np.testing.assert_array_equal(np.stack(list(video.stream())), video.frames())
    assert check(DAVIS_2017, tree.parent).is_complete  # the folder that holds DAVIS


def test_reading_is_lazy(tree):
    for path in (*tree.rglob("*.jpg"), *tree.rglob("*.png")):
        path.write_bytes(b"")
    assert len(read_davis(tree)[0].frame_names) == 4


def test_only_the_first_frame_of_test_dev_is_labelled(clip, tmp_path):
    write_davis([("s", clip)], tmp_path, "test-dev")
    (video,) = read_davis(tmp_path, "test-dev")
    assert (video.labelled, len(video.frame_names)) == ((0,), 4)
    np.testing.assert_array_equal(video.first_labels, clip.instances[0])
    with pytest.raises(ValueError, match="s has no labels of frame 2, only of 0; ask for these"):
        video.labels(2)
    report = check(DAVIS_2017, tmp_path).splits["test-dev"]
    assert (report.frames, report.labelled, report.problems) == (4, 1, [])


def test_unsupervised_labels_have_void(clip, tree):
    write_davis_unsupervised([("s2", clip)], tree)
    supervised = read_davis(tree).find("s2")
    (video,) = read_davis(tree, task="unsupervised")
    labels = video.labels(1)
    assert (labels[0] == 255).all()
    assert (labels[:, -1] == 255).all()
    np.testing.assert_array_equal(labels[1:-1, 1:-1], supervised.labels(1)[1:-1, 1:-1])
    assert check(DAVIS_2017_UNSUPERVISED, tree).is_complete
    with pytest.raises(ValueError, match=r"'test-dev' is unknown, .* for the unsupervised task"):
        read_davis(tree, "test-dev", task="unsupervised")


def test_one_foreground(clip, tmp_path):
    write_davis_2016([("s", clip)], tmp_path)
    (video,) = read_davis_2016(tmp_path)
    np.testing.assert_array_equal(video.labels(1), clip.instances[1] > 0)
    assert check(DAVIS_2016, tmp_path).is_complete
    (tmp_path / "ImageSets/2017").mkdir()
    (tmp_path / "ImageSets/2017/val.txt").write_text("s\n")
    with pytest.raises(ValueError, match="only 0 and 255 in gray"):
        _ = read_davis(tmp_path)[0].first_labels


def test_listed_frames_are_missed(clip, tmp_path):
    write_davis_2016([("s", clip)], tmp_path)
    mask_path(tmp_path, 3, "s").unlink()
    (tmp_path / "JPEGImages/480p/s/00003.jpg").unlink()
    assert len(read_davis_2016(tmp_path)[0].frame_names) == 4
    found = {p.what for p in check(DAVIS_2016, tmp_path).splits["val"].problems}
    assert found == {"frames are missing", "masks are missing"}


@pytest.mark.parametrize("has_list", [True, False])
def test_objects_of_2017_become_one_foreground(clip, tree, has_list):
    if has_list:
        (tree / "ImageSets/2016").mkdir()
        (tree / "ImageSets/2016/val.txt").write_text("s1\r\ns2\r\n")
    dataset = read_davis_2016(tree, "val" if has_list else "all")
    assert [video.name for video in dataset] == ["s1", "s2"]
    np.testing.assert_array_equal(dataset.find("s2").labels(0), clip.instances[0] > 0)
    assert list(check(DAVIS_2016, tree).splits) == ["val" if has_list else "all"]


def paint(path, labels, palette=True):
    picture = Image.fromarray(labels)
    if palette:
        picture.putpalette(bytes(range(256)) * 3)
    picture.save(path)


@pytest.mark.parametrize(
    ("damage", "what", "sentence"),
    [
        (lambda r: mask_path(r).unlink(), "masks are missing", "does not exist"),
        (
            lambda r: paint(mask_path(r), np.zeros((24, 32), np.uint8)),
            "first labels show no object",
            None,
        ),
        (
            lambda r: paint(mask_path(r), np.full((24, 32), 255, np.uint8)),
            "first labels show no object",
            None,
        ),
        (
            lambda r: paint(mask_path(r), np.full((24, 32), 255, np.uint8), palette=False),
            "masks hold 0 and 255, expected a palette of object ids",
            "only 0 and 255 in gray",
        ),
        (
            lambda r: paint(mask_path(r), np.ones((24, 32), np.uint16), palette=False),
            "masks are in color, expected a palette of object ids",
            "16 bits a pixel, expected 8",
        ),
        (
            lambda r: [paint(mask_path(r, t), np.ones((12, 16), np.uint8)) for t in range(4)],
            "masks differ in size from the frames",
            "is 16x12, but its frame is 32x24",
        ),
        (
            lambda r: mask_path(r).write_bytes(mask_path(r).read_bytes()[:-60]),
            "masks cannot be read as pictures",
            "is no picture",
        ),
    ],
)
def test_damage_is_found(tree, damage, what, sentence):
    damage(tree)
    problem = problem_of(tree)
    assert (problem.what, problem.count) == (what, 1)
    if sentence:
        with pytest.raises(ValueError, match=sentence):
            _ = read_davis(tree).find("s1").first_labels


def test_missing_frames_are_noticed_without_a_list_of_frames(tree):
    (tree / "JPEGImages/480p/s1/00002.jpg").unlink()
    assert problem_of(tree).what == "frames are missing"
    with pytest.raises(ValueError, match=r"00002.jpg does not exist"):
        read_davis(tree).find("s1").frames()


def test_a_sequence_without_a_folder(tree):
    (tree / "ImageSets/2017/val.txt").write_text("s1\ns3\n")
    found = {p.what for p in check(DAVIS_2017, tree).splits["val"].problems}
    assert found == {"videos have no frames", "videos have no labels"}
    with pytest.raises(ValueError, match="s3 has no labelled frame"):
        _ = read_davis(tree).find("s3").first_labels


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "names no sequence"), ("s1 s2 s1", "names s1 twice")],
)
def test_broken_lists(tree, text, sentence):
    (tree / "ImageSets/2017/val.txt").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_davis(tree)
    assert sentence in problem_of(tree).first[0]


def test_broken_lists_of_frames(clip, tmp_path):
    write_davis_2016([("s", clip)], tmp_path)
    path = tmp_path / "ImageSets/480p/val.txt"
    path.write_text("s\n")
    with pytest.raises(ValueError, match="line 1 is 's', expected /JPEGImages"):
        read_davis_2016(tmp_path)
    path.write_text("\n")
    with pytest.raises(ValueError, match="names no frame"):
        read_davis_2016(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=r"ImageSets/2016/val.txt does not exist"):
        read_davis_2016(tmp_path)


def test_mistakes(tree, tmp_path):
    with pytest.raises(ValueError, match="split='valid' is unknown, expected one of train, val"):
        read_davis(tree, "valid")
    with pytest.raises(ValueError, match="task='interactive' is unknown"):
        read_davis(tree, task="interactive")
    with pytest.raises(ValueError, match="split='test' is unknown"):
        read_davis_2016(tree, "test")
    with pytest.raises(ValueError, match="holds no sequence"):
        read_davis_2016(tmp_path / "nothing", "all")
    with pytest.raises(ValueError, match="has no video 's9'"):
        read_davis(tree).find("s9")
    video = read_davis(tree)[0]
    with pytest.raises(ValueError, match="frame 4 is not in s2 of 4 frames"):
        video.frames([4])
    with pytest.raises(ValueError, match="no frame of s2 was asked for"):
        video.frames([])


@pytest.mark.assets
def test_real_foreground(assets):
    dataset = read_davis_2016(assets / "davis", "all")
    assert len(dataset) == 7
    report = check(DAVIS_2016, assets / "davis").splits["all"]
    assert not report.problems
    assert report.frames == report.frames_found == report.labelled
    labels = dataset.find("blackswan").labels(49)
    assert labels.shape == (480, 854)
    assert set(np.unique(labels)) == {0, 1}


@pytest.mark.assets
def test_real_void(assets, tree):
    tennis = assets / "davis_multi" / "tennis"
    names = tuple(path.stem for path in sorted((tennis / "Annotations").glob("*.png")))
    video = read_davis(tree)[0]
    source = dataclasses.replace(video.label_source, folder=tennis / "Annotations", names=names)
    frames = dataclasses.replace(video.frame_source, folder=tennis / "JPEGImages", names=names)
    real = dataclasses.replace(video, frame_source=frames, label_source=source, labelled=(0, 1))
    assert {0, 1, 2} <= set(np.unique(real.labels(0))) <= {0, 1, 2, 255}
    assert any(255 in real.labels(t) for t in (0, 1))
