"""Scores of results on one video, by the rules of its benchmark."""

from __future__ import annotations

import numpy as np

from vdit.datasets.mot import MotVideo
from vdit.datasets.mot_files import BoxTracks
from vdit.metrics.mot_preprocessing import keep_scored_boxes
from vdit.metrics.tracking import TrackingScores, overlap_boxes, score_tracking

__all__ = ["score_video"]


def score_video(video: MotVideo, results: BoxTracks) -> TrackingScores:
    """Score results; rows of frames outside of the video, such as the other half, are left out.

    Args:
        video: with public truth.
        results: frames count as in the files of the sequence, also for a half of it.

    Raises:
        ValueError: the truth is damaged, or an id is twice in a frame.
    """
    sequence = video.sequence
    truth = sequence.truth()
    inside = (results.frames >= sequence.first) & (results.frames <= sequence.last)
    true, found = keep_scored_boxes(
        truth.rows, truth.counted, truth.classes, results.rows[inside], sequence.benchmark
    )
    shift = np.array([sequence.first - 1, 0, 0, 0, 0, 0])
    return score_tracking(overlap_boxes(true - shift, found - shift, len(video.frame_names)))
