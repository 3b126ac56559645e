"""What flows between files, datasets, models and metrics.

Axes: B clips, T frames, N objects, Q queries, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Target:
    """The true objects that one caption names in one clip.

    Attributes:
        boxes_cxcywh: [N, T, 4] in 0..1 of the unpadded frame; zero where the object is absent.
        masks: [N, T, H, W] bool, padded like the video.
        valid: [N, T] bool, True where the object is in the frame.
        size: (height, width) of the unpadded frame in pixels.
        labelled: [T] bool, True where the truth of a frame is known; None = in all of them. In the
            other frames boxes are zero, masks are empty and nothing is valid, which says nothing
            about the objects: a loss takes `select_frames` of both sides.
    """

    boxes_cxcywh: Tensor
    masks: Tensor
    valid: Tensor
    size: tuple[int, int]
    labelled: Tensor | None = None

    def to(self, device: torch.device | str) -> Target:
        return Target(
            self.boxes_cxcywh.to(device),
            self.masks.to(device),
            self.valid.to(device),
            self.size,
            None if self.labelled is None else self.labelled.to(device),
        )

    def select_frames(self, frames: Tensor) -> Target:
        """The same objects in some frames only; `frames` are [T'] indices."""
        return Target(
            self.boxes_cxcywh[:, frames],
            self.masks[:, frames],
            self.valid[:, frames],
            self.size,
            None if self.labelled is None else self.labelled[frames],
        )


@dataclass
class VideoBatch:
    """Clips of one length, padded at the bottom and the right to one size.

    Attributes:
        video: [B, T, 3, H, W] float in 0..1.
        padding_mask: [B, H, W] bool, True = padded.
        sizes: (height, width) of each unpadded clip in pixels.
    """

    video: Tensor
    padding_mask: Tensor
    sizes: list[tuple[int, int]]

    def to(self, device: torch.device | str) -> VideoBatch:
        return VideoBatch(self.video.to(device), self.padding_mask.to(device), self.sizes)


@dataclass
class LayerOutput:
    """Predictions of one decoder layer for every query.

    Attributes:
        class_logits: [B, T, Q] logit of "this query is the named object".
        boxes_cxcywh: [B, T, Q, 4] in 0..1 of the unpadded frame.
        mask_maps: [B, T, Q, 16, H/8, W/8] output of the dynamic convolution.
        mask_logits_low: [B, T, Q, H/2, W/2], the same numbers laid out at stride 2.
    """

    class_logits: Tensor
    boxes_cxcywh: Tensor
    mask_maps: Tensor

    @property
    def mask_logits_low(self) -> Tensor:
        B, T, Q = self.mask_maps.shape[:3]
        low = torch.pixel_shuffle(self.mask_maps.flatten(0, 2), 4)
        return low.view(B, T, Q, *low.shape[-2:])


@dataclass
class Match:
    """Which query stands for which true object; K pairs over the whole batch.

    Attributes:
        clips: [K] index of the clip in the batch.
        queries: [K] index of the query.
        objects: [K] index of the object in the clip's target.
    """

    clips: Tensor
    queries: Tensor
    objects: Tensor
