"""What Stable Diffusion, SVD and I2VGen-XL promise alike."""

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


@pytest.mark.parametrize("size", [(64, 128), (40, 56)])
def test_shapes_follow_the_table(backbone, size):
    for name, feature in features(backbone, torch.rand(1, 2, 3, *size)).items():
        info = backbone.blocks[name]
        expected = (1, 2, info.channels, *(-(-side // info.stride) for side in size))
        assert feature.shape == expected, name


def test_blocks_lie_where_the_papers_have_them(backbone):
    strides = [backbone.blocks[f"up{i}"].stride for i in range(4)]
    assert strides == [32, 16, 8, 8]
    assert list(backbone.blocks)[::4] == ["in", "down3", "up2"]


def test_weights_are_frozen_and_stay_in_eval_mode(backbone):
    backbone.train()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(module.training for module in backbone.modules())


def test_one_seed_one_result(backbone, video):
    first, again, other = (features(backbone, video, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_clips_of_a_batch_do_not_see_each_other(precise, video):
    noise = torch.randn(2, 3, 4, 4, 8)
    together = features(precise, without_chance(precise, video), noise=noise)
    single = features(precise, without_chance(precise, video[1:]), noise=noise[1:])
    for name, feature in together.items():
        torch.testing.assert_close(feature[1:], single[name])


def test_frames_keep_their_order(precise, video):
    encoded, turned = precise.encode(video), precise.encode(video.flip(1))
    torch.testing.assert_close(turned.latent_mean, encoded.latent_mean.flip(1))
    if not precise.temporal:
        noise = torch.randn(2, 3, 4, 4, 8)
        straight = features(precise, without_chance(precise, video), noise=noise)["up2"]
        other = without_chance(precise, video.flip(1))
        back = features(precise, other, noise=noise.flip(1))["up2"]
        torch.testing.assert_close(back, straight.flip(1))


def test_only_temporal_networks_see_other_frames(precise, video):
    other = video.clone()
    other[:, 2] = 0.5
    noise = torch.randn(2, 3, 4, 4, 8)
    before = features(precise, without_chance(precise, video), noise=noise)["up2"]
    after = features(precise, without_chance(precise, other), noise=noise)["up2"]
    difference = (after - before).abs().amax(dim=(0, 2, 3, 4))
    assert difference[2] > 1e-3
    assert (difference[:2] > 1e-6).all() if precise.temporal else (difference[:2] < 1e-6).all()


@pytest.mark.parametrize("block", ["in", "down1", "mid", "up0", "up2"])
def test_early_stop_equals_the_full_pass_and_runs_less(backbone, video, block, monkeypatch):
    full = features(backbone, video)[block]
    later = backbone.unet.up_blocks[int(block[2:]) + 1 if block.startswith("up") else 0].resnets[0]
    convolution = next(part for part in later.modules() if isinstance(part, torch.nn.Conv2d))
    monkeypatch.setattr(convolution, "forward", lambda *_: pytest.fail("a later block was run"))
    assert torch.equal(features(backbone, video, blocks=[block])[block], full)


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


def test_noise_from_outside_is_used(backbone, video):
    shape = 2, 3, 4, 4, 8
    zero = features(backbone, video, noise=torch.zeros(shape))["in"]
    called = features(backbone, video, noise=torch.zeros_like)["in"]
    one = features(backbone, video, noise=torch.ones(shape))["in"]
    assert torch.equal(zero, called)
    assert not torch.equal(zero, one)
    clean = features(backbone, video, timestep=None)["in"]
    assert torch.equal(clean, features(backbone, video, timestep=None, noise=torch.ones)["in"])


def test_gradients_reach_text_and_noise(backbone, video):
    text = torch.randn(2, 5, backbone.text_dim, requires_grad=True)
    noise = torch.zeros(2, 3, 4, 4, 8, requires_grad=True)
    found = backbone.extract(video, blocks=["up0"], timestep=50, text=text, noise=noise)
    found["up0"].sum().backward()
    assert text.grad.abs().sum(dim=(1, 2)).gt(0).all()
    assert noise.grad.abs().sum() > 0


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
