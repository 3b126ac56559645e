"""I2VGen-XL: the library's own forward, its conditions, its folders."""

import numpy as np
import pytest
import torch
import yaml
from diffusers import DDIMScheduler, I2VGenXLUNet, UNet3DConditionModel
from PIL import Image

from tests.models.tiny_unets import TINY, UP_BLOCKS, image_vae, inputs_of, schedule, stock_features
from vdit.architectures import FULL
from vdit.backbone_loading.i2vgen import SOURCES, load
from vdit.models.backbones.clip_images import crop_to_square
from vdit.models.backbones.i2vgen import I2VGenBackbone, image_planes

TEMPORAL = ("temp_convs", "temp_attentions", "transformer_in", "image_latents_temporal_encoder")


@pytest.fixture(scope="module")
def backbone():
    return TINY["i2vgen"]()


@pytest.fixture
def inputs(backbone, generator):
    """An encoded video with the draws that belong to it."""

    def make(*size, count=2, num_frames=3):
        video = torch.rand(count, num_frames, 3, *size, generator=generator)
        encoded = backbone.encode(video)
        encoded.posterior_noise = torch.randn(encoded.latent_mean.shape, generator=generator)
        return encoded, torch.randn(encoded.latent_mean.shape, generator=generator)

    return make


def position_mask(first, num_frames):
    """Frame 0 is the image, frame k is k / (F - 1), as a plain loop: [N, C, F, h, w]."""
    frames = [first]
    for k in range(1, num_frames):
        frames.append(torch.ones_like(first) * (k / (num_frames - 1)))
    return torch.stack(frames, dim=2).contiguous()


def stock(backbone, noisy, timestep, text, first, embedding):
    """The library's forward on [B, F, C, h, w]."""
    return stock_features(
        backbone.unet,
        backbone.unet.transformer_in,
        noisy.transpose(1, 2),
        timestep,
        fps=torch.full((len(noisy),), 16),
        image_latents=position_mask(first, noisy.shape[1]),
        image_embeddings=embedding,
        encoder_hidden_states=text,
    )


@pytest.mark.parametrize("size", [(64, 64), (40, 72), (64, 56)])
@pytest.mark.parametrize("timestep", [300, 999])
def test_equals_the_library_forward(backbone, inputs, size, timestep):
    encoded, noise = inputs(*size)
    text = backbone.encode_text(["a dog", "a cat"])
    latents = backbone.sample_latents(encoded)
    noisy = backbone.add_noise(latents, timestep, noise)
    embedding = encoded.image_tokens[:, 0]
    expected = stock(backbone, noisy, timestep, text, latents[:, 0], embedding)
    with torch.no_grad():
        found = backbone.extract(
            encoded, blocks=list(backbone.blocks), timestep=timestep, text=text, noise=noise
        )
    assert expected.keys() == found.keys()
    for name, feature in found.items():
        assert torch.equal(feature.flatten(0, 1), expected[name]), name


@pytest.mark.parametrize("null_image", ["first_frame", "zeros"])
def test_null_images(null_image, inputs):
    backbone = TINY["i2vgen"](null_image=null_image)
    encoded, noise = inputs(32, 64)
    latents = backbone.sample_latents(encoded)
    first, embedding = latents[:, 0], encoded.image_tokens[:, 0]
    if null_image == "zeros":
        first, embedding = torch.zeros_like(first), torch.zeros_like(embedding)
    text = backbone.encode_text(["", ""])
    noisy = backbone.add_noise(latents, 300, noise)
    expected = stock(backbone, noisy, 300, text, first, embedding)["up2"]
    found = backbone.extract(encoded, blocks=["up2"], timestep=300, noise=noise)["up2"]
    assert torch.equal(found.flatten(0, 1), expected)


def test_image_is_sampled_scaled_and_described(backbone, inputs, generator):
    encoded, noise = inputs(32, 64)
    image = torch.rand(2, 3, 32, 64, generator=generator)
    posterior = backbone.vae.encode(2 * image - 1).latent_dist
    draw = torch.randn(posterior.mean.shape, generator=generator.manual_seed(5))
    first = (posterior.mean + posterior.std * draw) * backbone.vae.config.scaling_factor
    noisy = backbone.add_noise(backbone.sample_latents(encoded), 300, noise)
    text = backbone.encode_text(["", ""])
    expected = stock(backbone, noisy, 300, text, first, backbone.embed_image(image))["up2"]
    options = {"blocks": ["up2"], "timestep": 300, "noise": noise, "image": image}
    found = backbone.extract(encoded, generator=generator.manual_seed(5), **options)["up2"]
    torch.testing.assert_close(found.flatten(0, 1), expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(
        ValueError, match=r"expected a conditioning image of shape \[2, 3, 32, 64\]"
    ):
        backbone.extract(encoded, **(options | {"image": image[:1]}))


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_planes_say_where_a_frame_is(num_frames):
    first = torch.randn(2, 4, 3, 5)
    planes = image_planes(first, num_frames)
    assert planes.shape == (2, num_frames, 4, 3, 5)
    assert torch.equal(planes[:, 0], first)
    torch.testing.assert_close(planes, position_mask(first, num_frames).transpose(1, 2))
    if num_frames == 5:
        assert planes[0, 1:, 0, 0, 0].tolist() == [0.25, 0.5, 0.75, 1.0]


def test_the_network_receives_planes_timestep_and_frame_rate(backbone, inputs):
    encoded, noise = inputs(32, 32, num_frames=4)

    def run():
        backbone.extract(encoded, blocks=["in"], timestep=600, noise=noise)

    (planes,) = inputs_of(backbone.unet.image_latents_proj_in, run)
    first = backbone.sample_latents(encoded)[:, 0]
    expected = position_mask(first, 4).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(planes, expected)
    numbers = [seen.tolist() for seen in inputs_of(backbone.unet.time_proj, run)]
    assert numbers == [[600, 600], [16, 16]]


def test_frame_rate_matters(backbone, inputs):
    encoded, noise = inputs(32, 32)
    found = [
        each.extract(encoded, blocks=["down0"], noise=noise)["down0"]
        for each in (backbone, TINY["i2vgen"](fps=8))
    ]
    assert not torch.equal(*found)


def test_noise_levels_of_the_zero_signal_schedule(backbone):
    levels = {0: 0.0064, 50: 0.0913, 300: 0.5224, 600: 1.3954, 900: 6.430, 999: float("inf")}
    for timestep, sigma in levels.items():
        assert backbone.schedule.sigma(timestep) == pytest.approx(sigma, rel=5e-3)


def test_last_timestep_holds_no_signal(backbone, inputs):
    encoded, noise = inputs(32, 32)
    noisy = backbone.add_noise(backbone.sample_latents(encoded), 999, noise)
    torch.testing.assert_close(noisy, noise)


@pytest.mark.parametrize("size", [(40, 64), (64, 40), (56, 56)])
def test_tower_sees_what_pil_crops_and_resizes(size, generator):
    image = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
    height, width = size
    short = min(size)
    left, top = (width - short) // 2, (height - short) // 2
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    square = picture.crop((left, top, left + short, top + short))
    expected = np.asarray(square.resize((28, 28), Image.Resampling.BILINEAR))
    found = crop_to_square(image[None].float(), 28)[0].permute(1, 2, 0)
    assert np.abs(found.numpy() - expected).max() <= 1.01  # grey levels; PIL rounds twice


def test_without_temporal_layers_a_frame_is_a_clip_of_its_own(inputs):
    backbone, reference = TINY["i2vgen"](temporal_layers=False), TINY["i2vgen"]()
    assert not backbone.temporal
    for name, parameter in reference.unet.named_parameters():
        last = (".conv4.", "temp_attentions", "transformer_in", "temporal_encoder")
        ends = (".conv4.", "proj_out", "attn1.to_out", "ff.net.2")
        if any(place in name for place in last) and any(end in name for end in ends):
            parameter.zero_()  # residual layers that add nothing
    encoded, noise = inputs(40, 64)
    latents = backbone.sample_latents(encoded)
    text = backbone.encode_text(["a dog", "a cat"])
    expected = stock(
        reference,
        backbone.add_noise(latents, 300, noise).flatten(0, 1)[:, None],
        300,
        text.repeat_interleave(3, dim=0),
        latents.flatten(0, 1),
        encoded.image_tokens.flatten(0, 1),
    )
    options = {"blocks": list(backbone.blocks), "timestep": 300}
    found = backbone.extract(encoded, text=text, noise=noise, **options)
    for name, feature in found.items():
        torch.testing.assert_close(feature.flatten(0, 1), expected[name], rtol=1e-3, atol=1e-4)
    part = encoded.select_frames(slice(1, 2))
    alone = backbone.extract(part, text=text, noise=noise[:, 1:2], **options)
    torch.testing.assert_close(alone["up1"], found["up1"][:, 1:2], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("null_image", ["first_frame", "zeros"])
def test_without_temporal_layers_none_of_them_runs(null_image, inputs, generator):
    backbone = TINY["i2vgen"](temporal_layers=False, null_image=null_image)
    encoded, noise = inputs(32, 32)
    for name, module in backbone.unet.named_modules():
        if any(part in name for part in TEMPORAL):
            module.register_forward_pre_hook(lambda *_: pytest.fail("a temporal layer was run"))
    image = torch.rand(2, 3, 32, 32, generator=generator)
    null, led = (
        backbone.extract(encoded, blocks=["up3"], noise=noise, image=each)["up3"]
        for each in (None, image)
    )
    assert null.shape == led.shape
    assert not torch.equal(null, led)


def test_sizes_of_the_released_network():
    """It is the UNet of ModelScopeT2V with a way in for an image and a frame rate."""
    with torch.device("meta"):
        unet, text_to_video = I2VGenXLUNet(), UNet3DConditionModel(**FULL.unet)
    count, base = (
        sum(parameter.numel() for parameter in each.parameters()) for each in (unet, text_to_video)
    )
    time_dim, dim = 1280, 1024
    more_input = 4 * 320 * 9
    project = (4 * 16 + 16 * 16 + 16 * 4) * 9 + 16 + 16 + 4
    over_time = 2 * 4 + 3 * 4 * 8 + (8 * 4 + 4) + (4 * 16 + 16) + (16 * 4 + 4)
    pool = (4 * 32 + 32 * 64 + 64 * dim) * 9 + 32 + 64 + dim
    describe = dim * time_dim + time_dim + time_dim * 4 * dim + 4 * dim
    frame_rate = 320 * time_dim + time_dim + time_dim * time_dim + time_dim
    assert count - base == more_input + project + over_time + pool + describe + frame_rate
    backbone = I2VGenBackbone(unet, image_vae(), schedule(), None, None, None)
    found = [backbone.blocks[f"up{i}"] for i in range(4)]
    assert [(block.channels, block.stride) for block in found] == UP_BLOCKS
    assert backbone.text_dim == dim


@pytest.mark.assets
def test_frame_rate_and_length_of_the_released_settings(assets, backbone):
    file = assets / "configs" / "i2vgen-xl" / "i2vgen_xl_infer.yaml"
    assert yaml.safe_load(file.read_text())["target_fps"] == backbone.fps


def test_folders_of_the_library_load(backbone, tmp_path, generator):
    for part in ("unet", "vae", "text_encoder", "tokenizer", "image_encoder"):
        getattr(backbone, part).save_pretrained(tmp_path / part)
    DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        rescale_betas_zero_snr=True,
        prediction_type="v_prediction",
    ).save_pretrained(tmp_path / "scheduler")
    loaded = load(str(tmp_path), torch.float32, fps=16)
    assert loaded.schedule.alphas_cumprod == backbone.schedule.alphas_cumprod
    video = torch.rand(1, 2, 3, 32, 32, generator=generator)
    found, expected = (
        each.extract(video, blocks=["in"], timestep=300, generator=generator.manual_seed(1))
        for each in (loaded, backbone)
    )
    torch.testing.assert_close(found["in"], expected["in"])
    (tmp_path / "image_encoder" / "config.json").unlink()
    with pytest.raises(ValueError, match="cannot load image_encoder from"):
        load(str(tmp_path), torch.float32)


def test_sources_are_hub_ids():
    assert SOURCES == {"i2vgen-xl": "ali-vilab/i2vgen-xl"}
