"""Detection and tracking by one set of queries: object queries find, track queries follow.

A track query is what an object query, or a track query, became in an earlier frame. It carries the
identity, so that association is attention and needs no matching step.

Axes: N frames of as many videos, L levels fine to coarse, K track queries, Q object queries,
D decoder layers, C channels, h x w feature cells. Boxes are cxcywh in 0..1 of the unpadded frame.

Reference: Meinhardt et al., TrackFormer, CVPR 2022, on Zhu et al., Deformable DETR, ICLR 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.models.deformable_transformer import (
    DeformableTransformer,
    Pyramid,
    TransformerConfig,
    inverse_sigmoid,
)
from vdit.models.mask_head import MLP
from vdit.models.position_encoding import sine_encoding_2d, sine_encoding_boxes
from vdit.models.standardization import ChannelStandardizer

_RARE = 0.01
"""Score of every query before training, as in RetinaNet."""
_FIRST_SIZE = 0.1
"""Width and height of the boxes that object queries start from."""


@dataclass(frozen=True)
class TrackQueryConfig:
    """Sizes of the tracker; the defaults are those of deformable TrackFormer.

    Attributes:
        channels: of the given feature maps, fine to coarse; levels that the transformer has more
            are made by convolutions of stride 2.
        num_queries: object queries, more than there are objects in a frame.
        transformer: sizes.
    """

    channels: tuple[int, ...] = (640, 1280)
    num_queries: int = 300
    transformer: TransformerConfig = field(
        default_factory=lambda: TransformerConfig(
            num_encoder_layers=6, num_decoder_layers=6, feed_forward_dim=1024
        )
    )

    def __post_init__(self) -> None:
        levels = self.transformer.num_levels
        if not 1 <= len(self.channels) <= levels:
            raise ValueError(
                f"expected 1..{levels} feature maps for {levels} levels, got {len(self.channels)}"
            )
        if self.num_queries < 1:
            raise ValueError(f"expected num_queries >= 1, got {self.num_queries}")


@dataclass
class TrackQueries:
    """Queries that follow objects of earlier frames.

    Attributes:
        states: [N, K, C] what the decoder made of them there.
        boxes: [N, K, 4] where they were.
        padding: [N, K] bool, True = no query; None = all are.
    """

    states: Tensor
    boxes: Tensor
    padding: Tensor | None = None

    @classmethod
    def collate(cls, states: Sequence[Tensor], boxes: Sequence[Tensor]) -> TrackQueries:
        """Bring queries of N frames, [K_n, C] and [K_n, 4], to one number by padding."""
        counts = [len(each) for each in states]
        most = max(counts)
        padding = torch.arange(most).expand(len(counts), -1) >= torch.tensor(counts)[:, None]
        return cls(
            torch.stack([F.pad(x, (0, 0, 0, most - len(x))) for x in states]),
            torch.stack([F.pad(x, (0, 0, 0, most - len(x)), value=0.5) for x in boxes]),
            padding.to(states[0].device),
        )


@dataclass
class TrackerOutput:
    """What all queries say of a frame: K track queries come first, then Q object queries.

    Attributes:
        logits: [D, N, K + Q] of "there is an object" after each layer.
        boxes: [D, N, K + Q, 4].
        states: [N, K + Q, C] after the last layer; become track queries of a later frame.
        num_tracks: K.
    """

    logits: Tensor
    boxes: Tensor
    states: Tensor
    num_tracks: int


class TrackQueryModel(nn.Module):
    """Detect and follow objects of one class on feature maps of a frozen backbone.

    All queries have a box that they start from: object queries a learned one, track queries their
    last. Its sine encoding is their position. Every decoder layer refines the boxes, and has a
    class head and a box head.

    Args:
        config: sizes.

    Reference: see the top; boxes as anchors follow Liu et al., DAB-DETR, ICLR 2022.
    """

    def __init__(self, config: TrackQueryConfig) -> None:
        super().__init__()
        self.config = config
        dim, num_layers = config.transformer.dim, config.transformer.num_decoder_layers
        num_more = config.transformer.num_levels - len(config.channels)
        self.standardizers = nn.ModuleList(map(ChannelStandardizer, config.channels))
        self.projections = nn.ModuleList(_projection(c, dim, kernel=1) for c in config.channels)
        self.further_levels = nn.ModuleList(
            _projection(dim if level else config.channels[-1], dim, kernel=3)
            for level in range(num_more)
        )
        self.transformer = DeformableTransformer(config.transformer)
        # all queries bring a box, so that nothing asks for points
        self.transformer.reference_points.requires_grad_(False)
        self.object_queries = nn.Parameter(torch.empty(config.num_queries, dim))
        self.object_boxes = nn.Parameter(torch.empty(config.num_queries, 4))
        self.track_mark = nn.Parameter(torch.zeros(dim))
        self.position_head = MLP([dim, dim, dim])
        self.class_heads = nn.ModuleList(nn.Linear(dim, 1) for _ in range(num_layers))
        self.box_heads = nn.ModuleList(MLP([dim, dim, dim, 4]) for _ in range(num_layers))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with rare objects, boxes at their references, and these all over the frame."""
        nn.init.normal_(self.object_queries)
        nn.init.zeros_(self.track_mark)
        centers = _spread_points(self.config.num_queries)
        boxes = torch.cat([centers, torch.full_like(centers, _FIRST_SIZE)], dim=1)
        with torch.no_grad():
            self.object_boxes.copy_(inverse_sigmoid(boxes))
        for head in self.class_heads:
            if isinstance(head, nn.Linear):
                nn.init.constant_(head.bias, math.log(_RARE / (1 - _RARE)))
        for box_head in self.box_heads:
            if isinstance(box_head, MLP):
                nn.init.zeros_(box_head.linears()[-1].weight)
                nn.init.zeros_(box_head.linears()[-1].bias)

    def measure(self, frames: Sequence[Sequence[Tensor]]) -> None:
        """Take the scale of channels from some frames; of each, [C, h, w] of each given level."""
        for standardizer, maps in zip(self.standardizers, zip(*frames, strict=True), strict=True):
            assert isinstance(standardizer, ChannelStandardizer)
            standardizer.measure(maps)

    def forward(
        self,
        maps: Sequence[Tensor],
        padding_masks: Sequence[Tensor] | None = None,
        tracks: TrackQueries | None = None,
    ) -> TrackerOutput:
        """Look for objects, known and new, in N frames.

        Args:
            maps: [N, C, h, w] of each given level.
            padding_masks: [N, h, w] bool of each given level, True = padded; None = nothing is.
            tracks: queries of earlier frames; None = there are none.

        Raises:
            ValueError: there are more or fewer maps than the model has channels for.
        """
        if len(maps) != len(self.projections):
            raise ValueError(f"expected {len(self.projections)} feature maps, got {len(maps)}")
        N = len(maps[0])
        queries = self.object_queries.expand(N, -1, -1)
        references = self.object_boxes.sigmoid().expand(N, -1, -1)
        query_padding, num_tracks = None, 0
        if tracks is not None:  # none of them still reach all weights, as several processes need
            num_tracks = tracks.states.shape[1]
            queries = torch.cat([tracks.states + self.track_mark, queries], dim=1)
            references = torch.cat([tracks.boxes, references], dim=1)
            if tracks.padding is not None:
                query_padding = F.pad(tracks.padding, (0, self.config.num_queries))
        position = self.position_head(sine_encoding_boxes(references, queries.shape[-1]))
        decoded = self.transformer(
            self.pyramid(maps, padding_masks),
            queries,
            position,
            self.box_heads,
            references=references,
            query_padding=query_padding,
        )
        logits = [
            head(state).squeeze(-1)
            for head, state in zip(self.class_heads, decoded.states, strict=True)
        ]
        return TrackerOutput(torch.stack(logits), decoded.boxes, decoded.states[-1], num_tracks)

    def pyramid(self, maps: Sequence[Tensor], padding_masks: Sequence[Tensor] | None) -> Pyramid:
        """Project the given maps, make the further levels, and add where every cell lies."""
        if padding_masks is None:
            padding_masks = [x.new_zeros(x[:, 0].shape, dtype=torch.bool) for x in maps]
        maps = [scale(x) for scale, x in zip(self.standardizers, maps, strict=True)]
        levels = [project(x) for project, x in zip(self.projections, maps, strict=True)]
        masks, coarse = list(padding_masks), maps[-1]
        for convolve in self.further_levels:
            coarse = convolve(coarse)
            levels.append(coarse)
            masks.append(F.interpolate(masks[-1][None].float(), size=coarse.shape[-2:])[0].bool())
        positions = [
            sine_encoding_2d(mask, x.shape[1]) for mask, x in zip(masks, levels, strict=True)
        ]
        return self.transformer.flatten(levels, masks, positions)


def _projection(in_dim: int, dim: int, kernel: int) -> nn.Sequential:
    """Convolution (a 3x3 one halves the size) and group norm."""
    stride, padding = (1, 0) if kernel == 1 else (2, 1)
    conv = nn.Conv2d(in_dim, dim, kernel, stride=stride, padding=padding)
    nn.init.xavier_uniform_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.GroupNorm(min(32, dim // 4), dim))


def _spread_points(count: int) -> Tensor:
    """[count, 2] points in 0.05..0.95 that cover the square evenly, whatever their number.

    Reference: Roberts, The unreasonable effectiveness of quasirandom sequences, 2018 (R2).
    """
    root = 1.32471795724474602596  # of x^3 = x + 1
    steps = torch.arange(1, count + 1, dtype=torch.float64)[:, None]
    points = (0.5 + steps * torch.tensor([1 / root, 1 / root**2], dtype=torch.float64)) % 1
    return (0.05 + 0.9 * points).float()
