"""`vdit features`: features of a video, as arrays and pictures."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vdit.build import build_backbone, quiet_libraries
from vdit.commands.segment import check_device
from vdit.feature_files import check_file, save_features
from vdit.feature_options import FeatureOptions, parse_size
from vdit.feature_pictures import check_picture_file, cluster_rows, pca_rows, write_rows
from vdit.features import collect_features, extract_features, fit_for
from vdit.measure import peak_memory
from vdit.memory import map_large_blocks
from vdit.models.backbones.base import Backbone
from vdit.video import open_video
from vdit.video_reader import VideoReader


def run(arguments: Namespace) -> None:
    """Compute features, write them and their pictures, say where they are."""
    begin = time.perf_counter()
    options = FeatureOptions(
        blocks=tuple(dict.fromkeys(arguments.block)),
        timestep=arguments.timestep,
        text=arguments.text,
        clip_length=arguments.clip_length,
        overlap=arguments.overlap,
        ensemble=arguments.ensemble,
        seed=arguments.seed,
        size=None if arguments.size is None else parse_size(arguments.size),
        short_side=arguments.short_side,
        fit=arguments.fit,
    )
    check_file(arguments.output, arguments.dtype)
    num_clusters = _check_pictures(arguments)
    check_device(arguments.device)
    reader = open_video(arguments.video)
    quiet_libraries()
    map_large_blocks()
    backbone = build_backbone(
        arguments.backbone, path=arguments.weights, dtype=getattr(torch, arguments.dtype)
    )
    backbone.to(arguments.device)
    features, spans = _extract(backbone, reader, options)
    facts = {
        "video": reader.path.name,
        "backbone": arguments.backbone,
        "options": asdict(options),
        "strides": {name: backbone.blocks[name].stride for name in features},
    }
    save_features(arguments.output, features, spans, facts, arguments.dtype)
    pictures = {}
    if arguments.pca or arguments.kmeans:
        frames = _shown_frames(backbone, reader, options, spans)
        fps = reader.fps * len(spans) / spans[-1][1]
    if arguments.pca:
        write_rows(arguments.pca, frames, pca_rows(features), fps)
        pictures["pca"] = arguments.pca
    if arguments.kmeans:
        rows = cluster_rows(features, num_clusters, options.seed)
        write_rows(arguments.kmeans[1], frames, rows, fps)
        pictures["kmeans"] = arguments.kmeans[1]
    summary = {
        "output": arguments.output,
        "dtype": arguments.dtype,
        "num_frames": spans[-1][1],
        "blocks": {name: list(feature.shape) for name, feature in features.items()},
        "pictures": pictures,
        "seconds": round(time.perf_counter() - begin, 3),
        "peak_memory_bytes": peak_memory(),
    }
    print(json.dumps(facts | summary) if arguments.json else _report(summary))


def _extract(
    backbone: Backbone, reader: VideoReader, options: FeatureOptions
) -> tuple[dict[str, Tensor], list[tuple[int, int]]]:
    chunks = []
    with tqdm(unit="frame", disable=not sys.stderr.isatty()) as progress:
        for chunk in extract_features(backbone, reader, options, video_id=reader.path.name):
            chunks.append(chunk)
            progress.update(chunk.spans[-1][1] - chunk.spans[0][0])
    return collect_features(chunks), [span for chunk in chunks for span in chunk.spans]


def _shown_frames(
    backbone: Backbone,
    reader: VideoReader,
    options: FeatureOptions,
    spans: Sequence[tuple[int, int]],
) -> list[np.ndarray]:
    """What each feature frame shows: the first of its video frames."""
    firsts = {first for first, _ in spans}
    shown = []
    for index, frame in enumerate(reader):
        if index in firsts:
            shown.append(fit_for(backbone, frame, options).frame(frame))
    return shown


def _check_pictures(arguments: Namespace) -> int:
    """Give the number of clusters; what cannot be written is refused before the work."""
    if arguments.pca:
        check_picture_file(arguments.pca)
    if not arguments.kmeans:
        return 0
    count, path = arguments.kmeans
    check_picture_file(path)
    if not count.isdecimal() or int(count) < 1:
        raise ValueError(f"expected a number of clusters after --kmeans, got {count!r}")
    if arguments.pca and Path(path).resolve() == Path(arguments.pca).resolve():
        raise ValueError(f"expected two files for --pca and --kmeans, got {path} for both")
    return int(count)


def _report(summary: Mapping[str, Any]) -> str:
    lines = [
        f"{name}: {' x '.join(map(str, shape))} ({summary['dtype']})"
        for name, shape in summary["blocks"].items()
    ]
    peak = summary["peak_memory_bytes"] / 1e9
    lines.append(
        f"{summary['num_frames']} frames in {summary['seconds']:.1f} s, peak memory {peak:.2f} GB"
    )
    lines.append(", ".join([summary["output"], *summary["pictures"].values()]))
    return "\n".join(lines)
