"""Vision transformers frame by frame: equal to the stock forward, no class or register tokens."""

import json

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
)

from tests.models.tiny_vits import NETWORKS, dinov2, vit
from vdit.backbone_loading.vit import SOURCES, load
from vdit.models.backbones.vit import VitBackbone

PREFIX = {"dinov2-registers": 5, "deit": 2}


def stock(network, frames):
    """The residual streams after every layer and the normed end, by the network's own forward."""
    told = {} if "Dinov2" in type(network).__name__ else {"interpolate_pos_encoding": True}
    with torch.no_grad():
        output = network(frames, output_hidden_states=True, **told)
    return [*output.hidden_states[1:], output.last_hidden_state]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(56, 56), (60, 90)])
def test_equals_the_stock_forward(name, size, generator):
    network = NETWORKS[name]()
    backbone = VitBackbone(network, frames_per_pass=2)
    video = torch.rand(2, 3, 3, *size, generator=generator)
    encoded = backbone.encode(video)
    found = backbone.extract(encoded, blocks=list(backbone.blocks))
    expected = stock(network, encoded.latent_mean.flatten(0, 1))
    assert list(found) == ["block1", "block2", "block3", "last"]
    for feature, tokens in zip(found.values(), expected, strict=True):
        patches = tokens[:, PREFIX.get(name, 1) :]
        for frame, row in zip(feature.flatten(0, 1), patches, strict=True):
            h, w = frame.shape[-2:]
            assert row.shape[0] == h * w
            for place, token in enumerate(row):
                y, x = divmod(place, w)
                torch.testing.assert_close(frame[:, y, x], token, rtol=1e-4, atol=1e-5)


def test_frames_keep_their_order(generator):
    backbone = VitBackbone(dinov2(), frames_per_pass=2)
    video = torch.rand(2, 5, 3, 56, 70, generator=generator)
    order = [3, 0, 4, 1, 2]
    there = backbone.extract(video, blocks=["last"])["last"]
    shuffled = backbone.extract(video[:, order], blocks=["last"])["last"]
    torch.testing.assert_close(shuffled, there[:, order], rtol=1e-4, atol=1e-5)


def test_frames_are_resized_then_normalized():
    backbone = VitBackbone(dinov2(), mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.1))
    ramp = torch.linspace(0, 1, 60).view(1, 1, 1, 60, 1).expand(1, 1, 3, 60, 90)
    frames = backbone.encode(ramp).latent_mean
    assert frames.shape == (1, 1, 3, 56, 84)
    # cell y of 56 has its center at (y + 0.5) * 60 / 56 - 0.5 of 60
    centers = ((torch.arange(56) + 0.5) * 60 / 56 - 0.5) / 59
    for channel, (mean, std) in enumerate([(0.5, 0.5), (0.4, 0.25), (0.3, 0.1)]):
        expected = (centers - mean) / std
        torch.testing.assert_close(frames[0, 0, channel, :, 7], expected, rtol=1e-4, atol=1e-4)


def test_a_size_on_the_grid_is_not_resized(generator):
    video = torch.rand(1, 1, 3, 56, 84, generator=generator)
    backbone = VitBackbone(dinov2(), mean=(0, 0, 0), std=(1, 1, 1))
    assert torch.equal(backbone.encode(video).latent_mean, video)


@pytest.mark.parametrize(
    ("width", "depth", "swiglu", "millions"),
    [
        (384, 12, False, 22.06),
        (768, 12, False, 86.58),
        (1024, 24, False, 304.37),
        (1536, 40, True, 1136.48),
    ],
)
@pytest.mark.parametrize("registers", [0, 4])
def test_parameters_of_the_released_dinov2(width, depth, swiglu, millions, registers):
    """Published sizes of ViT-S/B/L/g, without the mask token of their training."""
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": width // 64,
        "use_swiglu_ffn": swiglu,
        "image_size": 518,
        "patch_size": 14,
    }
    with torch.device("meta"):
        if registers:
            config = Dinov2WithRegistersConfig(**sizes, num_register_tokens=registers)
            backbone = VitBackbone(Dinov2WithRegistersModel(config))
        else:
            backbone = VitBackbone(Dinov2Model(Dinov2Config(**sizes)))
    total = sum(parameter.numel() for parameter in backbone.parameters())
    mask_token = width
    assert round((total - mask_token) / 1e6, 2) == pytest.approx(millions, abs=0.011)
    assert backbone.blocks["last"].channels == width
    assert f"block{depth}" in backbone.blocks


def save(network, folder, **colors):
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(colors))


def test_loads_from_a_folder_with_its_normalization(tmp_path, generator):
    network = vit()
    save(network, tmp_path, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.25, 0.5])
    backbone = load(str(tmp_path), torch.float32, frames_per_pass=3)
    assert backbone.frames_per_pass == 3
    assert backbone.mean == (0.5, 0.5, 0.5)
    assert backbone.std == (0.5, 0.25, 0.5)
    assert backbone.network.pooler is None
    video = torch.rand(1, 2, 3, 56, 56, generator=generator)
    expected = VitBackbone(network, (0.5, 0.5, 0.5), (0.5, 0.25, 0.5))
    found = backbone.extract(video, blocks=["last"])["last"]
    assert torch.equal(found, expected.extract(video, blocks=["last"])["last"])
    given = load(str(tmp_path), torch.bfloat16, mean=(0, 0, 0), std=(1, 1, 1))
    assert sum(given.mean) == 0
    assert given.extract(video, blocks=["last"])["last"].dtype == torch.bfloat16


def test_what_cannot_be_loaded(tmp_path):
    with pytest.raises(ValueError, match="cannot load a vision transformer from"):
        load(str(tmp_path), torch.float32)
    dinov2().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot load the normalization of the frames from"):
        load(str(tmp_path), torch.float32)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    CLIPVisionModel(CLIPVisionConfig(**small, num_hidden_layers=1)).save_pretrained(tmp_path / "c")
    with pytest.raises(ValueError, match=r"expected a network like Dinov2Model .* CLIPVisionModel"):
        load(str(tmp_path / "c"), torch.float32)


def test_sources_are_hub_ids():
    assert all(place.count("/") == 1 for place in SOURCES.values())
    assert SOURCES["dinov2-l"] == "facebook/dinov2-large"
