"""A gated recurrent unit whose weights are convolutions: memory for every cell of a feature map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ConvGruLayer(nn.Module):
    """Update a map of hidden states frame by frame.

    The weights that see the input are apart from those that see the hidden state, so that the
    input of all frames goes through one convolution.

    Args:
        input_dim: channels of the input.
        dim: channels of the hidden state.
        kernel_size: odd; cells that a convolution spans.

    Reference: Ballas et al., ICLR 2016, Eq. 6-9, with the update gate weighing the candidate.
    """

    def __init__(self, input_dim: int, dim: int, kernel_size: int = 3) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"expected an odd kernel_size, got {kernel_size}; add 1")
        padding = kernel_size // 2
        self.from_input = nn.Conv2d(input_dim, 3 * dim, kernel_size, padding=padding)
        self.gates = nn.Conv2d(dim, 2 * dim, kernel_size, padding=padding, bias=False)
        self.candidate = nn.Conv2d(dim, dim, kernel_size, padding=padding, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw from the range of a convolution over input and hidden state together."""
        fan_in = self.from_input.weight[0].numel() + self.candidate.weight[0].numel()
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def forward(self, maps: Tensor, hidden: Tensor) -> Tensor:
        """Run over a clip.

        Args:
            maps: [B, T, C, h, w].
            hidden: [B, D, h, w] state behind the frame before.

        Returns:
            [B, T, D, h, w] the state behind every frame.
        """
        projected = self.from_input(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        states = []
        for frame in projected.unbind(1):
            hidden = self._step(frame, hidden)
            states.append(hidden)
        return torch.stack(states, dim=1)

    def _step(self, projected: Tensor, hidden: Tensor) -> Tensor:
        """Compute the next state from one frame, [B, 3 * D, h, w], behind `from_input`.

        The channels of the frame: reset gate, update gate, candidate.
        """
        dim = hidden.shape[1]
        gates = torch.sigmoid(projected[:, : 2 * dim] + self.gates(hidden))
        reset, update = gates.chunk(2, dim=1)
        candidate = torch.tanh(projected[:, 2 * dim :] + self.candidate(reset * hidden))
        return torch.lerp(hidden, candidate, update)


class ConvGru(nn.Module):
    """Layers of convolutional gated recurrent units that run over the frames of a clip.

    Args:
        input_dim: channels of the input.
        dim: channels of the hidden state of every layer.
        num_layers: each one reads the hidden states of the one before.
        kernel_size: odd; cells that a convolution spans.
    """

    def __init__(self, input_dim: int, dim: int, num_layers: int = 2, kernel_size: int = 3) -> None:
        super().__init__()
        inputs = [input_dim] + [dim] * (num_layers - 1)
        self.dim = dim
        self.layers = nn.ModuleList(ConvGruLayer(each, dim, kernel_size) for each in inputs)

    def forward(self, maps: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over a clip.

        Args:
            maps: [B, T, C, h, w].
            state: [num_layers, B, D, h, w] hidden states behind the frame before; None = zeros.

        Returns:
            hidden states of the last layer, [B, T, D, h, w], and the state behind the last frame.
        """
        B, _, _, h, w = maps.shape
        if state is None:
            state = maps.new_zeros(len(self.layers), B, self.dim, h, w)
        last = []
        for layer, hidden in zip(self.layers, state, strict=True):
            maps = layer(maps, hidden)
            last.append(maps[:, -1])
        return maps, torch.stack(last)
