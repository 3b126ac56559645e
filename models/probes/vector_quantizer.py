"""An image autoencoder with a codebook; its quantized cells are what slots learn to explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class VectorQuantizerConfig:
    """Sizes of the autoencoder.

    Attributes:
        num_codes: entries of the codebook.
        dim: channels of a code and of all layers.
        stride: pixels per cell, a power of two from 4 on.
    """

    num_codes: int = 64
    dim: int = 64
    stride: int = 8


class Quantized(NamedTuple):
    """What the autoencoder makes of N images.

    Attributes:
        reconstruction: [N, 3, H, W] in -1..1; its gradient passes the codebook by, straight from
            the codes to the encoding.
        encoding: [N, D, h, w] before the codebook.
        codes: [N, D, h, w] the nearest entry for every cell; its gradient reaches the codebook.
        indices: [N, h, w] int64, which entry.
    """

    reconstruction: Tensor
    encoding: Tensor
    codes: Tensor
    indices: Tensor


class Codebook(nn.Module):
    """Vectors that stand for all others.

    Args:
        num_codes: entries.
        dim: channels of each.

    Reference: van den Oord et al., Neural Discrete Representation Learning, NeurIPS 2017, Eq. 1-2.
    """

    def __init__(self, num_codes: int, dim: int) -> None:
        super().__init__()
        self.entries = nn.Parameter(torch.empty(num_codes, dim))
        nn.init.uniform_(self.entries, -1 / num_codes, 1 / num_codes)

    def forward(self, encoding: Tensor) -> tuple[Tensor, Tensor]:
        """Find the nearest entry of every cell.

        Args:
            encoding: [N, D, h, w].

        Returns:
            entries [N, D, h, w] and their indices [N, h, w].
        """
        cells = encoding.detach().movedim(1, -1).flatten(0, -2)
        entries = self.entries.detach()
        # |x - e|^2 without |x|^2, which is the same for all entries
        distance = entries.square().sum(1) - 2 * cells @ entries.T
        indices = distance.argmin(dim=1).view(encoding[:, 0].shape)
        return self.entries[indices].movedim(-1, 1), indices


class ResidualBlock(nn.Module):
    """Two convolutions added to the rectified input: [N, dim, h, w] -> [N, dim, h, w].

    The skip starts behind the first ReLU: no negative value passes by.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1),
            nn.BatchNorm2d(dim),
            nn.ReLU(),
            nn.Conv2d(dim, dim, 1),
            nn.BatchNorm2d(dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        return x + self.body(x)


def _encoder(dim: int, num_halvings: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(num_halvings):
        layers.append(nn.Conv2d(dim if i else 3, dim, 4, stride=2, padding=1))
        if i < num_halvings - 1:
            layers += [nn.BatchNorm2d(dim), nn.ReLU()]
    return nn.Sequential(*layers, ResidualBlock(dim), ResidualBlock(dim))


def _decoder(dim: int, num_doublings: int) -> nn.Sequential:
    layers: list[nn.Module] = [ResidualBlock(dim), ResidualBlock(dim), nn.ReLU()]
    for i in range(num_doublings):
        if i:
            layers += [nn.BatchNorm2d(dim), nn.ReLU()]
        channels = dim if i < num_doublings - 1 else 3
        layers.append(nn.ConvTranspose2d(dim, channels, 4, stride=2, padding=1))
    return nn.Sequential(*layers, nn.Tanh())


class VectorQuantizer(nn.Module):
    """Encode images to cells, replace every cell by a code, decode.

    Args:
        config: sizes.

    Raises:
        ValueError: the stride is no power of two, or below 4.

    Reference: van den Oord et al., Neural Discrete Representation Learning, NeurIPS 2017.
    """

    def __init__(self, config: VectorQuantizerConfig) -> None:
        super().__init__()
        halvings = config.stride.bit_length() - 1
        if config.stride != 2**halvings or halvings < 2:
            raise ValueError(f"expected stride 4, 8, 16, ..., got {config.stride}; change it")
        self.config = config
        self.encoder = _encoder(config.dim, halvings)
        self.codebook = Codebook(config.num_codes, config.dim)
        self.decoder = _decoder(config.dim, halvings)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Quantized:
        """Encode, quantize and decode.

        Args:
            images: [N, 3, H, W] in -1..1; H and W multiples of the stride.

        Raises:
            ValueError: H or W is no multiple of the stride.
        """
        height, width = images.shape[-2:]
        if height % self.config.stride or width % self.config.stride:
            raise ValueError(
                f"expected a height and width that are multiples of {self.config.stride}, "
                f"got {height} x {width}; resize the images"
            )
        encoding = self.encoder(images)
        codes, indices = self.codebook(encoding)
        straight_through = encoding + (codes - encoding).detach()
        return Quantized(self.decoder(straight_through), encoding, codes, indices)
