"""V-JEPA against an independent slow forward, its positions by definition, its released names."""

import math

import pytest
import torch
from safetensors.torch import save_file
from transformers import VJEPA2Config, VJEPA2Model

from tests.models.tiny_vits import VJEPA, vjepa
from vdit.backbone_loading.vjepa import SOURCES, config_of, load
from vdit.models.backbones.vjepa import (
    VIT_HUGE,
    VIT_HUGE_384,
    VIT_LARGE,
    VJepaBackbone,
    VJepaVit,
    sincos_positions,
)

# ---- the slow forward: plain loops over the parameters by name ---------------------------------


def linear(state, name, token):
    return state[f"{name}.weight"] @ token + state[f"{name}.bias"]


def layer_norm(state, name, token):
    centered = token - token.mean()
    scaled = centered / torch.sqrt((centered**2).mean() + 1e-6)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def gelu(values):
    return values * 0.5 * (1 + torch.erf(values / math.sqrt(2)))


def attention(state, name, tokens, num_heads):
    """Token by token, head by head."""
    width = tokens[0].numel()
    size = width // num_heads
    stacked = [linear(state, f"{name}.qkv", token) for token in tokens]
    mixed = [torch.zeros(width) for _ in tokens]
    for head in range(num_heads):
        part = slice(head * size, (head + 1) * size)
        queries = [each[:width][part] for each in stacked]
        keys = [each[width : 2 * width][part] for each in stacked]
        values = [each[2 * width :][part] for each in stacked]
        for index, query in enumerate(queries):
            weights = [math.exp(float(query @ key) / math.sqrt(size)) for key in keys]
            total = sum(weights)
            mixed[index][part] = sum(
                weight / total * value for weight, value in zip(weights, values, strict=True)
            )
    return [linear(state, f"{name}.proj", token) for token in mixed]


def slow_block(state, name, tokens, num_heads):
    normed = [layer_norm(state, f"{name}.norm1", token) for token in tokens]
    moved = attention(state, f"{name}.attn", normed, num_heads)
    tokens = [token + move for token, move in zip(tokens, moved, strict=True)]
    return [
        token
        + linear(
            state,
            f"{name}.mlp.fc2",
            gelu(linear(state, f"{name}.mlp.fc1", layer_norm(state, f"{name}.norm2", token))),
        )
        for token in tokens
    ]


def slow_features(state, frames, config):
    """[T, 3, H, W] of the training's size -> block name -> list of tokens."""
    p, s = config.patch_size, config.tubelet_size
    weight = state["patch_embed.proj.weight"].flatten(1)
    tokens = []
    for t in range(0, frames.shape[0], s):
        for y in range(0, frames.shape[2], p):
            for x in range(0, frames.shape[3], p):
                cube = frames[t : t + s, :, y : y + p, x : x + p].transpose(0, 1).flatten()
                tokens.append(weight @ cube + state["patch_embed.proj.bias"])
    tokens = [a + b for a, b in zip(tokens, state["pos_embed"][0], strict=True)]
    found = {}
    for index in range(config.depth):
        tokens = slow_block(state, f"blocks.{index}", tokens, config.num_heads)
        found[f"block{index + 1}"] = tokens
    found["last"] = [layer_norm(state, "norm", token) for token in tokens]
    return found


def check_equal(features, expected):
    """Features [T', C, h, w] hold the tokens in the order time, row, column."""
    assert list(features) == list(expected)
    for name, feature in features.items():
        tokens = torch.stack(expected[name])
        flat = torch.stack([cell for cell in feature.permute(0, 2, 3, 1).flatten(0, 2)])
        torch.testing.assert_close(flat, tokens, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("repeat", [False, True])
def test_equals_the_slow_forward(repeat, generator):
    network = vjepa()
    backbone = VJepaBackbone(network, repeat_frames=repeat)
    T = backbone.clip_length
    video = torch.rand(1, T, 3, 32, 32, generator=generator)
    frames = backbone.encode(video).latent_mean[0]
    if repeat:
        frames = torch.stack([frame for frame in frames for _ in range(2)])
    found = backbone.extract(video, blocks=list(backbone.blocks))
    expected = slow_features(network.state_dict(), frames, VJEPA)
    check_equal({name: feature[0] for name, feature in found.items()}, expected)


def test_normalization_is_that_of_imagenet():
    video = torch.tensor([0.485, 0.456, 0.406]).view(1, 1, 3, 1, 1).expand(1, 2, 3, 32, 32)
    backbone = VJepaBackbone(vjepa())
    assert backbone.encode(video).latent_mean.abs().max() < 1e-6
    shifted = video + torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    torch.testing.assert_close(backbone.encode(shifted).latent_mean, torch.ones_like(video))


# ---- positions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1024, 1280, 16])
def test_positions_by_definition(width):
    """Three equal, even shares of the channels, ceil(width / 6) frequencies each, cut at width."""
    grid = (3, 2, 4)
    table = sincos_positions(grid, width).view(*grid, width)
    half = math.ceil(width / 6)
    for t, y, x in [(0, 0, 0), (2, 1, 3), (1, 0, 2)]:
        code = []
        for place in (t, y, x):
            angles = [place / 10000 ** (i / half) for i in range(half)]
            code += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
        expected = torch.tensor(code[:width])
        torch.testing.assert_close(table[t, y, x], expected, rtol=0, atol=1e-6)


def test_positions_of_other_sizes_are_interpolated_trilinearly():
    network = vjepa()
    table = network.pos_embed[0].view(2, 4, 4, 16)
    grid = (3, 4, 7)
    found = network.positions(grid)[0].view(*grid, 16)

    def neighbors(index, length, source):
        """Two cells of the table and their weights; centers, clamped at the border."""
        place = min(max((index + 0.5) * source / length - 0.5, 0), source - 1)
        low = int(place)
        return [(low, 1 - place + low), (min(low + 1, source - 1), place - low)]

    for t, y, x in [(0, 0, 0), (1, 2, 3), (2, 3, 6), (1, 1, 5)]:
        expected = sum(
            wt * wy * wx * table[it, iy, ix]
            for it, wt in neighbors(t, 3, 2)
            for iy, wy in neighbors(y, 4, 4)
            for ix, wx in neighbors(x, 7, 4)
        )
        torch.testing.assert_close(found[t, y, x], expected, rtol=1e-4, atol=1e-5)


# ---- frames ------------------------------------------------------------------------------------


def test_repeated_frames_equal_tubelets_of_equal_frames(generator):
    video = torch.rand(1, 3, 3, 32, 40, generator=generator)
    each = VJepaBackbone(vjepa()).extract(video, blocks=["last"])["last"]
    doubled = video.repeat_interleave(2, dim=1)
    pairs = VJepaBackbone(vjepa(), repeat_frames=False).extract(doubled, blocks=["last"])["last"]
    assert torch.equal(each, pairs)
    assert each.shape == (1, 3, 16, 4, 5)


def test_clip_lengths_are_those_of_the_training():
    with torch.device("meta"):
        network = VJepaVit(VIT_LARGE)
        each, pairs = VJepaBackbone(network), VJepaBackbone(network, repeat_frames=False)
    assert (each.clip_length, pairs.clip_length) == (8, 16)
    assert (each.num_feature_frames(8), pairs.num_feature_frames(16)) == (8, 8)
    assert each.blocks["block24"].temporal_stride == 1
    assert pairs.blocks["block24"].temporal_stride == 2


def test_norms_divide_as_the_released_ones():
    """Too small a number to show in the features of random weights."""
    norms = [each for each in vjepa().modules() if isinstance(each, torch.nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-6}


# ---- released checkpoints ----------------------------------------------------------------------


def released_shapes(width, depth, tokens):
    """Names and shapes of a released encoder, written from its structure."""
    shapes = {
        "pos_embed": [1, tokens, width],
        "patch_embed.proj.weight": [width, 3, 2, 16, 16],
        "patch_embed.proj.bias": [width],
    }
    layer = {
        "norm1.weight": [width],
        "norm1.bias": [width],
        "attn.qkv.weight": [3 * width, width],
        "attn.qkv.bias": [3 * width],
        "attn.proj.weight": [width, width],
        "attn.proj.bias": [width],
        "norm2.weight": [width],
        "norm2.bias": [width],
        "mlp.fc1.weight": [4 * width, width],
        "mlp.fc1.bias": [4 * width],
        "mlp.fc2.weight": [width, 4 * width],
        "mlp.fc2.bias": [width],
    }
    for index in range(depth):
        shapes |= {f"blocks.{index}.{name}": shape for name, shape in layer.items()}
    return shapes | {"norm.weight": [width], "norm.bias": [width]}


@pytest.mark.parametrize(
    ("config", "width", "depth", "tokens"),
    [
        (VIT_LARGE, 1024, 24, 8 * 14 * 14),
        (VIT_HUGE, 1280, 32, 8 * 14 * 14),
        (VIT_HUGE_384, 1280, 32, 8 * 24 * 24),
    ],
)
def test_names_and_sizes_of_the_released_encoders(config, width, depth, tokens):
    """The total, without positions, is that of V-JEPA 2's encoder of the same size."""
    with torch.device("meta"):
        network = VJepaVit(config)
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == released_shapes(width, depth, tokens)
    total = sum(p.numel() for p in network.parameters()) - network.pos_embed.numel()
    with torch.device("meta"):
        sizes = {"hidden_size": width, "num_hidden_layers": depth, "mlp_ratio": 4}
        successor = VJEPA2Model(VJEPA2Config(**sizes)).encoder
    assert total == sum(p.numel() for p in successor.parameters())
    assert config_of(network.state_dict(), "here") == config


def release(tmp_path, prefix="module.backbone."):
    network = vjepa()
    state = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    path = tmp_path / "vit.pth.tar"
    torch.save({"target_encoder": state, "encoder": {}, "epoch": 300, "loss": 0.3}, path)
    return network, path


@pytest.fixture
def short_clips(monkeypatch):
    """The tiny network was "trained" on 4 frames; releases on 16."""
    monkeypatch.setattr("vdit.models.backbones.vjepa.VJepaConfig.num_frames", 4)


def test_loads_a_checkpoint(tmp_path, short_clips, generator):
    network, path = release(tmp_path)
    video = torch.rand(1, 2, 3, 40, 32, generator=generator)
    expected = VJepaBackbone(network).extract(video, blocks=["last"])["last"]
    backbone = load(str(path), torch.float32, num_heads=2)
    assert backbone.network.config == VJEPA
    assert torch.equal(backbone.extract(video, blocks=["last"])["last"], expected)
    assert not any(p.requires_grad for p in backbone.parameters())
    save_file(network.state_dict(), tmp_path / "vit.safetensors")
    place = str(tmp_path / "vit.safetensors")
    again = load(place, torch.float32, num_heads=2, repeat_frames=False)
    assert again.frame_multiple == 2
    low = load(place, torch.bfloat16, num_heads=2)
    assert low.extract(video, blocks=["last"])["last"].dtype == torch.bfloat16


def test_what_cannot_be_loaded(tmp_path, short_clips):
    with pytest.raises(ValueError, match=r"which does not exist"):
        load(str(tmp_path / "no.pth.tar"), torch.float32)
    network, path = release(tmp_path, prefix="module.head.")
    with pytest.raises(ValueError, match=r"expected a V-JEPA encoder in .*; fetch https://dl\."):
        load(str(path), torch.float32)
    state = network.state_dict()
    state["blocks.0.extra"] = state.pop("norm.weight")
    state["norm.bias"] = torch.zeros(3)
    save_file(state, tmp_path / "vit.safetensors")
    told = (
        r"1 missing \(norm.weight\); 1 unknown \(blocks.0.extra\); 1 of another shape "
        r"\(norm.bias is \[3\] instead of \[16\]\); pass the file its owners publish"
    )
    with pytest.raises(ValueError, match=told):
        load(str(tmp_path / "vit.safetensors"), torch.float32)


def test_sources_are_where_the_owners_publish():
    assert all(place.startswith("https://dl.fbaipublicfiles.com/") for place in SOURCES.values())
