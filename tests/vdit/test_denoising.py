"""Losses without the right text and without the order of frames: a network that uses them shows."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler

from vdit.evaluation.denoising import denoising_losses

SCHEDULE = DDPMScheduler(num_train_timesteps=3, beta_start=0.2, beta_end=0.5)


def clips():
    """Two clips whose latents are their prompt's number plus the frame's."""
    values = torch.tensor([1.0, -2.0])
    latents = values[:, None, None, None, None] + torch.arange(4.0)[:, None, None] / 2
    return latents.expand(2, 4, 4, 2, 2).clone(), values[:, None, None]


class Reading(torch.nn.Module):
    """Solve for the noise with what the prompt says of the latents, if it reads it."""

    def __init__(self, reads_text, reads_order):
        super().__init__()
        self.reads_text, self.reads_order = reads_text, reads_order

    def forward(self, noisy, levels, prompt):
        clean = torch.zeros_like(noisy)
        if self.reads_text:
            clean = clean + prompt[:, :, :, None, None]
        if self.reads_order:
            clean = clean + torch.arange(4.0)[:, None, None] / 2
        alpha = SCHEDULE.alphas_cumprod[levels].view(-1, 1, 1, 1, 1)
        return SimpleNamespace(sample=(noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt())


def losses_of(reads_text, reads_order):
    losses = denoising_losses(Reading(reads_text, reads_order), SCHEDULE, *clips())
    assert all(len(values) == 3 for values in losses.values())
    return {name: sum(values) for name, values in losses.items()}


def test_a_network_that_reads_everything():
    losses = losses_of(reads_text=True, reads_order=True)
    assert losses["own"] == pytest.approx(0, abs=1e-6)
    assert losses["other"] > 0.1
    assert losses["shuffled_frames"] > 0.01


def test_a_network_that_is_blind_to_text():
    losses = losses_of(reads_text=False, reads_order=True)
    assert losses["other"] == losses["own"]
    assert losses["shuffled_frames"] != losses["own"]


def test_a_network_that_is_blind_to_order():
    losses = losses_of(reads_text=True, reads_order=False)
    assert losses["shuffled_frames"] == pytest.approx(losses["own"], rel=1e-5)


def test_one_clip_is_refused():
    latents, prompt = clips()
    with pytest.raises(ValueError, match="at least 2 clips"):
        denoising_losses(Reading(True, True), SCHEDULE, latents[:1], prompt[:1])
