"""Trained networks on disk: exports, snapshots, what is known of them, how well they generate.

<models>/<folder>/{v-walt,i-walt}/                                      the end of a training
<models>/<folder>-training/<training>/samples/<step>/{v-walt,i-walt}/   a snapshot
<models>/<folder>-training/<training>/metrics.jsonl                     held-out numbers
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from safetensors import safe_open

from vdit.atomic import replace_when_complete
from vdit.backbone_loading.walt import CONFIG, NETWORK, WEIGHTS
from vdit.datasets.annotation_files import read_json
from vdit.stages.walt import FOLDERS
from vdit.study.cells import Cell
from vdit.study.study_config import StudyConfig
from vdit.training.run_folder import CONFIG as RUN_CONFIG
from vdit.training.scalars import METRICS

RECORD = "checkpoint.json"
"""In the folder of results: which weights they are of."""


@dataclass(frozen=True)
class Network:
    """One network at one moment of its training.

    Attributes:
        folder: of the weights.
        training: folder of the training.
        results: name of the folder of results.
    """

    folder: Path
    training: Path
    results: str

    @property
    def is_there(self) -> bool:
        """Whether there are weights, whole ones."""
        return (self.folder / WEIGHTS).is_file()


def find_network(config: StudyConfig, models: Path, cell: Cell, seed: int) -> Network:
    """Say where the network of a cell lies, if it is there.

    Args:
        config: of the study.
        models: folder of all checkpoints.
        cell: names kind, size and step.
        seed: of the training.
    """
    pair, size = config.pair(cell.size, seed), config.sizes[cell.size]
    part = FOLDERS[cell.kind]
    model = models / pair.folder
    name = size.video if cell.kind == "video" else size.image
    training = model.parent / f"{model.name}-training" / name
    is_end = cell.step == size.steps
    folder = model if is_end else training / "samples" / f"{cell.step:06d}"
    return Network(folder / part, training, f"{pair.folder}-{part}-{cell.step:06d}")


def check_weights(network: Network, results: Path) -> None:
    """Note whose results a folder holds, or check that they are those of the same weights.

    Args:
        network: that is there.
        results: folder of its results.

    Raises:
        ValueError: they are of other weights.
    """
    path = results / RECORD
    found = digest(network.folder)
    if path.is_file():
        if read_json(path, dict).get("sha256") != found:
            raise ValueError(
                f"expected in {network.folder} the weights that the results in {results} are of, "
                "found others; remove the results"
            )
        return
    facts = {"sha256": found, "parameters": count_parameters(network.folder)}
    with replace_when_complete(path) as partial:
        partial.write_text(json.dumps(facts) + "\n")


def check_steps(training: Path, steps: int) -> None:
    """Check that a training is as long as the study takes it for; one that is gone passes.

    Raises:
        ValueError: it has another number of steps.
    """
    path = training / RUN_CONFIG
    if not path.is_file():
        return
    found = yaml.safe_load(path.read_text())["run"]["steps"]
    if found != steps:
        raise ValueError(
            f"expected a training of {steps} steps in {training}, found one of {found}; set steps "
            "of its size in the study"
        )


def digest(folder: Path) -> str:
    """Hash the configuration and the weights of a network, 64 hexadecimal digits."""
    whole = sha256((folder / CONFIG).read_bytes())
    with (folder / WEIGHTS).open("rb") as file:
        while piece := file.read(1 << 20):
            whole.update(piece)
    return whole.hexdigest()


def count_parameters(folder: Path) -> int:
    """Count the parameters of the transformer, without the tokenizer's."""
    with safe_open(folder / WEIGHTS, "pt") as file:
        names = [name for name in file.keys() if name.startswith(NETWORK)]
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


def known_parameters(results: Path) -> int | None:
    """Read how many parameters the network of some results has; None = nothing was run."""
    path = results / RECORD
    return read_json(path, dict)["parameters"] if path.is_file() else None


def generation_quality(training: Path, name: str) -> dict[int, float]:
    """Read a held-out number over a training: step -> value, the last one of each step.

    Args:
        training: folder of the training.
        name: of the number, without "validation/".

    Returns:
        Empty where there is no training, or it has no such number.

    Raises:
        ValueError: a line of its metrics is damaged.
    """
    path = training / METRICS
    if not path.is_file():
        return {}
    found: dict[int, float] = {}
    for number, text in enumerate(path.read_text().splitlines(), start=1):
        try:
            line: dict[str, Any] = json.loads(text)
            if f"validation/{name}" in line:
                found[int(line["step"])] = float(line[f"validation/{name}"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: expected a step and numbers in line {number}, got {text[:40]!r}; "
                "remove it"
            ) from error
    return found
