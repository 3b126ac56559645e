"""MobileNetV2, with torchvision's parameter names: small real features for tests and demos.

Reference: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018,
Table 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from vdit.models.backbones.base import BlockInfo
from vdit.models.backbones.checkpointing import Run, run_now
from vdit.models.backbones.frame_backbone import ConvnetBackbone, TappedNetwork


@dataclass(frozen=True)
class MobileNetStage:
    """Inverted residual blocks of one width.

    Attributes:
        expansion: channels inside of a block over those of its input.
        channels: channels of its output.
        count: blocks.
        stride: of the first.
    """

    expansion: int
    channels: int
    count: int
    stride: int


@dataclass(frozen=True)
class MobileNetConfig:
    """Sizes of a MobileNetV2.

    Attributes:
        stem: channels of the first convolution.
        stages: the blocks after it.
        last: channels of the last, 1x1, convolution.
    """

    stem: int
    stages: tuple[MobileNetStage, ...]
    last: int


MOBILENET_V2 = MobileNetConfig(
    stem=32,
    stages=(
        MobileNetStage(1, 16, 1, 1),
        MobileNetStage(6, 24, 2, 2),
        MobileNetStage(6, 32, 3, 2),
        MobileNetStage(6, 64, 4, 2),
        MobileNetStage(6, 96, 3, 1),
        MobileNetStage(6, 160, 3, 2),
        MobileNetStage(6, 320, 1, 1),
    ),
    last=1280,
)


class MobileNetV2(TappedNetwork):
    """The network without its classifier.

    Attributes:
        blocks: "features0".. -> channels and stride of that feature module, 0..18.
    """

    def __init__(self, config: MobileNetConfig = MOBILENET_V2) -> None:
        super().__init__()
        channels, cell = config.stem, 2
        modules: list[nn.Module] = [_conv(3, channels, 3, stride=2)]
        table = [BlockInfo(channels, cell)]
        for stage in config.stages:
            for i in range(stage.count):
                stride = stage.stride if i == 0 else 1
                modules.append(InvertedResidual(channels, stage.channels, stage.expansion, stride))
                channels, cell = stage.channels, cell * stride
                table.append(BlockInfo(channels, cell))
        modules.append(_conv(channels, config.last, 1))
        table.append(BlockInfo(config.last, cell))
        self.features = nn.Sequential(*modules)
        self.blocks = {f"features{i}": info for i, info in enumerate(table)}

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `TappedNetwork.block_modules`."""
        return {name: [each] for name, each in zip(self.blocks, self.features, strict=True)}

    def walk(self, frames: Tensor, run: Run = run_now) -> Iterator[tuple[str, Tensor]]:
        """Yield ("features0".., [N, C, h, w]) of normalized frames [N, 3, H, W]."""
        hidden = frames
        for name, module in zip(self.blocks, self.features, strict=True):
            hidden = run(module, hidden)
            yield name, hidden


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, filter each channel by a 3x3, narrow without an activation."""

    def __init__(self, channels: int, out_channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = channels * expansion
        layers = [_conv(channels, hidden, 1)] if expansion > 1 else []
        layers.append(_conv(hidden, hidden, 3, stride, groups=hidden))
        narrow = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.conv = nn.Sequential(*layers, narrow, nn.BatchNorm2d(out_channels))
        self.has_shortcut = stride == 1 and channels == out_channels

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.conv(inputs)
        return inputs + hidden if self.has_shortcut else hidden


class MobileNetV2Backbone(ConvnetBackbone):
    """Features of a frozen MobileNetV2, frame by frame.

    Blocks are the feature modules by index: "features0" (stride 2), 1 (2), 2 and 3 (4), 4 to 6 (8),
    7 to 13 (16), 14 to 18 (32). "features18" is what the classifier averages.
    """

    def __init__(self, network: MobileNetV2, frames_per_pass: int = 8) -> None:
        super().__init__(network, frames_per_pass)


def _conv(
    channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(),
    )
