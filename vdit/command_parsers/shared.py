"""Options that several commands share."""

from __future__ import annotations

import argparse

Commands = argparse._SubParsersAction  # argparse has no public name for it


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a referring model, and where it runs."""
    parser.add_argument(
        "--model",
        default="vdit-mini",
        metavar="ID|DIR",
        help="name, hub id or folder of a model (default: %(default)s)",
    )
    add_device(parser, "of the frozen networks")


def add_backbone(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a backbone and its weights."""
    parser.add_argument(
        "--backbone", required=True, metavar="NAME", help="whose features; a wrong name lists all"
    )
    parser.add_argument(
        "--weights", metavar="PATH", help="file, folder or hub id instead of the usual one"
    )


def add_device(parser: argparse.ArgumentParser, whose: str) -> None:
    """Add device and dtype; `whose` says what they are of."""
    parser.add_argument(
        "--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help=f"{whose} (default: %(default)s)",
    )


def add_predictions(parser: argparse.ArgumentParser) -> None:
    """Add a data set, its folder, and predictions of one of its splits."""
    parser.add_argument(
        "dataset", metavar="DATASET", help="such as ref-davis or mevis; a wrong name lists all"
    )
    parser.add_argument("--root", required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument(
        "--predictions", required=True, metavar="DIR|ZIP", help="folder or archive of predictions"
    )
    parser.add_argument("--split", metavar="S", help="part of the data set (default: its usual)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the flag that every command has."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
