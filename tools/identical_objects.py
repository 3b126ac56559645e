"""Two equal balls that cross: which networks' features tell them apart?

python tools/identical_objects.py RUNS -o RUNS/identical   # again after more networks are trained
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vdit.build import quiet_libraries
from vdit.commands.segment import check_device
from vdit.commands.study_tools import call, study_parser
from vdit.config import load_config
from vdit.memory import map_large_blocks
from vdit.study.identical_objects import (
    Answer,
    IdenticalObjectsConfig,
    compare,
    page_of,
    write_answers,
)

CONFIG = Path(__file__).parents[1] / "configs" / "study" / "identical_objects.yaml"


def run(arguments: argparse.Namespace) -> None:
    """Compare the networks that are there, and write what they do."""
    config = load_config(IdenticalObjectsConfig, arguments.config, arguments.changes)
    check_device(arguments.device)
    quiet_libraries()
    map_large_blocks()
    answers: list[Answer] = []
    for answer in compare(config, arguments.models, arguments.output, arguments.device):
        answers.append(answer)
        files = write_answers(config, answers, arguments.output)
    if arguments.json:
        print(files[1].read_text().rstrip())
        return
    print(page_of(config, answers))
    print("\n".join(map(str, files)))


def main() -> int:
    """Read the arguments; 2 for a mistake in them."""
    return call(run, study_parser(str(__doc__), CONFIG))


if __name__ == "__main__":
    sys.exit(main())
