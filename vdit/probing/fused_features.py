"""Features of several backbones as one, frame by frame: TED's fusion over a whole video.

A video is split into clips of each backbone's own length; the last clip is moved back until it is
full, so that no frame is lost. One clip a backbone is in memory at a time.

C channels, h x w cells.

Reference: TED (emerging tracking from video diffusion), Algorithm 1 and its fusion of I2VGen-XL
and ADM.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import numpy as np
from torch import Tensor

from vdit.feature_store import INDEX_FILE, FeatureStore, ShardOptions, store_features
from vdit.features import extract_features
from vdit.probing.feature_sources import Backbones, FeatureSource
from vdit.propagation.fusion import fuse_features


class FrameStream(Protocol):
    """Frames of one video, decoded again in each loop; `VideoReader` is one."""

    @property
    def height(self) -> int:
        """H in pixels."""

    @property
    def width(self) -> int:
        """W in pixels."""

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames [H, W, 3] uint8."""


class SharedFeatures:
    """Features on disk, for passes that several probes need.

    Args:
        folder: where they lie, `folder/<video>/<pass>/`.
        blocks: pass -> blocks that are taken from it at once; other passes are not stored.
        dtype: of the stored numbers; "float32" changes no result.
    """

    def __init__(
        self, folder: str | Path, blocks: Mapping[str, Sequence[str]], dtype: str = "float32"
    ) -> None:
        self.folder, self.blocks = Path(folder), blocks
        self.shards = ShardOptions(dtype, frames_per_shard=16)

    def maps(
        self, backbones: Backbones, source: FeatureSource, frames: FrameStream, video_id: str
    ) -> Iterator[Tensor]:
        """Yield the map [C, h, w] of every frame, computed and stored if it is not there."""
        blocks = tuple(sorted(self.blocks[source.pass_key]))
        folder = self._of_video(video_id) / f"{source.pass_key}-{'-'.join(blocks)}"
        if (folder / INDEX_FILE).is_file():
            store = FeatureStore(folder)
        else:
            backbone = backbones.get(source)
            size = (frames.height, frames.width)
            options = source.feature_options(blocks, size, backbone.size_multiple)
            store = store_features(
                backbone, frames, folder, options, self.shards, video_id=video_id
            )
        maps = itertools.chain.from_iterable(store.stream(source.block))
        for each, span in zip(maps, store.spans, strict=True):
            yield from itertools.repeat(each.float(), span[1] - span[0])

    def remove(self, video_id: str) -> None:
        """Delete what is stored of a video that no probe needs any more."""
        shutil.rmtree(self._of_video(video_id), ignore_errors=True)

    def remove_all(self) -> None:
        """Delete everything, the folder included, once no probe needs anything any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _of_video(self, video_id: str) -> Path:
        return self.folder / quote(video_id, safe="")


def fused_features(
    frames: FrameStream,
    sources: Sequence[FeatureSource],
    backbones: Backbones,
    *,
    video_id: str = "",
    shared: SharedFeatures | None = None,
) -> Iterator[Tensor]:
    """Compute one feature map a frame from all sources.

    Maps of several sources are resized to the finest grid among them, scaled to unit length in each
    cell, weighted and concatenated (see `fuse_features`). Those of a single source are given as
    they are. A source of weight 0 is neither computed nor loaded.

    Args:
        frames: of the video.
        sources: where features come from.
        backbones: builds the networks.
        video_id: name of the video in the seeds of the noise.
        shared: where features lie that others need too.

    Yields:
        [C, h, w] float32 on the CPU; of one clip a source at most, more are not in memory.

    Raises:
        ValueError: all weights are 0, or as `Backbones.get` and `extract_features`.
    """
    kept = [source for source in sources if source.weight > 0]
    if not kept:
        raise ValueError("expected a source of a weight > 0, got none; raise one")
    streams = [_maps(frames, source, backbones, video_id, shared) for source in kept]
    if len(streams) == 1:
        return streams[0]
    return _fuse(streams, [source.weight for source in kept])


def _fuse(streams: Sequence[Iterable[Tensor]], weights: Sequence[float]) -> Iterator[Tensor]:
    for maps in zip(*streams, strict=True):
        yield fuse_features(maps, weights)


def _maps(
    frames: FrameStream,
    source: FeatureSource,
    backbones: Backbones,
    video_id: str,
    shared: SharedFeatures | None,
) -> Iterator[Tensor]:
    if shared is not None and source.pass_key in shared.blocks:
        yield from shared.maps(backbones, source, frames, video_id)
        return
    backbone = backbones.get(source)
    size = (frames.height, frames.width)
    options = source.feature_options((source.block,), size, backbone.size_multiple)
    for chunk in extract_features(backbone, frames, options, video_id=video_id):
        for each, span in zip(chunk.features[source.block], chunk.spans, strict=True):
            yield from itertools.repeat(each, span[1] - span[0])
