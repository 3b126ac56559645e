"""Video Swin from the checkpoints that its owners publish."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vdit.backbone_loading.weight_files import load_network, read_weights
from vdit.models.backbones.video_swin import VideoSwinBackbone
from vdit.models.backbones.video_swin_network import VideoSwin, VideoSwinConfig

RELEASES = "https://github.com/SwinTransformer/storage/releases/download/v1.0.4"
SOURCES: dict[str, str] = {
    "video-swin-t": f"{RELEASES}/swin_tiny_patch244_window877_kinetics400_1k.pth",
    "video-swin-s": f"{RELEASES}/swin_small_patch244_window877_kinetics400_1k.pth",
    "video-swin-b": f"{RELEASES}/swin_base_patch244_window877_kinetics400_22k.pth",
    "video-swin-b-1k": f"{RELEASES}/swin_base_patch244_window877_kinetics400_1k.pth",
    "video-swin-b-k600": f"{RELEASES}/swin_base_patch244_window877_kinetics600_22k.pth",
    "video-swin-b-ssv2": f"{RELEASES}/swin_base_patch244_window1677_sthv2.pth",
}


def load(place: str, dtype: torch.dtype, **options: Any) -> VideoSwinBackbone:
    """Load a checkpoint without its classifier; its tensors say which size it is.

    Args:
        place: a downloaded checkpoint, or a `.safetensors` file of the network alone.
        dtype: of the weights.
        options: of `VideoSwinBackbone`.

    Raises:
        ValueError: the file cannot be read, or holds another network.
    """
    tensors = {
        name.removeprefix("module.").removeprefix("backbone."): tensor
        for name, tensor in read_weights(place).items()
        if not name.removeprefix("module.").startswith("cls_head.")
    }
    config = config_of(tensors, place)
    network = load_network(partial(VideoSwin, config), tensors, place, dtype)
    return VideoSwinBackbone(network, **options)


def config_of(tensors: Mapping[str, Tensor], source: str) -> VideoSwinConfig:
    """Read the sizes of the network from the shapes of its tensors; windows are square.

    Raises:
        ValueError: these are not the tensors of a Video Swin network.
    """
    patches = tensors.get("patch_embed.proj.weight")
    pattern = re.compile(r"layers\.(\d+)\.blocks\.\d+\.attn\.relative_position_bias_table")
    tables = {int(match[1]): name for name in tensors if (match := pattern.fullmatch(name))}
    depths = Counter(int(match[1]) for name in tensors if (match := pattern.fullmatch(name)))
    index = tensors.get("layers.0.blocks.0.attn.relative_position_index")
    if patches is None or patches.ndim != 5 or not tables or index is None:
        raise ValueError(
            f"expected a Video Swin network in {source}, got no 3-D patches or no windows; fetch "
            f"{SOURCES['video-swin-t']}"
        )
    # the first row of the index falls from the middle of the table; it falls by 1 along the width
    row = index[0].tolist()
    side = next((i for i in range(1, len(row)) if row[i] != row[i - 1] - 1), len(row))
    return VideoSwinConfig(
        embed_dim=patches.shape[0],
        depths=tuple(depths[stage] for stage in sorted(depths)),
        num_heads=tuple(tensors[tables[stage]].shape[1] for stage in sorted(tables)),
        window_size=(len(row) // side**2, side, side),
        patch_size=(patches.shape[2], patches.shape[3], patches.shape[4]),
    )
