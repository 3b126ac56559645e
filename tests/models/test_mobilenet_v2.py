"""MobileNetV2: torchvision's names, a slow copy's numbers, and real weights where they are."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from tests.models.slow_convnets import slow_mobilenet
from tests.models.tiny_convnets import MOBILENET, TINY
from vdit.backbone_loading import mobilenet_v2 as loading
from vdit.backbone_loading.weight_files import read_weights
from vdit.models.backbones.mobilenet_v2 import MobileNetV2

TABLE = "32/2 16/2 24/4 24/4 32/8 32/8 32/8 64/16 64/16 64/16 64/16 96/16 96/16 96/16".split()
TABLE += "160/32 160/32 160/32 320/32 1280/32".split()
"""Channels / stride of every feature module."""

LEAVES = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def expected_names():
    """Names that torchvision gives, without the classifier."""
    convs, norms = [], []
    for i in range(19):
        if i in (0, 18):
            convs.append(f"features.{i}.0")
            norms.append(f"features.{i}.1")
            continue
        activated = 1 if i == 1 else 2  # the first block does not widen
        prefix = f"features.{i}.conv"
        convs += [f"{prefix}.{j}.0" for j in range(activated)] + [f"{prefix}.{activated}"]
        norms += [f"{prefix}.{j}.1" for j in range(activated)] + [f"{prefix}.{activated + 1}"]
    return {f"{conv}.weight" for conv in convs} | {f"{n}.{leaf}" for n in norms for leaf in LEAVES}


def test_published_network():
    with torch.device("meta"):
        network = MobileNetV2()
    assert set(network.state_dict()) == expected_names()
    assert [f"{info.channels}/{info.stride}" for info in network.blocks.values()] == TABLE
    assert list(network.blocks) == [f"features{i}" for i in range(19)]
    # torchvision lists 3,504,872, of which the classifier holds 1,281,000
    assert sum(parameter.numel() for parameter in network.parameters()) == 2_223_872


def test_network_against_the_slow_one(generator):
    network = TINY["mobilenet-v2"]().network
    stages = [dataclasses.astuple(stage) for stage in MOBILENET.stages]
    frames = 30 * torch.randn(2, 3, 37, 50, generator=generator)  # activations saturate too
    expected = slow_mobilenet(network.state_dict(), stages, frames)
    for (_, found), reference in zip(network.walk(frames), expected, strict=True):
        torch.testing.assert_close(found, reference, rtol=1e-4, atol=1e-4)


# ---- files ---------------------------------------------------------------------------------------


def flat_name(name, expands):
    """Count the layers of an inverted residual one by one, activations too."""
    prefix, mark, rest = name.partition(".conv.")
    if not mark:
        return name
    order = ["0.0", "0.1", None, "1.0", "1.1", None, "2", "3"]
    if not expands:
        order = ["0.0", "0.1", None, "1", "2"]
    layer, leaf = rest.rsplit(".", 1)
    return f"{prefix}.conv.{order.index(layer)}.{leaf}"


@pytest.mark.parametrize("style", ["torchvision", "flat"])
def test_loading_gives_the_network_back(style, tmp_path, generator):
    backbone = TINY["mobilenet-v2"]()
    state = backbone.network.state_dict()
    if style == "flat":
        state = {flat_name(n, not n.startswith("features.1.")): state[n] for n in state}
        assert "features.2.conv.7.running_var" in state
    state = state | {"classifier.1.weight": torch.zeros(3, 32)}
    torch.save(state, tmp_path / "weights.pth")
    loaded = loading.load(str(tmp_path), torch.float32, config=MOBILENET)
    video = torch.rand(1, 2, 3, 40, 32, generator=generator)
    for name, feature in backbone.extract(video, blocks=list(backbone.blocks)).items():
        assert torch.equal(loaded.extract(video, blocks=[name])[name], feature)


def test_files_that_do_not_fit(tmp_path):
    torch.save(TINY["mobilenet-v2"]().network.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"of MobileNetV2 in .*, but \d+ missing .*; pass the"):
        loading.load(str(tmp_path), torch.float32)


# ---- real weights --------------------------------------------------------------------------------

ANIMALS = {"blackswan": {100}, "camel": {354}, "cows": {345, 346, 347}}
"""DAVIS sequence -> classes of ImageNet that name what it shows."""


@pytest.fixture(scope="module")
def weights(assets):
    """The file of `SOURCES` that a user has put beside the other weights."""
    found = sorted((assets / "weights").glob("mobilenet*v2*"))
    if not found:
        pytest.skip("no weights/mobilenet*v2* among the real data")
    return str(found[0])


@pytest.fixture(scope="module")
def pictures(assets):
    """[1, 3, 3, 224, 224]: the middles of a swan's, a camel's and a cow's first frame."""
    frames = []
    for name in ANIMALS:
        folder = next(path for path in (assets / "davis").rglob(name) if any(path.glob("*.jpg")))
        image = Image.open(sorted(folder.glob("*.jpg"))[0]).convert("RGB")
        left = (image.width - image.height) // 2
        image = image.crop((left, 0, left + image.height, image.height)).resize((224, 224))
        frames.append(torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255)
    return torch.stack(frames)[None]


@pytest.mark.assets
def test_real_weights_name_real_animals(weights, pictures):
    state = read_weights(weights)
    if "classifier.1.weight" not in state:
        pytest.skip("the file has no classifier")
    backbone = loading.load(weights, torch.float32)
    pooled = backbone.extract(pictures, blocks=["features18"])["features18"][0].mean(dim=(2, 3))
    logits = pooled @ state["classifier.1.weight"].T + state["classifier.1.bias"]
    for best, classes in zip(logits.topk(5).indices.tolist(), ANIMALS.values(), strict=True):
        assert classes & set(best)


@pytest.mark.assets
def test_real_pictures_have_the_statistics_of_the_training(weights, pictures):
    """What enters a batch norm has about the mean and variance that the norm remembers."""
    backbone = loading.load(weights, torch.float32)
    norms = [m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    seen = {}
    for i, norm in enumerate(norms):
        norm.register_forward_hook(lambda norm, inputs, _, i=i: seen.update({i: inputs[0]}))
    backbone.extract(pictures, blocks=["features18"])
    shifts, spreads = [], []
    for i, norm in enumerate(norms):
        deviation = norm.running_var.add(norm.eps).sqrt()
        shift = (seen[i].mean(dim=(0, 2, 3)) - norm.running_mean) / deviation
        shifts.append(shift.abs().median())
        spreads.append((seen[i].std(dim=(0, 2, 3)) / deviation).median())
    assert torch.stack(shifts).median() < 0.3
    assert 0.6 < torch.stack(spreads).median() < 1.4


def test_an_address_is_shown_as_it_is():
    address = "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"
    with pytest.raises(ValueError, match=r"--weights PATH, or the `path` of its source") as error:
        read_weights(address)
    assert f"got the address {address};" in str(error.value)
