"""Association by overlap alone: the baseline that a tracker has to beat on the same detections.

Reference: Bochinski et al., High-speed tracking-by-detection without using image information, AVSS
2017; pairs are chosen together (Hungarian) in place of one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vdit.boxes import box_iou
from vdit.tracking.frame_tracks import FrameTracks

__all__ = ["IouTracker"]


@dataclass
class _Track:
    identity: int
    box: Tensor
    unseen: int = 0


class IouTracker:
    """Give a box the identity of the box that it overlaps most in the frame before.

    Pairs are chosen for the largest sum of IoU. Boxes without a partner begin tracks.

    Args:
        least_iou: of a pair, in 0..1.
        patience: frames without a box after which a track may still go on, from its last box.
    """

    def __init__(self, least_iou: float = 0.3, patience: int = 0) -> None:
        if not 0 < least_iou <= 1 or patience < 0:
            raise ValueError(
                f"expected least_iou in 0..1, not 0, and patience >= 0, got {least_iou} and "
                f"{patience}"
            )
        self.least_iou, self.patience = least_iou, patience
        self._tracks: list[_Track] = []
        self._next_identity = 1

    def step(self, boxes_xyxy: Tensor, scores: Tensor) -> FrameTracks:
        """Name the boxes of the next frame.

        Args:
            boxes_xyxy: [n, 4] in any unit.
            scores: [n].
        """
        owners = self._pair(boxes_xyxy)
        for track in self._tracks:
            track.unseen += 1
        for n, box in enumerate(boxes_xyxy):
            if n not in owners:
                owners[n] = _Track(self._next_identity, box)
                self._tracks.append(owners[n])
                self._next_identity += 1
            owners[n].box, owners[n].unseen = box, 0
        self._tracks = [track for track in self._tracks if track.unseen <= self.patience]
        ids = torch.tensor([owners[n].identity for n in range(len(boxes_xyxy))], dtype=torch.long)
        return FrameTracks(ids, boxes_xyxy, scores)

    def _pair(self, boxes: Tensor) -> dict[int, _Track]:
        """Position of a box -> its track."""
        if not self._tracks or not len(boxes):
            return {}
        overlap = box_iou(torch.stack([track.box for track in self._tracks]), boxes).numpy()
        allowed = np.where(overlap >= self.least_iou, overlap, 0)
        rows, columns = linear_sum_assignment(allowed, maximize=True)
        return {
            int(n): self._tracks[k] for k, n in zip(rows, columns, strict=True) if allowed[k, n]
        }
