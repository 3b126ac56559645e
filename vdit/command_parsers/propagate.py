"""Options of `vdit propagate`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_backbone, add_device, add_json


def add_propagate(commands: Commands) -> None:
    """Describe `vdit propagate`."""
    parser = commands.add_parser(
        "propagate", help="masks or key points of the first frame through a video by features"
    )
    parser.add_argument("video", metavar="VIDEO", help="mp4, avi, gif, webm, folder of frames")
    first = parser.add_mutually_exclusive_group(required=True)
    first.add_argument(
        "--labels",
        metavar="PNG",
        help="labels of the first frame: palette or gray, 0 = background, or a mask of 0 and 255",
    )
    first.add_argument(
        "--keypoints",
        metavar="JSON",
        help='key points of the first frame: {"points": [[x, y], ...]} in pixels from 0, and '
        '"names": [...] and "skeleton": [[i, j], ...] if wanted',
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
        "--num-context",
        type=int,
        metavar="N",
        help="previous frames looked at (default: 7, key points: 20)",
    )
    parser.add_argument(
        "--radius",
        type=float,
        metavar="CELLS",
        help="reach of the search; 0 = all (default: 12, key points: 5)",
    )
    parser.add_argument(
        "--topk", type=int, metavar="N", help="cells that count (default: 5, key points: 10)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="of the softmax over them (default: 0.1, key points: 0.05)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    add_device(parser, "of the network")
    parser.add_argument(
        "-o",
        "--output",
        default="vdit-propagated",
        metavar="DIR",
        help="for masks/ or keypoints.json, overlay.mp4, result.json (default: %(default)s)",
    )
    add_json(parser)
