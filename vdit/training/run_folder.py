"""The folder of a run: it says what was run, with what, and what went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from vdit.atomic import replace_when_complete
from vdit.benchmarking.facts import run_facts

CONFIG = "config.yaml"
FACTS = "runs.jsonl"


def describe_run(folder: Path, content: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write the resolved configuration, and a line about this start or resumption.

    `config.yaml` trains the same again. `runs.jsonl` has command line, versions, commit, hardware
    and how the batch is divided, one line for every time the run was started.

    Args:
        folder: of the run.
        content: configuration with all defaults filled in, as its file would spell it.
        facts: what else to say.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replace_when_complete(folder / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(dict(content), sort_keys=False))
    with (folder / FACTS).open("a") as file:
        file.write(json.dumps(run_facts() | dict(facts)) + "\n")


def plain(config: Any) -> Any:
    """Turn a dataclass into what YAML spells: mappings, lists, strings, numbers."""
    if is_dataclass(config) and not isinstance(config, type):
        config = asdict(config)
    if isinstance(config, Mapping):
        return {str(key): plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [plain(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def save_failure(folder: Path, step: int, rank: int, content: Mapping[str, Any]) -> Path:
    """Write what is needed to see why a step failed: batches, state, loss terms.

    Returns:
        The file. It holds objects of this package: `torch.load(file, weights_only=False)`.
    """
    path = folder / f"failure-step{step:06d}-rank{rank}.pt"
    with replace_when_complete(path) as temporary:
        torch.save(dict(content), temporary)
    return path
