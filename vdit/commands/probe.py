"""`vdit probe`: what the features of a backbone know, as a row of a table."""

from __future__ import annotations

import hashlib
import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from vdit.build import quiet_libraries
from vdit.commands.segment import check_device
from vdit.config import load_config
from vdit.memory import map_large_blocks
from vdit.probing import sweeps
from vdit.probing.label_propagation import run_label_propagation
from vdit.probing.learned_config import learned_key
from vdit.probing.learned_probe import BuildTask, run_learned_probes
from vdit.probing.paper_tables import PaperRow, paper_rows
from vdit.probing.propagation_config import LabelPropagationConfig, full_key
from vdit.probing.results import RESULTS_FILE, Row, format_rows, format_value, read_rows
from vdit.probing.tasks.boxes import Boxes, BoxesConfig
from vdit.probing.tasks.classification import Classification, ClassificationConfig
from vdit.probing.tasks.depth import Depth, DepthConfig
from vdit.probing.tasks.discovery import Discovery, DiscoveryConfig
from vdit.probing.tasks.points import Points, PointsConfig
from vdit.probing.tasks.pose import Pose, PoseConfig
from vdit.probing.tasks.segmentation import Segmentation, SegmentationConfig


@dataclass(frozen=True)
class Task:
    """One kind of probe.

    Attributes:
        name: as files and rows have it.
        schema: dataclass of its configuration, which has `data.dataset` and `data.split`.
        run: (configurations, output folder, device) -> a row each, None while shares of other
            processes are missing.
        full_key: (key of a change, content of the file) -> dotted key.
        details: what is said of a single row beside its metrics.
    """

    name: str
    schema: type[Any]
    run: Callable[[Sequence[Any], Path, str], list[Row] | None]
    full_key: Callable[[str, Mapping[str, Any]], str]
    details: Callable[[Row], list[str]]


def _learned(name: str, schema: type[Any], build: BuildTask) -> Task:
    """Make the entry of a learned probe."""
    return Task(
        name,
        schema,
        partial(run_learned_probes, name, build),
        lambda key, content: learned_key(key),
        _learned_details,
    )


def _propagation_details(row: Row) -> list[str]:
    """Scores by motion."""
    return [
        f"{row['motion_metric']} where the truth moves {group['low']:.3f} to "
        f"{group['high']:.3f} of its size a frame: {group['score']:.1f}"
        for group in row["by_motion"]
    ]


def _learned_details(row: Row) -> list[str]:
    """Chance, the control, and the spread over seeds."""
    lines = [f"chance, without features: {_listed(row, row['chance'])}"]
    if row["control"]:
        lines.append(f"the head on random numbers: {_listed(row, row['control'])}")
    errors = row["standard_errors"]
    if len(row["seeds"]) > 1:
        lines.append(f"standard error over {len(row['seeds'])} seeds: {_listed(row, errors)}")
    lines.append(
        f"{row['num_training_clips']} clips trained on, {row['steps']} steps of "
        f"{row['seconds_per_step']:.3f} s, {row['head_parameters']} parameters"
    )
    return lines + _finetuning_details(row.get("finetuning"))


def _finetuning_details(found: Mapping[str, Any] | None) -> list[str]:
    """What learned of the backbone, what that cost, how far its blocks moved."""
    if not found:
        return []
    memory = found["memory_ratio"]
    cost = "" if memory is None else f"{memory:.1f}x the memory and "
    moved = ", ".join(f"{k} {value:.1e}" for k, value in found["relative_change"].items())
    return [
        f"{found['trained_parameters']} parameters of the backbone ({found['mode']}); a step takes "
        f"{cost}{found['time_ratio']:.1f}x the time of a frozen one",
        f"relative change of blocks: {moved}",
    ]


def _listed(row: Row, values: Mapping[str, float | None]) -> str:
    found = ((name, values[name]) for name in row["shown"])
    return ", ".join(f"{n} {'-' if v is None else format_value(v)}" for n, v in found)


TASKS = {
    "label_propagation": Task(
        "label_propagation",
        LabelPropagationConfig,
        run_label_propagation,
        lambda key, content: full_key(key, list(content.get("sources") or {})),
        _propagation_details,
    ),
    "classification": _learned("classification", ClassificationConfig, Classification.build),
    "segmentation": _learned("segmentation", SegmentationConfig, Segmentation.build),
    "depth": _learned("depth", DepthConfig, Depth.build),
    "pose": _learned("pose", PoseConfig, Pose.build),
    "discovery": _learned("discovery", DiscoveryConfig, Discovery.build),
    "points": _learned("points", PointsConfig, Points.build),
    "boxes": _learned("boxes", BoxesConfig, Boxes.build),
}


def run(arguments: Namespace) -> None:
    """Run the probe that the configuration names, print its rows beside the papers'."""
    task, content = read_probe(Path(arguments.config))
    output = Path(arguments.output)
    changes = [_full_change(task, content, change) for change in arguments.changes]
    if arguments.table:
        config = load_config(task.schema, content, ["data.root=.", *changes])  # unread
        _print_table(config, output, arguments.json)
        return
    check_device(arguments.device)
    axes = [_axis(task, content, text) for text in arguments.sweep]
    swept = sweeps.points(axes)
    configs = [
        load_config(task.schema, content, [*changes, *sweeps.overrides(axes, point)])
        for point in swept
    ]
    if axes:
        sweeps.check_drawing()
    quiet_libraries()
    map_large_blocks()
    rows = task.run(configs, output, arguments.device)
    if rows is None:
        print(
            json.dumps(None) if arguments.json else "this process is done; another one has the rows"
        )
        return
    files = _write_sweep(output, Path(arguments.config).stem, axes, swept, rows) if axes else []
    if arguments.json:
        print(json.dumps({"rows": rows, "files": [str(path) for path in files]}))
    else:
        print(_report(task, rows, swept))
        for path in files:
            print(path)


def read_probe(path: Path) -> tuple[Task, dict[str, Any]]:
    """Split a configuration file into the task and the rest.

    Raises:
        ValueError: it cannot be read, or names no task.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"expected a readable YAML file, got {path}: {reason}") from error
    if not isinstance(content, dict) or content.get("task") not in TASKS:
        raise ValueError(f"expected `task:` with one of {', '.join(TASKS)} in {path}")
    return TASKS[content.pop("task")], content


def _full_change(task: Task, content: Mapping[str, Any], change: str) -> str:
    key, sign, value = change.partition("=")
    return f"{task.full_key(key, content)}{sign}{value}"


def _axis(task: Task, content: Mapping[str, Any], text: str) -> sweeps.Axis:
    name, values = sweeps.parse_axis(text)
    return sweeps.Axis(name, task.full_key(name, content), values)


def _write_sweep(
    output: Path,
    name: str,
    axes: Sequence[sweeps.Axis],
    swept: Sequence[sweeps.Values],
    rows: Sequence[Row],
) -> list[Path]:
    """Write the CSV and the picture; their names tell sweeps apart."""
    digest = hashlib.sha256("".join(row["run"] for row in rows).encode()).hexdigest()[:8]
    stem = "-".join([name, *(axis.name for axis in axes), digest])
    table, picture = output / f"{stem}.csv", output / f"{stem}.png"
    sweeps.write_csv(table, swept, rows)
    sweeps.draw(picture, axes, swept, rows)
    return [table, picture]


def _print_table(config: Any, output: Path, as_json: bool) -> None:
    """Print all rows on the configuration's data, ours first."""
    data = config.data
    ours = [
        row
        for row in read_rows(output / RESULTS_FILE)
        if (row.get("dataset"), row.get("split")) == (data.dataset, data.split)
    ]
    theirs = [row for row in paper_rows() if row.dataset == data.dataset]
    if as_json:
        print(json.dumps({"rows": ours, "papers": [vars(row) for row in theirs]}))
        return
    metrics = dict.fromkeys(name for row in ours for name in row["shown"])
    metrics |= dict.fromkeys(name for row in theirs for name in row.values)
    print(f"{data.dataset} {data.split}: {len(ours)} rows in {output / RESULTS_FILE}")
    print(format_rows(ours, theirs, list(metrics)))


def _report(task: Task, rows: Sequence[Row], swept: Sequence[sweeps.Values]) -> str:
    """Our rows, the papers', and for a single row the details of its task and the cost.

    Rows of a sweep that would look the same are told apart by what was swept.
    """
    first = rows[0]
    papers = {json.dumps(row["paper"]): row["paper"] for row in rows if row["paper"]}
    theirs = [PaperRow(**row) for row in papers.values()]
    counts = f"{first['num_videos']} videos, {first['num_frames']} frames"
    lines = [f"{first['dataset']} {first['split']}: {counts}"]
    if first["note"]:
        lines.append(first["note"])
    labels = [row["label"] for row in rows]
    if len(set(labels)) < len(labels):
        labels = [
            " ".join([label, *(f"{name}={value}" for name, value in point.items())])
            for label, point in zip(labels, swept, strict=True)
        ]
    named = [row | {"label": label} for row, label in zip(rows, labels, strict=True)]
    lines.append(format_rows(named, theirs, first["shown"]))
    if len(rows) == 1:
        lines += task.details(first)
        peak = first["peak_memory_bytes"] / 1e9
        if first["seconds_per_frame"] is not None:
            lines.append(f"{first['seconds_per_frame']:.3f} s a frame, peak memory {peak:.2f} GB")
    return "\n".join(lines)
