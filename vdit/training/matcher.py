"""Which query stands for which named object, decided once per clip.

Axes: B clips, T frames, Q queries, N objects of one clip, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vdit.boxes import cxcywh_to_xyxy, generalized_box_iou
from vdit.structures import LayerOutput, Match, Target
from vdit.training.losses import (
    FOCAL_ALPHA,
    FOCAL_GAMMA,
    pad_masks,
    pairwise_dice,
    pairwise_focal,
)

_LOG_EPSILON = 1e-8


@dataclass(frozen=True)
class MatcherWeights:
    """Weights of the terms of the matching cost; those of the released VD-IT.

    Attributes:
        classes: focal cost of the class, mean over the frames that show the object.
        box_l1: L1 distance of the boxes, mean over all frames.
        box_giou: negative generalized IoU of the boxes, mean over all frames.
        mask_focal: focal loss of the stride-2 masks, mean over the clip.
        mask_dice: negative dice coefficient of the stride-2 masks of the whole clip.
    """

    classes: float = 2.0
    box_l1: float = 5.0
    box_giou: float = 2.0
    mask_focal: float = 2.0
    mask_dice: float = 5.0


class TemporalMatcher:
    """Assign one query to every object of a clip, the same query in all frames.

    Args:
        weights: of the terms of the cost; None takes those of the released VD-IT.

    Reference: Wu et al., ReferFormer, CVPR 2022, Sec. 3.5.
    """

    def __init__(self, weights: MatcherWeights | None = None) -> None:
        self.weights = weights or MatcherWeights()

    @torch.no_grad()
    def cost_matrix(self, layer: LayerOutput, targets: Sequence[Target]) -> list[Tensor]:
        """Compute what each query costs as each object.

        Args:
            layer: predictions of one decoder layer for B clips.
            targets: the objects of each of the B clips; masks up to the size of the padded video.

        Returns:
            B matrices [Q, N] of at least float32.

        Raises:
            ValueError: the numbers of clips or frames disagree, or masks exceed the prediction.
        """
        num_clips, num_frames = layer.class_logits.shape[:2]
        if len(targets) != num_clips:
            raise ValueError(f"expected {num_clips} targets, one per clip, got {len(targets)}")
        for target in targets:
            if target.valid.shape[1] != num_frames:
                raise ValueError(
                    f"expected targets of {num_frames} frames, got {target.valid.shape[1]}"
                )
        low = layer.mask_logits_low.transpose(1, 2)
        with torch.autocast(low.device.type, enabled=False):
            return [
                self._clip_cost(layer.class_logits[b], layer.boxes_cxcywh[b], low[b], target)
                for b, target in enumerate(targets)
            ]

    def __call__(self, layer: LayerOutput, targets: Sequence[Target]) -> Match:
        """Choose the pairs of least total cost in every clip.

        Args:
            layer: predictions of one decoder layer for B clips.
            targets: the objects of each of the B clips.

        Returns:
            min(Q, N) pairs of every clip, ordered by clip, then object; on the device of `layer`.

        Raises:
            ValueError: see `cost_matrix`.
            FloatingPointError: a cost is not finite.
        """
        costs = self.cost_matrix(layer, targets)
        counts = [cost.shape[1] for cost in costs]
        pairs = []
        for b, cost in enumerate(torch.cat(costs, dim=1).cpu().split(counts, dim=1)):
            if not cost.isfinite().all():
                raise FloatingPointError(f"the matching cost of clip {b} is not finite")
            objects, queries = linear_sum_assignment(cost.T.numpy())
            pairs += [(b, q, n) for q, n in zip(queries, objects, strict=True)]
        device = layer.class_logits.device
        clips, queries, objects = torch.tensor(pairs, dtype=torch.long).reshape(-1, 3).T.to(device)
        return Match(clips, queries, objects)

    def _clip_cost(
        self, class_logits: Tensor, boxes: Tensor, masks: Tensor, true: Target
    ) -> Tensor:
        """[Q, N] from class logits [T, Q], boxes [T, Q, 4] and mask logits [Q, T, H/2, W/2]."""
        weights = self.weights
        dtype = torch.promote_types(boxes.dtype, torch.float32)
        boxes, true_boxes = boxes.to(dtype), true.boxes_cxcywh.transpose(0, 1).to(dtype)
        box_l1 = torch.cdist(boxes, true_boxes, p=1).mean(dim=0)
        giou = generalized_box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(true_boxes)).mean(dim=0)
        height, width = masks.shape[-2:]
        true_masks = pad_masks(true.masks, (2 * height, 2 * width))[..., 1::2, 1::2].flatten(1)
        masks = masks.flatten(1)
        return (
            weights.classes * _class_cost(class_logits.to(dtype), true.valid)
            + weights.box_l1 * box_l1
            - weights.box_giou * giou
            + weights.mask_focal * pairwise_focal(masks, true_masks)
            - weights.mask_dice * pairwise_dice(masks, true_masks)
        )


def _class_cost(logits: Tensor, valid: Tensor) -> Tensor:
    """[Q, N] from logits [T, Q] and valid [N, T]: gain of saying yes in the object's frames."""
    probs = logits.sigmoid()
    yes = FOCAL_ALPHA * (1 - probs) ** FOCAL_GAMMA * -(probs + _LOG_EPSILON).log()
    no = (1 - FOCAL_ALPHA) * probs**FOCAL_GAMMA * -(1 - probs + _LOG_EPSILON).log()
    weight = valid.to(logits.dtype)
    return (yes - no).T @ (weight / weight.sum(dim=1, keepdim=True).clamp(min=1)).T
