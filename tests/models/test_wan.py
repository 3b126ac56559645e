"""Wan 2.1 against the library's own forward, and what a causal clip encoder promises."""

import pytest
import torch
from diffusers import WanTransformer3DModel

from tests.models import tiny_transformers as tiny
from vdit.models.backbones.base import BlockInfo
from vdit.models.backbones.wan import WanBackbone


@pytest.fixture
def backbone():
    return tiny.wan()


@pytest.fixture
def video(generator):
    return torch.rand(2, 9, 3, 32, 48, generator=generator)


def features(backbone, video, **options):
    with torch.no_grad():
        return backbone.extract(video, blocks=list(backbone.blocks), **options)


def test_equals_the_stock_forward(backbone, video, generator):
    """The published recipe: (mean - mu) / sigma of each channel, z_s = (1 - s) z + s n."""
    backbone.posterior = "mean"
    noise = torch.randn(2, 3, 4, 4, 6, generator=generator)
    text = torch.randn(2, 5, 10, generator=generator)
    found = features(backbone, video, timestep=300, noise=noise, text=text)
    seen = []
    for block in backbone.transformer.blocks:
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    mu = torch.tensor([0.1, -0.2, 0.3, 0.0]).view(1, 4, 1, 1, 1)
    sigma = torch.tensor([1.5, 2.0, 0.5, 1.0]).view(1, 4, 1, 1, 1)
    with torch.no_grad():
        mean = backbone.vae.encode(2 * video.transpose(1, 2) - 1).latent_dist.mode()
        noisy = 0.7 * ((mean - mu) / sigma) + 0.3 * noise.transpose(1, 2)
        backbone.transformer(noisy, torch.tensor([300.0, 300.0]), text)
    assert len(seen) == len(backbone.blocks)
    for k, hidden in enumerate(seen, start=1):
        grid = hidden.reshape(2, 3, 2, 3, 24).permute(0, 1, 4, 2, 3)
        assert torch.equal(found[f"block{k}"], grid)


def test_latents_are_causal(backbone, video):
    changed = video.clone()
    changed[:, 5:] = 0.5
    before, after = backbone.encode(video).latent_mean, backbone.encode(changed).latent_mean
    torch.testing.assert_close(after[:, :2], before[:, :2])
    assert not torch.equal(after[:, 2], before[:, 2])


def test_frames_see_each_other(backbone, video):
    backbone.posterior = "mean"
    changed = video.clone()
    changed[:, 5:] = 0.5
    before, after = (features(backbone, each, timestep=None) for each in (video, changed))
    assert not torch.equal(before["block1"][:, 0], after["block1"][:, 0])


@pytest.mark.parametrize(("frames", "steps"), [(1, 1), (5, 2), (9, 3)])
def test_one_and_four_n_frames(backbone, video, frames, steps):
    assert backbone.num_feature_frames(frames) == steps
    assert features(backbone, video[:, :frames])["block1"].shape[1] == steps


def test_other_frame_counts_and_prompts_by_frame_are_refused(backbone, video):
    with pytest.raises(ValueError, match=r"expected 1 \+ 4 n frames, got 8"):
        features(backbone, video[:, :8])
    with pytest.raises(ValueError, match="the same for all frames"):
        features(backbone, video, text=torch.zeros(2, 9, 5, 10))


def test_published_configuration():
    with torch.device("meta"):
        transformer = WanTransformer3DModel(
            num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=30
        )
    _, vae = tiny.wan_networks()
    backbone = WanBackbone(transformer, vae, torch.empty(1, 512, 4096))
    assert list(backbone.blocks) == [f"block{k}" for k in range(1, 31)]
    assert set(backbone.blocks.values()) == {BlockInfo(1536, 16, 4)}
    assert sum(p.numel() for p in transformer.parameters()) == 1_418_996_800
