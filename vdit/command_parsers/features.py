"""Options of `vdit features`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_backbone, add_device, add_json


def add_features(commands: Commands) -> None:
    """Describe `vdit features`."""
    parser = commands.add_parser("features", help="features of a video, as arrays and pictures")
    parser.add_argument(
        "video", metavar="VIDEO", help="mp4, avi, gif, webm, folder of frames, image"
    )
    add_backbone(parser)
    parser.add_argument(
        "--block",
        action="append",
        default=[],
        metavar="B",
        help="feature map to keep; repeat for several (default: all)",
    )
    parser.add_argument(
        "--timestep", type=float, metavar="T", help="noise level (default: no noise)"
    )
    parser.add_argument("--text", help="sentence to condition on (default: the null prompt)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--size", metavar="HxW", help="resize frames to it (default: their own)")
    size.add_argument("--short-side", type=int, metavar="PX", help="resize the short side to it")
    parser.add_argument(
        "--fit",
        choices=("pad", "resize", "crop"),
        default="pad",
        help="how sides become the multiples that the backbone takes (default: %(default)s)",
    )
    parser.add_argument(
        "--clip-length",
        type=int,
        metavar="N",
        help="frames seen together (default: the backbone's own, else 16)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        default=0,
        metavar="N",
        help="frames that clips share; their features are averaged (default: 0)",
    )
    parser.add_argument(
        "--ensemble", type=int, default=1, metavar="N", help="draws of noise to average over"
    )
    parser.add_argument("--seed", type=int, default=0, help="of noise and clusters (default: 0)")
    parser.add_argument(
        "--pca", metavar="PNG", help="show three principal components (.png, .mp4, .gif, .webm)"
    )
    parser.add_argument(
        "--kmeans", nargs=2, metavar=("K", "PNG"), help="show K clusters (the same kinds)"
    )
    add_device(parser, "of the network and of the stored features")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help=".npz or .safetensors to write"
    )
    add_json(parser)
