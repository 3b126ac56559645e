"""The video encoder of Open-Sora 1.2 against its equations, and what its backbone makes of it."""

import pytest
import torch
import torch.nn.functional as F

from tests.models import tiny_transformers as tiny
from vdit.models.backbones.open_sora import timestep_shift
from vdit.models.backbones.open_sora_vae import (
    CausalConvolution,
    OpenSoraVideoEncoder,
    TemporalVae,
)


@pytest.fixture
def backbone():
    return tiny.open_sora()


# ---- the equations -----------------------------------------------------------------------------


def causal(w, name, x, stride=1):
    """A frame at a time, as a sum of 2D convolutions of it and the frames before it."""
    kernel, bias = w[f"{name}.conv.weight"], w.get(f"{name}.conv.bias")
    taps = kernel.shape[2]
    frames = []
    for last in range(stride - 1, x.shape[2], stride):
        total = torch.zeros(())
        for back in range(taps):
            if last - back >= 0:
                weight = kernel[:, :, taps - 1 - back]
                total = total + F.conv2d(x[:, :, last - back], weight, padding=taps // 2)
        frames.append(total if bias is None else total + bias[:, None, None])
    return torch.stack(frames, dim=2)


def activated(w, name, x, groups):
    parts = x.reshape(len(x), groups, -1)
    mean, var = parts.mean(-1, keepdim=True), parts.var(-1, keepdim=True, unbiased=False)
    x = ((parts - mean) / torch.sqrt(var + 1e-5)).reshape(x.shape)
    x = x * w[f"{name}.weight"][:, None, None, None] + w[f"{name}.bias"][:, None, None, None]
    return x * torch.sigmoid(x)


def residual(w, name, x, groups):
    change = causal(w, f"{name}.conv1", activated(w, f"{name}.norm1", x, groups))
    change = causal(w, f"{name}.conv2", activated(w, f"{name}.norm2", change, groups))
    skip = causal(w, f"{name}.conv3", x) if f"{name}.conv3.conv.weight" in w else x
    return skip + change


def temporal_vae(w, x, groups, depth):
    """Moments of [B, C, T, h, w] by the published layout: stages 1, 2, 2, 4, time halved twice."""
    x = torch.cat([torch.zeros_like(x[:, :, :1])] * (-x.shape[2] % 4) + [x], dim=2)
    x = causal(w, "encoder.conv_in", x)
    for stage in range(4):
        for j in range(depth):
            x = residual(w, f"encoder.block_res_blocks.{stage}.{j}", x, groups)
        if stage in (1, 2):
            x = causal(w, f"encoder.conv_blocks.{stage}", x, stride=2)
    for j in range(depth):
        x = residual(w, f"encoder.res_blocks.{j}", x, groups)
    x = causal(w, "encoder.conv2", activated(w, "encoder.norm1", x, groups))
    return causal(w, "quant_conv", x)


# ---- tests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 5, 6, 17])
def test_temporal_vae_equals_its_equations(frames, generator):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TemporalVae(4, filters=4, num_res_blocks=2, num_groups=2)
        for name, parameter in network.named_parameters():
            if "norm" in name:
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
    x = torch.randn(2, 4, frames, 3, 4, generator=generator)
    with torch.no_grad():
        found = network(x)
        expected = temporal_vae(network.state_dict(), x, groups=2, depth=2)
    assert found.shape == (2, 8, -(-frames // 4), 3, 4)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_sees_no_later_frame(stride, generator):
    layer = CausalConvolution(2, 3, time_stride=stride)
    x = torch.randn(1, 2, 8, 4, 4, generator=generator)
    changed = x.clone()
    changed[:, :, 4:] = 0
    before, after = layer(x), layer(changed)
    kept = 4 // stride
    assert torch.equal(before[:, :, :kept], after[:, :, :kept])
    assert not torch.equal(before[:, :, kept], after[:, :, kept])


def test_names_and_shapes_of_the_released_checkpoint():
    def block(name, inputs, width):
        yield f"{name}.conv1.conv.weight", (width, inputs, 3, 3, 3)
        yield f"{name}.conv2.conv.weight", (width, width, 3, 3, 3)
        if inputs != width:
            yield f"{name}.conv3.conv.weight", (width, inputs, 1, 1, 1)
        for norm, size in (("norm1", inputs), ("norm2", width)):
            yield f"{name}.{norm}.weight", (size,)
            yield f"{name}.{norm}.bias", (size,)

    expected = {
        "encoder.conv_in.conv.weight": (128, 4, 3, 3, 3),
        "encoder.conv_blocks.1.conv.weight": (256, 256, 3, 3, 3),
        "encoder.conv_blocks.1.conv.bias": (256,),
        "encoder.conv_blocks.2.conv.weight": (256, 256, 3, 3, 3),
        "encoder.conv_blocks.2.conv.bias": (256,),
        "encoder.norm1.weight": (512,),
        "encoder.norm1.bias": (512,),
        "encoder.conv2.conv.weight": (8, 512, 1, 1, 1),
        "encoder.conv2.conv.bias": (8,),
        "quant_conv.conv.weight": (8, 8, 1, 1, 1),
        "quant_conv.conv.bias": (8,),
    }
    for j in range(4):
        expected |= dict(block(f"encoder.res_blocks.{j}", 512, 512))
        for stage, (inputs, width) in enumerate([(128, 128), (128, 256), (256, 256), (256, 512)]):
            name = f"encoder.block_res_blocks.{stage}.{j}"
            expected |= dict(block(name, width if j else inputs, width))
    with torch.device("meta"):
        vae = OpenSoraVideoEncoder(tiny.image_vae())
    found = {name: tuple(value.shape) for name, value in vae.state_dict().items()}
    assert found.pop("shift") == found.pop("scale") == (1, 4, 1, 1, 1)
    assert found.pop("spatial_vae.module.encoder.conv_in.bias") == (4,)
    own = {n: shape for n, shape in found.items() if not n.startswith("spatial_vae.module.")}
    assert own == {f"temporal_vae.{name}": shape for name, shape in expected.items()}


def test_size_of_the_published_checkpoint():
    """The released file holds 1.57 GB of float32: image VAE, temporal encoder and decoder."""
    with torch.device("meta"):
        network = TemporalVae(4, filters=128, num_res_blocks=4, num_groups=32)
    encoder = sum(parameter.numel() for parameter in network.parameters())

    def block(inputs, width):
        convolutions = 27 * (inputs + width) * width + 2 * (inputs + width)
        return convolutions + (inputs * width if inputs != width else 0)

    decoder = 27 * 4 * 512 + 512 + 8 * block(512, 512)
    decoder += 27 * 512 * 1024 + 1024 + block(512, 256) + 3 * block(256, 256)
    decoder += 27 * 256 * 512 + 512 + 4 * block(256, 256)
    decoder += block(256, 128) + 3 * block(128, 128) + 2 * 128 + 27 * 128 * 4 + 4 + 4 * 4 + 4
    image_vae = 83_653_863  # of SDXL
    assert encoder + decoder + image_vae == pytest.approx(1.57e9 / 4, rel=0.004)


def test_latents_by_the_published_recipe(backbone, generator):
    video = torch.rand(1, 5, 3, 32, 48, generator=generator)
    encoded = backbone.encode(video)
    with torch.no_grad():
        frames = [
            backbone.vae.spatial_vae["module"].encode(2 * frame - 1).latent_dist.mode()
            for frame in video.unbind(1)
        ]
        moments = backbone.vae.temporal_vae(0.18215 * torch.stack(frames, dim=2))
    torch.testing.assert_close(encoded.latent_mean, moments[:, :4].transpose(1, 2))
    torch.testing.assert_close(encoded.latent_logvar, moments[:, 4:].transpose(1, 2))
    shift, scale = (-0.10, 0.34, 0.27, 0.98), (3.85, 2.32, 2.33, 3.06)
    found = backbone.scale_latents(encoded.latent_mean)
    for c in range(4):
        expected = (encoded.latent_mean[:, :, c] - shift[c]) / scale[c]
        torch.testing.assert_close(found[:, :, c], expected)


def test_extract_is_the_network_on_noisy_latents(backbone, generator):
    backbone.posterior = "mean"
    video = torch.rand(2, 5, 3, 32, 48, generator=generator)
    noise = torch.randn(2, 2, 4, 4, 6, generator=generator)
    text = torch.randn(2, 3, 10, generator=generator)
    with torch.no_grad():
        found = backbone.extract(
            video, blocks=list(backbone.blocks), timestep=250, noise=noise, text=text
        )
        latents = backbone.scale_latents(backbone.encode(video).latent_mean)
        noisy = (0.75 * latents + 0.25 * noise).transpose(1, 2)
        times, rates = torch.full((2,), 250.0), torch.full((2,), 24.0)
        expected = dict(backbone.network.walk(noisy, times, text, rates, (32, 48)))
    for name, tokens in expected.items():
        grid = tokens.reshape(2, 2, 2, 3, 16).permute(0, 1, 4, 2, 3)
        assert torch.equal(found[name], grid)


def test_the_null_prompt_is_the_learned_caption(backbone, generator):
    video = backbone.encode(torch.rand(2, 5, 3, 32, 48, generator=generator))
    caption = backbone.network.y_embedder.y_embedding.expand(2, -1, -1)
    found, expected = (
        backbone.extract(
            video,
            blocks=["block3"],
            noise=torch.zeros_like,
            text=text,
            generator=torch.Generator().manual_seed(0),
        )["block3"]
        for text in (None, caption)
    )
    assert torch.equal(found, expected)


def test_frame_rate_is_told(backbone, generator):
    backbone.posterior = "mean"
    video = torch.rand(1, 1, 3, 32, 48, generator=generator)
    before = backbone.extract(video, blocks=["block1"])["block1"]
    backbone.fps = 8.0
    assert not torch.equal(before, backbone.extract(video, blocks=["block1"])["block1"])


def test_skipped_temporal_blocks_are_not_run(generator, monkeypatch):
    backbone = tiny.open_sora(temporal_layers=False)
    for block in backbone.network.temporal_blocks:
        monkeypatch.setattr(block, "forward", lambda *_: pytest.fail("a temporal block was run"))
    video = torch.rand(1, 5, 3, 32, 48, generator=generator)
    assert backbone.extract(video, blocks=["block3"])["block3"].shape == (1, 2, 16, 2, 3)


def test_seventeen_frames_are_the_limit(backbone):
    assert backbone.num_feature_frames(17) == 5
    with pytest.raises(ValueError, match=r"expected at most 17 frames, got 21; split the video"):
        backbone.encode(torch.zeros(1, 21, 3, 16, 16))
    with pytest.raises(ValueError, match=r"expected 1 \+ 4 n frames, got 16"):
        backbone.encode(torch.zeros(1, 16, 3, 16, 16))


def test_shift_grows_with_size_and_length():
    assert timestep_shift((512, 512), 1) == 1
    assert timestep_shift((1024, 1024), 1) == 2
    assert timestep_shift((512, 512), 17) == pytest.approx(5**0.5)
