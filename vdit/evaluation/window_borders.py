"""How steady an answer is where one window of a video hands over to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vdit.windows import sliding_windows


def border_steps(num_frames: int, window: int, overlap: int) -> np.ndarray:
    """Mark the steps between frames at which windows hand over.

    A step is at a border if it enters, lies within or leaves frames that two windows decide
    together.

    Args:
        num_frames: T of the video.
        window: frames of a window.
        overlap: frames that it shares with the one before.

    Returns:
        [T - 1] bool; entry t is the step from frame t to t + 1.
    """
    is_border = np.zeros(max(num_frames - 1, 0), dtype=bool)
    for each in sliding_windows(range(num_frames), window, overlap):
        if each.start:
            fresh = each.start + each.num_known  # the first frame that only this window sees
            is_border[max(fresh - overlap - 1, 0) : fresh] = True
    return is_border


def mean_jumps(ious: Sequence[np.ndarray], window: int, overlap: int) -> tuple[float, float]:
    """Mean absolute change of IoU from one frame to the next, at borders and elsewhere.

    Args:
        ious: IoU with the truth in every frame, [T] in 0..1, one array an answer.
        window: frames of a window.
        overlap: frames that it shares with the one before.

    Returns:
        The means over all answers, at borders and elsewhere.

    Raises:
        ValueError: no video is longer than a window, so there is no border.
    """
    at_borders, elsewhere = [], []
    for values in ious:
        is_border = border_steps(len(values), window, overlap)
        jumps = np.abs(np.diff(values))
        at_borders += jumps[is_border].tolist()
        elsewhere += jumps[~is_border].tolist()
    if not at_borders or not elsewhere:
        raise ValueError(
            f"expected videos longer than a window of {window} frames, got "
            f"{max((len(values) for values in ious), default=0)}; render more frames"
        )
    return float(np.mean(at_borders)), float(np.mean(elsewhere))
