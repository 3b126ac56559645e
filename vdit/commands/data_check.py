"""`vdit data check`: what is there of a data set, what is missing, and who publishes it."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from vdit.datasets.checking import CheckReport, SplitReport, check
from vdit.datasets.findings import say_where
from vdit.datasets.probe_datasets import PROBE_DATASETS
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.datasets.video_datasets import VIDEO_DATASETS


def run(arguments: Namespace) -> None:
    """Print what is there; a data set that is not whole is a ValueError after the report."""
    known = REFERRING_DATASETS | VIDEO_DATASETS | PROBE_DATASETS
    benchmark = known.get(arguments.dataset)
    if benchmark is None:
        raise ValueError(f"expected a data set among {', '.join(known)}; got {arguments.dataset!r}")
    report = check(benchmark, Path(arguments.root), arguments.split)
    if arguments.json:
        print(json.dumps(_as_json(report)))
    else:
        print("\n".join(_lines(report)))
    if not report.is_complete:
        count = sum(p.count for split in report.splits.values() for p in split.problems)
        what = (
            f"{count} problem{'s' * (count > 1)}"
            if report.splits
            else f"no list of {', '.join(report.absent)}"
        )
        raise ValueError(
            f"{report.root} is not a whole {report.dataset}: {what}{say_where(report.published)}"
        )


def _as_json(report: CheckReport) -> dict[str, object]:
    return {
        "dataset": report.dataset,
        "root": str(report.root),
        "complete": report.is_complete,
        "splits": {name: asdict(split) for name, split in report.splits.items()},
        "absent": report.absent,
        "published": list(report.published),
    }


def _lines(report: CheckReport) -> list[str]:
    lines = [f"{report.dataset} at {report.root}"]
    for name, split in report.splits.items():
        lines += _split_lines(name, split)
    if report.absent:
        lines.append(f"not there, and not asked for: {', '.join(report.absent)}")
    lines.append("complete" if report.is_complete else "not complete")
    return lines


def _split_lines(name: str, split: SplitReport) -> list[str]:
    counts = [f"{split.videos} videos"]
    if split.expressions is not None:
        counts.append(f"{split.expressions} expressions")
    counts.append(f"{split.frames_found} of {split.frames} frames")
    if split.labelled is not None:
        counts.append(f"{split.labelled} with truth")
    lines = [f"{name}: {', '.join(counts)}"]
    lines += [f"  note: {note}" for note in split.notes]
    for problem in split.problems:
        lines.append(f"  {problem.what}: {problem.count}")
        lines += [f"    {where}" for where in problem.first]
        if problem.count > len(problem.first):
            lines.append(f"    and {problem.count - len(problem.first)} more")
    return lines
