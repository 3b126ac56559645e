"""Options of `vdit propagate`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_backbone, add_device, add_json


def add_propagate(commands: Commands) -> None:
    """Describe `vdit propagate`."""
    parser = commands.add_parser(
        "propagate", help="masks of the first frame carried through a video by features"
    )
    parser.add_argument("video", metavar="VIDEO", help="mp4, avi, gif, webm, folder of frames")
    parser.add_argument(
        "--labels",
        required=True,
        metavar="PNG",
        help="labels of the first frame: palette or gray, 0 = background, or a mask of 0 and 255",
    )
    add_backbone(parser)
    parser.add_argument("--block", required=True, metavar="B", help="feature map to compare")
    parser.add_argument(
        "--timestep", type=float, metavar="T", help="noise level (default: no noise)"
    )
    parser.add_argument(
        "--short-side",
        type=int,
        metavar="PX",
        help="resize the short side to it (default: its own)",
    )
    parser.add_argument(
        "--num-context", type=int, default=7, metavar="N", help="previous frames looked at"
    )
    parser.add_argument(
        "--radius", type=float, default=12, metavar="CELLS", help="reach of the search; 0 = all"
    )
    parser.add_argument("--topk", type=int, default=5, metavar="N", help="cells that count")
    parser.add_argument(
        "--temperature", type=float, default=0.1, metavar="T", help="of the softmax over them"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    add_device(parser, "of the network")
    parser.add_argument(
        "-o",
        "--output",
        default="vdit-propagated",
        metavar="DIR",
        help="folder for masks/, overlay.mp4 and result.json (default: %(default)s)",
    )
    add_json(parser)
