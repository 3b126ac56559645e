"""The study as charts: gains, blocks and noise levels, budget, sizes, generation quality.

A title says how many scores are missing, of single networks; `table.md` and `cells.csv` list them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np

from vdit.charts import Line, save_bars, save_heat_map, save_panels
from vdit.study.cells import Cell, cells_of, main_cell
from vdit.study.networks import generation_quality
from vdit.study.study import Study
from vdit.study.study_config import KINDS
from vdit.study.summaries import Summary, summarize
from vdit.study.tables import gains_of

Place = Callable[[Summary], float | None]
"""Where on the x axis a cell lies; None = nobody knows."""


def draw_figures(study: Study, folder: Path) -> tuple[list[Path], list[str]]:
    """Draw all charts for which there is a number.

    Args:
        study: that was run or not.
        folder: that gets them.

    Returns:
        The files, and a sentence for each chart that was not drawn.
    """
    drawn, left_out = [], []
    for name, draw in _charts(study):
        try:
            draw(folder / name)
        except _NothingError as error:
            left_out.append(f"{name}: {error}")
        else:
            drawn.append(folder / name)
    return drawn, left_out


class _NothingError(Exception):
    """There is nothing to draw."""


def _charts(study: Study) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Names of files, and what draws them."""
    config = study.config
    yield "gains.png", partial(_draw_gains, study)
    if config.sweep.blocks:
        yield "blocks.png", partial(_draw_blocks, study)
        yield "noise.png", partial(_draw_noise, study)
        for probe in config.probes:
            for kind, title in KINDS.items():
                name = f"sweep_{probe}_{title.lower()}.png"
                yield name, partial(_draw_sweep, study, probe, kind)
    if config.budget.steps:
        yield "budget.png", partial(_draw_budget, study)
        yield "quality.png", partial(_draw_quality, study)
    if sum(bool(config.seeds(size)) for size in config.sizes) > 1:
        yield "sizes.png", partial(_draw_sizes, study)


def _draw_gains(study: Study, path: Path) -> None:
    """Bars of the relative gains, as in Figure 1 of the paper."""
    gains = gains_of(study, study.config.size)
    there = {probe: gain for probe, gain in gains.items() if gain.by_seed}
    if not there:
        raise _NothingError("no probe has a score of V-WALT and of I-WALT from one seed")
    expected = len(study.config.seeds(study.config.size))
    labels = {
        probe: probe
        if len(gain.by_seed) == expected
        else f"{probe}\n{len(gain.by_seed)} of {expected} pairs"
        for probe, gain in gains.items()
    }
    bar = "V-WALT over I-WALT"
    heights = {
        label: {bar: there[probe].mean} if probe in there else {} for probe, label in labels.items()
    }
    spreads = {
        labels[probe]: {bar: 0.0 if math.isnan(gain.spread) else gain.spread}
        for probe, gain in there.items()
    }
    save_bars(path, heights, ylabel="relative gain of V-WALT over I-WALT, %", spreads=spreads)


def _draw_blocks(study: Study, path: Path) -> None:
    """Scores over blocks at the usual noise level."""
    order = {block: k for k, block in enumerate(study.config.sweep.blocks, start=1)}
    cells = [
        cell for cell in cells_of(study.config, "sweep") if cell.timestep == study.config.timestep
    ]
    label = f"block, in the order of the network (t={study.config.timestep:g})"
    _save(study, "sweep", cells, lambda found: order[found.cell.block], label, path)


def _draw_noise(study: Study, path: Path) -> None:
    """Scores over noise levels at the usual block."""
    block = study.config.sizes[study.config.size].block
    cells = [cell for cell in cells_of(study.config, "sweep") if cell.block == block]
    _save(
        study, "sweep", cells, lambda found: found.cell.timestep, f"noise level t ({block})", path
    )


def _draw_sweep(study: Study, probe: str, kind: str, path: Path) -> None:
    """All blocks and noise levels of one probe and kind; missing cells stay empty."""
    sweep = study.config.sweep
    base = main_cell(study.config, probe, kind)
    found = [
        [
            summarize(study, "sweep", replace(base, block=block, timestep=float(timestep)))
            for timestep in sweep.timesteps
        ]
        for block in sweep.blocks
    ]
    values = np.array([[each.mean for each in row] for row in found])
    first = next((each.first for row in found for each in row if each.first), None)
    if first is None:
        raise _NothingError(f"nothing was measured of {probe} with {KINDS[kind]}")
    names = ", ".join(filter(None, (f"{probe}, {KINDS[kind]}: {first.metric}", first.unit)))
    lacking = int(np.isnan(values).sum())
    save_heat_map(
        path,
        values,
        rows=sweep.blocks,
        columns=[f"{timestep:g}" for timestep in sweep.timesteps],
        xlabel="noise level t" + (f" (missing: {lacking} of {values.size})" if lacking else ""),
        ylabel=names,
    )


def _draw_budget(study: Study, path: Path) -> None:
    """Scores over the steps of the training."""
    cells = cells_of(study.config, "budget")
    _save(study, "budget", cells, lambda found: found.cell.step, "training steps", path)


def _draw_sizes(study: Study, path: Path) -> None:
    """Scores over the parameters of the transformer."""

    def millions(found: Summary) -> float | None:
        count = study.parameters(found.cell)
        return None if count is None else count / 1e6

    cells = cells_of(study.config, "sizes")
    _save(study, "sizes", cells, millions, "parameters of the transformer, millions", path)


def _draw_quality(study: Study, path: Path) -> None:
    """Scores against generation quality; lines follow the training, notes are steps."""
    seeds, name = study.config.budget.seeds, study.config.quality
    known: dict[tuple[str, int], dict[int, float]] = {}
    for kind in KINDS:
        for seed in seeds:
            cell = main_cell(study.config, next(iter(study.config.probes)), kind)
            training = study.network(cell, seed).training
            known[kind, seed] = generation_quality(training, name)

    def quality(found: Summary) -> float | None:
        cell = found.cell
        values = [known[cell.kind, seed].get(cell.step) for seed in found.scores]
        numbers = [value for value in values if value is not None]
        return mean(numbers) if numbers else None

    if not any(known.values()):
        raise _NothingError(f"no metrics.jsonl of a training has validation/{name}")
    cells = cells_of(study.config, "budget")
    label = f"generation quality: validation/{name}, less is better (notes: training steps)"
    _save(study, "budget", cells, quality, label, path, lambda cell: str(cell.step))


def _save(
    study: Study,
    axis: str,
    cells: Sequence[Cell],
    place: Place,
    xlabel: str,
    path: Path,
    note: Callable[[Cell], str] | None = None,
) -> None:
    """Draw a panel for each probe, with a line for each kind."""
    panels: dict[str, dict[str, Line]] = {}
    for probe in study.config.probes:
        lines: dict[str, Line] = {}
        planned, measured, title = 0, 0, probe
        for kind, name in KINDS.items():
            mine = [cell for cell in cells if (cell.probe, cell.kind) == (probe, kind)]
            found = [summarize(study, axis, cell) for cell in mine]
            placed = [(place(each), each) for each in found if each.scores]
            there = [(x, each) for x, each in placed if x is not None]
            planned += sum(len(each.scores) + len(each.missing) for each in found)
            measured += sum(len(each.scores) for _, each in there)
            lines[name] = _line(there, note)
            first = there[0][1].first if there else None
            if first is not None:
                title = ", ".join(filter(None, (f"{probe}: {first.metric}", first.unit)))
                title += "" if first.more_is_better else " (less is better)"
        lacking = planned - measured
        panels[title + (f"\n{lacking} of {planned} scores missing" if lacking else "")] = lines
    if not any(line.points for lines in panels.values() for line in lines.values()):
        raise _NothingError("nothing was measured")
    save_panels(path, panels, xlabel=xlabel)


def _line(found: Sequence[tuple[float, Summary]], note: Callable[[Cell], str] | None) -> Line:
    notes = [] if note is None else [note(each.cell) for _, each in found]
    points = [(x, each.mean) for x, each in found]
    return Line(points, [each.spread for _, each in found], notes)
