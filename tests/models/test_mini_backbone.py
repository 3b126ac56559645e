"""Prompts and started passes of the text-to-video UNet, on the miniature one."""

import pytest
import torch

from vdit.build import build_backbone


@pytest.fixture(scope="module")
def backbone():
    return build_backbone("mini")


@pytest.fixture
def video(backbone, generator):
    side = 4 * backbone.size_multiple
    return torch.rand(2, 3, 3, side, 2 * side, generator=generator)


def features(backbone, video, seed=0, **options):
    options = {"blocks": list(backbone.blocks), "timestep": 5} | options
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return backbone.extract(video, generator=generator, **options)


def test_one_text_for_all_frames_equals_the_text_repeated(backbone, video):
    text = backbone.encode_text(["a dog", "a cat"])
    shared = features(backbone, video, text=text, blocks=["up2"])["up2"]
    each = text[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(shared, features(backbone, video, text=each, blocks=["up2"])["up2"])


def test_text_of_one_frame_changes_that_frame_most(backbone, video):
    text = backbone.encode_text(["a dog", "a cat"])[:, None].repeat(1, 3, 1, 1)
    before = features(backbone, video, text=text, blocks=["up2"])["up2"]
    text[:, 1] += 1
    change = (features(backbone, video, text=text, blocks=["up2"])["up2"] - before).abs()
    change = change.mean(dim=(0, 2, 3, 4))
    assert change.argmax() == 1
    assert (change > 0).all(), "frames do not see each other"


def test_prompts_go_on_from_one_started_pass(backbone, video):
    encoded = backbone.encode(video)
    with torch.no_grad():
        started = backbone.start(encoded, timestep=5, generator=torch.Generator().manual_seed(0))
    for caption in ("a dog", "a cat"):
        text = backbone.encode_text([caption] * 2)
        alone = features(backbone, encoded, text=text)
        shared = features(backbone, started, text=text, timestep=None)
        assert all(torch.equal(alone[name], shared[name]) for name in alone)
    with pytest.raises(ValueError, match=r"expected neither timestep nor noise.* timestep 5"):
        features(backbone, started, timestep=49)


def test_encoded_frames_can_be_cut_and_joined(backbone, video):
    encoded = backbone.encode(video)
    parts = [encoded.select_frames(slice(0, 1)), encoded.select_frames(slice(1, 3)).clone()]
    joined = type(encoded).concatenate(parts)
    assert torch.equal(joined.latent_mean, encoded.latent_mean)
    assert torch.equal(joined.skips[4], encoded.skips[4])
    assert joined.num_frames == 3


def test_errors_say_what_to_do(backbone, video):
    with pytest.raises(ValueError, match=r"expected blocks among .*up2.*; got .up9."):
        features(backbone, video, blocks=["up9"])
    with pytest.raises(ValueError, match="multiples of 8, got 33x64"):
        features(backbone, torch.rand(1, 1, 3, 33, 64))
    with pytest.raises(ValueError, match=r"expected a video \[B, T, 3, H, W\], got shape"):
        features(backbone, torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r"expected text \[2, L, 64\] or \[2, 3, L, 64\]"):
        features(backbone, video, text=torch.zeros(1, 7, 64))
    with pytest.raises(ValueError, match="expected noise of the latents' shape"):
        features(backbone, video, noise=torch.zeros(1))
    with pytest.raises(ValueError, match="expected image=None"):
        features(backbone, video, image=video)


@pytest.mark.parametrize("timestep", [-1, 1_000_000])
def test_timesteps_outside_of_the_schedule_are_refused(backbone, video, timestep):
    with pytest.raises(ValueError, match=rf"expected a timestep in 0\.\.\d+, .* got {timestep}"):
        backbone.start(backbone.encode(video), timestep=timestep)
