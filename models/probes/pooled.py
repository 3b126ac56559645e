"""The linear probe: one vector a clip, one linear layer."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Norm = Literal["none", "layer", "batch"]


class PooledProbe(nn.Module):
    """Classify the mean of all features of a clip with one linear layer.

    Args:
        channels: C of the features.
        num_classes: how many.
        norm: what the mean passes before the linear layer. "none" is the published probe; "layer"
            is a layer norm; "batch" is a batch norm without weights, which evens out the scales
            of different blocks.

    Raises:
        ValueError: `norm` is none of these.

    Reference: the linear probe of "Video diffusion models learn the structure of the dynamic
    world", action recognition; the batch norm is that of He et al., Masked Autoencoders, CVPR
    2022, Sec. A.1.
    """

    def __init__(self, channels: int, num_classes: int, norm: Norm = "none") -> None:
        super().__init__()
        self.norm = _make_norm(norm, channels)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Classify clips.

        Args:
            features: [B, T', C, h, w].

        Returns:
            [B, num_classes] logits.
        """
        return self.linear(self.norm(features.mean((1, 3, 4))))


def _make_norm(norm: Norm, channels: int) -> nn.Module:
    if norm == "none":
        return nn.Identity()
    if norm == "layer":
        return nn.LayerNorm(channels)
    if norm == "batch":
        return nn.BatchNorm1d(channels, affine=False)
    raise ValueError(f'expected norm "none", "layer" or "batch", got {norm!r}')
