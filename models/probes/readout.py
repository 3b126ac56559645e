"""Cross-attention readouts: learned queries look at the features of all frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vdit.models.probes.attention import Mlp, attend, check_heads

INIT_STD = 0.02


@dataclass(frozen=True)
class ReadoutConfig:
    """Sizes that all readouts share.

    Attributes:
        channels: C of the features.
        time_steps: T' of the features; there is one learned encoding for each.
        width: channels of a query.
        num_heads: attention heads; they divide the width.
        mlp_ratio: hidden channels of the MLP over `width`.
    """

    channels: int
    time_steps: int
    width: int = 1024
    num_heads: int = 16
    mlp_ratio: int = 4


def learned(*shape: int) -> nn.Parameter:
    """Make a parameter of normal numbers of deviation 0.02."""
    return nn.Parameter(INIT_STD * torch.randn(shape))


class AttentionReadout(nn.Module):
    """Answer queries with one cross-attention over all features of a clip and an MLP.

    Features pass a layer norm and get a learned encoding of their time step; where a feature lies
    in its frame is left to the features. Queries do not see each other.

    Raises:
        ValueError: the heads do not divide the width.

    Reference: Carreira et al., Scaling 4D Representations, 2024; the published readout of its
    code.
    """

    def __init__(self, config: ReadoutConfig, num_outputs: int) -> None:
        super().__init__()
        check_heads(config.width, config.num_heads)
        self.config = config
        width = config.width
        self.norm = nn.LayerNorm(config.channels)
        self.time_encoding = learned(config.time_steps, config.channels)
        self.kv = nn.Linear(config.channels, 2 * width)
        self.proj = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = Mlp(width, config.mlp_ratio * width)
        self.output = nn.Linear(width, num_outputs)

    def forward(self, features: Tensor, queries: Tensor) -> Tensor:
        """Answer queries.

        Args:
            features: [B, T', C, h, w].
            queries: [B, Q, width], or [1, Q, width] for all clips alike.

        Returns:
            [B, Q, num_outputs].

        Raises:
            ValueError: the features have another T' or C than the sizes say.
        """
        expected = (self.config.time_steps, self.config.channels)
        if tuple(features.shape[1:3]) != expected:
            raise ValueError(
                f"expected features [B, {expected[0]}, {expected[1]}, h, w], got "
                f"{list(features.shape)}; set time_steps and channels to those of the block"
            )
        tokens = self.norm(features.permute(0, 1, 3, 4, 2))
        tokens = (tokens + self.time_encoding[:, None, None]).flatten(1, 3)
        key, value = self.kv(tokens).chunk(2, dim=-1)
        queries = queries.expand(len(features), -1, -1)
        found = queries + self.proj(attend(queries, key, value, self.config.num_heads))
        return self.output(found + self.mlp(self.mlp_norm(found)))


class ClassificationReadout(nn.Module):
    """Class logits from one learned query."""

    def __init__(self, config: ReadoutConfig, num_classes: int) -> None:
        super().__init__()
        self.query = learned(1, 1, config.width)
        self.readout = AttentionReadout(config, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, T', C, h, w] -> logits [B, num_classes]."""
        return self.readout(features, self.query)[:, 0]


class PoseReadout(nn.Module):
    """Pose of the last camera relative to the first, from one learned query."""

    def __init__(self, config: ReadoutConfig) -> None:
        super().__init__()
        self.query = learned(1, 1, config.width)
        self.readout = AttentionReadout(config, 12)

    def forward(self, features: Tensor) -> Tensor:
        """Estimate poses.

        Args:
            features: [B, T', C, h, w].

        Returns:
            [B, 3, 4]: a 3 x 3 matrix, trained towards a rotation and not forced to be one (see
            `nearest_rotation`), and a translation in the unit of the labels.
        """
        numbers = self.readout(features, self.query)[:, 0]
        rotation, translation = numbers[:, :9].view(-1, 3, 3), numbers[:, 9:, None]
        return torch.cat([rotation, translation], dim=2)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """Project matrices [..., 3, 3] to the nearest rotations in the Frobenius norm.

    Half precision is computed in float32. The determinant is +1: a reflection loses its weakest
    axis. Reference: the orthogonal Procrustes problem (Kabsch, 1976).
    """
    u, _, vh = torch.linalg.svd(matrix.float() if matrix.dtype.itemsize < 4 else matrix)
    signs = torch.ones_like(u[..., 0])
    signs[..., -1] = torch.linalg.det(u @ vh).sign()
    return (u * signs[..., None, :] @ vh).to(matrix.dtype)


@dataclass(frozen=True)
class DepthReadoutConfig:
    """Sizes of the depth readout.

    Attributes:
        readout: shared sizes; its `time_steps` are those that features are resized to.
        clip: frames, height and width of the depth that comes out.
        patch: frames, height and width of what one query answers; divides `clip`.
    """

    readout: ReadoutConfig
    clip: tuple[int, int, int] = (16, 224, 224)
    patch: tuple[int, int, int] = (2, 8, 8)


class DepthReadout(nn.Module):
    """Depth of every pixel of a clip, from one learned query for each patch of time and space.

    Features are first resized over time to `time_steps` (16 as published).

    Raises:
        ValueError: patches do not tile the clip.
    """

    def __init__(self, config: DepthReadoutConfig) -> None:
        super().__init__()
        if any(size % side for size, side in zip(config.clip, config.patch, strict=True)):
            raise ValueError(
                f"expected patches that tile the clip, got patches {config.patch} and a clip "
                f"{config.clip}; each size of the clip must be a multiple"
            )
        self.config = config
        frames, height, width = config.patch
        self.grid = tuple(n // side for n, side in zip(config.clip, config.patch, strict=True))
        num_queries = self.grid[0] * self.grid[1] * self.grid[2]
        self.queries = learned(1, num_queries, config.readout.width)
        self.readout = AttentionReadout(config.readout, frames * height * width)

    def forward(self, features: Tensor) -> Tensor:
        """Estimate depth.

        Args:
            features: [B, T', C, h, w] with any T'.

        Returns:
            [B, T, H, W] of the clip in the configuration; what the numbers mean (depth, its
            logarithm) is a matter of the loss.
        """
        features = resize_time(features, self.config.readout.time_steps)
        patches = self.readout(features, self.queries)
        t, y, x = self.grid
        pt, py, px = self.config.patch
        return rearrange(
            patches,
            "b (t y x) (pt py px) -> b (t pt) (y py) (x px)",
            t=t, y=y, x=x, pt=pt, py=py, px=px,
        )  # fmt: skip


def resize_time(features: Tensor, steps: int) -> Tensor:
    """Resize features [B, T', C, h, w] to [B, steps, C, h, w] by cubic interpolation over time.

    Half-pixel centers, Keys' kernel with a = -0.5, smoothed where the number of steps falls; the
    same number of steps changes nothing.
    """
    have = features.shape[1]
    identity = torch.eye(have, device=features.device)[None, None]
    weights = F.interpolate(identity, (steps, have), mode="bicubic", antialias=True)[0, 0]
    return torch.einsum("st,btchw->bschw", weights.to(features.dtype), features)
