"""Segments of a video as a film and a sheet: frames, truth and what was found, side by side.

Axes: T frames, H x W pixels, h x w cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from vdit.feature_pictures import write_picture
from vdit.video_writer import VideoWriter
from vdit.visualize import contact_sheet, object_colors, overlay_masks

FRAMES_PER_SECOND = 12.0
SHEET_FRAMES = 6
_ALPHA = 0.55
_GAP = 4


def draw_segments(
    frames: np.ndarray,
    segments: Mapping[str, np.ndarray],
    truth: Sequence[np.ndarray],
    stem: Path,
) -> list[Path]:
    """Write `<stem>.mp4` with all frames and `<stem>.png` with some of them.

    A segment gets the color of the true object that it overlaps most, one to one; the others get
    colors of their own. The background of the truth has none.

    Args:
        frames: [T, H, W, 3] uint8.
        segments: name -> [T, h, w] whole numbers; enlarged by the nearest cell.
        truth: T maps [H, W], 0 the background.
        stem: path without extension; its folder is made.

    Returns:
        The files.
    """
    size = frames.shape[1:3]
    instances = np.stack(truth)
    panels = {"truth": instances} | {
        name: _recolored(_enlarged(found, size), instances) for name, found in segments.items()
    }
    rows = [
        _side_by_side([frame, *(_tinted(frame, panel[t]) for panel in panels.values())])
        for t, frame in enumerate(frames)
    ]
    stem.parent.mkdir(parents=True, exist_ok=True)
    film, sheet = (stem.with_name(stem.name + suffix) for suffix in (".mp4", ".png"))
    with VideoWriter(film, FRAMES_PER_SECOND) as writer:
        for row in rows:
            writer.add(row)
    shown = np.unique(np.linspace(0, len(rows) - 1, SHEET_FRAMES).round().astype(int))
    titles = "frame | " + " | ".join(panels)
    captions = [f"{t}: {titles}" for t in shown]
    picture = contact_sheet([rows[t] for t in shown], columns=1, captions=captions)
    write_picture(sheet, picture)
    return [film, sheet]


def _recolored(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Number segments [T, H, W] like the true objects they overlap, the others from then on."""
    objects = np.unique(truth[truth > 0])
    labels = np.unique(found)
    common = np.array([[np.sum((truth == n) & (found == k)) for k in labels] for n in objects])
    numbers = {}
    if len(objects):
        for row, column in zip(*linear_sum_assignment(common, maximize=True), strict=True):
            numbers[labels[column]] = int(objects[row])
    free = iter(range(int(truth.max()) + 1, int(truth.max()) + 1 + len(labels)))
    recolored = np.zeros(found.shape, np.int64)
    for label in labels:
        number = numbers[label] if label in numbers else next(free)
        recolored[found == label] = number
    return recolored


def _tinted(frame: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Lay segments over a frame; number n has the n-th color, 0 none."""
    shown = [number for number in np.unique(numbers) if number]
    if not shown:
        return frame
    masks = np.stack([numbers == number for number in shown])
    colors = object_colors(max(shown))[np.array(shown) - 1]
    return overlay_masks(frame, masks, colors, alpha=_ALPHA, outline=1)


def _enlarged(found: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    rows, columns = (
        np.arange(pixels) * cells // pixels
        for pixels, cells in zip(size, found.shape[1:], strict=True)
    )
    return found[:, rows[:, None], columns]


def _side_by_side(panels: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((panels[0].shape[0], _GAP, 3), 255, np.uint8)
    parts = [part for panel in panels for part in (gap, panel)][1:]
    return np.concatenate(parts, axis=1)
