"""`vdit data check`: every rendered layout is whole, and what is missing is named."""

import json

import pytest

from vdit.cli import main

SMALL = ["--count", "2", "--frames", "4", "--height", "48", "--width", "64", "--seed", "12"]
LAYOUTS = {
    "ref-youtube-vos": ("ref-youtube-vos", "train"),
    "ref-davis": ("ref-davis", "val"),
    "ref-davis-converted": ("ref-davis", "valid"),
    "mevis": ("mevis", "train"),
    "jhmdb": ("jhmdb", "train"),
    "refcoco": ("refcoco", "train"),
    "a2d": ("a2d", "train"),
}
VIDEO_LAYOUTS = {  # layout -> recipe, data set, split
    "davis": ("referring", "davis-2017", "val"),
    "davis-unsupervised": ("referring", "davis-2017-unsupervised", "val"),
    "davis-2016": ("referring", "davis-2016", "val"),
    "jhmdb": ("referring", "jhmdb-keypoints", "test"),
    "youtube-vos": ("identical", "youtube-similar", "train"),
    "scannet": ("geometry", "scannet-depth", "val"),
    "mot": ("mot", "mot17", "train"),
}


def render(root, layout):
    split = LAYOUTS[layout][1]
    words = ["data", "render", "referring", *SMALL, "--layout", layout, "--split", split]
    assert main([*words, "-o", str(root)]) == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rendered_trees_are_complete(tmp_path, capsys, layout):
    if layout == "a2d":
        pytest.importorskip("h5py")
    render(tmp_path, layout)
    capsys.readouterr()
    split = ["--split", "train"] if layout == "a2d" else []  # whose list of test is empty
    assert main(["data", "check", LAYOUTS[layout][0], str(tmp_path), *split, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["complete"]
    assert report["published"][0].startswith("http")
    (found,) = report["splits"].values()
    assert found["frames_found"] == found["frames"] > 0
    assert found["expressions"] > 0


@pytest.mark.parametrize("layout", VIDEO_LAYOUTS)
def test_rendered_trees_of_videos_are_complete(tmp_path, capsys, layout):
    recipe, dataset, split = VIDEO_LAYOUTS[layout]
    words = ["data", "render", recipe, *SMALL, "--layout", layout, "--split", split]
    assert main([*words, "-o", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["data", "check", dataset, str(tmp_path), "--split", split]) == 0
    out = capsys.readouterr().out
    assert f"{split}: 2 videos, 8 of 8 frames, 8 with truth\n" in out
    assert out.endswith("complete\n")


def test_what_is_missing_is_named(tmp_path, capsys):
    render(tmp_path, "mevis")
    for path in (tmp_path / "train/JPEGImages").rglob("*.jpg"):
        path.unlink()
    capsys.readouterr()
    assert main(["data", "check", "mevis", str(tmp_path)]) == 2
    out, error = capsys.readouterr()
    assert "train: 2 videos" in out
    assert "0 of 8 frames" in out
    assert "  frames are missing: 8\n" in out
    assert "00000.jpg" in out
    assert "    and 3 more\n" in out
    assert "not there, and not asked for: valid_u, valid, test" in out
    assert "8 problems; it is published at https://henghuiding.com/MeViS/" in error
    assert error.count("\n") == 1


def test_a_broken_list_is_part_of_the_report(tmp_path, capsys):
    render(tmp_path, "refcoco")
    (tmp_path / "refcoco" / "instances_refcoco_train.json").write_text("{")
    capsys.readouterr()
    assert main(["data", "check", "refcoco", str(tmp_path), "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    (problem,) = report["splits"]["train"]["problems"]
    assert problem["what"] == "lists cannot be read"
    assert "is no JSON" in problem["first"][0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["coco", "."], "expected a data set among ref-youtube-vos, ref-davis, mevis"),
        (["mevis", "{root}"], "no list of train, valid_u, valid, test"),
        (["mevis", "{root}", "--split", "val"], "mevis has no split 'val'"),
        (["mevis", "{root}", "--split", "valid"], ": 1 problem;"),
        (["mevis", "{root}/nothing"], "is not a folder"),
    ],
)
def test_mistakes(tmp_path, capsys, words, sentence):
    assert main(["data", "check", *(word.format(root=tmp_path) for word in words)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
