"""Two equal balls that cross: which networks' features tell them apart?

python tools/identical_objects.py RUNS -o RUNS/identical   # again after more networks are trained
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from vdit.build import quiet_libraries
from vdit.commands.segment import check_device
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, help="folder of the trained checkpoints")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="of the configuration")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--config", type=Path, default=CONFIG, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run(arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
