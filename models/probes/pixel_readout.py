"""Depth of pixels that are asked for by their place, as in a scene representation transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vdit.models.probes.fourier import NUM_BASES, fourier_features
from vdit.models.probes.query_transformer import QueryTransformer, QueryTransformerConfig


class PixelReadout(nn.Module):
    """Answer for single pixels: each one's place is a query over the features of its frame.

    Training may ask for a random share of the pixels (one in eight as published), evaluation for
    all of them in several calls: queries do not see each other.

    Args:
        config: sizes of the transformer.
        num_outputs: numbers a pixel, 1 for depth.

    Raises:
        ValueError: the heads do not divide the width.

    Reference: Sajjadi et al., Scene Representation Transformer, CVPR 2022; with the sizes of van
    Steenkiste et al., Moving Off-the-Grid (MooG), NeurIPS 2024.
    """

    def __init__(self, config: QueryTransformerConfig, num_outputs: int = 1) -> None:
        super().__init__()
        self.transformer = QueryTransformer(config, query_width=4 * NUM_BASES)
        self.output = nn.Linear(config.width, num_outputs)

    def forward(self, features: Tensor, pixels: Tensor) -> Tensor:
        """Answer for pixels.

        Args:
            features: [B, T, C, h, w], one step a frame.
            pixels: [Q, 2] x and y of the pixels asked for, shares of the width and height, 0..1;
                the same in all frames (see `pixel_centers`).

        Returns:
            [B, T, Q, num_outputs].

        Raises:
            ValueError: a pixel has not two coordinates.
        """
        if pixels.ndim != 2 or pixels.shape[1] != 2:
            raise ValueError(f"expected pixels [Q, 2], got {list(pixels.shape)}")
        frames = features.flatten(0, 1)
        queries = fourier_features(2 * pixels.float() - 1).to(self.output.weight.dtype)
        tokens = frames.flatten(2).transpose(1, 2)
        found = self.transformer(queries.expand(len(frames), -1, -1), tokens)
        return self.output(found).unflatten(0, features.shape[:2])


def pixel_centers(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Give the centers of all pixels, row by row: [height * width, 2] x and y in 0..1."""
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
