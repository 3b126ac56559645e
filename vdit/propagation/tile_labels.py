"""From the similarities of a tile to its labels: the best candidates, their weights, the mean.

Axes: F context frames, Q cells of a tile, R cells of its region, M candidates of each cell, K
labels; P = frames * h * w cells of the whole context.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vdit.propagation.settings import PropagationSettings
from vdit.propagation.survivors import last_survivor, survivor_weights
from vdit.propagation.windowed_scores import TileScores


def label_tile(
    parts: Sequence[TileScores],
    table: Tensor,
    settings: PropagationSettings,
    grid: tuple[int, int],
    copies: int,
) -> Tensor:
    """Label the cells of a tile.

    Args:
        parts: scores of the tile with disjoint parts of the context.
        table: [P, K] labels of the context; frame 0 is the first frame.
        settings: what to look at.
        grid: (h, w).
        copies: copies of the first frame beside it, held to the window.

    Returns:
        [Q, K].
    """
    found = [_best(part, settings.topk, grid) for part in parts]
    scores, sources = (torch.cat(each, dim=1) for each in list(zip(*found, strict=True))[:2])
    left_out = torch.stack([bound for _, _, bound in found]).amax(dim=0)

    best, order = scores.topk(min(settings.topk + 1, scores.shape[1]), dim=1)
    best_sources = sources.gather(1, order)
    counts = _counts(best_sources, parts[0], settings, grid, copies)
    last = last_survivor(best, counts, settings.topk)
    finite = last > -torch.inf
    if bool(((left_out >= last) & finite).any()):
        return _label_from_all(parts, table, settings, grid, copies)
    if best.shape[1] > settings.topk:
        if bool(((best[:, -1:] >= last) & finite).any()):
            best, best_sources = scores, sources  # ties among the candidates
        else:
            best, best_sources = best[:, :-1], best_sources[:, :-1]
        counts = _counts(best_sources, parts[0], settings, grid, copies)
    weights = _weights(best, counts, last, settings)
    return torch.einsum("qm,qmk->qk", weights, table[best_sources])


def _best(part: TileScores, topk: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Give candidates [Q, M] that hold the `topk` best, their sources, and a bound on the others.

    The best score of each place over time, [Q, R], is found first: the `topk` best of all can only
    lie at the `topk` places whose best are largest. All frames of these places are candidates, so
    that exact ties along time, as in a still video, are among them.
    """
    over_time = part.scores.amax(dim=0)
    num_places = min(topk, over_time.shape[1])
    best, places = over_time.topk(min(topk + 1, over_time.shape[1]), dim=1)
    bound = best[:, topk:] if best.shape[1] > topk else torch.full_like(best[:, :1], -torch.inf)
    places = places[:, :num_places]
    index = places.expand(len(part.scores), -1, -1)
    scores = part.scores.gather(2, index)
    sources = part.sources(*grid)[:, None].expand(part.scores.shape).gather(2, index)
    return scores.transpose(0, 1).flatten(1), sources.transpose(0, 1).flatten(1), bound


def _label_from_all(
    parts: Sequence[TileScores],
    table: Tensor,
    settings: PropagationSettings,
    grid: tuple[int, int],
    copies: int,
) -> Tensor:
    """Label a tile from every score: cells elsewhere tie with the last survivor."""
    scores = torch.cat([part.scores.transpose(0, 1).flatten(1) for part in parts], dim=1)
    sources = torch.cat([part.sources(*grid).flatten() for part in parts])
    counts = _counts(sources.expand(scores.shape), parts[0], settings, grid, copies)
    last = last_survivor(scores, counts, settings.topk)
    return _weights(scores, counts, last, settings) @ table[sources]


def _weights(
    scores: Tensor, counts: Tensor | None, last: Tensor, settings: PropagationSettings
) -> Tensor:
    return survivor_weights(
        scores,
        counts,
        last,
        topk=settings.topk,
        temperature=settings.temperature,
        split_ties=settings.ties == "split",
    )


def _counts(
    sources: Tensor,
    part: TileScores,
    settings: PropagationSettings,
    grid: tuple[int, int],
    copies: int,
) -> Tensor | None:
    """[Q, M]: how many times a candidate is in the context; None where each is there once."""
    if copies == 0:
        return None
    height, width = grid
    y, x = part.tile.coordinates(sources.device)
    within = sources % (height * width)
    inside = settings.inside(within // width - y[:, None], within % width - x[:, None])
    return 1 + copies * (inside & (sources < height * width))
