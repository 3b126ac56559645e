"""ResNets, with torchvision's parameter names: ImageNet, MoCo, VFS and CRW features.

Reference: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, Table 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vdit.models.backbones.base import BlockInfo
from vdit.models.backbones.checkpointing import Run, run_now
from vdit.models.backbones.frame_backbone import ConvnetBackbone, TappedNetwork

LastStages = Literal["strided", "dilated", "dense"]
Padding = Literal["zeros", "reflect"]
FIRST_DENSE_STAGE = 3
SMALLEST_REFLECTED = 33


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes and layout of a ResNet.

    Attributes:
        block_counts: residual blocks in each stage; four stages, or fewer of a cut network.
        bottleneck: blocks of three convolutions with 4x the channels (ResNet-50), not of two.
        width: channels of the stem.
        last_stages: what layer3 and layer4 do. "strided": halve height and width, as trained on
            ImageNet. "dilated": keep them, with convolutions as far apart as before, so that every
            second cell is what "strided" computes (Chen et al., DeepLab, TPAMI 2018). "dense": keep
            them, with convolutions on neighboring cells, as CRW and VFS are used.
        padding: what 3x3 and 7x7 convolutions see outside of the frame; CRW was trained with
            "reflect", which takes frames of more than 32 pixels a side.
    """

    block_counts: tuple[int, ...]
    bottleneck: bool
    width: int = 64
    last_stages: LastStages = "strided"
    padding: Padding = "zeros"


RESNET18 = ResNetConfig((2, 2, 2, 2), bottleneck=False)
RESNET50 = ResNetConfig((3, 4, 6, 3), bottleneck=True)


class ResNet(TappedNetwork):
    """The network without its classifier.

    Attributes:
        blocks: "layer1".. -> channels and stride.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        block = Bottleneck if config.bottleneck else BasicBlock
        channels, cell, dilation = config.width, 4, 1
        self.conv1 = nn.Conv2d(
            3, channels, 7, 2, padding=3, bias=False, padding_mode=config.padding
        )
        self.bn1 = nn.BatchNorm2d(channels)
        table = {}
        for stage, count in enumerate(config.block_counts, start=1):
            width, stride = config.width * 2 ** (stage - 1), 1 if stage == 1 else 2
            entry = dilation  # the first block still works on the cells of the stage before
            if stage >= FIRST_DENSE_STAGE and config.last_stages != "strided":
                dilation *= 2 if config.last_stages == "dilated" else 1
                stride = 1
            blocks = []
            for i in range(count):
                steps = (stride, entry, dilation) if i == 0 else (1, dilation, dilation)
                blocks.append(block(channels, width, Steps(*steps), config.padding))
                channels = width * block.expansion
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            cell *= stride
            table[f"layer{stage}"] = BlockInfo(channels, cell)
        self.blocks = table

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `TappedNetwork.block_modules`."""
        return {
            "in": [self.conv1, self.bn1],
            **{name: [self.get_submodule(name)] for name in self.blocks},
        }

    def walk(self, frames: Tensor, run: Run = run_now) -> Iterator[tuple[str, Tensor]]:
        """Yield ("layer1".., [N, C, h, w]) of normalized frames [N, 3, H, W]."""
        hidden = F.max_pool2d(F.relu(self.bn1(self.conv1(frames))), 3, stride=2, padding=1)
        for name in self.blocks:
            for block in self.get_submodule(name).children():
                hidden = run(block, hidden)
            yield name, hidden


@dataclass(frozen=True)
class Steps:
    """How a block moves over its input.

    Attributes:
        stride: of its first 3x3 convolution.
        first: dilation of its first 3x3 convolution.
        second: dilation of its second, where it has one.
    """

    stride: int
    first: int
    second: int


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, channels: int, width: int, steps: Steps, padding: Padding) -> None:
        super().__init__()
        self.conv1 = _conv3(channels, width, steps.first, padding, steps.stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3(width, width, steps.second, padding)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels, width, steps.stride)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(inputs)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.downsample(inputs))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1, beside a shortcut; the 3x3 has the stride."""

    expansion = 4

    def __init__(self, channels: int, width: int, steps: Steps, padding: Padding) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3(width, width, steps.first, padding, steps.stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(channels, 4 * width, steps.stride)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(inputs)))
        hidden = F.relu(self.bn2(self.conv2(hidden)))
        return F.relu(self.bn3(self.conv3(hidden)) + self.downsample(inputs))


class ResNetBackbone(ConvnetBackbone):
    """Features of a frozen ResNet, frame by frame; blocks "layer1".."layer4"."""

    def __init__(self, network: ResNet, frames_per_pass: int = 8) -> None:
        super().__init__(network, frames_per_pass)
        self.min_side = SMALLEST_REFLECTED if network.config.padding == "reflect" else 1

    def check_video(self, video: Tensor) -> None:
        """Raise a ValueError also where a frame is too small to be reflected at its border."""
        super().check_video(video)
        H, W = video.shape[-2:]
        if min(H, W) < self.min_side:
            raise ValueError(
                f"expected a height and width of at least {self.min_side} with padding 'reflect', "
                f"got {H}x{W}; resize the video"
            )


def _conv3(
    channels: int, width: int, dilation: int, padding: Padding, stride: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(
        channels,
        width,
        3,
        stride,
        padding=dilation,
        dilation=dilation,
        bias=False,
        padding_mode=padding,
    )


def _shortcut(channels: int, width: int, stride: int) -> nn.Module:
    """Build the shortcut: a 1x1 convolution where channels change, as at the start of a stage."""
    if channels == width:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
