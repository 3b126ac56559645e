"""`vdit cache`: what the frozen networks make of a data set, stored once."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from vdit.commands.infer import changes_of, load_segmenter, read_dataset, show_progress
from vdit.datasets.referring import ReferringDataset, ReferringSample
from vdit.encoding_cache import CacheRecipe, EncodingCache, describe_encoder, store_encodings
from vdit.evaluation.inference_config import InferenceConfig, read_inference_config
from vdit.evaluation.inference_outputs import context_indices
from vdit.evaluation.prediction_layouts import RECORD_DATASETS
from vdit.feature_store import rank_and_world_size


def run(arguments: Namespace) -> None:
    """Store this process's share of a data set, or verify what is stored."""
    if arguments.verify:
        _verify(arguments)
        return
    config = read_inference_config(arguments.config, changes_of(arguments))
    share = rank_and_world_size(os.environ)
    dataset = read_dataset(config)
    segmenter = load_segmenter(config, arguments)
    backbone = segmenter.model.backbone
    recipe = CacheRecipe(
        dataset=config.dataset,
        split=config.split,
        short_side=config.short_side or segmenter.short_side,
        long_side=config.long_side,
        multiple=arguments.multiple,
        encoder=describe_encoder(backbone),
        storage=arguments.storage,
        mirrored=arguments.mirrored,
    )
    start = time.perf_counter()
    wanted = wanted_frames(dataset, config, arguments.every_frame)
    store_encodings(
        backbone,
        wanted,
        Path(arguments.output),
        recipe,
        frames_per_shard=arguments.frames_per_shard,
        share=share,
        progress=show_progress,
    )
    mine = list(wanted)[share[0] :: share[1]]
    summary = {
        "output": arguments.output,
        "videos": len(mine),
        "frames": sum(len(wanted[name][1]) for name in mine),
        "bytes": sum(path.stat().st_size for path in Path(arguments.output).rglob("*.safetensors")),
        "seconds": round(time.perf_counter() - start, 2),
    }
    print(
        json.dumps(summary)
        if arguments.json
        else f"{arguments.output}: {summary['frames']} frames of {summary['videos']} videos, "
        f"{summary['seconds']} s; the folder has {summary['bytes'] / 1e9:.3f} GB"
    )


def wanted_frames(
    dataset: ReferringDataset, config: InferenceConfig, every_frame: bool
) -> dict[str, tuple[ReferringSample, Sequence[int]]]:
    """Name the frames of each video that predictions see, or all of them."""
    wanted: dict[str, tuple[ReferringSample, Sequence[int]]] = {}
    for name, samples in dataset.by_video().items():
        count = len(samples[0].frame_names)
        numbers: set[int] = set(range(count))
        if config.dataset in RECORD_DATASETS and not every_frame:
            labelled = {index for sample in samples for index in sample.labelled or (0,)}
            numbers = {
                number
                for index in labelled
                for number in context_indices(index, config.context, count)[0]
            }
        wanted[name] = samples[0], sorted(numbers)
    return wanted


def _verify(arguments: Namespace) -> None:
    problems = list(EncodingCache(arguments.output).verify())
    if problems:
        raise ValueError(f"{problems[0]} ({len(problems)} damaged frames)")
    print(json.dumps({"damaged": 0}) if arguments.json else f"{arguments.output}: nothing damaged")
