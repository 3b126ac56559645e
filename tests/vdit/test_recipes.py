"""Recipes of `configs/vdit/` say what the released trainings do: length, batch, rates."""

from __future__ import annotations

from pathlib import Path

import pytest

from vdit.commands.train import read_training
from vdit.config import load_config
from vdit.stages.benchmark import BenchmarkConfig

CONFIGS = Path(__file__).parents[2] / "configs" / "vdit"

GPUS = 2
FRESH, PRETRAINED, ON_PICTURES = GPUS / 4, GPUS / 8, GPUS / 8
"""What the released code multiplies its rates by: in its training, from pretrained weights, and in
the pre-training of SgMg, which it builds on."""

RELEASED = [  # name, epochs, drops, clips a GPU, factor of the rates, text encoder is trained
    ("vdit_ytvos", 9, [6, 8], 1, FRESH, False),
    ("vdit_pretrain_refcoco", 11, [8, 10], 2, ON_PICTURES, True),
    ("vdit_ytvos_finetune", 6, [3, 5], 1, PRETRAINED, False),
    ("vdit_a2d", 6, [3, 5], 1, PRETRAINED, False),
]


@pytest.mark.parametrize(("name", "epochs", "drops", "clips", "factor", "learns"), RELEASED)
def test_length_batch_and_rates(name, epochs, drops, clips, factor, learns):
    content = read_training(CONFIGS / f"{name}.yaml")
    del content["stage"]
    config = load_config(BenchmarkConfig, content)
    run = config.run
    assert (run.epochs, run.drops, run.drop_factor) == (epochs, drops, 0.1)
    assert (run.batch, run.micro_batch) == (clips * GPUS, clips)
    assert (run.clip, run.decay, run.betas) == (0.1, 5e-4, (0.9, 0.999))
    assert run.rate == pytest.approx(1e-4 * factor)
    rates = {part: group.rate for group in run.groups for part in group.contains}
    points = dict.fromkeys(("reference_points", "sampling_offsets"), 1e-4 * factor)
    words = {"text_encoder": 1e-5 * factor} if learns else {}
    assert rates == pytest.approx(points | words)
    assert config.model.train_text_encoder == learns
