"""Recurrent readouts of tracks: a state for each point or box, corrected frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vdit.models.probes.attention import Mlp
from vdit.models.probes.fourier import CoordinateEmbedding
from vdit.models.probes.query_transformer import QueryTransformer, QueryTransformerConfig
from vdit.models.probes.tracks import PointTracks, point_tracks

STATE_EPS = 1e-4


class TrackStates(nn.Module):
    """Carry one state for each query through a clip.

    At every frame the state is corrected by what it finds in the features of that frame, and
    carried on by an MLP. On the frame of the query the state starts anew from the query; before
    it, tracks are mere guesses that do not reach it.

    Args:
        config: sizes of the transformer that reads features; its width is that of a state.
        num_coordinates: 2 for points, 4 for boxes.

    Reference: van Steenkiste et al., Moving Off-the-Grid (MooG), NeurIPS 2024; its published
    readout. The MLPs have one hidden layer of the width of a state and a GELU.
    """

    def __init__(self, config: QueryTransformerConfig, num_coordinates: int) -> None:
        super().__init__()
        width = config.width
        self.embed = CoordinateEmbedding(num_coordinates, width)
        self.corrector = QueryTransformer(config)
        self.predictor = Mlp(width, width)
        self.norm = nn.LayerNorm(width, eps=STATE_EPS, bias=False)

    def forward(self, features: Tensor, queries: Tensor, query_frames: Tensor | None) -> Tensor:
        """Follow queries.

        Args:
            features: [B, T, C, h, w].
            queries: [B, K, num_coordinates], shares of the width and height of the frame, 0..1.
            query_frames: [B, K] integers, the frame of each query; None: all are of the first.

        Returns:
            Corrected states [B, K, T, width].

        Raises:
            ValueError: a query lies outside the clip or has another number of coordinates.
        """
        num_frames = features.shape[1]
        if query_frames is None:
            query_frames = torch.zeros(queries.shape[:2], dtype=torch.long, device=queries.device)
        _check_frames(query_frames, queries, num_frames)
        condition = self.embed(queries)
        state = condition
        corrected = []
        for frame in range(num_frames):
            state = torch.where((query_frames == frame)[..., None], condition, state)
            tokens = features[:, frame].flatten(2).transpose(1, 2)
            state = state + self.corrector(state, tokens)
            corrected.append(state)
            state = self.norm(state + self.predictor(state))
        return torch.stack(corrected, dim=2)


class PointTrackReadout(nn.Module):
    """Follow points with recurrent states; see `TrackStates`.

    Where a block gives fewer steps than the clip has frames, bring its features to one a frame
    with `vdit.models.probes.readout.resize_time`.
    """

    def __init__(self, config: QueryTransformerConfig) -> None:
        super().__init__()
        self.states = TrackStates(config, num_coordinates=2)
        self.place = _output(config.width, 2)
        self.sight = _output(config.width, 2)

    def forward(
        self, features: Tensor, points: Tensor, query_frames: Tensor | None = None
    ) -> PointTracks:
        """Follow points.

        Args:
            features: [B, T, C, h, w].
            points: [B, K, 2] x and y, shares of the width and height of the frame, 0..1.
            query_frames: [B, K] integers, the frame of each point; None: all are of the first.

        Returns:
            Tracks of K points over T frames. Those of frames before a point's own are guesses.

        Raises:
            ValueError: a query frame lies outside the clip or a point has not two coordinates.
        """
        states = self.states(features, points, query_frames)
        return point_tracks(torch.cat([self.place(states), self.sight(states)], dim=-1))


class BoxTrackReadout(nn.Module):
    """Follow boxes with recurrent states; see `TrackStates` and `PointTrackReadout`."""

    def __init__(self, config: QueryTransformerConfig) -> None:
        super().__init__()
        self.states = TrackStates(config, num_coordinates=4)
        self.corners = _output(config.width, 4)

    def forward(
        self, features: Tensor, boxes: Tensor, query_frames: Tensor | None = None
    ) -> Tensor:
        """Follow boxes.

        Args:
            features: [B, T, C, h, w].
            boxes: [B, K, 4] corners x0, y0, x1, y1, shares of the width and height, 0..1.
            query_frames: [B, K] integers, the frame of each box; None: all are of the first.

        Returns:
            [B, K, T, 4] likewise, every number in 0..1.

        Raises:
            ValueError: a query frame lies outside the clip or a box has not four coordinates.
        """
        return self.corners(self.states(features, boxes, query_frames)).sigmoid()


def _output(width: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, size))


def _check_frames(query_frames: Tensor, queries: Tensor, num_frames: int) -> None:
    if query_frames.shape != queries.shape[:2]:
        raise ValueError(
            f"expected a frame for each query, {list(queries.shape[:2])}, got "
            f"{list(query_frames.shape)}"
        )
    if ((query_frames < 0) | (query_frames >= num_frames)).any():
        raise ValueError(
            f"expected query frames within the clip of {num_frames}, got "
            f"{int(query_frames.min())} to {int(query_frames.max())}"
        )
