"""From queries to masks: convolutions that each query writes itself, then a shared decoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """Linear layers with ReLU between them: [..., dims[0]] -> [..., dims[-1]]."""

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(dims))

    def linears(self) -> list[nn.Linear]:
        """Give the layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


def sum_levels(memory: Sequence[Tensor]) -> Tensor:
    """Sum maps [N, C, h, w], all brought to the size of the first one bicubically."""
    size = memory[0].shape[-2:]
    total = memory[0]
    for level in memory[1:]:
        total = total + F.interpolate(level, size=size, mode="bicubic", align_corners=False)
    return total


class DynamicMaskHead(nn.Module):
    """Predict, for each query, two 1x1 convolutions and run them on shared mask features.

    The input of the first one is the mask features and two channels with the distance, in pixels
    of the frame, from the center of the query's box.

    Args:
        dim: channels of queries and mask features.
        mask_dim: channels of the maps that come out.
        stride: pixels per cell of the mask features.

    Reference: Tian et al., CondInst, ECCV 2020; as in ReferFormer, CVPR 2022, Sec. 3.4.
    """

    def __init__(self, dim: int = 256, mask_dim: int = 16, stride: int = 8) -> None:
        super().__init__()
        self.mask_dim, self.stride = mask_dim, stride
        self.sizes = [mask_dim * (dim + 2), mask_dim * mask_dim, mask_dim, mask_dim]
        self.controller = MLP([dim, dim, dim, sum(self.sizes)])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for layer in self.controller.linears():
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, states: Tensor, centers: Tensor, features: Tensor, sizes: Tensor) -> Tensor:
        """Compute the maps of every query.

        Args:
            states: [N, Q, C] queries.
            centers: [N, Q, 2] (x, y) in 0..1 of the unpadded frame.
            features: [N, C, h, w] mask features.
            sizes: [N, 2] (height, width) of the unpadded frames in pixels.

        Returns:
            [N, Q, mask_dim, h, w].
        """
        w0, w1, b0, b1 = self.controller(states).split(self.sizes, dim=-1)
        w0 = w0.unflatten(-1, (self.mask_dim, -1))
        w1 = w1.unflatten(-1, (self.mask_dim, -1))
        shape = (features.shape[-2], features.shape[-1])
        content = w0[..., :-2].flatten(1, 2) @ features.flatten(2)
        content = content.unflatten(1, w0.shape[1:3])
        distance = self._distance(centers, sizes, shape).flatten(-2)
        hidden = torch.relu(content + w0[..., -2:] @ distance + b0[..., None])
        return (w1 @ hidden + b1[..., None]).unflatten(-1, shape)

    def _distance(self, centers: Tensor, sizes: Tensor, shape: tuple[int, int]) -> Tensor:
        """Pixels from every cell to the query's center: [N, Q, 2, h, w] as (x, y)."""
        h, w = shape
        y = torch.arange(h, device=centers.device) * self.stride + self.stride // 2
        x = torch.arange(w, device=centers.device) * self.stride + self.stride // 2
        pixels = centers * sizes.flip(-1)[:, None]
        dx = (pixels[..., 0, None, None] - x).expand(-1, -1, h, -1)
        dy = (pixels[..., 1, None, None] - y[:, None]).expand(-1, -1, -1, w)
        return torch.stack([dx, dy], dim=2)


class MaskDecoder(nn.Module):
    """Sharpen mask maps with backbone features at stride 8 and 4, then lay them out at stride 1.

    Args:
        mask_dim: channels of the maps; 16 = 4 x 4 pixels.
        fine_dim: channels of the stride-8 features.
        finest_dim: channels of the stride-4 features.

    Shape:
        maps [K, 16, h8, w8], features [K, fine_dim, h8, w8] and [K, finest_dim, h4, w4]
        -> logits [K, 4 * h4, 4 * w4].

    Reference: Miao et al., SgMg, ICCV 2023, multi-scale mask optimizer.
    """

    def __init__(self, mask_dim: int = 16, fine_dim: int = 256, finest_dim: int = 128) -> None:
        super().__init__()
        self.conv1_8 = nn.Conv2d(mask_dim + fine_dim, mask_dim, 3, padding=1)
        self.conv2_8 = nn.Conv2d(mask_dim, mask_dim, 3, padding=1)
        self.conv1_4 = nn.Conv2d(mask_dim + finest_dim, mask_dim, 3, padding=1)
        self.conv2_4 = nn.Conv2d(mask_dim, mask_dim, 3, padding=1)

    def refine(self, maps: Tensor, fine: Tensor, finest: Tensor) -> Tensor:
        """Compute the sharpened maps [K, 16, h4, w4]."""
        x = maps
        update = torch.relu(self.conv1_8(torch.relu(torch.cat([x, fine], dim=1))))
        x = x + self.conv2_8(update)
        x = F.interpolate(x, size=finest.shape[-2:], mode="bilinear", align_corners=False)
        update = torch.relu(self.conv1_4(torch.relu(torch.cat([x, finest], dim=1))))
        return x + self.conv2_4(update)

    def forward(self, maps: Tensor, fine: Tensor, finest: Tensor) -> Tensor:
        return _lay_out(self.refine(maps, fine, finest))


def _lay_out(maps: Tensor) -> Tensor:
    """Turn 16 channels into 4 x 4 pixels; torch.pixel_shuffle has no gradient for no maps at all.

    [K, 16, h, w] -> [K, 4 * h, 4 * w].
    """
    K, _, h, w = maps.shape
    return maps.reshape(K, 4, 4, h, w).permute(0, 3, 1, 4, 2).reshape(K, 4 * h, 4 * w)
