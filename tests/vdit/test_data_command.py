"""`vdit data render`: trees that appear, and mistakes in one sentence."""

import json

import numpy as np
import pytest
from PIL import Image

from vdit.cli import main
from vdit.datasets.synthetic.recipes import RECIPES
from vdit.datasets.synthetic.scene import VERSION
from vdit.datasets.synthetic.writers.layouts import LAYOUTS

SMALL = ["--count", "2", "--frames", "4", "--height", "48", "--width", "64"]


def render(tmp_path, *words):
    return main(["data", "render", *words, "-o", str(tmp_path / "tree")])


def test_native_layout(tmp_path, capsys):
    assert render(tmp_path, "referring", *SMALL, "--json", "--seed", "5") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["clips"] == 2
    assert summary["renderer_version"] == VERSION
    folder = tmp_path / "tree" / "train" / "referring-000006"
    assert len(list((folder / "frames").glob("*.jpg"))) == 4
    assert (folder / "clip.mp4").stat().st_size > 500
    assert json.loads((folder / "scene.json").read_text())["version"] == VERSION
    assert json.loads((folder / "captions.json").read_text())[0]["text"]
    truth = np.load(folder / "truth.npz")
    assert truth["instances"].shape == (4, 48, 64)
    assert truth["flow"].shape == (3, 48, 64, 2)
    assert len(truth["tracks_visible"]) == len(truth["tracks_objects"])


def test_workers_do_not_change_the_bytes(tmp_path):
    for workers in (0, 2):
        root = tmp_path / str(workers)
        words = ["data", "render", "tracking", *SMALL, "--workers", str(workers)]
        assert main([*words, "--layout", "davis", "-o", str(root)]) == 0
    files = sorted(p.relative_to(tmp_path / "0") for p in (tmp_path / "0").rglob("*.*"))
    assert len(files) > 10
    for file in files:
        assert (tmp_path / "0" / file).read_bytes() == (tmp_path / "2" / file).read_bytes(), file


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_layouts(tmp_path, layout):
    if layout == "a2d":
        pytest.importorskip("h5py")
    recipe = "motion-type" if layout == "class-folders" else "referring"
    assert render(tmp_path, recipe, *SMALL, "--layout", layout, "--seed", "12") == 0
    recorded = json.loads((tmp_path / "tree" / "rendered.json").read_text())
    assert recorded["version"] == VERSION
    assert len(recorded["clips"]) == 2 - layout.startswith("ref-davis")


def test_clips_whose_objects_cannot_be_told_apart_are_left_out(tmp_path, capsys):
    words = ("referring", *SMALL, "--layout", "ref-davis", "--seed", "12")
    assert render(tmp_path, *words, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["clips"], summary["left_out"]) == (1, 1)
    assert render(tmp_path, *words) == 0
    assert "left out: 1" in capsys.readouterr().out


def test_the_list_names_every_recipe(capsys):
    assert main(["data", "render", "list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*RECIPES, *LAYOUTS))
    assert main(["data", "render", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (list(listed["recipes"]), listed["layouts"]) == (list(RECIPES), list(LAYOUTS))


def test_splits_that_no_reader_finds_are_refused(tmp_path, capsys):
    assert render(tmp_path, "referring", *SMALL, "--layout", "ref-davis", "--split", "valid") == 2
    assert "expected --split train or val for ref-davis, got 'valid'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["soup"], "expected a recipe among referring"),
        (["referring", "--layout", "coco"], "expected a layout among native"),
        (["referring", "--count", "0"], "expected --count >= 1"),
        (["referring", "--seed", "-1"], "expected seed >= 0"),
        (["referring", "--height", "3"], "at least 1 frame and 16 pixels a side"),
        (["geometry", "--layout", "class-folders", *SMALL], "geometry-000000"),
    ],
)
def test_mistakes(tmp_path, capsys, words, sentence):
    assert render(tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_a_file_where_the_folder_should_be(tmp_path, capsys):
    Image.new("RGB", (4, 4)).save(tmp_path / "picture.png")
    assert main(["data", "render", "image", *SMALL, "-o", str(tmp_path / "picture.png")]) == 2
    assert "picture.png" in capsys.readouterr().err
