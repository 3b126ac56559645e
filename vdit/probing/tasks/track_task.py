"""What following points and following boxes have in common as tasks of learned probes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from vdit.datasets.videos import Video, VideoDataset
from vdit.probing.clip_views import ClipView, ViewOptions, choose_views
from vdit.probing.probe_task import Tensors
from vdit.probing.tasks.track_questions import KeptTargets

Head = TypeVar("Head")
V = TypeVar("V", bound=Video)


class TrackTask(ABC, Generic[Head, V]):
    """Follow something through clips; targets of training clips are kept.

    Args:
        head: options of what follows.
        view: how clips are cut out.

    Attributes:
        kind_of_video: that has the truth.
        followed: what is followed, for sentences.
    """

    unit = "%"
    is_pooled = False
    kind_of_video: type[V]
    followed: str

    def __init__(self, head: Head, view: ViewOptions) -> None:
        self.head, self.view = head, view
        self._kept = KeptTargets()

    def check(self, dataset: VideoDataset[Any]) -> None:
        """See `ProbeTask`, as for all methods."""
        if not all(isinstance(video, self.kind_of_video) for video in dataset):
            raise ValueError(
                f"expected a data set of {self.followed}, got {dataset.name}; choose another task"
            )

    def views(self, video: V, is_training: bool) -> list[ClipView]:
        count = len(video.frame_names)
        return choose_views(self.view, count, video.size, is_training=is_training)

    def targets(self, video: V, view: ClipView, is_training: bool) -> Tensors:
        """Give what is asked for; see `make_targets`."""
        if is_training:
            return self._kept.get(video, view, lambda: self.make_targets(video, view, True))
        return self.make_targets(video, view, False)

    @abstractmethod
    def make_targets(self, video: V, view: ClipView, is_training: bool) -> Tensors:
        """Read the truth of a clip and choose what is asked for."""
