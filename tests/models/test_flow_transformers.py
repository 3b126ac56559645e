"""What every diffusion transformer promises, on tiny random networks."""

import pytest
import torch

from tests.models.tiny_transformers import TINY


@pytest.fixture(params=TINY)
def backbone(request):
    return TINY[request.param]()


@pytest.fixture
def frames(backbone):
    return backbone.frame_offset + 2 * backbone.frame_multiple


@pytest.fixture
def video(frames, generator):
    return torch.rand(2, frames, 3, 32, 48, generator=generator)


@pytest.fixture
def text(backbone, generator):
    return torch.randn(2, 5, backbone.text_dim, generator=generator)


@pytest.fixture
def noise(backbone, video, generator):
    return torch.randn(backbone.encode(video).latent_mean.shape, generator=generator)


def features(backbone, video, seed=0, grad=False, **options):
    options = {"blocks": list(backbone.blocks), "timestep": 49.3} | options
    generator = torch.Generator().manual_seed(seed)
    with torch.set_grad_enabled(grad):
        return backbone.extract(video, generator=generator, **options)


def test_shapes_follow_the_table(backbone, video, frames):
    found = features(backbone, video)
    assert list(found) == list(backbone.blocks)
    for name, feature in found.items():
        info = backbone.blocks[name]
        steps = backbone.num_feature_frames(frames)
        assert feature.shape == (2, steps, info.channels, 32 // info.stride, 48 // info.stride)
        assert info.temporal_stride == backbone.frame_multiple


def test_weights_are_frozen_and_stay_in_eval_mode(backbone):
    backbone.train()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(module.training for module in backbone.modules())


def test_one_seed_one_result(backbone, video):
    first, again, other = (features(backbone, video, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("block", ["block1", "block2"])
def test_early_stop_equals_the_full_pass(backbone, video, block, monkeypatch):
    full = features(backbone, video)[block]
    lists = [m for m in backbone.modules() if isinstance(m, torch.nn.ModuleList)]
    last = max(lists, key=lambda each: sum(p.numel() for p in each.parameters()))[-1]
    monkeypatch.setattr(last, "forward", lambda *_, **__: pytest.fail("the last block was run"))
    assert torch.equal(features(backbone, video, blocks=[block])[block], full)


def test_clips_of_a_batch_do_not_see_each_other(backbone, video, text, noise):
    encoded, alone = backbone.encode(video), backbone.encode(video[1:])
    encoded.posterior_noise = noise.flip(0)
    alone.posterior_noise = noise[:1]
    together = features(backbone, encoded, noise=noise, text=text)
    single = features(backbone, alone, noise=noise[1:], text=text[1:])
    for name, feature in together.items():
        torch.testing.assert_close(feature[1:], single[name], rtol=1e-4, atol=1e-5)


def test_noise_from_outside_is_used(backbone, video, noise):
    given = features(backbone, video, noise=noise)
    called = features(backbone, video, noise=lambda latents: noise * torch.ones_like(latents))
    other = features(backbone, video, noise=-noise)
    assert all(torch.equal(given[name], called[name]) for name in given)
    assert not any(torch.equal(given[name], other[name]) for name in given)


def test_no_timestep_is_no_noise_at_time_zero(backbone, video, noise):
    clean = features(backbone, video, timestep=None)
    start = features(backbone, video, timestep=0, noise=noise)
    assert all(torch.equal(clean[name], start[name]) for name in clean)


def test_all_noise_forgets_the_video(backbone, video, noise):
    found = features(backbone, video, timestep=1000, noise=noise)
    other = features(backbone, 1 - video, timestep=1000, noise=noise)
    for name, feature in found.items():
        torch.testing.assert_close(feature, other[name])


def test_gradients_reach_text_and_noise(backbone, video, text, noise):
    found = features(
        backbone,
        video,
        blocks=["block2"],
        text=text.requires_grad_(),
        noise=noise.requires_grad_(),
        grad=True,
    )
    (found["block2"] * torch.randn_like(found["block2"])).sum().backward()
    assert text.grad.abs().sum() > 0
    assert noise.grad.abs().sum() > 0


def test_text_changes_the_features(backbone, video, text):
    null, told = features(backbone, video), features(backbone, video, text=text)
    assert not torch.equal(null["block3"], told["block3"])


def test_latents_are_a_sample_or_the_mean_of_the_posterior(backbone, video):
    encoded = backbone.encode(video)
    deviation = (0.5 * encoded.latent_logvar).exp()
    encoded.posterior_noise = torch.ones_like(deviation)
    moved = backbone.scale_latents(encoded.latent_mean + deviation)
    torch.testing.assert_close(backbone.sample_latents(encoded), moved)
    backbone.posterior = "mean"
    mean = backbone.scale_latents(encoded.latent_mean)
    assert torch.equal(backbone.sample_latents(encoded), mean)


def test_nothing_stays_on_another_device(backbone, video):
    backbone.to("meta")
    for feature in features(backbone, video.to("meta"), timestep=None).values():
        assert feature.is_meta
    noise = torch.empty_like(backbone.encode(video.to("meta")).latent_mean)
    assert backbone.extract(video.to("meta"), blocks=["block3"], timestep=10, noise=noise)[
        "block3"
    ].is_meta


def test_mistakes_are_refused(backbone, video, frames):
    with pytest.raises(ValueError, match=r"expected blocks among block1, .*; got 'block0'"):
        features(backbone, video, blocks=["block0"])
    with pytest.raises(ValueError, match=r"expected a timestep in 0\.\.1000"):
        features(backbone, video, timestep=1000.5)
    with pytest.raises(ValueError, match="expected image=None"):
        features(backbone, video, image=video[:, 0])
    with pytest.raises(ValueError, match="expected noise of the latents' shape"):
        features(backbone, video, noise=torch.zeros(1))
    for wrong in ((2, 3, 1), (1, 3, backbone.text_dim), (3, backbone.text_dim)):
        with pytest.raises(ValueError, match=r"expected text \[2, L, \d+\]"):
            features(backbone, video, text=torch.zeros(wrong))
    with pytest.raises(ValueError, match="multiples of 16, got 40x48"):
        features(backbone, torch.rand(1, frames, 3, 40, 48))
