"""Options of `vdit train`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_json


def add_train(commands: Commands) -> None:
    """Describe `vdit train`."""
    parser = commands.add_parser("train", help="train one stage of a model, in pieces")
    parser.add_argument(
        "config", metavar="CONFIG", help="YAML, such as configs/vdit/vdit_ytvos.yaml"
    )
    parser.add_argument(
        "changes", nargs="*", metavar="KEY=VALUE", help="changes of it, such as run.steps=100"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="model folder that the stages fill, such as runs/mini",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="stop after so long, to be resumed"
    )
    add_json(parser)
