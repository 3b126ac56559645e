"""Options of `vdit convert`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_json


def add_convert(commands: Commands) -> None:
    """Describe `vdit convert`."""
    parser = commands.add_parser(
        "convert", help="released VD-IT checkpoint to safetensors and JSON"
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="the .pth file")
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="model folder to write"
    )
    parser.add_argument(
        "--with-frozen",
        action="store_true",
        help="also write the frozen networks that the checkpoint holds",
    )
    add_json(parser)
