"""Networks that see pixels alone, of the released sizes, without their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTModel,
    VJEPA2Config,
    VJEPA2Model,
)

from vdit.models.backbones.base import Backbone
from vdit.models.backbones.mobilenet_v2 import MOBILENET_V2, MobileNetV2, MobileNetV2Backbone
from vdit.models.backbones.resnet import RESNET18, RESNET50, ResNet, ResNetBackbone, ResNetConfig
from vdit.models.backbones.video_swin import VideoSwinBackbone
from vdit.models.backbones.video_swin_network import (
    SWIN_BASE,
    SWIN_SMALL,
    SWIN_TINY,
    VideoSwin,
    VideoSwinConfig,
)
from vdit.models.backbones.vit import VitBackbone
from vdit.models.backbones.vjepa import (
    VIT_HUGE,
    VIT_HUGE_384,
    VIT_LARGE,
    VJepaBackbone,
    VJepaConfig,
    VJepaVit,
)
from vdit.models.backbones.vjepa2 import VJepa2Backbone

NUM_REGISTERS = 4
DINOV2 = {
    "s": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6},
    "b": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "l": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
    "g": {
        "hidden_size": 1536,
        "num_hidden_layers": 40,
        "num_attention_heads": 24,
        "use_swiglu_ffn": True,
    },
}
VIT_S = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
VIT_B = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
VJEPA2_L = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
VJEPA2_H = {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16}
VJEPA2_G = {
    "hidden_size": 1408,
    "num_hidden_layers": 40,
    "num_attention_heads": 22,
    "mlp_ratio": 48 / 11,
}

Device = torch.device


def _dinov2(device: Device, sizes: dict[str, Any]) -> Backbone:
    with device:
        network = Dinov2Model(Dinov2Config(**sizes, image_size=518, patch_size=14))
    return VitBackbone(network)


def _dinov2_registers(device: Device, sizes: dict[str, Any]) -> Backbone:
    config = Dinov2WithRegistersConfig(
        **sizes, image_size=518, patch_size=14, num_register_tokens=NUM_REGISTERS
    )
    with device:
        network = Dinov2WithRegistersModel(config)
    return VitBackbone(network)


def _vit(device: Device, sizes: dict[str, Any], patch_size: int) -> Backbone:
    config = ViTConfig(**sizes, num_hidden_layers=12, patch_size=patch_size)
    with device:
        network = ViTModel(config, add_pooling_layer=False)
    return VitBackbone(network)


def _vjepa(device: Device, config: VJepaConfig) -> Backbone:
    with device:
        network = VJepaVit(config)
    return VJepaBackbone(network)


def _vjepa2(device: Device, sizes: dict[str, Any], side: int = 256) -> Backbone:
    with device:
        network = VJEPA2Model(VJEPA2Config(**sizes, crop_size=side))
    return VJepa2Backbone(network)


def _video_swin(device: Device, config: VideoSwinConfig) -> Backbone:
    with device:
        network = VideoSwin(config)
    return VideoSwinBackbone(network)


def _resnet(device: Device, config: ResNetConfig) -> Backbone:
    with device:
        network = ResNet(config)
    return ResNetBackbone(network)


def _mobilenet(device: Device) -> Backbone:
    with device:
        network = MobileNetV2(MOBILENET_V2)
    return MobileNetV2Backbone(network)


BUILDERS: dict[str, Callable[[Device], Backbone]] = {
    **{f"dinov2-{size}": partial(_dinov2, sizes=sizes) for size, sizes in DINOV2.items()},
    **{
        f"dinov2-{size}-reg": partial(_dinov2_registers, sizes=sizes)
        for size, sizes in DINOV2.items()
    },
    "dino-s16": partial(_vit, sizes=VIT_S, patch_size=16),
    "dino-s8": partial(_vit, sizes=VIT_S, patch_size=8),
    "dino-b16": partial(_vit, sizes=VIT_B, patch_size=16),
    "dino-b8": partial(_vit, sizes=VIT_B, patch_size=8),
    "vit-b16": partial(_vit, sizes=VIT_B, patch_size=16),
    "vjepa-l": partial(_vjepa, config=VIT_LARGE),
    "vjepa-h": partial(_vjepa, config=VIT_HUGE),
    "vjepa-h-384": partial(_vjepa, config=VIT_HUGE_384),
    "vjepa2-l": partial(_vjepa2, sizes=VJEPA2_L),
    "vjepa2-h": partial(_vjepa2, sizes=VJEPA2_H),
    "vjepa2-g": partial(_vjepa2, sizes=VJEPA2_G),
    "vjepa2-g-384": partial(_vjepa2, sizes=VJEPA2_G, side=384),
    "video-swin-t": partial(_video_swin, config=SWIN_TINY),
    "video-swin-s": partial(_video_swin, config=SWIN_SMALL),
    **dict.fromkeys(
        ("video-swin-b", "video-swin-b-1k", "video-swin-b-k600"),
        partial(_video_swin, config=SWIN_BASE),
    ),
    "video-swin-b-ssv2": partial(_video_swin, config=replace(SWIN_BASE, window_size=(16, 7, 7))),
    **dict.fromkeys(("resnet18", "vfs-r18", "crw"), partial(_resnet, config=RESNET18)),
    **dict.fromkeys(("resnet50", "moco-v2", "vfs-r50"), partial(_resnet, config=RESNET50)),
    **dict.fromkeys(("mobilenet-v2", "mobilenet-v2-deep-sort"), _mobilenet),
}
"""Name -> function that builds it on a device, in the default dtype."""
