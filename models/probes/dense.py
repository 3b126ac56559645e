"""Dense heads: a label or a depth for every pixel, from the features of its own frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int]


@dataclass(frozen=True)
class DenseConfig:
    """Sizes of the convolutional head.

    Attributes:
        channels: C of the features.
        num_outputs: classes, or 1 for depth.
        width: channels inside.
        norm: how features are brought to one scale, without weights: "batch" by the statistics of
            the training set, "layer" by those of each cell.
    """

    channels: int
    num_outputs: int
    width: int = 256
    norm: Literal["batch", "layer"] = "batch"


class DenseHead(nn.Module):
    """Two convolutions, upsampling to a quarter of the picture, one linear map, upsampling.

    Frames are treated alike and alone. For one labelled frame of a clip, give its step alone:
    `features[:, step : step + 1]`.

    This is our own head, "v1": the paper whose table it serves ("Video diffusion models learn the
    structure of the dynamic world") does not describe its own.

    Raises:
        ValueError: the norm is unknown.
    """

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.norm = _make_norm(config)
        self.reduce = nn.Conv2d(config.channels, config.width, 1)
        self.mix = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.output = nn.Conv2d(config.width, config.num_outputs, 1)

    def forward(self, features: Tensor, size: Size) -> Tensor:
        """Label every pixel.

        Args:
            features: [B, T', C, h, w].
            size: height and width of the result, in pixels.

        Returns:
            [B, T', num_outputs, height, width]: logits, or what the loss takes for depth.
        """
        maps = F.gelu(self.reduce(self.norm(features.flatten(0, 1))))
        maps = F.gelu(self.mix(maps))
        maps = _resize(maps, (max(1, size[0] // 4), max(1, size[1] // 4)))
        return _resize(self.output(maps), size).unflatten(0, features.shape[:2])


class LinearDenseHead(nn.Module):
    """One linear map of each feature, after a batch norm without weights; then upsampling.

    Reference: the linear protocol of Oquab et al., DINOv2, TMLR 2024, Sec. 7.4.
    """

    def __init__(self, channels: int, num_outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.output = nn.Conv2d(channels, num_outputs, 1)

    def forward(self, features: Tensor, size: Size) -> Tensor:
        """Label every pixel; see `DenseHead.forward`.

        Args:
            features: [B, T', C, h, w].
            size: height and width of the result, in pixels.

        Returns:
            [B, T', num_outputs, height, width].
        """
        maps = self.output(self.norm(features.flatten(0, 1)))
        return _resize(maps, size).unflatten(0, features.shape[:2])


class _ChannelNorm(nn.Module):
    """Layer norm over the channels of each cell of [N, C, h, w], without weights."""

    def forward(self, maps: Tensor) -> Tensor:
        return F.layer_norm(maps.movedim(1, -1), maps.shape[1:2]).movedim(-1, 1)


def _make_norm(config: DenseConfig) -> nn.Module:
    if config.norm == "batch":
        return nn.BatchNorm2d(config.channels, affine=False)
    if config.norm == "layer":
        return _ChannelNorm()
    raise ValueError(f'expected norm "batch" or "layer", got {config.norm!r}')


def _resize(maps: Tensor, size: Size) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
