"""The loss of object queries and track queries: who stands for whom is known for the latter.

Axes: D decoder layers, K track queries, Q object queries, N true objects of a frame. Boxes are
cxcywh in 0..1.

Reference: Meinhardt et al., TrackFormer, CVPR 2022, Sec. 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vdit.boxes import cxcywh_to_xyxy, generalized_box_iou
from vdit.training.losses import FOCAL_ALPHA, FOCAL_GAMMA, sigmoid_focal_loss

__all__ = ["FrameTarget", "TermWeights", "TrackCriterion", "match_frame"]

_LOG_EPSILON = 1e-8
ABSENT = -1
"""What a track query follows that has lost its object, or never had one."""


@dataclass(frozen=True)
class TermWeights:
    """Weights of the terms, in the matching cost and in the loss; those of TrackFormer.

    Attributes:
        classes: focal loss.
        box_l1: L1 distance of the boxes.
        box_giou: 1 - generalized IoU.
    """

    classes: float = 2.0
    box_l1: float = 5.0
    box_giou: float = 2.0


@dataclass
class FrameTarget:
    """What is true of a frame.

    Attributes:
        boxes: [N, 4].
        followed: [K] long, position in `boxes` of the object that each track query follows; ABSENT
            where it is not in the frame.
    """

    boxes: Tensor
    followed: Tensor


@torch.no_grad()
def match_frame(
    logits: Tensor, boxes: Tensor, target: FrameTarget, weights: TermWeights
) -> tuple[Tensor, Tensor]:
    """Decide which query stands for which object of a frame.

    A track query stands for the object that it follows. The other objects are assigned to object
    queries for the least total cost.

    Args:
        logits: [K + Q], track queries first.
        boxes: [K + Q, 4].
        target: the truth, with K entries in `followed`.
        weights: of the terms of the cost.

    Returns:
        Positions of queries and of the objects that they stand for, [min(N, ...)] long each, in the
        order of the queries.

    Raises:
        FloatingPointError: a cost is not finite.
    """
    K = len(target.followed)
    tracks = torch.nonzero(target.followed != ABSENT).squeeze(1)
    taken = target.followed[tracks]
    is_new = torch.ones(len(target.boxes), dtype=torch.bool, device=boxes.device)
    is_new[taken] = False
    new = torch.nonzero(is_new).squeeze(1)
    cost = _costs(logits[K:], boxes[K:], target.boxes[new], weights).cpu()
    if not cost.isfinite().all():
        raise FloatingPointError("the matching cost of a frame is not finite")
    rows, columns = linear_sum_assignment(cost.numpy())
    queries = torch.from_numpy(rows).to(boxes.device) + K
    objects = new[torch.from_numpy(columns).to(boxes.device)]
    return torch.cat([tracks, queries]), torch.cat([taken, objects])


class TrackCriterion:
    """Compare the predictions of all decoder layers with the truth.

    Object queries are matched anew for every layer. Every query that stands for no object learns to
    say so: object queries, and track queries whose object is gone.

    Args:
        weights: of the terms; None takes those of TrackFormer.
    """

    def __init__(self, weights: TermWeights | None = None) -> None:
        self.weights = weights or TermWeights()

    def __call__(
        self,
        logits: Tensor,
        boxes: Tensor,
        targets: Sequence[FrameTarget],
        count: float,
        padding: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the loss of some frames.

        Args:
            logits: [D, B, K + Q] of B frames.
            boxes: [D, B, K + Q, 4].
            targets: of each frame; `followed` may be shorter than K where the rest is padding.
            count: true boxes that sums are divided by; at least 1 is taken.
            padding: [B, K] bool, True = no track query.

        Returns:
            Scalars: "loss", and "ce", "l1" and "giou" of the last layer, not weighted.
        """
        K = 0 if padding is None else padding.shape[1]
        real = torch.ones(logits.shape[1:], dtype=torch.bool, device=logits.device)
        if padding is not None:
            real[:, :K] = ~padding
        sums = []
        for layer_logits, layer_boxes in zip(logits, boxes, strict=True):
            wanted = torch.zeros_like(layer_logits)
            pairs: list[tuple[Tensor, Tensor]] = []
            for b, target in enumerate(targets):
                missing = K - len(target.followed)
                followed = torch.nn.functional.pad(target.followed, (0, missing), value=ABSENT)
                queries, objects = match_frame(
                    layer_logits[b],
                    layer_boxes[b],
                    FrameTarget(target.boxes, followed),
                    self.weights,
                )
                wanted[b, queries] = 1.0
                pairs.append((layer_boxes[b, queries], target.boxes[objects]))
            sums.append(_sums(layer_logits, wanted, real, pairs) / max(count, 1.0))
        weights = logits.new_tensor(
            [self.weights.classes, self.weights.box_l1, self.weights.box_giou]
        )
        total = (torch.stack(sums) * weights).sum()
        ce, l1, giou = sums[-1].unbind()
        return {"loss": total, "ce": ce, "l1": l1, "giou": giou}


def _sums(
    logits: Tensor, wanted: Tensor, real: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]
) -> Tensor:
    """[3] sums of the terms over the frames of a batch."""
    classes = sigmoid_focal_loss(logits, wanted)[real].sum()
    found, true = (torch.cat(each) for each in zip(*pairs, strict=True))
    l1 = (found - true).abs().sum()
    overlap = generalized_box_iou(cxcywh_to_xyxy(found)[:, None], cxcywh_to_xyxy(true)[:, None])
    return torch.stack([classes, l1, (1 - overlap).sum()])


def _costs(logits: Tensor, boxes: Tensor, true: Tensor, weights: TermWeights) -> Tensor:
    """[Q, N] what each query costs as each object."""
    probs = logits.float().sigmoid()
    yes = FOCAL_ALPHA * (1 - probs) ** FOCAL_GAMMA * -(probs + _LOG_EPSILON).log()
    no = (1 - FOCAL_ALPHA) * probs**FOCAL_GAMMA * -(1 - probs + _LOG_EPSILON).log()
    overlap = generalized_box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(true))
    return (
        weights.classes * (yes - no)[:, None]
        + weights.box_l1 * torch.cdist(boxes, true, p=1)
        - weights.box_giou * overlap
    )
