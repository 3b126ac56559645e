"""From a tree of UCF101 to a row beside the paper's, through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from vdit.cli import main
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.folders import write_ucf101

CONFIG = Path(__file__).parents[2] / "configs" / "probe" / "action_ucf101.yaml"
T, SIZE = 4, 32


def rendered(seeds):
    return [(f"c{k}", render(make_scene("motion-type", k, T, SIZE, SIZE), 4)) for k in seeds]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Six clips; lists 2 and 3 exchange the parts of list 1."""
    root = tmp_path_factory.mktemp("ucf101")
    write_ucf101(rendered(range(4)), rendered((4, 5)), root)
    lists = root / "ucfTrainTestlist"
    ids = dict(line.split()[::-1] for line in (lists / "classInd.txt").read_text().splitlines())
    train = [line.split()[0] for line in (lists / "trainlist01.txt").read_text().splitlines()]
    test = (lists / "testlist01.txt").read_text().split()
    for fold in (2, 3):
        numbered = "".join(f"{name} {ids[name.split('/')[0]]}\n" for name in test)
        (lists / f"trainlist0{fold}.txt").write_text(numbered)
        (lists / f"testlist0{fold}.txt").write_text("".join(f"{name}\n" for name in train))
    return root


def test_the_row_of_a_tree(tree, tmp_path, capsys):
    assert main(["data", "check", "ucf101", str(tree)]) == 0
    out = capsys.readouterr().out
    assert out.count(f"{4 * T} of {4 * T} frames") == 3  # train1, test2, test3
    changes = [
        f"data.root={tree}", "backbone=mini", "block=vae4", "timestep=null",
        f"view.num_frames={T}", f"view.short_side={SIZE}", f"view.crop=[{SIZE},{SIZE}]",
        "run.epochs=null", "run.steps=6", "run.warmup=2", "run.batch=2", "run.workers=0",
        "features.keep=true",
    ]  # fmt: skip
    assert main(["probe", str(CONFIG), *changes, "-o", str(tmp_path)]) == 0
    (row,) = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert (row["task"], row["dataset"]) == ("classification", "ucf101")
    assert row["split"] == "test1+test2+test3"
    assert row["shown"] == ["top1", "top5"]
    assert 0 <= row["metrics"]["top1"] <= row["metrics"]["top5"] <= 100
    assert row["paper"]["values"] == {"top1": 92.3, "top5": 98.6}
    assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 6  # once for all divisions
    assert row["num_videos"] == 6
    out = capsys.readouterr().out
    assert re.search(r"Table 2: SVD +92\.3 +98\.6", out)
    assert "chance, without features: top1" in out
    # the row is made again from what it says, with the features that are there
    again = tmp_path / "again.json"
    again.write_text(yaml.safe_dump(row["config"]))
    assert main(["probe", str(again), "-o", str(tmp_path / "again"), "--json"]) == 0
    (second,) = json.loads(capsys.readouterr().out)["rows"]
    assert second["metrics"] == row["metrics"]
