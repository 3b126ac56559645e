"""`vdit train`: one stage of training, in pieces, on one process or on those of torchrun."""

from __future__ import annotations

import json
import logging
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from vdit.build import quiet_libraries
from vdit.config import load_config
from vdit.stages.autoencoder import AutoencoderConfig, AutoencoderStage
from vdit.stages.benchmark import BenchmarkConfig, BenchmarkStage
from vdit.stages.diffusion import DiffusionConfig, DiffusionStage
from vdit.stages.referring import ReferringConfig, ReferringStage
from vdit.stages.stored_clips import StoreConfig, write_clips
from vdit.stages.stored_encodings import EncodingsConfig, write_encodings
from vdit.stages.tokenizers import TokenizerConfig, train_tokenizers
from vdit.stages.towers import TowersConfig, TowersStage
from vdit.stages.tracking import TrackingConfig, TrackingStage
from vdit.stages.untrained import UntrainedConfig, write_untrained
from vdit.stages.video_tokenizer import VideoTokenizerStage, VideoTokenizerTraining
from vdit.stages.walt import WaltStage, WaltTraining
from vdit.stages.walt_latents import LatentsConfig, write_latents
from vdit.stages.words import WordsConfig, WordsStage
from vdit.training.distributed import Processes, join_processes
from vdit.training.engine import CHECKPOINT, Trainer
from vdit.training.run_folder import describe_run, plain

STAGES: dict[str, tuple[Any, Any]] = {
    "autoencoder": (AutoencoderConfig, AutoencoderStage),
    "towers": (TowersConfig, TowersStage),
    "words": (WordsConfig, WordsStage),
    "diffusion": (DiffusionConfig, DiffusionStage),
    "referring": (ReferringConfig, ReferringStage),
    "benchmark": (BenchmarkConfig, BenchmarkStage),
    "tracking": (TrackingConfig, TrackingStage),
    "video_tokenizer": (VideoTokenizerTraining, VideoTokenizerStage),
    "walt": (WaltTraining, WaltStage),
}
PREPARATIONS: dict[str, tuple[Any, Callable[[Any, Path], None]]] = {
    "clips": (StoreConfig, write_clips),
    "encodings": (EncodingsConfig, write_encodings),
    "tokenizers": (TokenizerConfig, train_tokenizers),
    "untrained": (UntrainedConfig, write_untrained),
    "walt_latents": (LatentsConfig, write_latents),
}
"""Stages that have no steps."""


def run(arguments: Namespace) -> None:
    """Train the stage that the configuration names; its networks go into the model folder."""
    path = Path(arguments.config)
    content = read_training(path)
    name = content.pop("stage")
    folder = Path(arguments.output)
    if name in PREPARATIONS:
        schema, prepare = PREPARATIONS[name]
        prepare(load_config(schema, content, arguments.changes), folder)
        print(
            json.dumps({"stage": name, "state": "complete"})
            if arguments.json
            else f"{name}: complete"
        )
        return
    config = load_config(STAGES[name][0], content, arguments.changes)
    quiet_libraries()
    with join_processes(config.run.device) as processes:
        work = folder.parent / f"{folder.name}-training" / path.stem
        summary = _train(name, config, folder, work, arguments, processes)
        if processes.is_first:
            sentence = "{stage}: step {step}, {state}".format(**summary)
            print(json.dumps(summary) if arguments.json else sentence)


def _train(
    name: str,
    config: Any,
    folder: Path,
    work: Path,
    arguments: Namespace,
    processes: Processes,
) -> dict[str, Any]:
    """Train in `work`, export into `folder`; what there is to say of it."""
    if (work / CHECKPOINT).exists() and not arguments.resume:
        raise ValueError(
            f"expected a new stage, found the training of one in {work}; pass --resume to go on, "
            "or remove the folder"
        )
    if processes.is_first:
        logging.getLogger("vdit.training").setLevel(logging.INFO)
    trainer = Trainer(STAGES[name][1](config, folder), config.run, work, processes)
    if arguments.resume:
        trainer.resume()
    if processes.is_first:
        facts = {"step": trainer.step, "portions": plain(trainer.portions)}
        describe_run(work, {"stage": name, **plain(config)}, facts)
    try:
        complete = trainer.run(arguments.minutes)
    except FloatingPointError as error:
        raise ValueError(str(error)) from error
    state = "complete" if complete else "stopped; --resume goes on"
    return {"stage": name, "step": trainer.step, "steps": trainer.portions.steps, "state": state}


def read_training(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read the file of a stage, and the one that its `base:` names, which it changes."""
    content = _load(path)
    base = content.pop("base", None)
    if base is not None:
        if path.resolve() in above:
            raise ValueError(f"expected `base:` to name another file, {path} comes back to itself")
        based = read_training(path.parent / str(base), (*above, path.resolve()))
        merged: Any = OmegaConf.to_object(OmegaConf.merge(based, content))
        content = dict(merged)
    known = [*PREPARATIONS, *STAGES]
    if content.get("stage") not in known:
        raise ValueError(f"expected `stage:` with one of {', '.join(known)} in {path}")
    return content


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"expected a readable YAML file, got {path}: {reason}") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected `stage:` and its settings in {path}, found no mapping")
    return content
