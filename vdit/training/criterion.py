"""The training loss: seven terms for every decoder layer.

Axes: B clips, T frames, Q queries, K matched pairs, S objects of all clips, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from vdit.boxes import cxcywh_to_xyxy, generalized_box_iou
from vdit.structures import LayerOutput, Match, Target
from vdit.training.losses import dice_loss, pad_masks, sigmoid_focal_loss


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms in the total; those of the released VD-IT.

    Attributes:
        ce: focal loss of the class of all queries in all frames.
        bbox: L1 distance of the boxes of the matched queries.
        giou: 1 - generalized IoU of these boxes.
        mask: focal loss of the refined masks, and of the masks at stride 2.
        dice: dice loss of the refined masks, and of the masks at stride 2.
    """

    ce: float = 2.0
    bbox: float = 5.0
    giou: float = 2.0
    mask: float = 2.0
    dice: float = 5.0


class Criterion:
    """Compare the predictions of all decoder layers with the truth.

    Every term is a sum over the batch divided by the number of (object, frame) pairs in which the
    object is seen (mean over the processes, at least 1). Frames that do not show the object count
    in the box terms, with a box of zeros, and in the mask terms, with an empty mask. A mask is one
    volume over all frames.

    Args:
        weights: of the terms in the total; None takes those of the released VD-IT.

    Reference: Wu et al., ReferFormer, CVPR 2022, Sec. 3.5; Zhu et al., VD-IT, ECCV 2024.
    """

    def __init__(self, weights: LossWeights | None = None) -> None:
        self.weights = weights or LossWeights()

    def __call__(
        self,
        layers: Sequence[LayerOutput],
        matches: Sequence[Match],
        mask_logits: Sequence[Tensor],
        targets: Sequence[Target],
        num_boxes: float | None = None,
    ) -> dict[str, Tensor]:
        """Compute the loss terms, not yet weighted.

        Args:
            layers: predictions of each decoder layer; the last one is the main output.
            matches: the K pairs of each layer.
            mask_logits: [K, T, H, W] refined masks of the pairs of each layer, in their order.
            targets: the objects of each of the B clips; masks up to the size of the padded video.
            num_boxes: what sums are divided by, where these clips are a part of a step; at least 1
                is taken. None = count these clips, mean over the processes.

        Returns:
            Scalars loss_ce, loss_bbox, loss_giou, loss_mask, loss_dice, loss_mask_low and
            loss_dice_low of the last layer, and those of layer l before it with the suffix _l.

        Raises:
            ValueError: the numbers of layers, clips or pairs disagree, or masks do not fit.
            FloatingPointError: a term is not finite; the message names it.
        """
        if not len(layers) == len(matches) == len(mask_logits) or not layers:
            raise ValueError(
                f"expected matches and masks for every layer, got {len(layers)} layers, "
                f"{len(matches)} matches and {len(mask_logits)} masks"
            )
        truth = _Truth.gather(targets, layers[-1].class_logits.shape[0], mask_logits[-1])
        if num_boxes is None:
            divisor = _mean_over_processes(truth.valid.sum()).clamp(min=1)
        else:
            divisor = torch.tensor(max(num_boxes, 1.0), device=truth.valid.device)
        losses: dict[str, Tensor] = {}
        suffixes = ["", *(f"_{index}" for index in range(len(layers) - 1))]
        order = [len(layers) - 1, *range(len(layers) - 1)]
        for suffix, index in zip(suffixes, order, strict=True):
            sums = _layer_sums(layers[index], matches[index], mask_logits[index], truth)
            losses |= {f"loss_{name}{suffix}": value / divisor for name, value in sums.items()}
        _check_finite(losses)
        return losses

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Add the terms with their weights.

        Args:
            losses: what the call returned.

        Returns:
            Scalar.

        Raises:
            AttributeError: a term has no weight.
        """
        return torch.stack(
            [value * getattr(self.weights, name.split("_")[1]) for name, value in losses.items()]
        ).sum()


@dataclass(frozen=True)
class _Truth:
    """The objects of all clips in one row: boxes [S, T, 4], valid [S, T], masks [S, T, H, W]."""

    boxes_cxcywh: Tensor
    valid: Tensor
    masks: Tensor
    starts: Tensor  # [B] row of the first object of each clip

    @classmethod
    def gather(cls, targets: Sequence[Target], num_clips: int, mask_logits: Tensor) -> _Truth:
        if len(targets) != num_clips:
            raise ValueError(f"expected {num_clips} targets, one per clip, got {len(targets)}")
        counts = torch.tensor([len(target.valid) for target in targets])
        height, width = mask_logits.shape[-2:]
        return cls(
            torch.cat([target.boxes_cxcywh for target in targets]),
            torch.cat([target.valid for target in targets]),
            torch.cat([pad_masks(target.masks, (height, width)) for target in targets]),
            (counts.cumsum(0) - counts).to(mask_logits.device),
        )

    def rows(self, match: Match) -> Tensor:
        return self.starts[match.clips] + match.objects


def _layer_sums(
    layer: LayerOutput, match: Match, mask_logits: Tensor, truth: _Truth
) -> dict[str, Tensor]:
    """The seven terms of one layer, summed over the batch."""
    if len(mask_logits) != len(match.clips):
        raise ValueError(
            f"expected the masks of the {len(match.clips)} matched pairs, got {len(mask_logits)}"
        )
    rows = truth.rows(match)
    classes = torch.zeros_like(layer.class_logits)
    classes[match.clips, :, match.queries] = truth.valid[rows].to(classes.dtype)
    boxes = layer.boxes_cxcywh[match.clips, :, match.queries]
    low = layer.mask_logits_low[match.clips, :, match.queries]
    masks = truth.masks[rows]
    return {
        "ce": sigmoid_focal_loss(layer.class_logits, classes).sum(),
        **_box_sums(boxes, truth.boxes_cxcywh[rows]),
        "mask": _mean_focal(mask_logits, masks).sum(),
        "dice": dice_loss(mask_logits, masks).sum(),
        "mask_low": _mean_focal(low, masks[..., 1::2, 1::2]).sum(),
        "dice_low": dice_loss(low, masks[..., 1::2, 1::2]).sum(),
    }


def _box_sums(boxes: Tensor, true_boxes: Tensor) -> dict[str, Tensor]:
    """Sums over pairs, frames and coordinates from boxes [K, T, 4]."""
    boxes = boxes.to(true_boxes.dtype)
    giou = generalized_box_iou(
        cxcywh_to_xyxy(boxes)[..., None, :], cxcywh_to_xyxy(true_boxes)[..., None, :]
    )
    return {"bbox": (boxes - true_boxes).abs().sum(), "giou": (1 - giou).sum()}


def _mean_focal(logits: Tensor, masks: Tensor) -> Tensor:
    """[K] means over all pixels of [K, T, H, W]."""
    return sigmoid_focal_loss(logits, masks).flatten(1).mean(dim=1)


def _mean_over_processes(count: Tensor) -> Tensor:
    count = count.to(torch.float32)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
        count = count / dist.get_world_size()
    return count


def _check_finite(losses: Mapping[str, Tensor]) -> None:
    values = torch.stack(list(losses.values())).detach()
    if not values.isfinite().all():
        broken = [name for name, value in losses.items() if not value.isfinite()]
        raise FloatingPointError(f"{', '.join(broken)} not finite")
