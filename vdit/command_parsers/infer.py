"""Options of `vdit infer`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_device, add_json


def add_infer(commands: Commands) -> None:
    """Describe `vdit infer`."""
    parser = commands.add_parser(
        "infer", help="predictions of a benchmark, in the layout of its server"
    )
    parser.add_argument(
        "config", metavar="CONFIG|DATASET", help="YAML file, or a data set in its released protocol"
    )
    parser.add_argument(
        "changes", nargs="*", metavar="KEY=VALUE", help="changes of the configuration"
    )
    parser.add_argument("--root", metavar="DIR", help="folder of the data set")
    parser.add_argument(
        "--model",
        "--checkpoint",
        metavar="ID|DIR",
        help="name, hub id or folder of a model (default: the configuration's, vdit-mini)",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="folder for the predictions; finished videos in it are kept",
    )
    parser.add_argument("--split", metavar="S", help="part of the data set")
    parser.add_argument(
        "--no-target-threshold",
        type=float,
        metavar="P",
        help="answer with no object below this score",
    )
    parser.add_argument("--cache", metavar="DIR", help="read encodings that `vdit cache` stored")
    parser.add_argument(
        "--timing", action="store_true", help="say how many frames a second the model segments"
    )
    add_device(parser, "of the frozen networks")
    add_json(parser)
