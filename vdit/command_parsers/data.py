"""Options of `vdit data`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_json


def add_data(commands: Commands) -> None:
    """Describe `vdit data`."""
    data = commands.add_parser("data", help="render clips whose truth is known; check data sets")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_data_check(actions)
    _add_data_refsynth(actions)
    parser = actions.add_parser("render", help="render clips, in the layout of a benchmark")
    parser.add_argument(
        "recipe", metavar="RECIPE", help="what to render; `list` says what there is"
    )
    parser.add_argument(
        "-o",
        "--output",
        default="rendered",
        metavar="DIR",
        help="root of the tree to write (default: %(default)s)",
    )
    parser.add_argument(
        "--layout", default="native", metavar="NAME", help="of the tree (default: %(default)s)"
    )
    parser.add_argument(
        "--split", default="train", help="that the clips belong to (default: %(default)s)"
    )
    parser.add_argument("--count", type=int, default=10, help="of clips (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first clip (default: 0)")
    for name in ("frames", "height", "width"):
        parser.add_argument(
            f"--{name}", type=int, metavar="N", help="of a clip (default: the recipe's own)"
        )
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that render (default: %(default)s)"
    )
    add_json(parser)


def _add_data_check(actions: Commands) -> None:
    parser = actions.add_parser(
        "check",
        help="what is there of a data set, and what is missing",
        description="Look at every file that the lists of a data set name; exit code 2 if one is "
        "missing or damaged. Nothing is downloaded.",
    )
    parser.add_argument(
        "dataset", metavar="DATASET", help="such as ref-davis or mevis; a wrong name lists all"
    )
    parser.add_argument("root", metavar="ROOT", help="folder of the data set")
    parser.add_argument(
        "--split", metavar="S", help="part to look at (default: all whose lists are there)"
    )
    add_json(parser)


def _add_data_refsynth(actions: Commands) -> None:
    parser = actions.add_parser(
        "refsynth",
        help="render the benchmark RefSynth",
        description="Render parts of RefSynth, each into a folder of its own that readers of its "
        "layout take. Parts that are there already stay. docs/refsynth.md is the data card.",
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="such as seen; none = all but train"
    )
    parser.add_argument(
        "-o", "--output", default="refsynth", metavar="DIR", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--layout",
        default="mevis",
        metavar="NAME",
        help="mevis or ref-youtube-vos (default: mevis)",
    )
    parser.add_argument(
        "--count", type=int, metavar="N", help="first clips of each part only (default: all)"
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that render (default: %(default)s)"
    )
    add_json(parser)
