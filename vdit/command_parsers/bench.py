"""Options of `vdit bench`."""

from __future__ import annotations

import argparse

from vdit.command_parsers.shared import Commands, add_device, add_json


def add_bench(commands: Commands) -> None:
    """Describe `vdit bench`."""
    bench = commands.add_parser("bench", help="time and memory, side by side with others")
    actions = bench.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_ops(actions)
    _add_features(actions)
    _add_propagate(actions)


def _add_ops(actions: Commands) -> None:
    parser = actions.add_parser(
        "ops",
        help="multi-scale deformable attention",
        description="Time vdit.ops.ms_deform_attn beside grid_sample, what transformers falls back "
        "to and, where they are installed, torch-ms-deform-attn and mmcv.",
    )
    parser.add_argument(
        "--cases",
        nargs="+",
        default=["small", "large", "decoder-small", "decoder-large"],
        metavar="NAME",
        help="sizes (default: small large decoder-small decoder-large; a wrong name lists all)",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        default=[],
        metavar="NAME",
        help="whom to time it beside (default: all that are found; a wrong name lists them)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64", "bfloat16", "float16"),
        default="float32",
        help="of value (default: %(default)s)",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="to run on (default: %(default)s)"
    )
    _add_threads(parser)
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        metavar="N",
        help="calls of each; 30 times as many with few queries (default: %(default)s)",
    )
    parser.add_argument("--memory", action="store_true", help="measure peak memory, too")
    parser.add_argument("--flush", action="store_true", help="empty the GPU's L2 cache each time")
    _add_output(parser)


def _add_features(actions: Commands) -> None:
    parser = actions.add_parser(
        "features",
        help="parameters, multiplications, memory and time of backbones",
        description="Count what features of one clip cost with each backbone up to the papers' "
        "block, and measure it in a process of its own, beside DINOv2-L.",
    )
    parser.add_argument(
        "--backbones",
        nargs="+",
        default=[],
        metavar="NAME",
        help="which (default: those of the paper's table; `families` = one of each; a wrong name "
        "lists all)",
    )
    parser.add_argument(
        "--random",
        action="store_true",
        help="random weights instead of the released ones, which cost the same",
    )
    parser.add_argument(
        "--size", default="256x256", metavar="HxW", help="of the clip (default: %(default)s)"
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=6,
        metavar="N",
        help="of the clip; fewer where a network takes other lengths (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        metavar="N",
        help="measured passes; 0 only counts, and takes no memory (default: %(default)s)",
    )
    _add_threads(parser)
    add_device(parser, "of the weights")
    _add_output(parser)


def _add_propagate(actions: Commands) -> None:
    parser = actions.add_parser(
        "propagate",
        help="label propagation over a video, features included",
        description="Time label propagation as configurations of `vdit probe` have it, and measure "
        "its memory, on a video of noise, beside the costs that TED prints in Table 7.",
    )
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="files of configs/probe/")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        dest="changes",
        metavar="KEY=VALUE",
        help="changes of every configuration, as `vdit probe` takes them",
    )
    parser.add_argument(
        "--random",
        action="store_true",
        help="random weights instead of the released ones, which cost the same",
    )
    parser.add_argument(
        "--size", default="480x854", metavar="HxW", help="of the frames (default: %(default)s)"
    )
    parser.add_argument(
        "--frames", type=int, default=100, metavar="N", help="of the video (default: %(default)s)"
    )
    _add_threads(parser)
    parser.add_argument(
        "--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)"
    )
    _add_output(parser)


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="of the CPU; one is timed by processor time, more by wall time (default: 1)",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", help="JSON to write")
    add_json(parser)
