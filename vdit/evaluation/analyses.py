"""The analyses of VD-IT's paper as tables: one row a method, numbers of others marked as theirs.

Reference: Zhu et al., VD-IT, ECCV 2024, Sec. 4.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.annotation_files import read_json
from vdit.evaluation.frame_overlaps import FrameOverlaps
from vdit.metrics.consistency import GOOD_IOU, PRECISE_IOU, overlap_change, precise_share

__all__ = [
    "AnalysisTable",
    "ablation",
    "consistency",
    "lighting",
    "quality",
    "read_report",
    "read_rows",
]

Row = Mapping[str, float]


@dataclass(frozen=True)
class AnalysisTable:
    """Rows of numbers under common names.

    Attributes:
        title: what was measured.
        rows: method -> column -> number; NaN and missing ones are left empty.
        paper: rows of the same form that somebody else published.
    """

    title: str
    rows: Mapping[str, Row]
    paper: Mapping[str, Row]

    @property
    def columns(self) -> list[str]:
        """Names of all numbers, those of the own rows first."""
        every = [*self.rows.values(), *self.paper.values()]
        return list(dict.fromkeys(column for row in every for column in row))

    def markdown(self) -> str:
        """The table in Markdown; published rows end in "(paper)"."""
        lines = [f"| {self.title} | {' | '.join(self.columns)} |"]
        lines.append("|---" * (len(self.columns) + 1) + "|")
        named = [*self.rows.items(), *((f"{k} (paper)", row) for k, row in self.paper.items())]
        for name, row in named:
            cells = [_cell(row.get(column, math.nan)) for column in self.columns]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Everything, ready for JSON; NaN becomes null."""

        def clean(rows: Mapping[str, Row]) -> dict[str, dict[str, float | None]]:
            return {
                name: {k: None if math.isnan(v) else float(v) for k, v in row.items()}
                for name, row in rows.items()
            }

        return {"title": self.title, "rows": clean(self.rows), "paper": clean(self.paper)}


def consistency(answers: Sequence[FrameOverlaps], intervals: Sequence[int]) -> dict[str, float]:
    """Mean change of the IoU over each interval, each answer with the same weight.

    Answers to sentences without a target and those of too short videos are left out.

    Args:
        answers: of one method.
        intervals: frames apart, 1 and 5 in the paper.

    Returns:
        "change at <interval>" as a fraction, smaller is steadier; and "mean IoU".

    Raises:
        ValueError: no answer is longer than an interval.
    """
    named = [answer for answer in answers if answer.has_target]
    found: dict[str, float] = {}
    for interval in intervals:
        changes = [overlap_change(answer.ious, interval) for answer in named]
        known = [change for change in changes if not math.isnan(change)]
        if not known:
            raise ValueError(
                f"expected answers of more than {interval} frames, got at most "
                f"{max((len(answer.ious) for answer in named), default=0)}; take another interval"
            )
        found[f"change at {interval}"] = float(np.mean(known))
    found["mean IoU"] = float(np.mean([answer.ious.mean() for answer in named]))
    return found


def quality(answers: Sequence[FrameOverlaps]) -> dict[str, float]:
    """Share of precise masks among those that found their object, over all masks of a method.

    Answers to sentences without a target are left out.

    Returns:
        "precise / good" (IoU above 0.9 over above 0.5), and both shares of all masks.

    Raises:
        ValueError: no mask has an IoU above 0.5.
    """
    ious = np.concatenate([answer.ious for answer in answers if answer.has_target] or [np.zeros(0)])
    share = precise_share(ious)
    if math.isnan(share):
        raise ValueError(f"none of the {len(ious)} masks has an IoU above {GOOD_IOU}")
    return {
        "precise / good": share,
        f"IoU > {PRECISE_IOU}": float(np.mean(ious > PRECISE_IOU)),
        f"IoU > {GOOD_IOU}": float(np.mean(ious > GOOD_IOU)),
    }


def lighting(scores: Mapping[float, float]) -> dict[str, float]:
    """Scores by brightness, and how far the worst is below that of unchanged frames.

    Args:
        scores: brightness factor -> J&F as a fraction; 1 = unchanged.

    Returns:
        A column a factor in rising order, and "largest drop".

    Raises:
        ValueError: the score of unchanged frames or any other is missing.
    """
    if 1.0 not in scores or len(scores) < 2:
        raise ValueError(
            "expected predictions of unchanged frames (1) and of at least one other brightness, "
            f"got those of {', '.join(f'{factor:g}' for factor in sorted(scores)) or 'none'}"
        )
    columns = {f"x{factor:g}": scores[factor] for factor in sorted(scores)}
    return columns | {"largest drop": scores[1.0] - min(scores.values())}


def ablation(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Metrics of several evaluations of one split side by side.

    Args:
        reports: name of a variant -> report of `vdit eval`.

    Returns:
        name -> metric -> fraction.

    Raises:
        ValueError: reports are of different data sets, splits or protocols.
    """
    first_name, first = next(iter(reports.items()))
    for name, report in reports.items():
        for key in ("dataset", "split", "protocol"):
            if report[key] != first[key]:
                raise ValueError(
                    f"expected reports of one {key}, got {first[key]!r} in {first_name} and "
                    f"{report[key]!r} in {name}; evaluate them alike"
                )
    return {name: dict(report["metrics"]) for name, report in reports.items()}


def read_report(path: Path) -> dict[str, Any]:
    """Read what `vdit eval -o` wrote.

    Raises:
        ValueError: the file is missing or holds something else.
    """
    report = read_json(path, dict)
    missing = {"dataset", "split", "protocol", "metrics"} - report.keys()
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(sorted(missing))}, expected a report of `vdit eval -o`"
        )
    return dict(report)


def read_rows(path: Path) -> dict[str, dict[str, float]]:
    """Read published rows: {method: {column: number}}.

    Raises:
        ValueError: the file is missing or holds something else.
    """
    rows = read_json(path, dict)
    try:
        return {
            str(name): {str(column): float(value) for column, value in row.items()}
            for name, row in rows.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} holds {json.dumps(rows)[:80]}, expected method -> column -> number"
        ) from error


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
