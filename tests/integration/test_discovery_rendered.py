"""Object discovery from rendered clips to a row and pictures, by the commands of the benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vdit.cli import main

CONFIG = Path(__file__).parents[2] / "configs" / "probe" / "discovery_rendered.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["movi-npy", "movi-tfrecord"])
def test_rendered_clips_become_a_row(layout, tmp_path, capsys):
    """All that the recorded run does, on a few small clips; what they score says nothing."""
    root, output = tmp_path / "movi", tmp_path / "out"
    # shards of rendered clips carry the name of MOVi-E
    dataset, val = ("movi-c", "val") if layout == "movi-npy" else ("movi-e", "validation")
    for split, count, seed in (("train", 8, 0), (val, 2, 100000)):
        size = ["--height", "64", "--width", "64", "--frames", "12"]
        name = ["--layout", layout, "--split", split, "--count", str(count), "--seed", str(seed)]
        assert main(["data", "render", "movi-c", "-o", str(root), *name, *size]) == 0
    assert main(["data", "check", dataset, str(root)]) == 0
    capsys.readouterr()
    changes = [f"data.dataset={dataset}", f"data.root={root}", "run.steps=60", "run.warmup=5"]
    changes += ["run.log_every=10"]
    # 32x64 pixels of frames of 64x64
    changes += ["view.size=[64,64]", "view.crop=[32,64]", "head.grid=[4,8]", "pictures=1"]
    assert main(["probe", str(CONFIG), *changes, "-o", str(output), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["num_videos"], row["num_training_clips"]) == (2, 48)
    assert row["num_frames"] == 8 * 6 * 4 + 2 * 12
    assert 0 <= row["metrics"]["mBO"] <= 100
    assert row["metrics"]["k-means FG-ARI"] is not None
    assert row["chance"]["FG-ARI"] >= 0
    (folder,) = output.glob("movi-*-discovery-*/fold0-seed0")
    assert {path.suffix for path in (folder / "pictures").iterdir()} == {".mp4", ".png"}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_slots_find_objects_that_clusters_do_not(tmp_path, capsys):
    """A short form of the recorded run: fewer clips and steps, the same comparison."""
    root, output = tmp_path / "movi", tmp_path / "out"
    for split, count, seed in (("train", 40, 0), ("val", 8, 100000)):
        size = ["--height", "128", "--width", "128", "--layout", "movi-npy"]
        name = ["--split", split, "--count", str(count), "--seed", str(seed)]
        assert main(["data", "render", "movi-c", "-o", str(root), *name, *size]) == 0
    capsys.readouterr()
    changes = [f"data.root={root}", "run.steps=1000", "run.warmup=50"]
    assert main(["probe", str(CONFIG), *changes, "-o", str(output), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    metrics = row["metrics"]
    assert metrics["FG-ARI"] >= metrics["k-means FG-ARI"] + 5
    assert metrics["mBO"] >= row["chance"]["mBO"] + 3  # blocks have a high FG-ARI, too
