"""The causal video tokenizer: lengths, causality, frames alone."""

from dataclasses import replace

import pytest
import torch

from tests.models.tiny_transformers import seeded
from tests.models.tiny_walt import TOKENIZER
from vdit.models.backbones.walt_tokenizer import TOKENIZER_L, VideoTokenizer


@seeded
def tokenizer(**changes):
    return VideoTokenizer(replace(TOKENIZER, **changes)).double()


def video_of(T, generator, H=32, W=48):
    return 2 * torch.rand(1, T, 3, H, W, generator=generator, dtype=torch.float64) - 1


@pytest.mark.parametrize("stem", [1, 2])
@pytest.mark.parametrize("frames", [1, 5, 17])
def test_sizes(frames, stem, generator):
    network = tokenizer(stem=stem, channels=(4, 6, 8) if stem == 2 else (4, 4, 6, 8))
    mean, logvar = network.encode(video_of(frames, generator))
    assert mean.shape == logvar.shape == (1, 1 + (frames - 1) // 4, 4, 4, 6)
    assert network.decode(mean).shape == (1, frames, 3, 32, 48)


def test_the_large_one_gives_what_the_paper_says():
    with torch.device("meta"):
        network = VideoTokenizer(TOKENIZER_L)
        mean, _ = network.encode(torch.empty(1, 17, 3, 128, 128))
    assert mean.shape == (1, 5, 8, 16, 16)


def test_later_frames_change_no_earlier_latent(generator):
    network = tokenizer()
    video = video_of(13, generator)
    before, _ = network.encode(video)
    for t in range(13):
        other = video.clone()
        other[:, t] = -other[:, t]
        change = (network.encode(other)[0] - before).abs().amax(dim=(0, 2, 3, 4))
        first = -(-t // 4)  # frame 0 is alone, then there are groups of four
        assert not change[:first].any()
        assert change[first] > 0


def test_the_first_latent_is_the_frame_alone(generator):
    network = tokenizer()
    video = video_of(9, generator)
    together, alone = network.encode(video)[0], network.encode(video[:, :1])[0]
    torch.testing.assert_close(together[:, :1], alone)


def test_later_latents_change_no_earlier_frame(generator):
    network = tokenizer()
    latents = torch.randn(1, 4, 4, 4, 6, generator=generator, dtype=torch.float64)
    before = network.decode(latents)
    for j in range(4):
        other = latents.clone()
        other[:, j] = -other[:, j]
        change = (network.decode(other) - before).abs().amax(dim=(0, 2, 3, 4))
        first = 0 if j == 0 else 4 * j - 3
        assert not change[:first].any()
        assert change[first] > 0


def test_without_joining_every_frame_is_alone(generator):
    network = tokenizer(joins_frames=False)
    video = video_of(4, generator)
    mean, _ = network.encode(video)
    assert mean.shape[1] == 4
    for t in range(4):
        alone = network.encode(video[:, t : t + 1])[0]
        torch.testing.assert_close(mean[:, t : t + 1], alone)
    torch.testing.assert_close(network.decode(mean)[:, 2:3], network.decode(mean[:, 2:3]))


def test_normalization(generator):
    network = tokenizer()
    network.shift.copy_(torch.tensor([0.0, 1.0, -2.0, 3.0]))
    network.scale.copy_(torch.tensor([1.0, 2.0, 0.5, 4.0]))
    latents = torch.randn(2, 3, 4, 4, 6, generator=generator, dtype=torch.float64)
    normal = network.normalize(latents)
    torch.testing.assert_close(normal[:, :, 3], (latents[:, :, 3] - 3) / 4)
    torch.testing.assert_close(network.denormalize(normal), latents)
