"""Cross-attention readouts of what was asked about: points and boxes of the first frame."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from vdit.models.probes.fourier import CoordinateEmbedding
from vdit.models.probes.readout import AttentionReadout, ReadoutConfig, learned
from vdit.models.probes.tracks import PointTracks, point_tracks


@dataclass(frozen=True)
class PointReadoutConfig:
    """Sizes of the point readout.

    Attributes:
        readout: shared sizes; 8 heads as published.
        num_frames: frames of a track.
        frames_per_tile: frames that one query answers; divides `num_frames`.
        embedding_width: channels of the MLP that embeds a location.
    """

    readout: ReadoutConfig
    num_frames: int = 16
    frames_per_tile: int = 2
    embedding_width: int = 512


class PointReadout(nn.Module):
    """Follow points of the first frame; each short run of frames (tile) is a query of its own.

    Raises:
        ValueError: tiles do not make up the clip.

    Reference: Carreira et al., Scaling 4D Representations, 2024.
    """

    def __init__(self, config: PointReadoutConfig) -> None:
        super().__init__()
        if config.num_frames % config.frames_per_tile:
            raise ValueError(
                f"expected a number of frames that tiles divide, got {config.num_frames} frames "
                f"and tiles of {config.frames_per_tile}"
            )
        width = config.readout.width
        self.embed = CoordinateEmbedding(2, config.embedding_width)
        self.project = nn.Linear(config.embedding_width, width)
        self.tile_encoding = learned(config.num_frames // config.frames_per_tile, width)
        self.readout = AttentionReadout(config.readout, 4 * config.frames_per_tile)

    def forward(self, features: Tensor, points: Tensor) -> PointTracks:
        """Follow points.

        Args:
            features: [B, T', C, h, w].
            points: [B, K, 2] x and y in the first frame, shares of its width and height, 0..1.

        Returns:
            Tracks of K points over `num_frames` frames.

        Raises:
            ValueError: a point has not two coordinates, or the features other sizes.
        """
        queries = self.project(self.embed(points))[:, :, None] + self.tile_encoding
        numbers = self.readout(features, queries.flatten(1, 2))
        batch, count = points.shape[:2]
        return point_tracks(numbers.reshape(batch, count, -1, 4))


@dataclass(frozen=True)
class BoxReadoutConfig:
    """Sizes of the box readout.

    Attributes:
        readout: shared sizes; 4 heads as published.
        num_frames: frames of a track.
        embedding_width: channels of the MLP that embeds a box.
    """

    readout: ReadoutConfig
    num_frames: int = 16
    embedding_width: int = 512


class BoxReadout(nn.Module):
    """Follow boxes of the first frame; one query answers for all frames.

    Reference: Carreira et al., Scaling 4D Representations, 2024.
    """

    def __init__(self, config: BoxReadoutConfig) -> None:
        super().__init__()
        self.embed = CoordinateEmbedding(4, config.embedding_width)
        self.project = nn.Linear(config.embedding_width, config.readout.width)
        self.readout = AttentionReadout(config.readout, 4 * config.num_frames)

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Follow boxes.

        Args:
            features: [B, T', C, h, w].
            boxes: [B, K, 4] corners x0, y0, x1, y1 in the first frame, shares of its width and
                height, 0..1.

        Returns:
            [B, K, num_frames, 4] likewise; numbers are not held within 0..1.

        Raises:
            ValueError: a box has not four coordinates, or the features other sizes.
        """
        numbers = self.readout(features, self.project(self.embed(boxes)))
        return numbers.unflatten(2, (-1, 4))
