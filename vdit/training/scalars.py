"""Numbers of a run over its steps: JSON lines, TensorBoard, Weights & Biases."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vdit.atomic import replace_when_complete

METRICS = "metrics.jsonl"
EVENTS = "tensorboard"


class ScalarLog(Protocol):
    """Where numbers go."""

    def write(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class JsonLines:
    """One object a line in `metrics.jsonl`; lines after the first step are dropped.

    Args:
        folder: of the run.
        step: from which the run goes on.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / METRICS
        if self.path.is_file():
            lines = [line for line in self.path.read_text().splitlines() if _step_of(line) <= step]
            with replace_when_complete(self.path) as temporary:
                temporary.write_text("".join(line + "\n" for line in lines))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        line = {"step": step, **{name: float(f"{value:.8g}") for name, value in values.items()}}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def close(self) -> None: ...


class TensorBoard:
    """Event files in `tensorboard/`; what was written after the first step is hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                f"run.log names tensorboard, which cannot be imported ({error}); install "
                "vdit[log] or leave it out"
            ) from error
        self.writer: Any = SummaryWriter(str(folder / EVENTS), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """A run of the project WANDB_PROJECT ("vdit"); a resumed one goes on under its id."""

    def __init__(self, folder: Path, step: int, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ValueError(
                f"run.log names wandb, which cannot be imported ({error}); install it or leave "
                "it out"
            ) from error
        marker = folder / "wandb_id"
        known = marker.read_text().strip() if step and marker.is_file() else None
        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "vdit"),
            dir=str(folder),
            name=folder.name,
            id=known,
            resume="allow",
            config=dict(config),
        )
        marker.write_text(f"{self.run.id}\n")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


def open_logs(
    names: Sequence[str], folder: Path, step: int, config: Mapping[str, Any]
) -> list[ScalarLog]:
    """Open `metrics.jsonl` and what else is named.

    Args:
        names: "jsonl", "tensorboard", "wandb".
        folder: of the run.
        step: from which the run goes on.
        config: of the run, for those that show it.

    Raises:
        ValueError: a name is unknown, or its package is missing.
    """
    for name in names:
        if name not in ("jsonl", "tensorboard", "wandb"):
            raise ValueError(f"expected run.log among jsonl, tensorboard, wandb; got {name!r}")
    logs: list[ScalarLog] = [JsonLines(folder, step)]
    if "tensorboard" in names:
        logs.append(TensorBoard(folder, step))
    if "wandb" in names:
        logs.append(WeightsAndBiases(folder, step, config))
    return logs


def _step_of(line: str) -> float:
    """Step of a line; one that a kill cut short counts as later than any."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
