"""Options of `vdit eval`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_json, add_predictions


def add_eval(commands: Commands) -> None:
    """Describe `vdit eval`."""
    parser = commands.add_parser(
        "eval",
        help="scores of predictions on a data set with public truth",
        description="Score a folder or zip of predictions, laid out as `vdit infer` writes them.",
    )
    add_predictions(parser)
    parser.add_argument(
        "--protocol",
        metavar="P",
        help="released (default) or strict of ref-davis; semi-supervised (default), unsupervised "
        "or foreground of davis",
    )
    parser.add_argument(
        "--missing-as-empty",
        action="store_true",
        help="count missing predictions as empty (default: refuse)",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="JSON to write, with a row a video and sentence"
    )
    add_json(parser)
