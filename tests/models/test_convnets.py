"""What convolutional backbones promise beyond the contract of all."""

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


def test_clips_and_frames_do_not_see_each_other(backbone, video):
    noise = {"noise": torch.zeros_like(video)} if hasattr(backbone, "schedule") else {}
    together = features(backbone, video, **noise)
    if noise:
        noise = {"noise": torch.zeros_like(video[1:, 2:])}
    alone = features(backbone, video[1:, 2:], **noise)
    for name, feature in together.items():
        torch.testing.assert_close(feature[1:, 2:], alone[name], rtol=1e-4, atol=1e-5)


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
