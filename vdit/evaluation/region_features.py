"""How alike the features of one object stay along a video, by its true masks.

Axes: N objects, T frames, T' feature frames, C channels, H x W pixels, h x w feature cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from vdit.datasets.referring import ReferringDataset, ReferringSample
from vdit.feature_options import FeatureOptions
from vdit.features import collect_features, extract_features, fit_for
from vdit.frame_fit import FrameFit
from vdit.metrics.consistency import pool_regions, similarity_to_first
from vdit.models.backbones.base import Backbone

__all__ = ["NUM_FRAMES", "cell_weights", "mean_similarities", "region_similarities"]

NUM_FRAMES = 8
"""Frames of a video that are compared: the first with seven more, as in the paper."""


def region_similarities(
    backbone: Backbone,
    dataset: ReferringDataset,
    block: str,
    options: FeatureOptions | None = None,
    *,
    num_frames: int = NUM_FRAMES,
    max_videos: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[np.ndarray]:
    """Pool features in the true mask of each object and compare later frames with the first.

    Args:
        backbone: whose features; every frame needs a feature frame of its own.
        dataset: a split with masks in all frames.
        block: feature map to pool.
        options: timestep, size, text and the like; `blocks` is ignored.
        num_frames: taken from the start of each video; shorter videos and videos whose objects all
            appear later are left out.
        max_videos: at most so many videos; None = all.
        progress: called with the videos done and in all.

    Returns:
        One array [num_frames - 1] of cosine similarities an object; NaN where it is out of sight.

    Raises:
        ValueError: fewer than two frames; no video fits; the truth is not public, or the backbone
            spans several frames by one feature frame or has no such block.
    """
    if num_frames < 2:
        raise ValueError(f"expected at least two frames to compare, got {num_frames}")
    if backbone.frame_multiple != 1:
        raise ValueError(
            f"one feature frame of this backbone spans {backbone.frame_multiple} frames, expected "
            "one each; take another backbone"
        )
    options = replace(options or FeatureOptions(), blocks=(block,))
    backbone.check_blocks(options.blocks)
    if backbone.temporal and options.clip_length is None and backbone.clip_length is None:
        options = replace(options, clip_length=num_frames)  # no frame is seen twice as padding
    videos = [
        samples
        for samples in dataset.by_video().values()
        if samples[0].labelled is None and len(samples[0].frame_names) >= num_frames
    ][:max_videos]
    found: list[np.ndarray] = []
    for number, samples in enumerate(videos, start=1):
        found += _compare_video(backbone, samples, options, num_frames)
        if progress:
            progress(number, len(videos))
    if not found:
        raise ValueError(
            f"{dataset.name} {dataset.split} has no video of {num_frames} frames with masks that "
            "shows an object in its first one; take fewer frames or another split"
        )
    return found


def mean_similarities(similarities: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over objects for each distance to the first frame, [T - 1]; NaN where none is seen."""
    values = np.stack(similarities)
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(len(counts), math.nan), where=counts > 0)


def cell_weights(masks: np.ndarray, fit: FrameFit, stride: int) -> np.ndarray:
    """Share of each feature cell that lies in a mask.

    Args:
        masks: [T, H, W] bool at the size of the frames.
        fit: how the frames were brought to the size of the network.
        stride: pixels of a cell.

    Returns:
        [T, h, w] float32 in 0..1; padding counts as outside.
    """
    pictures = [np.repeat(mask[..., None], 3, axis=-1).astype(np.uint8) * 255 for mask in masks]
    inside = fit.apply(pictures)[:, :1]
    height, width = fit.shown
    inside[..., height:, :] = 0
    inside[..., width:] = 0
    pooled = functional.avg_pool2d(inside, stride, ceil_mode=True)
    return fit.crop(pooled, stride)[:, 0].numpy()


def _compare_video(
    backbone: Backbone,
    samples: Sequence[ReferringSample],
    options: FeatureOptions,
    num_frames: int,
) -> list[np.ndarray]:
    """Similarities of the objects of one video that its first frame shows."""
    first = samples[0]
    ids = sorted({object_id for sample in samples for object_id in sample.object_ids or ()})
    if first.mask_source is None:
        raise ValueError(
            f"{first.dataset} {first.split} has no public masks; use a split with truth"
        )
    if not ids:
        return []
    indices = list(range(num_frames))
    masks = first.mask_source.read(indices, ids, first.size)
    visible = masks[masks[:, 0].any(axis=(1, 2))]
    if not len(visible):
        return []
    frames = first.frames(indices)
    with torch.no_grad():
        chunks = extract_features(backbone, frames, options, video_id=first.video)
        (features,) = collect_features(chunks).values()
    fit = fit_for(backbone, frames[0], options)
    stride = backbone.blocks[options.blocks[0]].stride
    maps = features[:num_frames].numpy()
    return [
        similarity_to_first(pool_regions(maps, cell_weights(each, fit, stride))) for each in visible
    ]
