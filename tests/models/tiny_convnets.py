"""Convolutional backbones of a few thousand random weights, by family."""

from collections.abc import Callable

import torch

from vdit.models.backbones.adm import AdmBackbone
from vdit.models.backbones.adm_unet import AdmConfig, AdmUNet
from vdit.models.backbones.base import Backbone
from vdit.models.backbones.mobilenet_v2 import (
    MobileNetConfig,
    MobileNetStage,
    MobileNetV2,
    MobileNetV2Backbone,
)
from vdit.models.backbones.resnet import ResNet, ResNetBackbone, ResNetConfig

ADM = AdmConfig(
    channels=32, multipliers=(1, 2, 2), attention_strides=(2, 4), head_channels=16, num_blocks=1
)
ADM_LABELS = AdmConfig(
    channels=64, multipliers=(0.5, 1), attention_strides=(2,), head_channels=32, num_classes=5
)
RESNET_BASIC = ResNetConfig((2, 1, 2, 2), bottleneck=False, width=8)
RESNET_BOTTLENECK = ResNetConfig((1, 2, 2, 2), bottleneck=True, width=4)
MOBILENET = MobileNetConfig(
    stem=8,
    stages=(
        MobileNetStage(1, 4, 1, 1),
        MobileNetStage(6, 6, 2, 2),
        MobileNetStage(6, 8, 2, 2),
        MobileNetStage(6, 8, 1, 1),
        MobileNetStage(3, 12, 2, 2),
    ),
    last=32,
)


def seeded(build: Callable[[], Backbone]) -> Callable[[], Backbone]:
    """Build with weights that are the same every time, and batch norms that do something."""

    def run() -> Backbone:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            backbone = build()
            for module in backbone.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.running_mean.normal_(std=0.1)
                    module.running_var.uniform_(0.5, 1.5)
                    module.weight.data.uniform_(0.5, 1.5)
                    module.bias.data.normal_(std=0.1)
        return backbone

    return run


TINY: dict[str, Callable[[], Backbone]] = {
    "adm": seeded(lambda: AdmBackbone(AdmUNet(ADM))),
    "adm-labels": seeded(lambda: AdmBackbone(AdmUNet(ADM_LABELS), label=3)),
    "resnet-basic": seeded(lambda: ResNetBackbone(ResNet(RESNET_BASIC))),
    "resnet-bottleneck": seeded(lambda: ResNetBackbone(ResNet(RESNET_BOTTLENECK))),
    "mobilenet-v2": seeded(lambda: MobileNetV2Backbone(MobileNetV2(MOBILENET))),
}
