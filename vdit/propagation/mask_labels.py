"""Between masks at the size of the frames and label maps on the grid of the features.

Axes: K labels, the background included; H x W pixels, h x w cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, repeat

import torch
from torch import Tensor
from torch.nn import functional


def labels_from_mask(mask: Tensor, size: tuple[int, int], *, keep_vanished: bool = True) -> Tensor:
    """Bring the mask of the first frame to the grid, one map for each id.

    A cell takes the id of the pixel in its middle, so that a small object may vanish.

    Args:
        mask: [H, W] integers, 0 the background, 1.. the objects.
        size: (h, w).
        keep_vanished: give an object that vanished the cell that holds the pixel of it nearest to
            its center of mass; K follows from the whole mask. False reproduces DINO and DIFT: K
            follows from what is left on the grid, and later ids may be lost.

    Returns:
        [K, h, w] float32, one in the map of a cell's id and zero in the others; a shared cell is
        split evenly.

    Raises:
        ValueError: the mask has another shape, floating point numbers or negative ids.
    """
    mask = _checked(mask)
    grid = resize_nearest(mask, size)
    num_labels = int((mask if keep_vanished else grid).max()) + 1
    labels = functional.one_hot(grid, num_labels).permute(2, 0, 1).float()
    if keep_vanished:
        _bring_back_vanished(labels, mask, grid)
    return labels


def shares_from_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Give each cell the share of its pixels that have each id, instead of the id in its middle.

    Contours are then finer than the grid, and no object vanishes. No published variant does so.

    Args:
        mask: [H, W] integers, 0 the background, 1.. the objects.
        size: (h, w).

    Returns:
        [K, h, w] float32, K - 1 the largest id; the shares of a cell sum to 1.

    Raises:
        ValueError: as in `labels_from_mask`.
    """
    mask = _checked(mask)
    maps = [(mask == number).float() for number in range(int(mask.max()) + 1)]
    return functional.adaptive_avg_pool2d(torch.stack(maps)[None], size)[0]


def _checked(mask: Tensor) -> Tensor:
    if mask.dim() != 2 or mask.dtype.is_floating_point or mask.numel() == 0 or mask.min() < 0:
        raise ValueError(
            f"expected a mask [H, W] of integers >= 0, got {list(mask.shape)} {mask.dtype}"
        )
    return mask.long()


def _bring_back_vanished(labels: Tensor, mask: Tensor, grid: Tensor) -> None:
    claims: dict[tuple[int, int], list[int]] = {}
    for number in sorted(set(mask.unique().tolist()) - set(grid.unique().tolist()) - {0}):
        y, x = _pixel_nearest_to_center(mask == number)
        cell = (y * grid.shape[0] // mask.shape[0], x * grid.shape[1] // mask.shape[1])
        claims.setdefault(cell, []).append(number)
    unclaimed = grid.clone()
    for cell in claims:
        unclaimed[cell] = 0
    left = set(unclaimed.unique().tolist()) | {0}
    for (y, x), numbers in claims.items():
        owner = int(grid[y, x])
        sharing = numbers if owner in left else [*numbers, owner]
        labels[:, y, x] = 0
        labels[sharing, y, x] = 1 / len(sharing)


def mask_from_labels(
    labels: Tensor, size: tuple[int, int], *, stride: int | None = None, normalize: bool = True
) -> Tensor:
    """Bring soft label maps to the size of the frame and choose a label for every pixel.

    Args:
        labels: [K, h, w].
        size: (H, W).
        stride: enlarge the maps by this factor, choose there, and bring the choice to `size` by
            the nearest pixel, as DINO and DIFT do; None enlarges the maps to `size` as CRW does.
        normalize: stretch the map of each label to 0..1 before the choice (DINO, DIFT).

    Returns:
        [H, W] int64 ids.
    """
    enlarged = size if stride is None else tuple(stride * side for side in labels.shape[1:])
    soft = functional.interpolate(labels[None], size=enlarged, mode="bilinear")[0]
    if normalize:
        soft = stretch_each_label(soft)
    return resize_nearest(soft.argmax(dim=0), size)


def stretch_each_label(labels: Tensor) -> Tensor:
    """Bring each map of [K, h, w] to 0..1 by its least and largest value; constant maps stay."""
    low, high = labels.amin(dim=(1, 2), keepdim=True), labels.amax(dim=(1, 2), keepdim=True)
    changed = (high > 0) & (high > low)
    return torch.where(changed, (labels - low) / torch.where(changed, high - low, 1), labels)


def stretch_each_cell(labels: Tensor) -> Tensor:
    """Bring the labels [..., K, h, w] of each cell to 0..1, as CRW may; equal ones stay."""
    low, high = labels.amin(dim=-3, keepdim=True), labels.amax(dim=-3, keepdim=True)
    return torch.where(high > low, (labels - low) / torch.where(high > low, high - low, 1), labels)


def resize_nearest(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize [H, W] by the nearest pixel exactly as Pillow does; `torch` rounds differently."""
    rows, columns = (
        torch.tensor(_nearest(old, new), device=mask.device)
        for old, new in zip(mask.shape, size, strict=True)
    )
    return mask[rows][:, columns]


def _nearest(old: int, new: int) -> Sequence[int]:
    """Middles of the new pixels in old ones, added up step by step: rounding decides at ties."""
    step = old / new
    middles = accumulate(repeat(step, new - 1), initial=0.5 * step)
    return [min(int(middle), old - 1) for middle in middles]


def _pixel_nearest_to_center(mask: Tensor) -> tuple[int, int]:
    pixels = mask.nonzero()
    distances = (pixels - pixels.double().mean(dim=0)).square().sum(dim=1)
    y, x = pixels[distances.argmin()].tolist()
    return y, x
