"""Points and boxes from miniature trees to rows: readers, clips, features, heads, scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional

from tests.track_trees import (
    make_squares,
    write_perception_test,
    write_tap_vid_davis,
    write_waymo,
)
from vdit.cli import main
from vdit.commands.probe import TASKS
from vdit.config import load_config
from vdit.models.backbones.base import Backbone, BlockInfo, Encoded
from vdit.probing.feature_sources import Backbones
from vdit.probing.learned_probe import run_learned_probes
from vdit.probing.tasks.boxes import Boxes
from vdit.probing.tasks.points import Points

CONFIGS = Path(__file__).parents[2] / "configs" / "probe"
SMALL = [
    "view.num_frames=6",
    "view.size=[32,48]",
    "view.clips=1",
    "view.short_side=null",
    "view.crop=null",
    "view.stride=1",
    "source.backbone=colors",
    "source.block=cells",
    "source.timestep=null",
    "seeds=[0]",
    "head.width=32",
    "head.num_heads=4",
    "head.num_layers=1",
    "head.num_queries=2",
    "run.batch=8",
    "run.steps=120",
    "run.rate=5e-3",
    "run.warmup=10",
    "run.workers=0",
]


class Colors(Backbone):
    """Cells of 8 x 8 pixels: their mean color, and where they lie; half of the time steps."""

    temporal = True
    size_multiple = 8

    def __init__(self):
        super().__init__()
        self.blocks = {"cells": BlockInfo(7, 8, 2)}
        self.scale = torch.nn.Parameter(torch.ones(()))

    def encode(self, video):
        return Encoded((video.shape[-2], video.shape[-1]), video)

    def extract(self, video, *, blocks, **_):
        frames = video.latent_mean if isinstance(video, Encoded) else video
        B, T = frames.shape[:2]
        cells = functional.avg_pool2d(frames.flatten(0, 1), 8).unflatten(0, (B, T))
        cells = cells.unflatten(1, (T // 2, 2)).flatten(2, 3)  # both frames of a step
        rows, columns = cells.shape[-2:]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        place = (y * columns + x) / (rows * columns)
        return {"cells": torch.cat([4 * cells, place.expand(B, T // 2, 1, rows, columns)], 2)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    train = {f"t{seed}": make_squares(seed) for seed in range(24)}
    test = {f"v{seed}": make_squares(1000 + seed) for seed in range(6)}
    write_perception_test(folder / "pt", train, "train", "train.json", box_every=1)
    write_perception_test(folder / "pt", test, "valid", "valid.json", box_every=1)
    write_tap_vid_davis(folder / "tap", test)
    write_waymo(folder / "waymo", train, "training")
    write_waymo(folder / "waymo", test, "validation")
    return folder


def run(name, root, tmp_path, *changes):
    content = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    task = content.pop("task")
    config = load_config(TASKS[task].schema, content, [f"data.root={root}", *SMALL, *changes])
    build = {"points": Points, "boxes": Boxes}[task].build
    backbones = Backbones(build=lambda *_, **__: Colors())
    (row,) = run_learned_probes(task, build, [config], tmp_path, backbones=backbones)
    return row


def test_points_of_perception_test(root, tmp_path):
    row = run("points_perception_test", root / "pt", tmp_path)
    assert (row["num_videos"], row["num_training_clips"]) == (6, 24)
    assert row["shown"] == ["AJ", "delta_avg", "OA"]
    assert row["metrics"]["AJ"] > row["chance"]["AJ"] + 10
    assert row["paper"]["values"] == {"AJ_gain": 68}


def test_points_of_tap_vid_after_perception_test(root, tmp_path):
    row = run(
        "points_tapvid_davis",
        root / "tap",
        tmp_path,
        f"data.options.perception_test={root / 'pt'}",
    )
    assert (row["num_videos"], row["num_training_clips"]) == (6, 24)
    assert row["note"] == "perception-test-points train"
    assert row["metrics"]["AJ"] > row["chance"]["AJ"] + 10


@pytest.mark.parametrize(
    ("name", "tree"), [("boxes_perception_test", "pt"), ("boxes_waymo", "waymo")]
)
def test_boxes(root, tmp_path, name, tree):
    row = run(name, root / tree, tmp_path)
    assert (row["num_videos"], row["num_training_clips"]) == (6, 24)
    assert row["shown"] == ["mean_iou", "frame_iou"]
    assert row["metrics"]["mean_iou"] > row["chance"]["mean_iou"] + 10


def test_the_command_prints_a_row_beside_the_paper(root, tmp_path, capsys):
    changes = [each for each in SMALL if not each.startswith(("source.", "run.steps"))]
    source = ["source.backbone=mini", "source.block=up1", "source.timestep=2", "random_weights=1"]
    words = ["probe", str(CONFIGS / "points_perception_test.yaml"), f"data.root={root / 'pt'}"]
    words += [*changes, *source, "run.steps=3", "data.max_videos=4", "-o", str(tmp_path)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "V-WALT over I-WALT" in out
    assert "chance, without features: AJ" in out
