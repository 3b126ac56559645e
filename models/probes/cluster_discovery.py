"""Object discovery by slots that each stand for one point in the space of features and places."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vdit.models.mask_head import MLP
from vdit.models.probes.slot_attention import SlotAttentionConfig
from vdit.models.probes.slots import SlotEncoder, SlotState, fit_to_grid


@dataclass(frozen=True)
class ClusterDiscoveryConfig:
    """Sizes of the head.

    Attributes:
        channels: of the features.
        size: (h, w) of the grid that slots divide.
        num_recurrent_layers: of the recurrent network over time.
        place_weight: the row and the column of a cell are two channels more. A width of the grid
            counts as much as a difference of so many deviations in all channels of the features.
            0 = features alone.
        hidden_dim: of the layer between a slot and its point.
    """

    channels: int = 640
    size: tuple[int, int] = (32, 32)
    num_recurrent_layers: int = 1
    place_weight: float = 2.0
    hidden_dim: int = 128
    attention: SlotAttentionConfig = field(
        default_factory=lambda: SlotAttentionConfig(initial_slots="trained", rounds=2)
    )

    def __post_init__(self) -> None:
        if self.place_weight < 0:
            raise ValueError(
                f"expected place_weight >= 0, got {self.place_weight}; 0 leaves places out"
            )


class ClusterDiscoveryOutput(NamedTuple):
    """What the head makes of a clip of T frames with N = h * w cells.

    Attributes:
        masks: [B, T, K, h, w] share of each cell that a slot has.
        slots: [B, T, K, D].
        points: [B, T, K, C'] of the slots; C' = C, or C + 2 with places.
        target: [B, T, N, C'] of the cells, without gradient.
        state: for the clip that follows in the same video.
    """

    masks: Tensor
    slots: Tensor
    points: Tensor
    target: Tensor
    state: SlotState


class ClusterDiscovery(nn.Module):
    """Slots learn to stand for the cells that they win, as the centers of k-means do.

    A cell is never drawn from a mixture: each slot names one point a frame, and a cell costs the
    squared distance to every slot's point, in the shares that the slots have of it. Sharing a cell
    costs more than giving it to the nearest slot, so that shares become hard, whereas a decoder of
    mixtures may explain more with soft ones, which need not follow objects. Unlike those of
    k-means, centers are found by a network in a few rounds a frame, and follow what they won
    through the video.

    Args:
        config: sizes.

    Reference: Locatello et al., Slot Attention, NeurIPS 2020 (the slots; the loss is ours).
    """

    places: Tensor

    def __init__(self, config: ClusterDiscoveryConfig) -> None:
        super().__init__()
        self.config = config
        places = config.place_weight * math.sqrt(config.channels) * _places(config.size)
        self.register_buffer("places", places if config.place_weight else places[:0], False)
        self.standardizer = nn.BatchNorm2d(config.channels, momentum=None, affine=False)
        channels = config.channels + len(self.places)
        self.encoder = SlotEncoder(
            channels, config.size, config.num_recurrent_layers, config.attention
        )
        self.point = MLP([config.attention.dim, config.hidden_dim, channels])

    def forward(self, features: Tensor, state: SlotState | None = None) -> ClusterDiscoveryOutput:
        """Find slots, and what they stand for.

        Args:
            features: [B, T, C, h', w']; brought to the grid bilinearly where h' or w' differ.
            state: of the clip before; None = a video begins.

        Raises:
            ValueError: the features do not fit the head.
        """
        maps = self.describe(features)
        found, state = self.encoder(maps, state)
        return ClusterDiscoveryOutput(
            masks=found.masks.unflatten(-1, self.encoder.size),
            slots=found.slots,
            points=self.point(found.slots),
            target=maps.flatten(3).transpose(2, 3).detach(),
            state=state,
        )

    def describe(self, features: Tensor) -> Tensor:
        """Bring features [B, T, C, h', w'] to the grid and to one scale, and add places."""
        maps = fit_to_grid(features, self.config.channels, self.encoder.size)
        maps = self.standardizer(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        return torch.cat([maps, self.places.expand(*maps.shape[:2], -1, -1, -1)], dim=2)

    def segment(self, features: Tensor, state: SlotState | None = None) -> tuple[Tensor, SlotState]:
        """Compute only the masks [B, T, K, h, w], and the state; see `forward`."""
        found, state = self.encoder(self.describe(features), state)
        return found.masks.unflatten(-1, self.encoder.size), state


def _places(size: tuple[int, int]) -> Tensor:
    """Row and column of every cell in widths of the grid, from its middle: [2, h, w]."""
    y, x = ((torch.arange(cells) - (cells - 1) / 2) / size[1] for cells in size)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))


def distortion(output: ClusterDiscoveryOutput) -> Tensor:
    """Compute the objective.

    Returns:
        squared distance of cells to points, mean over channels, expected under the shares: a
        number, that of k-means where shares are hard.
    """
    points, target = output.points.float(), output.target.float()
    with torch.autocast(points.device.type, enabled=False):  # large numbers cancel
        distances = (
            points.square().sum(dim=-1)[..., None]
            - 2 * points @ target.transpose(2, 3)
            + target.square().sum(dim=-1)[:, :, None]
        )
        shares = output.masks.flatten(3).float()
        return (shares * distances).sum(dim=2).mean() / points.shape[-1]
