"""Slots that compete for the cells of a map and follow what they won from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from vdit.models.mask_head import MLP

EPSILON = 1e-8


@dataclass(frozen=True)
class SlotAttentionConfig:
    """Sizes of the attention.

    Attributes:
        num_slots: things, the background among them, that can be told apart.
        dim: channels of tokens and slots; a multiple of `num_heads`.
        hidden_dim: of the feed-forward part of a step.
        num_heads: of the attention between slots from one frame to the next.
        initial_slots: "fixed" = drawn once and kept with the weights; "trained" = they learn too.
        rounds: of competition in a frame; the very first frame of a video has one more.
    """

    num_slots: int = 15
    dim: int = 64
    hidden_dim: int = 128
    num_heads: int = 8
    initial_slots: Literal["fixed", "trained"] = "fixed"
    rounds: int = 1

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"expected rounds >= 1, got {self.rounds}")


class SlotsOverTime(NamedTuple):
    """What slots found in a clip.

    Attributes:
        slots: [B, T, K, D].
        masks: [B, T, K, N] share of each cell that a slot has; a cell's shares sum to 1.
        next_slots: [B, K, D] what the frame after the last one starts from.
    """

    slots: Tensor
    masks: Tensor
    next_slots: Tensor


class SlotStep(nn.Module):
    """One round of competition: slots divide the cells, each one takes in what it won.

    Args:
        config: sizes.

    Reference: Locatello et al., Slot Attention, NeurIPS 2020, Alg. 1.
    """

    def __init__(self, config: SlotAttentionConfig) -> None:
        super().__init__()
        dim = config.dim
        self.scale = dim**-0.5
        self.norm_tokens = nn.LayerNorm(dim)
        self.norm_slots = nn.LayerNorm(dim)
        self.norm_update = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.gru = nn.GRUCell(dim, dim)
        self.mlp = MLP([dim, config.hidden_dim, dim])

    def keys_and_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Project tokens [..., D], of all frames at once, to two tensors of their shape."""
        tokens = self.norm_tokens(tokens)
        return self.key(tokens), self.value(tokens)

    def forward(self, keys: Tensor, values: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Update the slots by one frame.

        Args:
            keys: [B, N, D] of the frame.
            values: [B, N, D] of the frame.
            slots: [B, K, D].

        Returns:
            slots [B, K, D] and masks [B, K, N].
        """
        logits = self.query(self.norm_slots(slots)) @ keys.transpose(1, 2) * self.scale
        masks = logits.softmax(dim=1) + EPSILON
        won = (masks / masks.sum(dim=-1, keepdim=True)) @ values
        updated = self.gru(won.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
        return updated + self.mlp(self.norm_update(updated)), masks


class SlotPredictor(nn.Module):
    """Guess the slots of the next frame from those of this one; slots see each other.

    Args:
        config: sizes.

    Reference: Kipf et al., SAVi, ICLR 2022, Sec. 3.2.
    """

    def __init__(self, config: SlotAttentionConfig) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(config.dim, config.num_heads, batch_first=True)
        self.norm_attention = nn.LayerNorm(config.dim)
        self.linear = nn.Linear(config.dim, config.dim)
        self.norm_linear = nn.LayerNorm(config.dim)

    def forward(self, slots: Tensor) -> Tensor:
        """Map [B, K, D] to [B, K, D]."""
        seen, _ = self.attention(slots, slots, slots, need_weights=False)
        hidden = self.norm_attention(slots + seen)
        return self.norm_linear(hidden + self.linear(hidden))


class SlotAttention(nn.Module):
    """Run slots over a clip, a round or more a frame, and one more in the very first frame.

    Args:
        config: sizes.

    Reference: Bao et al., Object Discovery from Motion-Guided Tokens, CVPR 2023, Sec. 3.
    """

    initial: Tensor

    def __init__(self, config: SlotAttentionConfig) -> None:
        super().__init__()
        if config.dim % config.num_heads:
            raise ValueError(
                f"expected dim to be a multiple of num_heads={config.num_heads}, "
                f"got {config.dim}; change either"
            )
        self.rounds = config.rounds
        self.step = SlotStep(config)
        self.predictor = SlotPredictor(config)
        mean = torch.randn(config.dim)
        deviation = torch.randn(config.dim).abs()
        initial = mean + deviation * torch.randn(config.num_slots, config.dim)
        if config.initial_slots == "trained":
            self.initial = nn.Parameter(initial)
        else:
            self.register_buffer("initial", initial)

    def forward(self, tokens: Tensor, slots: Tensor | None = None) -> SlotsOverTime:
        """Divide the cells of every frame among the slots.

        Args:
            tokens: [B, T, N, D].
            slots: [B, K, D] `next_slots` of the frames before; None = a clip begins, with the
                initial slots.

        Returns:
            slots and masks of every frame.
        """
        keys, values = self.step.keys_and_values(tokens)
        if slots is None:
            slots = self.initial.expand(len(tokens), -1, -1)
            slots, _ = self.step(keys[:, 0], values[:, 0], slots)
        found, masks = [], []
        for frame_keys, frame_values in zip(keys.unbind(1), values.unbind(1), strict=True):
            for _ in range(self.rounds):
                slots, frame_masks = self.step(frame_keys, frame_values, slots)
            found.append(slots)
            masks.append(frame_masks)
            slots = self.predictor(slots)
        return SlotsOverTime(torch.stack(found, dim=1), torch.stack(masks, dim=1), slots)
