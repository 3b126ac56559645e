"""Features of the clips that a learned probe sees: computed once and kept, or anew each time.

    <folder>/<clip>.safetensors     block -> [T', C, h, w]; appears when it is complete

B clips, T frames, T' feature frames, C channels, h x w cells, H x W pixels.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vdit.datasets.videos import Video, VideoDataset
from vdit.feature_files import converted, write_safetensors
from vdit.features import collect_features, extract_features
from vdit.frame_fit import plan_fit
from vdit.probing.clip_views import ClipView
from vdit.probing.feature_sources import Backbones, FeatureSource
from vdit.probing.probe_task import FeatureShape, ProbeTask

SECONDS, SPANS = "seconds", "spans"

Span = tuple[int, int]
"""Half-open range of the frames of a clip."""


@dataclass(frozen=True)
class Example:
    """One clip of one video.

    Attributes:
        video: of a data set.
        view: the clip.
    """

    video: Any
    view: ClipView

    @property
    def key(self) -> str:
        """Name of the clip, the same for the same video and view; also seeds its noise."""
        video: Video = self.video
        facts = [video.dataset, video.split, video.name, repr(self.view)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def list_examples(
    task: ProbeTask, dataset: VideoDataset[Any], is_training: bool
) -> list[list[Example]]:
    """List the clips of every video."""
    return [[Example(video, view) for view in task.views(video, is_training)] for video in dataset]


class KeptFeatures:
    """Features on disk; several blocks of one pass over the network lie in one file.

    Args:
        backbones: builds the networks.
        source: where features come from; its `block` is what is read.
        blocks: that are kept of a pass, `source.block` among them.
        folder: of the features of one data set, as clips are told apart by their videos' names.
        dtype: of the kept numbers.
        is_pooled: keep the mean over a clip only, [1, C, 1, 1].
        frames: positions in the clips; only feature frames that stand for one of them are kept.
            None = all.
    """

    def __init__(
        self,
        backbones: Backbones,
        source: FeatureSource,
        blocks: Sequence[str],
        folder: Path,
        dtype: str,
        is_pooled: bool,
        frames: tuple[int, ...] | None = None,
    ) -> None:
        self.backbones, self.source, self.blocks = backbones, source, tuple(sorted(blocks))
        self.dtype, self.is_pooled, self.frames = dtype, is_pooled, frames
        kind = f"{dtype}-pooled" if is_pooled else dtype
        if frames is not None:
            kind = "-".join([kind, "frames", *map(str, frames)])
        self.folder = folder / "-".join([source.pass_key, *self.blocks, kind])

    def compute(self, examples: Iterable[Example]) -> None:
        """Compute what is missing.

        Raises:
            ValueError: as `extract_features`; a number is too large for float16.
        """
        for example in examples:
            path = self._path(example)
            if path.is_file():
                continue
            begin = time.perf_counter()
            found, spans = self._extract(example)
            seconds = time.perf_counter() - begin
            if self.is_pooled:
                found = {name: maps.mean((0, 2, 3), keepdim=True) for name, maps in found.items()}
                spans = [(spans[0][0], spans[-1][1])]
            if self.frames is not None:
                steps = _steps_of(spans, self.frames)
                found = {name: maps[steps] for name, maps in found.items()}
                spans = [spans[step] for step in steps]
            path.parent.mkdir(parents=True, exist_ok=True)
            write_safetensors(path, converted(found, self.dtype), {SECONDS: seconds, SPANS: spans})

    def read(self, example: Example) -> Tensor:
        """Give the features [T', C, h, w] float32 of a clip that was computed.

        Raises:
            ValueError: they are missing or damaged.
        """
        return self.stored(example).float()

    def stored(self, example: Example) -> Tensor:
        """Give them in the dtype that is kept; otherwise as `read`."""
        return self._read(example)[0]

    def shape(self, example: Example) -> FeatureShape:
        """Describe the features of a clip that was computed.

        Raises:
            ValueError: they are missing or damaged.
        """
        features, facts = self._read(example)
        return shape_of(features, [(start, stop) for start, stop in facts[SPANS]])

    def _read(self, example: Example) -> tuple[Tensor, dict[str, Any]]:
        path = self._path(example)
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads(file.metadata()["facts"])
                return file.get_tensor(self.source.block), facts
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"features of {example.video.name} cannot be read ({error}); remove {path} and run "
                "again"
            ) from error

    def seconds(self, examples: Iterable[Example]) -> float:
        """Add up how long the passes of these clips took, whenever they were run."""
        total = 0.0
        for example in examples:
            with safe_open(self._path(example), "pt") as file:
                total += json.loads(file.metadata()["facts"])[SECONDS]
        return total

    def remove(self, examples: Iterable[Example]) -> None:
        """Delete the features of clips, and the folder and the one above once they are empty."""
        for example in examples:
            self._path(example).unlink(missing_ok=True)
        for folder in (self.folder, self.folder.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _extract(self, example: Example) -> tuple[Mapping[str, Tensor], list[Span]]:
        backbone = self.backbones.network(self.source)
        frames = example.view.frames(example.video)
        size = frames.shape[1:3]
        options = self.source.feature_options(self.blocks, size, backbone.size_multiple)
        chunks = list(extract_features(backbone, frames, options, video_id=example.key))
        return collect_features(chunks), [span for chunk in chunks for span in chunk.spans]

    def _path(self, example: Example) -> Path:
        return self.folder / f"{example.key}.safetensors"


def _steps_of(spans: Sequence[Span], frames: Sequence[int]) -> list[int]:
    """Positions of the spans that hold one of the frames."""
    return [
        step
        for step, (start, stop) in enumerate(spans)
        if any(start <= frame < stop for frame in frames)
    ]


class HeldFeatures:
    """Features that are read in every epoch: the first ones stay in memory, others on disk.

    Args:
        kept: features on disk.
        most_bytes: that may be held.
    """

    def __init__(self, kept: KeptFeatures, most_bytes: int) -> None:
        self.kept, self.left = kept, most_bytes
        self._held: dict[str, Tensor] = {}

    def read(self, example: Example) -> Tensor:
        """Give the features [T', C, h, w] float32 of a clip; see `KeptFeatures.read`."""
        key = example.key
        found = self._held.get(key)
        if found is None:
            found = self.kept.stored(example)
            if found.nbytes <= self.left:
                self.left -= found.nbytes
                self._held[key] = found = found.clone()  # without the file that it may lie in
        return found.float()


class ClipFrames:
    """Frames in place of features, for a backbone that computes them in every step.

    Args:
        source: says at which size the backbone sees them.
        size_multiple: of the backbone.
    """

    def __init__(self, source: FeatureSource, size_multiple: int) -> None:
        self.source, self.size_multiple = source, size_multiple

    def read(self, example: Example) -> Tensor:
        """Give the frames of a clip, [T, 3, H, W] float32 in 0..1."""
        frames = example.view.frames(example.video)
        height, width = frames.shape[1:3]
        size = self.source.input_size(height, width, self.size_multiple)
        fit = plan_fit(height, width, self.size_multiple, size=size, fit="resize")
        return fit.apply(list(frames))


class RandomFeatures:
    """Random numbers in place of features: no head can know more from them than chance.

    Args:
        shape: of the features of a training clip.
        seed: of the numbers, beside the clip.
        num_frames: of a training clip; longer clips of a test get more steps.
    """

    def __init__(self, shape: FeatureShape, seed: int, num_frames: int) -> None:
        self.shape, self.seed, self.num_frames = shape, seed, num_frames

    def read(self, example: Example) -> Tensor:
        """Give [T', C, h, w] standard normal numbers, the same for the same clip."""
        shape = self.shape
        generator = torch.Generator().manual_seed(int(example.key[:15], 16) ^ self.seed)
        steps = max(shape.steps * len(example.view.indices) // self.num_frames, 1)
        size = (steps, shape.channels, shape.height, shape.width)
        return torch.randn(size, generator=generator)


def shape_of(features: Tensor, spans: Sequence[Span]) -> FeatureShape:
    """Describe features [..., T', C, h, w] and the frames of the clip that they stand for."""
    steps, channels, height, width = features.shape[-4:]
    return FeatureShape(steps, channels, height, width, tuple(spans))
