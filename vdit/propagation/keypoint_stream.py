"""Key points of the first frame followed through a video, frame by frame.

Axes: J key points, C channels, h x w cells, H x W pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from vdit.propagation.keypoints import keypoints_from_labels, labels_from_keypoints
from vdit.propagation.propagator import stream_labels
from vdit.propagation.settings import PropagationSettings


def follow_keypoints(
    features: Iterable[Tensor],
    points: Tensor,
    size: tuple[int, int],
    settings: PropagationSettings,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the key points of every frame, the first included, as soon as they are there.

    Each point is a label map of its own, as in CRW, drawn at the cell that holds it. Where it lies
    in its cell is added to what is read from the maps of later frames, so that a point on an object
    that stands still does not move. CRW, and `vdit probe` with it, has neither: its protocol takes
    the corner of a cell for its middle.

    Args:
        features: maps [C, h, w], one a frame, the first frame first; taken one by one.
        points: [J, 2] as (x, y) in pixels of the first frame; a whole number is the middle of a
            pixel.
        size: (H, W) of the frames.
        settings: what to look at, usually `PropagationSettings.crw`.

    Yields:
        Points [J, 2] float64 as (x, y) in pixels, NaN where a point is lost, and scores [J]
        float64: the largest value of a point's map, 1 in the first frame, 0 where it is lost.

    Raises:
        ValueError: there is no frame, or the grid has fewer than 3 cells.

    Reference: Jabri et al., Space-Time Correspondence as a Contrastive Random Walk, NeurIPS 2020.
    """
    frames = iter(features)
    first = next(frames, None)
    if first is None:
        raise ValueError("expected features of at least one frame, got none")
    points = points.double().cpu()
    grid = (first.shape[-2], first.shape[-1])
    scale = torch.tensor([size[1] / grid[1], size[0] / grid[0]], dtype=torch.float64)
    last_cell = torch.tensor([grid[1] - 1, grid[0] - 1])
    last_pixel = torch.tensor([size[1] - 1, size[0] - 1])
    cells = (points + 0.5) / scale - 0.5
    nearest = torch.minimum(cells.round().clamp(min=0), last_cell)
    # the Gaussian has its peak half a cell beyond the point it is drawn for: here at `nearest`
    labels = labels_from_keypoints(nearest - 0.5, grid)
    rest = cells - keypoints_from_labels(labels)
    yield points, torch.ones(len(points), dtype=torch.float64)
    for soft in stream_labels(itertools.chain([first], frames), labels, settings):
        maps = soft.cpu().double()
        scores = maps[1:].amax(dim=(1, 2))
        found = (keypoints_from_labels(maps) + rest + 0.5) * scale - 0.5
        found = torch.minimum(found.clamp(min=0), last_pixel)
        found[scores == 0] = torch.nan
        yield found, scores
