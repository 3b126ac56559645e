"""`vdit bench features`: what features of a clip cost with each backbone."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vdit.atomic import replace_when_complete
from vdit.backbone_loading.families import BACKBONES
from vdit.benchmarking.facts import run_facts
from vdit.benchmarking.feature_cases import (
    PAPER_ROWS,
    YARDSTICK,
    make_case,
    one_of_every_family,
)
from vdit.benchmarking.feature_counts import count
from vdit.benchmarking.feature_timing import Place, measure
from vdit.build import quiet_libraries
from vdit.commands.segment import check_device
from vdit.feature_options import parse_size

FAMILIES_WORD = "families"
PAPER = (
    '"Video diffusion models learn the structure of the dynamic world", Table 5: batch '
    "[6, 256, 256] on one A100, memory over 2.6 GB and time over 0.224 s of DINOv2"
)


def run(arguments: Namespace) -> None:
    """Count, time, write and print a table."""
    names = _names(arguments.backbones)
    height, width = parse_size(arguments.size)
    if arguments.frames < 1 or arguments.rounds < 0 or arguments.threads < 1:
        raise ValueError(
            "expected at least one frame and one thread and no negative rounds, got "
            f"{arguments.frames}, {arguments.threads} and {arguments.rounds}"
        )
    check_device(arguments.device)
    quiet_libraries()
    facts = run_facts() | {"threads": arguments.threads}
    place = Place(arguments.device, arguments.dtype, arguments.threads, arguments.random)
    rows: list[dict[str, Any]] = []
    result = facts | {
        "place": asdict(place),
        "rounds": arguments.rounds,
        "clip": [arguments.frames, 3, height, width],
        "paper": PAPER,
        "rows": rows,
    }
    for name in names:
        print(f"{name} ...", file=sys.stderr)
        case = make_case(name, arguments.frames, height, width)
        row: dict[str, Any] = asdict(case) | asdict(count(case))
        if arguments.rounds:
            cost = measure(case, place, arguments.rounds)
            row |= asdict(cost) | {"peak_bytes": cost.peak_bytes}
        rows.append(row)
        compare(rows)
        if arguments.output:  # after each, as full-size networks take minutes
            with replace_when_complete(Path(arguments.output)) as partial:
                partial.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if arguments.json else table(rows))


def _names(chosen: list[str]) -> list[str]:
    """Give the backbones to measure, the one that others are compared to first."""
    wanted = list(chosen or PAPER_ROWS)
    if wanted == [FAMILIES_WORD]:
        wanted = one_of_every_family()
    unknown = [name for name in wanted if name not in BACKBONES]
    if unknown:
        known = ", ".join((FAMILIES_WORD, *BACKBONES))
        raise ValueError(f"expected backbones among {known}; got {unknown[0]!r}")
    return list(dict.fromkeys((YARDSTICK, *wanted)))


def compare(rows: list[dict[str, Any]]) -> None:
    """Add to every row its cost over that of the first row, and what the paper prints."""
    first = rows[0]
    for row in rows:
        ratios = {"macs": row["macs"] / first["macs"]}
        if "seconds" in row:
            ratios["time"] = min(row["seconds"]) / min(first["seconds"])
            ratios["memory"] = _total_bytes(row) / _total_bytes(first)
            ratios["memory_beyond_weights"] = row["peak_bytes"] / first["peak_bytes"]
        row[f"over_{YARDSTICK}"] = {name: round(ratio, 3) for name, ratio in ratios.items()}
        if row["name"] in PAPER_ROWS:
            memory, time = PAPER_ROWS[row["name"]]
            row["paper"] = {"memory": memory, "time": time}


def _total_bytes(row: dict[str, Any]) -> int:
    return row["weight_bytes"] + row["peak_bytes"]


def table(rows: list[dict[str, Any]]) -> str:
    """Make a Markdown table of the rows; columns with x are over those of the first row.

    Living tensors are counted for float32; the rest of the memory is measured.
    """
    lines = [
        "| backbone | block | clip | features | parameters used / all, M | GMACs | x | "
        "living tensors, GB | weights, GB | peak beyond them, GB | memory x | paper's | s | "
        "time x | paper's |",
        "|" + "---|" * 15,
    ]
    for row in rows:
        ratios = row[f"over_{YARDSTICK}"]
        paper = row.get("paper", {"memory": "", "time": ""})
        clip = (row["num_frames"], 3, row["height"], row["width"])
        cells = [
            row["name"],
            row["block"],
            "x".join(map(str, clip)),
            "x".join(map(str, row["shape"])),
            f"{row['parameters_used'] / 1e6:.1f} / {row['parameters'] / 1e6:.1f}",
            f"{row['macs'] / 1e9:.3g}" if row["macs"] < 1e11 else f"{row['macs'] / 1e9:.0f}",
            f"{ratios['macs']:.2f}",
            f"{row['live_bytes'] / 1e9:.3f}",
        ]
        if "seconds" in row:
            cells += [
                f"{row['weight_bytes'] / 1e9:.2f}",
                f"{row['peak_bytes'] / 1e9:.2f}",
                f"{ratios['memory']:.2f}",
                f"{paper['memory']}",
                f"{min(row['seconds']):.2f}",
                f"{ratios['time']:.2f}",
                f"{paper['time']}",
            ]
        else:
            cells += ["", "", "", f"{paper['memory']}", "", "", f"{paper['time']}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
