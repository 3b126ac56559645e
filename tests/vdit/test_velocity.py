"""Velocity diffusion against its own definitions and the sampler of diffusers."""

import pytest
import torch
from diffusers import DDIMScheduler

from vdit.models.backbones.walt import walt_schedule
from vdit.stages.velocity import Velocity

SHAPE = (2, 3, 4, 5, 6)


@pytest.fixture
def velocity():
    return Velocity(walt_schedule())


def theirs():
    return DDIMScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        rescale_betas_zero_snr=True,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def test_estimates_undo_the_target(velocity, generator):
    latents, noise = (torch.randn(SHAPE, generator=generator) for _ in range(2))
    levels = torch.randint(0, 1000, SHAPE[:2], generator=generator)
    levels[0] = torch.tensor([0, 500, 999])
    noisy = velocity.add_noise(latents, noise, levels)
    wanted = velocity.target(latents, noise, levels)
    torch.testing.assert_close(velocity.clean(noisy, wanted, levels), latents, atol=1e-5, rtol=0)
    torch.testing.assert_close(velocity.noise(noisy, wanted, levels), noise, atol=1e-5, rtol=0)
    assert torch.equal(noisy[0, 2], noise[0, 2]), "no signal is left at the last level"
    scheduler = theirs()
    flat = [each.flatten(0, 1) for each in (latents, noise)]
    told = scheduler.get_velocity(*flat, levels.flatten()).view(SHAPE)
    torch.testing.assert_close(wanted, told, atol=2e-4, rtol=0)


@pytest.mark.parametrize("steps", [1, 4, 25])
def test_an_oracle_is_sampled_exactly(velocity, steps, generator):
    """A network that knows the clean latents: any number of steps leads there."""
    latents, noise = (torch.randn(SHAPE, generator=generator) for _ in range(2))
    estimates = []

    def oracle(noisy, levels, estimate):
        estimates.append(estimate)
        signal, share = velocity.scales(levels)
        return (signal * noisy - latents) / share

    made = velocity.sample(oracle, noise, steps)
    torch.testing.assert_close(made, latents, atol=1e-3, rtol=0)
    assert len(estimates) == steps
    assert not estimates[0].any()
    for each in estimates[1:]:
        torch.testing.assert_close(each, latents, atol=1e-3, rtol=0)


def test_the_way_is_that_of_diffusers(velocity, generator):
    noise = torch.randn(SHAPE, generator=generator)

    def network(noisy, levels, estimate):
        return torch.tanh(noisy * 0.7 + levels[..., None, None, None] / 1000)

    scheduler = theirs()
    scheduler.set_timesteps(10)
    noisy = noise
    for level in scheduler.timesteps:
        predicted = network(noisy, torch.full(SHAPE[:2], int(level)), None)
        noisy = scheduler.step(predicted, int(level), noisy).prev_sample
    made = velocity.sample(network, noise, 10)
    torch.testing.assert_close(made, noisy, atol=2e-3, rtol=0)
