"""`vdit eval`: scores of predictions."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from vdit.atomic import replace_when_complete
from vdit.evaluation.execution import Execution
from vdit.evaluation.report import EvalReport
from vdit.evaluation.scoring import evaluate


def run(arguments: Namespace) -> None:
    """Score a folder or archive of predictions."""
    with progress_bar("video") as show:
        report = evaluate(
            arguments.dataset,
            arguments.root,
            arguments.predictions,
            split=arguments.split,
            protocol=arguments.protocol,
            missing_as_empty=arguments.missing_as_empty,
            execution=Execution(arguments.workers, show),
        )
    result = report.as_json() | {"root": arguments.root, "predictions": arguments.predictions}
    if arguments.output:
        with replace_when_complete(Path(arguments.output)) as partial:
            partial.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if arguments.json else "\n".join(lines(report)))


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many parts are done on a terminal."""
    with tqdm(unit=unit, disable=None, leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def lines(report: EvalReport) -> list[str]:
    """Say what was scored, and one line a metric in per cent."""
    protocol = f", protocol {report.protocol}" if report.protocol else ""
    found = [
        f"{report.dataset} {report.split}{protocol}: {len(report.videos)} "
        f"video{'s' * (len(report.videos) != 1)}, {len(report.expressions)} rows"
    ]
    width = max(len(name) for name in report.metrics)
    names = list(report.parts)
    if names:
        heads = "".join(f"{name:>{_column(name)}}" for name in names)
        found.append(" " * (width + 2) + "  mean" + heads)
    for metric, value in report.metrics.items():
        parts = "".join(
            f"{_percent(report.parts[name], metric):>{_column(name)}}" for name in names
        )
        found.append(f"  {metric:{width}}{100 * value:6.2f}{parts}")
    found += [f"  note: {note}" for note in report.notes]
    if report.num_missing:
        found.append(f"  note: {report.num_missing} missing predictions counted as empty")
    return found


def _column(name: str) -> int:
    """Width of the column of a part."""
    return max(7, len(name) + 2)


def _percent(metrics: Mapping[str, float], name: str) -> str:
    """A metric in per cent; a part need not have all of them."""
    return f"{100 * metrics[name]:.2f}" if name in metrics else "-"
