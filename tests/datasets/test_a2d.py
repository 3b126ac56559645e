"""A2D-Sentences: transposed masks of few frames, videos, instances from 0, damaged trees."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from vdit.datasets.a2d import A2D, read_a2d
from vdit.datasets.checking import check
from vdit.datasets.synthetic.writers.a2d import write_a2d

INSTANCES = "text_annotations/a2d_annotation_with_instances"


def list_of(root, split="test"):
    return root / f"a2d_sentences_single_frame_{split}_annotations.json"


@pytest.fixture
def rows(tmp_path):
    """A list without videos and masks, for what needs no HDF5."""
    list_of(tmp_path).write_text(json.dumps([["a dog", "v1", 3, 0], ["a Cat", "v1", 3, 1]]))
    return tmp_path


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py")


@pytest.fixture
def tree(h5py, clip, make_clip, tmp_path):
    write_a2d([("b", clip), ("a", make_clip(seed=1))], tmp_path, test_names=["b"])
    return tmp_path


def problems(root, split="test"):
    report = check(A2D, root, split)
    return [problem.what for problem in report.splits[split].problems]


def test_lists_are_read_without_videos(rows):
    first, second = read_a2d(rows, "test")
    assert (first.video, first.expression, first.object_ids) == ("v1", "f_3_i_0", (0,))
    assert first.labelled == (2,)
    assert first.frame_source is second.frame_source
    with pytest.raises(ValueError, match=r"v1\.mp4 does not exist"):
        first.frames()
    assert problems(rows) == ["videos are missing", "masks are missing"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "names no sample"),
        ("{}", "expected a list"),
        ('[["a dog", "v1", 3]]', r"expected \[text, video, frame, instance\]"),
        ('[["a dog", "v1", "x", 0]]', r"expected \[text, video, frame, instance\]"),
        ('[["a dog", "v1", 0, 0]]', "expected frames from 1"),
    ],
)
def test_broken_lists(rows, text, sentence):
    list_of(rows).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_a2d(rows, "test")
    assert problems(rows) == ["lists cannot be read"]


def test_mistakes(rows):
    with pytest.raises(ValueError, match="split='valid' is unknown"):
        read_a2d(rows, "valid")
    with pytest.raises(ValueError, match=r"train_annotations\.json does not exist"):
        read_a2d(rows, "train")


@pytest.mark.assets
def test_real_sentences(assets, tmp_path):
    table = assets / "refer" / "refvos_a2d" / "A2D_RE_categorization.csv"
    with table.open(encoding="utf-8") as file:
        real = list(csv.DictReader(file, delimiter=";"))
    rows = [[row["ref_exp"], row["video_id"], 1, int(row["instance_id"])] for row in real]
    list_of(tmp_path).write_text(json.dumps(rows))
    dataset = read_a2d(tmp_path, "test")
    assert len(dataset) == len(real) > 100
    assert dataset.find("-7EE9T3Z0qk", "f_1_i_1").text == "baby girl sitting on the couch"
    assert all(sample.caption and sample.caption == sample.caption.lower() for sample in dataset)


@pytest.mark.optional
def test_samples_are_those_that_were_written(tree, clip):
    dataset = read_a2d(tree, "test")
    assert set(dataset.by_video()) == {"b"}
    for sample in dataset:
        (t,), (k,) = sample.labelled, sample.object_ids
        assert sample.size == (24, 32)
        np.testing.assert_array_equal(sample.masks(), clip.masks[[k]][:, [t]])
        assert len(sample.frame_names) == 4
        error = sample.frames([t, 0]).astype(int) - clip.frames[[t, 0]]
        assert np.abs(error).mean() < 12  # the video is lossy
    truth = json.loads((tree / "a2d_sentences_test_annotations_in_coco_format.json").read_text())
    found = {f"v_{sample.video}_{sample.expression}" for sample in dataset}
    assert found == {image["id"] for image in truth["images"]}
    report = check(A2D, tree)
    assert report.is_complete
    assert report.splits["train"].frames_found == 4


@pytest.mark.optional
def test_one_instance_has_no_axis_of_instances(h5py, tree, clip):
    sample = next(s for s in read_a2d(tree, "test") if s.object_ids == (1,))
    (t,) = sample.labelled
    path = tree / INSTANCES / "b" / f"{t + 1:05d}.h5"
    with h5py.File(path, "w") as file:
        file["reMask"] = clip.masks[1, t].T.astype(np.uint8)
        file["instance"] = np.array([[1]])
    np.testing.assert_array_equal(sample.masks()[0, 0], clip.masks[1, t])


@pytest.mark.optional
def test_a_second_name_of_the_folder_of_videos(tree):
    (tree / "Release/CLIPS320").rename(tree / "Release/CLIPS320H")
    assert check(A2D, tree).is_complete


def rewrite(h5py, root, **arrays):
    for path in (root / INSTANCES / "b").iterdir():
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array


@pytest.mark.optional
@pytest.mark.parametrize(
    ("arrays", "what", "sentence"),
    [
        (
            {"instance": [7], "reMask": np.ones((32, 24))},
            "instances of expressions have no mask",
            r"has the instances \[7\]",
        ),
        (
            {"instance": [0, 1, 2], "reMask": np.ones((3, 24, 32))},
            "masks differ in size from the frames",
            "is 24x32, but its frame is 32x24",
        ),
        (
            {"instance": [0, 1, 2], "reMask": np.ones((2, 32, 24))},
            "masks cannot be read",
            "for 3 instances",
        ),
        ({"instance": [0]}, "masks cannot be read", "cannot be read"),
    ],
)
def test_damaged_masks(h5py, tree, arrays, what, sentence):
    rewrite(h5py, tree, **arrays)
    assert problems(tree) == [what]
    with pytest.raises(ValueError, match=sentence):
        read_a2d(tree, "test")[0].masks()


@pytest.mark.optional
def test_missing_and_damaged_files(tree):
    sample = read_a2d(tree, "test")[0]
    shutil.rmtree(tree / INSTANCES / "b")
    assert problems(tree) == ["masks are missing"]
    with pytest.raises(ValueError, match=r"h5 does not exist"):
        sample.masks()
    (tree / "Release/CLIPS320/b.mp4").write_bytes(b"no video")
    assert problems(tree) == ["videos cannot be decoded", "masks are missing"]


@pytest.mark.optional
def test_labels_past_the_end_of_a_video(tree):
    row = ["x", "b", 40, 0]
    list_of(tree).write_text(json.dumps([row]))
    assert "labelled frames are past the end of their video" in problems(tree)
