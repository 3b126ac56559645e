"""What following key points writes: their places as JSON, and a video with them drawn.

J key points, C channels, h x w cells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vdit.keypoint_files import FirstKeypoints
from vdit.keypoint_pictures import overlay_keypoints
from vdit.propagation import PropagationSettings
from vdit.propagation.keypoint_stream import follow_keypoints
from vdit.video_reader import VideoReader
from vdit.video_writer import VideoWriter


def write_keypoints(
    folder: Path,
    reader: VideoReader,
    first: FirstKeypoints,
    features: Iterable[Tensor],
    settings: PropagationSettings,
    facts: Mapping[str, Any],
) -> list[str]:
    """Write `keypoints.json` and `overlay.mp4`; one frame is in memory at a time.

    `keypoints.json` is {..., "height", "width", "names", "skeleton", "frames": [{"index", "name",
    "points", "scores"}, ...]}. A point is [x, y] in pixels, or null where it is lost; its score is
    1 in the first frame and falls to 0 as its label fades.

    Args:
        folder: it is there.
        reader: the video.
        first: key points of its first frame.
        features: maps [C, h, w] of its frames, one by one.
        settings: of the propagation.
        facts: what else the JSON says, first.

    Returns:
        The names of the frames.
    """
    size = (reader.height, reader.width)
    skeleton = first.skeleton or ()
    frames: list[dict[str, Any]] = []
    followed = follow_keypoints(features, torch.from_numpy(first.points), size, settings)
    with VideoWriter(folder / "overlay.mp4", reader.fps) as writer:
        for index, (frame, (points, scores)) in enumerate(zip(reader, followed, strict=True)):
            writer.add(overlay_keypoints(frame, points.numpy(), skeleton))
            frames.append(
                {
                    "index": index,
                    "name": reader.frame_name(index),
                    "points": _for_json(points.numpy()),
                    "scores": np.round(scores.numpy(), 4).tolist(),
                }
            )
    content = {
        **facts,
        "height": size[0],
        "width": size[1],
        "names": first.names,
        "skeleton": first.skeleton,
        "frames": frames,
    }
    (folder / "keypoints.json").write_text(json.dumps(content) + "\n")
    return [frame["name"] for frame in frames]


def _for_json(points: np.ndarray) -> list[list[float] | None]:
    """JSON has no NaN."""
    return [np.round(point, 3).tolist() if np.isfinite(point).all() else None for point in points]
