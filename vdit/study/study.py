"""One study on disk: its probes, its networks, and what has been measured of its cells.

<output>/clips/<recipe>/                    rendered clips
<output>/probes/<network>-<step>/           results of one network, as `vdit probe -o` leaves them
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vdit.commands.probe import Task, read_probe
from vdit.config import load_config
from vdit.probing.learned_config import LearnedProbeConfig, learned_key, result_facts
from vdit.probing.results import RESULTS_FILE, Row, read_rows
from vdit.study.cells import Cell
from vdit.study.networks import Network, find_network, known_parameters
from vdit.study.study_config import StudyConfig

STUDY_FILE = "study.yaml"


@dataclass(frozen=True)
class Probe:
    """One file of the study.

    Attributes:
        name: of the file.
        task: kind of probe.
        config: without data and weights.
    """

    name: str
    task: Task
    config: LearnedProbeConfig


@dataclass(frozen=True)
class Score:
    """What one network gives in one cell.

    Attributes:
        value: of the main metric, mean over heads.
        heads: its values.
        metric: name.
        unit: "" where it has none.
        more_is_better: False = an error.
        chance: value of the best answer without features.
    """

    value: float
    heads: tuple[float, ...]
    metric: str
    unit: str
    more_is_better: bool
    chance: float | None


class Study:
    """Finds configurations and scores of cells.

    Args:
        folder: of the configuration: `study.yaml`, and a file for each probe.
        models: folder of all checkpoints.
        output: of the study.
        changes: of `study.yaml`, KEY=VALUE.

    Raises:
        ValueError: a file cannot be read or says what nothing can be made of.
    """

    def __init__(
        self, folder: Path, models: Path, output: Path, changes: Sequence[str] = ()
    ) -> None:
        self.config = load_config(StudyConfig, folder / STUDY_FILE, changes)
        self.models, self.output = models.resolve(), output
        self.probes = {
            name: _read(folder / f"{name}.yaml", self.config.changes) for name in self.config.probes
        }
        self._rows: dict[Path, dict[str, Row]] = {}
        self._wanted: dict[Cell, str] = {}

    def network(self, cell: Cell, seed: int) -> Network:
        """Say where the network of a cell lies."""
        return find_network(self.config, self.models, cell, seed)

    def results(self, cell: Cell, seed: int) -> Path:
        """Give the folder of results of the network of a cell."""
        return self.output / "probes" / self.network(cell, seed).results

    def clips(self, recipe: str) -> Path:
        """Give the root of a tree."""
        return self.output / "clips" / recipe

    def configure(self, cell: Cell, seed: int) -> LearnedProbeConfig:
        """Resolve the configuration of a probe for a cell."""
        config = self.probes[cell.probe].config
        path = str(self.network(cell, seed).folder)
        root = str(self.clips(self.config.probes[cell.probe]).resolve())
        source = replace(config.source, block=cell.block, timestep=cell.timestep, path=path)
        return replace(config, source=source, data=replace(config.data, root=root))

    def score(self, cell: Cell, seed: int) -> Score | None:
        """Read what was measured; None = nothing yet, or no number."""
        row = self._row(cell, seed)
        return None if row is None else _score_of(row)

    def is_run(self, cell: Cell, seed: int) -> bool:
        """Whether there is a row, with or without a number."""
        return self._row(cell, seed) is not None

    def why_missing(self, cell: Cell, seed: int) -> str:
        """Say why there is no score."""
        if self.is_run(cell, seed):
            return "run, but gave no number"
        network = self.network(cell, seed)
        return "not run" if network.is_there else f"no weights in {self._shown(network.folder)}"

    def parameters(self, cell: Cell) -> int | None:
        """Read how many parameters the networks of a cell have, if one was run."""
        for seed in self.config.seeds(cell.size):
            found = known_parameters(self.results(cell, seed))
            if found is not None:
                return found
        return None

    def forget(self) -> None:
        """Read results anew when they are asked for next."""
        self._rows.clear()

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.models)) if path.is_relative_to(self.models) else str(path)

    def _row(self, cell: Cell, seed: int) -> Row | None:
        if cell not in self._wanted:
            task = self.probes[cell.probe].task.name
            self._wanted[cell] = identity({"task": task, **asdict(self.configure(cell, seed))})
        return self._rows_of(self.results(cell, seed)).get(self._wanted[cell])

    def _rows_of(self, folder: Path) -> dict[str, Row]:
        """Rows of one network by what they follow from; later ones win."""
        if folder not in self._rows:
            rows = read_rows(folder / RESULTS_FILE)
            self._rows[folder] = {identity(row["config"]): row for row in rows}
        return self._rows[folder]


def identity(config: Mapping[str, Any]) -> str:
    """Name what a result follows from, wherever clips and weights lie.

    Args:
        config: resolved, with "task", as the "config" of a row has it.
    """
    facts = result_facts(config)
    facts["data"].pop("root", None)
    facts["source"].pop("path", None)
    return json.dumps(facts, sort_keys=True)


def _read(path: Path, changes: Sequence[str]) -> Probe:
    """Read the file of a probe; data and weights are filled in later."""
    task, content = read_probe(path)
    keys = [change.partition("=") for change in changes]
    full = [f"{learned_key(key)}{sign}{value}" for key, sign, value in keys]
    config = load_config(task.schema, content, ["data.root=.", *full])
    if not isinstance(config, LearnedProbeConfig) or config.source.backbone != "walt":
        raise ValueError(f"expected a learned probe of the backbone walt in {path}, got another")
    return Probe(path.stem, task, config)


def _score_of(row: Row) -> Score | None:
    """Read the main metric of a row."""
    metric = row["shown"][0]
    value = row["metrics"][metric]
    if value is None:
        return None
    heads = tuple(each[metric] for each in row["seeds"] if each[metric] is not None)
    better = row["more_is_better"][metric]
    return Score(value, heads, metric, row["unit"], better, row["chance"][metric])
