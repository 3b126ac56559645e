"""What the tools of studies share: where checkpoints and results are, and how mistakes end."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path


def study_parser(description: str, config: Path) -> argparse.ArgumentParser:
    """Make a parser with the arguments of every study.

    Args:
        description: with examples, printed as it stands.
        config: file or folder that is read unless another is named.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, help="folder of the trained checkpoints")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="of the configuration")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the study")
    parser.add_argument("--config", type=Path, default=config, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    return parser


def call(run: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> int:
    """Run with the arguments of the command line; 2 for a mistake in them, said in a sentence."""
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run(arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
