"""Cells of the study: which probe sees which features, and the axes that they lie on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from vdit.study.study_config import KINDS, StudyConfig

AXES = ("main", "budget", "sizes", "sweep")
"""Whole trainings; their snapshots; networks of all sizes; blocks and noise levels."""


@dataclass(frozen=True)
class Cell:
    """What is measured, once for each seed of the networks.

    Attributes:
        probe: name.
        kind: "video" or "image".
        size: of the network.
        step: of its training.
        block: whose features are taken.
        timestep: noise level.
    """

    probe: str
    kind: str
    size: str
    step: int
    block: str
    timestep: float

    def describe(self) -> str:
        """Name the cell, as lists of missing ones do."""
        return (
            f"{self.probe}, {KINDS[self.kind]} {self.size}, step {self.step}, {self.block}, "
            f"t={self.timestep:g}"
        )


def main_cell(config: StudyConfig, probe: str, kind: str, size: str | None = None) -> Cell:
    """Give the cell of a whole training at the usual block and noise level."""
    size = size or config.size
    known = config.sizes[size]
    return Cell(probe, kind, size, known.steps, known.block, float(config.timestep))


def cells_of(config: StudyConfig, axis: str) -> list[Cell]:
    """List the cells on an axis, V-WALT and I-WALT of one place beside each other.

    Args:
        config: of the study.
        axis: one of `AXES`.
    """
    pairs = list(product(config.probes, KINDS))
    if axis == "main":
        return [main_cell(config, probe, kind) for probe, kind in pairs]
    if axis == "budget":
        steps = [*sorted(config.budget.steps), config.sizes[config.size].steps]
        return [
            replace(main_cell(config, probe, kind), step=step)
            for step in dict.fromkeys(steps)
            for probe, kind in pairs
        ]
    if axis == "sizes":
        sizes = [size for size in config.sizes if config.seeds(size)]
        return [main_cell(config, probe, kind, size) for size in sizes for probe, kind in pairs]
    return [
        replace(main_cell(config, probe, kind), block=block, timestep=float(timestep))
        for timestep in config.sweep.timesteps
        for probe, kind in pairs
        for block in config.sweep.blocks
    ]


def seeds_of(config: StudyConfig, axis: str, cell: Cell) -> list[int]:
    """List the seeds of the networks that a cell on an axis is measured with."""
    if axis == "budget":
        return list(config.budget.seeds)
    if axis == "sweep":
        return list(config.sweep.seeds)
    return config.seeds(cell.size)
