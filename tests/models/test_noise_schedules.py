"""Noise schedules against the schedulers of diffusers, and against their own definitions."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from vdit.models.backbones.noise_schedules import (
    DiffusionSchedule,
    EdmSchedule,
    FlowSchedule,
    draw_noise,
)

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
I2VGEN = {
    "beta_schedule": "squaredcos_cap_v2",
    "rescale_betas_zero_snr": True,
    "prediction_type": "v_prediction",
}
# timestep: alphas_cumprod and sigma of Stable Diffusion, of ADM, of I2VGen-XL
TABLE = {
    0: (0.99915, 0.0292, 0.99990, 0.0100, 0.99996, 0.0064),
    25: (0.97661, 0.1548, 0.99097, 0.0955, 0.99735, 0.0515),
    50: (0.95158, 0.2256, 0.96995, 0.1760, 0.99172, 0.0913),
    51: (0.95052, 0.2281, 0.96887, 0.1793, 0.99144, 0.0929),
    100: (0.89422, 0.3439, 0.89514, 0.3423, 0.97157, 0.1710),
    200: (0.75369, 0.5717, 0.65635, 0.7236, 0.89776, 0.3375),
    261: (0.65567, 0.7247, 0.49236, 1.0154, 0.83329, 0.4473),
    300: (0.59050, 0.8328, 0.39401, 1.2402, 0.78562, 0.5224),
    600: (0.16078, 2.2846, 0.02557, 6.170, 0.33931, 1.3954),
    900: (0.01415, 8.3466, 0.00027, 60.8, 0.02360, 6.430),
}
TIME_OF_SVD = {
    0: -0.8837,
    25: -0.4665,
    50: -0.3723,
    51: -0.3694,
    100: -0.2668,
    200: -0.1398,
    261: -0.0805,
    300: -0.0458,
    600: 0.2066,
    900: 0.5305,
    999: 0.6705,
}


def schedules():
    return (
        DiffusionSchedule(DDIMScheduler(**STABLE_DIFFUSION).alphas_cumprod),
        DiffusionSchedule.linear(),
        DiffusionSchedule(DDIMScheduler(**I2VGEN).alphas_cumprod),
    )


@pytest.mark.parametrize("timestep", TABLE)
def test_published_levels(timestep):
    for schedule, alpha, sigma in zip(
        schedules(), TABLE[timestep][::2], TABLE[timestep][1::2], strict=True
    ):
        signal, noise = schedule.scales(timestep)
        assert signal**2 == pytest.approx(alpha, abs=6e-6)
        assert signal**2 + noise**2 == pytest.approx(1)
        assert schedule.sigma(timestep) == pytest.approx(sigma, rel=2e-3, abs=6e-5)


def test_last_level_of_stable_diffusion():
    schedule = schedules()[0]
    assert schedule.scales(999)[0] ** 2 == pytest.approx(0.00466, abs=6e-6)
    assert schedule.sigma(999) == pytest.approx(14.61, abs=6e-3)


def test_zero_terminal_signal_is_infinite_noise():
    assert schedules()[2].sigma(999) == math.inf


@pytest.mark.parametrize("timestep", TIME_OF_SVD)
def test_edm_tells_a_quarter_of_the_logarithm(timestep):
    schedule = EdmSchedule(DDIMScheduler(**STABLE_DIFFUSION).alphas_cumprod)
    assert schedule.condition(timestep) == pytest.approx(TIME_OF_SVD[timestep], abs=6e-5)


def test_edm_input_is_what_its_scheduler_scales():
    euler = EulerDiscreteScheduler(**STABLE_DIFFUSION, timestep_type="continuous")
    schedule = EdmSchedule(euler.alphas_cumprod)
    z, n = torch.randn(2, 4), torch.randn(2, 4)
    sigma = schedule.sigma(300)
    expected = (z + sigma * n) / math.sqrt(sigma**2 + 1)
    torch.testing.assert_close(schedule.add_noise(z, 300, n), expected)


def test_flow_is_the_scheduler_of_diffusers():
    flow = FlowMatchEulerDiscreteScheduler(shift=3.0)
    schedule = FlowSchedule()
    for index in (0, 16, 50, 999):
        timestep = schedule.shifted(index, 3.0)
        sigma = float(flow.sigmas.flip(0)[index])
        assert timestep == pytest.approx(1000 * sigma, rel=1e-4)
        z, n = torch.randn(1, 4), torch.randn(1, 4)
        expected = flow.scale_noise(z, torch.tensor([flow.timesteps.flip(0)[index]]), n)
        torch.testing.assert_close(
            schedule.add_noise(z, timestep, n), expected, rtol=1e-4, atol=1e-4
        )
    assert schedule.shifted(16, 3.0) == pytest.approx(49.3, abs=0.05)


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.2256, 1.0, 7.0])
def test_timestep_of_a_common_noise(sigma):
    for schedule in (*schedules(), FlowSchedule()):
        found = schedule.timestep_at(sigma)
        schedule.check(found)
        best = abs(schedule.sigma(found) - sigma)
        step = 1 if isinstance(schedule, DiffusionSchedule) else 0.5
        for other in (found - step, found + step):
            if schedule.first <= other <= schedule.last:
                assert best <= abs(schedule.sigma(other) - sigma)


def test_mistakes_are_refused():
    schedule = DiffusionSchedule.linear()
    latents = torch.zeros(1, 4)
    assert schedule.add_noise(latents, None, latents) is latents
    for wrong in (-1, 1000, 3.5):
        with pytest.raises(ValueError, match=r"expected a timestep in 0\.\.999"):
            schedule.add_noise(latents, wrong, latents)
    with pytest.raises(ValueError, match="expected sigma >= 0"):
        schedule.timestep_at(-1.0)
    with pytest.raises(ValueError, match="expected an index"):
        FlowSchedule.shifted(1000, 3.0)
    with pytest.raises(ValueError, match="noise of the latents' shape"):
        draw_noise(latents, torch.zeros(2, 4))


def test_drawn_noise_follows_the_seed():
    latents = torch.zeros(2, 3)
    draws = [draw_noise(latents, None, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    assert torch.equal(draw_noise(latents, draws[0]), draws[0])


def test_zero_terminal_snr_against_diffusers():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    theirs = DiffusionSchedule((1 - rescale_zero_terminal_snr(betas)).cumprod(0))
    ours = DiffusionSchedule.linear().with_zero_terminal_snr()
    assert ours.scales(999) == (0.0, 1.0)
    assert math.isinf(ours.sigma(999))
    assert ours.alphas_cumprod == pytest.approx(theirs.alphas_cumprod, abs=1e-9)
    assert ours.scales(0) == pytest.approx(DiffusionSchedule.linear().scales(0))
    assert ours.alphas_cumprod[200] == pytest.approx(0.65, abs=0.01)
    assert ours.timestep_at(ours.sigma(200)) == 200
