"""A clip of four equal quarters of which only one moves: what do features make of motion alone?

In the first frame all quarters look the same.
"""

from __future__ import annotations

import numpy as np

from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render_frames

MOVING = 3
"""The quarter that moves, in reading order: the lower right one."""


def one_part_moves(clip: np.ndarray, moving: int = MOVING) -> np.ndarray:
    """Lay a clip out four times, three times as its first frame.

    Args:
        clip: [T, H, W, 3] uint8.
        moving: the quarter that moves, 0..3 in reading order.

    Returns:
        [T, 2 H, 2 W, 3] uint8.

    Raises:
        ValueError: the clip has another shape, or there is no such quarter.

    Reference: From Image to Video (arXiv 2502.07001), the clip of its pictures of components in
    which one quadrant moves.
    """
    if clip.ndim != 4 or clip.shape[-1] != 3 or not 0 <= moving < 4:
        raise ValueError(
            f"expected a clip [T, H, W, 3] and a quarter in 0..3, got {list(clip.shape)} and "
            f"{moving}; pass the frames of one clip"
        )
    still = np.broadcast_to(clip[:1], clip.shape)
    quarters = [clip if k == moving else still for k in range(4)]
    upper, lower = (np.concatenate(quarters[k : k + 2], axis=2) for k in (0, 2))
    return np.concatenate([upper, lower], axis=1)


def render_quadrants(recipe: str, seed: int, size: tuple[int, int, int]) -> np.ndarray:
    """Render a clip at half the size and let one quarter move, [T, H, W, 3] uint8.

    Args:
        recipe: of the clip.
        seed: of the clip.
        size: (T, H, W); H and W are even.

    Raises:
        ValueError: the recipe is unknown or the size does not fit.
    """
    frames, height, width = size
    if height % 2 or width % 2:
        raise ValueError(f"expected an even height and width, got {height}x{width}")
    scene = make_scene(recipe, seed, frames, height // 2, width // 2)
    return one_part_moves(render_frames(scene))
