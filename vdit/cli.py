"""The command line: parse, call the command, report errors in one line.

Results go to stdout, progress and warnings to stderr. Exit code 0 is good, 2 a user's mistake.
Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from vdit import __version__
from vdit.command_parsers.analyze import add_analyze
from vdit.command_parsers.bench import add_bench
from vdit.command_parsers.cache import add_cache
from vdit.command_parsers.convert import add_convert
from vdit.command_parsers.data import add_data
from vdit.command_parsers.demo import add_demo
from vdit.command_parsers.eval import add_eval
from vdit.command_parsers.features import add_features
from vdit.command_parsers.infer import add_infer
from vdit.command_parsers.pack import add_pack
from vdit.command_parsers.probe import add_probe
from vdit.command_parsers.propagate import add_propagate
from vdit.command_parsers.segment import add_segment
from vdit.command_parsers.shared import add_json
from vdit.command_parsers.track import add_track
from vdit.command_parsers.train import add_train

USER_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: words after `vdit`; None = those of the process.

    Returns:
        The exit code.
    """
    options = parse(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)
    command = importlib.import_module(f"vdit.commands.{options.command}")
    try:
        command.run(options)
    except ValueError as error:
        sentence = " ".join(str(error).split())
        print(f"vdit {options.command}: {sentence}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(
            f"vdit {options.command}: interrupted; nothing was left half-written", file=sys.stderr
        )
        return INTERRUPTED
    return 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; KEY=VALUE may also stand after the flags."""
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    is_change = ["=" in word and not word.startswith("-") for word in rest]
    if rest and not (hasattr(options, "changes") and all(is_change)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.changes = [*options.changes, *rest]
    return options


def build_parser() -> argparse.ArgumentParser:
    """Describe all commands and their options."""
    parser = argparse.ArgumentParser(
        prog="vdit",
        description="Segment what a sentence names in a video.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vdit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_segment(commands)
    add_demo(commands)
    add_convert(commands)
    add_data(commands)
    add_train(commands)
    add_eval(commands)
    add_infer(commands)
    add_cache(commands)
    add_pack(commands)
    add_analyze(commands)
    add_features(commands)
    add_propagate(commands)
    add_track(commands)
    add_probe(commands)
    add_bench(commands)
    info = commands.add_parser("info", help="versions, devices, compiled kernels, models found")
    add_json(info)
    return parser


_EXAMPLES = """examples:
  vdit demo -o demo
  vdit segment clip.mp4 -p "the dog on the left" -p "the red ball" -o out
  vdit convert checkpoint.pth -o vdit-released
  vdit data render referring -o clips --count 20
  vdit features clip.mp4 --backbone mini --block up1 --pca pca.png -o features.npz
  vdit bench ops --cases small --rounds 3
  vdit info
"""
