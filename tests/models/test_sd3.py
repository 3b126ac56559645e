"""Stable Diffusion 3 against the library's own forward, and what an image model promises."""

import pytest
import torch
from diffusers import SD3Transformer2DModel

from tests.models import tiny_transformers as tiny
from vdit.models.backbones.base import BlockInfo
from vdit.models.backbones.noise_schedules import FlowSchedule
from vdit.models.backbones.sd3 import SD3Backbone, SD3Prompt


@pytest.fixture
def backbone():
    return tiny.sd3()


@pytest.fixture
def video(generator):
    return torch.rand(2, 3, 3, 32, 48, generator=generator)


def features(backbone, video, **options):
    with torch.no_grad():
        return backbone.extract(video, blocks=list(backbone.blocks), **options)


def hooked_forward(backbone, frame, noise, tokens, pooled):
    """Output of every block in the stock forward of one frame [3, H, W], by the published recipe.

    latent = (mean - shift) * scale; z_s = (1 - s) latent + s noise; time 1000 s.
    """
    seen = []
    hooks = [
        block.register_forward_hook(lambda _, __, output: seen.append(output[1]))
        for block in backbone.transformer.transformer_blocks
    ]
    s = 0.0493
    with torch.no_grad():
        mean = backbone.vae.encode(2 * frame[None] - 1).latent_dist.mode()
        noisy = (1 - s) * ((mean - 0.0609) * 1.5305) + s * noise[None]
        backbone.transformer(noisy, tokens, pooled, timestep=torch.tensor([1000 * s]))
    for hook in hooks:
        hook.remove()
    return seen


def test_equals_the_stock_forward_of_every_frame(backbone, video, generator):
    backbone.posterior = "mean"
    noise = torch.randn(2, 3, 4, 4, 6, generator=generator)
    tokens = torch.randn(2, 5, 12, generator=generator)
    pooled = torch.randn(2, 10, generator=generator)
    found = features(backbone, video, timestep=49.3, noise=noise, text=tokens, pooled=pooled)
    for b in range(2):
        for t in range(3):
            expected = hooked_forward(
                backbone, video[b, t], noise[b, t], tokens[b : b + 1], pooled[b : b + 1]
            )
            for k, hidden in enumerate(expected, start=1):
                grid = hidden[0].T.reshape(16, 2, 3)
                torch.testing.assert_close(found[f"block{k}"][b, t], grid, rtol=1e-5, atol=2e-6)


def test_one_frame_equals_the_stock_forward_bit_for_bit(backbone, video, generator):
    backbone.posterior = "mean"
    noise = torch.randn(1, 1, 4, 4, 6, generator=generator)
    found = features(backbone, video[:1, :1], timestep=1000 * 0.0493, noise=noise)
    expected = hooked_forward(
        backbone, video[0, 0], noise[0, 0], backbone.null_tokens, backbone.null_pooled
    )
    for k, hidden in enumerate(expected, start=1):
        assert torch.equal(found[f"block{k}"][0, 0], hidden[0].T.reshape(16, 2, 3))


def test_frames_do_not_see_each_other_and_keep_their_order(backbone, video, generator):
    backbone.posterior = "mean"
    noise = torch.randn(2, 3, 4, 4, 6, generator=generator)
    order = [2, 0, 1]
    found = features(backbone, video, timestep=300, noise=noise)
    turned = features(backbone, video[:, order], timestep=300, noise=noise[:, order])
    for name, feature in found.items():
        torch.testing.assert_close(turned[name], feature[:, order], rtol=1e-5, atol=2e-6)


def test_frames_per_pass_changes_nothing(backbone, video):
    expected = backbone.encode(video).latent_mean
    backbone.frames_per_pass = 1
    torch.testing.assert_close(backbone.encode(video).latent_mean, expected, rtol=1e-5, atol=1e-5)


def test_text_of_one_frame_reaches_that_frame_only(backbone, video, generator):
    text = torch.randn(2, 1, 5, 12, generator=generator).repeat(1, 3, 1, 1)
    options = {"timestep": None, "text": text}
    backbone.posterior = "mean"
    before = features(backbone, video, **options)["block3"]
    shared = features(backbone, video, timestep=None, text=text[:, 0])["block3"]
    assert torch.equal(before, shared)
    text[:, 1] += 1
    after = features(backbone, video, **options)["block3"]
    assert torch.equal(after[:, [0, 2]], before[:, [0, 2]])
    assert not torch.equal(after[:, 1], before[:, 1])


def test_pooled_part_of_a_prompt_is_used_and_checked(backbone, video):
    null = features(backbone, video[:1], noise=torch.zeros_like)
    told = features(backbone, video[:1], noise=torch.zeros_like, pooled=torch.ones(1, 10))
    assert not torch.equal(null["block1"], told["block1"])
    with pytest.raises(ValueError, match=r"expected pooled \[1, 10\], got \[2, 10\]"):
        features(backbone, video[:1], pooled=torch.ones(2, 10))


def test_published_configuration():
    with torch.device("meta"):
        transformer = SD3Transformer2DModel(
            num_layers=24,
            num_attention_heads=24,
            caption_projection_dim=1536,
            pos_embed_max_size=192,
        )
        _, vae = tiny.sd3_networks()
        prompt = SD3Prompt(torch.empty(1, 333, 4096), torch.empty(1, 2048))
        backbone = SD3Backbone(transformer, vae, prompt)
    assert list(backbone.blocks) == [f"block{k}" for k in range(1, 25)]
    assert set(backbone.blocks.values()) == {BlockInfo(1536, 16, 1)}
    assert not backbone.temporal
    assert sum(p.numel() for p in transformer.parameters()) == 2_028_328_000


def test_noise_index_16_is_network_time_49():
    assert FlowSchedule.shifted(16, shift=3.0) == pytest.approx(49.3, abs=0.05)
