"""Youtube-Similar: which videos are picked, lists, late objects, damaged trees."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from vdit.datasets.checking import check
from vdit.datasets.synthetic.writers.ref_youtube_vos import write_youtube_vos
from vdit.datasets.youtube_similar import YOUTUBE_SIMILAR, find_similar, read_youtube_similar


def change_meta(root, edit):
    path = root / "train" / "meta.json"
    meta = json.loads(path.read_text())
    edit(meta["videos"])
    path.write_text(json.dumps(meta))


@pytest.fixture
def tree(clip, make_clip, tmp_path):
    """Each video has a ball and two cubes, one of which leaves."""
    names = ("d", "a", "c", "b")
    write_youtube_vos([(name, make_clip(seed=s)) for s, name in enumerate(names)], tmp_path)
    return tmp_path


def test_labels_are_those_that_were_written(tree, clip):
    dataset = read_youtube_similar(tree)
    assert [video.name for video in dataset] == ["a", "b", "c", "d"]
    video = dataset.find("d")
    assert video.frame_names == ("00000", "00005", "00010", "00015")
    assert video.labelled == (0, 1, 2, 3)
    for t in video.labelled:
        np.testing.assert_array_equal(video.labels(t), clip.instances[t])
    assert dataset.note.startswith("picked 4 of 4 videos with several objects of one category")
    report = check(YOUTUBE_SIMILAR, tree)
    assert report.is_complete
    assert report.splits["train"].notes == [dataset.note]
    assert report.splits["train"].labelled == 16


def test_the_rule():
    everywhere, late = ("00000", "00005"), ("00005",)
    meta = {
        "two": {"1": ("dog", everywhere), "2": ("dog", everywhere)},
        "alone": {"1": ("dog", everywhere), "2": ("cat", everywhere)},
        "late": {"1": ("dog", everywhere), "2": ("dog", late)},
        "both late": {"1": ("dog", late), "2": ("dog", late)},
        "and a third": {"1": ("cat", everywhere), "2": ("ape", everywhere), "3": ("cat", late)},
        "a pair of three": {"1": ("cat", late), "2": ("ape", everywhere), "3": ("ape", everywhere)},
        "none": {},
    }
    assert find_similar(meta) == ["a pair of three", "both late", "two"]


def test_the_draw_does_not_depend_on_the_other_videos(tree):
    everything = [video.name for video in read_youtube_similar(tree, count=None)]
    two = [video.name for video in read_youtube_similar(tree, count=2)]
    assert set(two) < set(everything)
    (dropped,) = set(everything) - {v.name for v in read_youtube_similar(tree, count=3)}
    change_meta(tree, lambda videos: videos.pop(dropped))
    dataset = read_youtube_similar(tree, count=2)
    assert [video.name for video in dataset] == two
    assert dataset.note.startswith("picked 2 of 3 videos")
    assert "of 3 in all" in dataset.note


def test_a_list(tree):
    (tree / "mine.txt").write_text("d\nb\n")
    dataset = read_youtube_similar(tree, list_file=str(tree / "mine.txt"))
    assert [video.name for video in dataset] == ["d", "b"]
    assert dataset.note == "2 videos of mine.txt"
    (tree / "youtube_similar.txt").write_text("c\n")
    assert [video.name for video in read_youtube_similar(tree)] == ["c"]
    for text, sentence in (("", "no video"), ("c z", "names z, which"), ("c c", "a video twice")):
        (tree / "youtube_similar.txt").write_text(text)
        with pytest.raises(ValueError, match=sentence):
            read_youtube_similar(tree)


def test_frames_before_the_first_object_have_no_labels(clip, tmp_path):
    instances = clip.instances.copy()
    instances[0] = 0
    write_youtube_vos([("v", dataclasses.replace(clip, instances=instances))], tmp_path)
    change_meta(
        tmp_path,
        lambda videos: [each["frames"].remove("00000") for each in videos["v"]["objects"].values()
                        if "00000" in each["frames"]],
    )  # fmt: skip
    (video,) = read_youtube_similar(tmp_path)
    assert (len(video.frame_names), video.labelled) == (4, (1, 2, 3))
    np.testing.assert_array_equal(video.first_labels, clip.instances[1])
    assert check(YOUTUBE_SIMILAR, tmp_path).is_complete


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("JPEGImages/c/00010.jpg", "frames are missing"),
        ("Annotations/c/00010.png", "masks are missing"),
    ],
)
def test_missing_pictures(tree, path, what):
    (tree / "train" / path).unlink()
    (problem,) = check(YOUTUBE_SIMILAR, tree).splits["train"].problems
    assert (problem.what, problem.count) == (what, 1)


def test_mistakes(tree):
    with pytest.raises(ValueError, match="youtube-similar has only 'train'"):
        read_youtube_similar(tree, "valid")
    with pytest.raises(ValueError, match="expected count >= 1, got 0"):
        read_youtube_similar(tree, count=0)
    change_meta(tree, lambda videos: [v["objects"].pop("1") for v in videos.values()])
    with pytest.raises(ValueError, match=r"none of the 4 videos of .* has several objects"):
        read_youtube_similar(tree)
    change_meta(tree, lambda videos: videos["a"]["objects"]["2"].pop("category"))
    with pytest.raises(ValueError, match="video a has not the form"):
        read_youtube_similar(tree)
    (tree / "train/meta.json").write_text("{}")
    with pytest.raises(ValueError, match="lists no video"):
        read_youtube_similar(tree)


def test_frames_between_the_labelled_ones_carry_no_labels(tree, clip):
    """As in train_all_frames, whose masks are those of every fifth frame."""
    folder = tree / "train" / "JPEGImages" / "d"
    for name in ("00001", "00007"):
        (folder / f"{name}.jpg").write_bytes((folder / "00000.jpg").read_bytes())
    video = read_youtube_similar(tree).find("d")
    assert video.frame_names == ("00000", "00001", "00005", "00007", "00010", "00015")
    assert video.labelled == (0, 2, 4, 5)
    np.testing.assert_array_equal(video.labels(2), clip.instances[1])
    assert check(YOUTUBE_SIMILAR, tree).is_complete
