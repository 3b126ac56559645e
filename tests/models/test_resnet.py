"""ResNet: torchvision's names, a slow copy's numbers, dilation, and everybody's checkpoints."""

from argparse import Namespace
from dataclasses import replace

import pytest
import torch

from tests.models.slow_convnets import slow_resnet
from tests.models.tiny_convnets import RESNET_BASIC, RESNET_BOTTLENECK, TINY, seeded
from vdit.backbone_loading import resnet as loading
from vdit.models.backbones.resnet import RESNET18, RESNET50, ResNet, ResNetBackbone

CONFIGS = {"resnet-basic": RESNET_BASIC, "resnet-bottleneck": RESNET_BOTTLENECK}


def expected_names(config):
    """Names that torchvision gives, without the classifier."""
    units = ["conv1", "bn1"]
    for stage, count in enumerate(config.block_counts, start=1):
        for block in range(count):
            prefix = f"layer{stage}.{block}"
            for i in range(1, 4 if config.bottleneck else 3):
                units += [f"{prefix}.conv{i}", f"{prefix}.bn{i}"]
            if block == 0 and (stage > 1 or config.bottleneck):
                units += [f"{prefix}.downsample.0", f"{prefix}.downsample.1"]
    leaves = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    is_norm = [".bn" in f".{unit}" or unit.endswith("downsample.1") for unit in units]
    return {
        f"{unit}.{leaf}"
        for unit, norm in zip(units, is_norm, strict=True)
        for leaf in (leaves if norm else ["weight"])
    }


# torchvision lists 11,689,512 and 25,557,032, of which the classifier holds 513,000 and 2,049,000
@pytest.mark.parametrize(
    ("config", "parameters", "channels"),
    [(RESNET18, 11_176_512, [64, 128, 256, 512]), (RESNET50, 23_508_032, [256, 512, 1024, 2048])],
)
def test_published_networks(config, parameters, channels):
    with torch.device("meta"):
        network = ResNet(config)
    assert set(network.state_dict()) == expected_names(config)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert list(network.blocks) == ["layer1", "layer2", "layer3", "layer4"]
    assert [info.channels for info in network.blocks.values()] == channels
    assert [info.stride for info in network.blocks.values()] == [4, 8, 16, 32]


@pytest.mark.parametrize("last_stages", ["dilated", "dense"])
def test_strides_where_the_last_stages_keep_the_resolution(last_stages):
    network = ResNet(replace(RESNET_BASIC, last_stages=last_stages))
    assert [info.stride for info in network.blocks.values()] == [4, 8, 8, 8]


# ---- against a slow copy -------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    ("last_stages", "padding"),
    [("strided", "zeros"), ("dilated", "zeros"), ("dense", "reflect")],
)
def test_network_against_the_slow_one(name, last_stages, padding, generator):
    config = replace(CONFIGS[name], last_stages=last_stages, padding=padding)
    network = seeded(lambda: ResNetBackbone(ResNet(config)))().network
    frames = torch.randn(2, 3, 70, 53, generator=generator)
    expected = slow_resnet(network.state_dict(), config, frames)
    for (_, found), reference in zip(network.walk(frames), expected, strict=True):
        torch.testing.assert_close(found, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("last_stages", ["strided", "dilated", "dense"])
def test_frames_that_can_be_reflected(last_stages):
    config = replace(RESNET_BASIC, padding="reflect", last_stages=last_stages)
    backbone = ResNetBackbone(ResNet(config))
    assert backbone.extract(torch.rand(1, 1, 3, 33, 40), blocks=["layer4"])
    with pytest.raises(ValueError, match="of at least 33 with padding 'reflect', got 32x40"):
        backbone.encode(torch.rand(1, 1, 3, 32, 40))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("size", [(64, 96), (50, 67)])
def test_every_second_dilated_cell_is_a_strided_cell(name, size, generator):
    strided = TINY[name]()
    dilated = ResNetBackbone(ResNet(replace(CONFIGS[name], last_stages="dilated")))
    dilated.network.load_state_dict(strided.network.state_dict())
    video = torch.rand(1, 2, 3, *size, generator=generator)
    coarse = strided.extract(video, blocks=["layer3", "layer4"])
    fine = dilated.extract(video, blocks=["layer3", "layer4"])
    torch.testing.assert_close(fine["layer3"][..., ::2, ::2], coarse["layer3"])
    torch.testing.assert_close(fine["layer4"][..., ::4, ::4], coarse["layer4"])


# ---- files ---------------------------------------------------------------------------------------


def renamed_as_vfs(name):
    unit, leaf = name.rsplit(".", 1)
    prefix, _, last = unit.rpartition(".")
    prefix = f"backbone.{prefix}." if prefix else "backbone."
    if last in "01":  # of a shortcut
        return f"{prefix}{'conv' if last == '0' else 'bn'}.{leaf}"
    kind, number = last[:-1], last[-1]
    return f"{prefix}conv{number}.{'conv' if kind == 'conv' else 'bn'}.{leaf}"


def renamed_as_crw(name):
    if name.endswith(("conv1.weight", "conv2.weight")):
        name = name.replace(".weight", ".1.weight")
    return f"encoder.model.{name}"


def checkpoints(state):
    """The files of the owners, in small."""
    other = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    return {
        "torchvision": state | {"fc.weight": torch.zeros(9, 2), "fc.bias": torch.zeros(9)},
        "moco": {
            "epoch": 800,
            "arch": "resnet50",
            "state_dict": {f"module.encoder_k.{name}": value for name, value in other.items()}
            | {f"module.encoder_q.{name}": value for name, value in state.items()}
            | {"module.encoder_q.fc.0.weight": torch.zeros(2), "module.queue": torch.zeros(2)},
        },
        "vfs": {
            "meta": {"epoch": 100},
            "state_dict": {renamed_as_vfs(name): value for name, value in state.items()}
            | {"img_head.fc.weight": torch.zeros(2)},
        },
        "crw": {
            "model": {renamed_as_crw(name): value for name, value in state.items()}
            | {"selfsim_fc.0.weight": torch.zeros(2)},
            "optimizer": {"state": {}},
            "args": Namespace(lr=1e-4),
        },
    }


@pytest.mark.parametrize("owner", ["torchvision", "moco", "vfs", "crw"])
@pytest.mark.parametrize("name", CONFIGS)
def test_checkpoints_of_their_owners_load(owner, name, tmp_path, generator):
    backbone = TINY[name]()
    file = tmp_path / "weights.pth.tar"
    torch.save(checkpoints(backbone.network.state_dict())[owner], file)
    loaded = loading.load(str(file), torch.float32)
    video = torch.rand(1, 2, 3, 40, 32, generator=generator)
    expected = backbone.extract(video, blocks=["layer4"])["layer4"]
    assert torch.equal(loaded.extract(video, blocks=["layer4"])["layer4"], expected)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_options_reach_the_network(tmp_path):
    torch.save(TINY["resnet-basic"]().network.state_dict(), tmp_path / "weights.pth")
    loaded = loading.load(
        str(tmp_path), torch.bfloat16, last_stages="dense", padding="reflect", frames_per_pass=2
    )
    assert [info.stride for info in loaded.blocks.values()] == [4, 8, 8, 8]
    assert {conv.padding_mode for conv in convs(loaded) if sum(conv.padding)} == {"reflect"}
    assert {conv.dilation for conv in convs(loaded)} == {(1, 1)}
    assert loaded.frames_per_pass == 2
    found = loaded.extract(torch.rand(1, 1, 3, 64, 64), blocks=["layer4"])["layer4"]
    assert found.dtype == torch.bfloat16


def convs(backbone):
    return [module for module in backbone.modules() if isinstance(module, torch.nn.Conv2d)]


def test_old_files_count_no_batches_and_cut_networks_end_early(tmp_path):
    state = TINY["resnet-basic"]().network.state_dict()
    kept = {
        name: tensor
        for name, tensor in state.items()
        if "num_batches" not in name and "layer4" not in name
    }
    torch.save(kept, tmp_path / "weights.pth")
    assert list(loading.load(str(tmp_path), torch.float32).blocks) == ["layer1", "layer2", "layer3"]


def test_a_second_network_is_taken_by_its_prefix(tmp_path):
    state = TINY["resnet-basic"]().network.state_dict()
    torch.save(checkpoints(state)["moco"], tmp_path / "weights.pth")
    loaded = loading.load(str(tmp_path), torch.float32, prefix="module.encoder_k.")
    assert not loaded.network.conv1.weight.any()


def test_files_that_do_not_fit(tmp_path):
    file = tmp_path / "weights.pth"
    state = TINY["resnet-basic"]().network.state_dict()

    def load(content, **options):
        torch.save(content, file)
        return loading.load(str(file), torch.float32, **options)

    missing = {name: tensor for name, tensor in state.items() if name != "layer3.0.bn2.bias"}
    with pytest.raises(ValueError, match=r"but 1 missing \(layer3.0.bn2.bias\); pass the file"):
        load(missing)
    with pytest.raises(ValueError, match=r"but 1 unknown \(layer3.0.bn7.bias\)"):
        load(state | {"layer3.0.bn7.bias": torch.zeros(2)})
    with pytest.raises(
        ValueError, match=r"but 1 of another shape \(bn1.bias is \[2\] instead of \[8\]\)"
    ):
        load(state | {"bn1.bias": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"expected one ResNet in .*, got none"):
        load({"weight": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"expected one ResNet in .*, got several: a\., b\."):
        load({f"{p}.{name}": tensor for p in "ab" for name, tensor in state.items()})
    with pytest.raises(ValueError, match=r"but conv1\.weight is missing"):
        load(state, prefix="other.")
    with pytest.raises(ValueError, match=r"expected a state dict in .*, got list without"):
        load([1, 2])
    with pytest.raises(ValueError, match="expected last_stages among strided, dilated, dense"):
        load(state, last_stages="wide")
    with pytest.raises(ValueError, match="expected padding among zeros, reflect; got 'same'"):
        load(state, padding="same")


def test_folders_and_endings(tmp_path):
    with pytest.raises(ValueError, match=r"expected one file of weights .*, got 0"):
        loading.load(str(tmp_path), torch.float32)
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected a file that ends in .*, got a\.onnx"):
        loading.load(str(tmp_path / "a.onnx"), torch.float32)
