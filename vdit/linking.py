"""Keep the identity of queries from one window of a video to the next."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def link_queries(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Find which query carries on which by mask IoU on the frames that two windows share.

    Args:
        before: [Q, T, H, W] bool, masks of the earlier window on the shared frames.
        after: [Q, T, H, W] bool, masks of the later window on the same frames.

    Returns:
        order [Q] int, the query of `after` that carries on each query of `before`, one to one with
        the largest total IoU; and the IoU [Q] of each pair, 0 where both masks are empty.
    """
    old, new = before.flatten(1).float(), after.flatten(1).float()
    intersection = old @ new.T
    union = old.sum(1)[:, None] + new.sum(1)[None] - intersection
    iou = (intersection / union.clamp(min=1)).cpu()
    rows, columns = linear_sum_assignment(iou.numpy(), maximize=True)
    order = torch.from_numpy(columns).to(before.device)
    return order, iou[rows, columns].to(before.device)
