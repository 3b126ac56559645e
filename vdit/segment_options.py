"""How a video is segmented: one dataclass behind keyword arguments and command-line flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PAD_MULTIPLE = 16
"""Frames are padded to multiples of it, as the released inference does."""


@dataclass(frozen=True)
class SegmentOptions:
    """How a video is segmented; the defaults are the released rules of VD-IT.

    Attributes:
        window: frames that are seen together. A clip that fits in one window is never cut.
        overlap: frames that consecutive windows share; with 0 the object is chosen anew in each.
        last_window: "full" moves the last window back until it is full, "short" leaves it as it is.
        threshold: a pixel belongs to the object above this probability.
        no_target_threshold: below this score, averaged over a window, the answer is "no object";
            None = always answer with an object. With select="union" None means 0.5.
        select: "best" follows the query with the highest score; "union" takes each pixel's largest
            logit among all queries above `no_target_threshold`.
        short_side: pixels of the short side that the model sees; None = those that the model was
            made for, 360 for the released one.
        long_side: pixels that the long side may have, for which the short side is made smaller;
            None = any number.
        seed: of the latent's sample; the same seed gives the same masks.
        keep_queries: return masks and scores of every query too.
        keep_probabilities: return the probability of every pixel too, frame by frame.
    """

    window: int = 36
    overlap: int = 8
    last_window: Literal["full", "short"] = "full"
    threshold: float = 0.5
    no_target_threshold: float | None = None
    select: Literal["best", "union"] = "best"
    short_side: int | None = None
    long_side: int | None = None
    seed: int = 0
    keep_queries: bool = False
    keep_probabilities: bool = False

    def __post_init__(self) -> None:
        if self.window < 1 or not 0 <= self.overlap < self.window:
            raise ValueError(
                f"expected 0 <= overlap < window, got window={self.window} and "
                f"overlap={self.overlap}; pass a smaller overlap"
            )
        if not 0 < self.threshold < 1:
            raise ValueError(f"expected 0 < threshold < 1, got {self.threshold}")
        if self.no_target_threshold is not None and not 0 <= self.no_target_threshold <= 1:
            raise ValueError(
                f"expected 0 <= no_target_threshold <= 1, got {self.no_target_threshold}"
            )
        if self.select not in ("best", "union"):
            raise ValueError(f"expected select among best, union; got {self.select!r}")
        if self.short_side is not None and self.short_side < PAD_MULTIPLE:
            raise ValueError(f"expected short_side >= {PAD_MULTIPLE}, got {self.short_side}")
        if self.last_window not in ("full", "short"):
            raise ValueError(f"expected last_window among full, short; got {self.last_window!r}")
        if self.long_side is not None and self.long_side < PAD_MULTIPLE:
            raise ValueError(f"expected long_side >= {PAD_MULTIPLE}, got {self.long_side}")
        if self.seed < 0:
            raise ValueError(f"expected seed >= 0, got {self.seed}")


def check_prompts(prompts: Sequence[str]) -> None:
    """Raise a ValueError unless there is a prompt and none is blank."""
    if isinstance(prompts, str):
        raise ValueError(f"expected a list of prompts, got the string {prompts!r}; wrap it in []")
    if not prompts:
        raise ValueError("expected at least one prompt, got none; say what to segment")
    for prompt in prompts:
        if not prompt.strip():
            raise ValueError(
                f"expected a sentence, got the blank prompt {prompt!r}; say what to segment"
            )
