"""The study as text: a Markdown page for people, a line a cell as CSV, everything as JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vdit.atomic import replace_when_complete
from vdit.probing.results import format_value, provenance
from vdit.study.cells import AXES, Cell, cells_of, main_cell
from vdit.study.study import Study
from vdit.study.study_config import KINDS
from vdit.study.summaries import Gain, Summary, missing_lines, relative_gain, summarize

Rows = list[list[str]]


def write_tables(study: Study, folder: Path) -> list[Path]:
    """Write `table.md`, `cells.csv` and `study.json`: the files.

    Args:
        study: that was run or not; what is missing is named.
        folder: that gets them.
    """
    summaries = {
        axis: [summarize(study, axis, cell) for cell in cells_of(study.config, axis)]
        for axis in AXES
    }
    page, table, everything = (folder / name for name in ("table.md", "cells.csv", "study.json"))
    with replace_when_complete(page) as partial:
        partial.write_text(page_of(study) + "\n")
    with replace_when_complete(table) as partial, partial.open("w", newline="") as file:
        lines = [_line(axis, each) for axis, found in summaries.items() for each in found]
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    content = provenance() | {
        "config": asdict(study.config),
        "gains": {
            probe: {"mean": _number(gain.mean), "spread": _number(gain.spread)}
            | {"by_seed": dict(gain.by_seed)}
            for probe, gain in gains_of(study, study.config.size).items()
        },
        "cells": [_line(axis, each) for axis, found in summaries.items() for each in found],
        "missing": missing_lines([each for found in summaries.values() for each in found]),
    }
    with replace_when_complete(everything) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")
    return [page, table, everything]


def page_of(study: Study) -> str:
    """Lay the study out as Markdown: whole trainings by size, budget, best places, what is missing.

    Args:
        study: that was run or not.
    """
    config = study.config
    parts = [
        "# V-WALT and I-WALT",
        "Main metric of each probe, mean ± standard deviation over trainings (how many). Where a "
        "single one was trained the deviation is that over its heads, marked by h.",
    ]
    sizes = [size for size in config.sizes if config.seeds(size)]
    for size in sorted(sizes, key=lambda each: each != config.size):
        block, steps = config.sizes[size].block, config.sizes[size].steps
        parts.append(f"## {size}: {block}, t={config.timestep:g}, {steps} steps")
        parts.append(_markdown(_size_rows(study, size)))
    if config.budget.steps:
        parts += ["## Training budget", _markdown(_budget_rows(study))]
    if config.sweep.blocks:
        parts += [
            "## Best of blocks and noise levels",
            "Chosen by the very scores that are shown, so somewhat too good.",
            _markdown(_sweep_rows(study)),
        ]
    every = [summarize(study, axis, cell) for axis in AXES for cell in cells_of(study.config, axis)]
    lines = missing_lines(every)
    parts.append("## Missing")
    listed = [f"- {line}" for line in lines]
    parts.append(
        "\n".join([*listed, "", "`cells.csv` has a line for each cell."]) if lines else "Nothing."
    )
    return "\n\n".join(parts)


def gains_of(study: Study, size: str) -> dict[str, Gain]:
    """Compute the gain of V-WALT over I-WALT of each probe, for whole trainings of a size."""
    config, gains = study.config, {}
    for probe in config.probes:
        video, image = (
            summarize(study, "sizes", main_cell(config, probe, kind, size)) for kind in KINDS
        )
        gains[probe] = relative_gain(video, image)
    return gains


def show(summary: Summary) -> str:
    """Write a cell: mean, spread, number of trainings; or that it is missing."""
    if not summary.scores:
        return "missing"
    expected = len(summary.scores) + len(summary.missing)
    count = str(expected) if not summary.missing else f"{len(summary.scores)} of {expected}"
    return f"{format_value(summary.mean)}{_plus_minus(summary)} ({count})"


def _plus_minus(summary: Summary) -> str:
    if not summary.spread_over:
        return ""
    mark = "h" if summary.spread_over == "heads" else ""
    digits = len(format_value(summary.mean).partition(".")[2])
    return f" ± {summary.spread:.{digits}f}{mark}"


def _size_rows(study: Study, size: str) -> Rows:
    """A line a probe: both kinds, the gain, chance."""
    rows = [["probe", "metric", *KINDS.values(), "gain of V-WALT", "chance"]]
    for probe, gain in gains_of(study, size).items():
        found = [
            summarize(study, "sizes", main_cell(study.config, probe, kind, size)) for kind in KINDS
        ]
        first = next((each.first for each in found if each.first), None)
        chance = "-" if first is None or first.chance is None else format_value(first.chance)
        rows.append([probe, _metric(found), *map(show, found), _shown_gain(gain), chance])
    return rows


def _shown_gain(gain: Gain) -> str:
    if not gain.by_seed:
        return "missing"
    spread = "" if math.isnan(gain.spread) else f" ± {gain.spread:.1f}"
    return f"{gain.mean:+.1f} %{spread} ({len(gain.by_seed)})"


def _budget_rows(study: Study) -> Rows:
    """A line a probe and kind, a column a snapshot."""
    cells = cells_of(study.config, "budget")
    steps = sorted({cell.step for cell in cells})
    rows = [["probe", "metric", "", *(f"{step} steps" for step in steps)]]
    for probe in study.config.probes:
        for kind, name in KINDS.items():
            found = [
                summarize(study, "budget", cell)
                for cell in sorted(cells, key=lambda each: each.step)
                if (cell.probe, cell.kind) == (probe, kind)
            ]
            rows.append([probe, _metric(found), name, *map(show, found)])
    return rows


def _sweep_rows(study: Study) -> Rows:
    """A line a probe and kind: the place with the best mean among those that were measured."""
    rows = [["probe", "metric", "", "block", "t", "score", "measured"]]
    cells = cells_of(study.config, "sweep")
    for probe in study.config.probes:
        for kind, name in KINDS.items():
            mine = [cell for cell in cells if (cell.probe, cell.kind) == (probe, kind)]
            found = [summarize(study, "sweep", cell) for cell in mine]
            best = best_of(found)
            place = ["missing"] * 3
            if best is not None:
                place = [best.cell.block, f"{best.cell.timestep:g}", show(best)]
            measured = sum(bool(each.scores) for each in found)
            rows.append([probe, _metric(found), name, *place, f"{measured} of {len(found)}"])
    return rows


def best_of(found: Sequence[Summary]) -> Summary | None:
    """Choose the summary with the best mean, errors being better if small; None = all missing."""
    measured = [(each, each.first) for each in found]
    ranked = [
        (each.mean if first.more_is_better else -each.mean, -k)
        for k, (each, first) in enumerate(measured)
        if first is not None
    ]
    return found[-max(ranked)[1]] if ranked else None


def _metric(found: Sequence[Summary]) -> str:
    """Name the metric, its unit, and whether it is an error."""
    first = next((each.first for each in found if each.first), None)
    if first is None:
        return "-"
    unit = f", {first.unit}" if first.unit else ""
    return f"{first.metric}{unit}{'' if first.more_is_better else ' (less is better)'}"


def _line(axis: str, summary: Summary) -> dict[str, Any]:
    """One cell as CSV and JSON have it."""
    cell: Cell = summary.cell
    first = summary.first
    return {
        "axis": axis,
        **asdict(cell),
        "metric": "" if first is None else first.metric,
        "unit": "" if first is None else first.unit,
        "more_is_better": "" if first is None else first.more_is_better,
        "mean": _number(summary.mean),
        "spread": _number(summary.spread),
        "spread_over": summary.spread_over,
        "by_seed": json.dumps({seed: each.value for seed, each in summary.scores.items()}),
        "chance": None if first is None else first.chance,
        "missing": "; ".join(f"seed {seed}: {why}" for seed, why in summary.missing.items()),
    }


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else round(value, 5)


def _markdown(rows: Rows) -> str:
    head, *body = rows
    return "\n".join(_bar(line) for line in (head, ["---"] * len(head), *body))


def _bar(line: Sequence[str]) -> str:
    return f"| {' | '.join(line)} |"
