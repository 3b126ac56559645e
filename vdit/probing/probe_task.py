"""What a learned probe is asked: targets of clips, a head, a loss, answers and their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from vdit.datasets.videos import VideoDataset
from vdit.probing.clip_views import ClipView

Tensors = dict[str, Tensor]
"""Targets or answers by name; of one clip without, of several with a first axis of clips."""

Record = dict[str, Any]
"""Scores of one video, as JSON holds them."""


@dataclass(frozen=True)
class FeatureShape:
    """What features [B, T', C, h, w] of clips look like.

    Attributes:
        steps: T'.
        channels: C.
        height: h in cells.
        width: w in cells.
        spans: half-open range of frames of the clip that each of the T' steps stands for; () =
            every frame has its own.
    """

    steps: int
    channels: int
    height: int
    width: int
    spans: tuple[tuple[int, int], ...] = ()


class ProbeTask(Protocol):
    """One thing that features may know.

    Attributes:
        metrics: those that tables show, the main one first -> whether more is better.
        unit: of the main metric, for the axes of charts: "%", "m", "".
        is_pooled: the head sees no more than the mean of a clip's features; then only that is kept,
            as features [1, C, 1, 1].
    """

    metrics: Mapping[str, bool]
    unit: str

    @property
    def is_pooled(self) -> bool: ...

    def check(self, dataset: VideoDataset[Any]) -> None:
        """Raise a ValueError unless the videos have the truth that is asked for."""

    def views(self, video: Any, is_training: bool) -> list[ClipView]:
        """List the clips of a video; those of a test are scored together."""

    def targets(self, video: Any, view: ClipView, is_training: bool) -> Tensors:
        """Give what is true of a clip, and what the head is asked.

        Targets of all training clips have one shape; those of a test may differ.
        """

    def build_head(self, shape: FeatureShape) -> nn.Module:
        """Make a head for such features; its weights come from torch's random numbers."""

    def losses(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """Compute loss terms of clips; "loss" is minimized, all are logged.

        Args:
            head: of `build_head`.
            features: [B, T', C, h, w].
            targets: with a first axis of B.
        """

    def answer(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """Answer for clips, with a first axis of B; of `targets` only the questions are used."""

    def blind_rule(self, training: Iterable[Tensors]) -> Callable[[Tensors], Tensors]:
        """Learn to answer without features, from targets of training clips: that is chance.

        The best that one rule for all clips can do: the most frequent class, the mean depth, points
        that stay where they are.

        Returns:
            Targets of a clip, of which only the questions are used -> answer; no axis of clips.
        """

    def score(self, answers: Sequence[Tensors], targets: Sequence[Tensors]) -> Record:
        """Score the views of one video; tensors are on the CPU and have no axis of clips."""

    def summarize(self, records: Sequence[Record]) -> dict[str, float]:
        """Compute metrics over all videos, those of `metrics` among them."""


@runtime_checkable
class SeesFrames(Protocol):
    """A task whose head may see the features of some frames of a clip alone.

    The others are computed, as a video backbone needs the whole clip, but not kept.
    """

    @property
    def frames_seen(self) -> tuple[int, ...] | None:
        """Positions of these frames in a clip; None = all."""


@runtime_checkable
class DrawingTask(Protocol):
    """A task that can show its answers."""

    def draw(
        self, video: Any, views: Sequence[ClipView], answers: Sequence[Tensors], folder: Path
    ) -> Sequence[Path]:
        """Write pictures of the answers for the views of one video into a folder: the files."""
