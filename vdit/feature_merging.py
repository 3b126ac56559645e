"""Feature frames of overlapping clips become one sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

Merge = Literal["average", "later"]


@dataclass(frozen=True)
class FeatureChunk:
    """Consecutive feature frames of a video.

    Attributes:
        start: index of the first one in the video.
        features: block -> [T', C, h, w] float32.
        spans: half-open range of video frames that each feature frame stands for.
    """

    start: int
    features: dict[str, Tensor]
    spans: tuple[tuple[int, int], ...]

    @property
    def stop(self) -> int:
        return self.start + len(self.spans)


class Spans(Protocol):
    """Knows which frames a feature frame stands for."""

    def span(self, feature: int, num_frames: int) -> tuple[int, int]: ...


class Merger:
    """Add up feature frames that several clips give; hand them out once no clip adds to them.

    Args:
        merge: the mean over clips, or what the latest clip gave.
        start: feature frames before it are dropped.
    """

    def __init__(self, merge: Merge, start: int = 0) -> None:
        self.merge = merge
        self.start = start
        self.sums: dict[int, dict[str, Tensor]] = {}
        self.counts: dict[int, int] = {}

    def add(self, start: int, features: dict[str, Tensor]) -> None:
        """Add what one clip gave: block -> [T', C, h, w], the first at feature frame `start`."""
        (length,) = {len(feature) for feature in features.values()}
        for position in range(length):
            index = start + position
            if index < self.start:
                continue
            new = {name: feature[position] for name, feature in features.items()}
            old = self.sums.get(index)
            if old is None or self.merge == "later":
                # a view would keep the whole clip in memory
                self.sums[index] = {name: x.clone() for name, x in new.items()}
                self.counts[index] = 1
            else:
                self.sums[index] = {name: old[name] + x for name, x in new.items()}
                self.counts[index] += 1

    def pop_before(self, stop: int, spans: Spans, num_frames: int) -> FeatureChunk | None:
        """Hand out the feature frames before `stop`; None if there are none."""
        indices = [index for index in sorted(self.sums) if index < stop]
        if not indices:
            return None
        means = []
        for index in indices:
            count = self.counts.pop(index)
            means.append({name: x / count for name, x in self.sums.pop(index).items()})
        return FeatureChunk(
            start=indices[0],
            features={name: torch.stack([mean[name] for mean in means]) for name in means[0]},
            spans=tuple(spans.span(index, num_frames) for index in indices),
        )
