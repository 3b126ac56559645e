"""Options of `vdit cache`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_device, add_json


def add_cache(commands: Commands) -> None:
    """Describe `vdit cache`."""
    parser = commands.add_parser(
        "cache", help="what the frozen networks make of a data set, stored once"
    )
    parser.add_argument(
        "config",
        metavar="CONFIG|DATASET",
        help="as of `vdit infer`, or the configuration of a training (`stage: benchmark`)",
    )
    parser.add_argument(
        "changes", nargs="*", metavar="KEY=VALUE", help="changes of the configuration"
    )
    parser.add_argument("--root", metavar="DIR", help="folder of the data set")
    parser.add_argument("--model", metavar="ID|DIR", help="name, hub id or folder of a model")
    parser.add_argument("--split", metavar="S", help="part of the data set")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="folder for the encodings; what is finished in it is kept",
    )
    parser.add_argument(
        "--storage",
        choices=("exact", "float16", "bfloat16"),
        default="exact",
        help="of VAE features and image tokens; latents are always exact (default: %(default)s)",
    )
    parser.add_argument(
        "--multiple",
        type=int,
        default=16,
        metavar="PX",
        help="padded sides are multiples of it: 16 for inference, 32 for training "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--mirrored", action="store_true", help="store mirror images too, for training that flips"
    )
    parser.add_argument(
        "--every-frame",
        action="store_true",
        help="also frames that no prediction needs, where single frames are labelled",
    )
    parser.add_argument(
        "--frames-per-shard",
        type=int,
        default=64,
        metavar="N",
        help="frames in a file (default: %(default)s)",
    )
    parser.add_argument(
        "--verify", action="store_true", help="read everything and compare checksums; write nothing"
    )
    add_device(parser, "of the frozen networks")
    add_json(parser)
