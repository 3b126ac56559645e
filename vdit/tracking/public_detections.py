"""Public detections: a track may start only where a given detector found something.

Axes: M public boxes, n new boxes of the tracker, best first; xyxy in one unit.

References: Meinhardt et al., TrackFormer, CVPR 2022, Sec. 4.3; the rule of distances is that of
Zhou et al., Tracking objects as points, ECCV 2020.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vdit.boxes import box_area, box_iou, xyxy_to_cxcywh

__all__ = ["PublicRule", "may_start"]

PublicRule = Literal["none", "center_distance", "min_iou_0_5"]
_LEAST_OVERLAP = 0.5


def may_start(boxes: Tensor, public: Tensor, rule: PublicRule) -> Tensor:
    """Say which new boxes have a public one to start from; a public box serves one of them.

    Args:
        boxes: [n, 4] new boxes.
        public: [M, 4] public boxes, each of which chooses in turn the new box nearest to it.
        rule: "center_distance": the squared distance of the centers is below the area of the new
            box; "min_iou_0_5": the IoU is at least 0.5; "none": every box may start.

    Returns:
        [n] bool.

    Raises:
        ValueError: the rule is unknown.
    """
    if rule == "none":
        return torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    allowed = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    if not len(boxes) or not len(public):
        return allowed
    if rule == "min_iou_0_5":
        gain = box_iou(boxes, public)
        least = torch.full((len(boxes),), _LEAST_OVERLAP, device=boxes.device)
    elif rule == "center_distance":
        centers, others = xyxy_to_cxcywh(boxes)[:, :2], xyxy_to_cxcywh(public)[:, :2]
        gain = -(centers[:, None] - others[None]).square().sum(dim=-1)
        least = -box_area(boxes)
    else:
        raise ValueError(f"expected none, center_distance or min_iou_0_5, got {rule!r}")
    for column in gain.unbind(dim=1):
        free = torch.where(allowed, -torch.inf, column)
        best = int(free.argmax())
        near = free[best] >= least[best] if rule == "min_iou_0_5" else free[best] > least[best]
        allowed[best] |= bool(near)
    return allowed
