"""Segments that need no features: a video cut into equal blocks.

Axes: T frames, h x w cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vdit.metrics.grouping import foreground_ari


def best_blocks(truth: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Find the rows and columns of blocks that suit true instances best.

    Args:
        truth: [T, h, w] instances of clips, 0 the background; T may differ.
        most: blocks that are allowed.

    Returns:
        [h, w] uint8, the number of a cell's block: of all divisions with at most `most` blocks the
        one with the highest mean FG-ARI; a video keeps the same blocks in all frames.
    """
    size = truth[0].shape[1:]
    divisions = [
        (rows, columns)
        for rows in range(1, most + 1)
        for columns in range(1, most // rows + 1)
        if rows <= size[0] and columns <= size[1]
    ]
    maps = [blocks(size, *division) for division in divisions]
    scores = [
        np.mean([foreground_ari(each, np.broadcast_to(found, each.shape)) for each in truth])
        for found in maps
    ]
    return maps[int(np.argmax(scores))]


def blocks(size: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """Divide (h, w) cells into blocks of equal size, up to one cell: their numbers, [h, w] uint8.

    >>> blocks((2, 4), 1, 2).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    height, width = size
    y, x = np.arange(height) * rows // height, np.arange(width) * columns // width
    return (y[:, None] * columns + x).astype(np.uint8)
