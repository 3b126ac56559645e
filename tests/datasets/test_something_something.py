from __future__ import annotations

import json

import pytest

from tests.datasets.tiny_files import listed, values_of, write_avi, write_text
from vdit.datasets.checking import check
from vdit.datasets.something_something import SOMETHING_SOMETHING_V2, read_something_something

CLASSES = {
    "Holding something": "1",
    "Approaching something with your camera": "0",
    "Putting something similar to other things that are already on the table": "2",
}
TRAIN = [
    {"id": "78687", "label": "holding a cup", "template": "Holding [something]",
     "placeholders": ["a cup"]},
    {"id": "9", "label": "approaching a cup with your camera",
     "template": "Approaching [something] with your camera", "placeholders": ["a cup"]},
]  # fmt: skip
VALIDATION = [
    {"id": "12", "label": "putting a pen similar to others", "placeholders": ["a pen"],
     "template": "Putting [something similar to other things that are already on the table]"},
]  # fmt: skip


def write_json(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def write_tree(
    root, videos="20bn-something-something-v2", labels="labels", prefix="", suffix=".webm"
):
    codec = {".webm": "libvpx", ".mp4": "mpeg4"}[suffix]
    for number, values in {"78687": (30, 60), "9": (90, 20, 50), "12": (70,), "5": (10,)}.items():
        write_avi(root / videos / f"{number}{suffix}", values, codec)
    folder = root / labels
    write_json(folder / f"{prefix}labels.json", CLASSES)
    write_json(folder / f"{prefix}train.json", TRAIN)
    write_json(folder / f"{prefix}validation.json", VALIDATION)
    write_json(folder / f"{prefix}test.json", [{"id": "5"}])
    return root


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path)


def test_classes_have_no_brackets(tree):
    dataset = read_something_something(tree, "train")
    assert dataset.classes[:2] == ("Approaching something with your camera", "Holding something")
    assert listed(dataset) == [
        ("78687", "Holding something"),
        ("9", "Approaching something with your camera"),
    ]
    assert values_of(dataset[1]) == pytest.approx([90, 20, 50], abs=3)
    (video,) = read_something_something(tree, "validation")
    assert video.label == 2


@pytest.mark.parametrize(
    ("videos", "labels", "prefix", "suffix"),
    [
        ("20bn-something-something-v2", ".", "something-something-v2-", ".webm"),
        ("videos", "annotations", "something-something-v2-", ".mp4"),
        (".", "labels", "", ".webm"),
    ],
)
def test_older_names_and_other_places(tmp_path, videos, labels, prefix, suffix):
    report = check(SOMETHING_SOMETHING_V2, write_tree(tmp_path, videos, labels, prefix, suffix))
    assert report.is_complete
    assert list(report.splits) == ["train", "validation"]
    assert report.absent == ["test"]  # whose classes are not told
    assert report.splits["train"].frames_found == 5


def test_answers_of_the_test(tree):
    write_text(tree / "labels" / "test-answers.csv", "5;Holding something")
    assert listed(read_something_something(tree, "test")) == [("5", "Holding something")]
    write_text(tree / "labels" / "test-answers.csv", "5,Holding something")
    with pytest.raises(ValueError, match="line 1 is '5,Holding something', expected <id>;<class>"):
        read_something_something(tree, "test")


def test_missing_videos(tree):
    (tree / "20bn-something-something-v2" / "9.webm").unlink()
    assert len(read_something_something(tree)) == 2
    (problem,) = check(SOMETHING_SOMETHING_V2, tree, "train").splits["train"].problems
    assert (problem.what, problem.count) == ("videos are missing", 1)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("train", [{"id": "1"}], 'entry 0 has no "id" or no "template"'),
        ("train", [{"id": "1", "template": "Eating [something]"}], "class 'Eating something'"),
        ("labels", {"Holding something": "a"}, "a class without a number"),
        ("labels", {"Holding something": "1"}, "does not number its classes from 0"),
        ("labels", [], "holds a list, expected a dict"),
    ],
)
def test_damaged_lists(tree, name, data, sentence):
    write_json(tree / "labels" / f"{name}.json", data)
    with pytest.raises(ValueError, match=sentence):
        read_something_something(tree)


def test_unknown_split(tree):
    with pytest.raises(ValueError, match="split='val' is unknown"):
        read_something_something(tree, "val")
