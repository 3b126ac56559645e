"""From feature maps to slots: what all object discovery heads share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.models.mask_head import MLP
from vdit.models.probes.conv_gru import ConvGru
from vdit.models.probes.slot_attention import SlotAttention, SlotAttentionConfig, SlotsOverTime


class SlotState(NamedTuple):
    """What a clip hands to the clip that follows it in the same video.

    Attributes:
        recurrent: [num_layers, B, D, h, w] hidden states of the recurrent network.
        slots: [B, K, D] what the next frame starts from.
    """

    recurrent: Tensor
    slots: Tensor


class SoftPositionEmbedding(nn.Module):
    """Add a learned linear function of a cell's place to its features.

    Args:
        dim: channels.
        size: (h, w) of the grid.

    Shape:
        [..., h, w, dim] -> [..., h, w, dim].

    Reference: Locatello et al., Slot Attention, NeurIPS 2020, Appendix E.2.
    """

    place: Tensor

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("place", distances_to_edges(size), persistent=False)
        self.linear = nn.Linear(4, dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(self.place)


def distances_to_edges(size: tuple[int, int]) -> Tensor:
    """Give every cell of an (h, w) grid its distance to top, left, bottom and right edge.

    Returns:
        [h, w, 4] in 0..1, the first and the last cell lying on the edges.
    """
    y, x = (torch.linspace(0, 1, cells) for cells in size)
    place = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1)
    return torch.cat([place, 1 - place], dim=-1)


class SlotEncoder(nn.Module):
    """Blend the features of a clip over time and divide their cells among slots.

    The norm has weights for every cell, so the size of the grid is a part of the model; features
    of another size are brought to it bilinearly.

    Args:
        channels: of the features.
        size: (h, w) of the grid that slots divide.
        num_recurrent_layers: of the recurrent network over time.
        attention: sizes of the slot attention.

    Reference: Bao et al., Object Discovery from Motion-Guided Tokens, CVPR 2023, Sec. 3.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        num_recurrent_layers: int,
        attention: SlotAttentionConfig,
    ) -> None:
        super().__init__()
        dim, (h, w) = attention.dim, size
        self.channels, self.size = channels, (h, w)
        self.recurrent = ConvGru(channels, dim, num_recurrent_layers)
        self.positions = SoftPositionEmbedding(dim, self.size)
        self.norm = nn.LayerNorm((h * w, dim))
        self.mlp = MLP([dim, dim, dim])
        self.attention = SlotAttention(attention)

    def forward(
        self, features: Tensor, state: SlotState | None = None
    ) -> tuple[SlotsOverTime, SlotState]:
        """Find slots in every frame.

        Args:
            features: [B, T, C, h', w'] of any h' and w'.
            state: of the clip before; None = a video begins.

        Returns:
            slots and their masks over the h * w cells, row-major, and the state behind the last
            frame.

        Raises:
            ValueError: the features have no frame or another number of channels.
        """
        tokens, recurrent = self.tokens(features, None if state is None else state.recurrent)
        found = self.attention(tokens, None if state is None else state.slots)
        return found, SlotState(recurrent, found.next_slots)

    def tokens(self, features: Tensor, recurrent: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute what slots divide: [B, T, h * w, D], and the recurrent state behind it."""
        maps = fit_to_grid(features, self.channels, self.size)
        hidden, recurrent = self.recurrent(maps, recurrent)
        cells = self.positions(torch.relu(hidden).movedim(2, -1)).flatten(2, 3)
        return self.mlp(self.norm(cells)), recurrent


def fit_to_grid(features: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """Bring features [B, T, C, h', w'] to [B, T, C, h, w], bilinearly where the sizes differ.

    Raises:
        ValueError: the features have no frame or another number of channels.
    """
    if features.dim() != 5 or features.shape[2] != channels or features.shape[1] == 0:
        raise ValueError(
            f"expected features [B, T, {channels}, h, w] with a frame or more, "
            f"got {list(features.shape)}; build the head for these channels"
        )
    if tuple(features.shape[-2:]) == size:
        return features
    maps = features.flatten(0, 1)
    maps = F.interpolate(maps, size=size, mode="bilinear", align_corners=False, antialias=True)
    return maps.unflatten(0, features.shape[:2])
