"""Key points of the first frame carried through a clip, and how many stay right: PCK.

K key points, T frames, H x W pixels, h x w cells.

Reference: the protocol on JHMDB of Li et al., NeurIPS 2019, and Jabri et al., NeurIPS 2020.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vdit.datasets.labelled_videos import KeypointVideo
from vdit.metrics import keypoints, motion
from vdit.probing.propagation_config import PropagationOptions
from vdit.probing.video_clips import Clip
from vdit.propagation import stream_labels
from vdit.propagation.keypoints import keypoints_from_labels, labels_from_keypoints

MOTION_THRESHOLD = 0.1

Record = dict[str, Any]


class KeypointPropagation:
    """Label propagation on videos with key points.

    Attributes:
        main_metrics: what tables show.
        motion_metric: what is told by motion.
    """

    main_metrics: tuple[str, ...] = tuple(f"PCK@{threshold}" for threshold in keypoints.THRESHOLDS)
    motion_metric = f"PCK@{MOTION_THRESHOLD}"

    def run(
        self,
        clip: Clip,
        maps: Iterable[Tensor],
        options: PropagationOptions,
        folder: Path,
        device: str,
    ) -> Record:
        """Predict the key points of a clip and score them; see `score_keypoints`."""
        return score_keypoints(carry_keypoints(clip, maps, options, device), clip)

    def summarize(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Compute the PCK over all videos, the mean over the key points, in percent."""
        distances = [_with_nan(record["distances"]) for record in records]
        means = keypoints.keypoint_accuracy(distances)[:, -1]
        return {name: float(mean) for name, mean in zip(self.main_metrics, means, strict=True)}

    def by_motion(
        self, records: Sequence[Mapping[str, Any]], num_groups: int
    ) -> list[motion.MotionGroup]:
        """Give the share of points within 0.1 body sizes in percent, in groups by motion."""
        moved = np.concatenate([_with_nan(record["motion"]).ravel() for record in records])
        distances = np.concatenate([_with_nan(record["distances"]).ravel() for record in records])
        right = np.where(np.isnan(distances), np.nan, 100.0 * (distances <= MOTION_THRESHOLD))
        return motion.scores_by_motion(moved, right, num_groups)


def carry_keypoints(
    clip: Clip, maps: Iterable[Tensor], options: PropagationOptions, device: str = "cpu"
) -> np.ndarray:
    """Follow the key points of the first frame.

    Args:
        clip: of a video with key points.
        maps: features [C, h, w] of its frames, one by one.
        options: of the propagation.
        device: where similarities are computed.

    Returns:
        [2, K, T] as (x, y) in pixels; negative where a point was lost. In the first frame they are
        read back from the labels that were drawn there.
    """
    stream = (each.to(device) for each in maps)
    first = next(stream)
    grid = (first.shape[-2], first.shape[-1])
    size = (clip.height, clip.width)
    cells = true_points(clip)[:, :, 0].T * np.array([grid[1] / size[1], grid[0] / size[0]])
    labels = labels_from_keypoints(torch.from_numpy(cells), grid)
    soft = stream_labels(
        itertools.chain([first], stream),
        labels,
        options.settings(),
        dtype=getattr(torch, options.dtype),
    )
    found = [
        keypoints_from_labels(each, num_cells=options.keypoint_cells).cpu().double()
        for each in itertools.chain([labels], soft)
    ]
    points = torch.stack(found).permute(2, 1, 0).numpy()
    return keypoints.points_from_grid(points, grid, size)


def true_points(clip: Clip) -> np.ndarray:
    """Give the true points [2, K, T] as (x, y) in pixels."""
    assert isinstance(clip.video, KeypointVideo)
    return clip.video.points[clip.start : clip.stop].transpose(2, 1, 0)


def score_keypoints(points: np.ndarray, clip: Clip) -> Record:
    """Compare followed points with the true ones.

    Args:
        points: [2, K, T] of `carry_keypoints`.
        clip: whose points they are.

    Returns:
        For JSON: distances and motion [K, T - 1] in body sizes (None where a point was lost), the
        points, and counts.
    """
    target = true_points(clip)
    return {
        "num_frames": len(clip),
        "num_labelled": len(clip),
        "num_objects": 1,
        "distances": _finite(keypoints.keypoint_distances(target, points)),
        "motion": _finite(motion.keypoint_motion(target)),
        "points": np.round(points, 3).tolist(),
    }


def _finite(values: np.ndarray) -> list[list[float | None]]:
    """JSON has neither NaN nor infinity; a body without size leaves no distance."""
    return [[float(x) if np.isfinite(x) else None for x in row] for row in values]


def _with_nan(rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1)
