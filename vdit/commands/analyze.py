"""`vdit analyze`: the analyses of the VD-IT paper, a table row and a figure each."""

from __future__ import annotations

import importlib
import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vdit.atomic import replace_when_complete
from vdit.charts import save_bars, save_lines
from vdit.commands.eval import progress_bar
from vdit.evaluation.analyses import (
    AnalysisTable,
    ablation,
    consistency,
    lighting,
    quality,
    read_report,
    read_rows,
)
from vdit.evaluation.brightness import write_changed_tree
from vdit.evaluation.execution import Execution
from vdit.evaluation.frame_overlaps import VIDEO_DATASETS, FrameOverlaps, frame_overlaps
from vdit.evaluation.scoring import evaluate

SCORES = ("J&F", "overall IoU")
"""The score of a data set that is compared under lighting: the first that it has."""


def run(arguments: Namespace) -> None:
    """Run one kind of analysis."""
    kinds = {
        "consistency": _consistency,
        "quality": _quality,
        "lighting": _lighting,
        "roi": _roi,
        "ablation": _ablation,
    }
    kinds[arguments.kind](arguments)


def _consistency(arguments: Namespace) -> None:
    if arguments.dataset not in VIDEO_DATASETS:
        raise ValueError(
            f"expected a data set of whole videos among {', '.join(VIDEO_DATASETS)}; got "
            f"{arguments.dataset!r}"
        )
    methods = _named(arguments.predictions)
    rows = {
        name: consistency(_overlaps(arguments, folder), arguments.intervals)
        for name, folder in methods.items()
    }
    table = AnalysisTable("temporal consistency", rows, _paper(arguments))
    changes = {
        f"interval {n}": {
            name: row[f"change at {n}"]
            for name, row in _with_paper(table).items()
            if f"change at {n}" in row
        }
        for n in arguments.intervals
    }
    if arguments.figure:
        save_bars(arguments.figure, changes, ylabel="mean change of IoU")
    _show(table, arguments)


def _quality(arguments: Namespace) -> None:
    rows = {
        name: quality(_overlaps(arguments, folder))
        for name, folder in _named(arguments.predictions).items()
    }
    table = AnalysisTable("mask quality", rows, _paper(arguments))
    if arguments.figure:
        shares = {
            name: {column: row[column] for column in row if column == "precise / good"}
            for name, row in _with_paper(table).items()
        }
        save_bars(arguments.figure, shares, ylabel="masks with IoU > 0.9 over IoU > 0.5")
    _show(table, arguments)


def _lighting(arguments: Namespace) -> None:
    if (arguments.perturb is None) != (arguments.copy is None):
        raise ValueError("expected --perturb X together with --copy DIR; pass both or neither")
    if (arguments.perturb is None) == (not arguments.predictions):
        raise ValueError(
            "expected either --perturb X --copy DIR, to write changed frames, or --predictions "
            "X=DIR of several brightness factors, to score them"
        )
    if arguments.perturb is not None:
        with progress_bar("file") as show:
            count = write_changed_tree(arguments.root, arguments.copy, arguments.perturb, show)
        print(f"{arguments.copy}: {count} frames with brightness x{arguments.perturb:g}")
        return
    folders = {_method_and_factor(k): path for k, path in _named(arguments.predictions).items()}
    scores: dict[str, dict[float, float]] = {}
    for (method, factor), folder in folders.items():
        scores.setdefault(method, {})[factor] = _score(arguments, folder)
    rows = {method: lighting(by_factor) for method, by_factor in scores.items()}
    table = AnalysisTable("brightness of the frames", rows, _paper(arguments))
    if arguments.figure:
        series = {method: sorted(by_factor.items()) for method, by_factor in scores.items()}
        save_lines(arguments.figure, series, xlabel="brightness factor", ylabel="J&F or IoU")
    _show(table, arguments)


def _score(arguments: Namespace, folder: str) -> float:
    with progress_bar("video") as show:
        report = evaluate(
            arguments.dataset,
            arguments.root,
            folder,
            split=arguments.split,
            protocol=arguments.protocol,
            missing_as_empty=arguments.missing_as_empty,
            execution=Execution(arguments.workers, show),
        )
    return next(report.metrics[name] for name in SCORES if name in report.metrics)


def _roi(arguments: Namespace) -> None:
    # torch is loaded for this kind alone
    features = importlib.import_module("vdit.commands.analyze_features")
    curve = features.measure(arguments)
    values = {f"frame {t}": float(value) for t, value in enumerate(curve, start=1)}
    known = curve[~np.isnan(curve)]
    row = {"mean": float(known.mean()) if len(known) else float("nan"), **values}
    name = f"{arguments.backbone} {arguments.block}"
    table = AnalysisTable("similarity to the first frame", {name: row}, _paper(arguments))
    if arguments.figure:
        series = {name: [(t, value) for t, value in enumerate(curve, 1) if not np.isnan(value)]}
        save_lines(
            arguments.figure, series, xlabel="frame after the first", ylabel="cosine similarity"
        )
    _show(table, arguments)


def _ablation(arguments: Namespace) -> None:
    reports = {name: read_report(Path(path)) for name, path in _named(arguments.reports).items()}
    rows = ablation(reports)
    first = next(iter(reports.values()))
    title = " ".join(filter(None, (first["dataset"], first["split"], first["protocol"])))
    table = AnalysisTable(title, rows, _paper(arguments))
    if arguments.figure:
        name = next(iter(next(iter(rows.values()))))
        bars = {variant: {name: row[name]} for variant, row in rows.items() if name in row}
        save_bars(arguments.figure, bars, ylabel=name)
    _show(table, arguments)


def _overlaps(arguments: Namespace, folder: str) -> list[FrameOverlaps]:
    with progress_bar("video") as show:
        return frame_overlaps(
            arguments.dataset,
            arguments.root,
            folder,
            split=arguments.split,
            missing_as_empty=arguments.missing_as_empty,
            execution=Execution(arguments.workers, show),
        )


def _named(pairs: Sequence[str]) -> dict[str, str]:
    """NAME=PATH words, in their order."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not name or not path or name in found:
            raise ValueError(f"expected NAME=PATH with a name of its own, got {pair!r}")
        found[name] = path
    return found


def _method_and_factor(text: str) -> tuple[str, float]:
    """[NAME:]X before an equals sign."""
    method, _, factor = text.rpartition(":")
    try:
        return method or "predictions", float(factor)
    except ValueError as error:
        raise ValueError(f"expected a brightness factor before =, got {factor!r}") from error


def _paper(arguments: Namespace) -> dict[str, dict[str, float]]:
    return read_rows(Path(arguments.paper)) if arguments.paper else {}


def _with_paper(table: AnalysisTable) -> dict[str, dict[str, float]]:
    named = {f"{name} (paper)": dict(row) for name, row in table.paper.items()}
    return {name: dict(row) for name, row in table.rows.items()} | named


def _show(table: AnalysisTable, arguments: Namespace) -> None:
    """Print the table, and write it if it was asked for."""
    result = table.as_json()
    if arguments.output:
        with replace_when_complete(Path(arguments.output)) as partial:
            partial.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if arguments.json else table.markdown())
    if arguments.figure and not arguments.json:
        print(f"\n{arguments.figure}")
