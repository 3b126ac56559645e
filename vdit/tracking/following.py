"""Follow the objects of whole videos: frames, maps, track queries, rows of a file of results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from vdit.models.track_queries import TrackQueryModel
from vdit.tracking.frame_tracks import FrameTracks
from vdit.tracking.iou_tracker import IouTracker
from vdit.tracking.query_tracker import QueryTracker, TrackerOptions

__all__ = ["as_detections", "follow", "follow_by_overlap"]


def follow(
    model: TrackQueryModel,
    frames: Iterable[list[Tensor]],
    options: TrackerOptions,
    public: Iterable[Tensor] | None = None,
) -> Iterator[FrameTracks]:
    """Follow the objects of one video; one frame is in memory at a time.

    Args:
        model: in eval mode.
        frames: maps [C, h, w] of each level, of one frame after the other.
        options: when tracks begin and end.
        public: public detections [M, 4] of each frame, xyxy in shares of the frame.

    Raises:
        ValueError: the options ask for public detections and there are none.
    """
    device = model.object_boxes.device
    tracker = QueryTracker(lambda maps, tracks: model(maps, tracks=tracks), options)
    detections = None if public is None else iter(public)
    for maps in frames:
        batch = [each[None].to(device) for each in maps]
        yield tracker.step(batch, None if detections is None else next(detections))


def follow_by_overlap(
    detections: Iterable[FrameTracks], least_iou: float = 0.3, patience: int = 0
) -> Iterator[FrameTracks]:
    """Name the boxes of a video anew, by overlap alone; their own identities are not read."""
    tracker = IouTracker(least_iou, patience)
    for frame in detections:
        yield tracker.step(frame.boxes_xyxy, frame.scores)


def as_detections(boxes_xyxy: Tensor, scores: Tensor | None = None) -> FrameTracks:
    """Give boxes without identities the form that `follow_by_overlap` takes."""
    count = len(boxes_xyxy)
    scores = torch.ones(count) if scores is None else scores
    return FrameTracks(torch.arange(count), boxes_xyxy, scores)
