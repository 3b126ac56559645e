"""Ask the blocks of a denoiser for what an image tower sees in the clean frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TowerAlignment(nn.Module):
    """Mean of 1 - cosine between projected maps and the tower's cells, over cells and blocks.

    Cells are those of the space that image and text share, standardized over the batch: what all
    cells have in common teaches nothing. Projections are linear, as VD-IT's adapters are.

    Args:
        channels: block -> channels of its map.
        cell_dim: channels of the cells.

    Shape:
        maps [N, C, h, w], cells [N, cell_dim, side, side] -> scalar.

    Reference: Yu et al., Representation Alignment for Generation, ICLR 2025; several blocks and
    linear projections here, one block and an MLP there.
    """

    def __init__(self, channels: Mapping[str, int], cell_dim: int) -> None:
        super().__init__()
        self.projections = nn.ModuleDict(
            {block: nn.Conv2d(dim, cell_dim, 1) for block, dim in channels.items()}
        )

    def forward(self, maps: Mapping[str, Tensor], cells: Tensor) -> Tensor:
        """Compare maps of every block with cells pooled to their size; 0 = aligned, 2 = opposed."""
        std, mean = torch.std_mean(cells, dim=(0, 2, 3), keepdim=True)
        wanted = (cells - mean) / (std + 1e-6)
        losses = []
        for block, project in self.projections.items():
            found = project(maps[block])
            target = F.adaptive_avg_pool2d(wanted, found.shape[-2:])
            losses.append(1 - F.cosine_similarity(found, target, dim=1).mean())
        return torch.stack(losses).mean()


@torch.no_grad()
def shared_cells(image_encoder: Any, tokens: Tensor) -> Tensor:
    """Bring the cells of a CLIP image tower to the space of the sentences, at unit length.

    Args:
        image_encoder: transformers CLIPVisionModelWithProjection of square images.
        tokens: [N, 1 + S, C] its last hidden states.

    Returns:
        [N, D, side, side].
    """
    normed = image_encoder.vision_model.post_layernorm(tokens[:, 1:])
    cells = F.normalize(image_encoder.visual_projection(normed), dim=-1)
    side = round(cells.shape[1] ** 0.5)
    return cells.transpose(1, 2).unflatten(2, (side, side))
