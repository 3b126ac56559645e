"""Stable Diffusion: the library's own forward, its noise, its sizes, its folders."""

import json

import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

from tests.models.tiny_unets import TINY, UP_BLOCKS, inputs_of, schedule, stock_features
from vdit.backbone_loading.stable_diffusion import SOURCES, load
from vdit.models.backbones.stable_diffusion import StableDiffusionBackbone


@pytest.fixture(scope="module")
def backbone():
    return TINY["stable-diffusion"](frames_per_pass=8)


@pytest.mark.parametrize("size", [(64, 64), (40, 72), (64, 56)])
@pytest.mark.parametrize("timestep", [0, 261])
def test_equals_the_library_forward(backbone, size, timestep, generator):
    encoded = backbone.encode(torch.rand(2, 2, 3, *size, generator=generator))
    encoded.posterior_noise = torch.randn(encoded.latent_mean.shape, generator=generator)
    noise = torch.randn(encoded.latent_mean.shape, generator=generator)
    text = backbone.encode_text(["a dog", "a cat"])
    unet = backbone.unet
    sample = backbone.add_noise(backbone.sample_latents(encoded), timestep, noise).flatten(0, 1)
    context = text.repeat_interleave(2, dim=0)
    expected = stock_features(unet, unet.conv_in, sample, timestep, context)
    with torch.no_grad():
        found = backbone.extract(
            encoded, blocks=list(backbone.blocks), timestep=timestep, text=text, noise=noise
        )
    assert expected.keys() == found.keys()
    for name, feature in found.items():
        assert torch.equal(feature.flatten(0, 1), expected[name]), name


def test_input_is_the_noisy_latent_of_the_scheduler(backbone, generator):
    encoded = backbone.encode(torch.rand(1, 3, 3, 32, 32, generator=generator))
    encoded.posterior_noise = torch.randn(encoded.latent_mean.shape, generator=generator)
    noise = torch.randn(encoded.latent_mean.shape, generator=generator)
    (sample,) = inputs_of(
        backbone.unet.conv_in,
        lambda: backbone.extract(encoded, blocks=["in"], timestep=300, noise=noise),
    )
    spread = torch.exp(0.5 * encoded.latent_logvar) * encoded.posterior_noise
    latents = (encoded.latent_mean + spread) * 0.18215
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    expected = scheduler.add_noise(latents, noise, torch.tensor([300]))
    torch.testing.assert_close(sample, expected[0])


def test_null_prompt_is_the_empty_sentence(backbone, generator):
    encoded = backbone.encode(torch.rand(1, 1, 3, 32, 32, generator=generator))
    options = {"blocks": ["up1"], "noise": torch.zeros_like}
    null, empty, dog = (
        backbone.extract(encoded, text=text, generator=generator.manual_seed(0), **options)["up1"]
        for text in (None, backbone.encode_text([""]), backbone.encode_text(["a dog"]))
    )
    assert torch.equal(null, empty)
    assert not torch.equal(null, dog)


def test_networks_with_further_conditions_are_refused():
    with torch.device("meta"):
        unet = UNet2DConditionModel(class_embed_type="timestep", cross_attention_dim=8)
    with pytest.raises(ValueError, match="expected a UNet of Stable Diffusion 1 or 2"):
        StableDiffusionBackbone(unet, None, schedule(), None, None)


def test_sizes_of_stable_diffusion_1():
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
    assert sum(parameter.numel() for parameter in unet.parameters()) == 859_520_964


@pytest.mark.assets
def test_sizes_of_stable_diffusion_2_1(assets):
    folder = assets / "configs" / "sd2.1"
    configs = {part: json.loads((folder / part / "config.json").read_text()) for part in PARTS}
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(configs["unet"])
        vae = AutoencoderKL.from_config(configs["vae"])
    backbone = StableDiffusionBackbone(unet, vae, schedule(), None, None)
    assert sum(parameter.numel() for parameter in unet.parameters()) == 865_910_724
    found = [backbone.blocks[f"up{i}"] for i in range(4)]
    assert [(block.channels, block.stride) for block in found] == UP_BLOCKS
    assert (backbone.text_dim, backbone.latent_channels) == (1024, 4)
    assert backbone.text_dim == configs["text_encoder"]["hidden_size"]


PARTS = ("unet", "vae", "text_encoder")


def test_folders_of_the_library_load(backbone, tmp_path, generator):
    for part in (*PARTS, "tokenizer"):
        getattr(backbone, part).save_pretrained(tmp_path / part)
    DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    ).save_pretrained(tmp_path / "scheduler")
    loaded = load(str(tmp_path), torch.float32, frames_per_pass=8)
    video = torch.rand(1, 2, 3, 32, 32, generator=generator)
    found, expected = (
        each.extract(video, blocks=["up2"], timestep=50, generator=generator.manual_seed(1))
        for each in (loaded, backbone)
    )
    torch.testing.assert_close(found["up2"], expected["up2"])
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    (tmp_path / "unet" / "config.json").unlink()
    with pytest.raises(ValueError, match="cannot load unet from"):
        load(str(tmp_path), torch.float32)


@pytest.mark.parametrize(
    ("scheduler", "prediction"),
    [
        ("DDIMScheduler", "v_prediction"),  # 2.0 and 2.1
        ("PNDMScheduler", "epsilon"),  # their bases, and 1.x
        ("EulerDiscreteScheduler", "v_prediction"),
    ],
)
def test_what_the_network_predicts_changes_no_feature(
    backbone, tmp_path, generator, scheduler, prediction
):
    for part in (*PARTS, "tokenizer"):
        getattr(backbone, part).save_pretrained(tmp_path / part)
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(
        json.dumps(
            {
                "_class_name": scheduler,
                "prediction_type": prediction,
                "beta_start": 0.00085,
                "beta_end": 0.012,
                "beta_schedule": "scaled_linear",
                "num_train_timesteps": 1000,
                "set_alpha_to_one": False,
                "skip_prk_steps": True,
                "steps_offset": 1,
            }
        )
    )
    loaded = load(str(tmp_path), torch.float32, frames_per_pass=8)
    assert loaded.schedule.alphas_cumprod == backbone.schedule.alphas_cumprod
    video = torch.rand(1, 1, 3, 32, 32, generator=generator)
    found, expected = (
        each.extract(video, blocks=["up2"], timestep=261, generator=generator.manual_seed(1))
        for each in (loaded, backbone)
    )
    torch.testing.assert_close(found["up2"], expected["up2"])


def test_sources_are_hub_ids():
    bases = {"sd-2.0", "sd-2.0-base", "sd-2.1", "sd-2.1-base"}
    assert SOURCES.keys() == {"sd-1.4", "sd-1.5"} | bases
    assert all(SOURCES[name].endswith("-base") == name.endswith("-base") for name in bases)
    assert all(len(place.split("/")) == 2 for place in SOURCES.values())
