"""Features in few numbers: three principal components, or the number of a cluster.

T' feature frames, C channels, h x w feature cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from scipy.cluster.vq import ClusterError, kmeans2, vq
from torch import Tensor
from torch.nn import functional as F

NUM_COLORS = 3
FITTED_CELLS = 20_000
"""Cells, drawn at random, that k-means is fitted to; all cells are assigned."""
RESTARTS = 4


@dataclass(frozen=True)
class Projection:
    """Principal components, and the range of what they give.

    The sign of a component is the one that makes its largest loading positive.

    Attributes:
        mean: [C] float64.
        components: [C, N] float64, orthonormal columns where one backbone was fitted.
        low: [N] first percentile of the scores; becomes 0 in pictures.
        high: [N] last percentile of the scores; becomes 1.
    """

    mean: Tensor
    components: Tensor
    low: Tensor
    high: Tensor

    def scores(self, features: Tensor) -> Tensor:
        """Project features [T', C, h, w] to [T', N, h, w] float32."""
        cells = features.movedim(1, -1) - self.mean.to(features.dtype)
        return (cells @ self.components.to(features.dtype)).movedim(-1, 1)

    def colors(self, features: Tensor) -> np.ndarray:
        """Turn features [T', C, h, w] into pictures [T', h, w, 3] uint8."""
        scores = self.scores(features.float()).movedim(1, -1)
        scores = scores[..., :NUM_COLORS]
        low, high = self.low.float()[:NUM_COLORS], self.high.float()[:NUM_COLORS]
        shares = (scores - low) / (high - low).clamp_min(1e-12)
        pictures = (255 * shares.clamp(0, 1)).round().to(torch.uint8)
        return F.pad(pictures, (0, NUM_COLORS - pictures.shape[-1])).numpy()


def fit_projection(features: Sequence[Tensor], count: int = NUM_COLORS) -> Projection:
    """Find the principal components of one or several videos together.

    Args:
        features: [T', C, h, w] each, of one C.
        count: components; fewer where C is smaller.

    Raises:
        ValueError: there are no features, or they differ in channels.
    """
    (projection,) = fit_shared_projection({"": _joined(features)}, count, scale=False).values()
    return projection


def fit_shared_projection(
    features: Mapping[str, Tensor], count: int = NUM_COLORS, *, scale: bool = True
) -> dict[str, Projection]:
    """Find components that several backbones or blocks share, to color them alike.

    The channels of all are laid side by side at common cells, those of the finest map, and each is
    divided by its total spread; the components are those of the whole. What two backbones both know
    then has one color in both pictures, although their channels have nothing in common.

    Args:
        features: name -> [T', C, h, w] of the same frames; C, h, w may differ.
        count: components; fewer where there are fewer channels.
        scale: divide by the total spread.

    Raises:
        ValueError: there are no features, or they have different numbers of frames.

    Reference: Smilde et al., A framework for sequential multiblock component methods, Journal of
    Chemometrics 2003 (SUM-PCA).
    """
    if not features:
        raise ValueError("expected features of at least one block, got none")
    lengths = {len(feature) for feature in features.values()}
    if len(lengths) > 1:
        raise ValueError(f"expected features of the same frames, got {sorted(lengths)} frames")
    size = max((feature.shape[-2:] for feature in features.values()), key=lambda hw: hw[0] * hw[1])
    common = {name: _cells(_resized(feature, size)) for name, feature in features.items()}
    means = {name: cells.mean(0) for name, cells in common.items()}
    centered = [cells - means[name] for name, cells in common.items()]
    spreads = [float(x.square().sum(1).mean().sqrt()) or 1.0 if scale else 1.0 for x in centered]
    whole = torch.cat([x / spread for x, spread in zip(centered, spreads, strict=True)], dim=1)
    loadings = _principal_components(whole, count)
    parts = loadings.split([x.shape[1] for x in centered])
    projections = {}
    for name, x, part, spread in zip(common, centered, parts, spreads, strict=True):
        part = part / spread
        low, high = np.percentile((x @ part).numpy(), (1, 99), axis=0)
        projections[name] = Projection(
            means[name], part, torch.from_numpy(low), torch.from_numpy(high)
        )
    return projections


def cluster_features(
    features: Tensor, num_clusters: int, *, seed: int = 0, normalize: bool = True
) -> np.ndarray:
    """Segment a video by k-means over all its cells.

    Args:
        features: [T', C, h, w].
        num_clusters: K.
        seed: of the start and of the cells that are fitted.
        normalize: compare directions of features (length 1) instead of the features themselves.

    Returns:
        [T', h, w] int64 in 0..K-1; cluster 0 has the most cells, K-1 the fewest.

    Raises:
        ValueError: K is below 1, or there are not K different cells.
    """
    if num_clusters < 1:
        raise ValueError(f"expected at least one cluster, got {num_clusters}")
    cells = _cells(features)
    if normalize:
        cells = F.normalize(cells, dim=1)
    points = cells.numpy()
    generator = np.random.default_rng(seed)
    fitted = points
    if len(points) > FITTED_CELLS:
        fitted = points[np.sort(generator.choice(len(points), FITTED_CELLS, replace=False))]
    centers = _best_centers(fitted, num_clusters, generator)
    labels = vq(points, centers)[0]
    order = np.argsort(-np.bincount(labels, minlength=num_clusters), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(num_clusters)
    return rank[labels].reshape(features.shape[0], *features.shape[-2:])


def _best_centers(points: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """[K, C] of the start with the smallest distances; starts that lose a cluster do not count."""
    found = []
    if len(np.unique(points[:, :1], axis=0)) >= count or len(np.unique(points, axis=0)) >= count:
        for _ in range(RESTARTS):
            try:
                centers, _ = kmeans2(
                    points, count, iter=30, minit="++", rng=generator, missing="raise"
                )
            except ClusterError:
                continue
            found.append((float(np.square(vq(points, centers)[1]).mean()), centers))
    if not found:
        raise ValueError(
            f"expected at least {count} different cells for {count} clusters among {len(points)}; "
            "ask for fewer"
        )
    return min(found, key=lambda each: each[0])[1]


def _principal_components(centered: Tensor, count: int) -> Tensor:
    """[C, N] leading eigenvectors of the covariance, the largest first, signs fixed."""
    channels = centered.shape[1]
    count = min(count, channels)
    covariance = (centered.T @ centered).numpy()
    _, vectors = scipy.linalg.eigh(covariance, subset_by_index=(channels - count, channels - 1))
    vectors = vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.where(vectors[largest, np.arange(count)] < 0, -1.0, 1.0)
    return torch.from_numpy(vectors * signs)


def _joined(features: Sequence[Tensor]) -> Tensor:
    """Cells of all videos as one row of cells, [1, C, 1, N]."""
    channels = {feature.shape[1] for feature in features}
    if len(channels) != 1:
        raise ValueError(
            f"expected features of one number of channels, got {sorted(channels) or 'none'}; use "
            "fit_shared_projection for several backbones"
        )
    return torch.cat([_cells(feature) for feature in features]).T[None, :, None]


def _cells(features: Tensor) -> Tensor:
    """[T', C, h, w] -> [T' * h * w, C] float64."""
    return features.double().movedim(1, -1).flatten(0, -2)


def _resized(features: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(features.shape[-2:]) == tuple(size):
        return features
    return F.interpolate(features.float(), tuple(size), mode="bilinear", align_corners=False)
