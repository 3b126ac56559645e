"""Label propagation from its definition: one dense matrix a frame, slow and obviously right.

Axes: T frames, C channels, K labels, h x w cells, N = h * w.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vdit.propagation.settings import PropagationSettings


def propagate_labels_dense(
    features: Tensor, first_labels: Tensor, settings: PropagationSettings
) -> Tensor:
    """Carry the labels of the first frame through a video; what `propagate_labels` must equal.

    The similarities between a frame and its whole context are in memory at once, several times.

    Args:
        features: [T, C, h, w].
        first_labels: [K, h, w], one map for each label, the background included.
        settings: what to look at.

    Returns:
        [T - 1, K, h, w], the labels of the frames after the first.

    Reference: Caron et al., ICCV 2021, Sec. 4.2.2; Jabri et al., NeurIPS 2020, App. B.
    """
    height, width = features.shape[2:]
    maps = functional.normalize(features, dim=1).flatten(2)  # [T, C, N]
    inside = _window(height, width, settings).to(features.device)
    everywhere = torch.ones_like(inside)
    of_first = everywhere if settings.first_frame == "unrestricted" else inside
    labels = [first_labels.flatten(1).to(maps.dtype)]
    for t in range(1, len(maps)):
        context = [(0, of_first)]
        context += [(0, inside)] * settings.first_frame_copies(t)
        context += [(s, inside) for s in settings.recent_frames(t)]
        scores = [(maps[s].T @ maps[t]).masked_fill(~allowed, -torch.inf) for s, allowed in context]
        weights = _weights(torch.cat(scores), settings)
        labels.append(torch.cat([labels[s] for s, _ in context], dim=1) @ weights)
    return torch.stack(labels)[1:].unflatten(2, (height, width))


def _window(height: int, width: int, settings: PropagationSettings) -> Tensor:
    """[N, N] bool: which cells of a context frame a cell may see."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = y.flatten(), x.flatten()
    return settings.inside(y[:, None] - y, x[:, None] - x)


def _weights(scores: Tensor, settings: PropagationSettings) -> Tensor:
    """Weights [M, N] of M context cells for N cells; each column sums to 1."""
    weights = torch.exp((scores - scores.amax(dim=0)) / settings.temperature)
    topk = min(settings.topk, len(scores))
    last = scores.topk(topk, dim=0).values[-1]
    weights[scores < last] = 0
    if settings.ties == "split":
        tied = scores == last
        places = topk - (scores > last).sum(dim=0)
        weights = torch.where(tied, weights * places / tied.sum(dim=0), weights)
    return weights / weights.sum(dim=0)
