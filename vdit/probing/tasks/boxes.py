"""Boxes of objects that are followed through clips.

B clips, Q boxes that are asked for, T frames, T' feature frames, C channels, h x w cells. A box is
(x0, y0, x1, y1) in shares of the window that the clip shows. The metrics are in percent.

References: Patraucean et al., Perception Test (mean over tracks); Carreira et al., Scaling 4D
representations (readout; boxes of Waymo Open); van Steenkiste et al., Moving Off-the-Grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.boxes import generalized_box_iou
from vdit.datasets.truth_videos import BoxTrackVideo
from vdit.datasets.videos import VideoDataset
from vdit.metrics.box_tracks import frame_iou, mean_over_videos, track_iou
from vdit.models.probes.query_readout import BoxReadout, BoxReadoutConfig
from vdit.models.probes.query_transformer import QueryTransformerConfig
from vdit.models.probes.readout import ReadoutConfig, resize_time
from vdit.models.probes.track_readout import BoxTrackReadout
from vdit.probing.clip_views import ClipView
from vdit.probing.learned_config import LearnedProbeConfig
from vdit.probing.probe_task import FeatureShape, Record, Tensors
from vdit.probing.tasks.track_questions import (
    Asked,
    add_to_query,
    as_targets,
    choose_questions,
    draw_questions,
    join_views,
    mean_where,
    new_frames,
    since_question,
)
from vdit.probing.tasks.track_task import TrackTask


@dataclass(frozen=True)
class BoxHead:
    """What follows boxes, and how it learns.

    Attributes:
        kind: "readout" is the attention readout of Scaling 4D representations, "recurrent" the one
            of MooG with a state for each box.
        asked: "start" asks for the boxes of the first frame of a clip, "first" for every object in
            the first frame in which it has a box; only "recurrent" can be asked in the middle.
        min_area: share of the window below which a box is not asked for.
        num_queries: boxes of a training clip; a test asks for all.
        width: of queries; None = as published, 1024 or 512.
        num_heads: of attention; None = as published, 4 or 8.
        num_layers: of "recurrent".
        embedding_width: of the box, in "readout".
        is_relative: the head says how far the edges are from where they were asked for, so that an
            untrained one leaves them there; not so in the papers, but it needs far fewer clips.
        position: loss of the corners.
        beta: where "smooth_l1" becomes linear, in shares of the window.
        giou_weight: of the loss of the generalized IoU.
    """

    kind: Literal["readout", "recurrent"] = "readout"
    asked: Asked = "start"
    min_area: float = 0.005
    num_queries: int = 25
    width: int | None = None
    num_heads: int | None = None
    num_layers: int = 3
    embedding_width: int = 512
    is_relative: bool = False
    position: Literal["l2", "smooth_l1"] = "smooth_l1"
    beta: float = 1.0
    giou_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.kind == "readout" and self.asked == "first":
            raise ValueError(
                'expected head.asked "start" with head.kind "readout", which knows no other '
                'frame, got "first"; use "recurrent"'
            )
        if self.num_queries < 1 or self.beta <= 0:
            raise ValueError(
                "expected head.num_queries of 1 or more and head.beta above 0, got "
                f"{self.num_queries} and {self.beta}"
            )


@dataclass(frozen=True)
class BoxesConfig(LearnedProbeConfig):
    """Boxes as a learned probe.

    Attributes:
        head: what follows them.
    """

    head: BoxHead = field(default_factory=BoxHead)


class Boxes(TrackTask[BoxHead, BoxTrackVideo]):
    """Follow boxes through clips; those of all clips of a video are scored together.

    Boxes are cut at the edges of the window and do not count where nothing is left of them. The
    frame of the question does not count either.

    Args:
        head: what follows them.
        view: how clips are cut out.
    """

    metrics: Mapping[str, bool] = {"mean_iou": True, "frame_iou": True}
    kind_of_video = BoxTrackVideo
    followed = "boxes"

    @classmethod
    def build(cls, config: BoxesConfig, dataset: VideoDataset[Any]) -> Boxes:
        """Make the task of a configuration."""
        return cls(config.head, config.view)

    def make_targets(self, video: BoxTrackVideo, view: ClipView, is_training: bool) -> Tensors:
        """Give the boxes that are asked for.

        Returns:
            "queries" [Q, 4], "query_frames" [Q], "asked" [Q] bool, False = padding; "boxes"
            [Q, T, 4], 0 where not "labelled" [Q, T] bool.
        """
        truth, frames = video.boxes(), list(view.indices)
        corners = truth.boxes_xyxy[:, frames]
        known = truth.labelled[:, frames] & new_frames(view)
        corners = np.where(known[..., None], corners, 0.0)
        boxes = view.to_view(corners.reshape(*known.shape, 2, 2)).clip(0, 1).reshape(corners.shape)
        areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
        labelled = known & (areas > 0)
        boxes = np.where(labelled[..., None], boxes, 0.0)
        askable = labelled & (areas >= self.head.min_area)
        objects, begins = choose_questions(askable, self.head.asked)
        if is_training:
            kept = draw_questions(len(objects), self.head.num_queries, video, view)
            objects, begins = objects[kept], begins[kept]
        arrays = {
            "queries": boxes[objects, begins],
            "query_frames": begins,
            "boxes": boxes[objects],
            "labelled": labelled[objects],
        }
        return as_targets(arrays, self.head.num_queries if is_training else None)

    def build_head(self, shape: FeatureShape) -> nn.Module:
        """Make the head of this kind, (features [B, T', C, h, w], boxes) -> [B, Q, T, 4]."""
        head = self.head
        if head.kind == "readout":
            readout = ReadoutConfig(
                shape.channels, shape.steps, head.width or 1024, head.num_heads or 4
            )
            return BoxReadout(BoxReadoutConfig(readout, self.view.num_frames, head.embedding_width))
        width = head.width or 512
        return BoxTrackReadout(
            QueryTransformerConfig(
                shape.channels, width, head.num_layers, head.num_heads or 8, 4 * width
            )
        )

    def losses(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """Loss of the corners and of the generalized IoU, over the frames with boxes."""
        boxes, truth = self._follow(head, features, targets).float(), targets["boxes"]
        counted = since_question(targets)
        if self.head.position == "l2":
            position = F.mse_loss(boxes, truth, reduction="none")
        else:
            position = F.smooth_l1_loss(boxes, truth, reduction="none", beta=self.head.beta)
        # a box that is inside out is empty here; turned around it would please this term for good
        solid = torch.cat([boxes[..., :2], torch.maximum(boxes[..., :2], boxes[..., 2:])], dim=-1)
        overlap = generalized_box_iou(solid[..., None, :], truth[..., None, :])[..., 0, 0]
        terms = {
            "position": mean_where(position.mean(-1), counted),
            "giou": mean_where(1 - overlap, counted),
        }
        return {"loss": terms["position"] + self.head.giou_weight * terms["giou"], **terms}

    def answer(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """Give "boxes" [B, Q, T, 4]."""
        if not targets["queries"].shape[1]:  # nothing was asked
            return {"boxes": targets["boxes"]}
        return {"boxes": self._follow(head, features, targets).float()}

    def blind_rule(self, training: Iterable[Tensors]) -> Callable[[Tensors], Tensors]:
        """Boxes stay where they were asked for."""
        return lambda targets: {
            "boxes": targets["queries"][:, None].expand_as(targets["boxes"]).clone()
        }

    def score(self, answers: Sequence[Tensors], targets: Sequence[Tensors]) -> Record:
        """Score all boxes after the frame of their question, by track and all alike."""
        truth, boxes = join_views(targets, "boxes"), join_views(answers, "boxes")
        times = np.arange(truth.shape[1])
        after = times > join_views(targets, "query_frames")[:, None]
        counted = join_views(targets, "labelled") & after
        tracks = track_iou(truth, boxes, counted)
        over_frames = frame_iou(truth, boxes, counted)
        return {
            "num_boxes": len(truth),
            "tracks": [float(value) for value in tracks[~np.isnan(tracks)]],
            "frames": None if math.isnan(over_frames) else over_frames,
        }

    def summarize(self, records: Sequence[Record]) -> dict[str, float]:
        """Mean over videos of the mean over tracks, and over all boxes of a video alike."""
        frames = [record["frames"] for record in records]
        return {
            "mean_iou": 100 * mean_over_videos([record["tracks"] for record in records]),
            "frame_iou": 100
            * mean_over_videos([math.nan if value is None else value for value in frames]),
        }

    def _follow(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensor:
        queries = targets["queries"]
        if self.head.kind == "readout":  # its numbers are not held within 0..1
            boxes = head(features, queries)
            return boxes + queries[:, :, None] if self.head.is_relative else boxes
        features = resize_time(features, self.view.num_frames)
        boxes = head(features, queries, targets["query_frames"])
        return add_to_query(boxes, queries) if self.head.is_relative else boxes
