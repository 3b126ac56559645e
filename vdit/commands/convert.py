"""`vdit convert`: a released VD-IT checkpoint to a model folder."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict

from vdit.checkpoint import ConversionReport, convert_released


def run(arguments: Namespace) -> None:
    """Convert a checkpoint and say what became of its keys."""
    report = convert_released(arguments.checkpoint, arguments.output, arguments.with_frozen)
    if arguments.json:
        print(json.dumps(asdict(report)))
    else:
        print_report(arguments.checkpoint, report)


def print_report(checkpoint: str, report: ConversionReport) -> None:
    """Print the keys, one line a part, then what is in the folder."""
    unused = f" ({', '.join(report.unused)})" if report.unused else ""
    print(
        f"{checkpoint}: {sum(report.tensors.values())} tensors, {report.num_aliases} aliases, "
        f"all equal, {len(report.unused)} unused keys{unused}"
    )
    for part, count in report.tensors.items():
        place = "written" if part in report.written else f"from {report.sources[part]}"
        print(f"  {part}: {count} tensors, {place}")
    for part, source in report.sources.items():
        if part not in report.tensors:
            print(f"  {part}: from {source}")
    print(
        f"{report.folder}: model {report.name}, {report.folder_bytes / 1e6:.1f} MB of "
        f"{report.checkpoint_bytes / 1e6:.1f} MB"
    )
