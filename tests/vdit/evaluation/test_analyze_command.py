"""`vdit analyze`: numbers by hand, tables, figures, and what does not fit."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.vdit.evaluation.prediction_trees import TREES, read_tree, shift, write_predictions
from vdit.cli import main
from vdit.datasets.ref_youtube_vos import read_ref_youtube_vos
from vdit.evaluation.analyses import AnalysisTable, consistency, quality
from vdit.evaluation.frame_overlaps import FrameOverlaps, frame_overlaps
from vdit.metrics import davis


def run(capsys, *words):
    capsys.readouterr()
    code = main(["analyze", *map(str, words)])
    out, error = capsys.readouterr()
    return code, out, error


def answers(*ious, has_target=True):
    return [FrameOverlaps("v", str(n), np.array(each), has_target) for n, each in enumerate(ious)]


def test_every_answer_weighs_the_same_in_consistency():
    found = consistency(answers([0, 1, 0, 1], [0.5] * 40) + answers([1, 0], has_target=False), [1])
    assert found == {"change at 1": 0.5, "mean IoU": 0.5}
    with pytest.raises(ValueError, match="more than 5 frames, got at most 4"):
        consistency(answers([0, 1, 0, 1]), [1, 5])


def test_short_answers_are_left_out_of_long_intervals():
    found = consistency(answers([0.0, 1.0], [0.0] * 5 + [1.0]), [5])
    assert found["change at 5"] == 1.0


def test_quality_counts_masks():
    found = quality(answers([0.95, 0.6], [0.6, 0.1]) + answers([1.0], has_target=False))
    assert found == {"precise / good": 1 / 3, "IoU > 0.9": 0.25, "IoU > 0.5": 0.75}
    for nothing in (answers([0.1]), []):
        with pytest.raises(ValueError, match=r"IoU above 0\.5"):
            quality(nothing)


@pytest.mark.parametrize("dataset", ["ref-youtube-vos", "ref-davis", "mevis", "refcoco"])
def test_overlaps_are_those_of_the_masks(dataset, trees, tmp_path):
    root = trees(dataset)
    samples = read_tree(dataset, root)
    write_predictions(samples, tmp_path / "P", np.zeros_like)
    found = frame_overlaps(dataset, root, tmp_path / "P", split=TREES[dataset][2])
    assert len(found) == len(samples)
    for answer in found:  # an empty answer is right where nothing is to be seen
        assert set(answer.ious.round(3)) <= {0.0, 1.0}
    assert sum(answer.ious.sum() for answer in found) < sum(len(a.ious) for a in found)
    write_predictions(samples, tmp_path / "Q")
    for answer in frame_overlaps(dataset, root, tmp_path / "Q", split=TREES[dataset][2]):
        assert (answer.ious > 0.999).all()


def test_table_of_consistency(trees, tmp_path, capsys):
    root = trees("ref-youtube-vos")
    samples = read_tree("ref-youtube-vos", root)
    write_predictions(samples, tmp_path / "right")
    write_predictions(samples, tmp_path / "wrong", shift)
    (tmp_path / "paper.json").write_text('{"VD-IT": {"change at 1": 0.25}}')
    code, out, error = run(
        capsys, "consistency", "ref-youtube-vos", "--root", root, "--split", "train",
        "--predictions", f"right={tmp_path / 'right'}",
        "--predictions", f"wrong={tmp_path / 'wrong'}",
        "--intervals", 1, 2, "--paper", tmp_path / "paper.json",
        "--figure", tmp_path / "c.png", "-o", tmp_path / "c.json",
    )  # fmt: skip
    assert code == 0, error
    lines = out.splitlines()
    assert lines[0] == "| temporal consistency | change at 1 | change at 2 | mean IoU |"
    assert lines[2] == "| right | 0.0000 | 0.0000 | 1.0000 |"
    assert lines[4] == "| VD-IT (paper) | 0.2500 |  |  |"
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.width > 100
    row = json.loads((tmp_path / "c.json").read_text())["rows"]["wrong"]
    expected = []
    for sample in samples:
        masks = sample.masks().any(axis=0), shift(sample.masks()).any(axis=0)
        expected.append(np.abs(np.diff(davis.region_similarity(*masks))).mean())
    assert row["change at 1"] == pytest.approx(np.mean(expected))


def test_quality_of_an_image_data_set(trees, tmp_path, capsys):
    root = trees("refcoco")
    write_predictions(read_tree("refcoco", root), tmp_path / "P")
    code, out, _ = run(
        capsys, "quality", "refcoco", "--root", root, "--predictions", f"ours={tmp_path / 'P'}",
        "--figure", tmp_path / "q.svg",
    )  # fmt: skip
    assert code == 0
    assert "| ours | 1.0000 | 1.0000 | 1.0000 |" in out
    assert (tmp_path / "q.svg").read_text().startswith("<?xml")


def test_copies_with_other_brightness(trees, tmp_path, capsys):
    root = trees("ref-youtube-vos")
    words = ["lighting", "ref-youtube-vos", "--root", root, "--copy", tmp_path / "dark"]
    code, out, _ = run(capsys, *words, "--perturb", 0.5)
    assert code == 0
    assert "frames with brightness x0.5" in out
    dark = read_ref_youtube_vos(tmp_path / "dark", "train")
    before = read_tree("ref-youtube-vos", root)
    assert [sample.text for sample in dark] == [sample.text for sample in before]
    np.testing.assert_array_equal(dark[0].masks(), before[0].masks())
    expected = before[0].frames() * 0.5
    assert np.abs(dark[0].frames() - expected).mean() < 3
    code, _, error = run(capsys, *words[:-1], root / "inside", "--perturb", 0.5)
    assert code == 2
    assert "expected a folder outside of it" in error
    code, _, error = run(capsys, *words, "--perturb", -1)
    assert code == 2
    assert "brightness factor >= 0" in error


def test_unchanged_copies_hold_the_same_files(trees, tmp_path, capsys):
    root = trees("jhmdb")
    words = ["lighting", "jhmdb", "--root", root, "--copy", tmp_path / "same", "--perturb", 1]
    assert run(capsys, *words)[0] == 0
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    assert files
    for path in files:
        assert (tmp_path / "same" / path.relative_to(root)).read_bytes() == path.read_bytes()


def test_lighting(trees, tmp_path, capsys):
    root = trees("ref-davis")
    samples = read_tree("ref-davis", root)
    write_predictions(samples, tmp_path / "1")
    write_predictions(samples, tmp_path / "half", shift)
    code, out, _ = run(
        capsys, "lighting", "ref-davis", "--root", root, "--predictions", f"1={tmp_path / '1'}",
        "--predictions", f"0.5={tmp_path / 'half'}", "--figure", tmp_path / "l.png", "--json",
    )  # fmt: skip
    assert code == 0
    row = json.loads(out)["rows"]["predictions"]
    assert list(row) == ["x0.5", "x1", "largest drop"]
    assert row["x1"] == 1.0
    assert row["largest drop"] == pytest.approx(1 - row["x0.5"])
    assert (tmp_path / "l.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["lighting", "mevis", "--root", "."], "expected either --perturb X --copy DIR"),
        (["lighting", "mevis", "--root", ".", "--perturb", "2"], "together with --copy DIR"),
        (["consistency", "refcoco", "--root", ".", "--predictions", "a=b"], "whole videos among"),
        (["quality", "coco", "--root", ".", "--predictions", "a=b"], "expected a data set among"),
        (["quality", "mevis", "--root", ".", "--predictions", "b"], "expected NAME=PATH"),
        (["ablation", "a=x.json", "a=y.json"], "a name of its own, got 'a=y.json'"),
        (["ablation", "a=x.json"], "does not exist"),
    ],
)
def test_mistakes(words, sentence, capsys):
    code, _, error = run(capsys, *words)
    assert code == 2
    assert sentence in error
    assert error.count("\n") == 1


def test_lighting_needs_unchanged_frames(trees, tmp_path, capsys):
    root = trees("ref-davis")
    write_predictions(read_tree("ref-davis", root), tmp_path / "P")
    words = ["lighting", "ref-davis", "--root", root, "--predictions"]
    code, _, error = run(capsys, *words, f"0.5={tmp_path / 'P'}")
    assert code == 2
    assert "expected predictions of unchanged frames (1)" in error
    assert "brightness factor before =, got 'dark'" in run(capsys, *words, "dark=x")[2]


def test_ablation_of_reports(trees, tmp_path, capsys):
    root = trees("ref-youtube-vos")
    samples = read_tree("ref-youtube-vos", root)
    for name, change in (("full", lambda masks: masks), ("without", shift)):
        write_predictions(samples, tmp_path / "P", change)
        words = ["--root", str(root), "--predictions", str(tmp_path / "P"), "--split", "train"]
        main(["eval", "ref-youtube-vos", *words, "-o", str(tmp_path / f"{name}.json")])
    reports = [f"{name}={tmp_path / name}.json" for name in ("full", "without")]
    code, out, _ = run(capsys, "ablation", *reports, "--figure", tmp_path / "a.pdf")
    assert code == 0
    assert out.splitlines()[0] == "| ref-youtube-vos train | J&F | J | F |"
    assert out.splitlines()[2] == "| full | 1.0000 | 1.0000 | 1.0000 |"
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    other = json.loads((tmp_path / "full.json").read_text()) | {"split": "valid"}
    (tmp_path / "without.json").write_text(json.dumps(other))
    code, _, error = run(capsys, "ablation", *reports)
    assert code == 2
    assert "expected reports of one split, got 'train' in full and 'valid' in without" in error
    (tmp_path / "without.json").write_text("{}")
    assert "expected a report of `vdit eval -o`" in run(capsys, "ablation", *reports)[2]


def test_numbers_that_are_not_there_stay_empty():
    table = AnalysisTable("t", {"a": {"x": float("nan"), "y": 1.0}}, {"b": {"z": 0.5}})
    assert table.markdown().splitlines()[2:] == [
        "| a |  | 1.0000 |  |",
        "| b (paper) |  |  | 0.5000 |",
    ]
    assert table.as_json()["rows"] == {"a": {"x": None, "y": 1.0}}


def test_roi_with_the_bundled_backbone(trees, tmp_path, capsys):
    root = tmp_path / "tree"
    shutil.copytree(trees("ref-youtube-vos"), root)
    code, out, error = run(
        capsys, "roi", "ref-youtube-vos", "--root", root, "--split", "train", "--backbone", "mini",
        "--block", "up1", "--frames", 3, "--videos", 1, "--json", "--figure", tmp_path / "r.png",
    )  # fmt: skip
    assert code == 0, error
    (row,) = json.loads(out)["rows"].values()
    assert list(row) == ["mean", "frame 1", "frame 2"]
    assert -1 <= row["frame 2"] <= 1
    assert (tmp_path / "r.png").exists()
