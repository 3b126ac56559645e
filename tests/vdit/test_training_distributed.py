"""Two processes under torchrun: equal weights, one end for all, whoever stops or fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from torch import nn
from vdit.training.distributed import join_processes
from vdit.training.engine import RunConfig, Stage, Trainer

folder = Path(sys.argv[1])

class Keys(torch.utils.data.Dataset):
    def __getitem__(self, key):
        return key

class PointStage(Stage):
    def __init__(self, rank=0, mishap=None, at=3):
        torch.manual_seed(rank)  # the first process decides
        self.modules = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.data, self.collate, self.num_examples = Keys(), list, 7
        self.calls, self.mishap, self.at, self.exports = 0, mishap, at, 0

    def losses(self, batch):
        index = torch.tensor([key[1] for key in batch], dtype=torch.float32)
        x = torch.stack([index.sin(), index.cos()], dim=1)
        loss = (self.modules(x) - x.sum(dim=1, keepdim=True)).square().mean()
        if self.calls == self.at and self.mishap == "stop":
            os.kill(os.getpid(), signal.SIGTERM)
        if self.calls == self.at and self.mishap == "break":
            loss = loss * float("inf")
        self.calls += 1
        return {"loss": loss}

    def draw_samples(self, folder): ...

    def export(self):
        self.exports += 1

class RareStage(PointStage):
    # a part of it is left out of most steps, and of one process where it is not

    def __init__(self, rank=0):
        super().__init__(rank)
        self.modules.append(nn.Linear(1, 1))
        self.leaves_out = True

    def losses(self, batch):
        taken = self.modules if batch[0][1] < 2 else self.modules[:3]
        index = torch.tensor([key[1] for key in batch], dtype=torch.float32)
        return {"loss": taken(torch.stack([index.sin(), index.cos()], dim=1)).square().mean()}

CONFIG = RunConfig(
    epochs=4, batch=4, micro_batch=1, rate=0.05, workers=0, average=None, log_every=1
)

def run(name, processes, stage, config=CONFIG, resume=False):
    trainer = Trainer(stage, config, folder / name, processes)
    if resume:
        trainer.resume()
    error = None
    try:
        trainer.run()
    except FloatingPointError as caught:
        error = str(caught)
    weights = [p.tolist() for p in stage.modules.parameters()]
    return {"step": trainer.step, "weights": weights, "error": error, "exports": stage.exports}

with join_processes("cpu") as processes:
    rank, is_last = processes.rank, processes.rank == processes.world_size - 1
    report = {"whole": run("whole", processes, PointStage(rank))}
    report["rare"] = run("rare", processes, RareStage(rank))
    if processes.world_size > 1:
        stage = PointStage(rank, "stop" if is_last else None)
        report["stopped"] = run("stopped", processes, stage)
        report["resumed"] = run("stopped", processes, PointStage(rank), resume=True)
        stage = PointStage(rank, "break" if is_last else None)
        report["broken"] = run("broken", processes, stage)
        uneven = replace(CONFIG, batch=3)
        try:
            run("uneven", processes, PointStage(), uneven)
        except ValueError as caught:
            report["uneven"] = str(caught)
(folder / f"report{rank}.json").write_text(json.dumps(report))
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


def flatten(weights):
    if isinstance(weights, float):
        return [weights]
    return [value for each in weights for value in flatten(each)]


@pytest.mark.slow
def test_two_processes(tmp_path):
    (alone,) = run_script(tmp_path / "one", 1)
    first, second = run_script(tmp_path / "two", 2)
    exports = {"whole": 4, "resumed": 3, "rare": 4}  # after every epoch
    for name, same in (("whole", "whole"), ("resumed", "whole"), ("rare", "rare")):
        assert first[name]["weights"] == second[name]["weights"]
        assert first[name]["step"] == second[name]["step"] == 8
        assert (first[name]["exports"], second[name]["exports"]) == (exports[name], 0)
        expected = flatten(alone[same]["weights"])
        assert flatten(first[name]["weights"]) == pytest.approx(expected, abs=1e-5)
    assert first["resumed"]["weights"] == first["whole"]["weights"]
    # a step takes two micro-batches, so the fourth call belongs to the second step
    assert first["stopped"]["step"] == second["stopped"]["step"] == 2
    for rank, report in enumerate((first, second)):
        assert report["broken"]["step"] == 1
        assert "step 1: the loss is not finite" in report["broken"]["error"]
        assert (tmp_path / "two" / "broken" / f"failure-step000001-rank{rank}.pt").is_file()
        assert "multiple of the 2 processes, got 3" in report["uneven"]
    lines = (tmp_path / "two" / "stopped" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 9))
