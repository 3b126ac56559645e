"""`vdit cache`: what the frozen networks make of a data set, stored once."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vdit.build import quiet_libraries
from vdit.commands.infer import (
    changes_of,
    load_segmenter,
    local_device,
    read_dataset,
    show_progress,
)
from vdit.commands.train import read_training
from vdit.config import load_config
from vdit.datasets.referring import ReferringDataset, ReferringSample
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.encoding_cache import CacheRecipe, EncodingCache, describe_encoder, store_encodings
from vdit.evaluation.inference_config import (
    RELEASED,
    InferenceConfig,
    read_inference_config,
    read_yaml,
)
from vdit.evaluation.inference_outputs import context_indices
from vdit.evaluation.prediction_layouts import RECORD_DATASETS
from vdit.feature_store import rank_and_world_size
from vdit.models.backbones.base import Backbone
from vdit.stages.benchmark import BenchmarkConfig
from vdit.stages.clip_encodings import TRAINING_MULTIPLE, expressible_size
from vdit.stages.referring_model import build_trainee

WantedFrames = Mapping[str, tuple[ReferringSample, Sequence[int]]]


@dataclass(frozen=True)
class Plan:
    """What is stored of one data set, and where."""

    folder: Path
    backbone: Backbone
    recipe: CacheRecipe
    wanted: WantedFrames


def run(arguments: Namespace) -> None:
    """Store this process's share of the data sets of a configuration, or verify what is stored."""
    if arguments.verify:
        _verify(arguments)
        return
    share = rank_and_world_size(os.environ)
    training = _training_stage(arguments.config)
    plans = (
        [_plan_inference(arguments)] if training is None else _plan_training(training, arguments)
    )
    start = time.perf_counter()
    videos = frames = 0
    for plan in plans:
        store_encodings(
            plan.backbone,
            plan.wanted,
            plan.folder,
            plan.recipe,
            frames_per_shard=arguments.frames_per_shard,
            share=share,
            progress=show_progress,
        )
        mine = list(plan.wanted)[share[0] :: share[1]]
        videos += len(mine)
        frames += sum(len(plan.wanted[name][1]) for name in mine)
    stored = Path(arguments.output).rglob("*.safetensors")
    summary = {
        "output": arguments.output,
        "caches": [str(plan.folder) for plan in plans],
        "videos": videos,
        "frames": frames,
        "bytes": sum(path.stat().st_size for path in stored),
        "seconds": round(time.perf_counter() - start, 2),
    }
    print(
        json.dumps(summary)
        if arguments.json
        else f"{' '.join(map(str, summary['caches']))}: {frames} frames of {videos} videos, "
        f"{summary['seconds']} s; the folder has {summary['bytes'] / 1e9:.3f} GB"
    )


# ---- for inference -----------------------------------------------------------------------------


def _plan_inference(arguments: Namespace) -> Plan:
    config = read_inference_config(arguments.config, changes_of(arguments))
    dataset = read_dataset(config)
    segmenter = load_segmenter(config, arguments)
    recipe = CacheRecipe(
        dataset=config.dataset,
        split=config.split,
        short_side=config.short_side or segmenter.short_side,
        long_side=config.long_side,
        multiple=arguments.multiple,
        encoder=describe_encoder(segmenter.model.backbone),
        storage=arguments.storage,
        mirrored=arguments.mirrored,
    )
    wanted = wanted_frames(dataset, config, arguments.every_frame)
    return Plan(Path(arguments.output), segmenter.model.backbone, recipe, wanted)


def wanted_frames(
    dataset: ReferringDataset, config: InferenceConfig, every_frame: bool
) -> WantedFrames:
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


# ---- for training ------------------------------------------------------------------------------


def _training_stage(source: str) -> dict[str, Any] | None:
    """Content of the configuration of a training; None for one of inference."""
    if source in RELEASED or not {"stage", "base"} & read_yaml(Path(source)).keys():
        return None
    content = read_training(Path(source))
    if content.pop("stage") != "benchmark":
        raise ValueError(f"expected `stage: benchmark` in {source}: other stages render their data")
    return content


def _plan_training(content: dict[str, Any], arguments: Namespace) -> list[Plan]:
    """All frames of the data sets of a training, each in a folder named like it."""
    changes = list(arguments.changes)
    flags = {name: getattr(arguments, name) for name in ("root", "split", "model", "mirrored")}
    flags["dtype"] = arguments.dtype != "float32"
    given = [f"--{name}" for name, value in flags.items() if value]
    if given:
        raise ValueError(
            f"expected {given[0]} to be said by the configuration of the training (data.datasets, "
            "data.recipe, model.source, model.frozen_dtype); leave the flag out"
        )
    config = load_config(BenchmarkConfig, content, changes)
    sizes = {
        entry.name: expressible_size(config.data.recipe, entry.name)
        for entry in config.data.datasets
    }
    if not sizes:
        raise ValueError(f"expected data sets in {arguments.config}, got none")
    quiet_libraries()
    model, _ = build_trainee(config.model, config.run.seed)
    model.to(torch.device(local_device(arguments.device))).eval()
    plans = []
    for entry in config.data.datasets:
        short_side, long_side, mirrored = sizes[entry.name]
        dataset = REFERRING_DATASETS[entry.name].read(Path(entry.root), entry.split)
        recipe = CacheRecipe(
            dataset=entry.name,
            split=entry.split,
            short_side=short_side,
            long_side=long_side,
            multiple=TRAINING_MULTIPLE,
            encoder=describe_encoder(model.backbone),
            storage=arguments.storage,
            mirrored=mirrored,
        )
        wanted = {
            name: (samples[0], range(len(samples[0].frame_names)))
            for name, samples in dataset.by_video().items()
        }
        plans.append(Plan(Path(arguments.output) / entry.name, model.backbone, recipe, wanted))
    return plans


def _verify(arguments: Namespace) -> None:
    problems = list(EncodingCache(arguments.output).verify())
    if problems:
        raise ValueError(f"{problems[0]} ({len(problems)} damaged frames)")
    print(json.dumps({"damaged": 0}) if arguments.json else f"{arguments.output}: nothing damaged")
