"""Pairs of frames that a tracker is trained on: a frame, and one shortly before it.

Axes: N objects, C channels, h x w feature cells. Boxes are cxcywh in 0..1 of the frame.

Reference: Meinhardt et al., TrackFormer, CVPR 2022, Sec. 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from vdit.boxes import xyxy_to_cxcywh
from vdit.datasets.truth_videos import BoxTrackVideo
from vdit.tracking.frame_features import FrameFeatures

__all__ = ["FrameBatch", "FramePairs", "PairBatch", "TrainingFrame", "collate_pairs"]


@dataclass
class TrainingFrame:
    """A frame of a pair.

    Attributes:
        maps: [C, h, w] of each level.
        boxes: [N, 4], cut at the border of the frame.
        identities: [N] long.
    """

    maps: list[Tensor]
    boxes: Tensor
    identities: Tensor


@dataclass
class FrameBatch:
    """Frames of several videos, padded at the bottom and the right to one size.

    Attributes:
        maps: [B, C, h, w] of each level.
        padding_masks: [B, h, w] bool of each level, True = padded.
        boxes: [N, 4] of each frame.
        identities: [N] of each frame.
    """

    maps: list[Tensor]
    padding_masks: list[Tensor]
    boxes: list[Tensor]
    identities: list[Tensor]

    def to(self, device: torch.device) -> FrameBatch:
        fields = (self.maps, self.padding_masks, self.boxes, self.identities)
        return FrameBatch(*([each.to(device) for each in tensors] for tensors in fields))


PairBatch = tuple[FrameBatch, FrameBatch]
"""Frames before, and frames now."""


class FramePairs(Dataset[tuple[TrainingFrame, TrainingFrame]]):
    """Every frame of some videos but the first ones, with a frame drawn from those before it.

    Args:
        videos: with boxes.
        features: maps of their frames.
        previous_range: the frame before is 1 to so many frames earlier.
        seed: of the draw.

    Raises:
        ValueError: the range is below 1, or no video has two frames.
    """

    def __init__(
        self,
        videos: Sequence[BoxTrackVideo],
        features: FrameFeatures,
        previous_range: int,
        seed: int,
    ) -> None:
        if previous_range < 1:
            raise ValueError(f"expected previous_range >= 1, got {previous_range}")
        self.videos, self.features = list(videos), features
        self.previous_range, self.seed = previous_range, seed
        self.truths = [video.boxes() for video in self.videos]
        self.places = [
            (v, t) for v, video in enumerate(self.videos) for t in range(1, len(video.frame_names))
        ]
        if not self.places:
            raise ValueError("expected videos of two frames and more, found none to train on")

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: tuple[int, int]) -> tuple[TrainingFrame, TrainingFrame]:
        epoch, index = key
        v, t = self.places[index]
        rng = np.random.default_rng((self.seed, epoch, index))
        before = t - int(rng.integers(1, min(self.previous_range, t) + 1))
        return self.frame(v, before), self.frame(v, t)

    def frame(self, v: int, t: int) -> TrainingFrame:
        """Give frame t of video v."""
        truth = self.truths[v]
        boxes = torch.from_numpy(truth.boxes_xyxy[:, t]).float().clamp(0, 1)
        inside = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)
        seen = torch.nonzero(torch.from_numpy(truth.labelled[:, t]) & inside).squeeze(1)
        return TrainingFrame(
            self.features.read(self.videos[v], t), xyxy_to_cxcywh(boxes[seen]), seen
        )


def collate_pairs(pairs: Sequence[tuple[TrainingFrame, TrainingFrame]]) -> PairBatch:
    """Make one batch of all first frames and one of all second ones."""
    return _collate([pair[0] for pair in pairs]), _collate([pair[1] for pair in pairs])


def _collate(frames: Sequence[TrainingFrame]) -> FrameBatch:
    maps, masks = [], []
    for level in zip(*(frame.maps for frame in frames), strict=True):
        height, width = (max(x.shape[axis] for x in level) for axis in (-2, -1))
        borders = [(0, width - x.shape[-1], 0, height - x.shape[-2]) for x in level]
        maps.append(torch.stack([F.pad(x, b) for x, b in zip(level, borders, strict=True)]))
        inside = [torch.zeros(x.shape[-2:], dtype=torch.bool) for x in level]
        masks.append(
            torch.stack([F.pad(x, b, value=True) for x, b in zip(inside, borders, strict=True)])
        )
    return FrameBatch(
        maps, masks, [frame.boxes for frame in frames], [frame.identities for frame in frames]
    )
