"""What label propagation looks at: how many frames, how far, how many cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_CHOICES = {
    "window": ("square", "disc"),
    "first_frame": ("windowed", "unrestricted"),
    "ties": ("keep", "split"),
}


@dataclass(frozen=True, kw_only=True)
class PropagationSettings:
    """Options of label propagation; `dino` and `crw` give those of the two published variants.

    Attributes:
        num_context: previous frames in the context, beside the first frame, which always stays.
        radius: cells; the reach of the window around a cell. 0 lifts the window.
        topk: cells of the whole context that a cell takes its labels from.
        temperature: divides the cosine similarity before the softmax over these cells.
        window: "square" takes |dy| <= radius and |dx| <= radius, "disc" sqrt(dy^2 + dx^2) < radius.
        first_frame: "windowed" holds the first frame to the window, "unrestricted" does not.
        pad_context: fill a context that is not yet full with copies of the first frame; each copy
            is held to the window and counts as a cell of its own among the `topk`.
        ties: what happens to cells that are exactly as similar as the last of the `topk`. "keep"
            keeps them all, "split" shares the places that are left among them.

    Raises:
        ValueError: a number is out of range or a choice unknown.
    """

    num_context: int
    radius: float
    topk: int
    temperature: float
    window: str = "square"
    first_frame: str = "windowed"
    pad_context: bool = False
    ties: str = "keep"

    def __post_init__(self) -> None:
        for name, least in (("num_context", 0), ("topk", 1), ("radius", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"expected {name} >= {least}, got {getattr(self, name)}")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"expected a temperature > 0, got {self.temperature}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                expected = " or ".join(map(repr, choices))
                raise ValueError(f"expected {name} {expected}, got {getattr(self, name)!r}")

    @classmethod
    def dino(
        cls, num_context: int, radius: float, topk: int, temperature: float
    ) -> PropagationSettings:
        """Choose the variant of DINO (Caron et al., ICCV 2021) and DIFT (Tang et al., 2023)."""
        return cls(num_context=num_context, radius=radius, topk=topk, temperature=temperature)

    @classmethod
    def crw(
        cls, num_context: int, radius: float, topk: int, temperature: float
    ) -> PropagationSettings:
        """Choose the variant of the contrastive random walk (Jabri et al., NeurIPS 2020)."""
        return cls(
            num_context=num_context,
            radius=radius,
            topk=topk,
            temperature=temperature,
            window="disc",
            first_frame="unrestricted",
            pad_context=True,
            ties="split",
        )

    @property
    def reach(self) -> int:
        """Largest |dy| and |dx| inside of the window; meaningless where the radius is 0."""
        return math.ceil(self.radius) - 1 if self.window == "disc" else math.floor(self.radius)

    def inside(self, dy: Tensor, dx: Tensor) -> Tensor:
        """Tell which offsets, in cells, lie inside of the window; shapes broadcast."""
        if self.radius == 0:
            return torch.ones_like(dy + dx, dtype=torch.bool)
        if self.window == "disc":
            return dy**2 + dx**2 < self.radius**2
        return (dy.abs() <= self.radius) & (dx.abs() <= self.radius)

    def first_frame_copies(self, t: int) -> int:
        """Count the copies of the first frame that pad the context of frame t >= 1."""
        return max(0, self.num_context - t + 1) if self.pad_context else 0

    def recent_frames(self, t: int) -> range:
        """Previous frames in the context of frame t >= 1, without the first."""
        return range(max(1, t - self.num_context), t)
