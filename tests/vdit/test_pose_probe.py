"""A trained row of camera pose, from a tree like RealEstate10K to the table."""

from __future__ import annotations

import json

import pytest
import yaml

from vdit.cli import main
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.native import write_native
from vdit.datasets.synthetic.writers.realestate10k import write_realestate10k

WRITERS = {"realestate10k": write_realestate10k, "rendered-pose": write_native}


@pytest.mark.parametrize("dataset", WRITERS)
def test_a_row_of_pose(tmp_path, capsys, dataset):
    for split, seeds in (("train", range(3)), ("test", range(4, 6))):
        clips = ((f"c{k}", render(make_scene("camera", k, 3, 24, 24), 0)) for k in seeds)
        WRITERS[dataset](clips, tmp_path / "tree", split)
    config = {
        "task": "pose",
        "data": {
            "dataset": dataset,
            "root": str(tmp_path / "tree"),
            "folds": [{"train": "train", "test": "test"}],
        },
        "view": {"num_frames": 3},
        "source": {"backbone": "mini", "block": "up1", "timestep": 2},
        "head": {"width": 16, "num_heads": 2},
        "run": {"steps": 5, "batch": 3, "rate": 0.003, "warmup": 2, "workers": 0},
        "seeds": [0, 1],
        "control_steps": 2,
    }
    path = tmp_path / "pose.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["probe", str(path), "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    shown = ["epe", "translation_error", "rotation_error"]
    assert shown in [line.split() for line in out.splitlines()]
    (line,) = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert (row["task"], row["num_videos"], row["num_training_clips"]) == ("pose", 2, 3)
    for name in shown:
        assert row["metrics"][name] > 0
        assert row["chance"][name] > 0
        assert row["control"][name] > 0
    assert row["seeds"][0] != row["seeds"][1]
