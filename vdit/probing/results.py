"""Rows of results: one JSON object a line, and as text beside the papers' rows."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vdit.benchmarking.facts import run_facts
from vdit.probing.paper_tables import PaperRow

RESULTS_FILE = "results.jsonl"

_PACKAGES = ("diffusers", "transformers", "numpy", "scipy", "pillow")

Row = dict[str, Any]


def provenance() -> Row:
    """Say what is needed to run again beside the configuration: command, commit, versions."""
    return {
        **run_facts(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def read_rows(path: Path) -> list[Row]:
    """Read all rows; none if there is no file.

    Raises:
        ValueError: a line is no JSON object.
    """
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}: line {number} is no JSON ({error}); remove it") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}: line {number} is no JSON object; remove it")
        rows.append(row)
    return rows


def append_row(path: Path, row: Row) -> None:
    """Add one line; a single write, so that rows of several processes do not mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def format_rows(
    rows: Sequence[Mapping[str, Any]], papers: Sequence[PaperRow], metrics: Sequence[str]
) -> str:
    """Lay our rows and those of papers out as one table.

    Args:
        rows: ours; "label" and "metrics" are shown.
        papers: theirs.
        metrics: columns.
    """
    lines = [["", *metrics]]
    lines += [[row["label"], *_cells(row["metrics"], metrics)] for row in rows]
    lines += [
        [f"{row.table}: {row.method}{'*' if row.note else ''}", *_cells(row.values, metrics)]
        for row in papers
    ]
    notes = [f"* {row.table}: {row.method}: {row.note}" for row in papers if row.note]
    return "\n".join([*_aligned(lines), *notes])


def _cells(values: Mapping[str, float | None], metrics: Sequence[str]) -> list[str]:
    found = [values.get(name) for name in metrics]
    return ["-" if value is None else format_value(value) for value in found]


def format_value(value: float) -> str:
    """Write a metric: percents to a tenth, small numbers such as metres to a thousandth.

    >>> format_value(63.52), format_value(4.301), format_value(-0.0731)
    ('63.5', '4.30', '-0.073')
    """
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Left column to the left, numbers to the right."""
    widths = [max(len(line[c]) for line in lines) for c in range(len(lines[0]))]
    return [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    ]
