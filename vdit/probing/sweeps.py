"""Sweeps: every combination of values, a table as CSV and a picture of it."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vdit.atomic import replace_when_complete
from vdit.charts import save_bars, save_heat_map, save_lines

Values = dict[str, Any]
"""Key -> value of one point."""


@dataclass(frozen=True)
class Axis:
    """What is swept.

    Attributes:
        name: as the user wrote it.
        key: dotted key of the configuration.
        values: in order.
    """

    name: str
    key: str
    values: tuple[Any, ...]

    @property
    def is_numeric(self) -> bool:
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)


def parse_axis(text: str) -> tuple[str, tuple[Any, ...]]:
    """Split KEY=VALUE,VALUE,... into the key and its values.

    Raises:
        ValueError: it has another form, a value is there twice, or values are mappings.

    >>> parse_axis("timestep=0,50,null")
    ('timestep', (0, 50, None))
    >>> parse_axis("size=[256, 448],[512, 896]")
    ('size', ([256, 448], [512, 896]))
    """
    key, sign, listed = text.partition("=")
    try:
        values = yaml.safe_load(f"[{listed}]")
    except yaml.YAMLError:
        values = []
    written = [json.dumps(value) for value in values]
    if not key or not sign or not values or len(set(written)) < len(values):
        raise ValueError(
            f"expected --sweep KEY=VALUE,VALUE,... with different values, got {text!r}"
        )
    return key, tuple(values)


def points(axes: Sequence[Axis]) -> list[Values]:
    """List all combinations, the last axis fastest: name -> value."""
    names = [axis.name for axis in axes]
    combinations = itertools.product(*(axis.values for axis in axes))
    return [dict(zip(names, values, strict=True)) for values in combinations]


def overrides(axes: Sequence[Axis], point: Values) -> list[str]:
    """Write a point as changes of a configuration."""
    return [f"{axis.key}={json.dumps(point[axis.name])}" for axis in axes]


def check_drawing() -> None:
    """Raise a ValueError, before any work, unless charts can be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("a sweep draws its picture by matplotlib; run `pip install vdit[probing]`")


def write_csv(path: Path, swept: Sequence[Values], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a line a point: what was swept, metrics, cost and the run that it came from."""
    with replace_when_complete(path) as partial, partial.open("w", newline="") as file:
        lines = [
            {
                **{name: _text(value) for name, value in point.items()},
                **{
                    name: "" if value is None else f"{value:.3f}"
                    for name, value in row["metrics"].items()
                },
                "seconds_per_frame": row["seconds_per_frame"],
                "peak_memory_bytes": row["peak_memory_bytes"],
                "run": row["run"],
            }
            for point, row in zip(swept, rows, strict=True)
        ]
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def draw(
    path: Path, axes: Sequence[Axis], swept: Sequence[Values], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Draw the shown metrics over one axis, the first of them over two, as bars over more.

    Args:
        path: .png, .pdf or .svg.
        axes: what was swept.
        swept: the points.
        rows: of the points.
    """
    shown: Sequence[str] = rows[0]["shown"]
    unit = rows[0]["unit"]
    heights = [
        {m: math.nan if row["metrics"][m] is None else row["metrics"][m] for m in shown}
        for row in rows
    ]
    if len(axes) == 1 and axes[0].is_numeric:
        name = axes[0].name
        series = {
            metric: [
                (point[name], height[metric]) for point, height in zip(swept, heights, strict=True)
            ]
            for metric in shown
        }
        save_lines(path, series, xlabel=name, ylabel=unit)
    elif len(axes) == 2:
        first, second = axes
        values = np.array([height[shown[0]] for height in heights])
        save_heat_map(
            path,
            values.reshape(len(first.values), len(second.values)),
            rows=[_text(value) for value in first.values],
            columns=[_text(value) for value in second.values],
            xlabel=second.name,
            ylabel=f"{first.name} ({', '.join(filter(None, (shown[0], unit)))})",
        )
    else:
        groups = {
            ", ".join(map(_text, point.values())): height
            for point, height in zip(swept, heights, strict=True)
        }
        save_bars(path, groups, ylabel=unit)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
