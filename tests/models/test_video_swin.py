"""Video Swin against slow definitions: windows by index, offsets by subtraction, true neighbors."""

import math
from itertools import product

import pytest
import torch
from safetensors.torch import save_file

from tests.models.tiny_vits import SWIN, randomize, video_swin
from vdit.backbone_loading.video_swin import SOURCES, config_of, load
from vdit.models.backbones import video_swin_network
from vdit.models.backbones.video_swin import VideoSwinBackbone
from vdit.models.backbones.video_swin_network import (
    SWIN_BASE,
    SWIN_SMALL,
    SWIN_TINY,
    Block,
    PatchEmbedding,
    PatchMerging,
    VideoSwin,
    VideoSwinConfig,
    join_windows,
    relative_index,
    split_windows,
)

WINDOW = (2, 3, 3)

# ---- slow definitions: a map is a dictionary of cells (t, y, x) -> [C] --------------------------


def cells(hidden):
    """One map [T, H, W, C] as a dictionary."""
    return {place: hidden[place] for place in product(*map(range, hidden.shape[:3]))}


def layer_norm(token, norm):
    centered = token - token.mean()
    return centered / torch.sqrt((centered**2).mean() + 1e-5) * norm.weight + norm.bias


def linear(token, layer):
    return layer.weight @ token + (0 if layer.bias is None else layer.bias)


def gelu(values):
    return values * 0.5 * (1 + torch.erf(values / math.sqrt(2)))


def windows_of(size, window_size, is_shifted):
    """Lists of the cells that share a window, in order; cells beyond the map are padding.

    A shifted window starts `shift` cells later; at the end of the map it goes on at the start.
    An axis that fits into one window is one window, never shifted.
    """
    ways = []
    for length, window in zip(size, window_size, strict=True):
        shift = window // 2 if is_shifted and length > window else 0
        window = min(length, window)
        padded = math.ceil(length / window) * window
        starts = range(0, padded, window)
        ways.append([[(s + i + shift) % padded for i in range(window)] for s in starts])
    return [list(product(*axes)) for axes in product(*ways)]


def are_neighbors(a, b, window_size):
    """Cells of one window that lie less than a window apart: nothing was wrapped around."""
    return all(abs(i - j) < w for i, j, w in zip(a, b, window_size, strict=True))


def slow_attention(places, tokens, attn, window_size, num_heads):
    """Tokens of one window, head by head, with the bias of the offset in the full window."""
    width = tokens[0].numel()
    size = width // num_heads
    table = attn.relative_position_bias_table.view(*(2 * w - 1 for w in window_size), num_heads)
    full = list(product(*map(range, window_size)))
    stacked = [linear(token, attn.qkv) for token in tokens]
    mixed = [torch.zeros(width) for _ in tokens]
    for head, i in product(range(num_heads), range(len(tokens))):
        part = slice(head * size, (head + 1) * size)
        weights = []
        for j in range(len(tokens)):
            score = float(stacked[i][:width][part] @ stacked[j][width : 2 * width][part])
            offset = [a - b + w - 1 for a, b, w in zip(full[i], full[j], window_size, strict=True)]
            score = score / math.sqrt(size) + float(table[*offset, head])
            weights.append(
                math.exp(score) if are_neighbors(places[i], places[j], window_size) else 0
            )
        for weight, other in zip(weights, stacked, strict=True):
            mixed[i][part] += weight / sum(weights) * other[2 * width :][part]
    return [linear(token, attn.proj) for token in mixed]


def slow_block(tokens, block, size, window_size, num_heads):
    width = tokens[0, 0, 0].numel()
    moved = {}
    for places in windows_of(size, window_size, block.is_shifted):
        normed = [
            layer_norm(tokens[place], block.norm1) if place in tokens else torch.zeros(width)
            for place in places
        ]
        outcome = slow_attention(places, normed, block.attn, window_size, num_heads)
        assert not moved.keys() & set(places), "a cell is in one window"
        moved |= dict(zip(places, outcome, strict=True))
    found = {}
    for place, token in tokens.items():
        token = token + moved[place]
        hidden = gelu(linear(layer_norm(token, block.norm2), block.mlp.fc1))
        found[place] = token + linear(hidden, block.mlp.fc2)
    return found


def slow_merge(tokens, merging, size):
    T, H, W = size
    width = tokens[0, 0, 0].numel()
    found = {}
    for t, y, x in product(range(T), range(-(-H // 2)), range(-(-W // 2))):
        around = [(2 * y, 2 * x), (2 * y + 1, 2 * x), (2 * y, 2 * x + 1), (2 * y + 1, 2 * x + 1)]
        joined = torch.cat([tokens.get((t, *at), torch.zeros(width)) for at in around])
        found[t, y, x] = linear(layer_norm(joined, merging.norm), merging.reduction)
    return found


def slow_patches(frames, embed, patch_size):
    """[T, 3, H, W] -> cells; what is beyond the frames is zero."""
    T, _, H, W = frames.shape
    found = {}
    for place in product(*(range(-(-n // p)) for n, p in zip((T, H, W), patch_size, strict=True))):
        t, y, x = (i * p for i, p in zip(place, patch_size, strict=True))
        cube = torch.zeros(3, *patch_size)
        part = frames[t : t + patch_size[0], :, y : y + patch_size[1], x : x + patch_size[2]]
        cube[:, : part.shape[0], : part.shape[2], : part.shape[3]] = part.transpose(0, 1)
        token = embed.proj.weight.flatten(1) @ cube.flatten() + embed.proj.bias
        found[place] = layer_norm(token, embed.norm)
    return found


def check_equal(hidden, expected):
    """One map [T, H, W, C] holds the cells."""
    assert cells(hidden).keys() == expected.keys()
    for place, token in expected.items():
        torch.testing.assert_close(hidden[place], token, rtol=1e-3, atol=1e-4)


# ---- layers ------------------------------------------------------------------------------------

SIZES = {
    "whole windows": (4, 6, 6),
    "padded": (3, 5, 7),
    "one window in time": (2, 6, 9),
    "less than a window in time": (1, 6, 6),
    "one window in height": (4, 3, 7),
    "less than a window in height and width": (4, 2, 2),
}


@pytest.mark.parametrize("is_shifted", [False, True])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@torch.no_grad()
def test_block_equals_the_definition(size, is_shifted, generator):
    block = randomize(Block(4, 2, WINDOW, is_shifted))
    hidden = torch.randn(2, *size, 4, generator=generator)
    found = block(hidden)
    for clip, outcome in zip(hidden, found, strict=True):
        check_equal(outcome, slow_block(cells(clip), block, size, WINDOW, 2))


@pytest.mark.parametrize("size", [(2, 4, 6), (2, 5, 7), (1, 1, 1)])
@torch.no_grad()
def test_merging_equals_the_definition(size, generator):
    merging = randomize(PatchMerging(4))
    hidden = torch.randn(1, *size, 4, generator=generator)
    check_equal(merging(hidden)[0], slow_merge(cells(hidden[0]), merging, size))


@pytest.mark.parametrize("size", [(4, 8, 12), (3, 9, 7)])
@torch.no_grad()
def test_patches_equal_the_definition(size, generator):
    embed = randomize(PatchEmbedding(SWIN))
    frames = torch.randn(size[0], 3, *size[1:], generator=generator)
    found = embed(frames.transpose(0, 1)[None])[0]
    check_equal(found, slow_patches(frames, embed, (2, 4, 4)))


@torch.no_grad()
def test_network_equals_the_layers_one_after_the_other(generator):
    """Stages end before they are merged; every second block is shifted; the norm comes last."""
    network = video_swin()
    backbone = VideoSwinBackbone(network)
    encoded = backbone.encode(torch.rand(1, 6, 3, 34, 22, generator=generator))
    found = backbone.extract(encoded, blocks=list(backbone.blocks))
    tokens = slow_patches(encoded.latent_mean[0], network.patch_embed, (2, 4, 4))
    size = (3, 9, 6)
    for index, stage in enumerate(network.layers):
        if index > 0:
            tokens = slow_merge(tokens, network.layers[index - 1].downsample, size)
            size = (3, -(-size[1] // 2), -(-size[2] // 2))
        for number, block in enumerate(stage.blocks):
            assert block.is_shifted == (number == 1)
            tokens = slow_block(tokens, block, size, WINDOW, SWIN.num_heads[index])
        check_equal(found[f"stage{index + 1}"][0].permute(0, 2, 3, 1), tokens)
    normed = {place: layer_norm(token, network.norm) for place, token in tokens.items()}
    check_equal(found["last"][0].permute(0, 2, 3, 1), normed)


def test_relative_index_by_definition():
    window = (3, 2, 4)
    index = relative_index(window)
    places = list(product(*map(range, window)))
    offsets = list(product(range(-2, 3), range(-1, 2), range(-3, 4)))
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            difference = tuple(p - q for p, q in zip(a, b, strict=True))
            assert index[i, j] == offsets.index(difference)
    # a window cut in time uses the first rows and columns, which name the same offsets
    shorter = torch.tensor([i for i, place in enumerate(places) if place[0] < 2])
    assert torch.equal(index[:16, :16], index[shorter][:, shorter])


def test_windows_hold_the_cells_by_index():
    hidden = torch.arange(4 * 6 * 9).view(1, 4, 6, 9, 1)
    windows = split_windows(hidden, WINDOW)
    for window, places in zip(windows[0], windows_of((4, 6, 9), WINDOW, False), strict=True):
        assert window.flatten().tolist() == [int(hidden[0][place]) for place in places]
    assert torch.equal(join_windows(windows, (4, 6, 9), WINDOW), hidden)


@pytest.mark.parametrize("count", [1, 5])
def test_a_few_windows_at_a_time_equal_all_at_once(count, generator, monkeypatch):
    backbone = VideoSwinBackbone(video_swin())
    video = torch.rand(2, 4, 3, 50, 60, generator=generator)
    at_once = backbone.extract(video, blocks=["last"])["last"]
    monkeypatch.setattr(video_swin_network, "WINDOWS_PER_PASS", count)
    found = backbone.extract(video, blocks=["last"])["last"]
    torch.testing.assert_close(found, at_once, rtol=1e-4, atol=1e-5)


def test_norms_divide_as_the_released_ones():
    """Too small a number to show in the features of random weights."""
    norms = [each for each in video_swin().modules() if isinstance(each, torch.nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-5}


# ---- released checkpoints ----------------------------------------------------------------------


def released_shapes(config):
    """Names and shapes of a released network, written from its structure."""
    shapes = {
        "patch_embed.proj.weight": [config.embed_dim, 3, 2, 4, 4],
        "patch_embed.proj.bias": [config.embed_dim],
        "patch_embed.norm.weight": [config.embed_dim],
        "patch_embed.norm.bias": [config.embed_dim],
    }
    width = config.embed_dim
    for stage, (depth, heads) in enumerate(zip(config.depths, config.num_heads, strict=True)):
        width = config.embed_dim * 2**stage
        block = {
            "norm1.weight": [width],
            "norm1.bias": [width],
            "attn.relative_position_bias_table": [15 * 13 * 13, heads],
            "attn.relative_position_index": [8 * 7 * 7, 8 * 7 * 7],
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
        for number in range(depth):
            shapes |= {f"layers.{stage}.blocks.{number}.{k}": v for k, v in block.items()}
        if stage < 3:
            shapes |= {
                f"layers.{stage}.downsample.reduction.weight": [2 * width, 4 * width],
                f"layers.{stage}.downsample.norm.weight": [4 * width],
                f"layers.{stage}.downsample.norm.bias": [4 * width],
            }
    return shapes | {"norm.weight": [width], "norm.bias": [width]}


@pytest.mark.parametrize(
    ("config", "with_classifier"),
    [(SWIN_TINY, 28_158_070), (SWIN_SMALL, 49_816_678), (SWIN_BASE, 88_048_984)],
)
def test_names_and_sizes_of_the_released_networks(config, with_classifier):
    """Published totals hold a linear classifier of 400 classes."""
    with torch.device("meta"):
        network = VideoSwin(config)
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == released_shapes(config)
    total = sum(parameter.numel() for parameter in network.parameters())
    assert total + 400 * (8 * config.embed_dim + 1) == with_classifier
    backbone = VideoSwinBackbone(network)
    assert [info.stride for info in backbone.blocks.values()] == [4, 8, 16, 32, 32]
    assert backbone.blocks["stage3"].channels == 4 * config.embed_dim
    assert backbone.blocks["stage3"].temporal_stride == 2


def release(tmp_path, network):
    state = {f"backbone.{name}": tensor for name, tensor in network.state_dict().items()}
    state |= {
        "cls_head.fc_cls.weight": torch.zeros(400, 64),
        "cls_head.fc_cls.bias": torch.zeros(4),
    }
    path = tmp_path / "swin.pth"
    torch.save({"meta": {"epoch": 30}, "state_dict": state}, path)
    return path


@pytest.mark.parametrize("window", [(2, 3, 3), (16, 7, 7)])
def test_loads_a_checkpoint(tmp_path, generator, window):
    config = VideoSwinConfig(8, (2, 1, 3, 1), (2, 2, 4, 4), window_size=window)
    network = randomize(VideoSwin(config))
    video = torch.rand(1, 4, 3, 32, 48, generator=generator)
    expected = VideoSwinBackbone(network).extract(video, blocks=["last"])["last"]
    backbone = load(str(release(tmp_path, network)), torch.float32)
    assert backbone.network.config == config
    assert torch.equal(backbone.extract(video, blocks=["last"])["last"], expected)
    low = load(str(release(tmp_path, network)), torch.bfloat16)
    assert low.extract(video, blocks=["last"])["last"].dtype == torch.bfloat16


def test_what_cannot_be_loaded(tmp_path):
    network = video_swin()
    path = tmp_path / "swin.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"expected a Video Swin network in .*; fetch https://"):
        load(str(path), torch.float32)
    state = network.state_dict()
    del state["norm.weight"]
    save_file(state, path)
    with pytest.raises(ValueError, match=r"of VideoSwin in .*, but 1 missing \(norm.weight\); "):
        load(str(path), torch.float32)
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match="cannot load weights from"):
        load(str(path), torch.float32)


def test_sizes_are_read_from_the_tensors():
    for config in (SWIN_TINY, SWIN_SMALL, SWIN_BASE):
        with torch.device("meta"):
            state = VideoSwin(config).state_dict()
        name = "layers.0.blocks.0.attn.relative_position_index"
        state[name] = relative_index(config.window_size)
        assert config_of(state, "here") == config


def test_sources_are_where_the_owners_publish():
    assert all(place.endswith(".pth") for place in SOURCES.values())
    assert all("/SwinTransformer/storage/" in place for place in SOURCES.values())
