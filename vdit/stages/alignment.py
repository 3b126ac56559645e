"""Ask the blocks of a denoiser for what an image tower sees in the clean frames."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TowerAlignment(nn.Module):
    """Mean of 1 - cosine between projected maps and the tower's tokens, over cells and blocks.

    Tokens are standardized over the batch first: what all cells share teaches nothing.

    Args:
        channels: block -> channels of its map.
        token_dim: channels of the tokens.
        hidden_dim: channels between the two layers of a projection.

    Shape:
        maps [N, C, h, w], tokens [N, 1 + S, token_dim] of a square grid -> scalar.

    Reference: Yu et al., Representation Alignment for Generation, ICLR 2025, Eq. 8; several blocks
    here, one there.
    """

    def __init__(self, channels: Mapping[str, int], token_dim: int, hidden_dim: int = 192) -> None:
        super().__init__()
        self.projections = nn.ModuleDict(
            {
                block: nn.Sequential(
                    nn.Conv2d(dim, hidden_dim, 1), nn.SiLU(), nn.Conv2d(hidden_dim, token_dim, 1)
                )
                for block, dim in channels.items()
            }
        )

    def forward(self, maps: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        wanted = token_grid(tokens)
        losses = []
        for block, project in self.projections.items():
            found = project(maps[block])
            target = F.adaptive_avg_pool2d(wanted, found.shape[-2:])
            losses.append(1 - F.cosine_similarity(found, target, dim=1).mean())
        return torch.stack(losses).mean()


def token_grid(tokens: Tensor) -> Tensor:
    """Standardized tokens of the cells: [N, 1 + S, C] -> [N, C, side, side]."""
    cells = tokens[:, 1:]
    std, mean = torch.std_mean(cells, dim=(0, 1))
    side = round(cells.shape[1] ** 0.5)
    return ((cells - mean) / (std + 1e-6)).transpose(1, 2).unflatten(2, (side, side))
