"""Which frames of a video make a clip."""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["choose_window", "draw_frames"]

_FARTHEST_NEIGHBOR = 3


def draw_frames(
    rng: np.random.Generator,
    length: int,
    anchor: int,
    count: int,
    rule: Literal["released", "distinct"] = "released",
    reverse: float = 0.0,
) -> list[int]:
    """Draw the anchor, a frame 1 to 3 before it, one 1 to 3 after it, and others from afar.

    Neighbors past the ends of the video are its first and last frame, so that the first frame is
    drawn twice around anchor 0. The others come from before the first and from the last of the
    three on: the released list begins with the last one itself, which can therefore appear twice.

    Args:
        rng: source of the draws.
        length: frames of the video.
        anchor: frame to begin with; alone if `count` is 1.
        count: frames of the clip.
        rule: "distinct" repeats frames only where the video has fewer than `count`.
        reverse: probability that the clip runs backwards.

    Returns:
        `count` positions in order, or in reverse order; the anchor is among them.

    Raises:
        ValueError: `count` is not positive, or the anchor is outside the video.
    """
    if count < 1 or not 0 <= anchor < length:
        raise ValueError(
            f"expected at least one frame and an anchor in a video of {length} frames, got "
            f"{count} frames around {anchor}; run `vdit data check`"
        )
    if count == 1:
        frames = [anchor]
    else:
        draw = _draw_released if rule == "released" else _draw_distinct
        frames = sorted(draw(rng, length, anchor, count))
    if rng.random() < reverse:
        frames.reverse()
    return frames[:count]


def _draw_neighbors(rng: np.random.Generator, length: int, anchor: int) -> tuple[int, int]:
    before, after = rng.integers(1, _FARTHEST_NEIGHBOR + 1, size=2)
    return max(0, anchor - int(before)), min(length - 1, anchor + int(after))


def _draw_released(rng: np.random.Generator, length: int, anchor: int, count: int) -> list[int]:
    before, after = _draw_neighbors(rng, length, anchor)
    frames = [anchor, before, after]
    missing = count - len(frames)
    if missing <= 0:
        return frames
    video = list(range(length))
    rest = video[:before] + video[after:]
    if len(rest) > missing:
        return frames + rng.choice(rest, missing, replace=False).tolist()
    if length >= missing:
        return frames + rng.choice(video, missing, replace=False).tolist()
    return frames + video + rng.choice(video, missing - length).tolist()


def _draw_distinct(rng: np.random.Generator, length: int, anchor: int, count: int) -> list[int]:
    neighbors = _draw_neighbors(rng, length, anchor)
    frames = list(dict.fromkeys([anchor, *neighbors]))[:count]
    first, last = min(frames), max(frames)
    afar = [*range(first), *range(last + 1, length)]
    near = [frame for frame in range(first, last + 1) if frame not in frames]
    for pool in (afar, near):
        wanted = min(count - len(frames), len(pool))
        frames += rng.choice(pool, wanted, replace=False).tolist() if wanted else []
    return frames + rng.choice(length, count - len(frames)).tolist()


def choose_window(length: int, anchor: int, count: int, centered: bool) -> list[int]:
    """List frames in a row, those past the ends of the video replaced by its first or last one.

    Args:
        length: frames of the video.
        anchor: the first frame, or the middle one.
        count: frames of the clip.
        centered: whether the anchor is in the middle, as around the labelled frame of A2D.
    """
    start = anchor - count // 2 if centered else anchor
    return [min(max(frame, 0), length - 1) for frame in range(start, start + count)]
