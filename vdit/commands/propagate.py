"""`vdit propagate`: masks or key points of the first frame through a video by features."""

from __future__ import annotations

import itertools
import json
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vdit.atomic import replace_folder_when_complete
from vdit.build import build_backbone, quiet_libraries
from vdit.commands.segment import check_device
from vdit.feature_options import FeatureOptions
from vdit.features import extract_features
from vdit.keypoint_files import FirstKeypoints, read_keypoints
from vdit.keypoint_output import write_keypoints
from vdit.masks import read_mask_png, write_palette_png
from vdit.measure import peak_memory
from vdit.models.backbones.base import Backbone
from vdit.propagation import PropagationSettings, stream_labels
from vdit.propagation.mask_labels import labels_from_mask, mask_from_labels
from vdit.video import open_video
from vdit.video_reader import VideoReader
from vdit.video_writer import VideoWriter
from vdit.visualize import object_colors, overlay_masks

MASK_DEFAULTS = PropagationSettings.dino(7, 12, 5, 0.1)
"""Those of DINO on DAVIS."""
KEYPOINT_DEFAULTS = PropagationSettings.crw(20, 5, 10, 0.05)
"""Those of CRW on J-HMDB."""
OUTPUTS = ("result.json", "masks", "overlay.mp4", "keypoints.json")


def run(arguments: Namespace) -> None:
    """Write `masks/` or `keypoints.json`, `overlay.mp4` and `result.json`."""
    begin = time.perf_counter()
    settings = _settings(arguments)
    options = FeatureOptions(
        blocks=(arguments.block,),
        timestep=arguments.timestep,
        short_side=arguments.short_side,
        seed=arguments.seed,
        fit="resize",
    )
    check_device(arguments.device)
    reader = open_video(arguments.video)
    first = _first_frame(arguments, reader)
    backbone = _backbone(arguments)
    facts: dict[str, Any] = {
        "video": reader.path.name,
        "backbone": arguments.backbone,
        "block": arguments.block,
        "timestep": arguments.timestep,
        "short_side": arguments.short_side,
        "num_context": settings.num_context,
        "radius": settings.radius,
        "topk": settings.topk,
        "temperature": settings.temperature,
    }
    with replace_folder_when_complete(arguments.output, OUTPUTS) as folder:
        maps = _maps(backbone, reader, options)
        if isinstance(first, FirstKeypoints):
            count = {"points": len(first.points)}
            names = write_keypoints(folder, reader, first, maps, settings, facts)
        else:
            count = {"objects": int(first.max())}
            names = _write_masks(folder, reader, first, maps, settings)
        result = facts | {
            **count,
            "frames": names,
            "seconds": round(time.perf_counter() - begin, 3),
            "peak_memory_bytes": peak_memory(),
        }
        (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(result))
    else:
        what = ", ".join(f"{number} {kind}" for kind, number in count.items())
        print(f"{what}, {len(names)} frames: {arguments.output}")


def _settings(arguments: Namespace) -> PropagationSettings:
    """Change what is usual for masks, or for key points, where an option was given."""
    defaults = MASK_DEFAULTS if arguments.keypoints is None else KEYPOINT_DEFAULTS
    names = ("num_context", "radius", "topk", "temperature")
    given = {name: getattr(arguments, name) for name in names}
    return replace(defaults, **{k: value for k, value in given.items() if value is not None})


def _first_frame(arguments: Namespace, reader: VideoReader) -> np.ndarray | FirstKeypoints:
    if arguments.keypoints is not None:
        return read_keypoints(arguments.keypoints, (reader.height, reader.width))
    return _first_labels(arguments.labels, reader)


def _backbone(arguments: Namespace) -> Backbone:
    quiet_libraries()
    backbone = build_backbone(
        arguments.backbone, path=arguments.weights, dtype=getattr(torch, arguments.dtype)
    ).to(arguments.device)
    backbone.check_blocks((arguments.block,))
    if backbone.blocks[arguments.block].temporal_stride != 1 or backbone.frame_multiple != 1:
        raise ValueError(
            f"expected a backbone with a feature map for every frame, got {arguments.backbone}; "
            "choose another, or one that repeats frames"
        )
    return backbone


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


def _write_masks(
    folder: Path,
    reader: VideoReader,
    first: np.ndarray,
    maps: Iterator[Tensor],
    settings: PropagationSettings,
) -> list[str]:
    """Write `masks/` and `overlay.mp4`, and give the names of the frames."""
    names = []
    (folder / "masks").mkdir()
    with VideoWriter(folder / "overlay.mp4", reader.fps) as writer:
        masks = _carry(first, maps, settings)
        for index, (frame, mask) in enumerate(zip(reader, masks, strict=True)):
            names.append(reader.frame_name(index))
            write_palette_png(folder / "masks" / f"{names[-1]}.png", mask)
            writer.add(_overlay(frame, mask, int(first.max())))
    return names


def _carry(
    first: np.ndarray, maps: Iterator[Tensor], settings: PropagationSettings
) -> Iterator[np.ndarray]:
    """Yield the labels [H, W] uint8 of every frame; one clip of features is in memory at a time."""
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
