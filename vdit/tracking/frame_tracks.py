"""What a tracker says of one frame, and of a whole video.

Boxes are xyxy in shares of the frame; those of files are xywh in pixels from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vdit.boxes import box_iou
from vdit.datasets.mot_files import BoxTracks

__all__ = ["FrameTracks", "join_frames", "keep_best", "shares_of"]


@dataclass(frozen=True)
class FrameTracks:
    """Objects of one frame, n of them.

    Attributes:
        ids: [n] int64, none twice.
        boxes_xyxy: [n, 4] float32 in shares of the frame.
        scores: [n] float32 in 0..1.
    """

    ids: Tensor
    boxes_xyxy: Tensor
    scores: Tensor


def join_frames(
    frames: Sequence[FrameTracks], size: tuple[int, int], first_frame: int = 1
) -> BoxTracks:
    """Turn the frames of a video into rows of a file of results.

    Args:
        frames: one entry a frame, in order.
        size: (H, W) of the video in pixels.
        first_frame: number of the first of them.
    """
    height, width = size
    counts = [len(frame.ids) for frame in frames]
    numbers = np.repeat(np.arange(first_frame, first_frame + len(frames)), counts)
    if not sum(counts):
        empty = np.empty(0)
        return BoxTracks(numbers, empty.astype(np.int64), np.empty((0, 4)), empty)
    edges = torch.cat([frame.boxes_xyxy for frame in frames]).double().cpu().numpy()
    edges = edges * [width, height, width, height]
    boxes = np.hstack([edges[:, :2] + 1, edges[:, 2:] - edges[:, :2]])
    ids = torch.cat([frame.ids for frame in frames]).cpu().numpy()
    scores = torch.cat([frame.scores for frame in frames]).double().cpu().numpy()
    return BoxTracks(numbers, ids, boxes, scores)


def shares_of(tracks: BoxTracks, frame: int, size: tuple[int, int]) -> Tensor:
    """Give the boxes of one frame of a file: [M, 4] float32 xyxy in shares of the frame.

    Args:
        tracks: rows of a file.
        frame: its number there.
        size: (H, W) of the video in pixels.
    """
    height, width = size
    rows = tracks.boxes_xywh[tracks.frames == frame]
    edges = np.hstack([rows[:, :2] - 1, rows[:, :2] - 1 + rows[:, 2:]])
    return torch.from_numpy(edges / [width, height, width, height]).float()


def keep_best(boxes_xyxy: Tensor, scores: Tensor, most_overlap: float) -> Tensor:
    """Drop every box that overlaps a better one too much (non-maximum suppression).

    Args:
        boxes_xyxy: [n, 4].
        scores: [n].
        most_overlap: IoU that two kept boxes may have.

    Returns:
        [m] positions of the kept ones, best first; of equal scores the earlier one is better.
    """
    overlap = box_iou(boxes_xyxy, boxes_xyxy)
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if all(overlap[index, other] <= most_overlap for other in kept):
            kept.append(index)
    return torch.tensor(kept, dtype=torch.long, device=boxes_xyxy.device)
