"""`vdit pack`: a checked archive of predictions."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict

from vdit.commands.eval import progress_bar
from vdit.evaluation.execution import Execution
from vdit.evaluation.submission import pack


def run(arguments: Namespace) -> None:
    """Check predictions, pack them and say what is in the archive."""
    with progress_bar("video") as show:
        packed = pack(
            arguments.dataset,
            arguments.root,
            arguments.predictions,
            arguments.output,
            split=arguments.split,
            with_frames=not arguments.without_frames,
            execution=Execution(arguments.workers, show),
        )
    if arguments.json:
        print(json.dumps(asdict(packed) | {"path": str(packed.path)}))
        return
    print(
        f"{packed.path}: {packed.dataset} {packed.split}, {packed.num_videos} videos, "
        f"{packed.num_expressions} sentences, {packed.num_pictures} pictures, "
        f"{packed.num_bytes / 1e6:.1f} MB"
    )
    print(f"sha256 {packed.sha256}")
    for note in packed.notes:
        print(f"note: {note}")
