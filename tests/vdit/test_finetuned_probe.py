"""Backbones that learn beside a head: better than frozen, told in the row, written, resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

from tests.vdit.test_finetuning import EVERY
from tests.vdit.test_training_engine import LineStage
from vdit.config import load_config
from vdit.datasets import probe_datasets
from vdit.datasets.checking import Benchmark
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset
from vdit.finetuning import FineTuning, prepare_finetuning, weights_by_block
from vdit.lora import LoraSettings, load_lora, merge_lora
from vdit.models.backbones.base import Backbone, BlockInfo, Encoded
from vdit.models.backbones.vision_encoder import VisionEncoder
from vdit.probing.backbone_training import (
    BackboneTraining,
    load_changed_weights,
    mean_over_heads,
    up_to_block,
)
from vdit.probing.clip_views import ViewOptions
from vdit.probing.feature_sources import Backbones, FeatureSource
from vdit.probing.learned_config import FeatureStorage, Fold, LearnedData
from vdit.probing.learned_probe import run_learned_probes
from vdit.probing.paper_tables import find_paper_row
from vdit.probing.step_costs import measure_steps
from vdit.probing.tasks.classification import Classification, ClassificationConfig
from vdit.training.engine import Trainer
from vdit.training.run_config import ParameterGroup, RunConfig

ROOT = Path(__file__).parents[2]
SIZE = 8


@dataclass(frozen=True)
class Tinted:
    """Frames of one color under noise."""

    label: int
    seed: int
    names: tuple[str, ...] = tuple("ab")

    def size(self):
        return SIZE, SIZE

    def read(self, indices):
        rng = np.random.default_rng(self.seed)
        frames = rng.integers(0, 150, (len(self.names), SIZE, SIZE, 3))
        frames[..., self.label] += 100
        return frames[list(indices)].astype(np.uint8)


def read_tinted(root, split, count=12):
    first = 1000 * sum(map(ord, split))
    videos = tuple(
        ClassifiedVideo("tinted", split, f"v{k}", Tinted(k % 3, first + k), k % 3)
        for k in range(count)
    )
    return VideoDataset("tinted", split, videos, classes=("red", "green", "blue"))


class Gray(Backbone):
    """Two layers and a third behind them; the first sees hardly any color."""

    temporal = True

    def __init__(self, fail_after=None):
        super().__init__()
        self.blocks = {name: BlockInfo(4, 1) for name in ("in", "block1", "block2")}
        self.stem, self.first, self.second = (nn.Conv2d(c, 4, 1) for c in (3, 4, 4))
        generator = torch.Generator().manual_seed(0)
        for layer in self.block_modules().values():
            weight = layer[0].weight
            drawn = torch.randn(weight.shape, generator=generator)
            layer[0].weight.data = drawn + torch.eye(4)[:, : weight.shape[1], None, None]
            nn.init.zeros_(layer[0].bias)
        self.stem.weight.data = 1 + 1e-4 * self.stem.weight.data
        self.num_passes, self.fail_after = 0, fail_after
        self.freeze()

    def block_modules(self):
        return {"in": [self.stem], "block1": [self.first], "block2": [self.second]}

    def encode(self, video):
        return Encoded((video.shape[-2], video.shape[-1]), video)

    def extract(self, video, *, blocks, timestep=None, noise=None, generator=None, **_):
        if self.fail_after == self.num_passes:
            raise KeyboardInterrupt
        self.num_passes += 1
        found, hidden = {}, video.flatten(0, 1)
        for name, (layer,) in self.block_modules().items():
            hidden = self.run(layer, hidden)
            found[name] = hidden.unflatten(0, video.shape[:2])
            if name == blocks[-1]:
                return found


RUN = RunConfig(
    steps=40, batch=6, rate=0.02, warmup=2, average=None, workers=0, decay=0.0, save_every=7
)
CONFIG = ClassificationConfig(
    data=LearnedData("tinted", ".", [Fold("a", "b")]),
    view=ViewOptions(num_frames=2),
    source=FeatureSource("gray", "block1"),
    features=FeatureStorage(cached=False),
    run=RUN,
)
MODES = {
    "full": FineTuning("full"),
    "blocks": FineTuning("blocks", ("in",), checkpointing=True),
    "lora": FineTuning("lora", lora=LoraSettings(rank=2, alpha=8.0, targets=("stem", "first"))),
}


@pytest.fixture(autouse=True)
def tinted(monkeypatch):
    benchmark = Benchmark("tinted", ("a", "b"), lambda root, split: root, read_tinted, ("here",))
    monkeypatch.setitem(probe_datasets.PROBE_DATASETS, "tinted", benchmark)


def run(config, folder, fail_after=None):
    backbones = Backbones(build=lambda *_, **__: Gray(fail_after))
    (row,) = run_learned_probes(
        "classification", Classification.build, [config], folder, backbones=backbones
    )
    return row


def head_folder(folder):
    (found,) = folder.glob("tinted-classification-*/fold0-seed0")
    return found


@pytest.mark.parametrize("name", MODES)
def test_learning_beats_freezing(name, tmp_path):
    frozen = run(CONFIG, tmp_path / "frozen")
    assert frozen["metrics"]["top1"] < 75
    assert frozen["finetuning"] is None
    row = run(replace(CONFIG, finetuning=MODES[name]), tmp_path / name)
    assert row["metrics"]["top1"] > frozen["metrics"]["top1"] + 20
    learned, (stem, first) = row["finetuning"], (3 * 4 + 4, 4 * 4 + 4)
    sizes = {"full": stem + first, "blocks": stem, "lora": 2 * (3 + 4) + 2 * (4 + 4)}
    assert learned["trained_parameters"] == sizes[name]
    blocks = ["in"] if name == "blocks" else ["in", "block1"]
    assert list(learned["relative_change"]) == blocks == learned["blocks"]
    assert all(0 < change < 3 for change in learned["relative_change"].values())
    assert learned["time_ratio"] > 0
    assert learned["memory_ratio"] > 1


@pytest.mark.parametrize("name", MODES)
def test_written_weights_are_those_that_scored(name, tmp_path):
    row = run(replace(CONFIG, finetuning=MODES[name]), tmp_path)
    folder, restored = head_folder(tmp_path), Gray()
    before = weights_by_block(restored)
    if name == "lora":
        load_lora(restored, folder / "lora.safetensors")
        merge_lora(restored)
    else:
        load_changed_weights(restored, folder / "backbone.safetensors")
    after = weights_by_block(restored)
    for block, change in row["finetuning"]["relative_change"].items():
        moved = sum(float((after[block][k] - v).square().sum()) for k, v in before[block].items())
        size = sum(float(v.square().sum()) for v in before[block].values())
        assert (moved / size) ** 0.5 == pytest.approx(change, rel=1e-4)


def test_only_learned_weights_are_written(tmp_path):
    run(replace(CONFIG, finetuning=MODES["blocks"]), tmp_path)
    written = load_file(head_folder(tmp_path) / "backbone.safetensors")
    assert written.keys() == {"stem.weight", "stem.bias"}
    narrow = Gray()
    narrow.stem = nn.Conv2d(3, 2, 1)
    with pytest.raises(
        ValueError, match=r"expected weights of Gray .* found stem\.bias|stem\.weight"
    ):
        load_changed_weights(narrow, head_folder(tmp_path) / "backbone.safetensors")


@pytest.mark.parametrize("name", ["full", "lora"])
def test_a_killed_training_goes_on(name, tmp_path):
    config = replace(CONFIG, finetuning=MODES[name])
    whole = run(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "parts", fail_after=30)
    assert (head_folder(tmp_path / "parts") / "checkpoint.pt").is_file()
    again = run(config, tmp_path / "parts")
    assert again["metrics"] == whole["metrics"]
    assert again["finetuning"]["relative_change"] == whole["finetuning"]["relative_change"]
    file = "lora.safetensors" if name == "lora" else "backbone.safetensors"
    found = [load_file(head_folder(tmp_path / part) / file) for part in ("whole", "parts")]
    for key, value in found[0].items():
        assert torch.equal(found[1][key], value)


def test_the_backbone_has_a_rate_of_its_own(tmp_path):
    moved = []
    for rate in (1e-4, 1e-2):
        groups = [ParameterGroup(["backbone."], rate)]
        config = replace(CONFIG, finetuning=MODES["full"], run=replace(RUN, groups=groups))
        row = run(config, tmp_path / str(rate))
        moved.append(row["finetuning"]["relative_change"]["in"])
    assert 10 * moved[0] < moved[1]


def test_measuring_changes_nothing(tmp_path):
    stage = LineStage()
    stage.num_examples, stage.collate = 8, lambda keys: [index for _, index in keys]
    trainer = Trainer(stage, replace(RUN, steps=2), tmp_path)
    before = {name: value.clone() for name, value in stage.modules.state_dict().items()}
    cost = measure_steps(trainer)
    assert cost.seconds > 0
    weights = sum(value.numel() * value.element_size() for value in before.values())
    trained = sum(4 * each.numel() for each in trainer.parameters)
    assert cost.memory_bytes >= weights + 3 * trained, "gradients and two moments"
    for name, value in stage.modules.state_dict().items():
        assert torch.equal(value, before[name])
    assert not trainer.optimizer.state_dict()["state"]


def test_only_blocks_that_are_read_learn():
    backbone = Gray()
    assert up_to_block(backbone, FineTuning("full"), "block1").blocks == ("in", "block1")
    assert up_to_block(backbone, FineTuning("lora"), "in").blocks == ("in",)
    with pytest.raises(ValueError, match="features of block1 depend on; got 'block2'"):
        up_to_block(backbone, FineTuning("blocks", ("in", "block2")), "block1")
    with pytest.raises(ValueError, match=r"expected a source\.block .* got 'vae'"):
        up_to_block(backbone, FineTuning("full"), "vae")


def test_heads_are_averaged():
    found = [{"a": 1.0, "b": {"c": 2.0}, "d": "x"}, {"a": 3.0, "b": {"c": 4.0}, "d": "x"}]
    assert mean_over_heads(found) == {"a": 2.0, "b": {"c": 3.0}, "d": "x"}
    assert mean_over_heads([None, None]) is None


SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.vdit import test_finetuned_probe as probe
from vdit.datasets.checking import Benchmark
from vdit.datasets.probe_datasets import PROBE_DATASETS
from vdit.probing.feature_sources import Backbones
from vdit.probing.learned_probe import run_learned_probes
from vdit.probing.tasks.classification import Classification

PROBE_DATASETS["tinted"] = Benchmark(
    "tinted", ("a", "b"), lambda root, split: root, probe.read_tinted, ("here",)
)
run = replace(probe.RUN, sharding=sys.argv[2], steps=10, average=0.9)
run_learned_probes(
    "classification",
    Classification.build,
    [
        replace(probe.CONFIG, finetuning=options, share="batches", run=run)
        for options in probe.MODES.values()
    ],
    Path(sys.argv[1]),
    backbones=Backbones(build=lambda *_, **__: probe.Gray()),
)
"""


@pytest.mark.slow
def test_two_processes_learn_as_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    found = []
    for count, sharding in ((1, "none"), (2, "none"), (2, "full")):
        folder = tmp_path / f"{count}-{sharding}"
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        done = subprocess.run(
            [sys.executable, *torchrun, str(script), str(folder), sharding],
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
        files = [folder / f"tinted-classification-{row['run']}" / "fold0-seed0" for row in rows]
        found.append([(row, *files_of(each)) for row, each in zip(rows, files, strict=True)])
    alone, *others = found
    for other in others:
        for (row, *weights), (expected, *truth) in zip(other, alone, strict=True):
            assert row["run"] == expected["run"]
            assert row["metrics"] == expected["metrics"]
            moved = expected["finetuning"]["relative_change"]
            assert row["finetuning"]["relative_change"] == pytest.approx(moved, rel=1e-3)
            for values, true in zip(weights, truth, strict=True):
                for key, value in true.items():
                    torch.testing.assert_close(values[key], value, rtol=0, atol=1e-5)


def files_of(folder):
    """Head and backbone."""
    files = ("lora.safetensors", "backbone.safetensors", "head.safetensors")
    return [load_file(folder / name) for name in files if (folder / name).is_file()]


@pytest.mark.parametrize("name", MODES)
def test_configurations_of_the_paper(name):
    content = yaml.safe_load((ROOT / f"configs/probe/finetune_hmdb51_{name}.yaml").read_text())
    assert content.pop("task") == "classification"
    config = load_config(ClassificationConfig, content, ["data.root=."])
    assert config.finetuning.mode == name
    assert config.finetuning.checkpointing
    assert config.run.groups[0].rate < config.run.rate
    row = find_paper_row(config.paper.table, config.data.dataset, config.paper.method)
    assert row.values["top1"] == 68.3
    frozen = ["finetuning.mode=frozen", "finetuning.blocks=[]", "run.groups=[]"]
    load_config(ClassificationConfig, content, ["data.root=.", *frozen])


@pytest.mark.parametrize("name", EVERY)
def test_every_weight_that_learns_takes_part(name):
    backbone = EVERY[name]()
    reached = [block for block in backbone.block_modules() if block in backbone.blocks]
    block = reached[len(reached) // 2]
    frames = backbone.frame_offset + 2 * backbone.frame_multiple
    video = torch.rand(1, frames, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    timestep = None if isinstance(backbone, VisionEncoder) else 10

    def features():
        return backbone.extract(video, blocks=[block], timestep=timestep)[block]

    options = FineTuning("full", checkpointing=True)
    learning = BackboneTraining(backbone, options, block, features, remembers=False)
    features().sum().backward()
    learned = {n for n, each in backbone.named_parameters() if each.grad is not None}
    assert learned == set(learning.names)
    known = prepare_finetuning(backbone, up_to_block(backbone, options, block))
    assert len(learned) > 0.8 * len(known)
