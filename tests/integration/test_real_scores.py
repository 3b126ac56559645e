"""Real masks: scores of a published method beside those of the benchmark's own code."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vdit.cli import main
from vdit.evaluation.prediction_files import FolderFiles, read_labels
from vdit.evaluation.prediction_layouts import sequence_path
from vdit.masks import read_mask_png, write_palette_png
from vdit.metrics import davis

TABLE = (
    ("J", "J_mean"),
    ("J-Recall", "J_recall"),
    ("J-Decay", "J_decay"),
    ("F", "F_mean"),
    ("F-Recall", "F_recall"),
    ("F-Decay", "F_decay"),
)


@pytest.mark.assets
def test_scores_of_a_published_method(assets, capsys):
    root = assets / "davis"
    words = ["--root", str(root), "--predictions", str(root / "osvos_predictions")]
    assert main(["eval", "davis", *words, "--protocol", "foreground", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = {row["video"]: row for row in report["expressions"]}
    expected = json.loads((root / "osvos_reference_JF.json").read_text())
    assert expected
    for name, numbers in expected.items():
        found = [rows[name][ours] for ours, _ in TABLE]
        assert found == pytest.approx([numbers[theirs] for _, theirs in TABLE], abs=1e-12), name
        assert rows[name]["frames"] == numbers["frames"] - 2


@pytest.mark.assets
def test_frames_of_a_published_method(assets):
    root = assets / "davis"
    expected = json.loads((root / "osvos_reference_JF.json").read_text())
    name = sorted(expected)[0]
    frames = [f"{t:05d}" for t in range(1, 6)]
    folder = root / "Annotations" / "480p" / name
    target = np.stack([read_mask_png(folder / f"{frame}.png") > 0 for frame in frames])
    files = FolderFiles(root / "osvos_predictions")
    predicted = np.stack(
        [read_labels(files, sequence_path(name, frame), target.shape[1:]) > 0 for frame in frames]
    )
    region, contour = davis.region_and_contour(target, predicted)
    np.testing.assert_allclose(region, expected[name]["J_first5"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(contour, expected[name]["F_first5"], rtol=0, atol=1e-12)


def build_ref_davis(assets, root: Path, sequences, num_frames):
    """The downloaded layout of Ref-DAVIS17 from the real frames, masks and sentences at hand.

    The masks at hand are one foreground in gray, so only sequences of one object fit.
    """
    sentences: dict[str, list[str]] = {name: [] for name in sequences}
    with open(assets / "refer" / "refvos_a2d" / "DAVIS17_RE_categorization.csv") as file:
        for row in csv.DictReader(file, delimiter=";"):
            if row["video_id"] in sentences:
                assert row["instance_id"] == "1"
                sentences[row["video_id"]].append(row["ref_exp"])
    texts = root / "davis_text_annotations"
    texts.mkdir(parents=True)
    for number, (person, view) in enumerate((p, v) for p in "12" for v in ("", "_full_video")):
        lines = [f'{name} 1 "{found[number % len(found)]}"' for name, found in sentences.items()]
        (texts / f"Davis17_annot{person}{view}.txt").write_text("\n".join(lines) + "\n")
    davis_root = root / "DAVIS"
    (davis_root / "ImageSets" / "2017").mkdir(parents=True)
    (davis_root / "ImageSets" / "2017" / "val.txt").write_text("\n".join(sequences))
    for name in sequences:
        frames = davis_root / "JPEGImages" / "480p" / name
        masks = davis_root / "Annotations_unsupervised" / "480p" / name
        frames.mkdir(parents=True)
        for t in range(num_frames):
            source = assets / "davis" / "JPEGImages" / "480p" / name / f"{t:05d}.jpg"
            shutil.copy(source, frames / source.name)
            mask = read_mask_png(assets / "davis" / "Annotations" / "480p" / name / f"{t:05d}.png")
            write_palette_png(masks / f"{t:05d}.png", (mask > 0).astype(np.uint8))


@pytest.mark.assets
def test_a_real_subset_of_ref_davis(assets, tmp_path, capsys):
    sequences, num_frames = ("blackswan", "cows"), 6
    build_ref_davis(assets, tmp_path / "tree", sequences, num_frames)
    assert main(["data", "check", "ref-davis", str(tmp_path / "tree")]) == 0
    for annotator in range(4):
        for name in sequences:
            source = assets / "davis" / "osvos_predictions" / name
            for t in range(num_frames):
                labels = read_mask_png(source / f"{t:05d}.png")
                path = tmp_path / "P" / f"anno_{annotator}" / name / f"{t:05d}.png"
                write_palette_png(path, labels)
    words = ["--root", str(tmp_path / "tree"), "--predictions", str(tmp_path / "P"), "--json"]
    reports = {}
    for protocol in ("released", "strict"):
        capsys.readouterr()
        assert main(["eval", "ref-davis", *words, "--protocol", protocol]) == 0
        reports[protocol] = json.loads(capsys.readouterr().out)
    # one object a video, predicted under its own id: both protocols agree
    assert reports["released"]["metrics"] == pytest.approx(reports["strict"]["metrics"])
    assert 0.9 < reports["strict"]["metrics"]["J&F"] < 1
    expected = json.loads((assets / "davis" / "osvos_reference_JF.json").read_text())
    for row in reports["strict"]["expressions"]:
        assert row["J"] == pytest.approx(np.mean(expected[row["video"]]["J_first5"]), abs=0.02)
