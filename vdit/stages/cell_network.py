"""A convolutional network that says what is in every cell of a frame, and what names it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.stages.parts import save_weights

FILE = "cell_network.safetensors"
"""In the model folder while it is trained; the model itself does without."""
NAMES_FILE = "cell_names.safetensors"
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


class CellNames(nn.Module):
    """How well sentences fit cells, by the cosine of both in the cells' space.

    Args:
        text_dim: channels of the text tower.
        dim: channels of the cells.

    Shape:
        cosines of any shape -> logits of the same shape, that a sentence names what is there.

    Reference: Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023.
    """

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(text_dim, dim, bias=False)
        self.scale = nn.Parameter(torch.tensor(2.5))
        self.bias = nn.Parameter(torch.tensor(-4.0))

    def states(self, pooled: Tensor) -> Tensor:
        """Bring pooled states of the text tower [N, text_dim] to the cells, of unit length."""
        return F.normalize(self.projection(pooled), dim=-1)

    def forward(self, cosines: Tensor) -> Tensor:
        """Judge cosines; see the class."""
        return self.scale.exp().clamp(max=100) * cosines + self.bias


def _residual(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.GroupNorm(NUM_GROUPS, width),
        nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(NUM_GROUPS, width),
        nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1),
    )


def save_cell_network(network: CellNetwork, names: CellNames, folder: Path) -> None:
    """Write both into a model folder."""
    save_weights(network.state_dict(), folder / FILE)
    save_weights(names.state_dict(), folder / NAMES_FILE)


def load_cell_network(folder: Path) -> CellNetwork:
    """Load the network that `save_cell_network` wrote, frozen.

    Raises:
        ValueError: there is none.
    """
    weights = _read(folder, FILE)
    network = CellNetwork(weights["out.weight"].shape[0])
    network.load_state_dict(weights)
    return network.requires_grad_(False).eval()


def load_cell_names(folder: Path) -> CellNames:
    """Load the names that `save_cell_network` wrote, frozen.

    Raises:
        ValueError: there are none.
    """
    weights = _read(folder, NAMES_FILE)
    dim, text_dim = weights["projection.weight"].shape
    names = CellNames(text_dim, dim)
    names.load_state_dict(weights)
    return names.requires_grad_(False).eval()


def _read(folder: Path, file: str) -> dict[str, Tensor]:
    if not (folder / file).is_file():
        raise ValueError(f"expected {file} in {folder}, found none; train the stage `towers` first")
    return load_file(folder / file)
