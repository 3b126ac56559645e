"""Charts of measured numbers: lines, bars and heat maps, as PNG, PDF or SVG.

Drawn by matplotlib (extra `probing`), without a display.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vdit.atomic import replace_when_complete

SUFFIXES = (".png", ".pdf", ".svg")
DOTS_PER_INCH = 150


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        points: (x, y), joined in this order.
        spreads: half the height of the error bar of each point; NaN = none.
        notes: a word beside each point.
    """

    points: Sequence[tuple[float, float]]
    spreads: Sequence[float] = ()
    notes: Sequence[str] = ()


def save_lines(
    path: str | Path,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    xlabel: str,
    ylabel: str,
    spreads: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Draw one line with marks a series.

    Args:
        path: .png, .pdf or .svg.
        series: name -> (x, y) pairs; drawn in the order of x.
        xlabel: quantity and unit.
        ylabel: quantity and unit.
        spreads: name -> half the height of the error bar of each pair, such as a standard error.

    Raises:
        ValueError: nothing to draw, another kind of file, or matplotlib is not installed.
    """
    if not any(series.values()):
        raise ValueError(f"expected numbers to draw in {path}, got none")
    figure, axes = _canvas(path, len(series))
    for name, pairs in series.items():
        values = np.asarray(pairs, dtype=float).reshape(-1, 2)
        order = np.argsort(values[:, 0], kind="stable")
        spread = None if spreads is None else np.asarray(spreads[name], dtype=float)[order]
        axes.errorbar(*values[order].T, yerr=spread, marker="o", capsize=3, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    if len(series) > 1:
        _name(figure, len(series))
    _save(figure, path)


def save_panels(
    path: str | Path,
    panels: Mapping[str, Mapping[str, Line]],
    *,
    xlabel: str,
    columns: int = 3,
) -> None:
    """Draw a panel of lines for each quantity; lines of one name have one color in all panels.

    Args:
        path: .png, .pdf or .svg.
        panels: title, which names the quantity -> name of the line -> line. A panel without lines
            says that there is nothing.
        xlabel: quantity and unit.
        columns: panels side by side.

    Raises:
        ValueError: as in `save_lines`.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    if not any(line.points for lines in panels.values() for line in lines.values()):
        raise ValueError(f"expected numbers to draw in {path}, got none")
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = _figure(path, (3.6 * columns, 2.9 * rows + 0.4))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, lines) in zip(grid, panels.items(), strict=False):
        axes.set_title(title, fontsize="medium")
        axes.grid(alpha=0.3)
        for name, line in lines.items():
            _draw(axes, line, f"C{names.index(name)}")
        if not any(line.points for line in lines.values()):
            axes.text(0.5, 0.5, "missing", ha="center", va="center", transform=axes.transAxes)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel(xlabel, fontsize="medium")
    handles = [_handle(f"C{k}", name) for k, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(names), frameon=False)
    _save(figure, path)


def save_bars(
    path: str | Path,
    groups: Mapping[str, Mapping[str, float]],
    *,
    ylabel: str,
    spreads: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Draw groups of bars side by side.

    Args:
        path: .png, .pdf or .svg.
        groups: group on the x axis -> bar of the group -> height; a bar may lack in a group.
        ylabel: quantity and unit.
        spreads: half the height of the error bars, laid out like `groups`.

    Raises:
        ValueError: as in `save_lines`.
    """
    bars = list(dict.fromkeys(bar for group in groups.values() for bar in group))
    if not bars:
        raise ValueError(f"expected numbers to draw in {path}, got none")
    figure, axes = _canvas(path, len(groups))
    width = 0.8 / len(bars)
    for k, bar in enumerate(bars):
        shown = [(i, name) for i, (name, group) in enumerate(groups.items()) if bar in group]
        places = [i + (k - (len(bars) - 1) / 2) * width for i, _ in shown]
        spread = None if spreads is None else [spreads[name][bar] for _, name in shown]
        heights = [groups[name][bar] for _, name in shown]
        axes.bar(places, heights, width, yerr=spread, capsize=3, label=bar)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set(ylabel=ylabel)
    axes.set_axisbelow(True)
    axes.grid(axis="y", alpha=0.3)
    if len(bars) > 1:
        _name(figure, len(bars))
    _save(figure, path)


def save_heat_map(
    path: str | Path,
    values: np.ndarray,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    xlabel: str,
    ylabel: str,
) -> None:
    """Draw a table of numbers with a color each; the number stands in its cell.

    Args:
        path: .png, .pdf or .svg.
        values: [R, C]; NaN leaves a cell empty.
        rows: R names, from above.
        columns: C names.
        xlabel: what the columns are.
        ylabel: what the rows are.

    Raises:
        ValueError: the names do not fit the table, or as in `save_lines`.
    """
    if values.shape != (len(rows), len(columns)) or not np.isfinite(values).any():
        raise ValueError(
            f"expected numbers [{len(rows)}, {len(columns)}] to draw in {path}, got "
            f"{list(values.shape)} with {int(np.isfinite(values).sum())} of them finite"
        )
    figure, axes = _canvas(path, len(columns))
    image = axes.imshow(values, aspect="auto", cmap="viridis")
    middle = float(np.nanmin(values) + np.nanmax(values)) / 2
    for r, c in zip(*np.nonzero(np.isfinite(values)), strict=True):
        color = "white" if values[r, c] < middle else "black"
        axes.text(c, r, f"{values[r, c]:.3g}", ha="center", va="center", color=color)
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    figure.colorbar(image)
    _save(figure, path)


def _canvas(path: str | Path, parts: int) -> tuple[Any, Any]:
    """An empty figure, wider with many parts, and its axes."""
    figure = _figure(path, (max(5.0, min(0.9 * parts + 2.5, 14.0)), 3.8))
    return figure, figure.subplots()


def _figure(path: str | Path, size: tuple[float, float]) -> Any:
    """An empty figure of (width, height) in inches."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"expected a chart named {', '.join(SUFFIXES)}, got {path}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            f"drawing {path} needs matplotlib; run `pip install vdit[probing]`"
        ) from error
    return Figure(figsize=size, layout="constrained")


def _draw(axes: Any, line: Line, color: str) -> None:
    """Draw a line with its error bars and notes; a line without points is left out."""
    if not line.points:
        return
    values = np.asarray(line.points, dtype=float)
    spreads = np.asarray(line.spreads, dtype=float) if line.spreads else None
    axes.errorbar(*values.T, yerr=spreads, marker="o", markersize=4, capsize=3, color=color)
    for (x, y), note in zip(line.points, line.notes, strict=False):
        axes.annotate(note, (x, y), xytext=(3, 3), textcoords="offset points", fontsize="x-small")


def _handle(color: str, name: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, marker="o", markersize=4, label=name)


def _name(figure: Any, count: int) -> None:
    """Name the series above the axes, where nothing is drawn."""
    figure.legend(loc="outside upper center", ncols=min(count, 4), frameon=False)


def _save(figure: Any, path: str | Path) -> None:
    path = Path(path)
    with replace_when_complete(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, format=path.suffix[1:].lower())
