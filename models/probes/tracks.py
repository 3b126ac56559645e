"""What a head says of points that it follows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

VISIBLE_ABOVE = 0.5


@dataclass(frozen=True)
class PointTracks:
    """Tracks of K points over T frames.

    Attributes:
        points: [B, K, T, 2] x and y, shares of the width and height of the frame, 0..1.
        visible_logits: [B, K, T]; positive where the point is likely in sight.
        certain_logits: [B, K, T]; positive where its place is likely right.
    """

    points: Tensor
    visible_logits: Tensor
    certain_logits: Tensor

    @property
    def visible(self) -> Tensor:
        """[B, K, T] bool: in sight and rightly placed with a joint probability above 1/2."""
        return self.visible_logits.sigmoid() * self.certain_logits.sigmoid() > VISIBLE_ABOVE


def point_tracks(numbers: Tensor) -> PointTracks:
    """Read raw outputs [B, K, T, 4]: x, y (before the sigmoid), visible, certain."""
    return PointTracks(numbers[..., :2].sigmoid(), numbers[..., 2], numbers[..., 3])
