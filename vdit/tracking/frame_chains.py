"""Chains of frames that a tracker is trained on: each is shortly after the one before.

Axes: N objects, C channels, h x w feature cells. Boxes are cxcywh in 0..1 of the frame.

References: Meinhardt et al., TrackFormer, CVPR 2022, Sec. 3.3 (two frames); Zeng et al., MOTR, ECCV
2022, Sec. 3.5 (more of them).
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

__all__ = ["ChainBatch", "FrameBatch", "FrameChains", "TrainingFrame", "collate_chains"]


@dataclass
class TrainingFrame:
    """A frame of a chain.

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


ChainBatch = list[FrameBatch]
"""The first frames of all chains, the second ones, and so on."""


class FrameChains(Dataset[list[TrainingFrame]]):
    """Every frame of some videos that has enough before it, with frames drawn from those.

    Args:
        videos: with boxes.
        features: maps of their frames.
        num_frames: of a chain.
        previous_range: a frame is 1 to so many frames after the one before it in the chain.
        seed: of the draw.

    Raises:
        ValueError: a chain is shorter than 2 frames, the range is below 1, or no video is as long
            as a chain.
    """

    def __init__(
        self,
        videos: Sequence[BoxTrackVideo],
        features: FrameFeatures,
        num_frames: int,
        previous_range: int,
        seed: int,
    ) -> None:
        if num_frames < 2:
            raise ValueError(f"expected num_frames >= 2, got {num_frames}")
        if previous_range < 1:
            raise ValueError(f"expected previous_range >= 1, got {previous_range}")
        self.videos, self.features = list(videos), features
        self.num_frames, self.previous_range, self.seed = num_frames, previous_range, seed
        self.truths = [video.boxes() for video in self.videos]
        self.places = [
            (v, t)
            for v, video in enumerate(self.videos)
            for t in range(num_frames - 1, len(video.frame_names))
        ]
        if not self.places:
            raise ValueError(
                f"expected videos of {num_frames} frames and more, found none to train on"
            )

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: tuple[int, int]) -> list[TrainingFrame]:
        epoch, index = key
        v, t = self.places[index]
        rng = np.random.default_rng((self.seed, epoch, index))
        times = [t]
        for needed in reversed(range(self.num_frames - 1)):  # frames further ahead of this one
            farthest = min(self.previous_range, times[0] - needed)
            times.insert(0, times[0] - int(rng.integers(1, farthest + 1)))
        return [self.frame(v, each) for each in times]

    def frame(self, v: int, t: int) -> TrainingFrame:
        """Give frame t of video v."""
        truth = self.truths[v]
        boxes = torch.from_numpy(truth.boxes_xyxy[:, t]).float().clamp(0, 1)
        inside = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)
        seen = torch.nonzero(torch.from_numpy(truth.labelled[:, t]) & inside).squeeze(1)
        return TrainingFrame(
            self.features.read(self.videos[v], t), xyxy_to_cxcywh(boxes[seen]), seen
        )


def collate_chains(chains: Sequence[Sequence[TrainingFrame]]) -> ChainBatch:
    """Make one batch of all first frames, one of all second ones, and so on."""
    return [_collate(frames) for frames in zip(*chains, strict=True)]


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
