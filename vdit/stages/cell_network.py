"""A convolutional network that says what is in every cell of a frame."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vdit.stages.parts import save_weights

FILE = "cell_network.safetensors"
"""In the model folder while it is trained; the model itself does without."""
NUM_GROUPS = 8


class CellNetwork(nn.Module):
    """Cells of 8x8 pixels, each with what its neighborhood shows.

    Convolutions learn shapes of small objects in a fifth of the steps that patches with attention
    need, so that they can teach an image tower what belongs to which cell.

    Args:
        dim: channels of the cells.
        width: channels of the blocks.
        blocks: of two convolutions; each sees two cells farther.

    Shape:
        frames [N, 3, H, W] uint8 -> [N, dim, H / 8, W / 8], rounded up.
    """

    def __init__(self, dim: int, width: int = 96, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 4, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv2d(width // 4, width // 2, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
        )
        self.blocks = nn.ModuleList([_residual(width) for _ in range(blocks)])
        self.out = nn.Conv2d(width, dim, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Describe cells; see the class."""
        hidden = self.stem(frames.to(torch.float32) / 127.5 - 1)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.out(hidden)


def _residual(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.GroupNorm(NUM_GROUPS, width),
        nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(NUM_GROUPS, width),
        nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1),
    )


def save_cell_network(network: CellNetwork, folder: Path) -> None:
    """Write it into a model folder."""
    save_weights(network.state_dict(), folder / FILE)


def load_cell_network(folder: Path) -> CellNetwork:
    """Load what `save_cell_network` wrote, frozen.

    Raises:
        ValueError: there is none.
    """
    if not (folder / FILE).is_file():
        raise ValueError(f"expected {FILE} in {folder}, found none; train the stage `towers` first")
    weights = load_file(folder / FILE)
    network = CellNetwork(weights["out.weight"].shape[0])
    network.load_state_dict(weights)
    return network.requires_grad_(False).eval()
