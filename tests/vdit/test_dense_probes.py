"""`vdit probe` from a rendered Cityscapes to a row: segmentation, depth, what is kept of clips."""

import json

import pytest
import yaml
from safetensors import safe_open

from vdit.cli import main
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.cityscapes import write_cityscapes
from vdit.probing.results import format_value

T, H, W = 3, 48, 64
DATA = {"segmentation": "cityscapes", "depth": "cityscapes-depth"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Six clips to train on and two to test on; the second frame of three has truth."""
    root = tmp_path_factory.mktemp("tree")
    for split, city, seeds in (("train", "aachen", range(6)), ("val", "ulm", range(6, 8))):
        clips = ((f"c{seed}", render(make_scene("geometry", seed, T, H, W))) for seed in seeds)
        write_cityscapes(clips, root, split, city, labelled=1)
    return root


@pytest.fixture
def probe(tree, tmp_path, capsys):
    def run(task, *changes):
        content = {
            "task": task,
            "data": {
                "dataset": DATA[task],
                "root": str(tree),
                "folds": [{"train": "train", "test": "val"}],
                "options": {"before": 1, "after": 1},
            },
            "view": {"num_frames": T, "sampling": "around"},
            "source": {"backbone": "mini", "block": "vae4", "timestep": 0},
            "head": {"kind": "dense", "width": 16},
            "run": {"steps": 15, "batch": 6, "rate": 0.01, "warmup": 3, "average": None,
                    "workers": 0},
            "paper": {"table": "Structure of the dynamic world, Table 3", "method": "SVD"},
        }  # fmt: skip
        path = tmp_path / "probe.yaml"
        path.write_text(yaml.safe_dump(content))
        code = main(["probe", str(path), *changes, "-o", str(tmp_path / "out")])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        rows = (tmp_path / "out/results.jsonl").read_text().splitlines()
        return json.loads(rows[-1]), captured.out

    return run


@pytest.mark.parametrize(
    ("task", "paper"), [("segmentation", {"mIoU": 48.1}), ("depth", {"mErr": 4.68})]
)
def test_a_row_is_printed_beside_the_paper(probe, task, paper):
    row, out = probe(task)
    metric = row["shown"][0]
    assert out.startswith(f"{DATA[task]} val: 2 videos, {8 * T} frames\n")
    header, ours, theirs = (line.split() for line in out.splitlines()[2:5])
    assert header == row["shown"]
    assert format_value(row["metrics"][metric]) in ours
    assert row["paper"]["values"] == paper
    assert format_value(paper[metric]) in theirs
    assert f"chance, without features: {metric} {format_value(row['chance'][metric])}" in out


def test_depth_is_learned_better_than_chance_on_the_training_set(probe, tmp_path):
    """The test set is too small; the head knows the clips that it has seen."""
    row, _ = probe("depth", "run.steps=60", "run.sample_every=60")
    (samples,) = tmp_path.rglob("training_clips.json")
    assert json.loads(samples.read_text())["AbsRel"] < 0.75 * row["chance"]["AbsRel"]


@pytest.mark.parametrize(("steps", "kept"), [("labelled", 1), ("all", T)])
def test_of_a_clip_the_features_that_the_head_sees_are_kept(probe, tmp_path, steps, kept):
    probe("segmentation", f"head.steps={steps}", "features.keep=true", "run.steps=2")
    files = list((tmp_path / "out/features").rglob("*.safetensors"))
    assert len(files) == 8
    with safe_open(files[0], "pt") as file:
        assert file.get_tensor("vae4").shape == (kept, 64, H // 4, W // 4)
        spans = json.loads(file.metadata()["facts"])["spans"]
    assert spans == [[t, t + 1] for t in ((1,) if kept == 1 else range(T))]


def test_kept_features_are_those_of_the_whole_clip(probe, tmp_path):
    """With a linear head and no training: the labelled frame alone, kept or computed each time."""
    same = ["run.steps=1", "run.rate=0", "head.kind=linear"]
    kept, _ = probe("depth", *same, "timestep=null", "features.dtype=float32")
    live, _ = probe("depth", *same, "timestep=null", "features.cached=false")
    assert live["metrics"]["mErr"] == pytest.approx(kept["metrics"]["mErr"], rel=1e-3)
