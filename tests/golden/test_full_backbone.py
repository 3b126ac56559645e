"""The full-size frozen backbone against the released code: 2.5 billion weights by formula."""

from dataclasses import replace

import pytest
import torch

from vdit.architectures import FULL, build_networks
from vdit.build import assemble, byte_tokenizers
from vdit.models.image_encoder import (
    IMAGENET_MEAN,
    clip_pixel_values,
    imagenet_round_trip,
    to_uint8,
)
from vdit.models.vdit import TAPS, Sentences
from vdit.released_names import released_name

UNET_TAPS = ["in", "down0", "down1", "up0", "up1", "up2"]
PADDING = 32


@pytest.fixture
def model(fill_from_formula, no_initialization):
    with no_initialization():
        built = assemble(FULL.model, build_networks(FULL) | byte_tokenizers())
    fill_from_formula(built, released_name)
    return built.eval()


def padded_video(frames):
    """[1, T, 3, H, W] in 0..1 from [T, 3, H, W] uint8, padded to /32 with the mean color."""
    height, width = frames.shape[-2:]
    H, W = (-(-side // PADDING) * PADDING for side in (height, width))
    video = torch.tensor(IMAGENET_MEAN).view(3, 1, 1).expand(len(frames), 3, H, W).clone()
    video[..., :height, :width] = frames.float() / 255
    return video[None]


def close(actual, expected, rtol):
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual.float(), expected, rtol=0, atol=rtol * scale)


@pytest.mark.parametrize("name", ["backbone_f1", "backbone_f2"])
def test_image_tower_input(golden, name):
    arrays = {key: torch.from_numpy(value) for key, value in golden(f"vdit/{name}").items()}
    video = padded_video(arrays["frames_u8"])[0]
    frames = to_uint8(imagenet_round_trip(video), "truncate")
    assert torch.equal(frames, arrays["clip_uint8"])
    pixel_values = clip_pixel_values(frames, 224)[:, :, ::7, ::7]
    close(pixel_values, arrays["clip_pixel_values_sub"], 3e-7)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["backbone_f1", "backbone_f2"])
@torch.no_grad()
def test_full_backbone(golden, name, request):
    arrays = {key: torch.from_numpy(value) for key, value in golden(f"vdit/{name}").items()}
    model = request.getfixturevalue("model")
    encoded = model.encode(padded_video(arrays["frames_u8"]))
    close(encoded.latent_mean[0], arrays["post_mean"], 1e-3)
    close(encoded.latent_logvar[0], arrays["post_logvar"], 1e-3)
    close(encoded.skips[4][0, :, ::4], arrays["vae_ft_stride4"], 1e-3)
    close(encoded.image_tokens[0, :, ::32], arrays["image_tokens_sub"], 1e-3)
    encoded = replace(encoded, posterior_noise=arrays["eps"][None])

    text = model.backbone.encode_text(arrays["token_ids"])
    close(text[0, ::7], arrays["text_hidden"], 1e-3)
    sentences = Sentences(text, torch.zeros(1, 1, 768), torch.zeros(1, 1, dtype=torch.bool))
    prompt = model.prompt(sentences, encoded)
    close(prompt[0, :, ::7], arrays["prompt"], 1e-3)

    latents = model.backbone.sample_latents(encoded)
    noisy = model.backbone.add_noise(latents, 0, model.noise_predictor, None)
    close(noisy.transpose(1, 2), arrays["noisy_latents"], 1e-3)
    found = model.backbone.extract(
        encoded,
        blocks=[block for taps in TAPS for block in taps],
        timestep=0,
        text=prompt,
        noise=model.noise_predictor,
    )
    for i, tap in enumerate(UNET_TAPS):
        assert list(found[tap][0].shape) == arrays[f"unet_ft{i}_shape"].tolist()
        close(found[tap][0, :, ::4], arrays[f"unet_ft{i}"], 1e-3)
    for k, feature in enumerate(model.features(encoded, sentences)):
        close(feature[0], arrays[f"out{k}"], 1e-3)
