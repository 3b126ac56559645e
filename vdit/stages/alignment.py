"""Ask the blocks of a denoiser for what another network sees, or finds named, in clean frames."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CellAlignment(nn.Module):
    """Mean of 1 - cosine between projected maps and cells, over cells and blocks.

    Cells are standardized over the batch: what all have in common teaches nothing. A cell weighs
    as far as it is from their mean: objects are few among cells that show the ground. Projections
    are linear, as VD-IT's adapters are.

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
            weights = target.norm(dim=1)
            distance = 1 - F.cosine_similarity(found, target, dim=1)
            losses.append((weights * distance).sum() / weights.sum())
        return torch.stack(losses).mean()


class NameAlignment(nn.Module):
    """Cross-entropy over the cells of a frame, of where maps see what is named and where it is.

    Maps answer by a linear projection for all prompts: a prompt has to mark its object in the map.
    A softmax over cells weighs those of other objects, which are few, by how wrong they are.

    Args:
        channels: block -> channels of its map.

    Shape:
        maps [N, C, h, w], named [N, rows, columns] in 0..1 -> scalar; frames weigh as the cell
        that is named most.
    """

    def __init__(self, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.projections = nn.ModuleDict(
            {block: nn.Conv2d(dim, 1, 1) for block, dim in channels.items()}
        )

    def forward(self, maps: Mapping[str, Tensor], named: Tensor) -> Tensor:
        """Compare; a coarse cell is named as much as those below it together."""
        weights = named.amax(dim=(1, 2))
        losses = []
        for block, project in self.projections.items():
            found = project(maps[block])[:, 0].float()
            wanted = F.adaptive_avg_pool2d(named[:, None], found.shape[-2:]).flatten(1)
            wanted = wanted / wanted.sum(dim=1, keepdim=True).clamp(min=1e-6)
            wrong = F.cross_entropy(found.flatten(1), wanted, reduction="none")
            losses.append((weights * wrong).sum() / weights.sum().clamp(min=1e-6))
        return torch.stack(losses).mean()
