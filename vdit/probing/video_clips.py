"""Videos of a data set as a probe takes them: from the first labelled frame on.

T frames, H x W pixels.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.labelled_videos import KeypointVideo, LabelledVideo
from vdit.datasets.video_datasets import VIDEO_DATASETS
from vdit.datasets.videos import VideoDataset
from vdit.probing.propagation_config import DataOptions

FRAMES_AT_ONCE = 16


@dataclass(frozen=True)
class Clip:
    """Frames `start`..`stop` of a video, decoded again in each loop.

    Attributes:
        video: of the data set.
        start: position of the first frame, which has truth.
        stop: position behind the last frame.
    """

    video: LabelledVideo | KeypointVideo
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        return self.video.name

    @property
    def height(self) -> int:
        return self.video.size[0]

    @property
    def width(self) -> int:
        return self.video.size[1]

    @property
    def frame_names(self) -> tuple[str, ...]:
        return self.video.frame_names[self.start : self.stop]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames [H, W, 3] uint8; a few are in memory at a time."""
        for first in range(self.start, self.stop, FRAMES_AT_ONCE):
            yield from self.video.frames(range(first, min(first + FRAMES_AT_ONCE, self.stop)))


@dataclass(frozen=True)
class ProbeData:
    """The clips of a probe.

    Attributes:
        dataset: name of the data set.
        split: part of it.
        clips: in the order of the data set.
        note: how its videos were chosen, where that is not the choice of the owners.
    """

    dataset: str
    split: str
    clips: tuple[Clip, ...]
    note: str = ""


def read_clips(options: DataOptions) -> ProbeData:
    """Read a data set.

    Raises:
        ValueError: the data set or a video is unknown, an option does not fit its reader, it cannot
            be read, or nothing is left of it.
    """
    if options.dataset not in VIDEO_DATASETS:
        raise ValueError(
            f"expected data.dataset among {', '.join(VIDEO_DATASETS)}; got {options.dataset!r}"
        )
    read: Callable[..., Any] = VIDEO_DATASETS[options.dataset].read
    arguments = (Path(options.root), options.split)
    try:
        inspect.signature(read).bind(*arguments, **options.options)
    except TypeError as error:
        raise ValueError(f"data.options do not fit {options.dataset}: {error}") from error
    dataset: VideoDataset[LabelledVideo] | VideoDataset[KeypointVideo] = read(
        *arguments, **options.options
    )
    chosen = [dataset.find(name) for name in options.videos] or list(dataset)
    if not chosen:
        raise ValueError(f"{options.dataset} {options.split} holds no video, expected one or more")
    clips = tuple(_clip(video, options.max_frames) for video in chosen)
    return ProbeData(options.dataset, options.split, clips, dataset.note)


def _clip(video: LabelledVideo | KeypointVideo, max_frames: int | None) -> Clip:
    start = 0
    if isinstance(video, LabelledVideo):
        if not video.labelled:
            raise ValueError(f"{video.name} has no labelled frame, expected at least one")
        start = video.labelled[0]
    stop = len(video.frame_names)
    return Clip(video, start, stop if max_frames is None else min(stop, start + max_frames))
