"""ResNets from torchvision's, MoCo's, VFS's and CRW's checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from vdit.backbone_loading.weight_files import load_network, read_weights
from vdit.models.backbones.resnet import (
    LastStages,
    Padding,
    ResNet,
    ResNetBackbone,
    ResNetConfig,
)

SOURCES = {
    "resnet18": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "resnet50": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "moco-v2": "https://dl.fbaipublicfiles.com/moco/moco_checkpoints/moco_v2_800ep/"
    "moco_v2_800ep_pretrain.pth.tar",
    "vfs-r18": "https://github.com/xvjiarui/VFS/releases/download/v0.1-rc1/"
    "r18_nc_sgd_cos_100e_r2_1xNx8_k400-db1a4c0d.pth",
    "vfs-r50": "https://github.com/xvjiarui/VFS/releases/download/v0.1-rc1/"
    "r50_nc_sgd_cos_100e_r5_1xNx2_k400-d7ce3ad0.pth",
    "crw": "https://github.com/ajabri/videowalk/blob/master/pretrained.pth",
}
"""Short name -> where the weights are published."""

PREFIXES = ("", "module.encoder_q.", "backbone.", "encoder.model.", "module.", "model.")
"""What stands before the names of the network; earlier ones win where a file has several."""

CLASSIFIER = "fc."
SPELLINGS = (
    (re.compile(r"conv(\d)\.1\.weight$"), r"conv\1.weight"),  # CRW: padding was a module
    (re.compile(r"downsample\.conv\."), "downsample.0."),  # VFS: convolution and norm in groups
    (re.compile(r"downsample\.bn\."), "downsample.1."),
    (re.compile(r"conv(\d)\.conv\."), r"conv\1."),
    (re.compile(r"conv(\d)\.bn\."), r"bn\1."),
)


def load(
    place: str,
    dtype: torch.dtype,
    *,
    last_stages: LastStages = "strided",
    padding: Padding = "zeros",
    prefix: str | None = None,
    frames_per_pass: int = 8,
) -> ResNetBackbone:
    """Load a ResNet from a local file or a folder with one; its sizes are read from the weights.

    Classifiers, projections and queues are left out. CRW and VFS propagate labels on
    "layer3" with last_stages="dense", CRW with padding="reflect" too.

    Args:
        place: .pth, .pth.tar, .pt or .safetensors.
        dtype: of weights and features.
        last_stages: "strided", "dilated" or "dense", see `ResNetConfig`.
        padding: "zeros" or "reflect".
        prefix: what stands before the network's names in the file; None = found in the file.
        frames_per_pass: frames that go through the network at once.

    Raises:
        ValueError: the file cannot be read or is no ResNet, or an option is unknown.
    """
    for option, value, known in (
        ("last_stages", last_stages, ("strided", "dilated", "dense")),
        ("padding", padding, ("zeros", "reflect")),
    ):
        if value not in known:
            raise ValueError(f"expected {option} among {', '.join(known)}; got {value!r}")
    tensors = torchvision_names(read_weights(place), place, prefix)
    config = config_of(tensors, place, last_stages, padding)
    network = load_network(partial(ResNet, config), tensors, place, dtype)
    return ResNetBackbone(network, frames_per_pass)


def torchvision_names(
    tensors: dict[str, Tensor], place: str, prefix: str | None = None
) -> dict[str, Tensor]:
    """Keep the weights of one ResNet trunk, by torchvision's names.

    Raises:
        ValueError: there is no trunk, or several and none of a known prefix.
    """
    spelled = {_spell(name): tensor for name, tensor in tensors.items()}
    if prefix is None:
        prefix = _find_prefix(spelled, place)
    trunk = {
        name.removeprefix(prefix): tensor
        for name, tensor in spelled.items()
        if name.startswith(prefix)
    }
    return {name: tensor for name, tensor in trunk.items() if not name.startswith(CLASSIFIER)}


def config_of(
    tensors: dict[str, Tensor], place: str, last_stages: LastStages, padding: Padding
) -> ResNetConfig:
    """Read the sizes of a ResNet from its weights.

    Raises:
        ValueError: the stem or a stage is missing.
    """
    stem = tensors.get("conv1.weight")
    blocks = [re.match(r"layer(\d)\.(\d+)\.", name) for name in tensors]
    found = [(int(match[1]), int(match[2])) for match in blocks if match]
    counts = [
        1 + max((i for stage, i in found if stage == wanted), default=-1)
        for wanted in range(1, 1 + max((stage for stage, _ in found), default=1))
    ]
    if stem is None or 0 in counts:
        missing = "conv1.weight" if stem is None else f"layer{counts.index(0) + 1}"
        raise ValueError(
            f"expected the weights of a ResNet in {place}, but {missing} is missing; pass the file "
            "its owners publish, or the prefix of its names"
        )
    return ResNetConfig(
        tuple(counts),
        bottleneck="layer1.0.conv3.weight" in tensors,
        width=stem.shape[0],
        last_stages=last_stages,
        padding=padding,
    )


def _spell(name: str) -> str:
    for pattern, replacement in SPELLINGS:
        name = pattern.sub(replacement, name)
    return name


def _find_prefix(names: Iterable[str], place: str) -> str:
    mark = "layer1.0.conv1.weight"
    found = {name.removesuffix(mark) for name in names if name.endswith(mark)}
    if len(found) == 1:
        return found.pop()
    for prefix in PREFIXES:
        if prefix in found:
            return prefix
    what = f"several: {', '.join(sorted(found))}" if found else "none"
    raise ValueError(
        f"expected one ResNet in {place}, got {what}; pass the prefix of the one you mean"
    )
