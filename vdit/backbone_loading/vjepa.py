"""V-JEPA from the checkpoints that its owners publish."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from vdit.backbone_loading.weight_files import load_network, read_weights
from vdit.models.backbones.vjepa import VJepaBackbone, VJepaConfig, VJepaVit

SOURCES: dict[str, str] = {
    "vjepa-l": "https://dl.fbaipublicfiles.com/jepa/vitl16/vitl16.pth.tar",
    "vjepa-h": "https://dl.fbaipublicfiles.com/jepa/vith16/vith16.pth.tar",
    "vjepa-h-384": "https://dl.fbaipublicfiles.com/jepa/vith16-384/vith16-384.pth.tar",
}


def load(place: str, dtype: torch.dtype, **options: Any) -> VJepaBackbone:
    """Load the target encoder of a checkpoint; its tensors say which size it is.

    Args:
        place: a downloaded checkpoint, or a `.safetensors` file of the encoder alone.
        dtype: of the weights.
        options: `num_heads` (16 in every release); the rest of `VJepaBackbone`.

    Raises:
        ValueError: the file cannot be read, or holds another network.
    """
    tensors = {
        name.removeprefix("module.").removeprefix("backbone."): tensor
        for name, tensor in read_weights(place, ("target_encoder",)).items()
    }
    config = config_of(tensors, place, options.pop("num_heads", 16))
    network = load_network(partial(VJepaVit, config), tensors, place, dtype)
    return VJepaBackbone(network, **options)


def config_of(tensors: Mapping[str, Tensor], source: str, num_heads: int = 16) -> VJepaConfig:
    """Read the sizes of the network from the shapes of its tensors.

    Raises:
        ValueError: these are not the tensors of a V-JEPA encoder.
    """
    patches, table = tensors.get("patch_embed.proj.weight"), tensors.get("pos_embed")
    if patches is None or patches.ndim != 5 or table is None:
        raise ValueError(
            f"expected a V-JEPA encoder in {source}, got no patch_embed.proj.weight or pos_embed; "
            f"fetch {SOURCES['vjepa-l']}"
        )
    width, _, tubelet_size, patch_size, _ = patches.shape
    num_frames = VJepaConfig.num_frames
    side = isqrt(table.shape[1] // (num_frames // tubelet_size))
    layers = {match[1] for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
    return VJepaConfig(
        width=width,
        depth=len(layers),
        num_heads=num_heads,
        image_size=side * patch_size,
        num_frames=num_frames,
        patch_size=patch_size,
        tubelet_size=tubelet_size,
    )
