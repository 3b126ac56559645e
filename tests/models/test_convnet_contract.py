"""What every convolutional backbone promises."""

import pytest
import torch

from tests.models.tiny_convnets import TINY

NO_NOISE = [name for name in TINY if not name.startswith("adm")]


@pytest.fixture(scope="module", params=TINY)
def backbone(request):
    return TINY[request.param]()


@pytest.fixture
def video(backbone, generator):
    side = 4 * backbone.size_multiple if hasattr(backbone, "schedule") else 32
    return torch.rand(2, 3, 3, side, 2 * side, generator=generator)


def features(backbone, video, blocks=None, **options):
    if hasattr(backbone, "schedule"):
        options = {"timestep": 100, "generator": torch.Generator().manual_seed(0)} | options
    with torch.no_grad():
        return backbone.extract(video, blocks=blocks or list(backbone.blocks), **options)


def test_shapes_follow_the_table(backbone, video):
    found = features(backbone, video)
    assert list(found) == list(backbone.blocks)
    for name, feature in found.items():
        info = backbone.blocks[name]
        expected = (2, 3, info.channels, *(-(-side // info.stride) for side in video.shape[-2:]))
        assert feature.shape == expected, name


def test_weights_are_frozen_and_stay_in_eval_mode(backbone):
    backbone.train()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(module.training for module in backbone.modules())


def test_clips_and_frames_do_not_see_each_other(backbone, video):
    noise = {"noise": torch.zeros_like(video)} if hasattr(backbone, "schedule") else {}
    together = features(backbone, video, **noise)
    if noise:
        noise = {"noise": torch.zeros_like(video[1:, 2:])}
    alone = features(backbone, video[1:, 2:], **noise)
    for name, feature in together.items():
        torch.testing.assert_close(feature[1:, 2:], alone[name], rtol=1e-4, atol=1e-5)


def test_frames_keep_their_order(backbone, video):
    noise = {"noise": torch.zeros_like} if hasattr(backbone, "schedule") else {}
    forward = features(backbone, video, **noise)
    backward = features(backbone, video.flip(1), **noise)
    for name, feature in forward.items():
        assert not torch.allclose(feature[:, 0], feature[:, 2]), name
        torch.testing.assert_close(backward[name], feature.flip(1), rtol=1e-4, atol=1e-5)


def test_frames_a_pass_change_nothing(backbone, video, monkeypatch):
    few = features(backbone, video)
    monkeypatch.setattr(backbone, "frames_per_pass", 4)
    for name, feature in features(backbone, video).items():
        torch.testing.assert_close(feature, few[name], rtol=1e-4, atol=1e-5)


def test_encoded_video_equals_the_video(backbone, video):
    last = list(backbone.blocks)[-1:]
    encoded = backbone.encode(video)
    assert encoded.latent_mean.shape == video.shape
    assert encoded.latent_logvar is None
    assert torch.equal(
        features(backbone, encoded, last)[last[0]], features(backbone, video, last)[last[0]]
    )


def test_early_stop_equals_the_full_pass(backbone, video, monkeypatch):
    full = features(backbone, video)
    first, *_, last = backbone.blocks
    network = backbone.unet.output_blocks if hasattr(backbone, "unet") else backbone.network
    final = list(network.children())[-1]
    final = list(final.children())[-1] if hasattr(backbone, "network") else final
    monkeypatch.setattr(final, "forward", lambda *_: pytest.fail("the last block was run"))
    assert torch.equal(features(backbone, video, [first])[first], full[first])
    with pytest.raises(pytest.fail.Exception):
        features(backbone, video, [last])


def test_errors_say_what_to_do(backbone, video):
    with pytest.raises(ValueError, match=r"expected blocks among .*; got .up9."):
        features(backbone, video, ["up9"])
    with pytest.raises(ValueError, match=r"expected a video \[B, T, 3, H, W\], got shape"):
        features(backbone, video[0])
    for name in ("text", "image"):
        with pytest.raises(
            ValueError, match=rf"expected {name}=None: .* got Tensor; leave `{name}"
        ):
            features(backbone, video, **{name: torch.zeros(1)})


@pytest.mark.parametrize("name", NO_NOISE)
def test_networks_without_noise_refuse_it(name):
    video = torch.rand(1, 1, 3, 32, 32)
    with pytest.raises(ValueError, match="expected timestep=None: this network takes none"):
        features(TINY[name](), video, timestep=5)
    with pytest.raises(ValueError, match="expected noise=None"):
        features(TINY[name](), video, noise=torch.zeros_like)


@pytest.mark.parametrize("name", NO_NOISE)
@pytest.mark.parametrize("size", [(33, 50), (35, 61)])
def test_any_size_will_do(name, size):
    backbone = TINY[name]()
    for block, feature in features(backbone, torch.rand(1, 1, 3, *size)).items():
        stride = backbone.blocks[block].stride
        assert feature.shape[-2:] == tuple(-(-side // stride) for side in size)


@pytest.mark.parametrize("name", NO_NOISE)
def test_frames_are_normalized_with_the_statistics_of_imagenet(name):
    colors = torch.tensor([0.485, 0.456, 0.406]) + torch.tensor([0.229, -0.224, 0.0])
    video = colors.view(3, 1, 1).expand(1, 1, 3, 32, 32)
    expected = torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1).expand_as(video)
    torch.testing.assert_close(TINY[name]().encode(video).latent_mean, expected)
