"""ADM: sizes and names of the published networks, and the numbers of a slow copy."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from tests.models.slow_adm import Slow, plan
from tests.models.tiny_convnets import ADM, ADM_LABELS, TINY
from vdit.backbone_loading import adm
from vdit.models.backbones.adm import AdmBackbone
from vdit.models.backbones.adm_unet import (
    ADM_256,
    ADM_512,
    AdmUNet,
    ResidualBlock,
    SelfAttention,
    sinusoid,
)

# ---- the published networks ----------------------------------------------------------------------

PARAMETERS = {"256": 552_814_086, "512": 558_997_638}
TABLES = {
    "256": "1024/32 x2, 1024/16 x3, 1024/8 x1, 512/8 x2, 512/4 x3, 512/2 x1, 256/2 x2, 256/1 x4",
    "512": "1024/64 x2, 1024/32 x3, 1024/16 x1, 512/16 x2, 512/8 x3, 512/4 x1, 256/4 x2, "
    "256/2 x3, 256/1 x1, 128/1 x3",
}
"""Channels / stride x consecutive blocks that have them."""


@pytest.fixture(scope="module", params=["256", "512"])
def published(request):
    config = {"256": ADM_256, "512": ADM_512}[request.param]
    with torch.device("meta"):
        unet = AdmUNet(config)
    return request.param, AdmBackbone(unet)


def test_blocks_of_the_published_networks(published):
    name, backbone = published
    rows = [row.split(" x") for row in TABLES[name].split(", ")]
    expected = [sizes for sizes, count in rows for _ in range(int(count))]
    assert [f"{info.channels}/{info.stride}" for info in backbone.blocks.values()] == expected
    assert list(backbone.blocks) == [f"out{i}" for i in range({"256": 18, "512": 21}[name])]
    assert backbone.size_multiple == {"256": 32, "512": 64}[name]


def test_parameters_of_the_published_networks(published):
    name, backbone = published
    # 552.8 M and 559 M in the paper's tables
    assert sum(parameter.numel() for parameter in backbone.parameters()) == PARAMETERS[name]


def test_names_of_the_published_networks(published):
    name, backbone = published
    names = backbone.unet.state_dict()
    config = backbone.unet.config
    assert set(names) == expected_names(config)
    assert tuple(names["input_blocks.0.0.weight"].shape) == (config.widths[0], 3, 3, 3)
    assert tuple(names["out.2.weight"].shape) == (6, config.widths[0], 3, 3)
    assert tuple(names["middle_block.1.qkv.weight"].shape) == (3072, 1024, 1)
    if name == "512":
        assert tuple(names["label_emb.weight"].shape) == (1000, 1024)


def expected_names(config):
    encoder, middle, decoder = plan(config)
    layers = {"middle_block": middle}
    layers |= {f"input_blocks.{i}": stage for i, stage in enumerate(encoder, start=1)}
    layers |= {f"output_blocks.{i}": stage for i, stage in enumerate(decoder)}
    modules = ["time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2"]
    for prefix, stage in layers.items():
        for i, (kind, *sizes) in enumerate(stage):
            parts = ["norm", "qkv", "proj_out"]
            if kind == "residual":
                parts = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0"]
                parts += ["out_layers.3"] + ["skip_connection"] * (sizes[0] != sizes[1])
            modules += [f"{prefix}.{i}.{part}" for part in parts]
    names = {f"{module}.{leaf}" for module in modules for leaf in ("weight", "bias")}
    return names | ({"label_emb.weight"} if config.num_classes else set())


# ---- against a slow copy -------------------------------------------------------------------------


def randomized(module):
    """Norms and biases that do something."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return module.requires_grad_(False)


@pytest.mark.parametrize("resize", [None, "up", "down"])
@pytest.mark.parametrize("channels", [32, 64])
def test_residual_block_against_the_slow_one(resize, channels, generator):
    block = randomized(ResidualBlock(32, channels, 8, resize))
    x = torch.randn(2, 32, 4, 6, generator=generator)
    embed = torch.randn(1, 8, generator=generator)
    slow = Slow({f"b.{name}": tensor for name, tensor in block.state_dict().items()})
    expected = slow.residual("b", x, embed, resize)
    torch.testing.assert_close(block(x, embed), expected, rtol=1e-4, atol=1e-5)


def test_attention_against_the_slow_one(generator):
    block = randomized(SelfAttention(64, 16))
    x = torch.randn(2, 64, 3, 5, generator=generator)
    slow = Slow({f"b.{name}": tensor for name, tensor in block.state_dict().items()})
    torch.testing.assert_close(block(x), slow.attention("b", x, 16), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("timestep", [0, 51, 999])
def test_time_embedding(timestep):
    unet = randomized(AdmUNet(ADM))
    slow = Slow(unet.state_dict())
    torch.testing.assert_close(unet.embed(timestep, None), slow.embed(timestep, 32, None))
    assert sinusoid(0, 8).tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(("config", "label"), [(ADM, None), (ADM_LABELS, 3)])
def test_network_against_the_slow_one(config, label, generator):
    backbone = AdmBackbone(randomized(AdmUNet(config)), label)
    video = torch.rand(1, 2, 3, 8, 16, generator=generator)
    noise = torch.randn(video.shape, generator=generator)
    # cumulative product of 1 - beta over the line of betas from 1e-4 to 0.02
    kept = math.prod(1 - 1e-4 - (0.02 - 1e-4) * i / 999 for i in range(301))
    noisy = math.sqrt(kept) * (2 * video - 1) + math.sqrt(1 - kept) * noise
    found = backbone.extract(video, blocks=list(backbone.blocks), timestep=300, noise=noise)
    slow = Slow(backbone.unet.state_dict())
    expected = list(slow.outputs(config, noisy[0], 300, label))
    assert len(expected) == len(found)
    for name, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(found[name][0], reference, rtol=1e-3, atol=1e-4)


# ---- noise, label, sizes -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbone():
    return TINY["adm"]()


@pytest.fixture
def video(generator):
    return torch.rand(2, 3, 3, 8, 12, generator=generator)


def extract(backbone, video, seed=0, **options):
    options = {"blocks": ["out1"], "timestep": 51} | options
    return backbone.extract(video, generator=torch.Generator().manual_seed(seed), **options)["out1"]


def test_one_seed_one_result(backbone, video):
    assert torch.equal(extract(backbone, video), extract(backbone, video))
    assert not torch.equal(extract(backbone, video), extract(backbone, video, seed=1))


def test_frames_have_noise_of_their_own(backbone, video):
    same = video[:, :1].expand(-1, 3, -1, -1, -1)
    found = extract(backbone, same)
    assert not torch.allclose(found[:, 0], found[:, 1])


def test_noise_from_outside_is_used(backbone, video):
    drawn = torch.randn(video.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(extract(backbone, video, noise=drawn), extract(backbone, video))
    zero = extract(backbone, video, noise=torch.zeros_like(video))
    assert torch.equal(zero, extract(backbone, video, noise=torch.zeros_like))
    assert not torch.equal(zero, extract(backbone, video))


def test_noise_is_a_function_of_the_frames_as_the_network_takes_them(backbone, video):
    seen = []
    extract(backbone, video, noise=lambda frames: seen.append(frames) or torch.zeros_like(frames))
    torch.testing.assert_close(seen[0], 2 * video - 1)


def test_no_timestep_is_no_noise(backbone, video):
    clean = extract(backbone, video, timestep=None)
    assert torch.equal(clean, extract(backbone, video, timestep=None, noise=torch.ones_like))
    assert not torch.equal(clean, extract(backbone, video, timestep=0))


def test_gradients_reach_the_noise(backbone, video):
    noise = torch.zeros_like(video).requires_grad_()
    extract(backbone, video, noise=noise).square().sum().backward()
    assert noise.grad.abs().sum() > 0


def test_errors_say_what_to_do(backbone, video):
    with pytest.raises(ValueError, match="multiples of 4, got 8x10"):
        extract(backbone, video[..., :10])
    with pytest.raises(ValueError, match="expected noise of the latents' shape"):
        extract(backbone, video, noise=torch.zeros(1))
    with pytest.raises(ValueError, match=r"expected a timestep in 0\.\.999, .* got 1000"):
        extract(backbone, video, timestep=1000)
    with pytest.raises(ValueError, match="expected label None, what this network knows, got 1"):
        AdmBackbone(AdmUNet(ADM), label=1)
    with pytest.raises(ValueError, match=r"expected label None or 0\.\.4, .* got 5"):
        AdmBackbone(AdmUNet(ADM_LABELS), label=5)


def test_no_label_is_the_mean_of_all(generator):
    unet = randomized(AdmUNet(ADM_LABELS))
    each = torch.stack([unet.embed(51, label) for label in range(5)])
    assert not torch.allclose(each[0], each[1])
    torch.testing.assert_close(unet.embed(51, None), each.mean(0))


# ---- files ---------------------------------------------------------------------------------------


def test_loading_gives_the_network_back(backbone, video, tmp_path):
    state = backbone.unet.state_dict()
    torch.save(state, tmp_path / "weights.pt")
    loaded = adm.load(str(tmp_path), torch.float32, config=ADM)
    assert torch.equal(extract(loaded, video), extract(backbone, video))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    save_file(state, tmp_path / "weights.safetensors")
    half = adm.load(str(tmp_path / "weights.safetensors"), torch.bfloat16, config=ADM)
    assert extract(half, video).dtype == torch.bfloat16
    torch.testing.assert_close(
        extract(half, video).float(), extract(backbone, video), rtol=0.1, atol=0.1
    )


@pytest.mark.parametrize("labels", [None, 1000])
def test_published_files_are_told_apart(published, labels, tmp_path):
    _, backbone = published
    config = replace(backbone.unet.config, num_classes=labels)
    with torch.device("meta"):  # a file of names and shapes
        torch.save(AdmUNet(config).state_dict(), tmp_path / "weights.pt")
    assert adm.load(str(tmp_path), torch.float32).unet.config == config


def test_label_reaches_the_loaded_network(tmp_path):
    torch.save(AdmUNet(ADM_LABELS).state_dict(), tmp_path / "weights.pt")
    assert adm.load(str(tmp_path), torch.float32, config=ADM_LABELS, label=2).label == 2


def test_files_that_do_not_fit(backbone, tmp_path):
    file = tmp_path / "weights.pt"
    state = dict(backbone.unet.state_dict())
    state["extra"] = state.pop("out.0.bias")
    torch.save(state, file)
    with pytest.raises(
        ValueError, match=r"AdmUNet in .*, but 1 missing \(out.0.bias\); 1 unknown \(extra\)"
    ):
        adm.load(str(file), torch.float32, config=ADM)
    with pytest.raises(ValueError, match=r"expected the 256 or 512 network of ADM"):
        adm.load(str(file), torch.float32)
    with pytest.raises(ValueError, match="which does not exist"):
        adm.load(str(tmp_path / "none.pt"), torch.float32)
    file.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"cannot read .*weights\.pt: "):
        adm.load(str(file), torch.float32)
