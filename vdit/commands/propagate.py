"""`vdit propagate`: carry the masks of the first frame through a video by a backbone's features."""

from __future__ import annotations

import itertools
import json
import time
from argparse import Namespace
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vdit.atomic import replace_folder_when_complete
from vdit.build import build_backbone, quiet_libraries
from vdit.commands.segment import check_device
from vdit.feature_options import FeatureOptions
from vdit.features import extract_features
from vdit.masks import read_mask_png, write_palette_png
from vdit.measure import peak_memory
from vdit.models.backbones.base import Backbone
from vdit.propagation import PropagationSettings, stream_labels
from vdit.propagation.mask_labels import labels_from_mask, mask_from_labels
from vdit.video import open_video
from vdit.video_reader import VideoReader
from vdit.video_writer import VideoWriter
from vdit.visualize import object_colors, overlay_masks


def run(arguments: Namespace) -> None:
    """Write `masks/`, `overlay.mp4` and `result.json`."""
    begin = time.perf_counter()
    settings = PropagationSettings.dino(
        arguments.num_context, arguments.radius, arguments.topk, arguments.temperature
    )
    options = FeatureOptions(
        blocks=(arguments.block,),
        timestep=arguments.timestep,
        short_side=arguments.short_side,
        seed=arguments.seed,
        fit="resize",
    )
    check_device(arguments.device)
    reader = open_video(arguments.video)
    first = _first_labels(arguments.labels, reader)
    quiet_libraries()
    backbone = build_backbone(
        arguments.backbone, path=arguments.weights, dtype=getattr(torch, arguments.dtype)
    ).to(arguments.device)
    backbone.check_blocks(options.blocks)
    if backbone.blocks[arguments.block].temporal_stride != 1 or backbone.frame_multiple != 1:
        raise ValueError(
            f"expected a backbone with a feature map for every frame, got {arguments.backbone}; "
            "choose another, or one that repeats frames"
        )
    names = []
    with replace_folder_when_complete(arguments.output) as folder:
        (folder / "masks").mkdir()
        with VideoWriter(folder / "overlay.mp4", reader.fps) as writer:
            masks = _carry(backbone, reader, first, options, settings)
            for index, (frame, mask) in enumerate(zip(reader, masks, strict=True)):
                names.append(reader.frame_name(index))
                write_palette_png(folder / "masks" / f"{names[-1]}.png", mask)
                writer.add(_overlay(frame, mask, int(first.max())))
        result = {
            "video": reader.path.name,
            "backbone": arguments.backbone,
            "block": arguments.block,
            "timestep": arguments.timestep,
            "num_context": arguments.num_context,
            "radius": arguments.radius,
            "topk": arguments.topk,
            "temperature": arguments.temperature,
            "objects": int(first.max()),
            "frames": names,
            "seconds": round(time.perf_counter() - begin, 3),
            "peak_memory_bytes": peak_memory(),
        }
        (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"{result['objects']} objects, {len(names)} frames: {arguments.output}")


def _first_labels(path: str, reader: VideoReader) -> np.ndarray:
    """Read the labels of the first frame, [H, W] uint8."""
    labels = read_mask_png(path)
    size = (reader.height, reader.width)
    if labels.shape != size:
        raise ValueError(
            f"expected labels of the video's size {size[0]}x{size[1]}, got "
            f"{labels.shape[0]}x{labels.shape[1]} in {path}; resize them by the nearest pixel"
        )
    if set(np.unique(labels)) == {0, 255}:
        labels = labels // 255
    if not labels.any() or labels.max() > 255:
        raise ValueError(f"expected labels 1..255 of objects in {path}, got {labels.max()}")
    return labels.astype(np.uint8)


def _carry(
    backbone: Backbone,
    reader: VideoReader,
    first: np.ndarray,
    options: FeatureOptions,
    settings: PropagationSettings,
) -> Iterator[np.ndarray]:
    """Yield the labels [H, W] uint8 of every frame; one clip of features is in memory at a time."""
    maps = _maps(backbone, reader, options)
    features = next(maps)
    height, width = features.shape[-2:]
    labels = labels_from_mask(torch.from_numpy(first.astype(np.int64)), (height, width))
    yield first
    for soft in stream_labels(itertools.chain([features], maps), labels, settings):
        yield mask_from_labels(soft, first.shape).numpy().astype(np.uint8)


def _maps(backbone: Backbone, reader: VideoReader, options: FeatureOptions) -> Iterator[Tensor]:
    for chunk in extract_features(backbone, reader, options, video_id=reader.path.name):
        yield from chunk.features[options.blocks[0]]


def _overlay(frame: np.ndarray, mask: np.ndarray, num_objects: int) -> np.ndarray:
    masks = np.stack([mask == number for number in range(1, num_objects + 1)])
    return overlay_masks(frame, masks, object_colors(num_objects))
