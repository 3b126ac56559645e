"""The life of tracks: born of object queries, followed by track queries, lost, found again, ended.

Reference: Meinhardt et al., TrackFormer, CVPR 2022, Sec. 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vdit.boxes import box_iou, cxcywh_to_xyxy
from vdit.models.track_queries import TrackerOutput, TrackQueries
from vdit.tracking.frame_tracks import FrameTracks, keep_best
from vdit.tracking.public_detections import PublicRule, may_start

__all__ = ["QueryTracker", "TrackerOptions"]

Look = Callable[[Sequence[Tensor], TrackQueries | None], TrackerOutput]
"""Feature maps [1, C, h, w] of a frame and queries of earlier ones -> what all queries say."""


@dataclass(frozen=True)
class TrackerOptions:
    """When tracks begin and end; the defaults are TrackFormer's.

    Attributes:
        detection_threshold: score from which an object query begins a track.
        track_threshold: score from which a track query has found its object.
        detection_nms: IoU that a new box may have with one of a track or a better new one.
        track_nms: IoU that two tracks may have; the worse one ends.
        inactive_patience: frames without its object after which a track query still looks for it,
            under its old identity; 0 = a track ends with the first such frame.
        public: rule by which tracks begin at public detections only.
    """

    detection_threshold: float = 0.4
    track_threshold: float = 0.4
    detection_nms: float = 0.9
    track_nms: float = 0.9
    inactive_patience: int = 0
    public: PublicRule = "none"

    def __post_init__(self) -> None:
        for name in ("detection_threshold", "track_threshold", "detection_nms", "track_nms"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} in 0..1, got {getattr(self, name)}")
        if self.inactive_patience < 0:
            raise ValueError(f"expected inactive_patience >= 0, got {self.inactive_patience}")


@dataclass
class _Track:
    """One object: its query as of the last frame in which it was found."""

    identity: int
    state: Tensor
    box: Tensor
    score: Tensor
    unseen: int = 0


class QueryTracker:
    """Follow the objects of one video, frame by frame.

    Args:
        look: the network, such as `lambda maps, tracks: model(maps, tracks=tracks)`.
        options: when tracks begin and end.
    """

    def __init__(self, look: Look, options: TrackerOptions | None = None) -> None:
        self.look = look
        self.options = options or TrackerOptions()
        self._tracks: list[_Track] = []
        self._next_identity = 1

    @torch.no_grad()
    def step(self, maps: Sequence[Tensor], public: Tensor | None = None) -> FrameTracks:
        """Find the objects of the next frame.

        Args:
            maps: [1, C, h, w] of each level.
            public: [M, 4] public detections, xyxy in shares of the frame; needed where the
                options have a rule for them.

        Raises:
            ValueError: there are no public detections, but a rule for them.
        """
        if public is None and self.options.public != "none":
            raise ValueError(
                f"expected public detections for the rule {self.options.public}, got none; pass "
                "an empty tensor for a frame without any"
            )
        output = self.look(maps, self._queries())
        scores, boxes = output.logits[-1, 0].sigmoid(), output.boxes[-1, 0]
        for k, track in enumerate(self._tracks):
            if scores[k] >= self.options.track_threshold:
                track.state, track.box, track.score = output.states[0, k], boxes[k], scores[k]
                track.unseen = 0
            else:
                track.unseen += 1
        self._end_tracks()
        first = output.num_tracks
        self._begin_tracks(boxes[first:], scores[first:], output.states[0, first:], public)
        return self._seen()

    def _queries(self) -> TrackQueries | None:
        if not self._tracks:
            return None
        states = torch.stack([track.state for track in self._tracks])
        return TrackQueries(states[None], torch.stack([t.box for t in self._tracks])[None])

    def _end_tracks(self) -> None:
        """Forget who was away too long, and the worse of two tracks of one object."""
        patience = self.options.inactive_patience
        away = [track for track in self._tracks if 0 < track.unseen <= patience]
        seen = [track for track in self._tracks if not track.unseen]
        if seen:
            boxes = cxcywh_to_xyxy(torch.stack([track.box for track in seen]))
            scores = torch.stack([track.score for track in seen])
            kept = keep_best(boxes, scores, self.options.track_nms).sort().values
            seen = [seen[k] for k in kept.tolist()]
        self._tracks = seen + away

    def _begin_tracks(
        self, boxes: Tensor, scores: Tensor, states: Tensor, public: Tensor | None
    ) -> None:
        """Give identities to objects that no track has."""
        options = self.options
        sure = torch.nonzero(scores >= options.detection_threshold).squeeze(1)
        order = sure[scores[sure].argsort(descending=True, stable=True)]
        if public is not None:
            near = may_start(cxcywh_to_xyxy(boxes[order]), public.to(boxes), options.public)
            order = order[near]
        found = cxcywh_to_xyxy(boxes[order])
        order = order[keep_best(found, scores[order], options.detection_nms)]
        followed = [track.box for track in self._tracks if not track.unseen]
        if followed and len(order):
            overlap = box_iou(cxcywh_to_xyxy(boxes[order]), cxcywh_to_xyxy(torch.stack(followed)))
            order = order[(overlap <= options.detection_nms).all(dim=1)]
        for q in order.tolist():
            self._tracks.append(_Track(self._next_identity, states[q], boxes[q], scores[q]))
            self._next_identity += 1

    def _seen(self) -> FrameTracks:
        seen = [track for track in self._tracks if not track.unseen]
        if not seen:
            return FrameTracks(torch.empty(0, dtype=torch.long), torch.empty(0, 4), torch.empty(0))
        boxes = cxcywh_to_xyxy(torch.stack([track.box for track in seen]))
        return FrameTracks(
            torch.tensor([track.identity for track in seen]),
            boxes.float().cpu(),
            torch.stack([track.score for track in seen]).float().cpu(),
        )
