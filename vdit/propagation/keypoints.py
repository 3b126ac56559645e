"""Key points as label maps: drawn on the grid of the first frame, read from propagated labels.

Coordinates are (x, y) in cells; a whole number is the middle of a cell.

Axes: J key points, h x w cells.

Reference: Jabri et al., Space-Time Correspondence as a Contrastive Random Walk, NeurIPS 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor


def labels_from_keypoints(points: Tensor, size: tuple[int, int], *, sigma: float = 0.5) -> Tensor:
    """Draw each key point as a small Gaussian in a map of its own.

    Args:
        points: [J, 2] as (x, y) in cells.
        size: (h, w).
        sigma: cells.

    Returns:
        [J + 1, h, w] float64; the first map is the background, 1 where no key point is.
    """
    maps = [draw_gaussian(x, y, size, sigma) for x, y in points.tolist()]
    drawn = torch.stack(maps) if maps else torch.zeros(0, *size, dtype=torch.float64)
    background = (drawn.sum(dim=0) == 0).to(drawn.dtype)
    return torch.cat([background[None], drawn])


def draw_gaussian(x: float, y: float, size: tuple[int, int], sigma: float) -> Tensor:
    """Draw a Gaussian of height 1 about a point, rounded to cells the way CRW does.

    Its patch has int(6 sigma + 1) cells along an edge and its top left corner at the point minus
    3 sigma, rounded towards zero: the peak lies up to a cell from the point, and further right or
    down next to the left and upper border.

    Returns:
        [h, w] float64; zero where the patch lies outside of the grid.
    """
    height, width = size
    labels = torch.zeros(height, width, dtype=torch.float64)
    edge = int(6 * sigma + 1)
    left, top = int(x - 3 * sigma), int(y - 3 * sigma)
    right, bottom = int(x + 3 * sigma + 1), int(y + 3 * sigma + 1)
    if left >= width or top >= height or right < 0 or bottom < 0:
        return labels
    distances = (torch.arange(edge, dtype=torch.float64) - edge // 2).square()
    patch = torch.exp(-(distances[:, None] + distances) / (2 * sigma**2))
    rows, columns = (
        (max(0, start), min(stop, start + edge, side))
        for start, stop, side in ((top, bottom, height), (left, right, width))
    )
    labels[slice(*rows), slice(*columns)] = patch[
        rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left
    ]
    return labels


def keypoints_from_labels(labels: Tensor, *, num_cells: int = 3) -> Tensor:
    """Read each key point as the weighted mean of its largest cells.

    Args:
        labels: [..., J + 1, h, w], the background first.
        num_cells: cells that count: 3 in CRW, 5 in RVM.

    Returns:
        [..., J, 2] as (x, y) in cells; (-1, -1) where a map sums to zero: the point is not visible.

    Raises:
        ValueError: the grid has fewer cells than `num_cells`.
    """
    height, width = labels.shape[-2:]
    if height * width < num_cells:
        raise ValueError(f"expected {num_cells} cells or more, got a grid of {height} x {width}")
    values, cells = labels[..., 1:, :, :].flatten(-2).topk(num_cells, dim=-1)
    total = values.sum(dim=-1, keepdim=True)
    weights = values / torch.where(total == 0, 1, total)
    x = (weights * (cells % width)).sum(dim=-1)
    y = (weights * (cells // width)).sum(dim=-1)
    return torch.where(total == 0, -1, torch.stack([x, y], dim=-1))
