"""Runs of the loop: portions, epochs, groups, precisions, logs, failures, signals."""

import json
import math
import os
import signal
import sys
import types
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from vdit.training.batches import Batches, noise_seed, number_of
from vdit.training.engine import CHECKPOINT, METRICS, RunConfig, Stage, Trainer
from vdit.training.optimization import build_optimizer, rate_share
from vdit.training.run_config import ParameterGroup, divide


class Keys(Dataset):
    def __getitem__(self, key):
        return key


class PointStage(Stage):
    """Fit a plane; `num_examples` points, known by (epoch, index); a frozen layer in front."""

    def __init__(self, num_examples=6):
        torch.manual_seed(0)
        self.frozen = nn.Linear(2, 64).requires_grad_(False)
        self.modules = nn.Sequential(self.frozen, nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 1))
        self.data = Keys()
        self.collate = list
        self.num_examples = num_examples
        self.seen, self.validated, self.exported = [], 0, []

    def losses(self, batch):
        self.seen.append(batch)
        index = torch.tensor([key[1] for key in batch], dtype=torch.float32)
        x = torch.stack([index.sin(), index.cos()], dim=1)
        error = (self.modules(x) - x.sum(dim=1, keepdim=True)).square()
        return {"loss": error.mean()}

    def draw_samples(self, folder): ...

    def export(self):
        assert not self.modules.training
        self.exported.append([p.detach().clone() for p in self.modules.parameters()])

    def validate(self, processes):
        assert not self.modules.training
        self.validated += 1
        return {"J": 0.5}


CONFIG = RunConfig(
    epochs=4, batch=2, rate=0.05, warmup=0, average=None, workers=0, log_every=1, save_every=100
)


def train(folder, stage=None, resume=False, **changes):
    stage = stage or PointStage()
    trainer = Trainer(stage, replace(CONFIG, **changes), folder)
    if resume:
        trainer.resume()
    trainer.run()
    return stage, trainer


def lines(folder):
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


# ---- portions ----------------------------------------------------------------------------------


def keys_of_step(portions, num_examples, step):
    """Keys of all processes in a step, and the seed that each is computed with."""
    found = {}
    for rank in range(portions.world_size):
        batches = list(Batches(portions, num_examples, seed=3, rank=rank, first_step=step))
        for turn in range(portions.accumulate):
            number = number_of(portions, rank, turn)
            found[noise_seed(3, step, number)] = batches[turn]
    return found


@pytest.mark.parametrize("num_examples", [None, 7])
def test_steps_see_the_same_however_they_are_divided(num_examples):
    config = RunConfig(steps=9, batch=4, micro_batch=1)
    for step in (0, 3, 8):
        alone = keys_of_step(divide(config, 1, num_examples), num_examples, step)
        assert len(alone) == 4
        assert keys_of_step(divide(config, 2, num_examples), num_examples, step) == alone
        assert keys_of_step(divide(config, 4, num_examples), num_examples, step) == alone


def test_an_epoch_is_every_example_filled_up_to_whole_steps():
    portions = divide(RunConfig(epochs=3, batch=4), 1, 6)
    assert (portions.steps_per_epoch, portions.steps) == (2, 6)
    keys = [key for batch in Batches(portions, 6) for key in batch]
    for epoch in range(3):
        mine = keys[8 * epoch : 8 * epoch + 8]
        assert {e for e, _ in mine} == {epoch}
        assert sorted(index for _, index in mine[:6]) == list(range(6))
        assert mine[6:] == mine[:2]
    assert [k for _, k in keys[:6]] != [k for _, k in keys[8:14]], "another order in each epoch"
    tiny = divide(RunConfig(epochs=1, batch=8), 1, 3)
    assert [len(batch) for batch in Batches(tiny, 3)] == [8]


@pytest.mark.parametrize(
    ("config", "world", "examples", "sentence"),
    [
        (RunConfig(batch=3), 2, None, "multiple of the 2 processes, got 3"),
        (RunConfig(batch=4, micro_batch=3), 1, None, "to divide the 4 examples"),
        (RunConfig(batch=4, micro_batch=0), 1, None, "to divide the 4 examples"),
        (RunConfig(epochs=2), 1, None, "expected run.steps"),
        (RunConfig(), 1, 0, "found no example"),
        (RunConfig(steps=0), 1, None, "at least one step"),
    ],
)
def test_portions_that_do_not_work(config, world, examples, sentence):
    with pytest.raises(ValueError, match=sentence):
        divide(config, world, examples)


def test_accumulated_steps_are_whole_steps(tmp_path):
    whole, _ = train(tmp_path / "whole")
    parts, trainer = train(tmp_path / "parts", micro_batch=1)
    assert trainer.portions.accumulate == 2
    assert len(parts.seen) == 2 * len(whole.seen)
    for a, b in zip(whole.exported[-1], parts.exported[-1], strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    for a, b in zip(lines(tmp_path / "whole"), lines(tmp_path / "parts"), strict=True):
        assert a["step"] == b["step"]
        assert a.get("loss", 0) == pytest.approx(b.get("loss", 0), abs=1e-5)


# ---- optimizer and schedule --------------------------------------------------------------------


def test_groups_have_their_rates_through_the_schedule(tmp_path):
    groups = [ParameterGroup(["1.bias", "3."], 0.2), ParameterGroup(["1."], 0.1)]
    config = replace(CONFIG, groups=groups, schedule="multistep", drops=[1, 3])
    trainer = Trainer(PointStage(), config, tmp_path)
    assert [len(g["params"]) for g in trainer.optimizer.param_groups] == [3, 1]
    shares = [rate_share(step, config, trainer.portions) for step in range(12)]
    assert shares == pytest.approx([1.0] * 3 + [0.1] * 6 + [0.01] * 3)
    trainer.run()
    assert [g["lr"] for g in trainer.optimizer.param_groups] == pytest.approx([0.002, 0.001])
    assert lines(tmp_path)[0]["rate"] == 0.2


def test_groups_that_fit_nothing_are_refused():
    parameters = dict(nn.Linear(2, 2).named_parameters())
    config = replace(CONFIG, groups=[ParameterGroup(["backbone.0"], 0.1)])
    with pytest.raises(ValueError, match=r"none has a name with backbone\.0"):
        build_optimizer(parameters, config)
    with pytest.raises(ValueError, match="parameters that are trained"):
        build_optimizer({}, CONFIG)


def test_a_constant_rate_and_no_average(tmp_path):
    stage, trainer = train(tmp_path, schedule="constant", clip=None)
    assert {line["rate"] for line in lines(tmp_path) if "rate" in line} == {0.05}
    for value, exported in zip(stage.modules.parameters(), stage.exported[-1], strict=True):
        assert torch.equal(value, exported)
    assert trainer.average is None


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_and_resumes(tmp_path, precision):
    changes = {"epochs": None, "steps": 30, "rate": 0.02, "precision": precision}
    whole, _ = train(tmp_path / "whole", **changes)
    log = [line["loss"] for line in lines(tmp_path / "whole") if "loss" in line]
    assert sum(log[-6:]) < 0.5 * sum(log[:6])
    Trainer(PointStage(), replace(CONFIG, **changes), tmp_path / "parts").run(minutes=0)
    parts, _ = train(tmp_path / "parts", resume=True, **changes)
    for a, b in zip(whole.exported[-1], parts.exported[-1], strict=True):
        assert torch.equal(a, b)


def test_an_overflow_of_the_loss_scale_skips_the_step(tmp_path):
    stage = PointStage()
    before = [p.clone() for p in stage.modules.parameters()]
    trainer = Trainer(stage, replace(CONFIG, precision="float16"), tmp_path)
    trainer.updater.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    losses = trainer._update([[(0, 1), (0, 2)]])
    assert not math.isfinite(losses["norm"])
    for a, b in zip(before, stage.modules.parameters(), strict=True):
        assert torch.equal(a, b)
    assert trainer.updater.scaler.get_scale() == 2.0**126


def test_compiled_networks_train_the_same(tmp_path):
    plain, _ = train(tmp_path / "plain", epochs=1)
    compiled, _ = train(tmp_path / "compiled", epochs=1, compile="eager")
    assert compiled.modules._compiled_call_impl is not None
    for a, b in zip(plain.exported[-1], compiled.exported[-1], strict=True):
        assert torch.allclose(a, b, atol=1e-6)


# ---- the run folder ----------------------------------------------------------------------------


def test_checkpoints_hold_what_is_trained_and_nothing_else(tmp_path):
    train(tmp_path)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert set(state["parameters"]) == {"1.weight", "1.bias", "3.weight", "3.bias"}
    assert state["step"] == 12
    assert state["buffers"] == {}


def test_validation_comes_after_every_epoch_or_so_many_steps(tmp_path):
    stage, _ = train(tmp_path / "epochs")
    assert stage.validated == 4
    scores = [line for line in lines(tmp_path / "epochs") if "validation/J" in line]
    assert [line["step"] for line in scores] == [3, 6, 9, 12]
    stage, _ = train(tmp_path / "steps", validate_every=5)
    assert stage.validated == 2


def test_networks_are_exported_after_every_epoch(tmp_path):
    stage, _ = train(tmp_path / "epochs")
    assert len(stage.exported) == 4
    kinds = {tuple(float(p.sum()) for p in weights) for weights in stage.exported}
    assert len(kinds) == 4
    stage, _ = train(tmp_path / "steps", epochs=None, steps=4)
    assert len(stage.exported) == 2  # after the first epoch and at the end


def test_tensorboard_gets_the_same_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path, log=["jsonl", "tensorboard"])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    written = [(line["step"], line["loss"]) for line in lines(tmp_path) if "loss" in line]
    assert [step for step, _ in shown] == [step for step, _ in written]
    assert [v for _, v in shown] == pytest.approx([v for _, v in written], rel=1e-6)


def test_wandb_gets_the_same_numbers_and_one_run_after_a_resumption(tmp_path, monkeypatch):
    calls = []

    class Run:
        id = "abc"

        def log(self, values, step):
            calls.append((step, values))

        def finish(self):
            calls.append("finish")

    wandb = types.ModuleType("wandb")
    wandb.init = lambda **words: calls.append(words) or Run()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    trainer = Trainer(PointStage(), replace(CONFIG, log=["wandb"]), tmp_path)
    trainer.run(minutes=0)
    assert calls[0]["id"] is None
    assert calls[0]["project"] == "vdit"
    assert calls[0]["config"]["batch"] == 2
    assert calls[1][0] == 1
    assert calls[1][1]["loss"] == pytest.approx(lines(tmp_path)[0]["loss"])
    assert calls[-1] == "finish"
    del calls[:]
    train(tmp_path, resume=True, log=["wandb"])
    assert calls[0]["id"] == "abc"


def test_logs_that_do_not_work(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="got 'csv'"):
        train(tmp_path, log=["csv"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"run\.log names wandb, which cannot be imported"):
        train(tmp_path, log=["wandb"])


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path):
    trainer = Trainer(PointStage(), CONFIG, tmp_path)
    trainer.run(minutes=0)
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 2, "lo')
    train(tmp_path, resume=True)
    assert [line["step"] for line in lines(tmp_path) if "loss" in line] == list(range(1, 13))


# ---- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_leaves_batch_and_state(tmp_path, what):
    stage = PointStage()
    losses = stage.losses

    def broken(batch):
        found = losses(batch)
        if len(stage.seen) == 6:
            weight = stage.modules[1].weight
            found["loss"] = found["loss"] + (
                weight.sum() * math.inf if what == "loss" else (0 * weight).sqrt().sum()
            )
        return found

    stage.losses = broken
    with pytest.raises(FloatingPointError, match=rf"step 5: the {what} is not finite") as error:
        train(tmp_path, stage)
    (path,) = tmp_path.glob("failure-*.pt")
    assert str(path) in str(error.value)
    kept = torch.load(path, weights_only=False)
    assert kept["batches"] == [stage.seen[-1]]
    assert kept["step"] == 5
    for name, value in kept["parameters"].items():
        assert torch.equal(value, stage.modules.get_parameter(name))
        assert value.isfinite().all()


def test_termination_saves_and_stops(tmp_path):
    stage = PointStage()
    losses = stage.losses

    def interrupted(batch):
        if len(stage.seen) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return losses(batch)

    before = signal.getsignal(signal.SIGTERM)
    stage.losses = interrupted
    _, trainer = train(tmp_path, stage)
    assert trainer.step == 5
    assert len(stage.exported) == 1  # of the first epoch
    assert signal.getsignal(signal.SIGTERM) is before
    resumed, _ = train(tmp_path, resume=True)
    whole, _ = train(tmp_path / "whole")
    for a, b in zip(whole.exported[-1], resumed.exported[-1], strict=True):
        assert torch.equal(a, b)


class Damaged(Keys):
    def __getitem__(self, key):
        raise ValueError(f"frame {key} of a video is damaged")


@pytest.mark.parametrize("workers", [0, 1])
def test_data_that_cannot_be_read_is_one_sentence(tmp_path, workers):
    stage = PointStage()
    stage.data = Damaged()
    with pytest.raises(ValueError, match=r"^frame .0, \d. of a video is damaged$"):
        train(tmp_path, stage, workers=workers)


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"PK not really")
    with pytest.raises(ValueError, match=r"checkpoint\.pt cannot be read"):
        train(tmp_path, resume=True)


def test_devices_that_do_not_work(tmp_path):
    from vdit.training.distributed import Processes, join_processes

    with pytest.raises(ValueError, match="cpu, cuda or auto"), join_processes("tpu"):
        pass
    with pytest.raises(ValueError, match=r"expected run\.device=cpu for this stage"):
        Trainer(PointStage(), CONFIG, tmp_path, Processes(device=torch.device("meta")))
