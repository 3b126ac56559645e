"""Heads for depth, and how their numbers become metres.

B clips, T frames, K of them labelled, T' feature frames, C channels, H x W pixels, Q pixels that
are asked for.

References: Video diffusion models learn the structure of the dynamic world (dense head, which it
does not describe); Carreira et al., Scaling 4D representations (readout); van Steenkiste et al.,
MooG (pixels).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.models.probes.dense import DenseConfig, DenseHead, LinearDenseHead
from vdit.models.probes.pixel_readout import PixelReadout, pixel_centers
from vdit.models.probes.query_transformer import QueryTransformerConfig
from vdit.models.probes.readout import DepthReadout, DepthReadoutConfig, ReadoutConfig
from vdit.probing.clip_views import ViewOptions
from vdit.probing.probe_task import FeatureShape
from vdit.probing.tasks.labelled_frames import (
    LabelledFrameHead,
    Steps,
    channels_seen,
    labelled_positions,
    steps_seen,
)

Kind = Literal["dense", "linear", "readout", "pixels"]
_PIXELS_AT_ONCE = 8192


@dataclass(frozen=True)
class DepthHead:
    """What reads depth from features, and its loss.

    Attributes:
        kind: "dense" has two convolutions, "linear" is one linear map of each cell, "readout" asks
            all features of a clip by attention for patches of time and space, "pixels" those of the
            labelled frame for single pixels.
        steps: the head sees the feature frame that shows the "labelled" frame, or "all" of a clip,
            as channels; "readout" always sees all.
        width: channels inside; None = as published, 256 of "dense", 1024 of "readout", 512 of
            "pixels".
        num_heads: of the attention of "readout" and "pixels"; None = as published, 16 and 8.
        num_layers: of "pixels".
        norm: of features in front of "dense", "batch" or "layer".
        patch: frames, rows and columns that one query of "readout" answers for.
        pixel_share: of the pixels that a training step asks "pixels" for.
        output: what the numbers of the head are, the logarithm of depth or disparity.
        min_depth: least depth that is predicted, in metres.
        max_depth: largest one; truth beyond it is not trained on and not scored.
        l1_weight: of the mean absolute error of log-depth or disparity.
        scale_weight: of the scale-invariant logarithmic loss.
        scale_share: of the mean error that the latter forgives, 0..1; 1 forgives every scale.
    """

    kind: Kind = "dense"
    steps: Steps = "labelled"
    width: int | None = None
    num_heads: int | None = None
    num_layers: int = 3
    norm: Literal["batch", "layer"] = "batch"
    patch: tuple[int, int, int] = (2, 8, 8)
    pixel_share: float = 0.125
    output: Literal["log", "disparity"] = "log"
    min_depth: float = 0.5
    max_depth: float = 80.0
    l1_weight: float = 1.0
    scale_weight: float = 1.0
    scale_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.min_depth < self.max_depth:
            raise ValueError(
                f"expected 0 < head.min_depth < head.max_depth, got {self.min_depth} and "
                f"{self.max_depth} m"
            )
        if not 0 < self.pixel_share <= 1:
            raise ValueError(f"expected head.pixel_share in 0..1, above 0, got {self.pixel_share}")
        if not 0 <= self.scale_share <= 1:
            raise ValueError(f"expected head.scale_share in 0..1, got {self.scale_share}")
        weights = (self.l1_weight, self.scale_weight)
        if min(weights) < 0 or not sum(weights) > 0:
            raise ValueError(
                f"expected head.l1_weight and head.scale_weight of 0 or more and one above, got "
                f"{weights[0]} and {weights[1]}"
            )


class DepthCode:
    """Turn numbers of a head into metres and metres into numbers that a loss compares.

    A number of 0 is the geometric mean of the range in both codes, so that a new head begins there.

    Args:
        output: "log": depth = center * exp(x). "disparity": center / depth = 1 + x for x >= 0 and
            exp(x) below, which is smooth and never negative.
        min_depth: in metres; predictions are clipped to the range.
        max_depth: in metres.
    """

    def __init__(self, output: str, min_depth: float, max_depth: float) -> None:
        self.output, self.min_depth, self.max_depth = output, min_depth, max_depth
        self.center = math.sqrt(min_depth * max_depth)

    def disparity(self, numbers: Tensor) -> Tensor:
        """Relative disparity, center / depth, of a head's numbers; both codes."""
        if self.output == "log":
            return torch.exp(-numbers)
        return F.elu(numbers) + 1

    def metres(self, numbers: Tensor) -> Tensor:
        """Depth in metres, clipped to the range."""
        least, largest = self.center / self.max_depth, self.center / self.min_depth
        return self.center / self.disparity(numbers).clamp(least, largest)

    def log_depth(self, numbers: Tensor) -> Tensor:
        """Natural logarithm of depth in units of the center."""
        if self.output == "log":
            return numbers
        return -torch.log(self.disparity(numbers).clamp(min=1e-6))

    def compared(self, numbers: Tensor) -> Tensor:
        """What the L1 loss compares, from a head's numbers."""
        return numbers if self.output == "log" else self.disparity(numbers)

    def compared_truth(self, depth: Tensor) -> Tensor:
        """The same from true depths in metres, above 0."""
        return torch.log(depth / self.center) if self.output == "log" else self.center / depth


class ReadoutFrames(nn.Module):
    """Depth of some frames of a clip by `DepthReadout`.

    Args:
        readout: of whole clips.
        positions: of the K frames.
    """

    def __init__(self, readout: DepthReadout, positions: tuple[int, ...]) -> None:
        super().__init__()
        self.readout, self.positions = readout, list(positions)

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Features [B, T', C, h, w] -> numbers [B, K, 1, H, W] at `size`."""
        maps = self.readout(features)[:, self.positions]
        if maps.shape[-2:] != size:
            maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
        return maps[:, :, None]


class PixelMaps(nn.Module):
    """Depth of all pixels, or of some, by `PixelReadout`.

    Args:
        readout: of single pixels.
    """

    def __init__(self, readout: PixelReadout) -> None:
        super().__init__()
        self.readout = readout

    def forward(
        self, features: Tensor, size: tuple[int, int], chosen: Tensor | None = None
    ) -> Tensor:
        """Estimate numbers of pixels.

        Args:
            features: [B, K, C, h, w].
            size: (H, W) of the map.
            chosen: [Q] positions in the flattened map; None = all, some thousands at a time.

        Returns:
            [B, K, 1, H, W], or [B, K, Q] of chosen pixels.
        """
        pixels = pixel_centers(*size, device=features.device)
        if chosen is not None:
            return self.readout(features, pixels[chosen])[..., 0]
        parts = [self.readout(features, part) for part in pixels.split(_PIXELS_AT_ONCE)]
        return torch.cat(parts, dim=2)[..., 0].unflatten(-1, size)[:, :, None]


def build_depth_head(head: DepthHead, view: ViewOptions, shape: FeatureShape) -> nn.Module:
    """Make a head, [B, T', C, h, w] and a size -> numbers [B, K, 1, H, W]; see `DepthCode`.

    Raises:
        ValueError: "readout" for clips of no fixed size, or whose patches do not tile them.
    """
    if head.kind == "readout":
        return _build_readout(head, view, shape)
    channels, steps = channels_seen(shape, head.steps), steps_seen(shape, head.steps, view)
    network: nn.Module
    if head.kind == "pixels":
        width = head.width or 512
        config = QueryTransformerConfig(
            channels, width, head.num_layers, head.num_heads or 8, 4 * width
        )
        network = PixelMaps(PixelReadout(config))
    elif head.kind == "linear":
        network = LinearDenseHead(channels, 1)
    else:
        network = DenseHead(DenseConfig(channels, 1, head.width or 256, head.norm))
    return LabelledFrameHead(network, steps)


def _build_readout(head: DepthHead, view: ViewOptions, shape: FeatureShape) -> nn.Module:
    size = view.crop or view.size
    if size is None:
        raise ValueError(
            "expected view.size or view.crop with head.kind=readout, which has a query for every "
            "patch of a clip; set one"
        )
    T = view.num_frames
    config = ReadoutConfig(shape.channels, T, head.width or 1024, head.num_heads or 16)
    readout = DepthReadout(DepthReadoutConfig(config, (T, *size), head.patch))
    return ReadoutFrames(readout, labelled_positions(view))
