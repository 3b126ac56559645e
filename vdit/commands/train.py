"""`vdit train`: one stage of training, in pieces."""

from __future__ import annotations

import json
import logging
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from vdit.build import quiet_libraries
from vdit.config import load_config
from vdit.stages.autoencoder import AutoencoderConfig, AutoencoderStage
from vdit.stages.diffusion import DiffusionConfig, DiffusionStage
from vdit.stages.referring import ReferringConfig, ReferringStage
from vdit.stages.tokenizers import TokenizerConfig, train_tokenizers
from vdit.stages.towers import TowersConfig, TowersStage
from vdit.stages.words import WordsConfig, WordsStage
from vdit.training.engine import METRICS, Trainer

STAGES: dict[str, tuple[Any, Any]] = {
    "autoencoder": (AutoencoderConfig, AutoencoderStage),
    "towers": (TowersConfig, TowersStage),
    "words": (WordsConfig, WordsStage),
    "diffusion": (DiffusionConfig, DiffusionStage),
    "referring": (ReferringConfig, ReferringStage),
}
TOKENIZERS = "tokenizers"


def run(arguments: Namespace) -> None:
    """Train the stage that the configuration names; its networks go into the model folder."""
    path = Path(arguments.config)
    name, content = _read(path)
    folder = Path(arguments.output)
    work = folder.parent / f"{folder.name}-training" / path.stem
    if name == TOKENIZERS:
        train_tokenizers(load_config(TokenizerConfig, content, arguments.changes), folder)
        return
    schema, stage_class = STAGES[name]
    config = load_config(schema, content, arguments.changes)
    if (work / METRICS).exists() and not arguments.resume:
        raise ValueError(
            f"expected a new stage, found the training of one in {work}; pass --resume to go on, "
            "or remove the folder"
        )
    quiet_libraries()
    logging.getLogger("vdit.training").setLevel(logging.INFO)
    trainer = Trainer(stage_class(config, folder), config.run, work)
    work.mkdir(parents=True, exist_ok=True)
    if arguments.resume:
        trainer.resume()
    (work / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
    complete = trainer.run(arguments.minutes)
    state = "complete" if complete else "stopped; --resume goes on"
    summary = {"stage": name, "step": trainer.step, "steps": config.run.steps, "state": state}
    print(json.dumps(summary) if arguments.json else f"{name}: step {trainer.step}, {state}")


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """Split a configuration file into the stage's name and the rest."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"expected a readable YAML file, got {path}: {reason}") from error
    known = [TOKENIZERS, *STAGES]
    if not isinstance(content, dict) or content.get("stage") not in known:
        raise ValueError(f"expected `stage:` with one of {', '.join(known)} in {path}")
    return content.pop("stage"), content
