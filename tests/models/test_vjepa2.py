"""V-JEPA 2: the stock forward at the size of the training, right places at all others."""

import math

import pytest
import torch
from transformers import VJEPA2Config, VJEPA2Model

from tests.models.tiny_vits import vjepa2
from vdit.backbone_loading.vjepa2 import SOURCES, load
from vdit.models.backbones.vjepa2 import VJepa2Backbone, token_places


def tokens_of(feature):
    return feature.permute(0, 1, 3, 4, 2).flatten(1, 3)


@pytest.mark.parametrize("frames", [4, 6])
def test_equals_the_stock_forward_at_the_size_of_the_training(frames, generator):
    network = vjepa2()
    backbone = VJepa2Backbone(network, repeat_frames=False)
    encoded = backbone.encode(torch.rand(2, frames, 3, 32, 32, generator=generator))
    found = backbone.extract(encoded, blocks=list(backbone.blocks))
    with torch.no_grad():
        stock = network(encoded.latent_mean, skip_predictor=True, output_hidden_states=True)
    for index in range(3):
        expected = stock.hidden_states[index + 1]
        actual = tokens_of(found[f"block{index + 1}"])
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    actual = tokens_of(found["last"])
    torch.testing.assert_close(actual, stock.last_hidden_state, rtol=1e-4, atol=1e-4)


def test_places_count_time_row_and_column():
    time, row, column = token_places((2, 3, 5), torch.device("cpu"))
    for index in range(30):
        assert (time[index], row[index], column[index]) == (
            index // 15,
            index // 5 % 3,
            index % 5,
        )


def slow_rotation(head, place):
    """Rotate pairs of channels: a third each by time, row and column; what is left over stays.

    Channel k of a share of 2 n turns by place / 10000^((k mod n) / n): the released network repeats
    its table of n angles, so that the two channels of a pair differ in theirs.
    """
    size = head.numel()
    share = 2 * (size // 3 // 2)
    turned = head.clone()
    for axis in range(3):
        for channel in range(share):
            angle = place[axis] / 10000 ** (channel % (share // 2) / (share / 2))
            at = axis * share + channel
            partner = -head[at + 1] if channel % 2 == 0 else head[at - 1]
            turned[at] = head[at] * math.cos(angle) + partner * math.sin(angle)
    return turned


def slow_attention(attention, tokens, grid):
    """Self-attention token by token on a grid of any size."""
    places = [(t, y, x) for t in range(grid[0]) for y in range(grid[1]) for x in range(grid[2])]
    size = attention.attention_head_size
    mixed = torch.zeros_like(tokens)
    query, key, value = (
        project(tokens) for project in (attention.query, attention.key, attention.value)
    )
    for head in range(attention.num_attention_heads):
        part = slice(head * size, (head + 1) * size)
        queries = [slow_rotation(q[part], at) for q, at in zip(query, places, strict=True)]
        keys = [slow_rotation(k[part], at) for k, at in zip(key, places, strict=True)]
        for index, each in enumerate(queries):
            weights = [math.exp(float(each @ other) / math.sqrt(size)) for other in keys]
            for weight, other in zip(weights, value, strict=True):
                mixed[index, part] += weight / sum(weights) * other[part]
    return attention.proj(mixed)


@torch.no_grad()
def test_every_token_has_its_place_at_other_sizes(generator):
    """Wider, and less high, than the 4 x 4 cells of the configuration."""
    network = vjepa2()
    backbone = VJepa2Backbone(network, repeat_frames=False)
    grid = (2, 2, 6)
    encoded = backbone.encode(torch.rand(1, 4, 3, 16, 48, generator=generator))
    found = backbone.extract(encoded, blocks=["block1"])["block1"]
    layer = network.encoder.layer[0]
    tokens = network.encoder.embeddings(encoded.latent_mean)[0]
    tokens = tokens + slow_attention(layer.attention, layer.norm1(tokens), grid)
    tokens = tokens + layer.mlp(layer.norm2(tokens))
    torch.testing.assert_close(tokens_of(found)[0], tokens, rtol=1e-3, atol=1e-4)


def test_repeated_frames_equal_tubelets_of_equal_frames(generator):
    network = vjepa2()
    video = torch.rand(1, 3, 3, 32, 40, generator=generator)
    each = VJepa2Backbone(network).extract(video, blocks=["last"])["last"]
    doubled = video.repeat_interleave(2, dim=1)
    pairs = VJepa2Backbone(network, repeat_frames=False).extract(doubled, blocks=["last"])["last"]
    assert torch.equal(each, pairs)


@pytest.mark.parametrize(
    ("width", "depth", "heads", "ratio", "billions"),
    [(1024, 24, 16, 4.0, 0.3), (1280, 32, 16, 4.0, 0.6), (1408, 40, 22, 48 / 11, 1.0)],
)
def test_parameters_of_the_released_encoders(width, depth, heads, ratio, billions):
    """Published sizes of ViT-L, ViT-H and ViT-g; the predictor is not kept."""
    config = VJEPA2Config(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, mlp_ratio=ratio
    )
    with torch.device("meta"):
        backbone = VJepa2Backbone(VJEPA2Model(config))
    total = sum(parameter.numel() for parameter in backbone.parameters())
    hidden = int(width * ratio)
    layer = 4 * (width**2 + width) + 2 * width * hidden + hidden + width + 4 * width
    assert total == depth * layer + (3 * 2 * 16 * 16 + 1) * width + 2 * width
    assert round(total / 1e9, 1) == billions
    assert backbone.clip_length == 32


def test_loads_from_a_folder(tmp_path, generator):
    network = vjepa2()
    network.save_pretrained(tmp_path)
    backbone = load(str(tmp_path), torch.float32, repeat_frames=False)
    video = torch.rand(1, 4, 3, 32, 40, generator=generator)
    expected = VJepa2Backbone(network, repeat_frames=False).extract(video, blocks=["last"])["last"]
    assert torch.equal(backbone.extract(video, blocks=["last"])["last"], expected)
    with pytest.raises(ValueError, match=r"cannot load V-JEPA 2 from .*/nothing"):
        load(str(tmp_path / "nothing"), torch.float32)
    assert SOURCES["vjepa2-l"] == "facebook/vjepa2-vitl-fpc64-256"
