"""`vdit bench propagate`: what label propagation over a video costs, features included."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from vdit.atomic import replace_when_complete
from vdit.benchmarking.facts import run_facts
from vdit.benchmarking.feature_timing import Place
from vdit.benchmarking.propagation_timing import NoiseVideo, measure_propagation
from vdit.build import quiet_libraries
from vdit.commands.segment import check_device
from vdit.config import load_config
from vdit.feature_options import parse_size
from vdit.probing.paper_tables import find_paper_row
from vdit.probing.propagation_config import LabelPropagationConfig, describe, full_key

COST_TABLE = "TED, Table 7"
COST_METHODS = {
    ("TED, Table 2", "DIFT-ADM"): "DIFT (best)",
    ("TED, Table 2", "TED"): "TED (best)",
}
"""What the table of costs calls methods that configurations name as the table of scores does."""
MIN_FRAMES = 2


def run(arguments: Namespace) -> None:
    """Measure every configuration; write and print a table."""
    height, width = parse_size(arguments.size)
    if arguments.frames < MIN_FRAMES or arguments.threads < 1:
        raise ValueError(
            f"expected at least {MIN_FRAMES} frames and one thread, got {arguments.frames} and "
            f"{arguments.threads}"
        )
    check_device(arguments.device)
    changes = [change.partition("=") for change in arguments.changes]
    configs = {path: _read(Path(path), changes) for path in arguments.configs}
    quiet_libraries()
    facts = run_facts() | {"threads": arguments.threads}
    place = Place(
        device=arguments.device, threads=arguments.threads, random=arguments.random, dtype="own"
    )
    video = NoiseVideo(arguments.frames, height, width)
    rows: list[dict[str, Any]] = []
    result = facts | {
        "device": arguments.device,
        "random": arguments.random,
        "video": asdict(video),
        "rows": rows,
    }
    for path, config in configs.items():
        print(f"{path} ...", file=sys.stderr)
        cost = measure_propagation(config, video, place)
        total = cost.feature_seconds + cost.propagation_seconds
        row = {"config": Path(path).stem, "sources": _describe(config)} | asdict(cost)
        row |= {
            "seconds_per_frame": round(total / video.num_frames, 4),
            "frames_per_second": round(video.num_frames / total, 4),
            "paper": _paper(config),
        }
        rows.append(row)
        if arguments.output:  # after each, as full-size networks take hours on a CPU
            with replace_when_complete(Path(arguments.output)) as partial:
                partial.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if arguments.json else table(rows))


def _read(path: Path, changes: Sequence[tuple[str, str, str]]) -> LabelPropagationConfig:
    """Read a configuration and apply changes, each (key, "=", value)."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"expected a readable YAML file, got {path}: {reason}") from error
    if not isinstance(content, dict) or content.pop("task", None) != "label_propagation":
        raise ValueError(f"expected `task: label_propagation` in {path}; see configs/probe/")
    sources = list(content.get("sources") or {})
    changed = [f"{full_key(key, sources)}{sign}{value}" for key, sign, value in changes]
    return load_config(LabelPropagationConfig, content, ["data.root=.", *changed])  # unread


def _describe(config: LabelPropagationConfig) -> str:
    return " + ".join(describe(source) for source in config.weighted_sources())


def _paper(config: LabelPropagationConfig) -> dict[str, float] | None:
    """Give what the paper prints of the costs of this method."""
    key = (config.paper.table, config.paper.method)
    method = key[1] if key[0] == COST_TABLE else COST_METHODS.get(key)
    row = None if method is None else find_paper_row(COST_TABLE, config.data.dataset, method)
    return None if row is None else row.values


def table(rows: list[dict[str, Any]]) -> str:
    """Make a Markdown table of the rows, those of the paper beside ours."""
    lines = [
        "| configuration | features | s/frame: features | propagation | both | paper's | FPS | "
        "weights, GB | peak beyond them, GB | paper's peak, GB |",
        "|" + "---|" * 10,
    ]
    for row in rows:
        paper = row["paper"] or {}
        frames = row["seconds_per_frame"] / (row["feature_seconds"] + row["propagation_seconds"])
        cells = [
            row["config"],
            row["sources"],
            f"{row['feature_seconds'] * frames:.3f}",
            f"{row['propagation_seconds'] * frames:.3f}",
            f"{row['seconds_per_frame']:.3f}",
            f"{paper.get('seconds_per_frame', '')}",
            f"{row['frames_per_second']:.3g}",
            f"{row['weight_bytes'] / 1e9:.2f}",
            f"{row['peak_bytes'] / 1e9:.2f}",
            f"{paper.get('peak_memory_gb', '')}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
