"""Which candidates of a cell survive, and with what weight.

Axes: Q cells that ask, M candidates of each.
"""

from __future__ import annotations

import torch
from torch import Tensor


def last_survivor(scores: Tensor, copies: Tensor | None, topk: int) -> Tensor:
    """Find the score of the `topk`-th candidate of every cell.

    Args:
        scores: [Q, M], -inf where a candidate is not allowed.
        copies: [Q, M] how many candidates each entry stands for; None stands for ones.
        topk: places.

    Returns:
        [Q, 1]; the least score where there are fewer candidates than places.
    """
    best, where = scores.topk(min(topk, scores.shape[1]), dim=1)
    if copies is None:
        return best[:, -1:]
    taken = copies.gather(1, where).cumsum(dim=1)
    position = (taken < topk).sum(dim=1, keepdim=True).clamp(max=best.shape[1] - 1)
    return best.gather(1, position)


def survivor_weights(
    scores: Tensor,
    copies: Tensor | None,
    last: Tensor,
    *,
    topk: int,
    temperature: float,
    split_ties: bool,
) -> Tensor:
    """Give the softmax over the candidates that reach the last survivor, zero to the others.

    Args:
        scores: [Q, M], every candidate that reaches `last` among them.
        copies: as in `last_survivor`.
        last: [Q, 1] of `last_survivor`.
        topk: places.
        temperature: divides the scores.
        split_ties: share the places that are left among those that tie with the last survivor;
            else all of them survive.

    Returns:
        [Q, M], rows sum to 1.
    """
    weights = torch.exp((scores - scores.amax(dim=1, keepdim=True)) / temperature)
    weights = torch.where(scores >= last, weights, 0)
    if copies is not None:
        weights = weights * copies
    if split_ties:
        counts = torch.ones_like(weights) if copies is None else copies.to(weights.dtype)
        tied = scores == last
        places = topk - (counts * (scores > last)).sum(dim=1, keepdim=True)
        share = places / (counts * tied).sum(dim=1, keepdim=True)
        weights = torch.where(tied, weights * share.clamp(max=1), weights)
    return weights / weights.sum(dim=1, keepdim=True)
