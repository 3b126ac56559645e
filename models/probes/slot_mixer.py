"""A decoder in which every cell is drawn once, from a mixture of slots that it chose itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vdit.models.mask_head import MLP


@dataclass(frozen=True)
class SlotMixerConfig:
    """Sizes of the decoder.

    Attributes:
        depth: layers in which cells look at the slots before they choose.
        num_heads: of those layers.
        mlp_ratio: hidden channels of their feed-forward parts, in channels of a slot.
        render_dims: channels of the layers that draw a cell.
    """

    depth: int = 2
    num_heads: int = 4
    mlp_ratio: int = 4
    render_dims: tuple[int, ...] = (1024, 1024, 1024, 1024)


class AllocatorLayer(nn.Module):
    """Cells look at the slots, not at each other.

    Args:
        dim: channels of cells and slots.
        config: sizes.

    Shape:
        cells [N, num_cells, dim], slots [N, K, dim] -> [N, num_cells, dim].
    """

    def __init__(self, dim: int, config: SlotMixerConfig) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, config.num_heads, batch_first=True)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = MLP([dim, config.mlp_ratio * dim, dim])

    def forward(self, cells: Tensor, slots: Tensor) -> Tensor:
        asking = self.norm_attention(cells)
        seen, _ = self.attention(asking, slots, slots, need_weights=False)
        cells = cells + seen
        return cells + self.mlp(self.norm_mlp(cells))


class SlotMixer(nn.Module):
    """Cells ask the slots who owns them, mix slots by the answer and draw the mixture.

    The weights of the mixture are the masks. A cell is drawn from one mixture instead of from
    every slot apart, which costs as much as a single slot.

    Args:
        num_cells: h * w of the grid, row-major.
        dim: channels of slots.
        out_dim: channels that a cell is drawn with.
        config: sizes.

    Reference: Sajjadi et al., Object Scene Representation Transformer, NeurIPS 2022, Sec. 3.2
    (Slot Mixer).
    """

    def __init__(self, num_cells: int, dim: int, out_dim: int, config: SlotMixerConfig) -> None:
        super().__init__()
        self.scale = dim**-0.5
        self.positions = nn.Parameter(torch.randn(num_cells, dim) * self.scale)
        self.norm_memory = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(AllocatorLayer(dim, config) for _ in range(config.depth))
        self.norm_query = nn.LayerNorm(dim)
        self.norm_key = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.renderer = MLP([dim, *config.render_dims, out_dim])

    def forward(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Draw all cells.

        Args:
            slots: [N, K, D].

        Returns:
            drawn cells [N, num_cells, out_dim] and masks [N, K, num_cells], which sum to 1 over K.
        """
        masks = self.masks(slots)
        return self.renderer(masks.transpose(1, 2) @ slots + self.positions), masks

    def masks(self, slots: Tensor) -> Tensor:
        """Compute the masks alone; see `forward`."""
        cells, memory = self.positions.expand(len(slots), -1, -1), self.norm_memory(slots)
        for layer in self.layers:
            cells = layer(cells, memory)
        query, key = self.query(self.norm_query(cells)), self.key(self.norm_key(slots))
        return (key @ query.transpose(1, 2) * self.scale).softmax(dim=1)
