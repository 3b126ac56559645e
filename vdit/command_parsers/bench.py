"""Options of `vdit bench`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_json


def add_bench(commands: Commands) -> None:
    """Describe `vdit bench`."""
    bench = commands.add_parser("bench", help="time and memory, side by side with others")
    actions = bench.add_subparsers(dest="action", required=True, metavar="ACTION")
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
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="of the CPU; one is timed by processor time, more by wall time (default: 1)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        metavar="N",
        help="calls of each; 30 times as many with few queries (default: %(default)s)",
    )
    parser.add_argument("--memory", action="store_true", help="measure peak memory, too")
    parser.add_argument("--flush", action="store_true", help="empty the GPU's L2 cache each time")
    parser.add_argument("-o", "--output", metavar="FILE", help="JSON to write")
    add_json(parser)
