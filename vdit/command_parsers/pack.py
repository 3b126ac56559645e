"""Options of `vdit pack`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_json, add_predictions


def add_pack(commands: Commands) -> None:
    """Describe `vdit pack`."""
    parser = commands.add_parser(
        "pack",
        help="a checked archive of predictions for the server of a data set",
        description="Check every picture of ref-youtube-vos, mevis or ref-davis predictions, then "
        "write the archive; nothing is written if one is wrong.",
    )
    add_predictions(parser)
    parser.add_argument(
        "--without-frames",
        action="store_true",
        help="do not compare sizes with the frames of the data set, which may then be absent",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)"
    )
    parser.add_argument("-o", "--output", required=True, metavar="ZIP", help="archive to write")
    add_json(parser)
