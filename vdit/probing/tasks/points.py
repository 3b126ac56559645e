"""Points that are followed through clips.

B clips, Q points that are asked for, T frames, T' feature frames, C channels, h x w cells. A point
is (x, y) in shares of the window that the clip shows; distances are in pixels of a window of 256 x
256. The metrics are in percent.

References: Doersch et al., TAP-Vid (metrics) and TAPIR, ICCV 2023 (loss); Carreira et al., Scaling
4D representations; van Steenkiste et al., Moving Off-the-Grid (readouts).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.datasets.truth_videos import PointTrackVideo
from vdit.datasets.videos import VideoDataset
from vdit.metrics.points import EVALUATION_SIZE, PointScores, score_points, summarize
from vdit.metrics.points import to_evaluation_size as to_pixels
from vdit.models.probes.query_readout import PointReadout, PointReadoutConfig
from vdit.models.probes.query_transformer import QueryTransformerConfig
from vdit.models.probes.readout import ReadoutConfig, resize_time
from vdit.models.probes.track_readout import PointTrackReadout
from vdit.models.probes.tracks import PointTracks
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
class PointHead:
    """What follows points, and how it learns.

    Attributes:
        kind: "readout" is the attention readout of Scaling 4D representations, "recurrent" the one
            of MooG with a state for each point.
        asked: "start" asks for the points that are seen in the first frame of a clip, "first" for
            every point in the first frame in which it is seen, as TAP-Vid does; only "recurrent"
            can be asked in the middle of a clip.
        num_queries: points of a training clip; a test asks for all.
        width: of queries; None = as published, 1024 or 512.
        num_heads: of attention.
        num_layers: of "recurrent".
        embedding_width: of the location, in "readout".
        frames_per_tile: that one query of "readout" answers.
        is_relative: the head says how far a point is from where it was asked for, so that an
            untrained one leaves it there; not so in the papers, but it needs far fewer clips.
        huber_px: where the loss of the position becomes linear.
        certain_px: a position is called certain if its error is below.
        position_weight: of the Huber loss, beside two binary cross entropies.
    """

    kind: Literal["readout", "recurrent"] = "readout"
    asked: Asked = "start"
    num_queries: int = 64
    width: int | None = None
    num_heads: int = 8
    num_layers: int = 3
    embedding_width: int = 512
    frames_per_tile: int = 2
    is_relative: bool = False
    huber_px: float = 4.0
    certain_px: float = 6.0
    position_weight: float = 0.05

    def __post_init__(self) -> None:
        if self.kind == "readout" and self.asked == "first":
            raise ValueError(
                'expected head.asked "start" with head.kind "readout", which knows no other '
                'frame, got "first"; use "recurrent"'
            )
        if self.num_queries < 1:
            raise ValueError(f"expected head.num_queries of 1 or more, got {self.num_queries}")


@dataclass(frozen=True)
class PointsConfig(LearnedProbeConfig):
    """Points as a learned probe.

    Attributes:
        head: what follows them.
    """

    head: PointHead = field(default_factory=PointHead)


class Points(TrackTask[PointHead, PointTrackVideo]):
    """Follow points through clips; those of all clips of a video are scored together.

    Points that lie outside of the window are hidden there. Frames that repeat the last one of a
    short video, and frames that nobody looked at, are neither learned nor scored.

    Args:
        head: what follows them.
        view: how clips are cut out.
    """

    metrics: Mapping[str, bool] = {"AJ": True, "delta_avg": True, "OA": True}
    kind_of_video = PointTrackVideo
    followed = "points"

    @classmethod
    def build(cls, config: PointsConfig, dataset: VideoDataset[Any]) -> Points:
        """Make the task of a configuration."""
        return cls(config.head, config.view)

    def make_targets(self, video: PointTrackVideo, view: ClipView, is_training: bool) -> Tensors:
        """Give the points that are asked for.

        Returns:
            "queries" [Q, 2], "query_frames" [Q], "asked" [Q] bool, False = padding; "points"
            [Q, T, 2], 0 where not "visible" [Q, T] bool; "labelled" [Q, T] bool.
        """
        truth, frames = video.points(), list(view.indices)
        points = view.to_view(truth.points[:, frames])
        labelled = truth.labelled[:, frames] & new_frames(view)
        with np.errstate(invalid="ignore"):  # hidden points may be anything
            inside = ((points >= 0) & (points < 1)).all(axis=2)
        visible = truth.visible[:, frames] & inside
        points = np.where(visible[..., None], points, 0.0)
        tracks, begins = choose_questions(visible & labelled, self.head.asked)
        if is_training:
            kept = draw_questions(len(tracks), self.head.num_queries, video, view)
            tracks, begins = tracks[kept], begins[kept]
        arrays = {
            "queries": points[tracks, begins],
            "query_frames": begins,
            "points": points[tracks],
            "visible": visible[tracks],
            "labelled": labelled[tracks],
        }
        return as_targets(arrays, self.head.num_queries if is_training else None)

    def build_head(self, shape: FeatureShape) -> nn.Module:
        """Make the head of this kind, (features [B, T', C, h, w], points) -> `PointTracks`."""
        head, T = self.head, self.view.num_frames
        if head.kind == "readout":
            readout = ReadoutConfig(shape.channels, shape.steps, head.width or 1024, head.num_heads)
            return PointReadout(
                PointReadoutConfig(readout, T, head.frames_per_tile, head.embedding_width)
            )
        width = head.width or 512
        return PointTrackReadout(
            QueryTransformerConfig(
                shape.channels, width, head.num_layers, head.num_heads, 4 * width
            )
        )

    def losses(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """Huber loss of visible points, cross entropies of visibility and certainty.

        Whether a point is certain is learned where it is visible.
        """
        tracks = self._follow(head, features, targets)
        counted = since_question(targets)
        shown = counted & targets["visible"]
        error = _pixels(tracks.points.float() - targets["points"])
        position = F.huber_loss(
            error, torch.zeros_like(error), reduction="none", delta=self.head.huber_px
        )
        near = (error.detach() < self.head.certain_px).float()
        terms = {
            "position": mean_where(position, shown),
            "visibility": mean_where(
                _entropy(tracks.visible_logits, targets["visible"].float()), counted
            ),
            "certainty": mean_where(_entropy(tracks.certain_logits, near), shown),
        }
        loss = (
            self.head.position_weight * terms["position"] + terms["visibility"] + terms["certainty"]
        )
        return {"loss": loss, **terms, "error_px": mean_where(error.detach(), shown)}

    def answer(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """Give "points" [B, Q, T, 2] and "visible" [B, Q, T] bool."""
        if not targets["queries"].shape[1]:  # nothing was asked
            return {"points": targets["points"], "visible": targets["labelled"]}
        tracks = self._follow(head, features, targets)
        return {"points": tracks.points.float(), "visible": tracks.visible}

    def blind_rule(self, training: Iterable[Tensors]) -> Callable[[Tensors], Tensors]:
        """Points stay where they were asked for and are always seen."""

        def stay(targets: Tensors) -> Tensors:
            points = targets["queries"][:, None].expand_as(targets["points"])
            return {"points": points, "visible": torch.ones_like(targets["labelled"])}

        return stay

    def score(self, answers: Sequence[Tensors], targets: Sequence[Tensors]) -> Record:
        """Score all points after the frame of their question as one video of TAP-Vid."""
        frames = join_views(targets, "query_frames")
        scores = score_points(
            np.column_stack([frames, np.zeros((len(frames), 2))]),
            to_pixels(join_views(targets, "points"), (1, 1)),
            ~join_views(targets, "visible"),
            to_pixels(join_views(answers, "points"), (1, 1)),
            ~join_views(answers, "visible"),
            "first",
            labelled=join_views(targets, "labelled"),
        )
        return {
            "num_points": len(frames),
            "OA": _finite([scores.occlusion_accuracy])[0],
            "delta": _finite(scores.within),
            "Jaccard": _finite(scores.jaccard),
        }

    def summarize(self, records: Sequence[Record]) -> dict[str, float]:
        """Also the shares within 1, 2, 4, 8, 16 pixels and the Jaccard indices of each."""
        scores = [
            PointScores(
                _numbers([record["OA"]])[0], _numbers(record["delta"]), _numbers(record["Jaccard"])
            )
            for record in records
        ]
        return {name: 100 * value for name, value in summarize(scores).items()}

    def _follow(self, head: nn.Module, features: Tensor, targets: Tensors) -> PointTracks:
        queries = targets["queries"]
        if self.head.kind == "readout":
            tracks = head(features, queries)
        else:
            features = resize_time(features, self.view.num_frames)
            tracks = head(features, queries, targets["query_frames"])
        if self.head.is_relative:
            return replace(tracks, points=add_to_query(tracks.points, queries))
        return tracks


def _pixels(difference: Tensor) -> Tensor:
    """Length [...] of differences [..., 2] in pixels."""
    size = difference.new_tensor(EVALUATION_SIZE[::-1])
    return torch.linalg.vector_norm(difference * size, dim=-1)


def _entropy(logits: Tensor, truth: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none")


def _finite(values: Iterable[float]) -> list[float | None]:
    """JSON has no NaN."""
    return [None if math.isnan(value) else float(value) for value in values]


def _numbers(values: Iterable[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values])
