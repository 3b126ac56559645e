"""Feature maps of single frames, kept on disk: a step of training reads two frames of a video.

A folder holds one folder a video, with `<block>.npy` [T, C, h, w] for each block and `index.json`,
which says what they are of. Blocks of one stride are joined along the channels into one level.

Axes: T frames, C channels, h x w feature cells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vdit.atomic import replace_folder_when_complete
from vdit.datasets.videos import Video
from vdit.features import extract_features
from vdit.fingerprint import fingerprint
from vdit.models.backbones.base import Backbone
from vdit.probing.feature_sources import FeatureSource
from vdit.video_reader import VideoReader

__all__ = ["FeatureConfig", "FrameFeatures", "Levels", "name_weights", "stream_maps"]

_INDEX = "index.json"


@dataclass(frozen=True)
class FeatureConfig:
    """What a tracker sees of a frame.

    Attributes:
        source: backbone, noise level, size of the frames; its `block` is one of the maps.
        more_blocks: names of the other maps. Those of one stride become one level.
        folder: where the maps are kept; "" = beside the model.
        dtype: of kept maps.
    """

    source: FeatureSource = field(default_factory=FeatureSource)
    more_blocks: list[str] = field(default_factory=list)
    folder: str = ""
    dtype: Literal["float16", "float32"] = "float16"

    @property
    def blocks(self) -> tuple[str, ...]:
        """All wanted maps, each once."""
        return tuple(dict.fromkeys((self.source.block, *self.more_blocks)))


@dataclass(frozen=True)
class Levels:
    """Which blocks make which level of a pyramid.

    Attributes:
        blocks: names of the blocks of each level, fine to coarse.
        channels: of each level.
        strides: of each level, in pixels.
    """

    blocks: tuple[tuple[str, ...], ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, backbone: Backbone, blocks: Sequence[str]) -> Levels:
        """Group blocks of a backbone by their strides.

        Raises:
            ValueError: a block is unknown.
        """
        backbone.check_blocks(blocks)
        strides = sorted({backbone.blocks[name].stride for name in blocks})
        groups = [
            tuple(name for name in blocks if backbone.blocks[name].stride == stride)
            for stride in strides
        ]
        channels = [sum(backbone.blocks[name].channels for name in group) for group in groups]
        return cls(tuple(groups), tuple(channels), tuple(strides))

    def join(self, maps: Mapping[str, Tensor]) -> list[Tensor]:
        """Join maps [..., C, h, w] of blocks to those of levels."""
        return [torch.cat([maps[name] for name in group], dim=-3) for group in self.blocks]


def name_weights(backbone: Backbone) -> str:
    """Tell the weights of a backbone from those of its other releases."""
    return fingerprint(backbone.state_dict().items())


def stream_maps(
    backbone: Backbone,
    config: FeatureConfig,
    video: Video | VideoReader,
    size: tuple[int, int],
    name: str,
) -> Iterator[dict[str, Tensor]]:
    """Give the maps of one frame after the other, block -> [C, h, w] float32.

    Args:
        backbone: of the source.
        config: what to take from it.
        video: its frames.
        size: (H, W) of these.
        name: of the video, in the seeds of noise.

    Raises:
        ValueError: see `vdit.features.extract_features`.
    """
    options = config.source.feature_options(config.blocks, size, backbone.size_multiple)
    frames = video.stream() if isinstance(video, Video) else video
    repeat = backbone.frame_multiple
    if repeat != 1:
        raise ValueError(
            f"expected a backbone with a feature map for every frame, got {config.source.backbone}"
        )
    for chunk in extract_features(backbone, frames, options, video_id=name):
        for index in range(len(chunk.spans)):
            yield {block: maps[index] for block, maps in chunk.features.items()}


class FrameFeatures:
    """Kept feature maps of the frames of some videos.

    Args:
        folder: where they lie or will lie.
        config: what to take from the backbone.
        levels: which blocks make which level.
        weights: of the backbone, see `name_weights`.
    """

    def __init__(self, folder: Path, config: FeatureConfig, levels: Levels, weights: str) -> None:
        self.folder, self.config, self.levels = Path(folder), config, levels
        self.weights = weights
        self._open: dict[str, dict[str, np.ndarray]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Workers open the files themselves."""
        return self.__dict__ | {"_open": {}}

    def has(self, video: Video) -> bool:
        """Whether the maps of a video are there.

        Raises:
            ValueError: there are maps, but of other settings or weights, or of another number of
                frames.
        """
        path = self._place(video) / _INDEX
        if not path.exists():
            return False
        facts = json.loads(path.read_text())
        if facts != self._facts(video):
            raise ValueError(
                f"{path} describes features of other settings or weights; name another "
                "features.folder, or remove it"
            )
        return True

    def complete(self, videos: Iterable[Video], backbone: Backbone) -> None:
        """Compute and keep the maps of those videos that have none."""
        for video in videos:
            if not self.has(video):
                self.store(video, backbone)

    def store(self, video: Video, backbone: Backbone) -> None:
        """Compute and keep the maps of a video; a folder appears once all of them are there."""
        count = len(video.frame_names)
        with replace_folder_when_complete(self._place(video)) as folder:
            files: dict[str, Any] = {}  # memory maps
            stream = stream_maps(backbone, self.config, video, video.size, video.name)
            for index, maps in enumerate(stream):
                for block, values in maps.items():
                    if block not in files:
                        files[block] = np.lib.format.open_memmap(
                            folder / f"{block}.npy",
                            mode="w+",
                            dtype=self.config.dtype,
                            shape=(count, *values.shape),
                        )
                    files[block][index] = values.numpy()
            for file in files.values():
                file.flush()
            (folder / _INDEX).write_text(json.dumps(self._facts(video), indent=1) + "\n")

    def read(self, video: Video, index: int) -> list[Tensor]:
        """Read the maps [C, h, w] float32 of every level of one frame."""
        place = str(self._place(video))
        if place not in self._open:
            self._open[place] = {
                block: np.load(Path(place) / f"{block}.npy", mmap_mode="r")
                for block in self.config.blocks
            }
        maps = {
            block: torch.from_numpy(np.array(values[index], np.float32))
            for block, values in self._open[place].items()
        }
        return self.levels.join(maps)

    def _place(self, video: Video) -> Path:
        return self.folder / f"{video.dataset}-{video.split}" / video.name

    def _facts(self, video: Video) -> dict[str, Any]:
        return {
            "source": self.config.source.pass_key,
            "weights": self.weights,
            "blocks": list(self.config.blocks),
            "dtype": self.config.dtype,
            "frames": len(video.frame_names),
        }
