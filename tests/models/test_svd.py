"""Stable Video Diffusion: the library's own forward, its conditions, its folders."""

import math

import pytest
import torch
import yaml
from diffusers import EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as pipeline

from tests.models.tiny_unets import TINY, UP_BLOCKS, image_vae, inputs_of, schedule, stock_features
from vdit.backbone_loading.svd import SOURCES, load
from vdit.models.backbones.clip_images import squeeze_to_square
from vdit.models.backbones.svd import SvdBackbone

SIGMA = {50: 0.2256, 300: 0.8328, 999: 14.61}
CONDITION = {50: -0.3723, 300: -0.0458, 999: 0.6705}


@pytest.fixture(scope="module")
def backbone():
    return TINY["svd"]()


@pytest.fixture
def inputs(backbone, generator):
    """An encoded video with the draws that belong to it."""

    def make(*size, count=2, num_frames=3):
        video = torch.rand(count, num_frames, 3, *size, generator=generator)
        encoded = backbone.encode(video)
        encoded.posterior_noise = torch.randn(encoded.latent_mean.shape, generator=generator)
        return encoded, torch.randn(encoded.latent_mean.shape, generator=generator)

    return make


def stock(backbone, encoded, noise, timestep, image_latents, embedding):
    noisy = backbone.add_noise(backbone.sample_latents(encoded), timestep, noise)
    B, T = noisy.shape[:2]
    sample = torch.cat([noisy, image_latents[:, None].repeat(1, T, 1, 1, 1)], dim=2)
    condition = torch.tensor(backbone.schedule.condition(timestep))
    ids = torch.tensor([[6, 127, 0.02]]).repeat(B, 1)
    unet = backbone.unet
    return stock_features(unet, unet.conv_in, sample, condition, embedding, ids)


@pytest.mark.parametrize("size", [(64, 64), (40, 72), (64, 56)])
@pytest.mark.parametrize("timestep", [50, 900])
def test_zero_image_equals_the_library_forward(backbone, inputs, size, timestep):
    encoded, noise = inputs(*size)
    zeros = torch.zeros_like(encoded.latent_mean[:, 0])
    expected = stock(backbone, encoded, noise, timestep, zeros, torch.zeros(2, 1, 32))
    with torch.no_grad():
        found = backbone.extract(
            encoded, blocks=list(backbone.blocks), timestep=timestep, noise=noise
        )
    assert expected.keys() == found.keys()
    for name, feature in found.items():
        assert torch.equal(feature.flatten(0, 1), expected[name]), name


def test_image_equals_the_library_forward(inputs, generator):
    backbone = TINY["svd"](noise_augmentation=0.0)
    encoded, noise = inputs(40, 64)
    image = torch.rand(2, 3, 40, 64, generator=generator)
    latents = backbone.vae.encode(2 * image - 1).latent_dist.mode()
    embedding = backbone.embed_image(image)
    backbone.time_ids = (6, 127, 0.02)
    expected = stock(backbone, encoded, noise, 50, latents, embedding)
    found = backbone.extract(encoded, blocks=["up2"], timestep=50, noise=noise, image=image)
    assert torch.equal(found["up2"].flatten(0, 1), expected["up2"])


@pytest.mark.parametrize("timestep", SIGMA)
def test_the_network_receives_what_edm_says(backbone, inputs, timestep):
    encoded, noise = inputs(32, 32)

    def run():
        backbone.extract(encoded, blocks=["in"], timestep=timestep, noise=noise)

    (sample,) = inputs_of(backbone.unet.conv_in, run)
    (condition,) = inputs_of(backbone.unet.time_proj, run)
    (ids,) = inputs_of(backbone.unet.add_time_proj, run)
    sigma = math.sqrt(1 / backbone.schedule.alphas_cumprod[timestep] - 1)
    assert sigma == pytest.approx(SIGMA[timestep], rel=1e-3)
    latents = backbone.sample_latents(encoded).flatten(0, 1)
    expected = (latents + sigma * noise.flatten(0, 1)) / math.sqrt(sigma**2 + 1)
    torch.testing.assert_close(sample[:, :4], expected)
    assert torch.equal(sample[:, 4:], torch.zeros_like(expected))
    assert condition.tolist() == pytest.approx([CONDITION[timestep]] * 2, abs=1e-4)
    assert ids.tolist() == pytest.approx([6, 127, 0.02] * 2)


def test_image_latents_are_the_unscaled_mean_with_augmentation(backbone, inputs, generator):
    encoded, noise = inputs(32, 32, count=1)
    image = torch.rand(1, 3, 32, 32, generator=generator)
    (sample,) = inputs_of(
        backbone.unet.conv_in,
        lambda: backbone.extract(
            encoded, blocks=["in"], noise=noise, image=image, generator=generator.manual_seed(3)
        ),
    )
    augmentation = torch.randn(image.shape, generator=generator.manual_seed(3))
    seen = 2 * image - 1 + 0.02 * augmentation
    expected = backbone.vae.encode(seen).latent_dist.mode()
    torch.testing.assert_close(sample[:, 4:], expected.expand(3, -1, -1, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(480, 832), (64, 40), (28, 28), (30, 56)])
def test_tower_sees_the_image_that_the_pipeline_shows_it(size, generator):
    image = torch.rand(1, 3, *size, generator=generator)
    expected = pipeline._resize_with_antialiasing(image, (28, 28))
    torch.testing.assert_close(squeeze_to_square(image, 28), expected, rtol=1e-4, atol=1e-4)


def test_image_changes_the_features_and_text_replaces_its_embedding(backbone, inputs, generator):
    encoded, noise = inputs(32, 32)
    image = torch.rand(2, 3, 32, 32, generator=generator)

    def up1(**options):
        options |= {"blocks": ["up1"], "timestep": 50, "noise": noise}
        with torch.no_grad():
            return backbone.extract(encoded, generator=generator.manual_seed(0), **options)["up1"]

    embedding = backbone.embed_image(image)
    assert not torch.equal(up1(), up1(image=image))
    assert torch.equal(up1(image=image), up1(image=image, text=embedding))
    assert not torch.equal(up1(image=image), up1(image=image, text=-embedding))


def test_without_temporal_layers_a_frame_is_alone(inputs):
    backbone = TINY["svd"](temporal_layers=False)
    assert not backbone.temporal
    encoded, noise = inputs(40, 64)
    expected = TINY["svd"]()
    for name, parameter in expected.unet.named_parameters():
        if name.endswith("mix_factor"):
            parameter.fill_(1000.0)  # sigmoid = 1: only the spatial half counts
    options = {"blocks": list(backbone.blocks), "timestep": 50}
    found, reference = (
        each.extract(encoded, noise=noise, **options) for each in (backbone, expected)
    )
    for name, feature in found.items():
        torch.testing.assert_close(feature, reference[name], rtol=1e-3, atol=1e-4)
    one = backbone.extract(encoded.select_frames(slice(1, 2)), noise=noise[:, 1:2], **options)
    torch.testing.assert_close(one["up1"], found["up1"][:, 1:2], rtol=1e-3, atol=1e-4)


def test_without_temporal_layers_none_of_them_runs(inputs):
    backbone = TINY["svd"](temporal_layers=False)
    encoded, noise = inputs(32, 32)
    for name, module in backbone.unet.named_modules():
        if "temporal" in name or "time_mixer" in name or "time_pos_embed" in name:
            module.register_forward_pre_hook(lambda *_: pytest.fail("a temporal layer was run"))
    backbone.extract(encoded, blocks=["up3"], noise=noise)


@pytest.mark.assets
def test_sizes_of_the_released_network(assets):
    config = yaml.safe_load((assets / "configs" / "svd" / "svd.yaml").read_text())
    network = config["model"]["params"]["network_config"]["params"]
    widths = tuple(network["model_channels"] * factor for factor in network["channel_mult"])
    with torch.device("meta"):
        unet = UNetSpatioTemporalConditionModel(
            in_channels=network["in_channels"],
            block_out_channels=widths,
            layers_per_block=network["num_res_blocks"],
            num_attention_heads=tuple(width // network["num_head_channels"] for width in widths),
            cross_attention_dim=network["context_dim"],
            projection_class_embeddings_input_dim=network["adm_in_channels"],
        )
    count = sum(parameter.numel() for parameter in unet.parameters())
    assert count == pytest.approx(1521e6, rel=5e-3)  # "1521M" in the paper, appendix D
    assert unet.config.addition_time_embed_dim * 3 == network["adm_in_channels"]
    backbone = SvdBackbone(unet, image_vae(), schedule(), None)
    found = [backbone.blocks[f"up{i}"] for i in range(4)]
    assert [(block.channels, block.stride) for block in found] == UP_BLOCKS


def test_folders_of_the_library_load(backbone, tmp_path, generator):
    for part in ("unet", "vae", "image_encoder"):
        getattr(backbone, part).save_pretrained(tmp_path / part)
    EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_type="continuous",
        use_karras_sigmas=True,
    ).save_pretrained(tmp_path / "scheduler")
    loaded = load(str(tmp_path), torch.float32)
    assert loaded.schedule.alphas_cumprod == schedule().double().tolist()
    video = torch.rand(1, 2, 3, 32, 32, generator=generator)
    found, expected = (
        each.extract(video, blocks=["in"], timestep=50, generator=generator.manual_seed(1))
        for each in (loaded, backbone)
    )
    torch.testing.assert_close(found["in"], expected["in"])
    half = load(str(tmp_path), torch.bfloat16, temporal_layers=False)
    assert (half.unet.dtype, half.vae.dtype) == (torch.bfloat16, torch.float32)
    assert not half.temporal
    (tmp_path / "vae" / "config.json").unlink()
    with pytest.raises(ValueError, match="cannot load vae from"):
        load(str(tmp_path), torch.float32)


def test_sources_are_hub_ids():
    assert {"svd", "svd-xt", "svd-xt-1.1"} == SOURCES.keys()
    assert all(len(place.split("/")) == 2 for place in SOURCES.values())
