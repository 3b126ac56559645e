"""`vdit infer`: predictions of a benchmark, in the layout of its server."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from vdit.build import quiet_libraries, trained_names
from vdit.commands.segment import check_device
from vdit.datasets.referring import ReferringDataset
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.encoding_cache import CacheRecipe, EncodingCache, describe_encoder
from vdit.encoding_files import EXACT
from vdit.evaluation.inference import InferenceReport, run_inference
from vdit.evaluation.inference_config import InferenceConfig, read_inference_config
from vdit.feature_store import rank_and_world_size
from vdit.fingerprint import fingerprint
from vdit.memory import map_large_blocks
from vdit.segment_options import PAD_MULTIPLE
from vdit.segment_output import UNTRAINED_NOTE
from vdit.segmenter import ReferringSegmenter


def run(arguments: Namespace) -> None:
    """Predict this process's share of a benchmark."""
    config = read_inference_config(arguments.config, changes_of(arguments))
    share = rank_and_world_size(os.environ)
    dataset = read_dataset(config)
    segmenter = load_segmenter(config, arguments)
    source = describe_model(segmenter, arguments.dtype)
    encodings = None
    if arguments.cache is not None:
        encodings = open_cache(arguments.cache, config, segmenter)
        if encodings.recipe.storage != EXACT:
            source["encodings"] = encodings.recipe.storage
    report = run_inference(
        segmenter,
        dataset.by_video(),
        config,
        Path(arguments.output),
        source=source,
        encodings=encodings,
        share=share,
        progress=show_progress,
    )
    _print(report, config, segmenter, arguments, share)


def changes_of(arguments: Namespace) -> list[str]:
    """Overrides of the configuration: KEY=VALUE words, then what flags say."""
    flags = ("root", "model", "split", "no_target_threshold")
    named = {name: getattr(arguments, name, None) for name in flags}
    return [
        *arguments.changes,
        *(f"{name}={value}" for name, value in named.items() if value is not None),
    ]


def read_dataset(config: InferenceConfig) -> ReferringDataset:
    """Read the lists of the split that a configuration names."""
    if not config.root:
        raise ValueError(
            f"expected the folder of {config.dataset}, got none; pass --root DIR, or root=DIR in "
            "the configuration"
        )
    return REFERRING_DATASETS[config.dataset].read(Path(config.root), config.split)


def load_segmenter(config: InferenceConfig, arguments: Namespace) -> ReferringSegmenter:
    """Load the model that a configuration names."""
    device = local_device(arguments.device)
    quiet_libraries()
    map_large_blocks()
    dtype = getattr(torch, arguments.dtype)
    return ReferringSegmenter.from_pretrained(config.model, device=device, dtype=dtype)


def local_device(name: str) -> str:
    """Give the device of this process: under torchrun, "cuda" is that of its local rank."""
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    check_device(name)
    return name


def open_cache(
    folder: str, config: InferenceConfig, segmenter: ReferringSegmenter
) -> EncodingCache:
    """Open stored encodings, which have to be those of this model and configuration."""
    cache = EncodingCache(folder)
    cache.check(
        CacheRecipe(
            dataset=config.dataset,
            split=config.split,
            short_side=config.short_side or segmenter.short_side,
            long_side=config.long_side,
            multiple=PAD_MULTIPLE,
            encoder=describe_encoder(segmenter.model.backbone),
        )
    )
    return cache


def describe_model(segmenter: ReferringSegmenter, dtype: str) -> dict[str, Any]:
    """What predictions depend on beside the configuration."""
    model = segmenter.model
    names = set(trained_names(model))  # and the text encoder, which may have been trained too
    weights = [
        (name, value)
        for name, value in model.named_parameters()
        if name in names or name.startswith("text_encoder.")
    ]
    return {
        "model": segmenter.name,
        "trained_weights": fingerprint(weights),
        "short_side": segmenter.short_side,
        "dtype": dtype,
    }


def show_progress(videos: list[str]) -> Iterable[str]:
    """Iterate with a bar, where somebody looks at the terminal."""
    return tqdm(videos, unit="video", disable=not sys.stderr.isatty())


def _print(
    report: InferenceReport,
    config: InferenceConfig,
    segmenter: ReferringSegmenter,
    arguments: Namespace,
    share: tuple[int, int],
) -> None:
    rank, world_size = share
    if arguments.json:
        facts = {
            "output": arguments.output,
            "dataset": config.dataset,
            "split": config.split,
            "model": segmenter.name,
            "trained": segmenter.trained,
            "rank": rank,
            **asdict(report),
        }
        print(json.dumps(facts))
        return
    who = f"process {rank} of {world_size}: " if world_size > 1 else ""
    state = "complete" if report.complete else "not complete yet: other processes are at work"
    print(
        f"{who}{arguments.output}: {report.videos} videos of {config.dataset} {config.split} with "
        f"{report.sentences} sentences ({report.kept} videos were there), {state}"
    )
    if not segmenter.trained:
        print(f"{segmenter.name}: {UNTRAINED_NOTE}")
    if arguments.timing:
        together = f"up to {config.sentences}" if config.sentences else "all"
        print(
            f"{who}{report.frames_per_second:.2f} frames/s on {segmenter.device} in "
            f"{arguments.dtype}, a frame counted once for each sentence, {together} sentences of "
            "a video in one pass; decoding, writing and the first video are left out"
        )
        print(f"seconds: {', '.join(f'{k} {v:.1f}' for k, v in report.seconds.items())}")
