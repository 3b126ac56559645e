"""Networks of the released sizes without weights are those that the loaders expect."""

import json

import pytest
import torch

from vdit.backbone_loading import resnet, video_swin, vjepa
from vdit.backbone_loading.families import BACKBONES, FAMILIES
from vdit.backbone_loading.random_weights import BUILDERS, random_backbone
from vdit.models.backbones.vision_encoder import VisionEncoder

MILLIONS = {
    "modelscope": ("unet", 1411.2),
    "sd-1.5": ("unet", 859.5),
    "sd-2.0": ("unet", 865.9),
    "sd-2.1": ("unet", 865.9),
    "svd-xt": ("unet", 1524.6),
    "i2vgen-xl": ("unet", 1420.5),
    "sd3-medium": ("transformer", 2028.3),
    "wan-2.1-1.3b": ("transformer", 1419.0),
    "adm-256": ("unet", 552.8),
    "adm-512": ("unet", 559.0),
    "dinov2-l": ("network", 304.4),
    "vjepa2-g": ("encoder", 1012.2),
    "mobilenet-v2": ("network", 2.2),
}
"""Parameters of the networks as published or as their own tests count them."""
PILLOW = "mini"  # its image tower reads frames with PIL, so it needs real ones


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_name_can_be_built():
    assert BUILDERS.keys() == BACKBONES.keys()
    with pytest.raises(ValueError, match=r"expected a backbone among mini, .*; got 'sd-9'"):
        random_backbone("sd-9")


@pytest.mark.parametrize("name", MILLIONS)
def test_sizes(name):
    part, millions = MILLIONS[name]
    network = random_backbone(name, device="meta").get_submodule(part)
    assert round(count(network) / 1e6, 1) == millions


@pytest.mark.parametrize("name", [names[0] for names in FAMILIES.values() if names[0] != PILLOW])
def test_one_of_every_family_runs_without_memory(name):
    backbone = random_backbone(name, device="meta")
    assert all(each.is_meta for each in (*backbone.parameters(), *backbone.buffers()))
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    frames = 2 if backbone.frame_offset == 0 else 5
    options = {} if isinstance(backbone, VisionEncoder) else {"timestep": 15}
    if hasattr(backbone, "encode_text"):
        options["text"] = torch.empty(1, 77, backbone.text_dim, device="meta")
    block = list(backbone.blocks)[-1]
    video = torch.empty(1, frames, 3, 64, 64, device="meta")
    found = backbone.extract(video, blocks=[block], **options)[block]
    steps = backbone.num_feature_frames(frames)
    assert found.shape[:3] == (1, steps, backbone.blocks[block].channels)


@pytest.mark.parametrize("name", ["resnet50", "vjepa-h", "video-swin-s"])
def test_loaders_read_the_same_sizes_from_their_names(name):
    network = random_backbone(name, device="meta").network
    tensors = network.state_dict()
    if name == "resnet50":
        found = resnet.config_of(tensors, "here", "strided", "zeros")
    elif name == "vjepa-h":
        found = vjepa.config_of(tensors, "here")
    else:
        window = "layers.0.blocks.0.attn.relative_position_index"
        tensors[window] = random_backbone(name).network.state_dict()[window]
        found = video_swin.config_of(tensors, "here")
    assert found == network.config


@pytest.mark.assets
@pytest.mark.parametrize(("name", "folder"), [("modelscope", "ms-1.7b"), ("sd-2.1", "sd2.1")])
def test_configurations_of_the_pipelines(assets, name, folder):
    backbone = random_backbone(name, device="meta")
    for part in ("unet", "vae", "text_encoder"):
        published = json.loads((assets / "configs" / folder / part / "config.json").read_text())
        wrapped = getattr(backbone, part)
        built = type(wrapped).from_config if part != "text_encoder" else None
        if built is None:
            config = wrapped.config
            assert all(
                getattr(config, key) == published[key]
                for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "hidden_act")
            )
            continue
        with torch.device("meta"):
            expected = built(published)
        shapes = {key: value.shape for key, value in expected.state_dict().items()}
        assert {key: value.shape for key, value in wrapped.state_dict().items()} == shapes


def test_seeds_and_types():
    before = torch.random.get_rng_state()
    first, again, other = (random_backbone("resnet18", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.network.conv1.weight, again.network.conv1.weight)
    assert not torch.equal(first.network.conv1.weight, other.network.conv1.weight)
    half = random_backbone("svd", device="meta", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.unet.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in half.vae.parameters()} == {torch.float32}
    assert half.unet.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["mini", "mobilenet-v2", "dino-s16"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_small_ones_run(name, dtype, generator):
    backbone = random_backbone(name, dtype=dtype)
    video = torch.rand(1, 2, 3, 32, 32, generator=generator)
    block = list(backbone.blocks)[-1]
    found = backbone.extract(video, blocks=[block])[block]
    assert found.isfinite().all()
    assert found.dtype == dtype
