"""Two processes that share the weights of a tiny UNet train as one process that has all of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from torch import nn
from torch.distributed.tensor import DTensor
from tests.models.tiny_unets import TINY
from vdit.finetuning import FineTuning, prepare_finetuning
from vdit.lora import LoraSettings
from vdit.training.distributed import join_processes
from vdit.training.engine import RunConfig, Stage, Trainer

folder = Path(sys.argv[1])

class Keys(torch.utils.data.Dataset):
    def __getitem__(self, key):
        return key

class UnetStage(Stage):
    def __init__(self, folder, options, rank=0):
        self.backbone = TINY["stable-diffusion"]()
        torch.manual_seed(rank)  # the first process decides
        prepare_finetuning(self.backbone, options)
        self.head = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 3))
        self.modules = nn.ModuleDict({"backbone": self.backbone, "head": self.head})
        self.data, self.collate, self.num_examples = Keys(), list, None
        self.folder = folder

    def layers(self):
        return self.backbone.layer_modules()

    def losses(self, batch):
        video = torch.stack(
            [torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(k)) for k in batch]
        )
        target = video.mean((1, 3, 4))
        generator = torch.Generator().manual_seed(sum(batch))
        maps = self.backbone.extract(video, blocks=["up1"], timestep=50, generator=generator)["up1"]
        loss = (self.head(maps.float().mean((1, 3, 4))) - target).square().mean()
        return {"loss": loss}

    def validate(self, processes):
        for _ in range(processes.rank):  # processes may do different things here
            self.losses([7, 8])
        share = float(self.losses([7, 8])["loss"])
        return {"loss": processes.sum(share)[0] / processes.world_size}

    def draw_samples(self, folder):
        self.losses([7, 8])

    def export(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {k: v.clone() for k, v in self.modules.state_dict().items()}
        assert not any(isinstance(v, DTensor) for v in state.values())
        torch.save(state, self.folder / "exported.pt")

class LinearStage(UnetStage):
    def __init__(self, folder, options, rank=0):
        torch.manual_seed(rank)
        self.modules = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.data, self.collate, self.num_examples = Keys(), list, None
        self.folder = folder

    def layers(self):
        return list(self.modules)

    def losses(self, batch):
        index = torch.tensor(batch, dtype=torch.float32)
        x = torch.stack([index.sin(), index.cos()], dim=1)
        return {"loss": (self.modules(x).float() - x.sum(dim=1, keepdim=True)).square().mean()}

CONFIG = RunConfig(
    steps=10, batch=2, micro_batch=1, rate=0.001, warmup=2, workers=0, average=0.9, log_every=1,
    clip=0.05, validate_every=4, sample_every=5, save_every=100
)
BLOCKS = ("down0", "up1")
MODES = {
    "blocks": FineTuning("blocks", BLOCKS, checkpointing=True),
    "lora": FineTuning("lora", ("down0",), LoraSettings(rank=2)),
}

def run(name, processes, options, config=CONFIG, minutes=None, resume=False, kind=UnetStage):
    stage = kind(folder / name, options, processes.rank)
    trainer = Trainer(stage, config, folder / name, processes)
    if resume:
        trainer.resume()
    trainer.run(minutes)
    sizes = [
        (p.to_local() if isinstance(p, DTensor) else p).numel() for p in stage.modules.parameters()
    ]
    return {"share": sum(sizes) / sum(p.numel() for p in stage.modules.parameters())}

with join_processes("cpu") as processes:
    report = {}
    sharded = replace(CONFIG, sharding="full")
    is_pair = processes.world_size > 1
    report["blocks"] = run("blocks", processes, MODES["blocks"], sharded)
    if is_pair:
        run("lora", processes, MODES["lora"], sharded, minutes=0)
    report["lora"] = run("lora", processes, MODES["lora"], sharded, resume=is_pair)
    if is_pair:
        run("left", processes, MODES["lora"], sharded, minutes=0)
    for precision in ("float32", "bfloat16", "float16"):
        config = replace(sharded, precision=precision, batch=4, rate=0.01)
        run(precision, processes, None, config, kind=LinearStage)
    run("replicated", processes, None, replace(config, sharding="none"), kind=LinearStage)
    run("parts", processes, None, config, kind=LinearStage, minutes=0)
    run("parts", processes, None, config, kind=LinearStage, resume=True)
    if (folder.parent / "two" / "left").exists() and processes.world_size == 1:
        (folder.parent / "two" / "left").rename(folder / "left")
        run("left", processes, MODES["lora"], CONFIG, resume=True)
(folder / f"report{processes.rank}.json").write_text(json.dumps(report))
"""


def run_script(folder, processes):
    folder.mkdir()
    script = folder / "script.py"
    script.write_text(SCRIPT)
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [sys.executable, *torchrun, str(script), str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"report{rank}.json").read_text()) for rank in range(processes)]


def exported(folder, name):
    return torch.load(folder / name / "exported.pt")


def metrics(folder, name):
    lines = (folder / name / "metrics.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key != "seconds"}
        for line in lines
    ]


def assert_close(weights, others, tolerance):
    assert weights.keys() == others.keys()
    for key, value in weights.items():
        torch.testing.assert_close(others[key], value, rtol=0, atol=tolerance)


@pytest.mark.slow
def test_two_processes_share_the_weights(tmp_path):
    reports = run_script(tmp_path / "two", 2)
    (alone,) = run_script(tmp_path / "one", 1)
    one, two = tmp_path / "one", tmp_path / "two"
    for name in ("blocks", "lora", "float32", "bfloat16"):
        assert_close(exported(one, name), exported(two, name), 1e-5)
        for line, other in zip(metrics(one, name), metrics(two, name), strict=True):
            assert line == pytest.approx(other, rel=1e-4, abs=1e-5)
    # the same steps are skipped; one process, with smaller shares of the loss, skips fewer
    assert_close(exported(two, "float16"), exported(two, "replicated"), 1e-5)
    assert_close(exported(two, "float16"), exported(two, "parts"), 0.0)
    # begun by two, ended by one
    assert_close(exported(two, "lora"), exported(one, "left"), 1e-5)
    for name in ("blocks", "lora"):
        assert alone[name]["share"] == 1.0
        assert sum(report[name]["share"] for report in reports) == pytest.approx(1.0)
        assert all(0.4 < report[name]["share"] < 0.6 for report in reports)
