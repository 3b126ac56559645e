"""Blocks of WALT: windowed attention, attention to the condition, a feed-forward net.

Axes: B clips, T latent frames, h x w cells, C channels, L condition tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from vdit.models.backbones.walt_attention import ConditionAttention, WindowAttention
from vdit.models.backbones.walt_windows import Window

NUM_MODULATIONS = 6
"""Shift, scale and gate of the attention, and of the feed-forward net."""


class WaltBlock(nn.Module):
    """One layer of the transformer; layer norms and gates follow the noise level.

    Args:
        width: C.
        heads: number of heads.
        window: in which cells attend.
        largest: see `WindowAttention`.
        conditioned: attends to a condition.
        expansion: hidden channels of the feed-forward net over C.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: Window,
        largest: Window,
        conditioned: bool,
        expansion: int = 4,
    ) -> None:
        super().__init__()
        self.attention = WindowAttention(width, heads, window, largest)
        if conditioned:
            self.condition_norm = nn.LayerNorm(width)
            self.condition_attention = ConditionAttention(width, heads, window)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, expansion * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(expansion * width, width),
        )

    def forward(
        self,
        cells: Tensor,
        modulation: Tensor,
        condition: Tensor | None,
        images: Sequence[bool],
    ) -> Tensor:
        """Change cells [B, T, h, w, C].

        Args:
            cells: the state.
            modulation: [B, T, 6 * C].
            condition: [B, L, C]; None where the network has none.
            images: for each of the B rows, whether it holds pictures.
        """
        shift, scale, gate, shift_after, scale_after, gate_after = spread(modulation)
        states = normalized(cells) * (1 + scale) + shift
        cells = cells + gate * self.attention(states, images)
        if condition is not None:
            states = self.condition_norm(cells)
            cells = cells + self.condition_attention(states, condition, images)
        states = normalized(cells) * (1 + scale_after) + shift_after
        return cells + gate_after * self.feed_forward(states)


class LowRankModulation(nn.Module):
    """What a layer adds to the modulation of the first: W_b W_a (c + t); zero when untrained.

    Args:
        width: C.
        rank: r.

    Reference: Gupta et al., Photorealistic Video Generation with Diffusion Models (W.A.L.T), ECCV
    2024, Sec. 3.2, "AdaLN-LoRA".
    """

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, NUM_MODULATIONS * width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, state: Tensor) -> Tensor:
        return self.up(self.down(state))


class FullModulation(nn.Sequential):
    """A layer's modulation from c + t, with weights of its own.

    Args:
        width: C.
        count: vectors of C channels that come out.
    """

    def __init__(self, width: int, count: int = NUM_MODULATIONS) -> None:
        linear = nn.Linear(width, count * width)
        nn.init.normal_(linear.weight, std=0.02)
        nn.init.zeros_(linear.bias)
        super().__init__(nn.SiLU(), linear)


def spread(modulation: Tensor, count: int = NUM_MODULATIONS) -> tuple[Tensor, ...]:
    """Cut [B, T, count * C] into `count` tensors [B, T, 1, 1, C]."""
    return modulation[:, :, None, None].chunk(count, dim=-1)


def normalized(cells: Tensor) -> Tensor:
    """Layer norm without weights."""
    return F.layer_norm(cells, cells.shape[-1:], eps=1e-6)
