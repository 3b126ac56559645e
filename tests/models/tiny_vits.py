"""Transformer encoders at a tiny width, with seeded random weights."""

from collections.abc import Callable

import torch
from transformers import (
    DeiTConfig,
    DeiTModel,
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
from vdit.models.backbones.video_swin import VideoSwinBackbone
from vdit.models.backbones.video_swin_network import VideoSwin, VideoSwinConfig
from vdit.models.backbones.vit import VitBackbone
from vdit.models.backbones.vjepa import VJepaBackbone, VJepaConfig, VJepaVit
from vdit.models.backbones.vjepa2 import VJepa2Backbone

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 56,
}


def randomize(network: torch.nn.Module) -> torch.nn.Module:
    """Give every parameter a value of its own, so that none can be left out unnoticed."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            scale = parameter.ndim == 1 and name.endswith("weight")  # of a norm: around 1
            parameter.copy_(scale + 0.2 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def dinov2() -> Dinov2Model:
    return randomize(Dinov2Model(Dinov2Config(**SIZES, patch_size=14)))


def dinov2_swiglu() -> Dinov2Model:
    return randomize(Dinov2Model(Dinov2Config(**SIZES, patch_size=14, use_swiglu_ffn=True)))


def dinov2_registers() -> Dinov2WithRegistersModel:
    config = Dinov2WithRegistersConfig(**SIZES, patch_size=14, num_register_tokens=4)
    return randomize(Dinov2WithRegistersModel(config))


def vit() -> ViTModel:
    config = ViTConfig(**SIZES, patch_size=8, intermediate_size=32)
    return randomize(ViTModel(config, add_pooling_layer=False))


def deit() -> DeiTModel:
    config = DeiTConfig(**SIZES, patch_size=8, intermediate_size=32)
    return randomize(DeiTModel(config, add_pooling_layer=False))


VJEPA = VJepaConfig(width=16, depth=3, num_heads=2, image_size=32, num_frames=4, patch_size=8)


def vjepa() -> VJepaVit:
    return randomize(VJepaVit(VJEPA))


def vjepa2() -> VJEPA2Model:
    config = VJEPA2Config(
        patch_size=8,
        crop_size=32,
        frames_per_clip=4,
        hidden_size=24,
        num_attention_heads=3,
        num_hidden_layers=3,
        pred_hidden_size=12,
        pred_num_attention_heads=1,
        pred_num_hidden_layers=1,
    )
    return randomize(VJEPA2Model(config))


SWIN = VideoSwinConfig(8, (2, 2, 2, 1), (2, 2, 4, 4), window_size=(2, 3, 3))


def video_swin() -> VideoSwin:
    return randomize(VideoSwin(SWIN))


NETWORKS = {
    "dinov2": dinov2,
    "dinov2-swiglu": dinov2_swiglu,
    "dinov2-registers": dinov2_registers,
    "vit": vit,
    "deit": deit,
}

TINY: dict[str, Callable[[], Backbone]] = {
    name: (lambda make=make: VitBackbone(make())) for name, make in NETWORKS.items()
}
TINY |= {
    "vjepa": lambda: VJepaBackbone(vjepa()),
    "vjepa-tubelets": lambda: VJepaBackbone(vjepa(), repeat_frames=False),
    "vjepa2": lambda: VJepa2Backbone(vjepa2()),
    "vjepa2-tubelets": lambda: VJepa2Backbone(vjepa2(), repeat_frames=False),
    "video-swin": lambda: VideoSwinBackbone(video_swin()),
}
