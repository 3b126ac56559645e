"""Options of `vdit demo`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_json, add_model


def add_demo(commands: Commands) -> None:
    """Describe `vdit demo`."""
    parser = commands.add_parser(
        "demo", help="render a clip with known truth and segment it by text"
    )
    parser.add_argument(
        "-o",
        "--output",
        default="demo",
        metavar="DIR",
        help="folder for the clip and the results (default: %(default)s)",
    )
    add_model(parser)
    add_json(parser)
