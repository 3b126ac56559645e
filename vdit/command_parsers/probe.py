"""Options of `vdit probe`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_json


def add_probe(commands: Commands) -> None:
    """Describe `vdit probe`."""
    parser = commands.add_parser(
        "probe", help="what the features of a backbone know, as a row beside those of papers"
    )
    parser.add_argument(
        "config", metavar="CONFIG", help="YAML, such as configs/probe/propagation_davis.yaml"
    )
    parser.add_argument(
        "changes",
        nargs="*",
        metavar="KEY=VALUE",
        help="changes of it, such as data.root=DAVIS; backbone, block, timestep and other options "
        "of features without a prefix are those of the source `video`, else of the first one",
    )
    parser.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="run with each value; again for all combinations; writes a CSV and a picture",
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="run nothing; print the rows so far beside all rows of papers on this data",
    )
    parser.add_argument(
        "--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)"
    )
    parser.add_argument(
        "-o",
        "--output",
        default="vdit-probes",
        metavar="DIR",
        help="folder of results.jsonl, predictions and pictures; work that is done there is kept "
        "(default: %(default)s)",
    )
    add_json(parser)
