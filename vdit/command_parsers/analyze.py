"""Options of `vdit analyze`."""

from __future__ import annotations

import argparse

from vdit.command_parsers.shared import Commands, add_backbone, add_device, add_json


def add_analyze(commands: Commands) -> None:
    """Describe `vdit analyze` and its kinds."""
    parser = commands.add_parser(
        "analyze", help="the analyses of the VD-IT paper: a table row and a figure each"
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_masks(
        kinds,
        "consistency",
        "how much the IoU changes from frame to frame",
        "Mean change of the IoU with the truth between frames some interval apart, for folders of "
        "predictions; smaller is steadier.",
    ).add_argument(
        "--intervals",
        type=int,
        nargs="+",
        default=[1, 5],
        metavar="N",
        help="frames apart (default: 1 5)",
    )
    _add_masks(
        kinds,
        "quality",
        "how many of the good masks are precise",
        "Masks with an IoU above 0.9 over those above 0.5, for folders of predictions.",
    )
    _add_lighting(kinds)
    _add_roi(kinds)
    _add_ablation(kinds)


def _add_masks(kinds: Commands, name: str, help_: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=help_, description=description)
    _add_dataset(parser)
    _add_predictions(parser, "NAME=DIR", "name of a method and its predictions; repeat for several")
    _add_outputs(parser)
    return parser


def _add_lighting(kinds: Commands) -> None:
    parser = kinds.add_parser(
        "lighting",
        help="how scores fall when frames are darker or brighter",
        description="With --perturb, write a copy of the data set with other brightness, to be "
        "segmented; with --predictions, score what was predicted on such copies.",
    )
    _add_dataset(parser)
    parser.add_argument(
        "--perturb", type=float, metavar="X", help="brightness factor of the copy, 1 = unchanged"
    )
    parser.add_argument("--copy", metavar="DIR", help="where --perturb writes the copy")
    _add_predictions(
        parser,
        "[NAME:]X=DIR",
        "brightness factor and predictions on frames of it, maybe of a method; repeat, 1 included",
        required=False,
    )
    parser.add_argument("--protocol", metavar="P", help="see `vdit eval`")
    _add_outputs(parser)


def _add_roi(kinds: Commands) -> None:
    parser = kinds.add_parser(
        "roi",
        help="how alike the features of an object stay along a video",
        description="Cosine similarity of features, averaged over the true mask of an object, of "
        "the first frame with the following ones.",
    )
    _add_dataset(parser)
    add_backbone(parser)
    parser.add_argument("--block", required=True, metavar="B", help="feature map to pool")
    parser.add_argument(
        "--timestep", type=float, metavar="T", help="noise level (default: no noise)"
    )
    parser.add_argument(
        "--short-side", type=int, metavar="PX", help="resize the short side (default: its own)"
    )
    parser.add_argument(
        "--frames", type=int, default=8, metavar="N", help="of each video (default: %(default)s)"
    )
    parser.add_argument(
        "--videos", type=int, metavar="N", help="at most so many (default: all of the split)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    add_device(parser, "of the network")
    _add_outputs(parser, workers=False)


def _add_ablation(kinds: Commands) -> None:
    parser = kinds.add_parser(
        "ablation",
        help="several evaluations side by side",
        description="A table of reports that `vdit eval -o` wrote, one row a variant.",
    )
    parser.add_argument(
        "reports", nargs="+", metavar="NAME=JSON", help="name of a variant and its report"
    )
    _add_outputs(parser, workers=False)


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset", metavar="DATASET", help="such as ref-davis or mevis; a wrong name lists all"
    )
    parser.add_argument("--root", required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--split", metavar="S", help="part of the data set (default: its usual)")


def _add_predictions(
    parser: argparse.ArgumentParser, metavar: str, help_: str, required: bool = True
) -> None:
    parser.add_argument(
        "--predictions", action="append", default=[], required=required, metavar=metavar, help=help_
    )
    parser.add_argument(
        "--missing-as-empty",
        action="store_true",
        help="count missing predictions as empty (default: refuse)",
    )


def _add_outputs(parser: argparse.ArgumentParser, workers: bool = True) -> None:
    if workers:
        parser.add_argument(
            "--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)"
        )
    parser.add_argument(
        "--paper",
        metavar="JSON",
        help="published rows to print beside: {method: {column: number}}",
    )
    parser.add_argument("--figure", metavar="FILE", help="chart to draw: .png, .pdf or .svg")
    parser.add_argument("-o", "--output", metavar="FILE", help="JSON of the table to write")
    add_json(parser)
