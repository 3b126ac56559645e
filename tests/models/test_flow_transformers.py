"""What diffusion transformers promise beyond the contract of all, on tiny random networks."""

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


def test_no_timestep_is_no_noise_at_time_zero(backbone, video, noise):
    clean = features(backbone, video, timestep=None)
    start = features(backbone, video, timestep=0, noise=noise)
    assert all(torch.equal(clean[name], start[name]) for name in clean)


def test_all_noise_forgets_the_video(backbone, video, noise):
    found = features(backbone, video, timestep=1000, noise=noise)
    other = features(backbone, 1 - video, timestep=1000, noise=noise)
    for name, feature in found.items():
        torch.testing.assert_close(feature, other[name])


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
