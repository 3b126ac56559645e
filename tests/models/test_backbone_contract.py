"""What every backbone promises: shapes, frozen weights, early stop, gradients to conditions."""

import importlib
from pathlib import Path

import pytest
import torch

from vdit import backbone_loading
from vdit.backbone_loading.families import BACKBONES, FAMILIES
from vdit.build import build_backbone

NAMES = ["mini"]


@pytest.fixture(scope="module", params=NAMES)
def backbone(request):
    return build_backbone(request.param)


@pytest.fixture
def video(backbone, generator):
    side = 4 * backbone.size_multiple
    return torch.rand(2, 3, 3, side, 2 * side, generator=generator)


def features(backbone, video, seed=0, **options):
    options = {"blocks": list(backbone.blocks), "timestep": 5} | options
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return backbone.extract(video, generator=generator, **options)


def test_shapes_follow_the_table(backbone, video):
    for name, feature in features(backbone, video).items():
        info = backbone.blocks[name]
        expected = (2, 3, info.channels, *(-(-side // info.stride) for side in video.shape[-2:]))
        assert feature.shape == expected, name


def test_sizes_that_are_no_multiple_of_the_coarsest_stride(backbone):
    video = torch.rand(1, 2, 3, 5 * backbone.size_multiple, 7 * backbone.size_multiple)
    found = features(backbone, video)
    for name, feature in found.items():
        info = backbone.blocks[name]
        assert feature.shape[-2:] == tuple(-(-side // info.stride) for side in video.shape[-2:])


def test_weights_are_frozen_and_stay_in_eval_mode(backbone):
    backbone.train()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(module.training for module in backbone.modules())


def test_one_seed_one_result(backbone, video):
    first, again, other = (features(backbone, video, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_clips_of_a_batch_do_not_see_each_other(backbone, video):
    encoded = backbone.encode(video)
    encoded.posterior_noise = torch.zeros_like(encoded.latent_mean)
    noise = torch.zeros_like(encoded.latent_mean)
    together = features(backbone, encoded, noise=noise)
    alone = backbone.encode(video[1:])
    alone.posterior_noise = noise[1:]
    single = features(backbone, alone, noise=noise[1:])
    for name, feature in together.items():
        torch.testing.assert_close(feature[1:], single[name], rtol=1e-4, atol=1e-4)


def test_frames_keep_their_order(backbone):
    colors = torch.tensor([0.1, 0.9, 0.4])
    side = 4 * backbone.size_multiple
    video = colors.view(1, 3, 1, 1, 1).expand(1, 3, 3, side, side)
    encoded, turned = backbone.encode(video), backbone.encode(video.flip(1))
    torch.testing.assert_close(turned.latent_mean, encoded.latent_mean.flip(1))


@pytest.mark.parametrize("block", ["in", "down1", "up0", "up2"])
def test_early_stop_equals_the_full_pass(backbone, video, block, monkeypatch):
    full = features(backbone, video)[block]
    last = backbone.unet.up_blocks[-1].resnets[0]
    monkeypatch.setattr(last, "forward", lambda *_: pytest.fail("the last block was run"))
    assert torch.equal(features(backbone, video, blocks=[block])[block], full)


def test_noise_from_outside_is_used(backbone, video):
    zero = features(backbone, video, noise=torch.zeros(2, 3, 4, *latent_size(video)))["in"]
    called = features(backbone, video, noise=torch.zeros_like)["in"]
    one = features(backbone, video, noise=torch.ones(2, 3, 4, *latent_size(video)))["in"]
    assert torch.equal(zero, called)
    assert not torch.equal(zero, one)


def test_no_timestep_is_no_noise(backbone, video):
    clean = features(backbone, video, timestep=None)["in"]
    loud = features(backbone, video, timestep=None, noise=torch.ones(2, 3, 4, *latent_size(video)))
    assert torch.equal(clean, loud["in"])


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


def test_gradients_reach_text_and_noise(backbone, video):
    text = backbone.encode_text(["a dog", "a cat"]).requires_grad_()
    noise = torch.zeros(2, 3, 4, *latent_size(video), requires_grad=True)
    found = backbone.extract(video, blocks=["up0"], timestep=5, text=text, noise=noise)
    found["up0"].sum().backward()
    assert text.grad.abs().sum() > 0
    assert noise.grad.abs().sum() > 0


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


def test_unknown_backbone():
    with pytest.raises(ValueError, match=f"among {', '.join(BACKBONES)}; got 'resnet'"):
        build_backbone("resnet")


def latent_size(video):
    return [side // 8 for side in video.shape[-2:]]


@pytest.mark.parametrize("timestep", [-1, 1_000_000])
def test_timesteps_outside_of_the_schedule_are_refused(backbone, video, timestep):
    with pytest.raises(ValueError, match=rf"expected a timestep in 0\.\.\d+, .* got {timestep}"):
        backbone.start(backbone.encode(video), timestep=timestep)


@pytest.mark.parametrize("family", FAMILIES)
def test_table_of_names_agrees_with_the_files(family):
    module = importlib.import_module(f"vdit.backbone_loading.{family}")
    assert tuple(module.SOURCES) == FAMILIES[family]
    assert callable(module.load)


def test_every_file_is_in_the_table():
    folder = Path(backbone_loading.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "\nSOURCES" in path.read_text()}
    assert files == set(FAMILIES)
