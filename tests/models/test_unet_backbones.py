"""What Stable Diffusion, SVD and I2VGen-XL promise alike, beyond the contract of all."""

import copy

import pytest
import torch

from tests.models.tiny_unets import TINY
from vdit.models.backbones.stable_diffusion import StableDiffusionBackbone
from vdit.models.backbones.unet_walk import walk_unet


@pytest.fixture(scope="module", params=TINY)
def backbone(request):
    return TINY[request.param]()


@pytest.fixture
def precise(backbone):
    """In double precision: norms over the few values of a tiny map amplify rounding."""
    return copy.deepcopy(backbone).double()


@pytest.fixture
def video(generator):
    return torch.rand(2, 3, 3, 32, 64, generator=generator)


def features(backbone, video, seed=0, **options):
    options = {"blocks": list(backbone.blocks), "timestep": 50} | options
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return backbone.extract(video, generator=generator, **options)


def without_chance(backbone, video):
    encoded = backbone.encode(video)
    encoded.posterior_noise = torch.zeros_like(encoded.latent_mean)
    return encoded


def test_blocks_lie_where_the_papers_have_them(backbone):
    strides = [backbone.blocks[f"up{i}"].stride for i in range(4)]
    assert strides == [32, 16, 8, 8]
    assert list(backbone.blocks)[::4] == ["in", "down3", "up2"]


def test_only_temporal_networks_see_other_frames(precise, video):
    other = video.clone()
    other[:, 2] = 0.5
    noise = torch.randn(2, 3, 4, 4, 8)
    before = features(precise, without_chance(precise, video), noise=noise)["up2"]
    after = features(precise, without_chance(precise, other), noise=noise)["up2"]
    difference = (after - before).abs().amax(dim=(0, 2, 3, 4))
    assert difference[2] > 1e-3
    assert (difference[:2] > 1e-6).all() if precise.temporal else (difference[:2] < 1e-6).all()


def test_a_walk_that_is_left_stops(backbone):
    calls = []

    class Layers:
        def convolve(self, block, index, hidden):
            calls.append(block)
            return hidden

        def attend(self, block, index, hidden):
            return hidden

    walk = walk_unet(backbone.unet, torch.zeros(1, 32, 8, 8), Layers())
    assert next(walk)[0] == "in"
    assert not calls
    assert next(walk)[0] == "down0"
    assert calls == [backbone.unet.down_blocks[0]]


def test_text_for_the_clip_equals_the_text_of_each_frame(backbone, video):
    text = torch.randn(2, 5, backbone.text_dim)
    shared = features(backbone, video, text=text)["up2"]
    each = features(backbone, video, text=text[:, None].expand(-1, 3, -1, -1))["up2"]
    assert torch.equal(shared, each)
    assert not torch.equal(shared, features(backbone, video, text=-text)["up2"])


def test_chunks_of_frames_change_nothing(precise, video, monkeypatch):
    noise = torch.randn(2, 3, 4, 4, 8)
    whole = features(precise, without_chance(precise, video), noise=noise)
    monkeypatch.setattr(precise, "frames_per_pass", 1)
    parts = features(precise, without_chance(precise, video), noise=noise)
    for name, feature in parts.items():
        torch.testing.assert_close(feature, whole[name])


def test_the_mean_of_the_posterior_needs_no_draw(video):
    for build in TINY.values():
        backbone = build(posterior="mean")
        first, other = (features(backbone, video, seed, timestep=None)["in"] for seed in (0, 1))
        assert torch.equal(first, other)


def test_half_precision_follows_the_weights(backbone, video):
    half = copy.deepcopy(backbone).to(torch.bfloat16)
    noise = torch.randn(2, 3, 4, 4, 8)
    image = {} if isinstance(backbone, StableDiffusionBackbone) else {"image": video[:, 0]}
    for options in ({}, image):
        found, expected = (
            features(each, video, blocks=["down0"], noise=noise, **options)["down0"]
            for each in (half, backbone)
        )
        assert found.dtype == torch.bfloat16
        assert (found - expected).norm() < 0.1 * expected.norm()


def test_errors_say_what_to_do(backbone, video):
    with pytest.raises(ValueError, match=r"expected blocks among .*up2.*; got .up9."):
        features(backbone, video, blocks=["up9"])
    with pytest.raises(ValueError, match="multiples of 8, got 33x64"):
        features(backbone, torch.rand(1, 1, 3, 33, 64))
    with pytest.raises(ValueError, match=r"expected text \[2, L, 32\] or \[2, 3, L, 32\]"):
        features(backbone, video, text=torch.zeros(1, 7, 32))
    with pytest.raises(ValueError, match="expected noise of the latents' shape"):
        features(backbone, video, noise=torch.zeros(1))
    with pytest.raises(ValueError, match=r"expected a timestep in 0\.\.999, .* got 1000"):
        features(backbone, video, timestep=1000)
    with pytest.raises(ValueError, match=r"expected (image=None|a conditioning image of shape)"):
        features(backbone, video, image=video[:, 0, :, :8])
