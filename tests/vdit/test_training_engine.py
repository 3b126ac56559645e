"""The training loop: it learns, stops, resumes bit for bit, and says what is wrong."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from vdit.training.engine import CHECKPOINT, METRICS, RunConfig, Stage, Trainer
from vdit.training.schedule import MovingAverage, cosine_rate


class Numbers(Dataset):
    """Example i is the number i."""

    def __getitem__(self, index):
        return index


class LineStage(Stage):
    """Fit y = 2 x - 1 from noisy points that depend on the example only; dropout on top."""

    def __init__(self):
        torch.manual_seed(0)
        self.modules = nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
        self.data = Numbers()
        self.collate = list
        self.seen = []
        self.sampled = []
        self.exported = None

    def losses(self, batch):
        self.seen += batch
        x = torch.tensor(batch, dtype=torch.float32).remainder(17)[:, None] / 17
        noise = 0.01 * torch.randn(x.shape)
        loss = (self.modules(x + noise) - 2 * x + 1).square().mean()
        return {"loss": loss, "noise": noise.abs().mean()}

    def draw_samples(self, folder):
        assert not self.modules.training
        self.sampled.append(folder.name)

    def export(self):
        self.exported = [p.detach().clone() for p in self.modules.parameters()]


CONFIG = RunConfig(
    steps=40, batch=4, rate=0.05, warmup=5, workers=0, log_every=5, save_every=10, sample_every=20
)


def train(folder, minutes=None, resume=False):
    stage = LineStage()
    trainer = Trainer(stage, CONFIG, folder)
    folder.mkdir(exist_ok=True)
    if resume:
        trainer.resume()
    return stage, trainer, trainer.run(minutes)


def metrics(folder):
    lines = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_it_learns_and_exports_the_average(tmp_path):
    stage, trainer, complete = train(tmp_path)
    assert complete
    assert trainer.step == 40
    assert stage.seen == list(range(160)), "every example once, in order"
    log = metrics(tmp_path)
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
    assert stage.sampled == ["000020", "000040"]
    last = list(stage.modules.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(stage.exported, last, strict=True))
    for average, value in zip(stage.exported, trainer.average.values, strict=True):
        assert torch.equal(average, value)


def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path):
    whole, _, _ = train(tmp_path / "whole")
    parts, _, complete = train(tmp_path / "parts", minutes=0)
    while not complete:
        parts, _, complete = train(tmp_path / "parts", minutes=0, resume=True)
    for a, b in zip(whole.exported, parts.exported, strict=True):
        assert torch.equal(a, b)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")


def test_lines_after_the_checkpoint_are_dropped(tmp_path):
    train(tmp_path, minutes=0)
    line = json.dumps({"step": 30, "loss": 1.0})
    (tmp_path / METRICS).write_text(line + "\n")
    train(tmp_path, resume=True)
    assert [entry["step"] for entry in metrics(tmp_path)] == list(range(5, 41, 5))


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    stage = LineStage()
    stage.losses = lambda batch: {"loss": stage.modules[0].weight.sum() * float("nan")}
    with pytest.raises(FloatingPointError, match=r"step 0: the loss is not finite; .*rank0"):
        Trainer(stage, CONFIG, tmp_path).run()


def test_resume_errors(tmp_path):
    with pytest.raises(ValueError, match=f"expected a checkpoint at .*{CHECKPOINT}"):
        train(tmp_path, resume=True)
    train(tmp_path, minutes=0)
    other = LineStage()
    other.modules = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="expected the parameters of this configuration"):
        Trainer(other, CONFIG, tmp_path).resume()


@pytest.mark.parametrize(("name", "value"), [("batch", 2), ("seed", 7)])
def test_steps_of_other_examples_are_not_gone_on_with(tmp_path, name, value):
    train(tmp_path, minutes=0)
    other = Trainer(LineStage(), replace(CONFIG, **{name: value}), tmp_path)
    with pytest.raises(ValueError, match=f"was trained with {name} .*, expected {value}"):
        other.resume()
    longer = Trainer(LineStage(), replace(CONFIG, steps=50, rate=0.01), tmp_path)
    longer.resume()
    assert longer.step == 1


def test_the_rate_rises_and_falls():
    rates = [cosine_rate(step, 100, 10) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == 1.0


def test_the_average_follows_and_swaps():
    value = torch.zeros(3)
    average = MovingAverage([value], decay=0.9)
    value += 1
    for step in range(200):
        average.update(step)
    assert torch.allclose(average.values[0], torch.ones(3), atol=1e-3)
    value += 1
    average.swap()
    assert torch.allclose(value, torch.ones(3), atol=1e-3)
    average.swap()
    assert torch.equal(value, torch.full((3,), 2.0))
