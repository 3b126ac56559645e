"""Camera motion as a linear function of how features change."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearPose(nn.Module):
    """Map the difference of the last and the first feature frame to a pose.

    Every cell keeps its place, so that it shows where something moves. Differences pass a batch
    norm without weights. At first the answer is that the camera stands still.

    Args:
        channels: C of the features.
        height: h in cells.
        width: w in cells.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        size = channels * height * width
        self.norm = nn.BatchNorm1d(size, affine=False)
        self.output = nn.Linear(size, 12)
        nn.init.zeros_(self.output.weight)
        with torch.no_grad():
            self.output.bias.copy_(torch.eye(3, 4).flatten())

    def forward(self, features: Tensor) -> Tensor:
        """Estimate poses.

        Args:
            features: [B, T', C, h, w] with T' >= 2.

        Returns:
            [B, 3, 4], see `vdit.models.probes.readout.PoseReadout`.

        Raises:
            ValueError: there is one feature frame only, which does not change.
        """
        if features.shape[1] < 2:
            raise ValueError(
                f"expected features of 2 frames or more, got {list(features.shape)}; use the "
                "attention readout"
            )
        change = (features[:, -1] - features[:, 0]).flatten(1)
        return self.output(self.norm(change)).unflatten(1, (3, 4))
