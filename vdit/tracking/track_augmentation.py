"""Track queries for training: matched outputs of the frame before, some lost, some wrong.

Axes: K track queries, Q queries of the frame before, N objects.

Reference: Meinhardt et al., TrackFormer, CVPR 2022, Sec. 3.3, "Track augmentations".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vdit.boxes import box_iou, cxcywh_to_xyxy
from vdit.training.track_criterion import ABSENT

__all__ = ["AugmentationConfig", "Followers", "draw_followers"]

_LEAST_CHANCE = 1e-3


@dataclass(frozen=True)
class AugmentationConfig:
    """How track queries of training differ from those that a perfect tracker would have.

    Attributes:
        false_negative: chance that a track query is left out; its object is then found anew.
        false_positive: chance that a track query is joined by one of a query that stood for
            nothing; such queries of large overlap are likelier.
    """

    false_negative: float = 0.4
    false_positive: float = 0.1

    def __post_init__(self) -> None:
        for name in ("false_negative", "false_positive"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} in 0..1, got {getattr(self, name)}")


@dataclass
class Followers:
    """Which queries of the frame before go on, and whom they follow.

    Attributes:
        queries: [K] long, positions among the queries of the frame before.
        followed: [K] long, position among the objects of this frame; ABSENT where the object is
            not there, or there never was one.
    """

    queries: Tensor
    followed: Tensor


def draw_followers(
    queries: Tensor,
    identities: Tensor,
    boxes: Tensor,
    identities_now: Tensor,
    config: AugmentationConfig,
) -> Followers:
    """Choose the track queries of one frame.

    Random numbers are those of torch's generator of the CPU.

    Args:
        queries: [N'] long, queries of the frame before that stand for objects.
        identities: [N'] of these objects.
        boxes: [Q, 4] cxcywh of all queries of the frame before.
        identities_now: [N] of the objects of this frame.
        config: chances.
    """
    kept = torch.rand(len(queries)) >= config.false_negative
    joined = torch.rand(len(queries)) < config.false_positive
    right = queries[kept.to(queries.device)]
    same = identities[kept.to(queries.device), None] == identities_now[None]
    followed = torch.full_like(right, ABSENT)
    if same.shape[1]:
        followed = torch.where(same.any(dim=1), same.int().argmax(dim=1), followed)
    wrong = _draw_wrong(right[joined[kept].to(right.device)], queries, boxes)
    return Followers(
        torch.cat([right, wrong]), torch.cat([followed, torch.full_like(wrong, ABSENT)])
    )


def _draw_wrong(beside: Tensor, matched: Tensor, boxes: Tensor) -> Tensor:
    """Draw a query that stands for nothing for each of some track queries, none twice."""
    free = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    free[matched] = False
    edges = cxcywh_to_xyxy(boxes.detach())
    drawn: list[int] = []
    for query in beside.tolist():
        if not free.any():
            break
        chance = box_iou(edges[query : query + 1], edges)[0].clamp(min=_LEAST_CHANCE) * free
        drawn.append(int(torch.multinomial(chance.cpu(), 1)))
        free[drawn[-1]] = False
    return torch.tensor(drawn, dtype=torch.long, device=boxes.device)
